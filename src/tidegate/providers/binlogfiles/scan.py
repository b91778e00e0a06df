"""What a file holds, without its rows: where transactions end, and how each table's rows are laid out last."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tidegate.changes.schema import TableName
from tidegate.providers.binlogfiles.files import LogFolder, StoredFile
from tidegate.providers.binlogfiles.logfile import Begin, LogFile
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.query import read_query
from tidegate.providers.mysql.binlog.stream import FIRST_EVENT
from tidegate.providers.mysql.binlog.tablemap import table_name

_STANDALONE = 0x01
_GTIDS = frozenset((33, 34, 42))
_PAYLOAD = 40
_GTID_LIST = 163
_GTID = struct.Struct("<QI")
_LISTED = struct.Struct("<IIQ")


@dataclass(slots=True)
class Scanned:
    """``end`` is where the last whole transaction ends; ``maps`` has the last table map event of each table, checksum cut off."""

    file: StoredFile
    begin: Begin
    end: int = FIRST_EVENT
    maps: dict[TableName, bytes] = field(default_factory=dict)


class Bounds:
    """Follows the events of a file, in order from its begin, and tells where nothing is under way."""

    def __init__(self) -> None:
        self._inside = False
        self._announced = False
        """A GTID said that a transaction or a statement comes."""

    def ends(self, event: bytes, body_end: int) -> bool:
        """Whether a read can end, or begin, behind this event; its body ends (without checksum) at ``body_end``."""
        kind = event[4]
        if kind in (ev.XID, ev.XA_PREPARE, _PAYLOAD):
            self._inside = self._announced = False
        elif kind == ev.MARIADB_GTID:
            self._announced = bool(event[ev.HEADER_SIZE + 12] & _STANDALONE)
            self._inside = not self._announced
        elif kind in _GTIDS:
            self._announced = True
        elif kind in (ev.QUERY, ev.QUERY_COMPRESSED, ev.EXECUTE_LOAD):
            self._statement(read_query(event, body_end).text)
        return not (self._inside or self._announced)

    def _statement(self, text: str) -> None:
        match text.strip().rstrip(";").upper().split(None, 2)[:2]:
            case ["BEGIN"] | ["START", "TRANSACTION"] | ["XA", "START" | "BEGIN"]:
                self._inside = True
            case ["ROLLBACK", "TO"] | ["SAVEPOINT", _] | ["XA", "END"]:
                pass
            case ["COMMIT" | "ROLLBACK", *_] | ["XA", "COMMIT" | "ROLLBACK"]:
                self._inside = self._announced = False
            case _ if not self._inside:
                self._announced = False


def scan(folder: LogFolder, file: StoredFile, connection: str) -> Scanned:
    """Go through a file once."""
    with folder.open(file) as stream:
        log = LogFile(stream, file.name, connection)
        found = Scanned(file, log.begin)
        cut = 4 * log.begin.format.checksums
        bounds = Bounds()
        for event in log.events():
            if event[4] == ev.TABLE_MAP:
                found.maps[table_name(event)] = event[: len(event) - cut]
            if bounds.ends(event, len(event) - cut):
                found.end = log.offset
    return found


def bounds_near(folder: LogFolder, file: StoredFile, offset: int, connection: str) -> tuple[int, int | None]:
    """Where a read can begin at or before ``offset``, and the next such place after it, if there is one."""
    before = FIRST_EVENT
    with folder.open(file) as stream:
        log = LogFile(stream, file.name, connection)
        cut = 4 * log.begin.format.checksums
        bounds = Bounds()
        for event in log.events():
            if bounds.ends(event, len(event) - cut):
                if log.offset > offset:
                    return before, log.offset
                before = log.offset
    return before, None


def end_of_unclosed(folder: LogFolder, file: StoredFile, following: StoredFile, connection: str) -> int | None:
    """Where a file ends that has the mark of one still written to, though ``following`` follows; None if more may be missing.

    A MariaDB that was killed leaves such a file, perhaps with a transaction cut off that it wasn't done with; but each file begins
    with the last GTIDs of those before it, so that what is missing shows. MySQL's recovery takes the mark away.
    """
    state: dict[tuple[int, int], int] = {}
    bounds = Bounds()
    announced: tuple[tuple[int, int], int] | None = None
    end = FIRST_EVENT
    with folder.open(file) as stream:
        log = LogFile(stream, file.name, connection)
        cut = 4 * log.begin.format.checksums
        for event in log.events():
            if event[4] == _GTID_LIST:
                state = _gtid_list(event)
            elif event[4] == ev.MARIADB_GTID:
                sequence, domain = _GTID.unpack_from(event, ev.HEADER_SIZE)
                announced = (domain, int.from_bytes(event[5:9], "little")), sequence
            if bounds.ends(event, len(event) - cut):
                state |= [announced] if announced else []
                announced, end = None, log.offset
    if log.closed:
        return log.offset
    with folder.open(following) as stream:
        for event in LogFile(stream, following.name, connection).events():
            if event[4] == _GTID_LIST:
                return end if _gtid_list(event) == state else None
    return None


def _gtid_list(event: bytes) -> dict[tuple[int, int], int]:
    """MariaDB's GTID list event: the last sequence number of each domain and server."""
    count = int.from_bytes(event[ev.HEADER_SIZE : ev.HEADER_SIZE + 4], "little") & 0x0FFFFFFF
    entries = (_LISTED.unpack_from(event, ev.HEADER_SIZE + 4 + 16 * index) for index in range(count))
    return {(domain, server): sequence for domain, server, sequence in entries}
