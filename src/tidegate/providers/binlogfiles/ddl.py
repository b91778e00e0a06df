"""Tables as CREATE TABLE statements describe them, for files whose rows don't name their columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlglot
import sqlglot.errors
from sqlglot import exp

from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, SchemaError
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.types import BINARIES, TEXTS, MySqlColumn, MySqlTable, make_column

_NAMES = {"TIMESTAMPTZ": "timestamp", "BOOLEAN": "tinyint", "NCHAR": "char"} | {
    f"U{name}": name.lower() for name in ("TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE")
}
"""MySQL's names of sqlglot's types where they differ."""
_BLOB_SIZES = {"tiny": 2**8 - 1, "blob": 2**16 - 1, "text": 2**16 - 1, "medi": 2**24 - 1, "long": 2**32 - 1}
_LEAST = {"ucs2": 2, "utf16": 2, "utf16le": 2, "utf32": 4}
"""Bytes of the shortest character, where that isn't 1: information_schema counts a text's characters by it."""
_SIZED = frozenset(("char", "varchar", "binary", "varbinary"))


def tables_of(ddl: str, charsets: Charsets, connection: str) -> dict[TableName, MySqlTable]:
    """The tables of the CREATE TABLE statements, as SHOW CREATE TABLE (mysqldump --no-data) writes them; others are passed over.

    Raises ConfigError for what can't be understood, naming the table and the column.
    """
    try:
        statements = sqlglot.parse(ddl, dialect="mysql")
    except sqlglot.errors.SqlglotError as error:
        raise ConfigError(f"not understood: {_first_line(error)}", connection=connection, setting="ddl") from error
    found = {}
    database = ""
    for statement in statements:
        if isinstance(statement, exp.Use):
            database = statement.this.name
        elif isinstance(statement, exp.Create) and statement.kind == "TABLE" and isinstance(statement.this, exp.Schema):
            name = TableName(statement.this.this.db or database, statement.this.this.name)
            if not name.schema:
                what = f"CREATE TABLE {name}: its database is not named; write shop.{name}, or USE shop; before it"
                raise ConfigError(what, connection=connection, setting="ddl")
            found[name] = _table(name, statement, charsets, connection)
    if not found:
        raise ConfigError("no CREATE TABLE statement", connection=connection, setting="ddl")
    return found


def _table(name: TableName, statement: Any, charsets: Charsets, connection: str) -> MySqlTable:
    default = _default_charset(statement.args.get("properties"))
    columns = []
    for definition in statement.this.expressions:
        if isinstance(definition, exp.ColumnDef):
            try:
                columns.append(_column(definition, default, charsets))
                if columns[-1].charset:
                    charsets.texts(columns[-1].charset)
            except (ValueError, SchemaError) as error:
                what = f"column {definition.name}: {str(error).removeprefix(f'connection {connection}: ')}"
                raise ConfigError(what, connection=connection, table=name, setting="ddl") from error
    index, key = _key(statement.this.expressions)
    if unknown := [part for part in key if part not in [column.name for column in columns]]:
        raise ConfigError(f"its key has no column {', '.join(unknown)}", connection=connection, table=name, setting="ddl")
    return MySqlTable(TableSchema(name, tuple(column.column for column in columns), key), name, tuple(columns), index)


def _column(definition: Any, default_charset: str, charsets: Charsets) -> MySqlColumn:
    """ValueError for what is not written as SHOW CREATE TABLE does."""
    if definition.kind is None:
        raise ValueError("its type is not understood")
    spelled = definition.kind.this.name
    kind = _NAMES.get(spelled, spelled.lower())
    constraints = [constraint.kind for constraint in definition.args.get("constraints") or []]
    arguments = definition.kind.expressions
    numbers = [] if kind in ("enum", "set") else [int(argument.name) for argument in arguments]
    charset = collation = ""
    if kind in TEXTS or kind in ("enum", "set"):
        charset, collation = _charset(constraints, default_charset)
    if kind in TEXTS and _is_json(definition.name, constraints):
        kind = "json"
    length = octets = 0
    if kind in _SIZED:
        length = numbers[0] if numbers else 1
        octets = length * (charsets.width(charset) if charset else 1)
    elif kind in TEXTS or kind in BINARIES:
        if numbers:
            raise ValueError("a text or blob with a length is stored as another type: write it as SHOW CREATE TABLE does")
        octets = _BLOB_SIZES[kind[:4]]
        length = octets // _LEAST.get(charset, 1)
    elif kind == "bit":
        length = numbers[0] if numbers else 1
    column = make_column(
        definition.name,
        kind,
        nullable=not _required(definition),
        unsigned=spelled.startswith("U"),
        charset=charset,
        collation=collation,
        labels=tuple(str(argument.this) for argument in arguments) if kind in ("enum", "set") else (),
        length=length,
        octets=octets,
        precision=(numbers[0] if numbers else 10) if kind == "decimal" else 0,
        scale=numbers[1] if kind == "decimal" and len(numbers) > 1 else 0,
        fsp=numbers[0] if kind in ("datetime", "timestamp", "time") and numbers else 0,
        display_width=1 if spelled == "BOOLEAN" else numbers[0] if kind == "tinyint" and numbers else None,
    )
    if column is None:
        raise ValueError(f"the type {spelled} has no canonical type")
    return column


def _required(definition: Any) -> bool:
    """Whether it is NOT NULL."""
    kinds = [constraint.kind for constraint in definition.args.get("constraints") or []]
    return any(isinstance(kind, exp.NotNullColumnConstraint) and not kind.args.get("allow_null") for kind in kinds)


def _charset(constraints: list[Any], default: str) -> tuple[str, str]:
    charset = next((item.name for item in constraints if isinstance(item, exp.CharacterSetColumnConstraint)), "")
    collation = next((item.name for item in constraints if isinstance(item, exp.CollateColumnConstraint)), "")
    charset = charset or collation.partition("_")[0] or default
    if not charset:
        raise ValueError("its character set is not said: add DEFAULT CHARSET=… to the table")
    return _named(charset), collation


def _default_charset(properties: Any) -> str:
    found = list(properties.expressions) if properties is not None else []
    charset = next((item.name for item in found if isinstance(item, exp.CharacterSetProperty)), "")
    collation = next((item.name for item in found if isinstance(item, exp.CollateProperty)), "")
    return _named(charset or collation.partition("_")[0])


def _named(charset: str) -> str:
    return {"utf8": "utf8mb3"}.get(charset.lower(), charset.lower())


def _is_json(column: str, constraints: list[Any]) -> bool:
    """Whether it is MariaDB's JSON: LONGTEXT with a check of the server's making."""
    for item in constraints:
        if isinstance(item, exp.CheckColumnConstraint):
            checked = item.this
            if checked.key == "anonymous" and str(checked.this).lower() == "json_valid":
                return [part.name for part in checked.expressions] == [column]
    return False


def _key(definitions: list[Any]) -> tuple[str, tuple[str, ...]]:
    """The primary key, else the first unique key over whole columns that are all NOT NULL, as for a table on a server."""
    for definition in definitions:
        if isinstance(definition, exp.PrimaryKey):
            return "PRIMARY", tuple(
                part.this.name if isinstance(part, exp.ColumnPrefix) else part.name for part in definition.expressions
            )
        if isinstance(definition, exp.ColumnDef):
            constraints = definition.args.get("constraints") or []
            if any(isinstance(constraint.kind, exp.PrimaryKeyColumnConstraint) for constraint in constraints):
                return "PRIMARY", (definition.name,)
    # Not by the columns' canonical nullability: a date takes NULL there for a zero date.
    required = {definition.name for definition in definitions if isinstance(definition, exp.ColumnDef) and _required(definition)}
    for index, parts in sorted(_unique(definitions)):
        if required.issuperset(parts):
            return index, parts
    return "", ()


def _unique(definitions: list[Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for definition in definitions:
        if isinstance(definition, exp.UniqueColumnConstraint) and isinstance(definition.this, exp.Schema):
            parts = definition.this.expressions
            if not any(isinstance(part, exp.ColumnPrefix) for part in parts):
                yield definition.this.name, tuple(part.name for part in parts)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
