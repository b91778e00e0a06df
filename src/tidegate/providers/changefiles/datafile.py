"""The data files of a segment: Parquet with zstd, written as rows stream by, verified before a row of them is handed on.

Parquet and not Arrow IPC, which is written faster and is no larger: a captured change log is also something to query, and every
engine reads Parquet. The canonical types survive exactly, by the Arrow schema that pyarrow stores in each file.

A row group is one write of whole batches, so that an update's two rows stand in one row group. Columns that not every batch has are
filled in: a missing ``file``, ``offset``, ``row`` or ``time`` is null, a missing ``present:`` column true.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.changes.batch import FILE, KIND, OFFSET, PRESENT, ROW, TIME, ChangeBatch, RowKind, TableEventKind, concat
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import CorruptSegment, EventRefused
from tidegate.providers.changefiles.manifest import DataFile, Phase, StoredEvent
from tidegate.providers.changefiles.store import Store

FOLDER = "data"
ROW_GROUP_BYTES = 8 * 1024 * 1024
"""Rows of a table are gathered up to this size before they are written."""
PENDING_BYTES = 32 * 1024 * 1024
"""What all tables of a load gather together."""
FILE_BYTES = 16 * 1024 * 1024
"""A data file is ended at this size, and the next begun: readers hold one file in memory, whole, to verify it."""

_HIDDEN = pa.schema(
    [
        pa.field(KIND, pa.uint8()),
        pa.field(FILE, pa.string()),
        pa.field(OFFSET, pa.uint64()),
        pa.field(ROW, pa.uint32()),
        pa.field(TIME, pa.timestamp("us", tz="UTC")),
    ]
)


class SegmentWriter:
    """Writes the data files of one segment. Memory is bounded however many rows come."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lanes: dict[tuple[TableName, Phase], _Lane] = {}
        self.events: list[StoredEvent] = []
        """What happened to whole tables, in order."""

    def add(self, batch: ChangeBatch, phase: Phase) -> None:
        """Take the next rows of a table; ``batch.schema.table`` is the name that they are stored under."""
        if not batch.num_rows:
            return
        if batch.kinds[-1] == RowKind.UPDATE_BEFORE:
            raise EventRefused("a batch ends between the two rows of an update", table=batch.schema.table)
        lane = self._lanes.setdefault((batch.schema.table, phase), _Lane(self._store, phase))
        lane.add(batch)
        if sum(lane.pending_bytes for lane in self._lanes.values()) >= PENDING_BYTES:
            max(self._lanes.values(), key=lambda lane: lane.pending_bytes).flush()

    def happen(
        self, table: TableName, kind: TableEventKind, what: str, column: Column | None = None, value: pa.Scalar | None = None
    ) -> None:
        """Take an event of a whole table at its place: the files that its rows stand in end here."""
        lanes = [lane for (name, _), lane in self._lanes.items() if name == table]
        before = sum(lane.end() for lane in lanes)
        self.events.append(StoredEvent(table, kind, what, before, column, value))

    def finish(self) -> tuple[DataFile, ...]:
        """Write what is left; the files, durable and in source order per table."""
        return tuple(item for lane in self._lanes.values() for item in lane.finish())

    def discard(self) -> None:
        """Remove what was written."""
        for lane in self._lanes.values():
            lane.discard()


class _Lane:
    """One table's rows of one phase, on their way into files."""

    def __init__(self, store: Store, phase: Phase) -> None:
        self._store = store
        self._phase = phase
        self._pending: list[ChangeBatch] = []
        self.pending_bytes = 0
        self._file: _OpenFile | None = None
        self._done: list[DataFile] = []

    def add(self, batch: ChangeBatch) -> None:
        if self._pending and self._pending[0].schema != batch.schema:
            self.flush()
        self._pending.append(batch)
        self.pending_bytes += batch.nbytes
        if self.pending_bytes >= ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._pending:
            return
        batch = concat(self._pending)
        self._pending, self.pending_bytes = [], 0
        if self._file is not None and not self._file.takes(batch):
            self._end_file()
        if self._file is None:
            self._file = _OpenFile(self._store, batch, self._phase)
        self._file.write(batch)
        if self._file.bytes >= FILE_BYTES:
            self._end_file()

    def end(self) -> int:
        """End the file that is being written; how many there are."""
        self.flush()
        self._end_file()
        return len(self._done)

    def finish(self) -> list[DataFile]:
        self.end()
        return self._done

    def discard(self) -> None:
        names = [item.name for item in self._done]
        if self._file is not None:
            self._file.abandon()
            names.append(self._file.name)
            self._file = None
        for name in names:
            self._store.remove(name)

    def _end_file(self) -> None:
        if self._file is not None:
            self._done.append(self._file.close())
            self._file = None


