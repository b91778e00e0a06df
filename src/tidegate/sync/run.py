"""One run of a sync: read from where it stands to where the source stands now, write, record, end."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence

from tidegate.changes.batch import ChangeBatch, Chunk, TableEvent
from tidegate.changes.position import Position
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, PositionLost, TransientError
from tidegate.sync.ahead import Ahead
from tidegate.sync.book import Book, Progress, SchemaMoved
from tidegate.sync.copying import Copier
from tidegate.sync.follow import step
from tidegate.sync.lease import LEASE_SECONDS, Heartbeat
from tidegate.sync.mapping import Sync, Target
from tidegate.sync.plan import Plan, plan
from tidegate.sync.protocols import Intent, Lease, Ledger, Load, Sink, Source, chunk_limits
from tidegate.sync.results import SyncResult
from tidegate.sync.retry import retrying

log = logging.getLogger(__name__)


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
            runner = _Run(Book(sync, source.name, sink, lease, heartbeat, progress or log.info), source, sink)
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


class _Run:
    """A run. :meth:`attempt` may be called again after a transient error: it starts from what the ledger says."""

    def __init__(self, book: Book, source: Source, sink: Sink) -> None:
        self.book, self.source, self.sink = book, source, sink
        self.copier = Copier(book, source, sink)
        self.plan: Plan | None = None
        self.head: Position | None = None
        self.broken: dict[TableName, Position] = {}
        """Tables that can't be followed any further, and the position up to which they were."""

    def attempt(self) -> None:
        """The whole run, from the ledger's state on."""
        while True:
            try:
                if not self._attempt():
                    return
            except SchemaMoved as moved:
                if moved.columns <= self.book.moved:
                    raise
                self.book.moved |= moved.columns
                log.info("%s", moved)

    def _attempt(self) -> bool:
        """One pass over all tables; True if some have to be copied anew, which the next pass does."""
        self.broken.clear()
        # First: it settles what a run decided and didn't get to commit, and so where the tables stand.
        intents = self.sink.ledger.intents(self.book.lease)
        self.plan = plan(self.book.sync, self.source, self.sink)
        if self._outgrown():
            return True
        self.plan.check()
        for table in self.plan.tables:
            if table.copy == "shadow" and table.action == "copy":
                self.copier.clear_place(table)
            elif table.preparation.ddl:
                self.sink.prepare(self.copier.written(table), table.preparation)
        self.sink.ledger.claim(self.book.lease, [table.target.table for table in self.plan.tables])
        self.book.open(self.plan)
        for intent in intents:
            self._finish_intent(intent)
        self._follow_the_source(self.plan)
        self.copier.begin([table for table in self.plan.tables if table.source not in self.book.positions])
        self.copier.go_on(self.plan.tables)
        self.head = self.source.head()
        self._changes(self.head)
        if self.broken:
            self.copier.begin_anew(list(self.broken))
        return bool(self.broken)

    def _outgrown(self) -> bool:
        """Whether tables that are to be resynced don't fit their targets any more; then they are given a place to be copied from.

        What the log says of them is passed over: the copy has it. The others go on with the next pass.
        """
        assert self.plan is not None
        tables = [table for table in self.plan.tables if table.problems]
        if not tables or self.plan.general or not all(self.copier.outgrown(table) for table in tables):
            return False
        self.sink.ledger.claim(self.book.lease, [table.target.table for table in self.plan.tables])
        self.book.open(self.plan)
        for table in tables:
            log.warning("%s: %s: it is copied anew (on_ddl='resync')", table.source, table.problems[0])
        self.copier.begin_anew([table.source for table in tables])
        return True

    def _follow_the_source(self, plan: Plan) -> None:
        """Positions of a server that another has taken over for become that one's, at once and for good."""
        for table in plan.tables:
            position = self.book.positions.get(table.source)
            if position is not None and (found := self.source.current(position, table.source)) != position:
                self.book.record({table.source: found}, {table.source: table.copy})

    def result(self, seconds: float, attempts: int) -> SyncResult:
        assert self.plan is not None
        newest = self.source.lag_seconds()

        def lag(table: TableName) -> float | None:
            level = self.head is not None and self.book.positions[table].compare(self.head) == "equal"
            return 0.0 if newest is None and level else newest

        return SyncResult(self.book.sync.name, self.book.results(self.plan, attempts, lag), seconds, self.plan.warnings)

    def _changes(self, until: Position) -> None:
        """Everything up to where the source stood, committed in one piece or, with a flush_interval, in several."""
        behind = {}
        for table, position in self.book.positions.items():
            order = position.compare(until)
            if order == "incomparable" or order == "after":
                what = f"the stored position and the source's own, {until}, are not of one history ({order})"
                raise PositionLost(what, connection=self.source.name, table=table, position=position)
            if order == "before":
                behind[table] = position
        if not behind:
            return
        for table in behind:
            if self.book.tallies[table].phase == "idle":
                self.book.tallies[table].phase = "changes"
        targets = [self.book.targets[table] for table in behind]
        flush = [target.options.flush_interval for target in targets if target.options.flush_interval is not None]
        with Ahead(self.source.read(self.book.window(behind, until), chunk_limits(targets))) as chunks:
            self._load_chunks(chunks, targets, behind, until, min(flush, default=None))

    def _finish_intent(self, intent: Intent) -> None:
        """Go on with what a run without transactions left open: the same window, cut in the same chunks."""
        assert intent.window.until is not None
        after = intent.window.after
        if gone := [table for table in after if table not in self.book.targets]:
            if intent.keyed:
                self.sink.ledger.record(self.book.lease, [])  # it is closed: read anew, its rows do no harm
                return
            what = "a run left loads of its rows unfinished, and the sync has it no more: run it once more with this table"
            raise ConfigError(what, connection=self.sink.name, table=gone[0], setting="tables")
        targets = [self.book.targets[table] for table in after]
        for table in after:
            self.book.tallies[table].phase = "changes"
        with Ahead(self.source.read(intent.window, intent.limits)) as chunks:
            self._load_chunks(chunks, targets, after, intent.window.until, None, intent)

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
            starts = {table: self.book.positions[table] for table in after}
            with self.book.load(targets, self.book.window(starts, until), intent) as load:
                ends = self._write(load, chunk, starts)
                while chunk.end is None or flush is None or time.monotonic() - began < flush:
                    following = next(chunks, None)
                    if following is None:
                        break
                    chunk = following
                    ends = self._write(load, chunk, ends)
                if chunk.end is None:
                    raise AssertionError("the source ended inside a transaction")
                ends = {table: end for table, end in ends.items() if starts[table].compare(end) == "before"}
                self.book.commit(load, ends)
            for position in ends.values():
                self.source.ack(position)
            intent = None
        if chunk is None or chunk.end is None or chunk.end.compare(until) != "equal":
            raise AssertionError("the source ended before the window did")

    def _write(self, load: Load, chunk: Chunk, reached: Mapping[TableName, Position]) -> dict[TableName, Position]:
        """Apply a chunk; where each table stands then. One that breaks stays where it stood, and so does one that was copied later
        than the others and stands beyond the chunk already."""
        for part in chunk.parts:
            if isinstance(part, TableEvent) and part.table not in self.broken:
                self._follow(load, part, reached)
            elif isinstance(part, ChangeBatch) and part.schema.table not in self.broken:
                self.book.write(load, part)
        for table in chunk.schemas.keys() & reached.keys() - self.broken.keys():
            self.book.reached_schemas[table] = chunk.schemas[table]
        end = chunk.end
        if end is None:
            return dict(reached)
        return {
            table: end if table not in self.broken and before.compare(end) == "before" else before
            for table, before in reached.items()
        }

    def _follow(self, load: Load, event: TableEvent, reached: Mapping[TableName, Position]) -> None:
        assert self.plan is not None
        target, tally = self.book.targets[event.table], self.book.tallies[event.table]
        match step(event, self.plan.table(event.table), self.sink.capabilities, self.source.name):
            case "truncate":
                tally.add(load.truncate(target))
            case "fill":
                assert event.column is not None
                tally.add(load.fill(target, event.column, event.value))
            case "broken":
                self.broken[event.table] = reached[event.table]
            case "pass":
                pass
