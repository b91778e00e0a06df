"""Exactly once over loads that stand alone: say what is to be loaded, load it under a label that can exist once, record it.

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
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, Protocol

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.schema import Column, TableName
from tidegate.errors import ConfigError, LoadUnresolved, PermanentError, RowRefused, TidegateError, TransientError
from tidegate.sync.log import Record, Step, chunk_record, entries_record, intent_record
from tidegate.sync.logledger import WriteAheadLedger
from tidegate.sync.mapping import Target
from tidegate.sync.payload import Payload
from tidegate.sync.protocols import ChunkRecord, Copy, Entry, Intent, Lease, Window, chunk_limits
from tidegate.sync.quarantine import is_alone
from tidegate.sync.results import WriteResult
from tidegate.sync.settling import Action

log = logging.getLogger(__name__)

Outcome = Literal["done", "absent", "running", "unknown"]
"""What the target says of a label: loaded; never seen, or given up; under way; or forgotten, so that it can't tell."""


class Transport(Protocol):
    """How bytes get into the target."""

    def encoder(self, targets: Sequence[Target]) -> str:
        """A hash of everything but the rows that the bytes depend on: options, columns, version of the encoding."""

    def encode(self, target: Target, batch: ChangeBatch, copy: Copy | None) -> Iterable[Payload]:
        """The batch's net effect, to be loaded in this order."""

    def send(self, label: str, target: Target, payload: Payload) -> WriteResult:
        """Load under the label. LoadUnresolved if the reply was lost; a label that was used counts as loaded."""

    def outcome(self, label: str, target: Target, payload: Payload) -> Outcome: ...

    def act(self, action: Action) -> None: ...

    def truncation(self, target: Target) -> Action | None: ...

    def filling(self, target: Target, column: Column, value: pa.Scalar | None) -> Action | None: ...

    def swapping(self, target: Target, shadow: Target) -> Action: ...


