"""Change files as a source: a stream's segments, replayed.

A stream begins with a first copy, whose rows are inserts like any other here, and goes on with changes. Where the two overlap, a
change may meet a row that has it already, or a row that is gone: merged by key, the end is the same.

A table that was followed live goes on from segments: where it stands in the log of its server is found among them, and of the
segment that holds that place the rows before it are left out, by the log's positions that captured rows carry (``handover``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tidegate.changes.batch import ChangeBatch, Chunk, RowKind, TableEvent, joined
from tidegate.changes.position import BinlogPosition, Position, SegmentPosition
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, PositionLost, PreflightError, SchemaError, TidegateError
from tidegate.providers.changefiles import datafile, handover
from tidegate.providers.changefiles.manifest import DataFile, Manifest
from tidegate.providers.changefiles.store import open_store
from tidegate.providers.changefiles.stream import Stream
from tidegate.sync.protocols import Findings, Limits, Window


class ChangeFilesSource:
    """A stream to read, as it was at the last :meth:`preflight` or :meth:`head`: a folder is not listed anew for each table.

    ``segments_per_run`` bounds how far :meth:`head` lies past the lowest of the positions that :meth:`preflight` was given.
    """

    def __init__(self, stream: Stream, name: str, segments_per_run: int | None = None) -> None:
        self._stream = stream
        self._name = name
        self._segments_per_run = segments_per_run
        self._stored: tuple[int, ...] = (0,)
        self._view: _View | None = None
        self._reached = 0
        self._newest_read: datetime | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def copies_at_once(self) -> int:
        """1: nothing is copied, changes are read."""
        return 1

    def current(self, position: Position, table: TableName) -> Position:
        """The same."""
        return position

    def preflight(self, stored: Mapping[TableName, Position | None]) -> Findings:
        try:
            view = self._look()
        except PreflightError as error:
            return Findings((error,))
        problems: list[TidegateError] = []
        numbers = []
        for table, position in stored.items():
            try:
                self._schema(view, table)
                numbers.append(self._check(view, table, position).segment)
            except TidegateError as error:
                problems.append(error)
        if not problems:
            self._stored = tuple(numbers) or (0,)
            self._reached = min(self._stored)
        return Findings(tuple(problems))

    def schema(self, table: TableName) -> TableSchema:
        return self._schema(self._view or self._look(), table)

    def estimate(self, table: TableName, after: Position | None) -> int | None:
        """Exact: the changes between the position and :meth:`head`, by the manifests."""
        head = self._head(self._view or self._look())
        done = self._check(self._view or self._look(), table, after).segment
        return max(self._events(table, head) - self._events(table, done), 0)

    def start(self, tables: Sequence[TableName], *, consistent: bool) -> Mapping[TableName, Position]:
        """Before the first segment, for each of them."""
        view = self._view or self._look()
        for table in tables:
            self._schema(view, table)
        return {table: SegmentPosition(view.newest.stream) for table in tables}

    def locate(self, start: str) -> Position:
        """``latest``, or ``segment 7``: after that segment."""
        view = self._look()
        if start == "latest":
            return view.newest.end
        word, _, number = start.partition(" ")
        if word != "segment" or not number.isdigit():
            what = f"{start!r} is neither latest nor a segment; a stream can't be searched by time"
            raise ConfigError(what, connection=self._name, setting="start='latest' or 'segment N'")
        if not view.first <= int(number) + 1 <= view.newest.number + 1:
            what = f"no beginning after segment {number}: the stream has {view.first} to {view.newest.number}"
            raise ConfigError(what, connection=self._name, setting="start")
        if int(number) < view.first:
            return SegmentPosition(view.newest.stream, int(number))
        return self._stream.manifest(int(number)).end

    def head(self) -> SegmentPosition:
        """The last segment, or the last that one run may reach: ``segments_per_run`` past the table that is furthest behind,
        though never before where another table stands."""
        return self._stream.manifest(self._head(self._look())).end

    def read(self, window: Window, limits: Limits) -> Iterator[Chunk]:
        """Chunks of whole segments where they fit; a larger one is cut, and its pieces but the last have no end.

        CorruptSegment before a row of a damaged file is handed on, and for a gap in the numbers.
        """
        until = window.until if isinstance(window.until, SegmentPosition) else self.head()
        view = self._view or self._look()
        after = {table: self._check(view, table, position) for table, position in window.after.items()}
        first = min((reached.segment for reached in after.values()), default=until.segment)
        chunk = _Pending(limits)
        end, schemas = SegmentPosition(view.newest.stream, first), dict[TableName, TableSchema]()
        for manifest in self._stream.after(first, until.segment):
            wanted = {table for table, reached in after.items() if reached.segment < manifest.number}
            if chunk.parts and not chunk.fits([item for item in manifest.files if item.table in wanted]):
                yield chunk.take(end, schemas)
            for item in _in_order(manifest, wanted):
                if isinstance(item, TableEvent):
                    handover.check_event(item, after[item.table], manifest, self._name)
                    chunk.happen(item)
                    continue
                for batch in datafile.read(self._stream.store, item, manifest.number, self._name):
                    rest = handover.past(batch, after[item.table], manifest, self._name)
                    if rest.num_rows:
                        yield from chunk.add(rest)
                self._saw(item)
            end = manifest.end
            schemas = {table: manifest.tables[table].schema for table in after if table in manifest.tables}
        self._reached = until.segment
        yield chunk.take(until, schemas)

    def lag_seconds(self) -> float | None:
        if self._reached >= self._look().newest.number:
            return 0.0
        return None if self._newest_read is None else (datetime.now(UTC) - self._newest_read).total_seconds()

    def ack(self, position: Position) -> None:
        """Nothing to do: a stream keeps its segments until somebody removes them."""

    def close(self) -> None:
        """Nothing is held open."""

    def _look(self) -> _View:
        """The stream as it is now. PreflightError if there is none."""
        newest = self._stream.newest()
        if newest is None:
            what = f"{self._stream.store.url} holds no segments: nothing was captured into it yet, or it is another folder"
            raise PreflightError(what, connection=self._name, setting="url")
        self._view = _View(self._stream.numbers()[0], newest)
        return self._view

    def _head(self, view: _View) -> int:
        """The number of the last segment that one run may reach."""
        number = view.newest.number
        if self._segments_per_run is None:
            return number
        return min(number, max(max(self._stored), min(self._stored) + self._segments_per_run))

    def _schema(self, view: _View, table: TableName) -> TableSchema:
        if table not in view.newest.tables:
            there = ", ".join(sorted(str(name) for name in view.newest.tables)) or "none"
            raise SchemaError(f"not in the stream; its tables are {there}", connection=self._name, table=table)
        return view.newest.tables[table].schema

    def _check(self, view: _View, table: TableName, position: Position | None) -> handover.Reached:
        """The last segment that the table has. PositionLost for a position from which the stream can't go on."""
        newest = view.newest
        if position is None:
            position = SegmentPosition(newest.stream)
        if isinstance(position, BinlogPosition):
            return handover.find(self._stream, view.first, newest, table, position, self._name)
        if not isinstance(position, SegmentPosition):
            what = "the stored position is not one of change files: this sync read another source before"
        elif position.stream != newest.stream:
            what = (
                f"the stored position belongs to the stream {position.stream}, and {self._stream.store.url} holds {newest.stream}"
            )
        elif position.segment > newest.number:
            what = f"the stream ends with segment {newest.number}: later ones were removed, or it was restored from an older copy"
        elif position.segment + 1 < view.first:
            what = f"the stream begins with segment {view.first} now: the ones before were removed"
        else:
            return handover.Reached(position.segment)
        raise PositionLost(
            what, connection=self._name, table=table, position=position, setting="url, or another sync and target table"
        )

    def _events(self, table: TableName, number: int) -> int:
        if number == 0:
            return 0
        state = self._stream.manifest(number).tables.get(table)
        return state.events if state else 0

    def _saw(self, item: DataFile) -> None:
        if item.newest is not None and (self._newest_read is None or item.newest > self._newest_read):
            self._newest_read = item.newest


