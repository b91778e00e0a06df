"""Column definitions as DDL writes them: the type, what stands behind it, and the default."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from tidegate.providers.mysql.ddl.cursor import Cursor
from tidegate.providers.mysql.ddl.lexer import Kind, NotUnderstood
from tidegate.providers.mysql.types import GEOMETRIES

REAL_AS_FLOAT = 1 << 0
_OTHER_TYPES = 1 << 9 | 1 << 12
"""MariaDB's and MySQL 5's SQL modes ORACLE and MAXDB, in which DATE or TIMESTAMP mean other types."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant default: a string, a number as it is written, bytes, or None for NULL."""

    value: str | Decimal | bytes | None
    written: str = ""


@dataclass(slots=True)
class ColumnDef:
    """A column as it is written. ``data_type`` is MySQL's name of it, ``numbers`` its parameters.

    ``null``: what it says of NULL, None if nothing. ``default``: None if there is none. ``why``: why rows that are there can't be
    told to hold the default, "" if they can.
    """

    name: str
    data_type: str = ""
    numbers: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    unsigned: bool = False
    charset: str = ""
    collation: str = ""
    binary: bool = False
    null: bool | None = None
    default: Literal | None = None
    why: str = ""
    auto_increment: bool = False
    primary: bool = False
    unique: bool = False


