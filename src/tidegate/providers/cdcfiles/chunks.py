"""From records to chunks: rows gathered by table, a column at a time made an Arrow array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tidegate.changes.batch import ChangeBatch, Chunk, TableEvent, joined
from tidegate.changes.position import Position
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import EventRefused
from tidegate.providers.cdcfiles.records import Record, Shape
from tidegate.providers.cdcfiles.values import Reader, Undecided
from tidegate.sync.protocols import Limits

_PENDING_BYTES = 2 * 1024 * 1024
"""Text of records that waits to become columns: parsed it takes many times as much."""
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, pa.ArrowException)
_ABSENT: Any = object()


@dataclass(slots=True)
class _Run:
    """Rows of one table and shape on their way into columns."""

    table: TableName
    shape: Shape
    kinds: list[int] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    origins: list[tuple[str, int, int, int | None]] = field(default_factory=list)
    """By record: the file, the line, its end, and when it was committed."""
    counts: list[int] = field(default_factory=list)
    """By record: its rows."""


class Builder:
    """A chunk being filled."""

    def __init__(self, limits: Limits, connection: str) -> None:
        self._limits = limits
        self._connection = connection
        self._runs: dict[TableName, _Run] = {}
        self._parts: list[ChangeBatch | TableEvent] = []
        self._rows = 0
        self._bytes = 0
        self._pending = 0

    @property
    def empty(self) -> bool:
        return not self._parts and not self._runs

    @property
    def full(self) -> bool:
        """Whether a limit was reached."""
        return self._rows >= self._limits.rows or self._bytes + self._pending >= self._limits.bytes

    def add(self, table: TableName, record: Record, file: str, line: int, end: int, size: int) -> None:
        """Take a record's rows, which stand in ``line`` of ``file``, up to byte ``end``."""
        assert record.shape is not None
        run = self._runs.get(table)
        if run is None or run.shape is not record.shape:
            if run is not None:
                self._finish(run)
            run = self._runs[table] = _Run(table, record.shape)
        for kind, row in record.rows:
            run.kinds.append(kind)
            run.rows.append(row)
        run.origins.append((file, line, end, record.time))
        run.counts.append(len(record.rows))
        self._rows += len(record.rows)
        self._pending += size
        if self._pending >= _PENDING_BYTES:
            self._finish_all()

    def happen(self, event: TableEvent) -> None:
        """Take an event of a table at its place among the table's rows."""
        run = self._runs.pop(event.table, None)
        if run is not None:
            self._finish(run)
        self._parts.append(event)

    def take(self, end: Position | None, schemas: dict[TableName, TableSchema]) -> Chunk:
        """The chunk; what follows begins anew."""
        self._finish_all()
        parts, self._parts = self._parts, []
        self._rows = self._bytes = 0
        return Chunk(tuple(joined(parts)), end, schemas if end is not None else {})

    def _finish_all(self) -> None:
        for run in self._runs.values():
            self._finish(run)
        self._runs = {}
        self._pending = 0

    def _finish(self, run: _Run) -> None:
        schema = run.shape.schema
        if unknown := set().union(*run.rows) - set(schema.names):
            line = next(index for index, row in enumerate(run.rows) if unknown & row.keys())
            what = f"columns that are not declared: {', '.join(sorted(unknown))}"
            raise self._refused(run, line, what, "ddl")
        arrays, present = [], {}
        for name in schema.names:
            values = [row.get(name, _ABSENT) for row in run.rows]
            if _ABSENT in values:
                present[name] = pa.array([value is not _ABSENT for value in values], pa.bool_())
                values = [None if value is _ABSENT else value for value in values]
            arrays.append(self._read(run, name, run.shape.readers[name], values))
        rows = pa.table(arrays, names=list(schema.names))
        of = pa.array(np.repeat(np.arange(len(run.counts)), run.counts))
        files, _, ends, times = zip(*run.origins, strict=True)
        micros = [None if time is None else time * 1000 for time in times]
        batch = ChangeBatch.of(
            schema,
            rows,
            pa.array(run.kinds, pa.uint8()),
            present=present,
            file=pa.array(files, pa.string()).take(of),
            offset=pa.array(ends, pa.uint64()).take(of),
            row=pa.array([number for count in run.counts for number in range(count)], pa.uint32()),
            time=pa.array(micros, pa.timestamp("us", tz="UTC")).take(of),
        )
        self._bytes += batch.nbytes
        self._parts.append(batch)

    def _read(self, run: _Run, name: str, reader: Reader, values: list[Any]) -> pa.Array:
        try:
            return reader(values)
        except _UNREADABLE as error:
            # The cause is left out: its text may hold the value.
            index = _first_unreadable(reader, values)
            if isinstance(error, Undecided):
                raise self._refused(run, index, f"column {name}: {error}", error.setting) from None
            what = f"column {name}: a value that isn't of its type, {run.shape.schema.column(name).type}"
            raise self._refused(run, index, what, "ddl") from None

    def _refused(self, run: _Run, index: int, what: str, setting: str) -> EventRefused:
        file, line, *_ = run.origins[int(np.searchsorted(np.cumsum(run.counts), index, side="right"))]
        where = f"{file}:{line}"
        return EventRefused(what, connection=self._connection, table=run.table, position=where, setting=setting)


def _first_unreadable(reader: Reader, values: Sequence[Any]) -> int:
    for index, value in enumerate(values):
        try:
            reader([value])
        except _UNREADABLE:
            return index
    return 0