@dataclass(frozen=True, slots=True)
class _View:
    """A stream at one moment: the number of its first segment, and its last."""

    first: int
    newest: Manifest


@dataclass(slots=True)
class _Pending:
    """A chunk being filled."""

    limits: Limits
    parts: list[ChangeBatch | TableEvent] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def fits(self, files: Sequence[DataFile]) -> bool:
        """Whether these files go into it as well."""
        return (
            self.rows + sum(item.num_rows for item in files) <= self.limits.rows
            and self.bytes + sum(item.arrow_bytes for item in files) <= self.limits.bytes
        )

    def add(self, batch: ChangeBatch) -> Iterator[Chunk]:
        """Take a batch, in pieces; the chunks that it fills. An update's two rows stay together."""
        row_bytes = max(batch.nbytes // batch.num_rows, 1)
        kinds = batch.kinds
        start = 0
        while start < batch.num_rows:
            room = min(self.limits.rows - self.rows, (self.limits.bytes - self.bytes) // row_bytes)
            stop = min(start + max(room, 0), batch.num_rows)
            if start < stop < batch.num_rows and kinds[stop - 1] == RowKind.UPDATE_BEFORE:
                stop -= 1
            if stop == start and self.parts:
                yield self.take(None, {})
                continue
            if stop == start:
                # A row, or an update, that is larger than a chunk travels alone.
                stop = start + (2 if kinds[start] == RowKind.UPDATE_BEFORE else 1)
            piece = batch.slice(start, stop - start)
            self.parts.append(piece)
            self.rows += piece.num_rows
            self.bytes += piece.nbytes
            start = stop

    def happen(self, event: TableEvent) -> None:
        """Take an event."""
        self.parts.append(event)

    def take(self, end: Position | None, schemas: Mapping[TableName, TableSchema]) -> Chunk:
        """The chunk, joined to one batch per table and schema; what follows begins anew."""
        chunk = Chunk(tuple(joined(self.parts)), end, schemas)
        self.parts, self.rows, self.bytes = [], 0, 0
        return chunk


def _in_order(manifest: Manifest, tables: Collection[TableName]) -> Iterator[DataFile | TableEvent]:
    """A segment's files and events of tables, in source order per table."""
    waiting = [event for event in manifest.events if event.table in tables]
    seen: dict[TableName, int] = {}

    def due(table: TableName | None) -> Iterator[TableEvent]:
        for event in list(waiting):
            if table is None or (event.table == table and event.before <= seen.get(table, 0)):
                waiting.remove(event)
                yield TableEvent(event.table, event.kind, event.what, f"segment {manifest.number}", event.column, event.value)

    for item in manifest.files:
        if item.table in tables:
            yield from due(item.table)
            yield item
            seen[item.table] = seen.get(item.table, 0) + 1
    yield from due(None)


def open_source(values: Mapping[str, Any], name: str) -> ChangeFilesSource:
    """The stream of a connection, to read."""
    store = open_store(values["url"], values["storage_options"], values["storage_secrets"], name)
    return ChangeFilesSource(Stream(store, name), name, values["segments_per_run"])
