"""Rows read from the log and not yet given out, per table, as columns."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa

from tidegate.changes.batch import ChangeBatch, RowKind, concat
from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused
from tidegate.providers.mysql.binlog.gather import MOST
from tidegate.providers.mysql.binlog.images import BadValue, BrokenRow, decode_rows, find_rows
from tidegate.providers.mysql.binlog.rows import Layout
from tidegate.providers.mysql.policy import ValueRefused, refusal

_PIECE_ROWS = 16_384
_PIECE_BYTES = 8 * 1024 * 1024
"""Rows, or bytes of row images, after which they are decoded: enough that numpy's cost per column doesn't count, and few enough
that what is worked on stays in the processor's cache."""
_MOST_AT_ONCE = MOST - _PIECE_BYTES
_UPDATE = RowKind.UPDATE_BEFORE
_EVENT = np.dtype([("offset", "<u8"), ("count", "<u4"), ("first", "<u4"), ("seconds", "<u4"), ("kind", "u1")])
"""What is kept of each row event, packed: its end, its rows and the number of the first, their time and kind."""
_pack = struct.Struct("<QIIIB").pack


class TableBuffer:
    """The rows of one table. A change of layout closes the batch."""

    def __init__(self, layout: Layout, connection: str) -> None:
        self._connection = connection
        self._done: list[ChangeBatch] = []
        self._file = ""
        self._begin(layout)

    def _begin(self, layout: Layout) -> None:
        self._layout = layout
        self._pieces: list[ChangeBatch] = []
        self._begin_piece()

    def _begin_piece(self) -> None:
        self._data = bytearray()
        self._starts: list[int] = []
        self._events = bytearray()

    def add(
        self, layout: Layout, kind: int, data: bytes, pos: int, end: int, file: str, offset: int, first: int, seconds: int
    ) -> int:
        """Take the row images in ``data[pos:end]`` and return how many there are. ``UPDATE_BEFORE`` stands for pairs.

        Rows are numbered from ``first`` on: events within one compressed transaction share their ``offset``.
        """
        if layout is not self._layout:
            self._close()
            self._begin(layout)
        if file != self._file:
            self._end_piece()
            self._file = file
        collected, starts = self._data, self._starts
        begin = len(collected)
        collected += data[pos:end]
        try:
            count = find_rows(layout.shape, collected, begin, starts)
            if kind == _UPDATE and count & 1:
                raise BrokenRow("an update has a row before and none after")
            if end - pos > _MOST_AT_ONCE:
                raise BrokenRow("more than can be decoded at once")
        except BrokenRow as error:
            raise EventRefused(
                f"row event with {end - pos} bytes of rows: {error}",
                connection=self._connection,
                table=layout.schema.table,
                position=f"{file}:{offset}",
            ) from error
        self._events += _pack(offset, count, first, seconds, kind)
        if len(starts) >= _PIECE_ROWS or len(collected) >= _PIECE_BYTES:
            self._end_piece()
        return count

    def take(self) -> list[ChangeBatch]:
        """The batches so far; the buffer is empty afterwards."""
        self._close()
        self._begin(self._layout)
        done, self._done = self._done, []
        return done

    def _close(self) -> None:
        self._end_piece()
        if self._pieces:
            self._done.append(concat(self._pieces))

    def _end_piece(self) -> None:
        if self._starts:
            self._pieces.append(self._batch())
            self._begin_piece()

    def _batch(self) -> ChangeBatch:
        layout, schema = self._layout, self._layout.schema
        events = np.frombuffer(self._events, dtype=_EVENT)
        try:
            arrays = decode_rows(layout.shape, layout.places, self._data, self._starts)
        except BadValue as error:
            raise self._refused(error, events) from error
        count = len(self._starts)
        each = events["count"].astype(np.int64)
        rows = np.arange(count) - np.repeat(np.cumsum(each) - each, each)
        kinds = np.repeat(events["kind"], each)
        kinds[(kinds == _UPDATE) & (rows & 1 == 1)] = RowKind.UPDATE_AFTER
        return ChangeBatch.of(
            schema,
            pa.Table.from_arrays(arrays, schema=schema.arrow()),
            kinds,
            file=pa.repeat(pa.scalar(self._file, pa.string()), count),
            offset=pa.array(np.repeat(events["offset"], each)),
            row=pa.array((rows + np.repeat(events["first"], each)).astype(np.uint32)),
            time=pa.array(np.repeat(events["seconds"].astype(np.int64) * 1_000_000, each)).cast(pa.timestamp("us", tz="UTC")),
        )

    def _refused(self, error: BadValue, events: np.ndarray[Any, Any]) -> EventRefused:
        """The event of the value, where that is known; else the events that it is among."""
        column, cause = self._layout.schema.columns[error.place], error.__cause__
        what, setting = refusal(column.name, column.type, cause if isinstance(cause, Exception) else error)
        event = events[0]
        if isinstance(cause, ValueRefused):
            event = events[np.searchsorted(np.cumsum(events["count"]), cause.row, side="right")]
        elif len(events) > 1:
            what = f"{what}, there or before {self._where(events[-1])}"
        return EventRefused(
            what, connection=self._connection, table=self._layout.schema.table, position=self._where(event), setting=setting
        )

    def _where(self, event: np.void) -> str:
        return f"{self._file}:{event['offset']}"


class Pending:
    """The rows of all tables that the next chunk will hold."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._tables: dict[TableName, TableBuffer] = {}
        self._by_layout: dict[Layout, TableBuffer] = {}
        self.rows = 0
        self.bytes = 0

    def add(
        self, layout: Layout, kind: int, data: bytes, pos: int, end: int, file: str, offset: int, first: int, seconds: int
    ) -> int:
        """As :meth:`TableBuffer.add`."""
        buffer = self._by_layout.get(layout)
        if buffer is None:
            table = layout.schema.table
            if table not in self._tables:
                self._tables[table] = TableBuffer(layout, self._connection)
            buffer = self._by_layout[layout] = self._tables[table]
        count = buffer.add(layout, kind, data, pos, end, file, offset, first, seconds)
        self.rows += count
        self.bytes += end - pos
        return count

    def take(self) -> tuple[ChangeBatch, ...]:
        """All batches, tables in the order of their first row; nothing is pending afterwards."""
        batches = tuple(batch for buffer in self._tables.values() for batch in buffer.take())
        self.rows = self.bytes = 0
        return batches
