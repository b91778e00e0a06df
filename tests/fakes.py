"""A source and two targets in memory, with faults: for the properties of a run that no server can be made to show a thousand times.

The source is a list of transactions; the targets are the reference model. ``Faults`` numbers every step at which a run touches the
outside, and kills it there, before or after the step took effect, or loses the reply.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa

from tests.model import Change, Model, Row
from tests.strategies import batch_of, key_of
from tidegate.changes.batch import KIND, PRESENT, ChangeBatch, Chunk, RowKind, TableEvent
from tidegate.changes.fold import fold
from tidegate.changes.position import BinlogPosition, Position, SnapshotPosition
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError, LeaseLost, LoadUnresolved, SyncBusy
from tidegate.sync.log import Record
from tidegate.sync.logledger import WriteAheadLedger
from tidegate.sync.mapping import Target
from tidegate.sync.payload import Payload
from tidegate.sync.protocols import (
    Capabilities,
    Copy,
    Entry,
    Findings,
    Intent,
    Lease,
    Ledger,
    Limits,
    Load,
    Preparation,
    Window,
)
from tidegate.sync.results import WriteResult
from tidegate.sync.settling import Action, Standing
from tidegate.sync.twophase import TwoPhaseLoad
from tidegate.sync.writeahead import Outcome, WriteAheadLoad

Fault = Literal["before", "after", "lost"]


class Killed(BaseException):
    """The process is gone: nothing that comes after runs, not even cleanup in the product's ``except Exception``."""


@dataclass
class Faults:
    """Step number to what happens there."""

    at: Mapping[int, Fault] = field(default_factory=dict)
    step: int = 0
    dead: bool = False

    def around(self, effect: Any, *, remote: bool = True) -> Any:
        """Run a step that has an effect outside, with what is planned for it."""
        if self.dead:
            raise Killed
        self.step += 1
        fault = self.at.get(self.step)
        if fault == "before":
            self.dead = True
            raise Killed
        result = effect()
        if fault == "after":
            self.dead = True
            raise Killed
        if fault == "lost" and remote:
            raise LoadUnresolved("the reply was lost")
        return result


Transaction = list[tuple[TableName, Change | TableEvent]]
"""A :class:`TableEvent` is a transaction by itself. ``broken`` stands for a statement that sets column ``b`` of all rows to 0."""


