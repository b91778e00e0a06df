"""The packets that a server sends its log in: an event each, taken out of whatever pieces the socket delivers them in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BufferedReader

_LEAD = struct.Struct("<IB").unpack_from
"""Three bytes of size and one that counts packets, then the first of the content: 0 for an event."""
_LONGEST = 0xFFFFFF
"""The size of a packet that goes on in the next."""
_END = 0xFE
_RECEIVE = 256 * 1024


class ServerError(Exception):
    """The server sent an error instead of an event. ``data`` is the packet's content, its first byte included."""

    def __init__(self, data: bytes) -> None:
        super().__init__("an error packet")
        self.data = data


def event_blocks(received: BufferedReader) -> Iterator[list[bytes]]:
    """The events up to the packet that ends the log, as many at once as have arrived.

    Raises EOFError if what is received ends before, ServerError for an error packet.
    """
    rest = b""
    while True:
        # First what the driver has buffered, then what the socket has.
        more = received.read1(_RECEIVE)
        if not more:
            raise EOFError
        data = rest + more if rest else more
        pos, end = 0, len(data)
        events: list[bytes] = []
        while end - pos > 4:
            lead, status = _LEAD(data, pos)
            size = lead & _LONGEST
            after = pos + 4 + size
            if after > end:
                break
            if status or not size:
                yield events
                if status == _END and size < 9:
                    return
                raise ServerError(data[pos + 4 : after])
            events.append(data[pos + 5 : after])
            pos = after
        if events:
            yield events
        rest = data[pos:]
        if len(rest) > 4 and int.from_bytes(rest[:3], "little") > _RECEIVE:
            status, event, rest = _long(received, rest)
            if status:
                raise ServerError(bytes((status,)) + event)
            yield [event]


def _long(received: BufferedReader, begun: bytes) -> tuple[int, bytes, bytes]:
    """Of a long packet whose beginning is there: the first byte, the rest of its content, and what is there of those after it.

    One of the longest goes on in the next, up to one that is shorter, if only by being empty.
    """
    parts = []
    size = _LONGEST
    while size == _LONGEST:
        begun += _exactly(received, 4 - len(begun))
        size = int.from_bytes(begun[:3], "little")
        begun += _exactly(received, 4 + size - len(begun))
        parts.append(memoryview(begun)[4 : 4 + size])
        begun = begun[4 + size :]
    status = parts[0][0]
    parts[0] = parts[0][1:]
    return status, b"".join(parts), begun


def _exactly(received: BufferedReader, size: int) -> bytes:
    found = received.read(size) if size > 0 else b""
    if len(found) < size:
        raise EOFError
    return found
