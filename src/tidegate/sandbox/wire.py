"""Messages of the PostgreSQL protocol, version 3, on a socket."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass

PIECE = 1 << 18
"""How much is read from a socket at once."""

LONGEST = 1 << 30
"""No message is longer: the server's own limit for what it reads."""


class Gone(Exception):
    """The other side has closed the connection, or broken the protocol."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its type (one byte) and its body."""

    kind: bytes
    body: bytes

    def __bytes__(self) -> bytes:
        return message(self.kind, self.body)


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message's bytes."""
    return kind + struct.pack("!i", len(body) + 4) + body


def text(*parts: str) -> bytes:
    """Strings as the protocol has them, each ended by a zero byte."""
    return b"".join(part.encode("utf-8", "surrogateescape") + b"\0" for part in parts)


def string(body: bytes, at: int = 0) -> tuple[str, int]:
    """The string that starts at ``at`` and the place behind it."""
    end = body.find(b"\0", at)
    if end < 0:
        raise Gone("a message's string isn't ended")
    return body[at:end].decode("utf-8", "surrogateescape"), end + 1


def error(severity: str, sqlstate: str, words: str, *, detail: str = "", hint: str = "") -> bytes:
    """An ErrorResponse."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": words, "D": detail, "H": hint}
    return message(b"E", b"".join(key.encode() + text(value) for key, value in fields.items() if value) + b"\0")


def fields(body: bytes) -> Mapping[str, str]:
    """The fields of an ErrorResponse."""
    found: dict[str, str] = {}
    at = 0
    while at < len(body) and body[at]:
        found[chr(body[at])], at = string(body, at + 1)
    return found


def status(got: Message, version: str) -> bytes:
    """A ParameterStatus as the client gets it: the server's version is ``version``."""
    name, _ = string(got.body)
    return message(b"S", text(name, version)) if name == "server_version" else bytes(got)


class Channel:
    """A socket that is read message by message."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()
        self._at = 0

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        """Close it. To the other side a second time is no different from the first."""
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            self.sock.sendall(data)
        except OSError as cause:
            raise Gone(str(cause)) from cause

    def exactly(self, size: int) -> bytes:
        """The next ``size`` bytes, whatever they are."""
        while len(self._buffer) - self._at < size:
            self.fill()
        piece = bytes(self._buffer[self._at : self._at + size])
        self._consume(size)
        return piece

    def startup(self) -> bytes:
        """The body of a message without a type: what a client begins with."""
        (length,) = struct.unpack("!i", self.exactly(4))
        if not 8 <= length <= 10_000:
            raise Gone("not a startup message")
        return self.exactly(length - 4)

    def read(self) -> Message:
        """The next message; waits for it."""
        while not self.ready():
            self.fill()
        length = self._length()
        start = self._at
        found = Message(bytes(self._buffer[start : start + 1]), bytes(self._buffer[start + 5 : start + 1 + length]))
        self._consume(1 + length)
        return found

    def run(self, kind: bytes) -> bytes:
        """All the whole messages of this type that are at hand, as they came; may be none."""
        at, wanted = self._at, kind[0]
        while len(self._buffer) - at >= 5 and self._buffer[at] == wanted:
            end = at + 1 + self._length(at)
            if end > len(self._buffer):
                break
            at = end
        piece = bytes(self._buffer[self._at : at])
        self._consume(len(piece))
        return piece

    def ready(self) -> bool:
        """Whether a whole message is at hand."""
        left = len(self._buffer) - self._at
        return left >= 5 and left >= 1 + self._length()

    def waiting(self) -> bool:
        """Whether :meth:`fill` would return at once, from what TLS holds back."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def fill(self) -> None:
        """Read what there is, and wait for it if there is nothing."""
        try:
            piece = self.sock.recv(PIECE)
        except OSError as cause:
            raise Gone(str(cause)) from cause
        if not piece:
            raise Gone("closed by the other side")
        self._buffer += piece

    def hung_up(self) -> bool:
        """Whether the other side has closed the connection, seen without reading from it; TLS can't be asked."""
        if isinstance(self.sock, ssl.SSLSocket):
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _length(self, at: int | None = None) -> int:
        start = (self._at if at is None else at) + 1
        (length,) = struct.unpack_from("!i", self._buffer, start)
        if not 4 <= length <= LONGEST:
            raise Gone("a message of impossible length")
        return int(length)

    def _consume(self, size: int) -> None:
        self._at += size
        if self._at == len(self._buffer):
            self._buffer.clear()
            self._at = 0
        elif self._at > PIECE:
            del self._buffer[: self._at]
            self._at = 0


def readable(*channels: Channel) -> list[Channel]:
    """Wait until one of them has something to read or is closed."""
    at_hand = [channel for channel in channels if channel.waiting()]
    if at_hand:
        return at_hand
    try:
        return select.select(channels, [], [])[0]
    except (OSError, ValueError) as cause:
        raise Gone("closed here") from cause
