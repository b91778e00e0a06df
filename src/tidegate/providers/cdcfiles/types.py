"""MySQL's column types as the records name them, in canonical terms; and tables from CREATE TABLE statements.

Canal names a column's type in each message, CREATE TABLE for the rest. Both are read by sqlglot's tokenizer, which knows MySQL's
quotes and comments; its parser doesn't know every type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.changes.types import decimal
from tidegate.errors import ConfigError, SchemaError

_INTEGERS = {
    "tinyint": (pa.int8(), pa.uint8()),
    "smallint": (pa.int16(), pa.uint16()),
    "mediumint": (pa.int32(), pa.uint32()),
    "int": (pa.int32(), pa.uint32()),
    "bigint": (pa.int64(), pa.uint64()),
}
_TEXTS = frozenset(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"))
BINARIES = frozenset(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"))
GEOMETRIES = frozenset(
    ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection")
)
_SYNONYMS = {
    "integer": "int",
    "int1": "tinyint",
    "int2": "smallint",
    "int3": "mediumint",
    "int4": "int",
    "int8": "bigint",
    "middleint": "mediumint",
    "bool": "tinyint",
    "boolean": "tinyint",
    "numeric": "decimal",
    "dec": "decimal",
    "fixed": "decimal",
    "real": "double",
    "float4": "float",
    "float8": "double",
    "character": "char",
    "nchar": "char",
    "nvarchar": "varchar",
    "long": "mediumtext",
    "geomcollection": "geometrycollection",
}
_FIXED: dict[str, pa.DataType] = {
    "float": pa.float32(),
    "double": pa.float64(),
    "bit": pa.uint64(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "time": pa.duration("us"),
    "year": pa.int16(),
    "json": pa.string(),
}


@dataclass(frozen=True, slots=True)
class MySqlType:
    """``base`` is MySQL's name without parameters, in lower case; ``numbers`` are those in parentheses."""

    base: str
    numbers: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    unsigned: bool = False

    @property
    def canonical(self) -> pa.DataType | None:
        """The Arrow type; None if there is none."""
        if self.base in _INTEGERS:
            return _INTEGERS[self.base][self.unsigned]
        if self.base == "decimal":
            precision, scale = (*self.numbers, 10, 0)[:2] if len(self.numbers) != 1 else (self.numbers[0], 0)
            return decimal(precision, scale) if 0 < precision <= 65 and scale <= precision else None
        if self.base in _TEXTS:
            return pa.string()
        if self.base in BINARIES or self.base in GEOMETRIES:
            return pa.binary()
        return _FIXED.get(self.base)

    def column(self, name: str, *, nullable: bool = True) -> Column | None:
        """The canonical column; None for a type that has none."""
        kind = self.canonical
        if kind is None:
            return None
        attributes: dict[str, str] = {}
        first = str(self.numbers[0]) if self.numbers else ""
        if self.base == "tinyint" and first == "1":
            attributes["display_width"] = "1"
        elif self.base == "bit":
            attributes["bits"] = first or "1"
        elif self.base in ("datetime", "timestamp", "time"):
            attributes["fsp"] = first or "0"
        elif self.base == "json":
            attributes["json"] = "true"
        elif self.labels:
            attributes["labels"] = json.dumps(self.labels, ensure_ascii=False)
        elif (self.base in _TEXTS or self.base in BINARIES) and first:
            attributes["length"] = first
        elif self.base in GEOMETRIES:
            attributes["geometry"] = self.base
        # A zero date has no canonical value: it becomes NULL, also in a column that takes none.
        return Column(name, kind, nullable or self.base in ("date", "datetime", "timestamp"), attributes)


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column as a statement declares it. ``default`` is a constant (text), None for NULL; ``filled`` is whether a row that was
    there when the column was added holds just that."""

    name: str
    type: MySqlType
    nullable: bool
    default: str | None = None
    filled: bool = True

    def to_json(self) -> list[Any]:
        kind = self.type
        return [self.name, kind.base, list(kind.numbers), list(kind.labels), kind.unsigned, self.nullable]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> ColumnType:
        name, base, numbers, labels, unsigned, nullable = value
        return cls(name, MySqlType(base, tuple(numbers), tuple(labels), unsigned), nullable)


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """A table as CREATE TABLE declares it. Equal to itself alone: shapes are kept by it."""

    table: TableName
    columns: tuple[ColumnType, ...]
    key: tuple[str, ...]

    def to_json(self) -> list[Any]:
        """What a position keeps."""
        return [[column.to_json() for column in self.columns], list(self.key)]

    @classmethod
    def from_json(cls, table: TableName, value: Sequence[Any]) -> Declared:
        columns, key = value
        return cls(table, tuple(ColumnType.from_json(column) for column in columns), tuple(key))

    def types(self) -> dict[str, MySqlType]:
        return {column.name: column.type for column in self.columns}

    def schema(self, table: TableName, connection: str) -> TableSchema:
        """In canonical terms, under the name that the sync has for it. SchemaError for a type without canonical one."""
        columns = []
        for item in self.columns:
            column = item.type.column(item.name, nullable=item.nullable)
            if column is None:
                what = f"column {item.name} has the type {item.type.base}, which has no canonical type"
                raise SchemaError(what, connection=connection, table=table, setting="ddl")
            columns.append(column)
        return TableSchema(table, tuple(columns), self.key)


@dataclass(frozen=True, slots=True)
class Word:
    """A token: ``kind`` is ``name`` (quoted), ``text`` (a string), ``bits`` or ``hex`` (their digits), or
    ``word``; ``upper`` of a word in capitals, else empty.
    """

    kind: str
    text: str

    @property
    def upper(self) -> str:
        return self.text.upper() if self.kind == "word" else ""

    @property
    def is_name(self) -> bool:
        return self.kind == "name" or (self.kind == "word" and (self.text[:1].isalnum() or self.text[:1] in "_$"))


def words(sql: str) -> list[Word]:
    """The tokens of MySQL's SQL; ConfigError for text that isn't any."""
    import sqlglot.errors
    from sqlglot.dialects.mysql import MySQL

    try:
        tokens = MySQL().tokenize(sql)
    except sqlglot.errors.SqlglotError:
        raise ConfigError("not SQL that can be read") from None
    found = []
    for token in tokens:
        kind = token.token_type.name
        if kind == "IDENTIFIER":
            found.append(Word("name", token.text))
        elif kind == "STRING" and found and found[-1].upper == "RENAME":
            found += words(token.text)  # to the tokenizer RENAME is a command, and what follows one text
        elif kind in ("STRING", "NATIONAL_STRING", "RAW_STRING"):
            found.append(Word("text", token.text))
        elif kind in ("BIT_STRING", "HEX_STRING"):
            found.append(Word("bits" if kind == "BIT_STRING" else "hex", token.text))
        else:
            found.extend(Word("word", part) for part in token.text.split())
    return found


def split(tokens: Sequence[Word], at: str = ",") -> Iterator[list[Word]]:
    """The pieces between separators that stand in no parentheses."""
    piece: list[Word] = []
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")") if token.kind == "word" else 0
        if depth == 0 and token.kind == "word" and token.text == at:
            yield piece
            piece = []
        else:
            piece.append(token)
    if piece:
        yield piece


@lru_cache(maxsize=4096)
def parse_type(text: str) -> MySqlType:
    """``decimal(10,2) unsigned``, as Canal and ``information_schema`` write it."""
    return type_of(words(text))[0]


def type_of(tokens: Sequence[Word]) -> tuple[MySqlType, int]:
    """The type that the tokens begin with, and how many of them it takes."""
    base, used = tokens[0].text.lower(), 1
    following = [token.upper for token in tokens[1:3]]
    if base == "double" and following[:1] == ["PRECISION"]:
        used = 2
    elif base in ("char", "character", "national", "nchar", "long") and following[:1] and following[0] in _VARYING:
        base, used = _VARYING[following[0]], 2
        if base == "char" and following[1:] == ["VARYING"]:
            base, used = "varchar", 3
    elif base == "serial":
        return MySqlType("bigint", unsigned=True), 1
    inner: list[Word] = []
    if len(tokens) > used and tokens[used].text == "(" and tokens[used].kind == "word":
        end = _closing(tokens, used)
        inner, used = list(tokens[used + 1 : end]), end + 1
    numbers = tuple(int(token.text) for token in inner if token.kind == "word" and token.text.isdigit())
    labels = tuple(token.text for token in inner if token.kind == "text")
    unsigned = False
    while len(tokens) > used and tokens[used].upper in ("UNSIGNED", "SIGNED", "ZEROFILL", "BYTE"):
        if tokens[used].upper == "BYTE" and base == "char":
            base = "binary"
        unsigned |= tokens[used].upper in ("UNSIGNED", "ZEROFILL")
        used += 1
    if base in ("bool", "boolean"):
        numbers = (1,)
    base = _SYNONYMS.get(base, base)
    if base == "float" and len(numbers) == 1 and numbers[0] > 24:
        base = "double"
    found = MySqlType(base, numbers, labels, unsigned)
    if _binary_charset(tokens[used:]):
        texts = {"char": "binary", "varchar": "varbinary"}
        found = replace(found, base=texts.get(base, base.replace("text", "blob")))
    return found, used


_VARYING = {"VARYING": "varchar", "VARCHAR": "varchar", "CHAR": "char", "CHARACTER": "char", "VARBINARY": "mediumblob"}


def _binary_charset(tokens: Sequence[Word]) -> bool:
    upper = [token.upper for token in tokens[:4]]
    return upper[:3] == ["CHARACTER", "SET", "BINARY"] or upper[:2] == ["CHARSET", "BINARY"]


def declared(sql: str, connection: str) -> list[Declared]:
    """The tables of CREATE TABLE statements, ``;`` between them; other statements are passed over.

    ConfigError for one that can't be read, or whose table stands twice.
    """
    found: dict[TableName, Declared] = {}
    try:
        statements = list(split(words(sql), ";"))
    except ConfigError as error:
        raise ConfigError(str(error), connection=connection, setting="ddl") from None
    for statement in statements:
        try:
            table = create_table(statement)
        except (ConfigError, IndexError, StopIteration, ValueError):
            what = f"a statement that can't be read: {' '.join(word.text for word in statement[:5])} …"
            raise ConfigError(what, connection=connection, setting="ddl") from None
        if table is None:
            continue
        if table.table in found:
            raise ConfigError(f"{table.table} is declared twice", connection=connection, setting="ddl")
        found[table.table] = table
    if not found:
        raise ConfigError("no CREATE TABLE with columns in it", connection=connection, setting="ddl")
    return list(found.values())


def create_table(tokens: Sequence[Word]) -> Declared | None:
    """What CREATE TABLE declares; None for another statement, or one without columns (LIKE, SELECT)."""
    upper = [token.upper for token in tokens]
    if upper[:1] != ["CREATE"] or "TABLE" not in upper[:4]:
        return None
    at = upper.index("TABLE") + 1
    if upper[at : at + 3] == ["IF", "NOT", "EXISTS"]:
        at += 3
    table, at = table_name(tokens, at)
    if at >= len(tokens) or tokens[at].text != "(":
        return None
    body = tokens[at + 1 : _closing(tokens, at)]
    columns: list[ColumnType] = []
    key: tuple[str, ...] = ()
    unique: list[tuple[str, ...]] = []
    for item in split(body):
        kind = item[0].upper
        if kind in _NOT_COLUMNS or (kind == "CONSTRAINT" and len(item) > 2):
            names = _index_columns(item)
            text = [token.upper for token in item[:4]]
            if "PRIMARY" in text:
                key = names
            elif "UNIQUE" in text:
                unique.append(names)
            continue
        columns.append(column_of(item))
        rest = [token.upper for token in item]
        if "PRIMARY" in rest or (rest[-1] == "KEY" and "UNIQUE" not in rest):
            key = (item[0].text,)
        elif "UNIQUE" in rest:
            unique.append((item[0].text,))
    strict = {column.name for column in columns if not column.nullable}
    columns = [replace(column, nullable=False) if column.name in key else column for column in columns]
    return Declared(table, tuple(columns), key or next((names for names in unique if names and strict.issuperset(names)), ()))


_NOT_COLUMNS = frozenset(("PRIMARY", "UNIQUE", "KEY", "INDEX", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "PERIOD"))


def _index_columns(item: Sequence[Word]) -> tuple[str, ...]:
    """The columns of ``PRIMARY KEY (`a`, b(10) DESC)``; none if it is over parts of columns."""
    start = next((index for index, token in enumerate(item) if token.text == "(" and token.kind == "word"), None)
    if start is None:
        return ()
    parts = list(split(item[start + 1 : _closing(item, start)]))
    primary = "PRIMARY" in [token.upper for token in item[:start]]
    if not primary and any(len(part) > 1 and part[1].text == "(" for part in parts):
        return ()
    return tuple(part[0].text for part in parts)


def _closing(tokens: Sequence[Word], start: int) -> int:
    """Where the parenthesis ends that opens at ``start``."""
    depth = 0
    for index in range(start, len(tokens)):
        depth += (tokens[index].text == "(") - (tokens[index].text == ")") if tokens[index].kind == "word" else 0
        if depth == 0:
            return index
    raise ConfigError("a parenthesis that isn't closed", setting="ddl")


def column_of(item: Sequence[Word]) -> ColumnType:
    """A column's definition: name, type, NULL or not, a constant default."""
    kind, used = type_of(item[1:])
    rest = list(item[1 + used :])
    upper = [token.upper for token in rest]
    nullable = not any(upper[index : index + 2] == ["NOT", "NULL"] for index in range(len(upper)))
    if item[1].upper == "SERIAL" or "PRIMARY" in upper:
        nullable = False
    default: str | None = None
    filled = not {"AUTO_INCREMENT", "AS", "GENERATED", "SERIAL"} & {*upper, item[1].upper}
    if "DEFAULT" in upper:
        default, constant = _constant(rest[upper.index("DEFAULT") + 1 :], kind)
        filled &= constant
    elif not nullable or (kind.base == "timestamp" and "NULL" not in upper):
        # MySQL fills in a value of its own: 0, '', the first label, the time of the statement.
        filled = False
    return ColumnType(item[0].text, kind, nullable, default, filled and (default is not None or nullable))


