"""Rows as users have them, into change batches: Arrow, dicts, dataclasses, pandas, polars, with or without a row-kind column."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.schema import Column, TableName, TableSchema, called
from tidegate.changes.types import canonical
from tidegate.errors import ConfigError, EventRefused, RowRefused, SchemaError

Rows = Any
"""An Arrow table, record batch or reader, a pandas or polars frame, or an iterable of dicts or dataclasses."""

_KINDS = {name: kind for kind in RowKind for name in (kind.short, kind.name)}
DICTS_AT_ONCE = 50_000
"""How many dicts or dataclasses become columns at a time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Some rows as columns; ``present`` flags the columns that some of them lack."""

    table: pa.Table
    present: dict[str, pa.Array]


def pieces(rows: Rows) -> Iterator[Piece]:
    """The rows as columns, piece by piece. ConfigError for what is none of the shapes above."""
    if isinstance(rows, pa.Table):
        yield Piece(rows, {})
    elif isinstance(rows, pa.RecordBatch):
        yield Piece(pa.Table.from_batches([rows]), {})
    elif isinstance(rows, pa.RecordBatchReader):
        for batch in rows:
            yield Piece(pa.Table.from_batches([batch]), {})
    elif hasattr(rows, "__arrow_c_stream__"):
        yield Piece(pa.table(rows), {})
    elif isinstance(rows, Iterable) and not isinstance(rows, str | bytes | Mapping):
        yield from _of_records(iter(rows))
    else:
        what = (
            f"{type(rows).__name__} is none of Arrow table, batch or reader, pandas or polars frame, list of dicts or dataclasses"
        )
        raise ConfigError(what, setting="rows")


def replayable(rows: Rows) -> bool:
    """Whether the rows can be read a second time, as a retry has to."""
    return not isinstance(rows, pa.RecordBatchReader | Iterator)


def _of_records(records: Iterator[Any]) -> Iterator[Piece]:
    while chunk := [_mapping(record) for _, record in zip(range(DICTS_AT_ONCE), records, strict=False)]:
        # The union of the names, not the first row's: a row that lacks one leaves it out, which is not NULL.
        names = list(dict.fromkeys(name for row in chunk for name in row))
        arrays, present = [], {}
        for name in names:
            arrays.append(_array(name, [row.get(name) for row in chunk]))
            flags = [name in row for row in chunk]
            if not all(flags):
                present[name] = pa.array(flags)
        yield Piece(pa.table(arrays, names=names), present)


def _mapping(record: Any) -> Mapping[str, Any]:
    if isinstance(record, Mapping):
        return record
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
    raise ConfigError(f"a row is a {type(record).__name__}, and neither a dict nor a dataclass", setting="rows")


def _array(name: str, values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RowRefused("values of different types", column=name, rows=values) from error


def batches(
    rows: Rows,
    table: TableName,
    key: Sequence[str],
    existing: TableSchema | None,
    kinds: RowKind | str,
    batch_rows: int,
    any_case: bool = False,
) -> Iterator[ChangeBatch]:
    """Change batches of at most ``batch_rows`` rows, the two rows of an update together.

    ``kinds`` is the kind of all rows, or the name of the column that says it (``+I``, ``-U``, ``+U``, ``-D`` or the names of
    :class:`RowKind`). Columns are cast to the types that the table has; RowRefused if a value doesn't fit. ``any_case``: a column
    of the table, and one of the key, is also found by a name that differs in case only.
    """
    for piece in pieces(rows):
        values = piece.table
        if isinstance(kinds, RowKind):
            codes = np.full(values.num_rows, int(kinds), dtype=np.uint8)
        else:
            codes = _codes(values, kinds, table)
            values = values.drop_columns([kinds])
        known, own_key = existing, key
        if any_case:
            known = existing.called(values.column_names) if existing is not None else None
            own_key = [called(name, values.column_names) for name in key]
        schema, values = _fit(values, table, own_key, known)
        batch = ChangeBatch.of(schema, values, codes, present=piece.present)
        start = 0
        while start < batch.num_rows:
            end = min(start + batch_rows, batch.num_rows)
            if end < batch.num_rows and codes[end - 1] == RowKind.UPDATE_BEFORE:
                end += 1
            yield batch.slice(start, end - start)
            start = end


def _codes(values: pa.Table, column: str, table: TableName) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if column not in values.column_names:
        raise SchemaError(f"the rows have no column {column} with their kinds", table=table, setting="kind_column")
    texts = pc.utf8_upper(values.column(column).cast(pa.string()))
    codes = pc.index_in(texts, pa.array(list(_KINDS)))
    if codes.null_count:
        raise EventRefused(
            f"{codes.null_count} rows whose {column} is none of {', '.join(_KINDS)}", table=table, setting="kind_column"
        )
    lookup = np.array([int(kind) for kind in _KINDS.values()], dtype=np.uint8)
    return np.asarray(lookup[codes.to_numpy()], dtype=np.uint8)


def _fit(values: pa.Table, table: TableName, key: Sequence[str], existing: TableSchema | None) -> tuple[TableSchema, pa.Table]:
    """The rows in canonical types, those of the table where it has the column."""
    columns, arrays = [], []
    known = {column.name: column for column in existing.columns} if existing is not None else {}
    for item, array in zip(values.schema, values.columns, strict=True):
        column = known.get(item.name) or Column(item.name, canonical(item.type), item.nullable)
        columns.append(column)
        arrays.append(_cast(array, column, table))
    schema = TableSchema(table, tuple(columns), tuple(key))
    return schema, pa.table(arrays, names=[column.name for column in columns])


def _cast(array: pa.ChunkedArray, column: Column, table: TableName) -> pa.ChunkedArray:
    kind = array.type
    if kind == column.type:
        return array
    try:
        if pa.types.is_time(kind):  # a time of day is the time since midnight
            unit = "us" if pa.types.is_time64(kind) else "ms"
            return (
                array.cast(pa.time64("us") if unit == "us" else pa.time32("ms"))
                .cast(pa.int64() if unit == "us" else pa.int32())
                .cast(pa.duration(unit))
                .cast(column.type)
            )
        return array.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        what = f"values of type {kind} that {column.type} can't hold"
        raise RowRefused(what, column=column.name, rows=array, table=table) from error
