"""The book of a run: where each table stands, what was written, and the loads that move it on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.position import Position, SnapshotPosition
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import TransientError
from tidegate.sync.lease import Heartbeat
from tidegate.sync.mapping import Sync, Target
from tidegate.sync.plan import Plan
from tidegate.sync.protocols import Copy, Entry, Intent, Lease, Load, Sink, Window
from tidegate.sync.results import TableResult, WriteResult

Progress = Callable[[str], None]


class SchemaMoved(TransientError):
    """A table gained columns after this run had looked at it; its next pass finds and adds them."""

    def __init__(self, table: TableName, columns: Sequence[str], connection: str) -> None:
        super().__init__(f"the source gained {', '.join(columns)} since this run began", connection=connection, table=table)
        self.columns = {(table, column) for column in columns}


@dataclass(slots=True)
class Tally:
    """What has been committed of a table, and what hasn't yet."""

    phase: str = "idle"
    done: WriteResult = field(default_factory=WriteResult)
    pending: WriteResult = field(default_factory=WriteResult)
    read: int = 0
    pending_read: int = 0

    def add(self, result: WriteResult, read: int = 0) -> None:
        self.pending += result
        self.pending_read += read

    def settle(self, *, committed: bool) -> None:
        if committed:
            self.done += self.pending
            self.read += self.pending_read
        self.pending, self.pending_read = WriteResult(), 0


class Book:
    """What the parts of a run share. Each table is moved on by one of them at a time."""

    def __init__(self, sync: Sync, source_name: str, sink: Sink, lease: Lease, heartbeat: Heartbeat, progress: Progress) -> None:
        self.sync, self.source_name, self.sink = sync, source_name, sink
        self.lease, self.heartbeat, self.progress = lease, heartbeat, progress
        self.run = uuid.uuid4().hex
        self.tallies = {mapping.source: Tally() for mapping in sync.tables}
        self.targets: dict[TableName, Target] = {}
        self.positions: dict[TableName, Position] = {}
        self.schemas: dict[TableName, TableSchema | None] = {}
        """The source's schema at that position, as the ledger has it."""
        self.reached_schemas: dict[TableName, TableSchema] = {}
        """The same as of the last chunk written, where the source tells."""
        self.moved: set[tuple[TableName, str]] = set()
        """Columns that were looked for again at the source."""

    def open(self, plan: Plan) -> None:
        """Begin a pass over all tables, from what the ledger says."""
        self.reached_schemas.clear()
        for tally in self.tallies.values():
            tally.settle(committed=False)
        self.targets = {table.source: table.target for table in plan.tables}
        self.schemas = {table.source: table.entry.schema if table.entry else None for table in plan.tables}
        self.positions = {table.source: table.position for table in plan.tables if table.position is not None}

    def window(self, after: Mapping[TableName, Position], until: Position) -> Window:
        """A window of changes, with what is known of the tables' columns at its begin."""
        schemas = {table: schema for table in after if (schema := self.schemas[table]) is not None}
        return Window(dict(after), until, schemas, frozenset(after.keys() - schemas.keys()))

    @contextmanager
    def load(self, targets: Sequence[Target], window: Window, intent: Intent | None = None) -> Iterator[Load]:
        """A load that is given up if the block raises."""
        load = self.sink.begin(targets, self.lease, window, intent)
        try:
            yield load
        except BaseException:
            load.abort()
            raise

    def write(self, load: Load, batch: ChangeBatch, copy: Copy | None = None, target: Target | None = None) -> None:
        """Apply a batch, to ``target`` if that isn't the table's own. SchemaMoved if it has columns that are to be added first."""
        self.heartbeat.check()
        table = batch.schema.table
        target = target or self.targets[table]
        if new := [name for name in batch.schema.names if name not in target.schema.names]:
            if target.options.on_ddl != "ignore" and any((table, name) not in self.moved for name in new):
                raise SchemaMoved(table, new, self.source_name)
            # Dropped again since these rows were written, or not to be added: no row of the target will have it.
            batch = batch.select(name for name in batch.schema.names if name in target.schema.names)
        if batch.schema.key != target.key:
            batch = ChangeBatch(replace(batch.schema, key=target.key), batch.data)
        self.tallies[table].add(load.write(target, batch, copy), batch.events())

    def commit(self, load: Load, ends: Mapping[TableName, Position], copy: Copy | None = None) -> None:
        """The load, and where its tables stand then."""
        entries = [self._entry(table, position, copy) for table, position in ends.items()]
        load.commit(entries)
        for entry in entries:
            tally = self.tallies[entry.table]
            self._recorded(entry)
            if tally.pending.rows or isinstance(entry.position, SnapshotPosition):
                self.progress(line(entry, tally.pending))
            tally.settle(committed=True)

    def begin_at(self, table: TableName, position: Position, *, now: bool) -> None:
        """Write where a table begins that isn't copied. Its columns there are known if that is ``now``."""
        entry = self._entry(table, position, None)
        self._append([entry if now else replace(entry, schema=None)])

    def record(self, positions: Mapping[TableName, Position], copies: Mapping[TableName, Copy | None] | None = None) -> None:
        """Write positions for which there is nothing to load."""
        self._append([self._entry(table, position, (copies or {}).get(table)) for table, position in positions.items()])

    def _append(self, entries: Sequence[Entry]) -> None:
        if entries:
            self.sink.ledger.record(self.lease, entries)
        for entry in entries:
            self._recorded(entry)

    def _recorded(self, entry: Entry) -> None:
        self.positions[entry.table] = entry.position
        self.schemas[entry.table] = entry.schema or self.schemas[entry.table]
        self.reached_schemas.pop(entry.table, None)

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
            run=self.run,
            rows=self.tallies[table].pending.rows,
            copy=copy if isinstance(position, SnapshotPosition) else None,
            schema=schema if schema != known else None,
        )

    def results(self, plan: Plan, attempts: int, lag: Callable[[TableName], float | None]) -> tuple[TableResult, ...]:
        """What became of each table."""
        found = []
        for table in plan.tables:
            tally = self.tallies[table.source]
            tally.done.retries = attempts
            found.append(
                TableResult(
                    source=str(table.source),
                    target=str(table.target.table),
                    phase=tally.phase,
                    write=tally.done,
                    position=self.positions[table.source],
                    read=tally.read,
                    lag_seconds=lag(table.source),
                    ddl=table.preparation.ddl,
                    warnings=table.warnings,
                )
            )
        return tuple(found)


def line(entry: Entry, write: WriteResult) -> str:
    """``shop.orders → ods.orders: 1,234 rows (1,000 inserted, 200 updated, 34 deleted), at binlog.000003:4711``."""
    counts = {"inserted": write.inserted, "updated": write.updated, "deleted": write.deleted, "ignored": write.ignored}
    counts |= {"not found": write.not_found, "quarantined": write.quarantined, "skipped": write.skipped, "filtered": write.filtered}
    parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    rows = "1 row" if write.rows == 1 else f"{write.rows:,} rows"
    return f"{entry.table} → {entry.target}: {rows}{f' ({parts})' if parts else ''}, at {entry.position}"
