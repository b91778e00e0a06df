"""From a column as DDL writes it to the column as ``information_schema`` would describe it."""

from __future__ import annotations

from dataclasses import replace

from tidegate.providers.mysql.ddl.coldefs import ColumnDef
from tidegate.providers.mysql.ddl.collations import Collations
from tidegate.providers.mysql.ddl.lexer import NotUnderstood
from tidegate.providers.mysql.policy import DEFAULT, Policies
from tidegate.providers.mysql.types import BINARIES, TEXTS, MySqlColumn, make_column

_OCTETS = {"tiny": 2**8 - 1, "": 2**16 - 1, "medium": 2**24 - 1, "long": 2**32 - 1}
_VARIABLE = 65_535
"""The bytes of a row, and with them of a VARCHAR or VARBINARY."""


def column_of(
    definition: ColumnDef, default: str, collations: Collations, policies: Policies = DEFAULT, *, mariadb: bool
) -> MySqlColumn:
    """The column that a definition makes in a table whose default collation is ``default``.

    Raises NotUnderstood for one that has no canonical type, or that the server changes into another.
    """
    kind, numbers = definition.data_type, definition.numbers
    charset = collation = ""
    if kind in TEXTS or kind in ("enum", "set"):
        charset, collation = _texts_of(definition, default, collations)
        if charset == "binary":
            kind = _as_binary(kind)
            charset = collation = ""
    if kind == "json" and mariadb:
        charset, collation = "utf8mb4", "utf8mb4_bin"
    width = collations.width(charset) if charset else 1
    if kind == "float" and len(numbers) == 1:
        kind = "double" if numbers[0] > 24 else "float"
    if kind in ("text", "blob") and numbers:
        kind = _smallest(kind, numbers[0] * width)
    length, octets = _size(kind, definition, width, mariadb=mariadb)
    if kind in ("varchar", "varbinary") and octets > _VARIABLE:
        raise NotUnderstood("a column so long that the server may make a TEXT or BLOB of it")
    if kind == "decimal" and max(numbers, default=0) > 65:
        raise NotUnderstood("DECIMAL of that precision")
    if kind == "year" and numbers not in ((), (4,)):
        raise NotUnderstood("YEAR(2)")
    column = make_column(
        definition.name,
        kind,
        nullable=definition.null is not False and not definition.primary,
        unsigned=definition.unsigned and not charset,
        charset=charset,
        collation=collation,
        labels=definition.labels,
        length=length,
        octets=octets,
        precision=(numbers[0] if numbers and numbers[0] else 10) if kind == "decimal" else 0,
        scale=numbers[1] if kind == "decimal" and len(numbers) > 1 else 0,
        fsp=numbers[0] if kind in ("datetime", "timestamp", "time") and numbers else 0,
        display_width=numbers[0] if len(numbers) == 1 else None,
        policies=policies,
    )
    if column is None:
        raise NotUnderstood(f"the type {kind}")
    if kind == "timestamp" and definition.null is None:
        # Whether that is NULL depends on explicit_defaults_for_timestamp.
        column = replace(column, required=False)
    return replace(column, auto_increment=definition.auto_increment)


def _texts_of(definition: ColumnDef, default: str, collations: Collations) -> tuple[str, str]:
    charset, collation = collations.resolve(definition.charset, definition.collation, default)
    if definition.binary and not definition.collation and charset != "binary":
        return charset, collations.binary(charset)
    return charset, collation


def _as_binary(kind: str) -> str:
    """What becomes of a text of the character set binary."""
    if kind in ("enum", "set"):
        raise NotUnderstood("labels of bytes")
    return {"char": "binary", "varchar": "varbinary"}.get(kind, kind.replace("text", "blob"))


def _smallest(kind: str, octets: int) -> str:
    """TEXT(n) and BLOB(n): the smallest of the family that holds so many bytes."""
    for prefix, limit in _OCTETS.items():
        if octets <= limit:
            return prefix + kind
    raise NotUnderstood(f"{kind.upper()} of that length")


def resized(column: MySqlColumn, charset: str, collation: str, collations: Collations) -> MySqlColumn:
    """A text column as CONVERT TO CHARACTER SET leaves it: a TEXT grows to hold as many characters as before."""
    kind, width = column.data_type, collations.width(charset)
    if charset == "binary":
        raise NotUnderstood("texts become bytes")
    length, octets = column.length, column.length * width
    if kind in ("tinytext", "text", "mediumtext", "longtext"):
        if width > collations.width(column.charset):
            kind = _smallest("text", min(column.octets * width, _OCTETS["long"]))
        length = octets = _OCTETS[kind.removesuffix("text")]
    elif kind == "varchar" and octets > _VARIABLE:
        raise NotUnderstood("a column so long that the server may make a TEXT of it")
    made = make_column(
        column.name,
        kind,
        nullable=column.column.nullable,
        charset=charset,
        collation=collation,
        labels=column.labels,
        length=length,
        octets=octets,
    )
    assert made is not None
    return replace(made, required=column.required)


def _size(kind: str, definition: ColumnDef, width: int, *, mariadb: bool) -> tuple[int, int]:
    """The length and the octets that ``information_schema`` gives."""
    numbers, labels = definition.numbers, definition.labels
    if kind == "bit":
        return (numbers[0] if numbers else 1), 0
    if kind in ("char", "varchar", "binary", "varbinary"):
        length = numbers[0] if numbers else 1
        return length, length * width
    if kind == "json":
        return (_OCTETS["long"], _OCTETS["long"]) if mariadb else (0, 0)
    if kind in TEXTS or kind in BINARIES:
        octets = _OCTETS[kind.removesuffix("text").removesuffix("blob")]
        return octets, octets
    if kind in ("enum", "set") and labels:
        length = max(map(len, labels)) if kind == "enum" else sum(map(len, labels)) + len(labels) - 1
        return length, length * width
    return 0, 0