class WriteAheadLoad:
    """A Load over labelled sends. ``intent`` is the open one that it goes on with.

    Without ``ledger`` and ``lease`` it stands outside any sync, and its labels are used once.
    """

    def __init__(
        self,
        ledger: WriteAheadLedger | None,
        transport: Transport,
        lease: Lease | None,
        targets: Sequence[Target],
        window: Window,
        connection: str,
        intent: Intent | None = None,
        patience: float = 60.0,
        prefix: str = "tidegate",
    ) -> None:
        self._ledger, self._transport, self._lease = ledger, transport, lease
        self._window, self._limits, self._connection = window, chunk_limits(targets), connection
        self._patience, self._prefix = patience, prefix
        self._number = 0
        self.refused = 0
        """Loads that the target refused for their rows."""
        self._swaps: list[Step] = []
        self._intent = intent
        self.resumed = intent is not None
        self._refused_again = False
        self._refused: int | None = None
        """The number of the chunk that the target refused last."""
        # A row of strict's that is in already would be a conflict.
        self._keyed = all(target.options.write_mode != "append" and target.options.conflict_mode != "strict" for target in targets)
        self._encoder = transport.encoder(targets)
        if intent is not None and intent.encoder != self._encoder:
            what = f"the open intent {intent.id} was written under other options, so its chunks can't be told from new ones"
            raise self._outdated(what, None, "the write options of the run that stopped")

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        result = WriteResult()
        for payload in self._transport.encode(target, batch, copy):
            if copy is not None and not payload.keyed:
                what = "rows of a copy that can't be merged by key would be in twice if it were cut off and begun again"
                raise ConfigError(
                    what, connection=self._connection, table=target.table, setting="start='latest', or sink_version='V2'"
                )
            result += self._write(target, batch, payload)
        result.rows = batch.events()
        return result

    def _write(self, target: Target, batch: ChangeBatch, payload: Payload) -> WriteResult:
        known = self._next(batch.schema.table, payload.rows, payload.checksum)
        if known is not None and self._number < len(self._chunks()) and self._was_taken(known, target, batch, payload):
            return _is_in(payload)
        if known is None or not self._settled(known, target, payload):
            return self._deliver(known or self._chunks()[-1], target, payload)
        return _is_in(payload)

    def _was_taken(self, chunk: ChunkRecord, target: Target, batch: ChangeBatch, payload: Payload) -> bool:
        """Of a chunk after which another was announced: the target took it; False if it is to be sent once more.

        RowRefused if the target refused it: its parts came next. A row of a log that was refused by itself can still go, whatever
        was loaded after it. Of others what is asked of the table now is no longer what it was then, and a later row of their key
        may be in.
        """
        refused = self._chunks()[self._number].after_refusal
        may_go = not self._keyed and not payload.asks and is_alone(batch)
        outcome = "absent" if refused and not may_go else self._transport.outcome(chunk.label, target, payload)
        if outcome == "done" or (outcome == "unknown" and payload.asks):
            return True
        if (outcome == "absent" and not may_go) or (outcome == "unknown" and refused):
            self._refused, self._refused_again = chunk.number, True
            what = f"the target refused the {chunk.rows} rows of the load {chunk.label} when they were sent"
            raise RowRefused(what, connection=self._connection, table=target.table, setting="on_error")
        return False

    def read_anew(self, error: RowRefused) -> None:
        """After ``error``, if it is a dead run's refusal: the table may have been put right since, so the window is read and sent
        anew, where that does no harm."""
        if self._refused_again and self._keyed:
            raise self._outdated("rows that the target refused then may be taken now", None, "on_error") from error

    def finish_copy(self, target: Target) -> int | None:
        raise ConfigError("initial='replace' needs a target with transactions", table=target.table, setting="initial='merge'")

    def truncate(self, target: Target) -> WriteResult:
        self._act(target, self._transport.truncation(target))
        return WriteResult(deleted=None)

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        self._act(target, self._transport.filling(target, column, value))
        return WriteResult(updated=None)

    def swap(self, target: Target, shadow: Target) -> None:
        # Not before the ledger says that the copy is complete: done again, it would put the old table back.
        action = self._transport.swapping(target, shadow)
        self._swaps.append(Step((shadow.table,), (target.schema.table,), action=action))

    def _act(self, target: Target, action: Action | None) -> None:
        """A statement at its place among the chunks: done again only if nothing was announced after it."""
        if action is None:
            return
        checksum = hashlib.sha256(repr(sorted(action.items())).encode()).hexdigest()
        self._next(target.schema.table, 0, checksum)
        if self._number == len(self._chunks()):
            self._check_fence()
            self._transport.act(action)

    def commit(self, entries: Sequence[Entry]) -> None:
        if self._number < len(self._chunks()):
            what = f"the window had {len(self._chunks())} chunks when it was announced and has {self._number} now"
            raise self._outdated(what, None, "a new copy of the table")
        number = -1
        if self._ledger is not None and self._lease is not None:
            number = self._ledger.append(self._lease, entries_record(entries, self._ledger.now(), self._swaps))
        for step in self._swaps:
            assert step.action is not None
            self._check_fence()
            self._transport.act(step.action)
        if self._swaps and self._ledger is not None and self._lease is not None:
            self._ledger.taken(self._lease, number)

    def _check_fence(self) -> None:
        """Nothing in the target keeps a zombie's statement out, so the fence is looked at once more."""
        if self._ledger is not None and self._lease is not None:
            self._ledger.renew(self._lease)

    def _outdated(self, what: str, table: TableName | None, setting: str) -> TidegateError:
        """The open intent can't be gone on with. Rows that are merged by key are read and sent anew, which does no harm."""
        if self._ledger is None or self._lease is None or self._intent is None or not self._intent.keyed:
            return PermanentError(what, connection=self._connection, table=table, setting=setting)
        self._ledger.close(self._lease)
        return LoadUnresolved(f"{what}; its window is read anew", connection=self._connection, table=table, setting="max_retries")

    def abort(self) -> None:
        """The intent stays open: the next attempt settles it."""

    def _chunks(self) -> tuple[ChunkRecord, ...]:
        return () if self._intent is None else self._intent.chunks

    def _next(self, table: TableName, rows: int, checksum: str) -> ChunkRecord | None:
        """The announced chunk that this one repeats; None if it is new, and then it is the last of the intent's."""
        chunks, number = self._chunks(), self._number
        self._number += 1
        if number == len(chunks):
            self._announce(table, rows, checksum)
            return None
        announced = chunks[number]
        if announced.checksum != checksum or announced.table != table:
            what = f"chunk {announced.number} of the open intent reads differently now: {announced.rows} rows then, {rows} now"
            raise self._outdated(what, table, "a new copy of the table")
        return announced

    def announced(self) -> str:
        """The id of the intent, which is written down unless it is: what else is written in the target for this window is its."""
        return self._announced().id

    def _announced(self) -> Intent:
        if self._intent is None:
            sync = self._lease.sync if self._lease is not None else ""
            self._intent = Intent(uuid.uuid4().hex, sync, self._window, self._limits, self._encoder, keyed=self._keyed)
            self._record(intent_record(self._intent))
        return self._intent

    def _announce(self, table: TableName, rows: int, checksum: str) -> None:
        intent = self._announced()
        number = len(intent.chunks)
        digest = hashlib.sha256(f"{intent.id} {table} {number}".encode()).hexdigest()
        label = f"{self._prefix}-{digest[:40]}"
        chunk = ChunkRecord(number, table, rows, checksum, label, after_refusal=self._refused == number - 1)
        chunk = replace(chunk, record=self._record(chunk_record(chunk)))
        self._intent = replace(intent, chunks=(*intent.chunks, chunk))

    def _record(self, record: Record) -> int:
        if self._ledger is None or self._lease is None:
            return -1
        return self._ledger.append(self._lease, record)

    def _deliver(self, chunk: ChunkRecord, target: Target, payload: Payload) -> WriteResult:
        """Send until the target says it is in. The label makes a second send harmless while the target remembers it."""
        retries, pause = target.options.max_retries or 0, target.options.retry_wait or 0.0
        for attempt in range(retries + 1):
            try:
                return self._transport.send(chunk.label, target, payload) + WriteResult(failed_loads=attempt)
            except RowRefused:
                self.refused += 1
                self._refused = chunk.number
                raise
            except TransientError as error:
                log.info("load %s of %s: %s", chunk.label, target.table, error)
                if self._settled(chunk, target, payload):
                    return _is_in(payload) + WriteResult(failed_loads=attempt)
                if attempt == retries and self._ledger is None and not payload.keyed:
                    # Whoever begins anew does so under new labels: what is in by now would be in twice.
                    what = f"{error}; rows of this call may be in"
                    raise PermanentError(
                        what, connection=self._connection, table=target.table, setting="idempotency_key"
                    ) from error
                if attempt == retries:
                    raise
                time.sleep(min(pause * 2**attempt, self._patience))
        raise AssertionError("unreachable")

    def _settled(self, chunk: ChunkRecord, target: Target, payload: Payload) -> bool:
        """Whether the load is in. False: send it (again)."""
        deadline = time.monotonic() + self._patience
        pause = 0.05
        while (outcome := self._transport.outcome(chunk.label, target, payload)) == "running":
            if time.monotonic() > deadline:
                what = f"the load {chunk.label} is still under way after {self._patience:g} s"
                raise LoadUnresolved(what, connection=self._connection, table=target.table, setting="max_retries")
            time.sleep(pause)
            pause = min(pause * 2, 5.0)
        if outcome == "unknown" and not payload.keyed and not self._never_sent(chunk, target):
            what = f"the target has forgotten the label {chunk.label}, so whether its {chunk.rows} rows are in can't be decided"
            raise PermanentError(
                what, connection=self._connection, table=target.table, setting="write_mode='upsert' can be sent again"
            )
        return outcome == "done"

    def _never_sent(self, chunk: ChunkRecord, target: Target) -> bool:
        if self._ledger is None or self._lease is None:
            return True  # its label was made a moment ago
        return self._ledger.remembers(self._lease.sync, chunk.record, target.table)


def _is_in(payload: Payload) -> WriteResult:
    return WriteResult(rows=payload.rows, inserted=None, updated=None, deleted=None, ignored=None, not_found=None)