@dataclass
class FakeSource:
    """Transactions in a log; ``visible`` of them have happened. Copies read the state as of now, page by page."""

    schemas: dict[TableName, TableSchema]
    log: list[Transaction]
    visible: int = 0
    name: str = "fake_mysql"
    copies_at_once: int = 1
    grows: bool = False
    """One more transaction happens after each page of a copy."""
    acked: list[Position] = field(default_factory=list)

    def preflight(self, stored: Mapping[TableName, Position | None]) -> Findings:
        return Findings()

    def schema(self, table: TableName) -> TableSchema:
        return self.schemas[table]

    def estimate(self, table: TableName, after: Position | None) -> int | None:
        return None

    def position(self, count: int) -> BinlogPosition:
        return BinlogPosition("binlog.000001", count, "fake")

    def head(self) -> Position:
        return self.position(self.visible)

    def current(self, position: Position, table: TableName) -> Position:
        return position

    def locate(self, start: str) -> Position:
        if start != "latest" and not start.isdigit():
            raise ConfigError(f"{start!r} is no place", connection=self.name, setting="start")
        return self.position(self.visible if start == "latest" else int(start))

    def start(self, tables: Sequence[TableName], *, consistent: bool) -> Mapping[TableName, Position]:
        return {table: SnapshotPosition(self.position(self.visible)) for table in tables}

    def state(self, table: TableName) -> dict[tuple[Any, ...], Row]:
        """The source's rows after what has happened."""
        schema = self.schemas[table]
        model = Model(schema.names, schema.key)
        model.apply(change for txn in self.log[: self.visible] for name, change in txn if name == table)
        return model.rows

    def read(self, window: Window, limits: Limits) -> Iterator[Chunk]:
        if window.until is None:
            ((table, position),) = window.after.items()
            assert isinstance(position, SnapshotPosition)
            yield from self._copy(table, position, limits)
        else:
            yield from self._changes(window, limits)

    def _copy(self, table: TableName, position: SnapshotPosition, limits: Limits) -> Iterator[Chunk]:
        schema = self.schemas[table]
        after = None if position.after is None else tuple(json.loads(text) for text in position.after)
        count = position.rows
        while True:
            keys = sorted(key for key in self.state(table) if after is None or key > after)[: limits.rows]
            state = self.state(table)
            batch = batch_of([Change(None, state[key]) for key in keys], schema)
            count += len(keys)
            last = len(keys) < limits.rows
            if keys:
                after = keys[-1]
            texts = None if after is None else tuple(json.dumps(value) for value in after)
            end: Position = position.low if last else SnapshotPosition(position.low, texts, count)
            yield Chunk((batch,) if keys else (), end)
            if last:
                return
            if self.grows and self.visible < len(self.log):
                self.visible += 1

    def _changes(self, window: Window, limits: Limits) -> Iterator[Chunk]:
        assert isinstance(window.until, BinlogPosition)
        after = {table: position.offset for table, position in window.after.items() if isinstance(position, BinlogPosition)}
        held: dict[TableName, list[Change]] = {}
        for number in range(min(after.values()), window.until.offset):
            for table, change in self.log[number]:
                if table not in after or number < after[table]:
                    continue
                if isinstance(change, TableEvent):
                    yield self._chunk(held, self.position(number))
                    yield Chunk((change,), self.position(number + 1))
                    held = {}
                else:
                    held.setdefault(table, []).append(change)
                    if sum(map(len, held.values())) >= 4 * limits.rows:
                        yield self._chunk(held, None)
                        held = {}
            if sum(map(len, held.values())) >= limits.rows:
                yield self._chunk(held, self.position(number + 1))
                held = {}
        yield self._chunk(held, window.until)

    def _chunk(self, held: dict[TableName, list[Change]], end: Position | None) -> Chunk:
        return Chunk(tuple(batch_of(changes, self.schemas[table]) for table, changes in held.items()), end)

    def lag_seconds(self) -> float | None:
        return 0.0

    def ack(self, position: Position) -> None:
        self.acked.append(position)

    def close(self) -> None: ...


