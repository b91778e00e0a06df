"""From a position in one server's log to the same place in another's, by the transactions' global ids.

After a failover the new server has its own files and offsets. If it has all that was applied, and still has the log from there on,
reading goes on without a gap or a repetition; else it is said what is missing.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tidegate.changes.position import BinlogPosition
from tidegate.errors import Unavailable
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.gtid import MariadbGtids, MysqlGtids
from tidegate.providers.mysql.binlog.gtid_events import gtid_list, gtid_of, mariadb_gtid_of, previous_gtids
from tidegate.providers.mysql.binlog.stream import FIRST_EVENT, Dump
from tidegate.providers.mysql.lost import WAY_OUT, Lost
from tidegate.providers.mysql.session import Server, Session

_TRANSACTIONS = frozenset((ev.GTID, ev.GTID_TAGGED, ev.ANONYMOUS_GTID, ev.MARIADB_GTID))
_LISTS = frozenset((ev.PREVIOUS_GTIDS, ev.GTID_LIST))
_SHOWN = 200
"""Characters of a set that a message holds."""


def translate(
    session: Session, server: Server, position: BinlogPosition, files: Iterable[str], server_id: int
) -> BinlogPosition | Lost:
    """The place in this server's log before which everything of ``position`` stands, or what speaks against going on there.

    ``files`` are those of the server's log, oldest first. What stands behind the place and was applied all the same is the
    result's ``skip``.
    """
    names = list(files)
    if not position.gtid:
        return Lost(
            f"it has no GTIDs by which to find its place in the log of {server.identity}; {WAY_OUT}, or connect to that server"
        )
    try:
        search = _search(server, position)
    except ValueError:
        return Lost(f"its GTIDs are not those of a {server}; {WAY_OUT}, or connect to that server")
    if missing := search.missing(_executed(session, server)):
        return Lost(
            f"the server {server.identity} lacks {missing}, applied from {position.server}: the target is ahead of it; "
            f"{WAY_OUT}, or connect to a server that has them"
        )
    begin = _first_file(session, names, search, server_id)
    if isinstance(begin, Lost):
        return begin
    with contextlib.closing(Dump(session.values, session.name, server_id)) as dump:
        return _place(dump, begin, search, server)


def lacking(session: Session, server: Server, position: BinlogPosition) -> str:
    """Evidence by GTIDs that the server isn't what it was: what it lacks of ``position``; empty if nothing, or not to be known."""
    if not position.gtid:
        return ""
    try:
        return _search(server, position).missing(_executed(session, server))
    except ValueError:
        return ""


def has_none(session: Session, server: Server, position: BinlogPosition) -> bool:
    """Whether the server has nothing at all of what was applied."""
    executed = _executed(session, server)
    if server.mariadb:
        return not MariadbGtids.parse(position.gtid).last.keys() & MariadbGtids.parse(executed).last.keys()
    applied = MysqlGtids.parse(position.gtid)
    return applied - MysqlGtids.parse(executed) == applied


def begins_anew(session: Session, file: str, server_id: int) -> bool:
    """Whether a file says that no transaction stands in files before it. True too if it doesn't say."""
    found = _list_of(session, file, server_id)
    return found is None or not (previous_gtids(found) if found[4] == ev.PREVIOUS_GTIDS else gtid_list(found))


class _Search(Protocol):
    """What was applied, and how much of it the log has passed."""

    def missing(self, executed: str) -> str:
        """Of what was applied, what isn't in ``executed``: number and ids; empty if all is."""

    def begin(self, event: bytes) -> str:
        """Start at a file that begins with this list. What it has that was not applied: number and ids; empty if nothing."""

    def take(self, kind: int, event: bytes) -> bool:
        """Whether a transaction was applied. ValueError, with the reason, if that can't be told."""

    def reached(self) -> str:
        """The ids of all that was passed, as long as only what was applied has been."""

    def rest(self) -> str:
        """The ids of what was applied and hasn't been passed."""


def _search(server: Server, position: BinlogPosition) -> _Search:
    if server.mariadb:
        return _MariadbSearch(MariadbGtids({**MariadbGtids.parse(position.gtid).last, **MariadbGtids.parse(position.skip).last}))
    return _MysqlSearch(MysqlGtids.parse(position.gtid) | MysqlGtids.parse(position.skip))


def _counted(count: int, gtids: object) -> str:
    text = str(gtids)
    noun = "1 transaction" if count == 1 else f"{count} transactions"
    return f"{noun} ({text if len(text) <= _SHOWN else text[:_SHOWN] + '…'})"


class _MysqlSearch:
    def __init__(self, applied: MysqlGtids) -> None:
        self._applied = applied
        self._passed = MysqlGtids()

    def missing(self, executed: str) -> str:
        found = self._applied - MysqlGtids.parse(executed)
        return _counted(len(found), found) if found else ""

    def begin(self, event: bytes) -> str:
        self._passed = previous_gtids(event)
        found = self._passed - self._applied
        return _counted(len(found), found) if found else ""

    def take(self, kind: int, event: bytes) -> bool:
        if kind == ev.ANONYMOUS_GTID:
            raise ValueError("its log has transactions without GTIDs there (gtid_mode was not ON), which may have been applied")
        source, number = gtid_of(kind, event)
        if applied := self._applied.has(source, number):
            self._passed.add(source, number, number)
        return applied

    def reached(self) -> str:
        return str(self._passed)

    def rest(self) -> str:
        return str(self._applied - self._passed)


