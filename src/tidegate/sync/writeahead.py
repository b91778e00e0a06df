"""Exactly once without transactions: say what is about to be loaded, load it under a label that can exist once, then record it.

The ledger is a log in the target, to which a record can be appended only under the next free number. That is the fence too: a run
that was taken over finds its number taken, reads who took it, and stops.

A load goes like this::

    intent    the window, the chunk limits, a hash of options and encoder     before the first chunk
    chunk     number, table, rows, checksum, label                            before its bytes are sent
    (send)    under the label: the target takes it once
    entries   where the tables stand now; this closes the intent

A run that finds an open intent reads the same window again, cuts it into the same chunks, asks the target what became of each
announced label, and sends what is missing under the *same* label: if the dead run's bytes are still on their way, only one of the
two arrives. A re-read that gives other bytes stops the run.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.position import from_json, to_json
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError, LeaseLost, LoadUnresolved, PermanentError, SyncBusy, TransientError
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import ChunkRecord, Copy, Entry, Intent, Lease, Limits, Window, chunk_limits
from tidegate.sync.results import WriteResult

log = logging.getLogger(__name__)

Outcome = Literal["done", "absent", "running", "unknown"]
"""What the target says of a label: loaded; never seen, or given up; under way; or forgotten, so that it can't tell."""
Record = Mapping[str, Any]


class LogStore(Protocol):
    """An append-only log per name, in the target."""

    def setup(self) -> None: ...

    def ddl(self) -> Sequence[str]: ...

    def now(self) -> datetime:
        """The target's clock, so that workers needn't agree on theirs."""

    def append(self, name: str, number: int, record: Record) -> bool:
        """Store the record under the number; False if that number is taken. Decides a lost reply by asking."""

    def records(self, name: str) -> Sequence[Record]:
        """All records in order of their numbers, which have no gaps. Empty where there is no log yet."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A batch in the words of the target. The same batch under the same options gives the same bytes."""

    body: bytes
    rows: int

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class Transport(Protocol):
    """How bytes get into the target."""

    def encoder(self, targets: Sequence[Target]) -> str:
        """A hash of everything but the rows that the bytes depend on: options, columns, version of the encoding."""

    def encode(self, target: Target, batch: ChangeBatch, copy: Copy | None) -> Payload: ...

    def send(self, label: str, target: Target, payload: Payload) -> WriteResult:
        """Load under the label. LoadUnresolved if the reply was lost; a label that was used counts as loaded."""

    def outcome(self, label: str) -> Outcome: ...


@dataclass(slots=True)
class _State:
    """What the log of a sync says."""

    count: int = 0
    fence: int = 0
    owner: str = ""
    expires: datetime = field(default_factory=lambda: datetime.min.replace(tzinfo=UTC))
    entries: dict[TableName, Entry] = field(default_factory=dict)
    intent: Intent | None = None

    def apply(self, record: Record) -> None:
        self.count += 1
        match record["kind"]:
            case "lease":
                self.fence, self.owner = record["fence"], record["owner"]
                self.expires = datetime.fromisoformat(record["expires"])
            case "intent":
                self.intent = _intent_from(record)
            case "chunk":
                assert self.intent is not None
                self.intent = replace(self.intent, chunks=(*self.intent.chunks, _chunk_from(record)))
            case "closed":
                self.intent = None
            case "entries":
                self.intent = None
                for item in record["entries"]:
                    entry = _entry_from(item)
                    known = self.entries.get(entry.table)
                    schema = entry.schema or (known.schema if known is not None else None)
                    self.entries[entry.table] = replace(entry, schema=schema)
            case kind:
                raise ConfigError(f"a ledger record of the unknown kind {kind!r}: it was written by a newer tidegate")


