"""The query port: MySQL's protocol (handshake, mysql_native_password, text results) in front of :class:`~.sqlfront.SqlFront`.

Written by hand, since mysql-mimic parses statements before it hands them on, goes on after a refused login and knows no count of
changed rows. Prepared statements of the server (COM_STMT_PREPARE) are refused: StarRocks has them since 3.2, for SELECT alone, and
no client of ours asks for them. The protocol: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import socket
import struct
import threading
from collections.abc import Callable
from ssl import SSLContext

from tidegate.sandbox.starrocks.config import FrontendConfig
from tidegate.sandbox.starrocks.dispatch import execute
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.labels import LabelBook
from tidegate.sandbox.starrocks.result import OK, Result, Wire, encode
from tidegate.sandbox.starrocks.sqlerror import SqlError
from tidegate.sandbox.starrocks.sqlfront import Cluster, SqlFront, SqlSession
from tidegate.sandbox.starrocks.users import User, Users

log = logging.getLogger(__name__)

_LONG_PASSWORD, _FOUND_ROWS, _CONNECT_WITH_DB, _PROTOCOL_41, _SSL = 1, 2, 8, 0x200, 0x800
_TRANSACTIONS, _SECURE, _PLUGIN_AUTH, _LENENC_AUTH = 0x2000, 0x8000, 0x80000, 0x200000
_CAPABILITIES = _LONG_PASSWORD | _FOUND_ROWS | _CONNECT_WITH_DB | _PROTOCOL_41 | _TRANSACTIONS | _SECURE | _PLUGIN_AUTH
_AUTOCOMMIT = 2
_UTF8, _BINARY = 33, 63
_PACKET = 0xFFFFFF
_NATIVE = b"mysql_native_password"
_QUIT, _INIT_DB, _QUERY, _PING, _STMT_PREPARE, _SET_OPTION, _RESET = 0x01, 0x02, 0x03, 0x0E, 0x16, 0x1B, 0x1F


class QueryPort:
    """Serves a query port in threads of its own: ``start`` binds it, ``port`` is its number, ``stop`` ends every connection."""

    def __init__(
        self,
        engine: Engine,
        users: Users,
        labels: LabelBook,
        config: FrontendConfig,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        time_zone: str = "Asia/Shanghai",
        ssl: SSLContext | None = None,
        now: Callable[[], float] | None = None,
        cluster: Callable[[], Cluster] | None = None,
    ) -> None:
        """``time_zone`` is the system's, which sessions begin with; ``now`` the clock of NOW() in seconds since the epoch;
        ``cluster`` tells the addresses that SHOW BACKENDS and SHOW FRONTENDS show."""
        self.front = SqlFront(engine, users, labels, config, time_zone=time_zone, now=now, cluster=cluster)
        self.host, self.port = host, port
        self._users, self._ssl = users, ssl
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._open: dict[int, tuple[socket.socket, threading.Thread]] = {}
        self._next = 0
        self._stopping = False

    def start(self) -> None:
        """Binds and listens; returns when connections are taken."""
        self._listener = socket.create_server((self.host, self.port))
        self.port = self._listener.getsockname()[1]
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, name="starrocks-query-port", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes the port and all connections, and waits for their threads."""
        if self._listener is None or self._thread is None:
            return
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self._listener = self._thread = None
        self.disconnect()

    def disconnect(self) -> None:
        """Ends every connection, as a frontend that dies does."""
        with self._lock:
            there = list(self._open.values())
        for peer, _ in there:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for _, thread in there:
            thread.join()

    def __enter__(self) -> QueryPort:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        listener = self._listener
        assert listener is not None
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                if self._stopping:
                    return
                raise
            with self._lock:
                self._next += 1
                number = self._next
                thread = threading.Thread(target=self._serve, args=(number, peer), name=f"starrocks-query-{number}", daemon=True)
                self._open[number] = (peer, thread)
            thread.start()

    def _serve(self, number: int, peer: socket.socket) -> None:
        connection = _Connection(peer, number, self.front, self._users, self._ssl)
        try:
            connection.run()
        except (OSError, EOFError):
            log.debug("query port: connection %d ended by the client", number)
        except (ValueError, IndexError, struct.error):
            log.warning("query port: connection %d does not speak MySQL's protocol", number)
        finally:
            connection.close()
            with self._lock:
                self._open.pop(number, None)


