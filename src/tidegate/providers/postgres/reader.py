"""Reading a table: COPY TO STDOUT as CSV, parsed into Arrow."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tidegate.changes.schema import Column, TableName
from tidegate.errors import PermanentError, SchemaError
from tidegate.providers.postgres.catalog import Catalog
from tidegate.providers.postgres.encode import flat, unhex
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.sql import PostgresSql
from tidegate.providers.postgres.types import PgColumn, canonical_type

_BLOCK_BYTES = 4 << 20


def read_table(
    session: Session, sql: PostgresSql, catalog: Catalog, table: TableName, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """The rows in canonical types. ``session`` is used up: it may be in the middle of a COPY when the caller stops early."""
    found = catalog.table(session, table)
    if found is None:
        raise SchemaError("there is no such table", connection=session.name, table=table)
    chosen = []
    for name in columns if columns is not None else found.names:
        column = found.column(name)
        if column is None:
            raise SchemaError(f"no column {name}", connection=session.name, table=table)
        chosen.append(column)
    if not chosen:
        raise SchemaError("no columns to read", connection=session.name, table=table)
    schema = pa.schema([_field(column) for column in chosen])
    query = f"SELECT {', '.join(_expression(sql, column) for column in chosen)} FROM {sql.table(table)}"
    empty = True
    for block in _copied(session, sql.copy_out(query), table):
        empty = False
        yield from _parsed(block, table, schema, session.name)
    if empty:
        yield pa.RecordBatch.from_arrays([pa.array([], item.type) for item in schema], schema=schema)


def _field(column: PgColumn) -> pa.Field:
    kind, attributes = canonical_type(column)
    return Column(column.name, kind, not column.not_null, attributes).arrow()


def _expression(sql: PostgresSql, column: PgColumn) -> str:
    name = sql.name(column.name)
    match column.type:
        case "interval" | "time":
            return f"CAST(extract(epoch FROM {name}) * 1000000 AS bigint)"
        case "timestamptz":
            return f"{name} AT TIME ZONE 'UTC'"
        case "bpchar":
            return f"CAST({name} AS text)"
    return name


def _wire(kind: pa.DataType) -> pa.DataType:
    """What the CSV parser makes of the column before :func:`_canonical` does the rest."""
    if kind == pa.binary() or pa.types.is_decimal256(kind):
        return pa.string()
    if kind == pa.duration("us"):
        return pa.int64()
    return pa.timestamp("us") if pa.types.is_timestamp(kind) else kind


def _canonical(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if kind == pa.binary():
        return unhex(flat(column))
    if pa.types.is_timestamp(kind) and kind.tz:
        return pc.assume_timezone(column, "UTC")
    return column.cast(kind)


class _Blocks:
    """COPY writes row by row in a thread of its own; blocks of whole rows come out."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self._size = 0
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=2)
        self._stopped = threading.Event()

    def write(self, row: bytes) -> int:
        """One row, as the driver hands it over."""
        self._rows.append(row)
        self._size += len(row)
        if self._size >= _BLOCK_BYTES:
            self._flush()
        return len(row)

    def end(self, error: BaseException | None) -> None:
        """There are no more rows, or an error instead of them."""
        if error is None and self._rows:
            self._flush()
        self._put(error)

    def stop(self) -> None:
        """Nobody wants the rest."""
        self._stopped.set()

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def _flush(self) -> None:
        self._put(b"".join(self._rows))
        self._rows, self._size = [], 0

    def _put(self, item: bytes | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.05)
                return
            except queue.Full:
                continue
        raise BrokenPipeError("the reader has stopped")


def _copied(session: Session, statement: str, table: TableName) -> Iterator[bytes]:
    blocks = _Blocks()

    def push() -> None:
        error: BaseException | None = None
        try:
            session.copy_out(statement, blocks, table=table)
        except BaseException as caught:
            error = caught
        with suppress(BrokenPipeError):
            blocks.end(error)

    thread = threading.Thread(target=push, name="tidegate-read", daemon=True)
    thread.start()
    try:
        yield from blocks
    finally:
        blocks.stop()
        thread.join()


def _parsed(block: bytes, table: TableName, schema: pa.Schema, connection: str) -> Iterator[pa.RecordBatch]:
    names = [str(index) for index in range(len(schema))]
    convert = pyarrow.csv.ConvertOptions(
        column_types={name: _wire(item.type) for name, item in zip(names, schema, strict=True)},
        # NULL is the empty field without quotes; everything else is quoted.
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    # One block of the parser, however long a row is.
    read = pyarrow.csv.ReadOptions(column_names=names, block_size=len(block) + 1, use_threads=False)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    try:
        found = pyarrow.csv.read_csv(pa.py_buffer(block), read, parse, convert)
        columns = [_canonical(column, item.type) for column, item in zip(found.columns, schema, strict=True)]
        yield from pa.table(columns, schema=schema).to_batches()
    except pa.ArrowInvalid as error:
        # The parser's text names the column by number and quotes the value: neither is for a message.
        number = re.search(r"column #(\d+)", str(error))
        column = f"column {schema.names[int(number[1])]}" if number and int(number[1]) < len(schema) else "a column"
        what = f"{column} holds a value without canonical form (infinity, BC, NaN in numeric)"
        raise PermanentError(what, connection=connection, table=table) from None
