"""The way to a server: the socket, its encryption by ``sslmode``, and messages over it."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from tidegate.errors import PreflightError, Unavailable
from tidegate.providers.gaussdb.hosts import Host
from tidegate.providers.postgres.errors import DriverError

Result = TypeVar("Result")

_RECEIVE = 1 << 18
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_KEEPALIVES = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))

_NEVER, _OFFERED, _ALWAYS = "never", "offered", "always"
_ATTEMPTS = {"disable": (_NEVER,), "allow": (_NEVER, _ALWAYS), "prefer": (_OFFERED, _NEVER)}
"""How libpq reads ``sslmode``: the second is tried if the server won't have the first. All others insist on encryption."""


class Rejected(DriverError):
    """The server would not have this client before it asked for a password: pg_hba.conf may want the other kind of connection."""


class _NoTls(Exception):
    """The handshake failed."""


def reach(host: Host, values: Mapping[str, Any], name: str, greet: Callable[[socket.socket], Result]) -> Result:
    """What ``greet`` makes of a connected socket, encrypted as ``sslmode`` says; the socket is closed if it raises.

    Unavailable or PreflightError if there is no connection to be had.
    """
    attempts = _ATTEMPTS.get(values["sslmode"], (_ALWAYS,))
    for number, encrypt in enumerate(attempts, 1):
        try:
            sock = _open(host, values, name, encrypt)
            try:
                return greet(sock)
            except BaseException:
                sock.close()
                raise
        except Rejected:
            if number == len(attempts):
                raise
        except _NoTls as error:
            if number == len(attempts):
                raise PreflightError(f"no SSL with {host}: {error}", connection=name, setting="sslmode") from None
    raise AssertionError("the last attempt returns or raises")


def _open(host: Host, values: Mapping[str, Any], name: str, encrypt: str) -> socket.socket:
    # Before anything is sent: a wrong path is the same for every host.
    context = None if encrypt == _NEVER else _context(values, name)
    try:
        sock = socket.create_connection((host.name, host.port), values["connect_timeout"])
    except OSError as error:
        what = f"{host} can't be reached: {error.strerror or error}"
        raise Unavailable(what, connection=name, setting="host, port, connect_timeout") from None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVES:
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return sock if context is None else _encrypted(sock, context, host, name, encrypt)
    except OSError as error:
        sock.close()
        raise Unavailable(f"the connection to {host} was lost: {error}", connection=name, setting="host, port") from None
    except BaseException:
        sock.close()
        raise


def _encrypted(sock: socket.socket, context: ssl.SSLContext, host: Host, name: str, encrypt: str) -> socket.socket:
    sock.sendall(_SSL_REQUEST)
    # One byte: what follows belongs to the handshake, and nothing sent before it may be taken for the server's.
    reply = sock.recv(1)
    if reply == b"N" and encrypt == _OFFERED:
        return sock
    if reply == b"N":
        raise PreflightError(f"the server {host} does not support SSL", connection=name, setting="sslmode")
    if reply != b"S":
        raise Unavailable(f"{host} answers the request for SSL with {reply!r}", connection=name, setting="host, port")
    try:
        return context.wrap_socket(sock, server_hostname=host.name)
    except ssl.SSLCertVerificationError as error:
        what = f"the certificate of {host} is refused: {error.verify_message}"
        raise PreflightError(what, connection=name, setting="sslmode, sslrootcert") from None
    except ssl.SSLError as error:
        raise _NoTls(error.reason or str(error)) from None


def _context(values: Mapping[str, Any], name: str) -> ssl.SSLContext:
    """As libpq: ``require`` checks the server too if there is a CA file, ``verify-full`` the host's name besides."""
    mode, root = values["sslmode"], values["sslrootcert"]
    verify = mode.startswith("verify-") or bool(root and mode == "require")
    if verify and not root:
        home = Path.home() / ".postgresql" / "root.crt"
        if not home.exists():
            raise PreflightError(f"sslmode {mode} needs the file of a CA certificate", connection=name, setting="sslrootcert")
        root = str(home)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if verify:
        _load("sslrootcert", root, lambda: context.load_verify_locations(root), name)
    if certificate := values["sslcert"]:
        key = values["sslkey"] or None
        _load("sslcert, sslkey", certificate, lambda: context.load_cert_chain(certificate, key), name)
    return context


def _load(setting: str, path: str, load: Callable[[], None], name: str) -> None:
    try:
        load()
    except OSError as error:  # an SSLError is one
        raise PreflightError(f"{path} can't be used: {error.strerror or error}", connection=name, setting=setting) from None


class Channel:
    """Buffered messages over a socket. It stands in for both the socket and its file that pg8000 works with.

    OSError when the connection is lost.
    """

    def __init__(self, sock: socket.socket, protocol: int) -> None:
        self._sock = sock
        self._protocol: int | None = protocol
        self._out = bytearray()
        self._in = b""
        self._at = 0

    def makefile(self, mode: str) -> Channel:
        return self

    def write(self, data: bytes | bytearray) -> None:
        self._out += data

    def flush(self) -> None:
        if self._protocol is not None:
            # The start-up packet is the first there is: its length, the protocol. pg8000 knows only 3.0.
            self._out[4:8] = self._protocol.to_bytes(4, "big")
            self._protocol = None
        out, self._out = self._out, bytearray()
        self._sock.sendall(out)

    def send(self, code: bytes, body: bytes | memoryview) -> None:
        """A message at once, without the buffer."""
        self._sock.sendall(b"".join((code, struct.pack("!i", len(body) + 4), body)))

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._in) - self._at < size:
            self._receive(size)
        data = self._in[self._at : self._at + size]
        self._at += size
        return data

    def message(self) -> tuple[bytes, bytes]:
        """The next message: its code, its body."""
        code, length = struct.unpack("!ci", self.read(5))
        if length < 4:
            raise ConnectionError("the server speaks another protocol")
        return code, self.read(length - 4)

    def copied(self) -> bytes:
        """What the CopyData messages hold that have arrived by now, joined; empty if the next message is another."""
        rows: list[bytes] = []
        unpack = struct.Struct("!i").unpack_from
        data, at, end = self._in, self._at, len(self._in)
        while at + 5 <= end and data[at] == 100:  # d
            after = at + 1 + unpack(data, at + 1)[0]
            if after > end:
                break
            rows.append(data[at + 5 : after])
            at = after
        self._at = at
        if rows:
            return b"".join(rows)
        if self.peek() != b"d":
            return b""
        return self.message()[1]

    def peek(self) -> bytes:
        """The code of the next message."""
        if len(self._in) == self._at:
            self._receive(1)
        return self._in[self._at : self._at + 1]

    def ready(self) -> bool:
        """Whether the server has sent something that wasn't read."""
        if len(self._in) > self._at or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            return True
        return bool(select.select([self._sock], [], [], 0)[0])

    def _receive(self, size: int) -> None:
        parts = [self._in[self._at :]]
        have = len(parts[0])
        while have < size:
            part = self._sock.recv(_RECEIVE)
            if not part:
                raise ConnectionResetError("the server closed the connection")
            parts.append(part)
            have += len(part)
        self._in, self._at = b"".join(parts), 0

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def close(self) -> None:
        """Also ends a read that another thread waits in."""
        with suppress(OSError):  # it was closed already, by the other side perhaps
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