class _Connection:
    """One client."""

    def __init__(self, peer: socket.socket, number: int, front: SqlFront, users: Users, ssl: SSLContext | None) -> None:
        self._peer, self._number, self._front, self._users, self._ssl = peer, number, front, users, ssl
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sequence = 0

    def close(self) -> None:
        self._peer.close()

    def run(self) -> None:
        session = self._login()
        if session is None:
            return
        while True:
            self._sequence = 0
            packet = self._read()
            command, rest = packet[0], packet[1:]
            if command == _QUIT:
                return
            try:
                self._answer(self._command(session, command, rest))
            except SqlError as refusal:
                self._error(refusal)
            except Exception as problem:  # a statement that the sandbox can't do must not end the client's connection
                log.warning("query port: a statement failed: %s", type(problem).__name__)
                log.debug("query port: how it failed", exc_info=True)
                self._error(SqlError(f"tidegate's sandbox could not run this statement: {type(problem).__name__}: {problem}", 1105))

    def _command(self, session: SqlSession, command: int, rest: bytes) -> Result:
        if command == _QUERY:
            return execute(session, rest.decode("utf-8", "surrogateescape"))
        if command == _INIT_DB:
            session.use(rest.decode())
            return OK
        if command in (_PING, _SET_OPTION):
            return OK
        if command == _RESET:
            session.reset()
            return OK
        if command == _STMT_PREPARE:
            raise SqlError("This command is not supported in the prepared statement protocol yet", 1295)
        raise SqlError("Unknown command", 1047, "08S01")

    # -- handshake

    def _login(self) -> SqlSession | None:
        nonce = bytes(secrets.choice(range(0x21, 0x7F)) for _ in range(20))
        self._write(self._greeting(nonce))
        packet = self._read()
        flags = struct.unpack_from("<I", packet)[0]
        if self._ssl is not None and flags & _SSL and len(packet) <= 32:
            self._peer = self._ssl.wrap_socket(self._peer, server_side=True)
            packet = self._read()
            flags = struct.unpack_from("<I", packet)[0]
        name, scramble, database, plugin = _response(packet, flags)
        if plugin not in (b"", _NATIVE):
            self._write(b"\xfe" + _NATIVE + b"\0" + nonce + b"\0")
            scramble = self._read()
        user = self._users.get(name)
        if user is None or not _matches(user, scramble, nonce):
            used = "YES" if scramble else "NO"
            self._error(SqlError(f"Access denied for user '{name}' (using password: {used})", 1045, "28000"))
            return None
        session = self._front.session(name, self._number)
        if database:
            try:
                session.use(database)
            except SqlError as refusal:
                self._error(refusal)
                return None
        self._answer(OK)
        return session

    def _greeting(self, nonce: bytes) -> bytes:
        capabilities = _CAPABILITIES | (_SSL if self._ssl else 0)
        return b"".join(
            (
                b"\x0a",
                self._front.mysql_version.encode() + b"\0",
                struct.pack("<I", self._number),
                nonce[:8] + b"\0",
                struct.pack("<HBHH", capabilities & 0xFFFF, _UTF8, _AUTOCOMMIT, capabilities >> 16),
                bytes([len(nonce) + 1]),
                bytes(10),
                nonce[8:] + b"\0",
                _NATIVE + b"\0",
            )
        )

    # -- answers

    def _answer(self, result: Result) -> None:
        if not result.fields:
            # With its length, as MySQL and StarRocks (MysqlOkPacket.java) write it, whatever the protocol's description says.
            info = _string(result.info.encode()) if result.info else b""
            self._write(b"\0" + _lenenc(result.affected) + b"\0" + struct.pack("<HH", _AUTOCOMMIT, 0) + info)
            return
        out = [_lenenc(len(result.fields))]
        for field in result.fields:
            name = field.name.encode()
            charset = _BINARY if field.wire not in (Wire.VAR_STRING, Wire.STRING) else _UTF8
            definition = b"".join(_string(part) for part in (b"def", b"", b"", b"", name, name))
            out.append(definition + b"\x0c" + struct.pack("<HIBHBH", charset, 1024, field.wire, 0, field.scale, 0))
        end = b"\xfe" + struct.pack("<HH", 0, _AUTOCOMMIT)
        out.append(end)
        out.extend(b"".join(_cell(value) for value in row) for row in result.rows)
        out.append(end)
        self._send(b"".join(self._frame(packet) for packet in out))

    def _error(self, refusal: SqlError) -> None:
        self._write(b"\xff" + struct.pack("<H", refusal.number) + b"#" + refusal.state.encode() + refusal.message.encode())

    # -- packets

    def _write(self, payload: bytes) -> None:
        self._send(self._frame(payload))

    def _frame(self, payload: bytes) -> bytes:
        out = []
        while True:
            piece, payload = payload[:_PACKET], payload[_PACKET:]
            out.append(struct.pack("<I", len(piece) | self._sequence << 24) + piece)
            self._sequence = (self._sequence + 1) & 0xFF
            if len(piece) < _PACKET:
                return b"".join(out)

    def _send(self, data: bytes) -> None:
        self._peer.sendall(data)

    def _read(self) -> bytes:
        """One packet's payload. EOFError when the client is gone."""
        whole = b""
        while True:
            head = self._exactly(4)
            size = int.from_bytes(head[:3], "little")
            self._sequence = (head[3] + 1) & 0xFF
            whole += self._exactly(size)
            if size < _PACKET:
                if not whole and self._sequence == 1:
                    raise EOFError("an empty command")
                return whole

    def _exactly(self, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            piece = self._peer.recv(size - len(out))
            if not piece:
                raise EOFError("the client closed its connection")
            out += piece
        return bytes(out)


def _response(packet: bytes, flags: int) -> tuple[str, bytes, str, bytes]:
    """User, scramble, database and plugin of a handshake response 41."""
    name, at = _until_null(packet, 32)
    if flags & _LENENC_AUTH or flags & _SECURE:  # a length below 251 is one byte in both forms
        size = packet[at]
        scramble, at = packet[at + 1 : at + 1 + size], at + 1 + size
    else:
        scramble, at = _until_null(packet, at)
    database = b""
    if flags & _CONNECT_WITH_DB:
        database, at = _until_null(packet, at)
    plugin = _until_null(packet, at)[0] if flags & _PLUGIN_AUTH else b""
    return name.decode(), scramble, database.decode(), plugin


def _until_null(packet: bytes, at: int) -> tuple[bytes, int]:
    end = packet.find(b"\0", at)
    end = len(packet) if end < 0 else end
    return packet[at:end], end + 1


def _matches(user: User, scramble: bytes, nonce: bytes) -> bool:
    if not user.password:
        return not scramble
    once = hashlib.sha1(user.password.encode(), usedforsecurity=False).digest()
    twice = hashlib.sha1(once, usedforsecurity=False).digest()
    mask = hashlib.sha1(nonce + twice, usedforsecurity=False).digest()
    return secrets.compare_digest(bytes(a ^ b for a, b in zip(once, mask, strict=True)), scramble)


def _lenenc(number: int) -> bytes:
    if number < 251:
        return bytes([number])
    if number < 1 << 16:
        return b"\xfc" + struct.pack("<H", number)
    if number < 1 << 24:
        return b"\xfd" + struct.pack("<I", number)[:3]
    return b"\xfe" + struct.pack("<Q", number)


def _string(data: bytes) -> bytes:
    return _lenenc(len(data)) + data


def _cell(value: object) -> bytes:
    data = encode(value)
    return b"\xfb" if data is None else _string(data)