@dataclass
class Tables:
    """The target's tables: a model each, or for append a list of (kind, row)."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    models: dict[TableName, Model] = field(default_factory=dict)
    appended: dict[TableName, list[tuple[str, Row]]] = field(default_factory=dict)

    def model(self, target: Target) -> Model:
        return self.models.setdefault(target.table, Model(self.columns, self.key, target.options.rules))

    def apply(self, target: Target, batch: ChangeBatch) -> WriteResult:
        if target.options.write_mode == "append":
            rows = [
                (RowKind(row[KIND]).name, {name: row[name] for name in batch.schema.names if row.get(PRESENT + name, True)})
                for row in batch.data.to_pylist()
            ]
            self.appended.setdefault(target.table, []).extend(rows)
            return WriteResult(rows=len(rows), inserted=len(rows))
        model = self.model(target)
        folded = fold(batch, target.options.rules)
        for row in folded.remove.to_pylist():
            model._delete(key_of(row, self.key))
        for table in folded.rounds:
            for row in table.to_pylist():
                model._put({name: row[name] for name in batch.schema.names if row.get(PRESENT + name, True)})
        for row in folded.remove_after.to_pylist():
            model._delete(key_of(row, self.key))
        return WriteResult(rows=batch.num_rows)

    def copy(self) -> Tables:
        models = {
            table: Model(model.columns, model.key, model.rules, model.defaults, dict(model.rows), set(model.marked))
            for table, model in self.models.items()
        }
        return Tables(self.columns, self.key, models, {table: list(rows) for table, rows in self.appended.items()})


@dataclass
class FakeSink:
    """What the two targets share."""

    tables: Tables
    faults: Faults = field(default_factory=Faults)
    name: str = "fake_target"
    transactional = True

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(self.transactional, {}, defaults={"batch_rows": 2, "max_retries": 0, "retry_wait": 0.0})

    def describe(self, table: TableName) -> TableSchema | None:
        return None

    def inspect(self, target: Target) -> Preparation:
        known = table = self.tables.models.get(target.table)
        return Preparation(known is not None, table is None or not table.rows, None)

    def prepare(self, target: Target, preparation: Preparation) -> None: ...

    def shadow(self, target: Target) -> Target:
        raise AssertionError("not declared")

    def drop_shadow(self, target: Target) -> None:
        raise AssertionError("not declared")

    def read(self, table: TableName, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        yield from ()

    def close(self) -> None: ...


# With transactions


@dataclass
class MemoryLedger:
    """The ledger of a target with transactions. ``clock`` is the target's."""

    leases: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    entries: dict[tuple[str, TableName], Entry] = field(default_factory=dict)
    claims: dict[TableName, str] = field(default_factory=dict)
    history: list[Entry] = field(default_factory=list)
    clock: float = 0.0

    def setup(self) -> None: ...

    def ddl(self) -> Sequence[str]:
        return ()

    def acquire(self, sync: str, owner: str, ttl: float) -> Lease:
        held = self.leases.get(sync, ("", 0, 0.0))
        if held[0] not in ("", owner) and held[2] > self.clock:
            raise SyncBusy("busy")
        self.leases[sync] = (owner, held[1] + 1, self.clock + ttl)
        return Lease(sync, owner, held[1] + 1, ttl)

    def renew(self, lease: Lease) -> None:
        self.check(lease)
        self.leases[lease.sync] = (lease.owner, lease.fence, self.clock + lease.ttl)

    def check(self, lease: Lease) -> None:
        if self.leases[lease.sync][1] != lease.fence:
            raise LeaseLost("taken over")

    def release(self, lease: Lease) -> None:
        if self.leases[lease.sync][1] == lease.fence:
            self.leases[lease.sync] = ("", lease.fence, 0.0)

    def claim(self, lease: Lease, targets: Sequence[TableName]) -> None:
        for target in targets:
            if self.claims.setdefault(target, lease.sync) != lease.sync:
                raise ConfigError("claimed")

    def owners(self, targets: Sequence[TableName]) -> Mapping[TableName, str]:
        return {target: self.claims[target] for target in targets if target in self.claims}

    def last(self, sync: str) -> Mapping[TableName, Entry]:
        return {table: entry for (name, table), entry in self.entries.items() if name == sync}

    def record(self, lease: Lease, entries: Sequence[Entry]) -> None:
        self.check(lease)
        for entry in entries:
            known = self.entries.get((entry.sync, entry.table))
            self.entries[entry.sync, entry.table] = replace(entry, schema=entry.schema or (known.schema if known else None))
            self.history.append(entry)

    def intents(self, lease: Lease) -> Sequence[Intent]:
        return ()


@dataclass
class TransactionalSink(FakeSink):
    """Rows and ledger in one commit."""

    memory: MemoryLedger = field(default_factory=MemoryLedger)

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, follows=frozenset(("truncated", "column_added")), shadow=True)

    @property
    def ledger(self) -> Ledger:
        return self.memory

    def shadow(self, target: Target) -> Target:
        return replace(target, table=TableName(target.table.schema, f"{target.table.name}__shadow"))

    def drop_shadow(self, target: Target) -> None:
        self.faults.around(lambda: self.tables.models.pop(self.shadow(target).table, None))

    def begin(
        self, targets: Sequence[Target], lease: Lease | None, window: Window | None = None, intent: Intent | None = None
    ) -> Load:
        return _Transaction(self, lease)


class _Transaction:
    def __init__(self, sink: TransactionalSink, lease: Lease | None) -> None:
        self.sink, self.lease, self.tables = sink, lease, sink.tables.copy()

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        result: WriteResult = self.sink.faults.around(lambda: self.tables.apply(target, batch))
        return result

    def finish_copy(self, target: Target) -> int | None:
        return 0

    def truncate(self, target: Target) -> WriteResult:
        return WriteResult(deleted=self.sink.faults.around(self.tables.model(target).truncate))

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        plain = None if value is None else value.as_py()
        return WriteResult(updated=self.sink.faults.around(lambda: self.tables.model(target).fill(column.name, plain)))

    def swap(self, target: Target, shadow: Target) -> None:
        self.tables.models[target.table] = self.tables.model(shadow)
        del self.tables.models[shadow.table]

    def commit(self, entries: Sequence[Entry]) -> None:
        self.sink.faults.around(lambda: self._commit(entries))

    def _commit(self, entries: Sequence[Entry]) -> None:
        if self.lease is not None:
            self.sink.memory.record(self.lease, entries)
        self.sink.tables = self.tables

    def abort(self) -> None: ...