class _OpenFile:
    """A data file being written."""

    def __init__(self, store: Store, first: ChangeBatch, phase: Phase) -> None:
        # Part of the name is for people, the random part makes it new: two tables may share the first.
        readable = re.sub(r"[^A-Za-z0-9_.-]", "_", str(first.schema.table))[:80]
        self.name = f"{FOLDER}/{readable}-{uuid.uuid4().hex}.parquet"
        self._schema = first.schema
        self._phase: Phase = phase
        self._arrow = _file_schema(first)
        self._counts = dict.fromkeys(RowKind, 0)
        self._arrow_bytes = 0
        self._newest: datetime | None = None
        self._stack = contextlib.ExitStack()
        self._sink = _Hashed(self._stack.enter_context(store.open(self.name)))
        self._writer = pq.ParquetWriter(self._sink, self._arrow, compression="zstd")

    @property
    def bytes(self) -> int:
        return self._sink.size

    def takes(self, batch: ChangeBatch) -> bool:
        """Whether the batch has this file's schema, and no column that the file lacks."""
        return batch.schema == self._schema and set(batch.data.column_names) <= set(self._arrow.names)

    def write(self, batch: ChangeBatch) -> None:
        self._writer.write_table(conform(batch.data, self._arrow), row_group_size=batch.num_rows)
        for kind, count in batch.counts().items():
            self._counts[kind] += count
        self._arrow_bytes += batch.nbytes
        if TIME in batch.data.column_names:
            newest = pc.max(batch.data.column(TIME)).as_py()
            if newest is not None and (self._newest is None or newest > self._newest):
                self._newest = newest

    def close(self) -> DataFile:
        self._writer.close()
        self._stack.close()
        return DataFile(
            self.name,
            self._schema,
            self._phase,
            self._counts,
            self._sink.size,
            self._arrow_bytes,
            self._sink.sha256.hexdigest(),
            self._newest,
        )

    def abandon(self) -> None:
        self._writer.close()
        self._stack.close()


def _file_schema(batch: ChangeBatch) -> pa.Schema:
    """The columns of a file that begins with this batch."""
    present = [pa.field(name, pa.bool_()) for name in batch.data.column_names if name.startswith(PRESENT)]
    return pa.schema([*log_schema(batch.schema), *present])


def log_schema(schema: TableSchema) -> pa.Schema:
    """A table's columns, all nullable since a change may leave any of them out, and the hidden columns of every data file."""
    return pa.schema([*(pa.field(column.name, column.type) for column in schema.columns), *_HIDDEN])


def conform(data: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows under exactly this schema; a column that they lack is null, or present."""
    columns = []
    for item in schema:
        if item.name in data.column_names:
            columns.append(data.column(item.name).cast(item.type))
        elif item.name.startswith(PRESENT):
            columns.append(pa.array(np.ones(data.num_rows, dtype=np.bool_)))
        else:
            columns.append(pa.nulls(data.num_rows, item.type))
    return pa.table(columns, schema=schema)


def read(store: Store, item: DataFile, number: int, connection: str) -> Iterator[ChangeBatch]:
    """The rows of a data file of segment ``number``, one batch a row group.

    CorruptSegment, before the first row is handed on, if the file is missing or its size, checksum, schema or rows by kind differ
    from the manifest.
    """

    def corrupt(what: str) -> CorruptSegment:
        where = f"segment {number}, {item.name}"
        return CorruptSegment(f"{where}: {what}", connection=connection, table=item.table)

    try:
        data = store.read(item.name)
    except FileNotFoundError:
        raise corrupt("the file is missing") from None
    if len(data) != item.bytes:
        raise corrupt(f"{len(data)} bytes, and the manifest says {item.bytes}")
    if hashlib.sha256(data).hexdigest() != item.sha256:
        raise corrupt("its bytes differ from the manifest's checksum")
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise corrupt("not a Parquet file") from error
    if difference := _difference(item.schema, file.schema_arrow):
        raise corrupt(difference)
    counts = np.bincount(file.read([KIND]).column(KIND).to_numpy(), minlength=len(RowKind))
    if len(counts) > len(RowKind):
        raise corrupt("rows of an unknown kind")
    for kind in RowKind:
        if counts[kind] != item.rows[kind]:
            raise corrupt(f"{counts[kind]} rows of kind {kind.name}, and the manifest says {item.rows[kind]}")
    for group in range(file.num_row_groups):
        yield ChangeBatch(item.schema, file.read_row_group(group))


def _difference(schema: TableSchema, found: pa.Schema) -> str | None:
    """How the columns of a file differ from the schema; None if they don't."""
    if tuple(found.names[: len(schema.columns)]) != schema.names or KIND not in found.names:
        return "its columns are not those of the manifest"
    for column in schema.columns:
        kind = found.field(column.name).type
        if kind != column.type:
            return f"column {column.name} is {kind}, and the manifest says {column.type}"
    return None


class _Hashed(io.RawIOBase):
    """Passes bytes on, counting and hashing them."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.size = 0
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._target.write(data)
        self.sha256.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size
