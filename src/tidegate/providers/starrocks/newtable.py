"""The table that a target gets where there is none, and the columns that only targets have."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.changes.schema import Column, TableName
from tidegate.errors import SchemaError
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.types import ddl_type
from tidegate.sync.mapping import Target

EVENT_COLUMNS: Mapping[str, str] = {
    "tidegate_file": "VARCHAR(512)",
    "tidegate_offset": "BIGINT",
    "tidegate_row": "INT",
}
"""Which event a row of an append table came from: by it an intent whose labels are forgotten can still be decided."""

DEFAULTS = {"BOOLEAN": "'0'"}
"""Of own columns, by their type."""


def own_columns(target: Target) -> dict[str, str]:
    """Columns that only the target has, and their types."""
    found: dict[str, str] = {}
    if target.options.op_column:
        found[target.options.op_column] = "VARCHAR(13)"
    if target.options.soft_delete_column:
        found[target.options.soft_delete_column] = "BOOLEAN"
    return found


def create_statement(target: Target, table: TableName, metadata: Metadata) -> str:
    """CREATE TABLE for the target: a primary key table, or with append a duplicate key table with the columns of the events.

    Columns are nullable but for the key and the version_column: the source may come to allow NULL, and a partial row has no values.
    SchemaError for a key that StarRocks can't have.
    """
    append = target.options.write_mode == "append"
    solid = {*(() if append else target.key), *((target.options.version_column,) if target.options.version_column else ())}
    columns = [
        sql.NewColumn(column.name, declared(metadata, target, column), nullable=column.name not in solid)
        for column in target.schema.columns
    ]
    columns += [sql.NewColumn(name, kind, default=DEFAULTS.get(kind)) for name, kind in own_columns(target).items()]
    key: tuple[str, ...] = target.key
    if append:
        columns += [sql.NewColumn(name, kind) for name, kind in EVENT_COLUMNS.items()]
        key = key or tuple(EVENT_COLUMNS)
    elif not key:
        raise SchemaError("a primary key table needs a key", connection=metadata.name, table=table, setting="key")
    properties = {}
    if (replicas := metadata.session.values["replication_num"]) is not None:
        properties["replication_num"] = str(replicas)
    clause: sql.KeyClause = "DUPLICATE KEY" if append else "PRIMARY KEY"
    return sql.create_table(table, columns, clause, key, key, properties)


def declared(metadata: Metadata, target: Target, column: Column) -> str:
    """The type that a column of the source is declared as."""
    return ddl_type(column, key=column.name in target.key, version=metadata.version())
