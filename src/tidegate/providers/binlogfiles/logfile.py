"""One binlog file: its magic number, its format, its events, and how it ends.

The layout is that of MySQL's ``binlog_event.h``: four bytes of magic, then events one after the other, the first of them the format
description. MariaDB's files are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.errors import CorruptSegment, PreflightError
from tidegate.providers.binlogfiles.files import Bytes
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.stream import FIRST_EVENT
from tidegate.providers.mysql.session import Server

_MAGIC, _ENCRYPTED = b"\xfebin", b"\xfdbin"
_START_ENCRYPTION, _STOP = 164, 3
_IN_USE = 0x01
"""The format event's flag while the server writes to the file."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Begin:
    """The begin of a file: its format event, and what that says."""

    event: bytes
    format: ev.Format
    server: Server
    in_use: bool


class NotBegun(PreflightError):
    """A file of which so little is there yet that it can't be told what it is."""


class LogFile:
    """Reads one file. ``name`` is for messages. Raises PreflightError for one that is no binlog file, or encrypted."""

    def __init__(self, stream: Bytes, name: str, connection: str) -> None:
        self._stream = stream
        self._name = name
        self._connection = connection
        self._buffer = b""
        self._pos = 0
        self._last = ev.FORMAT
        self.offset = 0
        """Where the next event stands."""
        self.begin = self._begin()

    def events(self, offset: int = FIRST_EVENT) -> Iterator[bytes]:
        """The whole events from ``offset`` (where an event begins) on; an event that is cut off is left for later."""
        if offset > FIRST_EVENT:
            ahead = offset - self.offset - (len(self._buffer) - self._pos)
            self._pos = min(len(self._buffer), self._pos + offset - self.offset)
            if ahead > 0:
                self._stream.skip(ahead)
            self.offset = offset
        else:
            yield self.begin.event
        while (event := self._next()) is not None:
            self._last = event[4]
            if self._last == _START_ENCRYPTION:
                raise self._encrypted()
            yield event

    @property
    def cut(self) -> bool:
        """Once all events are read: whether the file ends inside one."""
        return self._stream.broken or self._pos < len(self._buffer)

    @property
    def closed(self) -> bool:
        """Once all events are read: whether the file ends as a server ends it."""
        return self._last in (ev.ROTATE, _STOP) and not self.cut

    def _begin(self) -> Begin:
        if not self._fill(FIRST_EVENT):
            raise NotBegun(f"{self._name} has no magic number yet", connection=self._connection, setting="url")
        magic = self._buffer[:FIRST_EVENT]
        self._pos = FIRST_EVENT
        if magic == _ENCRYPTED:
            raise self._encrypted()
        if magic != _MAGIC:
            raise PreflightError(
                f"{self._name} is no binlog file: it begins with {magic!r}", connection=self._connection, setting="url"
            )
        self.offset = FIRST_EVENT
        event = self._next()
        if event is None:
            raise NotBegun(f"{self._name} has no format description event yet", connection=self._connection, setting="url")
        if event[4] != ev.FORMAT:
            what = f"{self._name} doesn't begin with a format description event"
            raise PreflightError(what, connection=self._connection, setting="url")
        _, _, server_id, _, _, flags = ev.HEADER.unpack_from(event)
        found = ev.read_format(event)
        mariadb = "mariadb" in found.version.lower()
        digits = found.version.removeprefix("5.5.5-").split("-")[0].split(".")
        version = tuple(int(part) for part in digits if part.isdigit())
        server = Server(mariadb, version, f"{'mariadb' if mariadb else 'mysql'}-{server_id}")
        # As the server sends it: without the flag, which isn't in the checksum.
        event = event[:17] + (flags & ~_IN_USE).to_bytes(2, "little") + event[19:]
        return Begin(event, found, server, bool(flags & _IN_USE))

    def _next(self) -> bytes | None:
        """The next event; None if the file ends before it does."""
        if not self._fill(ev.HEADER_SIZE):
            return None
        size = int.from_bytes(self._buffer[self._pos + 9 : self._pos + 13], "little")
        if size < ev.HEADER_SIZE:
            raise CorruptSegment(
                f"{self._name} holds an event of {size} bytes", connection=self._connection, position=self._where()
            )
        if not self._fill(size):
            return None
        event = self._buffer[self._pos : self._pos + size]
        self._pos += size
        self.offset += size
        return event

    def _fill(self, size: int) -> bool:
        """Have ``size`` bytes of the next event in the buffer; False if the file has fewer."""
        while (have := len(self._buffer) - self._pos) < size:
            data = self._stream.read(max(_BLOCK, size - have))
            if not data:
                return False
            self._buffer = self._buffer[self._pos :] + data
            self._pos = 0
        return True

    def _where(self) -> str:
        return f"{self._name}:{self.offset}"

    def _encrypted(self) -> PreflightError:
        what = (
            f"{self._name} is encrypted, and the key is the server's: have the server send it in plain, by "
            "mysqlbinlog --read-from-remote-server --raw, or read from the server itself"
        )
        return PreflightError(what, connection=self._connection, setting="url")
