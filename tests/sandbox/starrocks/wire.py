"""HTTP against the sandbox, by hand: what is sent when, and what is said before the body."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.sandbox.starrocks.model import ColumnDef, TableDef
from tidegate.sandbox.starrocks.server import StarrocksSandbox

USER, PASSWORD = "root", "secret"


@dataclass
class Said:
    """An answer; ``closed``: the server hung up after it. ``status`` 0: it hung up without one."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    closed: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """A connection to a port of the sandbox."""

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_connection((host, port), 20)
        self._buffered = b""

    def close(self) -> None:
        self.sock.close()

    def head(self, method: str, path: str, headers: Mapping[str, str], login: tuple[str, str] | None = (USER, PASSWORD)) -> None:
        """Send the head of a request, and no body."""
        lines = [f"{method} {path} HTTP/1.1", "Host: sandbox"]
        if login is not None:
            lines.append("Authorization: Basic " + base64.b64encode(":".join(login).encode()).decode())
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send(self, body: bytes) -> None:
        self.sock.sendall(body)

    def answer(self) -> Said:
        """The next answer; ``100 Continue`` is one, too."""
        while b"\r\n\r\n" not in self._buffered:
            if not self._more():
                assert not self._buffered
                return Said(0, {}, b"", True)
        head, _, self._buffered = self._buffered.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", "0"))
        while len(self._buffered) < size:
            assert self._more()
        body, self._buffered = self._buffered[:size], self._buffered[size:]
        closed = headers.get("connection") == "close" and not self._more()
        return Said(int(first.split()[1]), headers, body, closed)

    def _more(self) -> bool:
        with contextlib.suppress(ConnectionResetError):
            got = self.sock.recv(65536)
            self._buffered += got
            return bool(got)
        return False


@contextlib.contextmanager
def line(host: str, port: int) -> Iterator[Line]:
    made = Line(host, port)
    try:
        yield made
    finally:
        made.close()


class Client:
    """A client that follows the frontend's 307 by hand, as a right one does."""

    def __init__(self, box: StarrocksSandbox, login: tuple[str, str] = (USER, PASSWORD)) -> None:
        self.box = box
        self.login = login

    def at(self, place: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Said:
        """One request to ``fe``, ``follower`` or ``be``, whose body is sent if it is asked for."""
        host, port = {
            "fe": (self.box.fe_host, self.box.fe_http_port),
            "follower": (self.box.follower_host, self.box.fe_http_port),
            "be": (self.box.be_host, self.box.be_port),
        }[place]
        with line(host, port) as to:
            expecting = {"Expect": "100-continue"} if body or path.endswith("_stream_load") else {}
            to.head(method, path, {**headers, **expecting, "Content-Length": str(len(body)), "Connection": "close"}, self.login)
            said = to.answer()
            if said.status == 100:
                to.send(body)
                said = to.answer()
            return said

    def follow(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Said:
        """To the frontend without the body, then to where it points, with it."""
        said = self.at("fe", method, path, headers)
        if said.status != 307:
            return said
        assert said.headers["location"] == f"http://{self.box.be_host}:{self.box.be_port}{path}"
        return self.at("be", method, path, headers, body)

    def load(self, label: str, body: bytes, table: str = "t", database: str = "d", **headers: str) -> Any:
        """``_stream_load``."""
        given = {"label": label, "column_separator": ",", **headers}
        return self.follow("PUT", f"/api/{database}/{table}/_stream_load", given, body).json

    def step(self, operation: str, label: str, body: bytes = b"", table: str = "t", database: str = "d", **headers: str) -> Any:
        """A step of a transaction."""
        given = {"label": label, "db": database, "table": table, **({"column_separator": ","} if body else {}), **headers}
        method = "PUT" if operation == "load" else "POST"
        return self.follow(method, f"/api/transaction/{operation}", given, body).json

    def state(self, label: str, database: str = "d") -> str:
        said = self.at("fe", "GET", f"/api/{database}/get_load_state?label={label}", {}).json
        assert said["status"] == "OK", said
        return str(said["state"])

    def rows(self, table: str = "t", database: str = "d") -> list[tuple[Any, ...]]:
        return sorted(self.box.engine.query(f'SELECT * FROM "{database}"."{table}"')[1])


def make_table(box: StarrocksSandbox, name: str = "t", database: str = "d") -> None:
    """``(id INT, v VARCHAR(20))`` with a duplicate key: a load that is applied twice is seen twice."""
    box.engine.create_database(database, if_not_exists=True)
    columns = (ColumnDef("id", "int", key=True), ColumnDef("v", "varchar(20)"))
    box.engine.create_table(TableDef(database, name, "DUP_KEYS", columns, ("id",), ("id",)))
