"""One run of a sync: read from where it stands to where the source stands now, write, record, end."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tidegate.changes.batch import ChangeBatch, Chunk, TableEvent
from tidegate.changes.position import Position, SnapshotPosition
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import PositionLost, TransientError
from tidegate.sync.ahead import Ahead
from tidegate.sync.follow import copy_anew, step
from tidegate.sync.lease import LEASE_SECONDS, Heartbeat
from tidegate.sync.mapping import Sync, Target
from tidegate.sync.plan import Plan, TablePlan, plan
from tidegate.sync.protocols import Copy, Entry, Intent, Lease, Ledger, Load, Sink, Source, Window, chunk_limits
from tidegate.sync.results import SyncResult, TableResult, WriteResult
from tidegate.sync.retry import retrying

log = logging.getLogger(__name__)
Progress = Callable[[str], None]


class SchemaMoved(TransientError):
    """A table gained columns after this run had looked at it; its next pass finds and adds them."""

    def __init__(self, table: TableName, columns: Sequence[str], connection: str) -> None:
        super().__init__(f"the source gained {', '.join(columns)} since this run began", connection=connection, table=table)
        self.columns = {(table, column) for column in columns}


def run(
    sync: Sync,
    source: Source,
    sink: Sink,
    *,
    owner: str,
    progress: Progress | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> SyncResult:
    """Run the sync once.

    Tables without a stored position are copied, then brought to where the source stood when that was done; the others from their
    position to where the source stands now. ``owner`` names who runs it, the same across retries of one task: its own retry takes
    the lease over at once. ``progress`` gets a line for people after each commit.

    Raises SyncBusy before anything is read while another owner runs the sync; PermanentError for what somebody has to change
    first; TransientError once the retries are used up. With a transactional sink nothing of the window is written then.
    """
    started = time.monotonic()
    ledger = sink.ledger
    ledger.setup()
    lease = ledger.acquire(sync.name, owner, lease_seconds)
    try:
        with Heartbeat(ledger, lease) as heartbeat:
            runner = _Run(sync, source, sink, lease, heartbeat, progress or log.info)
            options = [mapping.options for mapping in sync.tables]
            retries = max(_or(item.max_retries, sink.capabilities.defaults.get("max_retries", 3)) for item in options)
            wait = max(_or(item.retry_wait, sink.capabilities.defaults.get("retry_wait", 1.0)) for item in options)
            _, attempts = retrying(runner.attempt, retries=int(retries), wait=wait, what=f"the run of {sync.name}")
            return runner.result(time.monotonic() - started, attempts)
    finally:
        _release(ledger, lease)


def _release(ledger: Ledger, lease: Lease) -> None:
    try:
        ledger.release(lease)
    except TransientError as error:
        # What the run did stands, or its own error is on its way; the lease ends by itself.
        log.warning("the lease of %s was not released and ends in %.0f s: %s", lease.sync, lease.ttl, error)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


@dataclass(slots=True)
class _Tally:
    """What has been committed of a table, and what hasn't yet."""

    phase: str = "idle"
    done: WriteResult = field(default_factory=WriteResult)
    pending: WriteResult = field(default_factory=WriteResult)
    read: int = 0
    pending_read: int = 0

    def add(self, result: WriteResult, read: int) -> None:
        self.pending += result
        self.pending_read += read

    def settle(self, *, committed: bool) -> None:
        if committed:
            self.done += self.pending
            self.read += self.pending_read
        self.pending, self.pending_read = WriteResult(), 0


