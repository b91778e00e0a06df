"""One HTTP request whose body goes out only when the server wants it: a real ``Expect: 100-continue`` over http.client.

``http.client`` and what is built on it (requests, httpx) send the header but don't wait. A frontend's redirect, or a backend's
refusal in the header phase (label exists, too large, no credentials), then closes the connection under a body that is on its way,
and the client sees a reset in place of the answer. A frontend answers 307 from the headers alone (LoadAction.java), a backend
refuses in ``on_header`` before it says 100 (be/src/http/action/stream_load.cpp, libevent's evhttp): waiting tells these from a
server that takes the body, so that «nothing was sent» is known and not guessed.
"""

from __future__ import annotations

import contextlib
import io
import select
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from socket import socket
from typing import Any, Literal, cast

from tidegate.errors import ConfigError
from tidegate.providers.starrocks.addresses import Address
from tidegate.providers.starrocks.body import Body

LONGEST_REPLY = 4 << 20
"""Bytes of an answer that are read: of an error log it is the beginning."""


class NotSent(Exception):
    """No answer, and no byte of the body has left."""


class Lost(Exception):
    """No answer, and the request, or some or all of its body, may have arrived."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. ``sent``: the whole body had been sent before it came."""

    status: int
    body: bytes
    location: str
    sent: bool
    address: Address


@dataclass(frozen=True, slots=True)
class Limits:
    """In seconds: to connect, for the answer to the headers, and for each send and receive after that."""

    connect: float
    headers: float
    socket: float


def exchange(
    address: Address,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: Body | None,
    limits: Limits,
    context: ssl.SSLContext | None,
    silence: Literal["send", "fail"] = "fail",
) -> Answer:
    """Sends the headers, then the body if the server says 100, and reads the answer.

    ``silence`` says what to do when nothing comes within ``limits.headers``: send the body all the same, as curl does, or give up.
    Without a body the answer to the headers is waited for as long as for any. Raises :class:`NotSent` or :class:`Lost`.
    """
    connection: HTTPConnection
    if address.scheme == "https":
        connection = HTTPSConnection(address.host, address.port, timeout=limits.connect, context=context)
    else:
        connection = HTTPConnection(address.host, address.port, timeout=limits.connect)
    with contextlib.closing(connection):
        try:
            connection.connect()
        except OSError as error:
            raise NotSent(f"can't connect to {address}: {told(error)}") from error
        return _Exchange(connection, address, limits).run(method, path, headers, body, silence)


class _Exchange:
    def __init__(self, connection: HTTPConnection, address: Address, limits: Limits) -> None:
        self._connection = connection
        self._socket: socket = connection.sock
        self._address = address
        self._limits = limits
        self._read = bytearray()
        self._continued = False

    def run(self, method: str, path: str, headers: Mapping[str, str], body: Body | None, silence: str) -> Answer:
        length = 0 if body is None else body.length
        with_body = body is not None and length > 0
        loss = NotSent if with_body else Lost
        try:
            self._socket.settimeout(self._limits.headers if with_body else self._limits.socket)
            self._head(method, path, {"Content-Length": str(length), "Connection": "close"} | dict(headers))
            if body is None or not with_body:
                return self._answer(method, sent=True)
            wanted = self._wanted(silence)
        except (OSError, HTTPException) as error:
            raise loss(f"{self._address} did not answer: {told(error)}") from error
        sent = wanted and self._send(body)
        try:
            self._socket.settimeout(self._limits.socket)
            return self._answer(method, sent=sent)
        except (OSError, HTTPException) as error:
            if not wanted:
                raise NotSent(f"{self._address} broke off its answer: {told(error)}") from error
            part = "" if sent else ", before all had been sent"
            raise Lost(f"{self._address} took the rows and did not answer{part}: {told(error)}") from error

    def _head(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            try:
                # Column names may be Chinese; StarRocks reads a header's bytes as UTF-8, http.client would take Latin-1 alone.
                self._connection.putheader(name, value.encode())
            except ValueError:
                raise ConfigError("a line break in a header; write \\x0a for a delimiter", setting=name) from None
        self._connection.endheaders()

    def _wanted(self, silence: str) -> bool:
        """True once the server has said 100, or nothing at all (``send``); False when it has answered."""
        deadline = time.monotonic() + self._limits.headers
        while not self._answered():
            if self._continued:
                return True
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
                self._receive()
            except TimeoutError:
                if silence == "send" and not self._read:
                    return True
                raise TimeoutError(f"nothing within {self._limits.headers:g} s [wait_for_continue_timeout_ms]") from None
        return False

    def _answered(self) -> bool:
        """Whether a status line is there that is not 100 Continue. Takes what is 100 Continue away."""
        while b"\n" in self._read:
            words = bytes(self._read[:64]).split(None, 2)
            if len(words) < 2 or not words[1].startswith(b"1"):
                return True
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return False
            del self._read[: end + 4]
            self._continued = True
        return False

    def _receive(self) -> None:
        read = self._socket.recv(65536)
        if not read:
            raise ConnectionResetError("it closed the connection")
        self._read += read

    def _send(self, body: Body) -> bool:
        """Whether all of it could be sent. A server that answers in the middle has seen enough: its answer is read instead."""
        self._socket.settimeout(0)
        ready = select.poll()
        ready.register(self._socket, select.POLLIN | select.POLLOUT)
        try:
            for piece in body.slices():
                if not self._push(piece, ready):
                    return False
        except TimeoutError as error:
            raise Lost(f"{self._address} takes no more rows: {told(error)}") from error
        except OSError:
            # Reset: what it said before may still be read.
            return False
        return True

    def _push(self, piece: memoryview, ready: select.poll) -> bool:
        while piece:
            events = ready.poll(self._limits.socket * 1000)
            if not events:
                raise TimeoutError(f"nothing within {self._limits.socket:g} s [socket_timeout_ms]")
            # Over TLS a socket is readable for a session ticket too: only bytes that were read are an answer.
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if events[0][1] != select.POLLOUT:
                    self._receive()
                    if self._answered():
                        return False
                if events[0][1] & select.POLLOUT:
                    piece = piece[self._socket.send(piece) :]
        return True

    def _answer(self, method: str, sent: bool) -> Answer:
        response = HTTPResponse(cast(socket, _Replayed(self._read, self._socket)), method=method)
        with contextlib.closing(response):
            # Skips every 100 that comes before it.
            response.begin()
            body = response.read(LONGEST_REPLY)
            if response.length and len(body) < LONGEST_REPLY:
                raise IncompleteRead(body, response.length)
            return Answer(response.status, body, response.headers.get("Location", ""), sent, self._address)


class _Replayed:
    """What HTTPResponse wants of a socket: a file, here of what was read already and then of the rest."""

    def __init__(self, read: bytearray, rest: socket) -> None:
        self._read = bytes(read)
        self._rest = rest

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Concatenated(self._read, self._rest))


class _Concatenated(io.RawIOBase):
    def __init__(self, read: bytes, rest: socket) -> None:
        self._read = read
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._read:
            count = min(len(buffer), len(self._read))
            buffer[:count] = self._read[:count]
            self._read = self._read[count:]
            return count
        return self._rest.recv_into(buffer)


def told(error: BaseException) -> str:
    """An error of the transport in words, without what was read: an answer may hold rows."""
    if isinstance(error, HTTPException):
        return type(error).__name__
    return str(error) or type(error).__name__
