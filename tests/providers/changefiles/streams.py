"""What the tests of change files share: a small table, batches of it, and streams to write and read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidegate.changes.batch import KIND, ChangeBatch, Chunk, RowKind
from tidegate.changes.position import BinlogPosition, Position
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.providers.changefiles.connection import SYSTEM
from tidegate.providers.changefiles.sink import ChangeFilesSink
from tidegate.providers.changefiles.source import ChangeFilesSource
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Entry, Lease, Limits, Window

ORDERS = TableName("shop", "orders")
ITEMS = TableName("shop", "items")
SCHEMAS = {
    table: TableSchema(table, (Column("id", pa.int64(), False), Column("note", pa.string())), ("id",)) for table in (ORDERS, ITEMS)
}
OPTIONS = WriteOptions(write_mode="append")
TARGETS = {table: Target(table, schema, OPTIONS) for table, schema in SCHEMAS.items()}

Row = tuple[RowKind, int, str | None]
INSERT, BEFORE, AFTER, DELETE = RowKind


def binlog(offset: int) -> BinlogPosition:
    return BinlogPosition("binlog.000001", offset, "server-1")


def batch(rows: Sequence[Row], table: TableName = ORDERS, time: datetime | None = None) -> ChangeBatch:
    data = pa.table(
        {"id": pa.array([row[1] for row in rows], pa.int64()), "note": pa.array([row[2] for row in rows], pa.string())},
    )
    hidden: dict[str, Any] = {"time": pa.array([time] * len(rows), pa.timestamp("us", tz="UTC"))} if time else {}
    kinds = pa.array([int(row[0]) for row in rows], pa.uint8())
    return ChangeBatch.of(SCHEMAS[table], data, kinds, **hidden)


def inserts(*ids: int, table: TableName = ORDERS, time: datetime | None = None) -> ChangeBatch:
    return batch([(INSERT, number, f"note {number}") for number in ids], table, time)


def open_sink(url: Path | str, **fields: Any) -> ChangeFilesSink:
    sink = SYSTEM.open_sink({"url": str(url)} | fields, "capture")
    assert isinstance(sink, ChangeFilesSink)
    return sink


def open_source(url: Path | str, **fields: Any) -> ChangeFilesSource:
    source = SYSTEM.open_source({"url": str(url)} | fields, "replay")
    assert isinstance(source, ChangeFilesSource)
    return source


def entry(table: TableName, position: Position, sync: str = "capture_shop") -> Entry:
    return Entry(sync, table, table, position, run="run-1", schema=SCHEMAS[table])


def commit(sink: ChangeFilesSink, lease: Lease | None, offset: int, *batches: ChangeBatch, copy: bool = False) -> None:
    """Append a segment that moves both tables to ``offset``."""
    load = sink.begin(list(TARGETS.values()), lease)
    for item in batches:
        load.write(TARGETS[item.schema.table], item, "fresh" if copy else None)
    load.commit([] if lease is None else [entry(table, binlog(offset), lease.sync) for table in TARGETS])


def stream_of(url: Path | str, *segments: Sequence[ChangeBatch]) -> ChangeFilesSink:
    """A stream with these segments; the first is a copy."""
    sink = open_sink(url)
    sink.ledger.setup()
    lease = sink.ledger.acquire("capture_shop", "someone", 60)
    for number, batches in enumerate(segments):
        commit(sink, lease, 100 * (number + 1), *batches, copy=number == 0)
    sink.ledger.release(lease)
    return sink


def replay(
    source: ChangeFilesSource, tables: Sequence[TableName] = (ORDERS,), limits: Limits | None = None, **after: Position
) -> list[Chunk]:
    """All chunks up to the source's head, from the beginning or, by table name, from a position."""
    start = source.start(tables, consistent=False)
    window = Window({table: after.get(table.name, start[table]) for table in tables}, source.head())
    return list(source.read(window, limits or Limits()))


def rows_of(chunks: Sequence[Chunk], table: TableName = ORDERS) -> list[Row]:
    """The rows of a table as they came."""
    found: list[Row] = []
    for chunk in chunks:
        for item in chunk.batches:
            if item.schema.table == table:
                columns = [item.data.column(name).to_pylist() for name in (KIND, "id", "note")]
                found += [(RowKind(kind), number, note) for kind, number, note in zip(*columns, strict=True)]
    return found


NOW = datetime.now(UTC)
