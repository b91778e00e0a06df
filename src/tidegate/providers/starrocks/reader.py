"""Reading a table over the query port, a piece at a time."""

from __future__ import annotations

import base64
import datetime
import decimal
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from tidegate.changes.schema import Column, TableName
from tidegate.errors import SchemaError
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.types import canonical

ROWS_AT_ONCE = 20_000


def read_table(metadata: Metadata, table: TableName, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """The rows in canonical types, in no order. Columns that have none (BITMAP, HLL) are left out unless they are named.

    SchemaError for a table or column that is missing, or a named column without a canonical type.
    """
    full = metadata.full(table)
    there = metadata.table(full)
    if there is None:
        raise SchemaError("there is no such table", connection=metadata.name, table=full)
    chosen: list[Column] = []
    for name in columns if columns is not None else [column.name for column in there.columns]:
        found = there.column(name)
        if found is None:
            raise SchemaError(f"no column {name}", connection=metadata.name, table=full)
        try:
            chosen.append(canonical(found))
        except SchemaError:
            if columns is not None:
                raise
    schema = pa.schema([(column.name, column.type) for column in chosen])
    question = f"SELECT {', '.join(_shown(column) for column in chosen)} FROM {sql.table(full)}"
    for rows in metadata.session.pieces(question, ROWS_AT_ONCE, table=full):
        arrays = [_array([row[at] for row in rows], column.type) for at, column in enumerate(chosen)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _shown(column: Column) -> str:
    name = sql.name(column.name)
    return f"to_base64(from_binary({name}, 'hex')) AS {name}" if pa.types.is_binary(column.type) else name


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        return pa.array([None if value is None else decimal.Decimal(str(value)) for value in values], kind)
    if pa.types.is_binary(kind):
        return pa.array([None if value is None else bytes.fromhex(base64.b64decode(value).decode()) for value in values], kind)
    if pa.types.is_boolean(kind):
        return pa.array([None if value is None else bool(int(value)) for value in values], kind)
    if pa.types.is_integer(kind):
        return pa.array([None if value is None else int(value) for value in values], kind)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return pa.array([_date(value) for value in values], kind)
    if pa.types.is_string(kind):
        return pa.array([None if value is None else _text(value) for value in values], kind)
    return pa.array(values, kind)


def _date(value: Any) -> Any:
    """PyMySQL leaves dates that Python doesn't have as text."""
    return datetime.datetime.fromisoformat(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