class _MariadbSearch:
    """All servers write a domain's transactions in one order, so that those up to the last one applied were applied."""

    def __init__(self, applied: MariadbGtids) -> None:
        self._applied = applied
        self._rest: dict[int, tuple[int, int]] = {}
        self._passed: dict[int, tuple[int, int]] = {}

    def missing(self, executed: str) -> str:
        there = MariadbGtids.parse(executed)
        found = there.lacks(self._applied)
        return _counted(found.count(there), found) if found else ""

    def begin(self, event: bytes) -> str:
        there = gtid_list(event)
        self._passed = dict(there.last)
        self._rest = {domain: last for domain, last in self._applied.last.items() if there.last.get(domain) != last}
        found = self._applied.lacks(there)
        return _counted(found.count(self._applied), found) if found else ""

    def take(self, kind: int, event: bytes) -> bool:
        domain, server, sequence = mariadb_gtid_of(event)
        last = self._rest.get(domain)
        if last is None:
            return False
        if (server, sequence) == last:
            del self._rest[domain]
        elif sequence >= last[1]:
            raise ValueError(
                f"its log has {domain}-{server}-{sequence} where {domain}-{last[0]}-{last[1]} was applied: they went apart"
            )
        self._passed[domain] = (server, sequence)
        return True

    def reached(self) -> str:
        return str(MariadbGtids(self._passed))

    def rest(self) -> str:
        return str(MariadbGtids(self._rest))


def _executed(session: Session, server: Server) -> str:
    """All transactions that a server has, whether or not it wrote them to its log."""
    if not server.mariadb:
        return session.rows("SELECT @@GLOBAL.gtid_executed")[0][0] or ""
    logged, replicated = session.rows("SELECT @@GLOBAL.gtid_binlog_pos, @@GLOBAL.gtid_slave_pos")[0]
    found = MariadbGtids.parse(logged or "")
    return str(MariadbGtids({**found.last, **found.lacks(MariadbGtids.parse(replicated or "")).last}))


def _first_file(session: Session, files: list[str], search: _Search, server_id: int) -> str | Lost:
    """The newest file that has nothing before it which wasn't applied: lists only grow from file to file."""
    foreign = _foreign(session, files[0], search, server_id)
    if foreign:
        return Lost(
            f"the oldest file of its log, {files[0]}, begins after {foreign} that were not applied, and that were purged or came "
            f"with a backup; {WAY_OUT}, and let the server keep its log for longer",
            "binlog_expire_logs_seconds, expire_logs_days",
        )
    low, high = 0, len(files)
    while high - low > 1:
        middle = (low + high) // 2
        if _foreign(session, files[middle], search, server_id):
            high = middle
        else:
            low = middle
    return files[low]


def _foreign(session: Session, file: str, search: _Search, server_id: int) -> str:
    """What stands in files before this one that wasn't applied."""
    found = _list_of(session, file, server_id)
    return "transactions without GTIDs" if found is None else search.begin(found)


def _list_of(session: Session, file: str, server_id: int) -> bytes | None:
    """The event that lists what stands in files before this one. None if there is none, as on a server that never used GTIDs."""
    with contextlib.closing(Dump(session.values, session.name, server_id)) as dump:
        for event in dump.events(file, FIRST_EVENT):
            if event[4] in _LISTS:
                return event
            if event[4] in (ev.QUERY, *_TRANSACTIONS):
                break
    return None


@dataclass(slots=True)
class _Here:
    """Where a scan of the log stands."""

    file: str
    offset: int = FIRST_EVENT
    fingerprint: str = ""

    def move(self, low: int) -> None:
        """To an event's end, of which its header has the low 32 bits."""
        end = (self.offset >> 32 << 32) | low
        self.offset = end if end >= self.offset else end + (1 << 32)


def _place(dump: Dump, file: str, search: _Search, server: Server) -> BinlogPosition | Lost:
    """Before the first transaction that wasn't applied; or at the end, if there is none."""
    here, checksums, begun = _Here(file), dump.checksums, False
    place: BinlogPosition | None = None
    try:
        for event in dump.events(file, FIRST_EVENT):
            kind, low = event[4], ev.HEADER.unpack_from(event)[4]
            if kind == ev.ROTATE:
                here.file = event[ev.HEADER_SIZE + 8 : len(event) - 4 * checksums].decode()
                here.offset = int.from_bytes(event[ev.HEADER_SIZE : ev.HEADER_SIZE + 8], "little")
                continue
            if kind == ev.FORMAT:
                found = ev.read_format(event)
                checksums, here.fingerprint = found.checksums, found.fingerprint
            if low == 0:
                continue
            if kind in _LISTS and not begun:
                begun = True
                search.begin(event)
            elif kind in _TRANSACTIONS:
                if checksums:
                    ev.check(event, dump.name, f"{here.file}:{here.offset}")
                before = here.offset
                if not search.take(kind, event) and place is None:
                    place = BinlogPosition(here.file, before, server.identity, search.reached(), here.fingerprint, search.rest())
                if place is not None and not search.rest():
                    return place
            here.move(low)
    except (ValueError, IndexError, struct.error) as error:
        return Lost(f"its place in the log of {server.identity} isn't known: {error}; {WAY_OUT}")
    if rest := search.rest():
        return Lost(
            f"the server {server.identity} has executed {rest[:_SHOWN]}, and has not written them to its log; {WAY_OUT}",
            "log_slave_updates=ON (log_replica_updates)",
        )
    if not begun:
        raise Unavailable("the server sent no events of its log", connection=dump.name)
    return place or BinlogPosition(here.file, here.offset, server.identity, search.reached(), here.fingerprint)
