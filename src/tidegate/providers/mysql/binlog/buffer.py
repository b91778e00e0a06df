"""Rows read from the log and not yet given out, per table, as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tidegate.changes.batch import ChangeBatch, RowKind, concat
from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused
from tidegate.providers.mysql.binlog.rows import Layout, decode_rows
from tidegate.providers.mysql.policy import ValueRefused, refusal

_PIECE_ROWS = 16_384
"""Rows after which values become columns: as Python objects they take some ten times the memory."""


class TableBuffer:
    """The rows of one table. A change of layout closes the batch."""

    def __init__(self, layout: Layout, connection: str) -> None:
        self._connection = connection
        self._done: list[ChangeBatch] = []
        self._begin(layout)

    def _begin(self, layout: Layout) -> None:
        self._layout = layout
        self._pieces: list[ChangeBatch] = []
        self._begin_piece()

    def _begin_piece(self) -> None:
        self._columns: list[list[Any]] = [[] for _ in self._layout.schema.columns]
        self._kinds = bytearray()
        self._events: list[tuple[str, int, int, int, int]] = []

    def add(self, layout: Layout, kind: RowKind, data: bytes, pos: int, *, file: str, offset: int, first: int, seconds: int) -> int:
        """Decode the row images in ``data[pos:]`` and return how many there were. ``UPDATE_BEFORE`` stands for pairs.

        Rows are numbered from ``first`` on: events within one compressed transaction share their ``offset``.
        """
        if layout is not self._layout:
            self._close()
            self._begin(layout)
        count = decode_rows(layout, data, pos, len(data), self._columns)
        if kind is RowKind.UPDATE_BEFORE:
            self._kinds += bytes((RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER)) * (count // 2)
        else:
            self._kinds += bytes((kind,)) * count
        self._events.append((file, offset, count, first, seconds))
        if len(self._kinds) >= _PIECE_ROWS:
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
        if self._kinds:
            self._pieces.append(self._batch())
            self._begin_piece()

    def _batch(self) -> ChangeBatch:
        schema = self._layout.schema
        arrays = []
        for column, values, finish in zip(schema.columns, self._columns, self._layout.finishers, strict=True):
            try:
                arrays.append(finish(values))
            except (pa.ArrowException, ValueError, IndexError, UnicodeDecodeError) as error:
                what, setting = refusal(column.name, column.type, error)
                file, offset = self._where(error.row if isinstance(error, ValueRefused) else 0)
                raise EventRefused(
                    what, connection=self._connection, table=schema.table, position=f"{file}:{offset}", setting=setting
                ) from error
        files, offsets, counts, firsts, seconds = zip(*self._events, strict=True)
        each = np.array(counts)
        starts = np.repeat(np.cumsum(each) - each, each)
        return ChangeBatch.of(
            schema,
            pa.Table.from_arrays(arrays, schema=schema.arrow()),
            np.frombuffer(bytes(self._kinds), dtype=np.uint8),
            file=pa.array(np.repeat(np.array(files, dtype=object), each), pa.string()),
            offset=pa.array(np.repeat(np.array(offsets, dtype=np.uint64), each)),
            row=pa.array((np.arange(len(starts)) - starts + np.repeat(np.array(firsts), each)).astype(np.uint32)),
            time=pa.array(np.repeat(np.array(seconds, dtype=np.int64) * 1_000_000, each)).cast(pa.timestamp("us", tz="UTC")),
        )

    def _where(self, row: int) -> tuple[str, int]:
        """The event that a row of the piece is of."""
        for file, offset, count, *_ in self._events:
            if row < count:
                return file, offset
            row -= count
        raise IndexError(row)


class Pending:
    """The rows of all tables that the next chunk will hold."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._tables: dict[TableName, TableBuffer] = {}
        self.rows = 0
        self.bytes = 0

    def add(self, layout: Layout, kind: RowKind, data: bytes, pos: int, *, file: str, offset: int, first: int, seconds: int) -> int:
        """As :meth:`TableBuffer.add`."""
        table = layout.schema.table
        if table not in self._tables:
            self._tables[table] = TableBuffer(layout, self._connection)
        count = self._tables[table].add(layout, kind, data, pos, file=file, offset=offset, first=first, seconds=seconds)
        self.rows += count
        self.bytes += len(data) - pos
        return count

    def take(self) -> tuple[ChangeBatch, ...]:
        """All batches, tables in the order of their first row; nothing is pending afterwards."""
        batches = tuple(batch for buffer in self._tables.values() for batch in buffer.take())
        self.rows = self.bytes = 0
        return batches
