"""A server that speaks the PostgreSQL protocol on loopback, in front of a real PostgreSQL.

It asks for the password itself (the upstream server trusts it), gives the dialect's version, and hands each connection to
:class:`~tidegate.sandbox.session.Session`. A thread per connection: this is for tests and trying out.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import ssl
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tidegate.errors import ConfigError
from tidegate.sandbox import wire
from tidegate.sandbox.authentication import Authentication, Md5
from tidegate.sandbox.dialect import Dialect
from tidegate.sandbox.session import Session
from tidegate.sandbox.sqltext import identifier, literal
from tidegate.sandbox.wire import Channel, Gone, message, text

_log = logging.getLogger(__name__)

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
_LOCK = "SELECT pg_advisory_xact_lock(7242)"
HANDSHAKE_SECONDS = 30.0


@dataclass(frozen=True)
class Upstream:
    """The PostgreSQL behind it, which must trust its superuser and the users given here."""

    host: str
    port: int
    superuser: str = "postgres"
    database: str = "postgres"


class Denied(Exception):
    """Upstream has answered with an error: its body."""

    def __init__(self, body: bytes) -> None:
        super().__init__(wire.fields(body).get("M", ""))
        self.body = body


@dataclass
class Sandbox:
    """The server. ``users`` are names and passwords; ``methods`` says who is asked in another way than ``authentication``'s.

    Use it as a context manager, or :meth:`start` and :meth:`stop` it. ``port`` 0 takes a free one.
    """

    dialect: Dialect
    upstream: Upstream
    users: dict[str, str]
    authentication: Authentication = field(default_factory=Md5)
    methods: Mapping[str, Authentication] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    certificate: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not _loopback(self.host):
            raise ConfigError(f"a sandbox listens on loopback only, not on {self.host}")
        self._ready: set[str] = set()
        self._lock = threading.Lock()
        self._bootstrapping = threading.Lock()
        self._open: dict[threading.Thread, list[Channel]] = {}
        self._listener: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        if self.certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*self.certificate)

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Make the users upstream, listen, and serve in threads of its own."""
        for user in self.users:
            self._make(user)
        self._listener = socket.create_server((self.host, self.port))
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), name="sandbox", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """End all connections and wait for their threads."""
        if self._listener is None:
            return
        _shut(self._listener)
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        with self._lock:
            threads = dict(self._open)
        for channels in threads.values():
            for channel in channels:
                _shut(channel.sock)
        for thread in threads:
            thread.join()

    @property
    def connections(self) -> int:
        """How many clients it serves now."""
        with self._lock:
            return len(self._open)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channels = [Channel(sock)]
            thread = threading.Thread(target=self._serve, args=(channels,), name="sandbox client", daemon=True)
            with self._lock:
                self._open[thread] = channels
            thread.start()

    def _serve(self, channels: list[Channel]) -> None:
        try:
            self._converse(channels)
        except Gone as reason:
            _log.debug("a connection has ended: %s", reason)
        except Exception:
            _log.exception("a connection was lost to a defect of the sandbox")
        finally:
            for channel in channels:
                channel.close()
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def _converse(self, channels: list[Channel]) -> None:
        channels[0].sock.settimeout(HANDSHAKE_SECONDS)
        opened = self._begin(channels)
        if opened is None:
            return
        client = channels[0]
        minor, given = opened
        user = given.get("user", "")
        if not user:
            client.send(wire.error("FATAL", "28000", "no PostgreSQL user name specified in startup packet"))
            return
        way = self.methods.get(user, self.authentication)
        # Who doesn't exist is asked all the same, and hears the same.
        known = self.users.get(user)
        if not way.admits(client, user, known or "", minor) or known is None:
            client.send(wire.error("FATAL", "28P01", way.denied.format(user=user)))
            return
        database = given.setdefault("database", user)
        try:
            self._bootstrap(database)
            upstream = self._connect(given, channels)
        except Denied as denied:
            client.send(message(b"E", denied.body))
            return
        except OSError as cause:
            client.send(wire.error("FATAL", "08006", f"the server behind the sandbox doesn't answer: {cause}"))
            return
        client.sock.settimeout(None)
        client.send(message(b"R", struct.pack("!i", 0)))
        while True:
            got = upstream.read()
            if got.kind == b"S":
                client.send(wire.status(got, self.dialect.server_version))
            elif got.kind != b"R":
                client.send(bytes(got))
            if got.kind == b"E":
                return
            if got.kind == b"Z":
                break
        Session(client, upstream, self.dialect).run()

    def _begin(self, channels: list[Channel]) -> tuple[int, dict[str, str]] | None:
        """The startup message: the protocol's minor version and the parameters. None for a cancel request, which is passed on."""
        while True:
            body = channels[0].startup()
            (asked,) = struct.unpack_from("!i", body)
            if asked in (SSL_REQUEST, GSS_REQUEST):
                secure = self._tls if asked == SSL_REQUEST else None
                channels[0].send(b"S" if secure else b"N")
                if secure is not None:
                    try:
                        channels[0] = Channel(secure.wrap_socket(channels[0].sock, server_side=True))
                    except OSError as cause:
                        raise Gone(f"TLS: {cause}") from cause
                continue
            if asked == CANCEL_REQUEST:
                self._cancel(body)
                return None
            major, minor = asked >> 16, asked & 0xFFFF
            if major != 3:
                words = f"unsupported frontend protocol {major}.{minor}: server supports 1.0 to 3.51"
                channels[0].send(wire.error("FATAL", "0A000", words))
                return None
            words_given = body[4:].decode("utf-8", "surrogateescape").split("\0")
            return minor, dict(zip(words_given[::2], words_given[1::2], strict=False))

    def _cancel(self, body: bytes) -> None:
        with contextlib.suppress(OSError), _dial(self.upstream) as sock:
            sock.sendall(struct.pack("!i", len(body) + 4) + body)
            sock.recv(1)

    def _connect(self, parameters: Mapping[str, str], channels: list[Channel]) -> Channel:
        """A connection upstream, past the authentication."""
        sock = _dial(self.upstream)
        sock.settimeout(None)
        channel = Channel(sock)
        channels.append(channel)
        pairs = [word for name, value in parameters.items() if name for word in (name, value)]
        body = struct.pack("!i", 3 << 16) + text(*pairs) + b"\0"
        channel.send(struct.pack("!i", len(body) + 4) + body)
        got = channel.read()
        if got.kind == b"E":
            raise Denied(got.body)
        if got.kind != b"R" or struct.unpack_from("!i", got.body)[0] != 0:
            raise Gone(f"the server behind the sandbox doesn't trust user {parameters['user']}")
        return channel

    def _run(self, database: str, statements: Iterable[str]) -> None:
        """Run statements as the superuser, in one transaction."""
        channels: list[Channel] = []
        try:
            channel = self._connect({"user": self.upstream.superuser, "database": database}, channels)
            script = "\n;\n".join(["BEGIN", _LOCK, *statements, "COMMIT"])
            channel.send(message(b"Q", text(script)))
            waiting = 2
            while waiting:
                got = channel.read()
                if got.kind == b"E":
                    raise Denied(got.body)
                waiting -= got.kind == b"Z"
            channel.send(message(b"X"))
        finally:
            for channel in channels:
                channel.close()

    def _bootstrap(self, database: str) -> None:
        with self._bootstrapping:
            if database not in self._ready:
                self._run(database, self.dialect.bootstrap())
                self._ready.add(database)

    def _make(self, user: str) -> None:
        made = f"CREATE ROLE {identifier(user)} SUPERUSER LOGIN"
        body = f"BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(user)}) THEN {made}; END IF; END"
        try:
            self._run(self.upstream.database, [f"DO {literal(body)}"])
        except Denied as denied:
            raise ConfigError(f"the server behind the sandbox refused to make user {user}: {denied}") from denied


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shut(sock: socket.socket) -> None:
    """Wake whoever waits on this socket; its owner closes it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _dial(upstream: Upstream) -> socket.socket:
    """A socket to the server behind; a host that begins with / is the folder of its Unix socket, as in libpq."""
    if upstream.host.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(HANDSHAKE_SECONDS)
        sock.connect(f"{upstream.host}/.s.PGSQL.{upstream.port}")
        return sock
    sock = socket.create_connection((upstream.host, upstream.port), HANDSHAKE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