# Without


@dataclass
class MemoryStore:
    """A log that only grows; the number decides who was first."""

    faults: Faults = field(default_factory=Faults)
    logs: dict[str, list[str]] = field(default_factory=dict)
    clock: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    forgotten: bool = False

    def remembers(self, name: str, number: int, table: TableName) -> bool:
        return not self.forgotten

    def setup(self) -> None: ...

    def ddl(self) -> Sequence[str]:
        return ()

    def now(self) -> datetime:
        return self.clock

    def pass_time(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)

    def append(self, name: str, number: int, record: Record) -> bool:
        done: bool = self.faults.around(lambda: self._append(name, number, record), remote=False)
        return done

    def _append(self, name: str, number: int, record: Record) -> bool:
        held = self.logs.setdefault(name, [])
        if number != len(held):
            return False
        held.append(json.dumps(record))
        return True

    def records(self, name: str, since: int | None = None) -> Sequence[tuple[int, Record]]:
        records = [(number, json.loads(text)) for number, text in enumerate(self.logs.get(name, []))]
        if since is None:
            since = max((number for number, record in records if "state" in record), default=0)
        return records[since:]


@dataclass
class MemoryTransport:
    """Loads under labels into a target without transactions. ``forget`` makes it forget the labels it has seen."""

    tables: Tables
    faults: Faults
    labels: dict[str, Outcome] = field(default_factory=dict)
    sends: int = 0

    def encoder(self, targets: Sequence[Target]) -> str:
        return json.dumps([str(target.options.rules) for target in targets])

    def encode(self, target: Target, batch: ChangeBatch, copy: Copy | None) -> Sequence[Payload]:
        keyed = target.options.write_mode != "append"
        return [Payload([json.dumps(batch.data.to_pylist(), default=str).encode()], batch.num_rows, keyed=keyed)]

    def send(self, label: str, target: Target, payload: Payload) -> WriteResult:
        result: WriteResult = self.faults.around(lambda: self._load(label, target, payload))
        return result

    def _load(self, label: str, target: Target, payload: Payload) -> WriteResult:
        self.sends += 1
        if self.labels.get(label) == "done":
            return WriteResult(rows=payload.rows)
        rows = json.loads(payload.body[0])
        schema = target.schema
        table = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema.arrow())
        hidden = {name for row in rows for name in row if name.startswith(PRESENT)}
        present = {name.removeprefix(PRESENT): pa.array([row[name] for row in rows]) for name in hidden}
        kinds = pa.array([row[KIND] for row in rows], pa.uint8())
        self.labels[label] = "done"
        return self.tables.apply(target, ChangeBatch.of(schema, table, kinds, present=present))

    def outcome(self, label: str, target: Target, payload: Payload) -> Outcome:
        outcome: Outcome = self.faults.around(lambda: self.labels.get(label, "unknown"), remote=False)
        return outcome

    def act(self, action: Action) -> None:
        self.faults.around(lambda: self.tables.models[TableName(*action["table"])].truncate())

    def truncation(self, target: Target) -> Action | None:
        self.tables.model(target)
        return {"table": [target.table.schema, target.table.name]}

    def filling(self, target: Target, column: Column, value: pa.Scalar | None) -> Action | None:
        raise AssertionError("not declared")

    def swapping(self, target: Target, shadow: Target) -> Action:
        raise AssertionError("not declared")

    def forget(self) -> None:
        self.labels.clear()


@dataclass
class LabelledSink(FakeSink):
    """A target like StarRocks: each load is atomic under its label, nothing spans two loads."""

    transactional = False

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, follows=frozenset(("truncated",)))

    store: MemoryStore = field(default_factory=MemoryStore)
    transport: MemoryTransport = field(init=False)

    def __post_init__(self) -> None:
        self.store.faults = self.faults
        self.transport = MemoryTransport(self.tables, self.faults)

    def restart(self, faults: Faults) -> None:
        """The next process: other faults, the same target."""
        self.faults = self.store.faults = self.transport.faults = faults

    @property
    def ledger(self) -> WriteAheadLedger:
        return WriteAheadLedger(self.store, self.name)

    def begin(
        self, targets: Sequence[Target], lease: Lease | None, window: Window | None = None, intent: Intent | None = None
    ) -> Load:
        assert lease is not None
        assert window is not None
        return WriteAheadLoad(self.ledger, self.transport, lease, targets, window, self.name, intent, patience=0.2)


