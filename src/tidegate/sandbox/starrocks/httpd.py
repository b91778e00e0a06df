"""A small HTTP/1.1 server whose handlers decide when a body is read, when ``100 Continue`` is said and when to hang up.

``http.server`` answers the expectation before the handler is asked, and that answer is the very thing to be tested here.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

_log = logging.getLogger(__name__)

PIECE = 1 << 16
IN_MEMORY = 1 << 20
"""A body beyond this many bytes is spooled to a file."""

LONGEST_HEAD = 1 << 20
LINGER_BYTES = 1 << 18
"""So much of a body that nobody wants is read after the answer, lest a reset overtakes it."""

LINGER_SECONDS = 0.3

_REASONS = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


class Broken(Exception):
    """The client has gone, or doesn't speak HTTP."""


@dataclass
class Answer:
    """What to say. ``close``: hang up then, as is done anyway when the body wasn't read."""

    payload: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False
    content_type: str = "application/json"


class Request:
    """A request of which only the head has been read."""

    def __init__(self, sock: socket.socket, buffered: bytearray, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        try:
            self.method, self.target, self.version = lines[0].split(" ")
        except ValueError as error:
            raise Broken("no request line") from error
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise Broken("a header without a colon")
            # Names in any case, the last of several wins, and one that is empty is none: ``header(…).empty()`` in the backend.
            if value.strip():
                self.headers[name.strip().lower()] = value.strip().encode("latin-1").decode("utf-8", "replace")
        found = urlsplit(self.target)
        self.path = found.path
        self.parts = [unquote(part) for part in found.path.strip("/").split("/")]
        self.query = {name: values[-1] for name, values in parse_qs(found.query, keep_blank_values=True).items()}
        self._sock = sock
        self._buffered = buffered
        self.chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        try:
            self.length = int(self.headers.get("content-length", "0") or "0")
        except ValueError as error:
            raise Broken("a Content-Length that is no number") from error
        self.consumed = not self.chunked and not self.length
        self.received = 0

    @property
    def expects_continue(self) -> bool:
        return self.version != "HTTP/1.0" and self.headers.get("expect", "").lower() == "100-continue"

    @property
    def keep_alive(self) -> bool:
        said = self.headers.get("connection", "").lower()
        return said == "keep-alive" if self.version == "HTTP/1.0" else said != "close"

    def login(self) -> tuple[str, str] | None:
        """User and password of basic authorization; None without it."""
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return (user.split("@")[0], password) if colon else None

    def body(self, *, stop_after: int | None = None) -> BinaryIO:
        """Say ``100 Continue`` if that is expected, and read the body into a spool: at its start, to be closed by the caller.

        ``stop_after``: leave off after so many bytes. :attr:`received` counts what has come; Broken when the client goes before the
        end, ``spool`` then being what came till then.
        """
        self._continue()
        spool = _spool()
        try:
            if self.chunked:
                self._chunks(spool, stop_after)
            else:
                self._fixed(spool, self.length if stop_after is None else min(self.length, stop_after))
            self.consumed = stop_after is None
        except (Broken, OSError) as error:
            spool.seek(0)
            raise Interrupted(spool) from error
        spool.seek(0)
        return spool

    def skip(self) -> None:
        """Read a body that means nothing."""
        if not self.consumed:
            self.body().close()

    def _continue(self) -> None:
        if self.expects_continue:
            with contextlib.suppress(OSError):
                self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _fixed(self, spool: BinaryIO, count: int) -> None:
        while self.received < count:
            piece = self._some(min(PIECE, count - self.received))
            spool.write(piece)
            self.received += len(piece)

    def _chunks(self, spool: BinaryIO, stop_after: int | None) -> None:
        while stop_after is None or self.received < stop_after:
            try:
                size = int(self._line().split(b";")[0], 16)
            except ValueError as error:
                raise Broken("a chunk without a size") from error
            if size == 0:
                while self._line():
                    pass
                return
            self._fixed(spool, self.received + size)
            self._line()

    def _some(self, most: int) -> bytes:
        if not self._buffered:
            got = self._sock.recv(PIECE)
            if not got:
                raise Broken("the client has gone")
            self._buffered += got
        piece = bytes(self._buffered[:most])
        del self._buffered[:most]
        return piece

    def _line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\r\n"):
            line += self._some(1)
            if len(line) > LONGEST_HEAD:
                raise Broken("a line without an end")
        return bytes(line[:-2])


class Interrupted(Broken):
    """The client went before the end of the body; ``spool`` has what came, to be closed by who catches this."""

    def __init__(self, spool: BinaryIO) -> None:
        super().__init__("the client has gone in the middle of a body")
        self.spool = spool


Handler = Callable[[Request], Answer | None]
"""None: hang up without a word."""


class HttpServer:
    """Serves a handler on a socket, a thread for each connection. ``port`` 0 takes a free one; with ``tls`` it is HTTPS."""

    def __init__(self, handler: Handler, host: str, port: int, name: str, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.handler = handler
        self.host = host
        self.port = port
        self.name = name
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._listener: socket.socket | None = None

    def start(self) -> None:
        self._listener = socket.create_server((self.host, self.port))
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), name=self.name, daemon=True)
        self._acceptor.start()

    @property
    def running(self) -> bool:
        return self._listener is not None

    def stop(self) -> None:
        """End all connections and wait for their threads. The port stays the server's for another :meth:`start`."""
        if self._listener is None:
            return
        _shut(self._listener)
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        with self._lock:
            threads = dict(self._open)
        for sock in threads.values():
            _shut(sock)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(sock,), name=f"{self.name} client", daemon=True)
            with self._lock:
                self._open[thread] = sock
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        buffered = bytearray()
        try:
            if self.tls is not None:
                sock = self._encrypted(sock, self.tls)
            while (head := _head(sock, buffered)) is not None:
                request = Request(sock, buffered, head)
                answer = self.handler(request)
                if answer is None:
                    break
                keep = request.consumed and request.keep_alive and not answer.close
                sock.sendall(_encode(answer, keep, request.method))
                if not keep:
                    _linger(sock, request.consumed)
                    break
        except (Broken, OSError) as reason:
            _log.debug("%s: a connection has ended: %s", self.name, reason)
        except Exception:
            _log.exception("%s: a connection was lost to a defect of the sandbox", self.name)
        finally:
            _shut(sock)
            sock.close()
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def _encrypted(self, sock: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        """The same connection, after the handshake."""
        made = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._open[threading.current_thread()] = made
        try:
            made.do_handshake()
        except OSError:
            made.close()
            raise
        return made


def _spool() -> BinaryIO:
    return tempfile.SpooledTemporaryFile(IN_MEMORY)  # type: ignore[return-value]


def _head(sock: socket.socket, buffered: bytearray) -> bytes | None:
    """The next request's head; None when the client is done."""
    while (end := buffered.find(b"\r\n\r\n")) < 0:
        if len(buffered) > LONGEST_HEAD:
            raise Broken("a head without an end")
        got = sock.recv(PIECE)
        if not got:
            return None
        buffered += got
    head = bytes(buffered[:end])
    del buffered[: end + 4]
    return head


def _encode(answer: Answer, keep: bool, method: str) -> bytes:
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.payload))} | dict(answer.headers)
    headers["Connection"] = "keep-alive" if keep else "close"
    lines = [f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else answer.payload)


def _linger(sock: socket.socket, consumed: bool) -> None:
    """No more is said. What a client has already sent is taken in for a moment: more than that meets a reset."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        if consumed:
            return
        sock.settimeout(LINGER_SECONDS)
        left = LINGER_BYTES
        while left > 0 and (got := sock.recv(PIECE)):
            left -= len(got)


def _shut(sock: socket.socket) -> None:
    """Wake whoever waits on this socket."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
