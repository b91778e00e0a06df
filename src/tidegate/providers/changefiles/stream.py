"""A stream: the chain of its manifests, and the one way in which a segment joins it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, CorruptSegment, LeaseLost, PositionLost
from tidegate.providers.changefiles.manifest import DataFile, Manifest, StoredEvent, TableState
from tidegate.providers.changefiles.store import Store
from tidegate.sync.protocols import Entry, Lease

_MANIFEST = re.compile(r"(\d{8,})\.json")


def manifest_name(number: int) -> str:
    """``00000001.json``."""
    return f"{number:08d}.json"


class Stream:
    """The segments of one folder."""

    def __init__(self, store: Store, connection: str) -> None:
        self.store = store
        self._connection = connection
        # The newest, those being read and their neighbours are asked for again and again.
        self._kept = lru_cache(maxsize=16)(self._load)

    def numbers(self) -> list[int]:
        """The numbers of the segments that there are, ascending."""
        return sorted(int(match[1]) for name in self.store.names("") if (match := _MANIFEST.fullmatch(name)))

    def newest(self) -> Manifest | None:
        """The last segment as it is now; None if the stream has none yet."""
        # A segment never changes, but a folder may be emptied and begun anew.
        self._kept.cache_clear()
        numbers = self.numbers()
        return self.manifest(numbers[-1]) if numbers else None

    def manifest(self, number: int) -> Manifest:
        """One segment. CorruptSegment if it is missing or damaged."""
        return self._kept(number)

    def _load(self, number: int) -> Manifest:
        name = manifest_name(number)
        try:
            data = self.store.read(name)
        except FileNotFoundError:
            raise CorruptSegment(f"segment {number} is missing: there is no {name}", connection=self._connection) from None
        found = Manifest.load(data, name=name, connection=self._connection)
        if found.number != number:
            raise CorruptSegment(f"{name} is the manifest of segment {found.number}", connection=self._connection)
        return found

    def after(self, number: int, until: int) -> Iterator[Manifest]:
        """The segments past ``number``, up to and with ``until``, each proved to be the successor of the one before.

        CorruptSegment for a gap or a broken chain; PositionLost if the segments that follow ``number`` were removed.
        """
        if number >= until:
            return
        first = min(self.numbers(), default=number + 1)
        if number + 1 < first <= until:
            raise PositionLost(
                f"the stream begins with segment {first}; {number + 1} and what follows it were removed",
                connection=self._connection,
                position=f"segment {number}",
            )
        previous = self.manifest(number) if number >= first else None
        for next_number in range(number + 1, until + 1):
            manifest = self.manifest(next_number)
            self._check_link(previous, manifest)
            yield manifest
            previous = manifest

    def _check_link(self, previous: Manifest | None, manifest: Manifest) -> None:
        if previous is None:
            return
        if manifest.stream != previous.stream:
            what = f"belongs to the stream {manifest.stream}, and segment {previous.number} to {previous.stream}"
        elif manifest.previous != previous.checksum:
            what = f"was written after another segment {previous.number} than the one that is there"
        else:
            return
        raise CorruptSegment(f"segment {manifest.number} {what}", connection=self._connection)

    def commit(
        self,
        lease: Lease | None,
        *,
        files: Sequence[DataFile] = (),
        events: Sequence[StoredEvent] = (),
        entries: Sequence[Entry] = (),
        schemas: Mapping[TableName, TableSchema] | None = None,
    ) -> Manifest:
        """Append a segment, all or nothing: its manifest takes the next number unless another writer did.

        Taking over a lease appends a segment of the higher fence, so a run that was taken over meets either that segment here
        (LeaseLost) or the number taken by it, and looks again. A write outside a sync (``lease`` None) just takes the number after.
        ConfigError if the stream belongs to another sync.
        """
        while True:
            last = self.newest()
            self._check_owner(last, lease)
            manifest = _successor(last, lease, files, events, entries, schemas or {})
            try:
                self.store.create(manifest_name(manifest.number), manifest.dump())
            except FileExistsError:
                continue
            return manifest

    def _check_owner(self, last: Manifest | None, lease: Lease | None) -> None:
        if lease is None or last is None:
            return
        if last.sync not in (None, lease.sync):
            raise ConfigError(
                f"the stream belongs to the sync {last.sync}: give {lease.sync} a folder of its own",
                connection=self._connection,
                setting="url",
            )
        if last.fence > lease.fence:
            raise LeaseLost(
                f"the lease {lease.fence} of the sync {lease.sync} was taken over by lease {last.fence}: nothing was written",
                connection=self._connection,
            )


def _successor(
    last: Manifest | None,
    lease: Lease | None,
    files: Sequence[DataFile],
    events: Sequence[StoredEvent],
    entries: Sequence[Entry],
    schemas: Mapping[TableName, TableSchema],
) -> Manifest:
    """The manifest that follows ``last``: its own files and entries, and what the stream knew before."""
    now = datetime.now(UTC)
    known = dict(last.entries) if last else {}
    after = {entry.table: known[entry.table].position for entry in entries if entry.table in known}
    for entry in entries:
        former = known.get(entry.table)
        schema = entry.schema or (former.schema if former else None)
        known[entry.table] = replace(entry, schema=schema, at=now)
    tables = dict(last.tables) if last else {}
    for table, schema in schemas.items():
        before = tables[table].events if table in tables else 0
        tables[table] = TableState(schema, before + sum(item.events for item in files if item.table == table))
    return Manifest(
        stream=last.stream if last else uuid.uuid4().hex,
        number=last.number + 1 if last else 1,
        token=uuid.uuid4().hex,
        previous=last.checksum if last else "",
        at=now,
        sync=lease.sync if lease else last.sync if last else None,
        run=entries[0].run if entries else "",
        fence=lease.fence if lease else last.fence if last else 0,
        files=tuple(files),
        events=tuple(events),
        after=after,
        entries=known,
        tables=tables,
    )