_INTEGERS = {
    "TINYINT": "tinyint",
    "INT1": "tinyint",
    "SMALLINT": "smallint",
    "INT2": "smallint",
    "MEDIUMINT": "mediumint",
    "INT3": "mediumint",
    "MIDDLEINT": "mediumint",
    "INT": "int",
    "INTEGER": "int",
    "INT4": "int",
    "BIGINT": "bigint",
    "INT8": "bigint",
}
_FRACTIONS = {"DECIMAL": "decimal", "DEC": "decimal", "NUMERIC": "decimal", "FIXED": "decimal", "FLOAT": "float", "FLOAT4": "float"}
_DOUBLES = {"DOUBLE": "double", "FLOAT8": "double", "REAL": "double"}
_TEXTS = {"TINYTEXT": "tinytext", "TEXT": "text", "MEDIUMTEXT": "mediumtext", "LONGTEXT": "longtext"}
_PLAIN = {
    **_INTEGERS,
    **_FRACTIONS,
    **_DOUBLES,
    **_TEXTS,
    **{name.upper(): name for name in GEOMETRIES},
    **{name: name.lower() for name in ("BIT", "DATE", "TIME", "DATETIME", "TIMESTAMP", "YEAR", "JSON", "ENUM", "SET")},
    **{name: name.lower() for name in ("BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB")},
    "VARCHARACTER": "varchar",
    "VARCHAR": "varchar",
    "CHAR": "char",
    "CHARACTER": "char",
    "NCHAR": "char",
    "NVARCHAR": "varchar",
}
_WITH_CHARSET = frozenset(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"))


def column_def(at: Cursor, name: str) -> ColumnDef:
    """The definition behind a column's name, up to its place or the end of the clause. Raises NotUnderstood."""
    if at.sql_mode & _OTHER_TYPES:
        raise NotUnderstood("types under the SQL mode ORACLE or MAXDB")
    column = ColumnDef(name)
    _type(at, column)
    while not at.ended() and at.word() not in (",", ")", "FIRST", "AFTER", "PARTITION", "REMOVE"):
        _attribute(at, column)
    return column


def _type(at: Cursor, column: ColumnDef) -> None:
    national = at.take("NATIONAL")
    word = at.word()
    at.next()
    if word in ("BOOL", "BOOLEAN"):
        column.data_type, column.numbers = "tinyint", (1,)
        return
    if word == "SERIAL":
        column.data_type, column.unsigned, column.null = "bigint", True, False
        column.auto_increment = column.unique = True
        return
    if word == "LONG":
        column.data_type = "mediumblob" if at.take("VARBINARY") else "mediumtext"
        at.take("VARCHAR") or at.take("CHAR", "VARYING") or at.take("CHARACTER", "VARYING")
        _charset(at, column)
        return
    if word not in _PLAIN:
        raise NotUnderstood(f"the type {word or 'of a column'}")
    column.data_type = _PLAIN[word]
    if word == "REAL" and at.sql_mode & REAL_AS_FLOAT:
        column.data_type = "float"
    if word == "DOUBLE":
        at.take("PRECISION")
    if (word in ("CHAR", "CHARACTER", "NCHAR") and at.take("VARYING")) or (word == "NCHAR" and at.take("VARCHAR")):
        column.data_type = "varchar"
    if national or word in ("NCHAR", "NVARCHAR"):
        column.charset = "utf8"
    if column.data_type in ("enum", "set"):
        column.labels = _labels(at)
    elif at.take("("):
        numbers = [_number(at)]
        while at.take(","):
            numbers.append(_number(at))
        at.expect(")")
        column.numbers = tuple(numbers)
    while at.word() in ("SIGNED", "UNSIGNED", "ZEROFILL"):
        column.unsigned = column.unsigned or at.word() != "SIGNED"
        at.next()
    if column.data_type in _WITH_CHARSET:
        _charset(at, column)


def _number(at: Cursor) -> int:
    token = at.next()
    if token.kind is not Kind.NUMBER or not token.text.isdigit():
        raise NotUnderstood("something else, where a number was expected")
    return int(token.text)


def _labels(at: Cursor) -> tuple[str, ...]:
    at.expect("(")
    found: list[str] = []
    while not found or at.take(","):
        token = at.next()
        if token.kind is not Kind.STRING:
            raise NotUnderstood("a label that isn't a plain string")
        # The server takes the blanks at its end away.
        found.append(token.text.rstrip(" "))
    at.expect(")")
    return tuple(found)


def _charset(at: Cursor, column: ColumnDef) -> None:
    """CHARACTER SET, its short forms, and BINARY, which is the set's binary collation."""
    while True:
        if at.take("CHARACTER", "SET") or at.take("CHARSET"):
            column.charset = at.text()
        elif at.take("ASCII"):
            column.charset = "latin1"
        elif at.take("UNICODE"):
            column.charset = "ucs2"
        elif at.take("BYTE"):
            column.charset = "binary"
        elif at.take("BINARY"):
            column.binary = True
        else:
            return


_KNOWN_ATTRIBUTES = frozenset(("INVISIBLE", "VISIBLE", "ENFORCED"))


def _attribute(at: Cursor, column: ColumnDef) -> None:
    """One of what may stand behind a column's type."""
    word = at.word()
    if column.data_type in _WITH_CHARSET and word in ("CHARACTER", "CHARSET", "BINARY", "ASCII", "UNICODE", "BYTE"):
        _charset(at, column)
        return
    at.next()
    match word:
        case "NOT" if at.take("ENFORCED") or at.take("SECONDARY"):
            return
        case "NOT":
            at.expect("NULL")
            column.null = False
        case "NULL":
            column.null = True
        case "DEFAULT":
            _default(at, column)
        case "ON":
            at.expect("UPDATE")
            at.next()
            if at.word() == "(":
                at.skip()
        case "AUTO_INCREMENT":
            column.auto_increment = True
        case "SERIAL":
            at.expect("DEFAULT")
            at.expect("VALUE")
            column.auto_increment, column.null, column.unique = True, False, True
        case "UNIQUE":
            at.take("KEY")
            column.unique = True
        case "PRIMARY":
            at.expect("KEY")
            column.primary = True
        case "KEY":
            column.primary = True
        case "COLLATE":
            column.collation = at.text()
        case "COMMENT" | "COLUMN_FORMAT" | "STORAGE" | "ENGINE_ATTRIBUTE" | "SECONDARY_ENGINE_ATTRIBUTE" | "SRID" | "REF_SYSTEM_ID":
            at.take("=")
            at.next()
        case "CONSTRAINT":
            if at.word() != "CHECK":
                at.name()
        case "CHECK":
            if at.word() != "(":
                raise NotUnderstood("CHECK")
            at.skip()
        case "REFERENCES":
            at.table()
            if at.word() == "(":
                at.skip()
            while at.take("ON", "DELETE") or at.take("ON", "UPDATE") or at.take("MATCH"):
                if not (at.take("SET", "NULL") or at.take("SET", "DEFAULT") or at.take("NO", "ACTION")):
                    at.next()
        case "GENERATED" | "AS":
            raise NotUnderstood("a generated column")
        case _ if word not in _KNOWN_ATTRIBUTES:
            raise NotUnderstood(f"{word or 'a value'} in the definition of a column")


def _default(at: Cursor, column: ColumnDef) -> None:
    """What follows DEFAULT: a literal, or else why what rows hold can't be told."""
    column.default, column.why = None, ""
    sign = ""
    while at.word() in ("+", "-"):
        sign = at.word() if not sign else "?"
        at.next()
    token = at.next()
    if token.kind is Kind.NUMBER and sign != "?":
        written = sign.strip("+") + token.text
        column.default = Literal(Decimal(written), written)
    elif sign:
        column.why = "its default is an expression"
    elif token.kind is Kind.STRING:
        value = token.text
        while at.peek().kind is Kind.STRING:
            value += at.next().text
        column.default = Literal(value)
    elif token.kind is Kind.HEX:
        column.default = Literal(bytes.fromhex("0" * (len(token.text) % 2) + token.text))
    elif token.kind is Kind.BITS:
        column.default = Literal(int(token.text or "0", 2).to_bytes((len(token.text) + 7) // 8, "big"))
    elif token.kind is Kind.WORD and token.text.upper() == "NULL":
        column.default = Literal(None)
    elif token.kind is Kind.WORD and token.text.upper() in ("TRUE", "FALSE"):
        written = str(int(token.text.upper() == "TRUE"))
        column.default = Literal(Decimal(written), written)
    elif token.kind is Kind.WORD and token.text.upper() in ("DATE", "TIME", "TIMESTAMP") and at.peek().kind is Kind.STRING:
        column.default = Literal(at.next().text)
    else:
        # CURRENT_TIMESTAMP, UUID(), (expression), _utf8mb4'…', N'…', NEXT VALUE FOR …
        column.why = "its default isn't a plain constant"
        if token.text == "(":
            at.back(at.mark() - 1)
            at.skip()
        elif at.peek().kind in (Kind.STRING, Kind.HEX, Kind.BITS):
            at.next()
        elif token.text.upper() == "NEXT":
            at.expect("VALUE")
            at.expect("FOR")
            at.table()
        elif at.word() == "(":
            at.skip()