# With transactions that are prepared, and a ledger beside them


@dataclass
class MemoryTransactions:
    """Transactions of a target, a label each. ``give_up`` ends those that aren't committed, ``forget`` all labels."""

    tables: Tables
    faults: Faults
    spans_tables: bool = False
    standing: dict[str, Standing] = field(default_factory=dict)
    pending: dict[str, list[tuple[Target, Payload]]] = field(default_factory=dict)

    def id(self) -> str:
        return uuid.uuid4().hex

    def label(self, id: str, number: int) -> str:
        return f"{id}-{number}"

    def spans(self, label: str) -> bool:
        return self.spans_tables

    def encode(self, target: Target, batch: ChangeBatch, copy: Copy | None) -> Sequence[Payload]:
        return MemoryTransport(self.tables, self.faults).encode(target, batch, copy)

    def begin(self, label: str, table: TableName) -> None:
        self.faults.around(lambda: self._begin(label))

    def _begin(self, label: str) -> None:
        assert label not in self.standing
        self.standing[label], self.pending[label] = "open", []

    def send(self, label: str, target: Target, payload: Payload) -> WriteResult:
        self.faults.around(lambda: self.pending[label].append((target, payload)))
        return WriteResult(rows=payload.rows)

    def prepare(self, label: str, tables: Sequence[TableName]) -> None:
        self.faults.around(lambda: self._move(label, ("open", "prepared"), "prepared"))

    def commit(self, label: str, tables: Sequence[TableName]) -> None:
        self.faults.around(lambda: self._commit(label))

    def _commit(self, label: str) -> None:
        before = self.standing[label]
        self._move(label, ("prepared", "done"), "done")
        if before == "prepared":
            for target, payload in self.pending.pop(label):
                MemoryTransport(self.tables, Faults()).send(label, target, payload)

    def _move(self, label: str, before: tuple[Standing, ...], after: Standing) -> None:
        if self.standing.get(label) not in before:
            raise LoadUnresolved("the target has given it up")
        self.standing[label] = after

    def rollback(self, label: str, tables: Sequence[TableName]) -> None:
        self.faults.around(lambda: self._rollback(label))

    def _rollback(self, label: str) -> None:
        assert self.standing.get(label) != "done", "a committed load was rolled back"
        if label in self.standing:
            self.standing[label] = "absent"

    def outcome(self, label: str, table: TableName) -> Standing:
        standing: Standing = self.faults.around(lambda: self.standing.get(label, "unknown"))
        return standing

    def holds(self, table: TableName, proof: Mapping[str, Any]) -> bool:
        raise AssertionError("no payload has a proof")

    def act(self, action: Action) -> None:
        self.faults.around(lambda: self.tables.models[TableName(*action["table"])].truncate())

    def truncation(self, target: Target) -> Action | None:
        self.tables.model(target)
        return {"table": [target.table.schema, target.table.name]}

    def filling(self, target: Target, column: Column, value: pa.Scalar | None) -> Action | None:
        raise AssertionError("not declared")

    def swapping(self, target: Target, shadow: Target) -> Action:
        raise AssertionError("not declared")

    def give_up(self) -> None:
        self.standing = {label: "done" if now == "done" else "absent" for label, now in self.standing.items()}

    def forget(self) -> None:
        self.standing.clear()


@dataclass
class PreparedSink(LabelledSink):
    """A target like StarRocks from 2.4 on: what was prepared stays until it is committed, rolled back, or its time is over."""

    spans_tables: bool = False
    transactions: MemoryTransactions = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.transactions = MemoryTransactions(self.tables, self.faults, self.spans_tables)
        self.restart(self.faults)

    def restart(self, faults: Faults) -> None:
        super().restart(faults)
        self.transactions.faults = faults
        self.book = WriteAheadLedger(self.store, self.name, self.transactions)

    @property
    def ledger(self) -> WriteAheadLedger:
        return self.book

    def begin(
        self, targets: Sequence[Target], lease: Lease | None, window: Window | None = None, intent: Intent | None = None
    ) -> Load:
        return TwoPhaseLoad(self.transactions, targets, self.name, self.book, lease)