class WriteAheadLedger:
    """A Ledger over a log that only grows. Safe to share with the heartbeat's thread."""

    def __init__(self, store: LogStore, connection: str) -> None:
        self._store, self._connection = store, connection
        self._lock = threading.Lock()

    def setup(self) -> None:
        self._store.setup()

    def ddl(self) -> Sequence[str]:
        return self._store.ddl()

    def acquire(self, sync: str, owner: str, ttl: float) -> Lease:
        while True:
            state, now = self._state(sync), self._store.now()
            if state.owner not in ("", owner) and state.expires > now:
                left = (state.expires - now).total_seconds()
                what = f"{state.owner} runs the sync {sync}; its lease ends in {left:.0f} s unless it is renewed"
                raise SyncBusy(what, connection=self._connection, setting="max_active_runs=1")
            lease = Lease(sync, owner, state.fence + 1, ttl)
            if self._store.append(sync, state.count, self._lease_record(lease, now)):
                return lease

    def renew(self, lease: Lease) -> None:
        self.append(lease, self._lease_record(lease, self._store.now()))

    def release(self, lease: Lease) -> None:
        record = self._lease_record(replace(lease, owner="", ttl=0), self._store.now())
        try:
            self.append(lease, record)
        except LeaseLost:
            log.debug("the lease of %s was taken over before it was released", lease.sync)

    def claim(self, lease: Lease, targets: Sequence[TableName]) -> None:
        for target in targets:
            if not self._store.append(_claim_name(target), 0, {"kind": "claim", "sync": lease.sync}):
                owner = self._store.records(_claim_name(target))[0]["sync"]
                if owner != lease.sync:
                    what = f"belongs to the sync {owner}"
                    raise ConfigError(what, connection=self._connection, table=target, setting="sync")

    def owners(self, targets: Sequence[TableName]) -> Mapping[TableName, str]:
        found = {target: self._store.records(_claim_name(target)) for target in targets}
        return {target: str(records[0]["sync"]) for target, records in found.items() if records}

    def last(self, sync: str) -> Mapping[TableName, Entry]:
        return self._state(sync).entries

    def record(self, lease: Lease, entries: Sequence[Entry]) -> None:
        if self._state(lease.sync).intent is not None:
            raise AssertionError("entries outside the open intent would close it")
        self.append(lease, entries_record(entries, self._store.now()))

    def intents(self, lease: Lease) -> Sequence[Intent]:
        intent = self._state(lease.sync).intent
        if intent is None:
            return ()
        if intent.window.until is None:
            # Pages of a copy come out otherwise when they are read again; loading them again by key makes it good.
            self.close(lease)
            return ()
        return (intent,)

    def close(self, lease: Lease) -> None:
        """Give the open intent up: its window is read anew from the ledger's positions."""
        self.append(lease, {"kind": "closed"})

    def append(self, lease: Lease, record: Record) -> None:
        """Append under the lease. LeaseLost if its fence was passed."""
        with self._lock:
            while True:
                state = self._state(lease.sync)
                if state.fence != lease.fence:
                    what = f"{state.owner or 'another run'} took over {lease.sync} (fence {state.fence}, ours is {lease.fence})"
                    raise LeaseLost(what, connection=self._connection)
                if self._store.append(lease.sync, state.count, record):
                    return

    def now(self) -> datetime:
        return self._store.now()

    def _state(self, sync: str) -> _State:
        state = _State()
        for record in self._store.records(sync):
            state.apply(record)
        return state

    @staticmethod
    def _lease_record(lease: Lease, now: datetime) -> Record:
        expires = now + timedelta(seconds=lease.ttl)
        return {"kind": "lease", "owner": lease.owner, "fence": lease.fence, "expires": expires.isoformat()}


class WriteAheadLoad:
    """A Load over labelled sends. ``intent`` is the open one that it goes on with."""

    def __init__(
        self,
        ledger: WriteAheadLedger,
        transport: Transport,
        lease: Lease,
        targets: Sequence[Target],
        window: Window,
        connection: str,
        intent: Intent | None = None,
        patience: float = 60.0,
    ) -> None:
        self._ledger, self._transport, self._lease = ledger, transport, lease
        self._window, self._limits, self._connection = window, chunk_limits(targets), connection
        self._patience = patience
        self._number = 0
        self._intent = intent
        self._encoder = transport.encoder(targets)
        if intent is not None and intent.encoder != self._encoder:
            what = f"the open intent {intent.id} was written under other options, so its chunks can't be told from new ones"
            raise PermanentError(what, connection=connection, setting="the write options of the run that stopped")

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        payload = self._transport.encode(target, batch, copy)
        announced = self._announced()
        self._number += 1
        if announced is None:
            announced = self._announce(batch, payload)
            return self._deliver(announced, target, payload)
        if announced.checksum != payload.checksum or announced.table != batch.schema.table:
            what = (
                f"chunk {announced.number} of the open intent reads differently now: {announced.rows} rows then, {payload.rows} now"
            )
            raise PermanentError(what, connection=self._connection, table=batch.schema.table, setting="a new copy of the table")
        if self._settled(announced, target):
            return WriteResult(rows=payload.rows, inserted=None, updated=None, deleted=None, ignored=None, not_found=None)
        return self._deliver(announced, target, payload)

    def finish_copy(self, target: Target) -> int | None:
        raise ConfigError("initial='replace' needs a target with transactions", table=target.table, setting="initial='merge'")

    def truncate(self, target: Target) -> WriteResult:
        raise self._cannot("truncate", target)

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        raise self._cannot("fill", target)

    def swap(self, target: Target, shadow: Target) -> None:
        raise self._cannot("swap", target)

    def _cannot(self, what: str, target: Target) -> AssertionError:
        return AssertionError(f"{what} of {target.table}: {self._connection} doesn't declare it, so no run asks for it")

    def commit(self, entries: Sequence[Entry]) -> None:
        if self._intent is not None and self._number < len(self._intent.chunks):
            what = f"the window had {len(self._intent.chunks)} chunks when it was announced and has {self._number} now"
            raise PermanentError(what, connection=self._connection)
        self._ledger.append(self._lease, entries_record(entries, self._ledger.now()))

    def abort(self) -> None:
        """The intent stays open: the next attempt settles it."""

    def _announced(self) -> ChunkRecord | None:
        if self._intent is None or self._number >= len(self._intent.chunks):
            return None
        return self._intent.chunks[self._number]

    def _announce(self, batch: ChangeBatch, payload: Payload) -> ChunkRecord:
        if self._intent is None:
            self._intent = Intent(uuid.uuid4().hex, self._lease.sync, self._window, self._limits, self._encoder)
            self._ledger.append(self._lease, _intent_record(self._intent))
        table, number = batch.schema.table, self._number
        digest = hashlib.sha256(f"{self._intent.id} {table} {number}".encode()).hexdigest()
        chunk = ChunkRecord(number, table, payload.rows, payload.checksum, f"tidegate-{digest[:40]}")
        self._ledger.append(self._lease, _chunk_record(chunk))
        self._intent = replace(self._intent, chunks=(*self._intent.chunks, chunk))
        return chunk

    def _deliver(self, chunk: ChunkRecord, target: Target, payload: Payload) -> WriteResult:
        """Send until the target says it is in. The label makes a second send harmless while the target remembers it."""
        retries, pause = target.options.max_retries or 0, target.options.retry_wait or 0.0
        for attempt in range(retries + 1):
            try:
                return self._transport.send(chunk.label, target, payload)
            except TransientError as error:
                log.info("load %s of %s: %s", chunk.label, target.table, error)
                if self._settled(chunk, target):
                    return WriteResult(rows=payload.rows, inserted=None, updated=None, deleted=None, ignored=None, not_found=None)
                if attempt == retries:
                    raise
                time.sleep(min(pause * 2**attempt, self._patience))
        raise AssertionError("unreachable")

    def _settled(self, chunk: ChunkRecord, target: Target) -> bool:
        """Whether the load is in. False: send it (again)."""
        deadline = time.monotonic() + self._patience
        pause = 0.05
        while (outcome := self._transport.outcome(chunk.label)) == "running":
            if time.monotonic() > deadline:
                what = f"the load {chunk.label} is still under way after {self._patience:g} s"
                raise LoadUnresolved(what, connection=self._connection, table=target.table, setting="max_retries")
            time.sleep(pause)
            pause = min(pause * 2, 5.0)
        if outcome == "unknown" and target.options.write_mode == "append":
            what = f"the target has forgotten the label {chunk.label}, so whether its {chunk.rows} rows are in can't be decided"
            raise PermanentError(
                what, connection=self._connection, table=target.table, setting="write_mode='upsert' can be sent again"
            )
        return outcome == "done"


