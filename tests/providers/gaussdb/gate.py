"""A server that asks for GaussDB's login and then hands the connection on to a real PostgreSQL.

It is written from the server's side of the exchange, as openGauss's auth.cpp and crypt.cpp have it: it stores no password but the
two keys derived from it, and undoes the client's proof to see whether the client's key is the one it knows.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

ITERATIONS = 10_000
TLS = 80877103
CANCEL = 80877102


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


@dataclass
class Stored:
    """What a server keeps of a password."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int

    @classmethod
    def of(cls, password: str, iterations: int = ITERATIONS) -> Stored:
        salt = os.urandom(32)
        key = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, iterations, 32)
        return cls(salt, hashlib.sha256(_hmac(key, b"Client Key")).digest(), _hmac(key, b"Sever Key"), iterations)

    def accepts(self, proof: bytes, token: bytes) -> bool:
        """``proof`` as it is in the password message."""
        try:
            given = bytes.fromhex(proof.rstrip(b"\0").decode())
        except ValueError:
            return False
        mask = _hmac(self.stored_key, token)
        client_key = bytes(a ^ b for a, b in zip(given, mask, strict=False))
        return hashlib.sha256(client_key).digest() == self.stored_key


@dataclass
class Gate:
    """``login``: sha256, md5, md5_sha256, sm3, trust or none (refused as by pg_hba.conf)."""

    upstream: int
    password: str = "Right@123"
    user: str = "postgres"
    login: str = "sha256"
    iterations: int = ITERATIONS
    newest: int = 196659
    """The newest protocol that it knows; below 3.50 it sends its signature."""
    tls: ssl.SSLContext | None = None
    only_tls: bool = False
    silent: bool = False
    """Takes connections and says nothing."""
    options: str = ""
    """What it adds to the options of each session."""
    port: int = 0
    protocols: list[int] = field(default_factory=list)
    """Of the start-up packets."""
    proofs: int = 0
    """How many password messages it saw."""
    _open: list[list[socket.socket]] = field(default_factory=list)

    def live(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def drop(self) -> None:
        """Cut all connections, as a failing network does."""
        for (sock,) in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def values(self, **more: object) -> dict[str, object]:
        """The fields of a connection through it."""
        return {"host": "127.0.0.1", "port": self.port, "login": self.user, "password": self.password} | more

    def handle(self, sock: socket.socket) -> None:
        held = [sock]
        self._open.append(held)
        try:
            self._serve(held)
        except (OSError, EOFError):
            pass  # the client went away
        finally:
            self._open.remove(held)
            held[0].close()

    def _serve(self, held: list[socket.socket]) -> None:
        if self.silent:
            held[0].recv(1 << 16)
            held[0].recv(1)
            return
        packet = _packet(held[0])
        if struct.unpack_from("!i", packet)[0] == TLS:
            held[0].sendall(b"S" if self.tls else b"N")
            if self.tls:
                held[0] = self.tls.wrap_socket(held[0], server_side=True)
            packet = _packet(held[0])
        self._session(held[0], packet)

    def _session(self, sock: socket.socket, packet: bytes) -> None:
        protocol = struct.unpack_from("!i", packet)[0]
        self.protocols.append(protocol)
        if protocol > self.newest:
            _refuse(
                sock, "0A000", f"unsupported frontend protocol {protocol >> 16}.{protocol & 0xFFFF}: server supports 1.0 to 3.0"
            )
            return
        texts = packet[4:].rstrip(b"\0").split(b"\0")
        given = dict(zip(texts[::2], texts[1::2], strict=True))
        if self.login == "none" or (self.only_tls and not isinstance(sock, ssl.SSLSocket)):
            _refuse(sock, "28000", 'no pg_hba.conf entry for host "127.0.0.1", user "u", database "d", SSL off')
            return
        if not self._authentic(sock, protocol, given[b"user"].decode()):
            _refuse(sock, "28P01", "Invalid username/password,login denied.")
            return
        if self.options:
            given[b"options"] = given.get(b"options", b"") + b" " + self.options.encode()
        given[b"user"] = b"postgres"
        body = b"".join(key + b"\0" + value + b"\0" for key, value in given.items()) + b"\0"
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            server.sendall(struct.pack("!ii", len(body) + 8, 196608) + body)
            _relay(sock, server)

    def _authentic(self, sock: socket.socket, protocol: int, user: str) -> bool:
        if self.login == "trust":
            return True
        if self.login == "md5":
            salt = os.urandom(4)
            _send(sock, b"R", struct.pack("!i", 5) + salt)
            inner = hashlib.md5((self.password + user).encode()).hexdigest()
            return self._reply(sock) == b"md5" + hashlib.md5(inner.encode() + salt).hexdigest().encode() + b"\0"
        if self.login == "md5_sha256":
            _send(sock, b"R", struct.pack("!i", 11) + os.urandom(32).hex().encode() + os.urandom(4))
            self._reply(sock)
            return False
        stored, token = Stored.of(self.password, self.iterations), os.urandom(4)
        number = 13 if self.login == "sm3" else 10
        body = struct.pack("!ii", number, 3 if self.login == "sm3" else 2) + stored.salt.hex().encode() + token.hex().encode()
        minor = protocol & 0xFFFF
        if minor < 50:
            body += _hmac(stored.server_key, token).hex().encode()
        if minor > 50:
            body += struct.pack("!i", self.iterations)
        _send(sock, b"R", body)
        reply = self._reply(sock)
        return self.login == "sha256" and user == self.user and stored.accepts(reply, token)

    def _reply(self, sock: socket.socket) -> bytes:
        code, length = struct.unpack("!ci", _exactly(sock, 5))
        assert code == b"p"
        self.proofs += 1
        return _exactly(sock, length - 4)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _packet(sock: socket.socket) -> bytes:
    return _exactly(sock, struct.unpack("!i", _exactly(sock, 4))[0] - 4)


def _send(sock: socket.socket, code: bytes, body: bytes) -> None:
    sock.sendall(code + struct.pack("!i", len(body) + 4) + body)


def _refuse(sock: socket.socket, code: str, message: str) -> None:
    fields = {"S": "FATAL", "C": code, "M": message}
    _send(sock, b"E", b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0")


def _relay(client: socket.socket, server: socket.socket) -> None:
    def answers() -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 18):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=answers)
    thread.start()
    try:
        while data := client.recv(1 << 18):
            server.sendall(data)
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextlib.contextmanager
def opened(gate: Gate) -> Iterator[Gate]:
    """The gate, listening."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gate.port = listener.getsockname()[1]
        threads: list[threading.Thread] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threads.append(threading.Thread(target=gate.handle, args=(sock,)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield gate
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            gate.drop()
            for thread in threads:
                thread.join()
