"""Where in the log tables begin that are not copied: its end, a place in it, or a time."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tidegate.errors import ConfigError, Unavailable
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.query import read_query
from tidegate.providers.mysql.binlog.stream import FIRST_EVENT, Dump
from tidegate.providers.mysql.log import LogFile, log_files
from tidegate.providers.mysql.session import Session

_PLACE = re.compile(r"(.+\.\d+):(\d+)")
_GROUPS = frozenset((33, 34, 42))
"""MySQL's GTID events: what follows, up to a commit or a statement that stands alone, is one group."""
_PARTS = frozenset((5, 9, 11, 13, 14, 17, 29, 160))
"""Events that belong to the statement after them."""
_PAYLOAD = 40
_ENDS = frozenset((ev.XID, ev.XA_PREPARE, _PAYLOAD))


@dataclass(frozen=True, slots=True)
class Place:
    """The end of an event. ``closed``: no transaction is open there; ``seconds``: the time of the event (since 1970)."""

    file: str
    offset: int
    closed: bool
    seconds: int


class Transactions:
    """Follows events from the start of a file; ``closed`` while it is outside of transactions."""

    def __init__(self) -> None:
        self.closed = True
        self._begun = False

    def follow(self, kind: int, event: bytes, end: int) -> None:
        """The next event; its body ends at ``end``."""
        if kind in _ENDS:
            self._set(begun=False, closed=True)
        elif kind == ev.MARIADB_GTID:
            self._set(begun=not event[ev.HEADER_SIZE + 12] & 0x01, closed=False)
        elif kind in (ev.QUERY, ev.QUERY_COMPRESSED, ev.EXECUTE_LOAD):
            self._statement(read_query(event, end).text)
        elif kind == ev.TABLE_MAP or kind in ev.ROWS:
            self._set(begun=True, closed=False)
        elif kind in _GROUPS or kind in _PARTS:
            self.closed = False

    def _statement(self, text: str) -> None:
        match text.strip().rstrip(";").upper().split(None, 2)[:2]:
            case ["BEGIN"] | ["START", "TRANSACTION"] | ["XA", "START" | "BEGIN"]:
                self._set(begun=True, closed=False)
            case ["ROLLBACK", "TO"] | ["SAVEPOINT", _] | ["XA", "END"]:
                pass
            case ["COMMIT" | "ROLLBACK", *_] | ["XA", "COMMIT" | "ROLLBACK"]:
                self._set(begun=False, closed=True)
            case _:
                self.closed = not self._begun

    def _set(self, *, begun: bool, closed: bool) -> None:
        self._begun, self.closed = begun, closed