def _constant(tokens: Sequence[Word], kind: MySqlType) -> tuple[str | None, bool]:
    """The value of a DEFAULT clause, and whether it is a constant."""
    if not tokens:
        return None, False
    first = tokens[0]
    if first.kind == "text":
        # BIT DEFAULT 'a' is the letter's byte.
        return (first.text, True) if kind.base != "bit" else (None, False)
    if first.kind in ("bits", "hex"):
        # A number in a column of numbers, else bytes in the column's character set.
        if kind.base == "bit" or kind.base in _INTEGERS:
            return str(int(first.text, 2 if first.kind == "bits" else 16)), True
        return None, False
    if first.upper == "NULL":
        return None, True
    if first.upper in ("TRUE", "FALSE"):
        return str(int(first.upper == "TRUE")), True
    if first.text in ("-", "+") and len(tokens) > 1 and tokens[1].text[:1].isdigit():
        return first.text.strip("+") + tokens[1].text, True
    return (first.text, True) if first.text[:1].isdigit() or first.text[:1] == "." else (None, False)


def table_name(tokens: Sequence[Any], at: int) -> tuple[TableName, int]:
    """The table's name that stands at ``at``, and where it ends."""
    if at >= len(tokens) or not tokens[at].is_name:
        return TableName("", ""), at
    if at + 2 < len(tokens) and tokens[at + 1].text == ".":
        return TableName(tokens[at].text, tokens[at + 2].text), at + 3
    return TableName("", tokens[at].text), at + 1
