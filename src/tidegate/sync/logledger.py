"""The ledger over a log in the target, for targets without transactions over rows and ledger."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, LeaseLost, PermanentError, SyncBusy
from tidegate.sync.log import LogStore, Record, State, entries_record
from tidegate.sync.protocols import Entry, Intent, Lease
from tidegate.sync.settling import Transactions, settle, sweep

log = logging.getLogger(__name__)


class WriteAheadLedger:
    """A Ledger over a log that only grows. Safe to share with the heartbeat's thread.

    ``transactions``: the target's own, where it has some that are prepared and then committed. What a run decided and didn't get
    to commit is settled when the lease is taken, and before each attempt of a run. ``full``: the whole name of a target table,
    which may be written in several ways.
    """

    def __init__(
        self,
        store: LogStore,
        connection: str,
        transactions: Transactions | None = None,
        full: Callable[[TableName], TableName] = lambda table: table,
    ) -> None:
        self._store, self._connection, self._transactions = store, connection, transactions
        self._full = full
        self._lock = threading.RLock()
        self._states: dict[str, State] = {}
        self._settled: dict[str, int] = {}

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
            if self._store.append(sync, state.count, {**self._lease_record(lease, now), "state": state.to_json()}):
                break
        try:
            self._settle(lease)
        except BaseException:
            self.release(lease)
            raise
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
        """Nothing is claimed if another sync owns one of them.

        One that claims at the same moment can still be first. Both go by the tables' names, so one of them gets all that both want;
        what the other has claimed by then only it asked for, and keeps: its next run claims it in any case.
        """
        self._held(lease)
        free = [target for target in targets if not self._owned(target, lease.sync)]
        for target in sorted(free, key=self._claim_name):
            if not self._store.append(self._claim_name(target), 0, {"kind": "claim", "sync": lease.sync}):
                self._owned(target, lease.sync)

    def owners(self, targets: Sequence[TableName]) -> Mapping[TableName, str]:
        found = {target: self._owner(target) for target in targets}
        return {target: owner for target, owner in found.items() if owner is not None}

    def _owned(self, target: TableName, sync: str) -> bool:
        """Whether the table is the sync's; False if it is nobody's. ConfigError if it is another's."""
        owner = self._owner(target)
        if owner not in (None, sync):
            what = f"belongs to the sync {owner}"
            raise ConfigError(what, connection=self._connection, table=target, setting="sync")
        return owner is not None

    def _owner(self, target: TableName) -> str | None:
        records = self._store.records(self._claim_name(target))
        return str(records[0][1]["sync"]) if records else None

    def last(self, sync: str) -> Mapping[TableName, Entry]:
        return dict(self._state(sync).entries)

    def record(self, lease: Lease, entries: Sequence[Entry]) -> None:
        intent = self._held(lease).intent
        if intent is not None and not intent.keyed:
            what = f"the loads of the intent {intent.id} have to be gone on with first: their rows would be there twice"
            raise PermanentError(what, connection=self._connection, setting="tidegate run")
        # What a run announced and didn't finish is closed by these entries: it is read anew, which does no harm to rows with keys.
        self.append(lease, entries_record(entries, self._store.now()))

    def intents(self, lease: Lease) -> Sequence[Intent]:
        self._settle(lease)
        intent = self._state(lease.sync).intent
        if intent is None:
            return ()
        if intent.window.until is None:
            # Pages of a copy come out otherwise when they are read again; loading them again by key makes it good.
            self.close(lease)
            return ()
        return (intent,)

    def close(self, lease: Lease) -> None:
        """Give what is open up: its window is read anew from the ledger's positions."""
        self.append(lease, {"kind": "closed"})

    def append(self, lease: Lease, record: Record) -> int:
        """Append under the lease; the record's number. LeaseLost if the lease's fence was passed."""
        with self._lock:
            while True:
                state = self._held(lease)
                if self._store.append(lease.sync, state.count, record):
                    return state.count

    def taken(self, lease: Lease, number: int) -> None:
        """All steps that the record decided were taken. Written down with the next heartbeat, or when the lease is released."""
        with self._lock:
            self._settled[lease.sync] = number

    def remembers(self, sync: str, number: int, table: TableName) -> bool:
        """Whether the target still knows the labels of loads into ``table`` that came after this record."""
        return number >= 0 and self._store.remembers(sync, number, table)

    def now(self) -> datetime:
        return self._store.now()

    def _settle(self, lease: Lease) -> None:
        if self._transactions is None:
            return
        state = self._state(lease.sync)
        if state.decided is not None and self._settled.get(lease.sync) != state.decided.number:
            number = state.decided.number
            if undone := settle(self._transactions, state.decided, self._connection):
                log.warning("loads of %s were decided and lost; they are done again: %s", lease.sync, ", ".join(map(str, undone)))
                self.append(lease, {"kind": "undone", "sources": [[table.schema, table.name] for table in undone]})
            else:
                self.taken(lease, number)
        if state.opened is not None:
            sweep(self._transactions, state.opened)
            self.close(lease)

    def _held(self, lease: Lease) -> State:
        """What the log says, as long as the lease is ours."""
        state = self._state(lease.sync)
        if state.fence != lease.fence:
            what = f"{state.owner or 'another run'} took over {lease.sync} (fence {state.fence}, ours is {lease.fence})"
            raise LeaseLost(what, connection=self._connection)
        return state

    def _state(self, sync: str) -> State:
        with self._lock:
            state = self._states.setdefault(sync, State())
            for number, record in self._store.records(sync, state.count or None):
                state.apply(number, record)
            return state

    def _lease_record(self, lease: Lease, now: datetime) -> Record:
        expires = now + timedelta(seconds=lease.ttl)
        record = {"kind": "lease", "owner": lease.owner, "fence": lease.fence, "expires": expires.isoformat()}
        settled = self._settled.get(lease.sync)
        return record if settled is None else {**record, "settled": settled}

    def _claim_name(self, target: TableName) -> str:
        return f"table:{self._full(target)}"
