"""The ledger of a stream: its manifests. The lease is a numbered file beside them.

Leases are ``leases/00000007.json``, the number the fence, each created unless it exists; the highest counts. Its holder alone
rewrites it: a heartbeat, and the mark that it was released. Who takes over a lease that was not released appends an empty segment
under the new fence: from then on the former holder can't commit (:meth:`Stream.commit`), whatever it or its clock believes. Clocks
decide only when a lease counts as expired.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, CorruptSegment, LeaseLost, SyncBusy
from tidegate.providers.changefiles.stream import Stream
from tidegate.sync.protocols import Entry, Intent, Lease

_FOLDER = "leases"
_LEASE = re.compile(r"(\d{8,})\.json")


@dataclass(frozen=True, slots=True)
class _LeaseFile:
    """What a lease file says. ``expires`` in seconds since 1970 by its holder's clock."""

    sync: str
    owner: str
    expires: float
    released: bool = False


class ChangeFilesLedger:
    """Ledger of the one sync that a stream belongs to."""

    def __init__(self, stream: Stream, connection: str) -> None:
        self._stream = stream
        self._store = stream.store
        self._connection = connection

    def setup(self) -> None:
        self._store.setup()

    def ddl(self) -> Sequence[str]:
        """None: a folder needs no statements, only the right to list, read, write and delete in it."""
        return ()

    def acquire(self, sync: str, owner: str, ttl: float) -> Lease:
        if " " in sync:
            # No sync has a blank in its name; an append under a key has (sync/verbs.py), and would make the stream its own.
            what = "a stream keeps the ledger of one sync, and none of single appends: append without a key, or through a sync"
            raise ConfigError(what, connection=self._connection, setting="idempotency_key")
        self._check_owner(sync)
        numbers = self._leases()
        current = self._read(numbers[-1]) if numbers else None
        if current and not current.released and current.expires > time.time() and (current.sync, current.owner) != (sync, owner):
            wait = current.expires - time.time()
            raise SyncBusy(
                f"{current.owner} holds the lease of the sync {current.sync}; it expires in {wait:.0f} s if its run has died",
                connection=self._connection,
            )
        newest = self._stream.newest()
        fence = max(numbers[-1] if numbers else 0, newest.fence if newest else 0) + 1
        lease = Lease(sync, owner, fence, ttl)
        try:
            self._store.create(_name(fence), _dump(_LeaseFile(sync, owner, time.time() + ttl)))
        except FileExistsError:
            raise SyncBusy(f"another run takes the lease of the sync {sync} just now", connection=self._connection) from None
        if current and not current.released:
            self._stream.commit(lease)
        for number in numbers:
            self._store.remove(_name(number))
        return lease

    def renew(self, lease: Lease) -> None:
        self._check_held(lease)
        self._store.replace(_name(lease.fence), _dump(_LeaseFile(lease.sync, lease.owner, time.time() + lease.ttl)))

    def release(self, lease: Lease) -> None:
        if self._leases()[-1:] == [lease.fence]:
            self._store.replace(_name(lease.fence), _dump(_LeaseFile(lease.sync, lease.owner, time.time(), released=True)))

    def claim(self, lease: Lease, targets: Sequence[TableName]) -> None:
        """A stream has one owner, named in its manifests from the first segment that a sync commits."""
        self._check_owner(lease.sync)

    def owners(self, targets: Sequence[TableName]) -> Mapping[TableName, str]:
        newest = self._stream.newest()
        return {} if newest is None or newest.sync is None else dict.fromkeys(targets, newest.sync)

    def last(self, sync: str) -> Mapping[TableName, Entry]:
        newest = self._stream.newest()
        return {} if newest is None else {table: entry for table, entry in newest.entries.items() if entry.sync == sync}

    def record(self, lease: Lease, entries: Sequence[Entry]) -> None:
        """Entries that move no table append no segment: an idle source makes no files."""
        known = self.last(lease.sync)
        if all(entry.table in known and known[entry.table].position == entry.position for entry in entries):
            self._check_held(lease)
            return
        self._stream.commit(lease, entries=entries)

    def intents(self, lease: Lease) -> Sequence[Intent]:
        """None ever: a manifest commits rows and entries together."""
        return ()

    def _check_owner(self, sync: str) -> None:
        newest = self._stream.newest()
        if newest is not None and newest.sync not in (None, sync):
            raise ConfigError(
                f"the stream belongs to the sync {newest.sync}: give {sync} a folder of its own",
                connection=self._connection,
                setting="url",
            )

    def _check_held(self, lease: Lease) -> None:
        numbers = self._leases()
        if numbers and numbers[-1] > lease.fence:
            raise LeaseLost(
                f"the lease {lease.fence} of the sync {lease.sync} was taken over by lease {numbers[-1]}",
                connection=self._connection,
            )

    def _leases(self) -> list[int]:
        return sorted(int(match[1]) for name in self._store.names(_FOLDER) if (match := _LEASE.fullmatch(name)))

    def _read(self, number: int) -> _LeaseFile | None:
        try:
            return _LeaseFile(**json.loads(self._store.read(_name(number))))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise CorruptSegment(
                f"{_name(number)} is no lease; remove it if no run is under way", connection=self._connection
            ) from error


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:08d}.json"


def _dump(lease: _LeaseFile) -> bytes:
    return json.dumps(asdict(lease)).encode()
