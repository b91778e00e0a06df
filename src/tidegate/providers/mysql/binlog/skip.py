"""Leaving out what was applied before: after a failover, the new server's log may have it behind what wasn't."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.gtid import MariadbGtids, MysqlGtids
from tidegate.providers.mysql.binlog.gtid_events import gtid_of, mariadb_gtid_of
from tidegate.providers.mysql.binlog.query import read_query

_IGNORABLE = 28
_CHANGES = ev.ROWS | {ev.TABLE_MAP, ev.TRANSACTION_PAYLOAD, ev.QUERY_COMPRESSED, ev.EXECUTE_LOAD, ev.PARTIAL_UPDATE}
_BOUNDS = {"BEGIN", "START", "COMMIT", "ROLLBACK", "XA", "SAVEPOINT"}


def passed(mariadb: bool, gtid: str, skip: str) -> bool:
    """Whether a log that has ``gtid`` before some place has all of ``skip`` there."""
    if mariadb:
        return not MariadbGtids.parse(gtid).lacks(MariadbGtids.parse(skip))
    return MysqlGtids.parse(skip) <= MysqlGtids.parse(gtid)


class Skipping:
    """Goes over a stream of events and makes ignorable ones of those that change something in a transaction of ``skip``.

    What remains to be skipped is told by :meth:`remaining`, for the positions of the chunks that end meanwhile.
    """

    def __init__(self, mariadb: bool, skip: str, *, checksums: bool) -> None:
        self._domains = dict(MariadbGtids.parse(skip).last) if mariadb else {}
        self._set = MysqlGtids() if mariadb else MysqlGtids.parse(skip)
        self._checksums = checksums

    def events(self, events: Iterable[bytes]) -> Iterator[bytes]:
        skipping = False
        for event in events:
            kind = event[4]
            if kind == ev.FORMAT:
                self._checksums = ev.read_format(event).checksums
            elif kind in (ev.GTID, ev.GTID_TAGGED, ev.ANONYMOUS_GTID, ev.MARIADB_GTID):
                skipping = self._skips(kind, event)
            elif skipping and self._changes(kind, event):
                yield self._ignorable(event)
                continue
            yield event

    def remaining(self) -> str:
        """The part of ``skip`` that hasn't passed yet."""
        return str(self._set) or str(MariadbGtids(self._domains))

    def _skips(self, kind: int, event: bytes) -> bool:
        if kind == ev.ANONYMOUS_GTID:
            return False
        if kind != ev.MARIADB_GTID:
            source, number = gtid_of(kind, event)
            found = self._set.has(source, number)
            if found:
                passed = MysqlGtids()
                passed.add(source, number, number)
                self._set -= passed
            return found
        domain, server, sequence = mariadb_gtid_of(event)
        last = self._domains.get(domain)
        if last == (server, sequence):
            del self._domains[domain]
        return last is not None

    def _changes(self, kind: int, event: bytes) -> bool:
        if kind != ev.QUERY:
            return kind in _CHANGES
        words = read_query(event, len(event) - 4 * self._checksums).text.upper().split(None, 1)
        return not words or words[0].rstrip(";") not in _BOUNDS

    def _ignorable(self, event: bytes) -> bytes:
        made = event[:4] + bytes((_IGNORABLE,)) + event[5:]
        return made[:-4] + zlib.crc32(memoryview(made)[:-4]).to_bytes(4, "little") if self._checksums else made