def entries_record(entries: Sequence[Entry], now: datetime) -> Record:
    """The record that closes an intent."""
    return {"kind": "entries", "entries": [_entry_record(entry, now) for entry in entries]}


def _claim_name(target: TableName) -> str:
    return f"table:{target}"


def _table_json(table: TableName) -> list[str]:
    return [table.schema, table.name]


def _entry_record(entry: Entry, now: datetime) -> Record:
    return {
        "sync": entry.sync,
        "table": _table_json(entry.table),
        "target": _table_json(entry.target),
        "position": to_json(entry.position),
        "run": entry.run,
        "rows": entry.rows,
        "copy": entry.copy,
        "schema": entry.schema.to_json() if entry.schema is not None else None,
        "at": now.isoformat(),
    }


def _entry_from(record: Record) -> Entry:
    return Entry(
        record["sync"],
        TableName(*record["table"]),
        TableName(*record["target"]),
        from_json(record["position"]),
        record["run"],
        record["rows"],
        record["copy"],
        None if record["schema"] is None else TableSchema.from_json(record["schema"]),
        datetime.fromisoformat(record["at"]),
    )


def _intent_record(intent: Intent) -> Record:
    after = [[_table_json(table), to_json(position)] for table, position in intent.window.after.items()]
    until = None if intent.window.until is None else to_json(intent.window.until)
    return {
        "kind": "intent",
        "id": intent.id,
        "sync": intent.sync,
        "after": after,
        "until": until,
        "schemas": [schema.to_json() for schema in intent.window.schemas.values()],
        "unknown": [_table_json(table) for table in intent.window.unknown],
        "limits": [intent.limits.rows, intent.limits.bytes],
        "encoder": intent.encoder,
    }


def _intent_from(record: Record) -> Intent:
    after = {TableName(*table): from_json(position) for table, position in record["after"]}
    until = None if record["until"] is None else from_json(record["until"])
    schemas = [TableSchema.from_json(schema) for schema in record.get("schemas", ())]
    unknown = frozenset(TableName(*table) for table in record.get("unknown", ()))
    window = Window(after, until, {schema.table: schema for schema in schemas}, unknown)
    return Intent(record["id"], record["sync"], window, Limits(*record["limits"]), record["encoder"])


def _chunk_record(chunk: ChunkRecord) -> Record:
    return {
        "kind": "chunk",
        "number": chunk.number,
        "table": _table_json(chunk.table),
        "rows": chunk.rows,
        "checksum": chunk.checksum,
        "label": chunk.label,
    }


def _chunk_from(record: Record) -> ChunkRecord:
    return ChunkRecord(record["number"], TableName(*record["table"]), record["rows"], record["checksum"], record["label"])
