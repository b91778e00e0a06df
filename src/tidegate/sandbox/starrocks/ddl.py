"""What CREATE TABLE refuses, and a table's definition as DuckDB's DDL and as JSON in the catalogue."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidegate.sandbox.starrocks.headers import Version
from tidegate.sandbox.starrocks.model import AGGREGATIONS, ColumnDef, EngineError, TableDef
from tidegate.sandbox.starrocks.sqltypes import KEY_TYPES, Type, parse_type, quoted
from tidegate.sandbox.starrocks.stage import default_value

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def check_table(table: TableDef, version: Version) -> TableDef:
    """The table as the server would keep it (key columns marked and, of a primary key, NOT NULL). Raises EngineError."""
    if not table.columns:
        raise EngineError("A table must have at least 1 column")
    names = [column.name.lower() for column in table.columns]
    for name in names:
        if names.count(name) > 1:
            raise EngineError(f"Duplicate column name '{name}'")
    for name in (*table.key, *table.distribution):
        if name.lower() not in names:
            kind = "Key" if name in table.key else "Distribution"
            raise EngineError(f"{kind} column({name}) doesn't exist.")
    if [name.lower() for name in table.key] != names[: len(table.key)]:
        raise EngineError(
            "Key columns must be the first few columns of the schema and the order of the key columns must be consistent with the "
            "order of the schema"
        )
    if not table.key and table.model != "DUP_KEYS":
        raise EngineError(f"{table.model} table must define at least one key column")
    columns = [
        _checked(column, table, version, key=name in {key.lower() for key in table.key})
        for column, name in zip(table.columns, names, strict=True)
    ]
    return dataclasses.replace(table, columns=tuple(columns), key=tuple(column.name for column in columns if column.key))


def _checked(column: ColumnDef, table: TableDef, version: Version, *, key: bool) -> ColumnDef:
    type_ = parse_type(column.type)
    check_type(type_, version)
    if key and table.model == "PRIMARY_KEYS":
        if type_.kind not in KEY_TYPES:
            raise EngineError(f"primary key column[{column.name}] type not supported: {type_}")
        if column.nullable:
            raise EngineError(f"primary key column[{column.name}] cannot be nullable")
    if key and (type_.nested or type_.kind in ("json", "bitmap", "hll", "float", "double", "varbinary")):
        raise EngineError(f"Invalid data type of key column '{column.name}': '{type_}'")
    if table.model == "AGG_KEYS" and not key:
        if column.aggregation is None:
            raise EngineError(f"The column[{column.name}] of an aggregate table must have an aggregation type")
        if column.aggregation not in AGGREGATIONS:
            raise EngineError(f"Invalid aggregate function '{column.aggregation}' for '{column.name}'")
        union = {"bitmap": "BITMAP_UNION", "hll": "HLL_UNION"}.get(type_.kind)
        if union and column.aggregation not in (union, "REPLACE", "REPLACE_IF_NOT_NULL"):
            raise EngineError(f"Invalid aggregate function '{column.aggregation}' for '{column.name}'")
    elif column.aggregation is not None:
        raise EngineError(f"Can not specify aggregate function '{column.aggregation}' for column '{column.name}' of this table")
    elif type_.kind == "hll" and not key:
        raise EngineError("HLL type column can only be used in aggregate tables with HLL_UNION")
    return dataclasses.replace(column, key=key)


def check_type(type_: Type, version: Version) -> None:
    """MAP and STRUCT columns are there from 3.1 on, VARBINARY from 3.0 on."""
    since: Version = {"map": (3, 1), "struct": (3, 1), "varbinary": (3, 0)}.get(type_.kind, (0,))
    if version < since:
        raise EngineError(f"Unsupported data type: {type_}")
    for inner in type_.inner:
        check_type(inner, version)


def check_defaults(connection: DuckDBPyConnection, columns: Sequence[ColumnDef]) -> None:
    """A default that its type can't hold is refused. Raises EngineError."""
    for column in columns:
        if column.default is not None:
            found = connection.execute(f"SELECT {default_value(column)} IS NULL").fetchall()
            if found[0][0]:
                raise EngineError(f"Invalid default value for '{column.name}'")


def create_sql(table: TableDef) -> str:
    """Without constraints: the loads keep the rules, and DuckDB's index would stand in the way of replacing rows."""
    columns = ", ".join(f"{quoted(column.name)} {parse_type(column.type).duckdb}" for column in table.columns)
    return f"CREATE TABLE {quoted(table.db)}.{quoted(table.name)} ({columns})"


def to_json(table: TableDef) -> str:
    return json.dumps(dataclasses.asdict(table))


def from_json(text: str) -> TableDef:
    found = json.loads(text)
    columns = tuple(ColumnDef(**column) for column in found.pop("columns"))
    return TableDef(
        **{**found, "columns": columns, "key": tuple(found["key"]), "distribution": tuple(found["distribution"]), "state": "NORMAL"}
    )


def keep(connection: DuckDBPyConnection, table: TableDef) -> None:
    """Writes the definition into the catalogue."""
    connection.execute("INSERT INTO __sandbox.tables VALUES (?, ?, ?)", [table.db, table.name, to_json(table)])


def forget(connection: DuckDBPyConnection, db: str, name: str) -> None:
    """Takes the definition out of the catalogue."""
    connection.execute("DELETE FROM __sandbox.tables WHERE db = ? AND name = ?", [db, name])


def added(table: TableDef, columns: Sequence[ColumnDef], version: Version) -> TableDef:
    """The table with the columns at its end, before the generated ones. Raises EngineError for a name that is there, or NOT NULL
    without a default."""
    for column in columns:
        if table.column(column.name) is not None:
            raise EngineError(f"Can not add column which already exists in base table: {column.name}")
        if not column.nullable and column.default is None:
            raise EngineError(f"Can not add NOT NULL column without default value: {column.name}")
        if column.key:
            raise EngineError(f"Can not add key column: {column.name}")
    every = (*table.columns, *columns)
    behind = tuple(column for column in every if column.generated is not None)
    before = tuple(column for column in every if column.generated is None)
    return check_table(dataclasses.replace(table, columns=before + behind), version)


def modified(table: TableDef, columns: Sequence[ColumnDef], version: Version) -> TableDef:
    """The table with these columns in place of those of their names. Raises EngineError for a name that it doesn't have."""
    changed = {column.name.lower(): column for column in columns}
    for column in columns:
        if table.column(column.name) is None:
            raise EngineError(f"Column[{column.name}] does not exists")
    kept = tuple(changed.get(column.name.lower(), column) for column in table.columns)
    return check_table(dataclasses.replace(table, columns=kept), version)