class Locator:
    """Finds places in the log of the server that a session is of."""

    def __init__(self, session: Session, values: Mapping[str, Any], server_id: int) -> None:
        self._session = session
        self._values = values
        self._server_id = server_id

    def find(self, start: str) -> tuple[str, int]:
        """File and offset of ``binlog.000003:4711``, or of the first transaction that isn't older than a time (ISO 8601).

        Without a zone a time is UTC. The log counts seconds: a fraction is dropped. ConfigError if the log has no such place.
        """
        if place := _PLACE.fullmatch(start.strip()):
            return self._at(place[1], int(place[2]))
        try:
            moment = datetime.fromisoformat(start.strip())
        except ValueError:
            what = f"{start!r} is no place to begin at: write snapshot, latest, a place in the log (binlog.000003:4711) or a time"
            raise self._refusal(f"{what} (2026-01-31T12:00:00Z)") from None
        return self._since(moment if moment.tzinfo else moment.replace(tzinfo=UTC))

    def _refusal(self, what: str) -> ConfigError:
        return ConfigError(what, connection=self._session.name, setting="start")

    def _files(self) -> list[LogFile]:
        files = log_files(self._session)
        if not files:
            raise Unavailable("the server lists no files of its log", connection=self._session.name)
        return files

    def _at(self, name: str, offset: int) -> tuple[str, int]:
        files = self._files()
        file = next((file for file in files if file.name == name), None)
        if file is None:
            oldest, newest = files[0], files[-1]
            purged = int(name.rpartition(".")[2]) < oldest.sequence
            what = f"{name} was purged" if purged else f"the server has no file {name}"
            raise self._refusal(f"{what}: its log goes from {oldest.name} to {newest.name}")
        if not FIRST_EVENT <= offset <= file.size:
            raise self._refusal(f"{name} goes from {FIRST_EVENT} to {file.size}: it has no {offset}")
        before = last = Place(name, FIRST_EVENT, True, 0)
        with contextlib.closing(self._places(before)) as places:
            while last.offset < offset:
                place = next(places, None)
                if place is None or place.file != name or place.offset > offset:
                    break
                last, before = place, place if place.closed else before
        if last.offset != offset:
            raise self._refusal(f"no event ends at {name}:{offset}; the nearest place before it is {name}:{before.offset}")
        if not last.closed:
            raise self._refusal(f"{name}:{offset} lies inside a transaction, which begins at {name}:{before.offset}")
        return name, offset

    def _since(self, moment: datetime) -> tuple[str, int]:
        seconds = int(moment.timestamp())
        now = int(float(self._session.rows("SELECT UNIX_TIMESTAMP()")[0][0] or 0))
        if seconds > now:
            raise self._refusal(f"{_iso(seconds)} is still to come: the server's clock shows {_iso(now)}")
        files = self._files()
        begun = self._began(files[0])
        if seconds < begun:
            what = f"the log doesn't reach back to {_iso(seconds)}: its oldest file, {files[0].name}, begins at {_iso(begun)}"
            raise self._refusal(what)
        before = Place(self._file_before(files, seconds).name, FIRST_EVENT, True, 0)
        with contextlib.closing(self._places(before)) as places:
            for place in places:
                if place.closed and place.seconds >= seconds:
                    # What ends here began where the last transaction ended.
                    break
                before = place if place.closed else before
        return before.file, before.offset

    def _file_before(self, files: Sequence[LogFile], seconds: int) -> LogFile:
        """The last file that was begun before that time: of the files after it all events are newer. The first if there is none."""
        low, high = 0, len(files)
        while high - low > 1:
            middle = (low + high) // 2
            if self._began(files[middle]) < seconds:
                low = middle
            else:
                high = middle
        return files[low]

    def _began(self, file: LogFile) -> int:
        """When a file was begun: the time of its format description event."""
        with contextlib.closing(self._events(file.name)) as events:
            for kind, event, _, _ in events:
                if kind == ev.FORMAT:
                    return int(ev.HEADER.unpack_from(event)[0])
        raise Unavailable(f"{file.name} has no format description event yet", connection=self._session.name)

    def _places(self, start: Place) -> Generator[Place, None, None]:
        """Where events end, from the start of a file to the end of the log. Events that are of no transaction have the time 0."""
        transactions, name, offset = Transactions(), start.file, start.offset
        with contextlib.closing(self._events(start.file)) as events:
            for kind, event, checksums, file in events:
                seconds, _, _, _, low, _ = ev.HEADER.unpack_from(event)
                if file != name:
                    name, offset, transactions = file, FIRST_EVENT, Transactions()
                if low == 0 or kind in (27, 41):
                    continue  # made up by the server
                end = (offset >> 32 << 32) | low
                offset = end if end >= offset else end + (1 << 32)
                transactions.follow(kind, event, len(event) - (4 if checksums else 0))
                yield Place(name, offset, transactions.closed, seconds if kind not in (ev.FORMAT, ev.ROTATE) else 0)

    def _events(self, name: str) -> Generator[tuple[int, bytes, bool, str], None, None]:
        """Type, bytes, whether they end with a checksum, and the file, of each event from the start of a file on."""
        with contextlib.closing(Dump(self._values, self._session.name, self._server_id)) as dump:
            checksums, file = dump.checksums, name
            for event in dump.events(name, FIRST_EVENT):
                kind = event[4]
                if kind == ev.FORMAT:
                    checksums = ev.read_format(event).checksums
                yield kind, event, checksums, file
                if kind == ev.ROTATE:
                    file = event[ev.HEADER_SIZE + 8 : len(event) - (4 if checksums else 0)].decode()


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