class _Run:
    """The state of a run. :meth:`attempt` may be called again after a transient error: it starts from what the ledger says."""

    def __init__(self, sync: Sync, source: Source, sink: Sink, lease: Lease, heartbeat: Heartbeat, progress: Progress) -> None:
        self.sync, self.source, self.sink = sync, source, sink
        self.lease, self.heartbeat, self.progress = lease, heartbeat, progress
        self.id = uuid.uuid4().hex
        self.tallies = {mapping.source: _Tally() for mapping in sync.tables}
        self.plan: Plan | None = None
        self.targets: dict[TableName, Target] = {}
        self.positions: dict[TableName, Position] = {}
        self.schemas: dict[TableName, TableSchema | None] = {}
        self.head: Position | None = None
        self.reached_schemas: dict[TableName, TableSchema] = {}
        """The source's schema of tables as of the last chunk written, where the source tells."""
        self.moved: set[tuple[TableName, str]] = set()
        """Columns that were looked for again at the source."""
        self.broken: dict[TableName, Position] = {}
        """Tables that can't be followed any further, and the position up to which they were."""

    def attempt(self) -> None:
        """The whole run, from the ledger's state on."""
        while True:
            try:
                if not self._attempt():
                    return
            except SchemaMoved as moved:
                if moved.columns <= self.moved:
                    raise
                self.moved |= moved.columns
                log.info("%s", moved)

    def _attempt(self) -> bool:
        """One pass over all tables; True if some have to be copied anew, which the next pass does."""
        self.broken.clear()
        self.reached_schemas.clear()
        for tally in self.tallies.values():
            tally.settle(committed=False)
        self.plan = plan(self.sync, self.source, self.sink)
        self.plan.check()
        for table in self.plan.tables:
            if table.preparation.ddl:
                self.sink.prepare(self._written(table), table.preparation)
        self.sink.ledger.claim(self.lease, [table.target.table for table in self.plan.tables])
        self.targets = {table.source: table.target for table in self.plan.tables}
        self.schemas = {table.source: table.entry.schema if table.entry else None for table in self.plan.tables}
        self.positions = {table.source: table.position for table in self.plan.tables if table.position is not None}
        for intent in self.sink.ledger.intents(self.lease):
            self._finish_intent(intent)
        self._copy([table for table in self.plan.tables if table.source not in self.positions])
        for table in self.plan.tables:
            if isinstance(self.positions[table.source], SnapshotPosition):
                self._copy_table(table, self.positions[table.source])
        self.head = self.source.head()
        self._changes(Window(dict(self.positions), self.head, self._known_schemas(self.positions)))
        if self.broken:
            self._copy_broken()
        return bool(self.broken)

    def result(self, seconds: float, attempts: int) -> SyncResult:
        assert self.plan is not None
        lag = self.source.lag_seconds()
        tables = []
        for table in self.plan.tables:
            tally = self.tallies[table.source]
            tally.done.retries = attempts
            tables.append(
                TableResult(
                    source=str(table.source),
                    target=str(table.target.table),
                    phase=tally.phase,
                    write=tally.done,
                    position=self.positions[table.source],
                    read=tally.read,
                    lag_seconds=0.0 if lag is None and self._level(table.source) else lag,
                    ddl=table.preparation.ddl,
                    warnings=table.warnings,
                )
            )
        return SyncResult(self.sync.name, tuple(tables), seconds, self.plan.warnings)

    def _level(self, table: TableName) -> bool:
        return self.head is not None and self.positions[table].compare(self.head) == "equal"

    # First copies

    def _copy(self, tables: Sequence[TablePlan]) -> None:
        """Give tables without a position one, and copy those that need a consistent view."""
        for table in tables:
            if table.action == "begin":
                # At once: the same words may mean a later place next time.
                self._record({table.source: self.source.locate(table.start)})
        together = [table for table in tables if table.action == "copy" and table.consistent]
        apart = [table for table in tables if table.action == "copy" and not table.consistent]
        if together:
            starts = self._start([table.source for table in together], consistent=True)
            if any(isinstance(position, SnapshotPosition) for position in starts.values()):
                self._copy_together(together, starts)
            else:
                self.positions |= starts
        if apart:
            starts = self._start([table.source for table in apart], consistent=False)
            # Before the first page: without transactions its rows may be in though nothing else says whose they are.
            copies = {table.source: table.copy for table in apart if isinstance(starts[table.source], SnapshotPosition)}
            self.positions |= starts
            self._record({table: starts[table] for table in copies}, copies)

    def _record(self, positions: Mapping[TableName, Position], copies: Mapping[TableName, Copy | None] | None = None) -> None:
        """Write positions for which there is nothing to load."""
        entries = [self._entry(table, position, (copies or {}).get(table)) for table, position in positions.items()]
        if entries:
            self.sink.ledger.record(self.lease, entries)
        for entry in entries:
            self._recorded(entry)

    def _recorded(self, entry: Entry) -> None:
        self.positions[entry.table] = entry.position
        self.schemas[entry.table] = entry.schema or self.schemas[entry.table]
        self.reached_schemas.pop(entry.table, None)

    def _copy_broken(self) -> None:
        """Give up the tables' places in the source: their next pass copies them, while what the target holds stays readable."""
        copies: dict[TableName, Copy | None] = {}
        for table in self.broken:
            target = self.targets[table]
            copies[table] = copy_anew(target, self.sink.capabilities)
            if copies[table] == "shadow":
                self.sink.drop_shadow(target)
        self._record(self._start(list(copies), consistent=False), copies)

    def _start(self, tables: Sequence[TableName], *, consistent: bool) -> Mapping[TableName, Position]:
        """Where copies begin. What is recorded with such a position is the schema that holds there, not the plan's."""
        starts = self.source.start(tables, consistent=consistent)
        self.reached_schemas |= {table: self.source.schema(table) for table in tables}
        return starts

    def _written(self, table: TablePlan) -> Target:
        """The table that rows of the copy or changes go to."""
        return self.sink.shadow(table.target) if table.copy == "shadow" else table.target

    def _known_schemas(self, tables: Iterable[TableName]) -> dict[TableName, TableSchema]:
        return {table: schema for table in tables if (schema := self.schemas[table]) is not None}

    def _copy_together(self, tables: Sequence[TablePlan], starts: Mapping[TableName, Position]) -> None:
        """One view of all these tables, one load, one commit."""
        targets = [table.target for table in tables]
        ends: dict[TableName, Position] = {}
        with self._load(targets, Window(dict(starts), None)) as load:
            for table in tables:
                self.tallies[table.source].phase = "snapshot"
                position = starts[table.source]
                with Ahead(self.source.read(Window({table.source: position}, None), chunk_limits([table.target]))) as chunks:
                    for chunk in chunks:
                        self._write(load, chunk, table.copy)
                        position = chunk.end or position
                if table.copy == "replace":
                    self._finish_copy(load, table)
                ends[table.source] = position
            self._commit(load, ends)

    def _copy_table(self, table: TablePlan, position: Position) -> None:
        """Pages of one table, each committed with how far the copy has come."""
        self.tallies[table.source].phase = "snapshot"
        window = Window({table.source: position}, None)
        written = self._written(table)
        with Ahead(self.source.read(window, chunk_limits([table.target]))) as chunks:
            for chunk in chunks:
                if chunk.end is None:
                    raise AssertionError("a page of a copy without an end")
                with self._load([written], Window({table.source: self.positions[table.source]}, None)) as load:
                    self._write(load, chunk, "fresh" if table.copy == "shadow" else table.copy, written)
                    if not isinstance(chunk.end, SnapshotPosition):
                        if table.copy == "replace":
                            self._finish_copy(load, table)
                        elif table.copy == "shadow":
                            load.swap(table.target, written)
                    self._commit(load, {table.source: chunk.end}, copy=table.copy)

    def _finish_copy(self, load: Load, table: TablePlan) -> None:
        removed = load.finish_copy(table.target)
        self.tallies[table.source].add(WriteResult(deleted=removed), 0)

    # Changes

    def _changes(self, window: Window) -> None:
        """Everything up to where the source stood, committed in one piece or, with a flush_interval, in several."""
        assert window.until is not None
        behind = {}
        for table, position in window.after.items():
            order = position.compare(window.until)
            if order == "incomparable" or order == "after":
                what = f"the stored position and the source's own, {window.until}, are not of one history ({order})"
                raise PositionLost(what, connection=self.source.name, table=table, position=position)
            if order == "before":
                behind[table] = position
        if not behind:
            return
        for table in behind:
            if self.tallies[table].phase == "idle":
                self.tallies[table].phase = "changes"
        targets = [self.targets[table] for table in behind]
        flush = [target.options.flush_interval for target in targets if target.options.flush_interval is not None]
        until = window.until
        with Ahead(self.source.read(replace(window, after=behind), chunk_limits(targets))) as chunks:
            self._load_chunks(chunks, targets, behind, until, min(flush, default=None))

    def _load_chunks(
        self,
        chunks: Iterator[Chunk],
        targets: Sequence[Target],
        after: Mapping[TableName, Position],
        until: Position,
        flush: float | None,
        intent: Intent | None = None,
    ) -> None:
        chunk: Chunk | None = None
        for chunk in chunks:
            began = time.monotonic()
            starts = {table: self.positions[table] for table in after}
            with self._load(targets, Window(starts, until, self._known_schemas(after)), intent) as load:
                ends = self._write_changes(load, chunk, starts)
                while chunk.end is None or flush is None or time.monotonic() - began < flush:
                    following = next(chunks, None)
                    if following is None:
                        break
                    chunk = following
                    ends = self._write_changes(load, chunk, ends)
                if chunk.end is None:
                    raise AssertionError("the source ended inside a transaction")
                self._commit(load, {table: end for table, end in ends.items() if starts[table].compare(end) == "before"})
            intent = None
        if chunk is None or chunk.end is None or chunk.end.compare(until) != "equal":
            raise AssertionError("the source ended before the window did")

    def _write_changes(self, load: Load, chunk: Chunk, reached: Mapping[TableName, Position]) -> dict[TableName, Position]:
        """Apply a chunk; where each table stands then. One that breaks stays where it stood, and so does one that was copied later
        than the others and stands beyond the chunk already."""
        for event in chunk.parts:
            if isinstance(event, TableEvent) and event.table not in self.broken:
                self._follow(load, event, reached)
            elif isinstance(event, ChangeBatch) and event.schema.table not in self.broken:
                self._write_batch(load, event)
        for table in chunk.schemas.keys() & reached.keys() - self.broken.keys():
            self.reached_schemas[table] = chunk.schemas[table]
        end = chunk.end
        if end is None:
            return dict(reached)
        return {
            table: end if table not in self.broken and before.compare(end) == "before" else before
            for table, before in reached.items()
        }

    def _follow(self, load: Load, event: TableEvent, reached: Mapping[TableName, Position]) -> None:
        target = self.targets[event.table]
        assert self.plan is not None
        match step(event, self.plan.table(event.table), self.sink.capabilities, self.source.name):
            case "truncate":
                self.tallies[event.table].add(load.truncate(target), 0)
            case "fill":
                assert event.column is not None
                self.tallies[event.table].add(load.fill(target, event.column, event.value), 0)
            case "broken":
                self.broken[event.table] = reached[event.table]
            case "pass":
                pass

    def _finish_intent(self, intent: Intent) -> None:
        """Go on with what a run without transactions left open: the same window, cut in the same chunks."""
        assert intent.window.until is not None
        after = intent.window.after
        targets = [self.targets[table] for table in after]
        for table in after:
            self.tallies[table].phase = "changes"
        with Ahead(self.source.read(intent.window, intent.limits)) as chunks:
            self._load_chunks(chunks, targets, after, intent.window.until, None, intent)

    # One load

    @contextmanager
    def _load(self, targets: Sequence[Target], window: Window, intent: Intent | None = None) -> Iterator[Load]:
        load = self.sink.begin(targets, self.lease, window, intent)
        try:
            yield load
        except BaseException:
            load.abort()
            raise

    def _write(self, load: Load, chunk: Chunk, copy: Copy | None = None, target: Target | None = None) -> None:
        for batch in chunk.batches:
            self._write_batch(load, batch, copy, target)

    def _write_batch(self, load: Load, batch: ChangeBatch, copy: Copy | None = None, target: Target | None = None) -> None:
        self.heartbeat.check()
        table = batch.schema.table
        target = target or self.targets[table]
        if new := [name for name in batch.schema.names if name not in target.schema.names]:
            if target.options.on_ddl != "ignore" and any((table, name) not in self.moved for name in new):
                raise SchemaMoved(table, new, self.source.name)
            # Dropped again since these rows were written, or not to be added: no row of the target will have it.
            batch = batch.select(name for name in batch.schema.names if name in target.schema.names)
        if batch.schema.key != target.key:
            batch = ChangeBatch(replace(batch.schema, key=target.key), batch.data)
        self.tallies[table].add(load.write(target, batch, copy), batch.events())

    def _commit(self, load: Load, ends: Mapping[TableName, Position], copy: Copy | None = None) -> None:
        entries = [self._entry(table, position, copy) for table, position in ends.items()]
        load.commit(entries)
        for entry in entries:
            tally = self.tallies[entry.table]
            self._recorded(entry)
            if tally.pending.rows or isinstance(entry.position, SnapshotPosition):
                self.progress(line(entry, tally.pending))
            tally.settle(committed=True)
        for position in ends.values():
            self.source.ack(position)

    def _entry(self, table: TableName, position: Position, copy: Copy | None) -> Entry:
        target = self.targets[table]
        known = self.schemas[table]
        # A copy goes on from the schema that held where its changes begin, whatever its pages have by now.
        copying = known is not None and isinstance(self.positions.get(table), SnapshotPosition)
        schema = self.reached_schemas.get(table, known if copying else None) or target.schema
        schema = replace(schema, key=target.key)
        return Entry(
            sync=self.sync.name,
            table=table,
            target=target.table,
            position=position,
            run=self.id,
            rows=self.tallies[table].pending.rows,
            copy=copy if isinstance(position, SnapshotPosition) else None,
            schema=schema if schema != known else None,
        )


def line(entry: Entry, write: WriteResult) -> str:
    """``shop.orders → ods.orders: 1,234 rows (1,000 inserted, 200 updated, 34 deleted), at binlog.000003:4711``."""
    counts = {"inserted": write.inserted, "updated": write.updated, "deleted": write.deleted, "ignored": write.ignored}
    counts |= {"not found": write.not_found, "quarantined": write.quarantined, "skipped": write.skipped}
    parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    rows = "1 row" if write.rows == 1 else f"{write.rows:,} rows"
    return f"{entry.table} → {entry.target}: {rows}{f' ({parts})' if parts else ''}, at {entry.position}"
