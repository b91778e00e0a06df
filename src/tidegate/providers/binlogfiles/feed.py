"""Events from files as a server sends them: what the reader of the live log is fed with."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence

from tidegate.changes.position import BinlogPosition
from tidegate.errors import CorruptSegment, PermanentError
from tidegate.providers.binlogfiles.files import LogFolder, StoredFile
from tidegate.providers.binlogfiles.logfile import LogFile
from tidegate.providers.binlogfiles.scan import end_of_unclosed, scan
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.stream import FIRST_EVENT

logger = logging.getLogger(__name__)

_ARTIFICIAL = 0x20


def feed(folder: LogFolder, files: Sequence[StoredFile], start: BinlogPosition, connection: str) -> Iterator[bytes]:
    """The events from ``start`` on through ``files``, which begin with its own, with those that a server makes up in between.

    Raises PermanentError naming the number if one is missing between them, CorruptSegment for a file that isn't whole though
    another follows.
    """
    checksums: bool | None = None
    for index, file in enumerate(files):
        if index and file.sequence != files[index - 1].sequence + 1:
            raise missing(files[index - 1], file, connection)
        following = files[index + 1] if index + 1 < len(files) else None
        with folder.open(file) as stream:
            log = LogFile(stream, file.name, connection)
            offset = start.offset if index == 0 else FIRST_EVENT
            # Before the format event of the file the checksums are those of the file before.
            yield _rotate(file.name, offset, log.begin.format.checksums if checksums is None else checksums)
            checksums = log.begin.format.checksums
            if offset > FIRST_EVENT:
                yield _made_up(log.begin.event, checksums)
            if following is None:
                yield from log.events(offset)
            elif log.begin.in_use:
                yield from _killed(folder, log, file, following, offset, connection)
            else:
                yield from log.events(offset)
                if not log.closed and (log.cut or scan(folder, file, connection).end != log.offset):
                    raise _not_whole("ends inside an event or a transaction", file, following, log.offset, connection)


def _killed(
    folder: LogFolder, log: LogFile, file: StoredFile, following: StoredFile, offset: int, connection: str
) -> Iterator[bytes]:
    """The events of a file that has the mark of one that is still written to, without what its server wasn't done with."""
    end = end_of_unclosed(folder, file, following, connection)
    if end is None:
        raise _not_whole("was copied while the server wrote to it", file, following, offset, connection)
    for event in log.events(offset):
        if log.offset > end:
            break
        yield event


def _not_whole(what: str, file: StoredFile, following: StoredFile, offset: int, connection: str) -> CorruptSegment:
    text = f"{file.name} {what}, and {following.name} follows: copy it again, whole"
    return CorruptSegment(text, connection=connection, position=f"{file.name}:{offset}")


def missing(before: StoredFile, after: StoredFile, connection: str) -> PermanentError:
    """What is said of a hole in the numbers."""
    base, _, digits = before.name.rpartition(".")
    names = [f"{base}.{number:0{len(digits)}}" for number in (before.sequence + 1, after.sequence - 1)]
    which = names[0] if names[0] == names[1] else f"{names[0]} to {names[1]}"
    return PermanentError(f"{which} is missing between {before.name} and {after.name}", connection=connection, setting="url")


def checksums_at(folder: LogFolder, file: StoredFile, connection: str) -> bool:
    """Whether the events of a file end with a checksum."""
    with folder.open(file) as stream:
        return LogFile(stream, file.name, connection).begin.format.checksums


def _rotate(name: str, offset: int, checksums: bool) -> bytes:
    """The event by which a server says which file it is going to send, and from where."""
    body = offset.to_bytes(8, "little") + name.encode()
    size = ev.HEADER_SIZE + len(body) + 4 * checksums
    event = ev.HEADER.pack(0, ev.ROTATE, 0, size, 0, _ARTIFICIAL) + body
    return event + zlib.crc32(event).to_bytes(4, "little") if checksums else event


def _made_up(event: bytes, checksums: bool) -> bytes:
    """A file's format event as it is sent ahead of a read that begins further on: it stands nowhere."""
    event = event[:13] + bytes(4) + event[17:]
    return event[:-4] + zlib.crc32(event[:-4]).to_bytes(4, "little") if checksums else event
