"""The sandbox as a whole: two frontends with a query port and an HTTP port each, a backend's HTTP port, and a control port."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tidegate.errors import ConfigError
from tidegate.sandbox.starrocks.be_http import Backend
from tidegate.sandbox.starrocks.config import FrontendConfig
from tidegate.sandbox.starrocks.contexts import Contexts
from tidegate.sandbox.starrocks.control import Control
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.errorlog import ErrorLogs
from tidegate.sandbox.starrocks.faults import Clock, Faults
from tidegate.sandbox.starrocks.fe_http import Frontend
from tidegate.sandbox.starrocks.httpd import HttpServer
from tidegate.sandbox.starrocks.labels import LabelBook
from tidegate.sandbox.starrocks.model import LoadFailed
from tidegate.sandbox.starrocks.mysql import QueryPort
from tidegate.sandbox.starrocks.sqlfront import Cluster
from tidegate.sandbox.starrocks.staging import Shelf, lost
from tidegate.sandbox.starrocks.transactions import Transactions
from tidegate.sandbox.starrocks.users import Users

_log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
TRIES = 50
"""How many free port numbers are tried for one that is free on both frontends' addresses."""

Name = Literal["leader", "follower"]


class _Node(NamedTuple):
    host: str
    http: HttpServer
    query: QueryPort


class StarrocksSandbox:
    """A StarRocks of two frontends and one backend, each on a loopback address of its own. A context manager.

    After :meth:`start`: ``fe_host`` (the leader's; the follower has the same ports on ``follower_host``), ``fe_http_port``,
    ``fe_query_port``, ``be_host``, ``be_port``, ``control_port`` (on ``fe_host``). Always: ``engine``, ``users``, ``labels``,
    ``transactions``, ``backend``, ``faults``, ``clock``, ``config``.

    ``version`` is the server to be; with a ``folder`` tables and labels are there after a restart; a port of 0 is a free one.
    ``user`` is the administrator; ``certificate`` (PEM files of certificate and key) makes the HTTP ports HTTPS and the query port
    ready for TLS. OSError for a port that is taken, ConfigError for an address that isn't loopback.
    """

    def __init__(
        self,
        version: str = "3.3.5",
        folder: Path | str | None = None,
        *,
        user: str = "root",
        password: str = "",
        fe_hosts: tuple[str, str] = ("127.0.0.1", "127.0.0.3"),
        be_host: str = "127.0.0.2",
        query_port: int = 0,
        http_port: int = 0,
        be_port: int = 0,
        control_port: int = 0,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        for host in (*fe_hosts, be_host):
            if not ipaddress.ip_address(host).is_loopback:
                raise ConfigError(f"a sandbox listens on loopback only, not on {host}")
        place = None if folder is None else Path(folder)
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
        self.version = version
        self.user, self.password = user, password
        self.fe_host, self.follower_host = fe_hosts
        self.be_host = be_host
        self.fe_query_port, self.fe_http_port = query_port, http_port
        self.clock = Clock()
        self.config = FrontendConfig()
        self.users = Users()
        self.users.add(user, password, root=True)
        self.faults = Faults()
        self.engine = Engine(version, None if place is None else place / "tables.duckdb")
        self.labels = LabelBook(self.config, self.clock, None if place is None else place / "labels.sqlite")
        self._shelf = None if place is None else Shelf(place / "bodies")
        restage = self._shelf.restage(self.engine) if self._shelf else lost
        self.transactions = Transactions(
            self.engine, self.labels, self.users, self.config, self.clock, restage, kept=place is not None
        )
        self._logs = ErrorLogs()
        self._contexts = Contexts(self.engine, self.labels, self.transactions, self._error_url, self._shelf, self.clock.now)
        self._stopping = threading.Event()
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self._scheme = "http" if certificate is None else "https"
        self.backend = Backend(
            self.engine,
            self.users,
            self.transactions,
            self._contexts,
            self.faults,
            self._logs,
            self._error_url,
            self._shelf,
            self._stopping,
        )
        self._be = HttpServer(self.backend.handle, be_host, be_port, "starrocks-be", self._tls)
        self._control = HttpServer(Control(self).handle, self.fe_host, control_port, "starrocks-control")
        self._nodes: dict[Name, _Node] = {}
        self._leader: Name = "leader"
        self._ticker = threading.Thread(target=self._tick, name="starrocks-ticker", daemon=True)

    def __enter__(self) -> StarrocksSandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on all ports."""
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            self.fe_http_port = _free(self.fe_http_port, (self.fe_host, self.follower_host))
            self.fe_query_port = _free(self.fe_query_port, (self.fe_host, self.follower_host))
            self._nodes["leader"] = self._node("leader", self.fe_host)
            self._nodes["follower"] = self._node("follower", self.follower_host)
            for node in self._nodes.values():
                node.http.start()
                node.query.start()
            self._be.start()
            self._control.start()
            self.transactions.recover()
            if self._shelf is not None:
                self._shelf.sweep({name for each in self.labels.all() for _, _, name in each.pieces})
            self._ticker.start()
            undo.pop_all()

    def stop(self) -> None:
        """Hang up on everybody, and close the files. It is not started again: make another one."""
        self._stopping.set()
        if self._ticker.is_alive():
            self._ticker.join()
        for node in self._nodes.values():
            node.http.stop()
            node.query.stop()
        self._be.stop()
        self._control.stop()
        self._contexts.close()
        self.labels.close()
        self.engine.close()

    @property
    def be_port(self) -> int:
        return self._be.port

    @property
    def control_port(self) -> int:
        return self._control.port

    def values(self) -> dict[str, object]:
        """The fields of a connection to it."""
        return {
            "host": f"{self.fe_host},{self.follower_host}",
            "port": self.fe_query_port,
            "http_port": self.fe_http_port,
            "login": self.user,
            "password": self.password,
        }

    def forward(self, seconds: float) -> None:
        """Put the clock forward, and let happen what is due then."""
        self.clock.forward(seconds)
        self.transactions.tick()

    def set_frontend(self, name: Name, *, up: bool) -> None:
        """Take a frontend away, or bring it back. The other one leads when the leader goes."""
        node = self._nodes[name]
        if up and not node.http.running:
            node.http.start()
            node.query.start()
        elif not up:
            node.http.stop()
            node.query.stop()
        other: Name = "follower" if self._leader == "leader" else "leader"
        if not self._nodes[self._leader].http.running and self._nodes[other].http.running:
            self._leader = other

    def set_backend(self, *, up: bool) -> None:
        """Take the backend away with all that it was receiving, or bring it back."""
        if up and not self._be.running:
            self._be.start()
        elif not up:
            self._be.stop()
            self._contexts.die()
            self.transactions.lose_backend(0)

    def _node(self, name: Name, host: str) -> _Node:
        def leader() -> str | None:
            return None if self._leader == name else f"{self._nodes[self._leader].host}:{self.fe_http_port}"

        frontend = Frontend(
            self.engine,
            self.users,
            self.labels,
            self.transactions,
            self._contexts,
            self.faults,
            leader,
            lambda: f"{self.be_host}:{self._be.port}",
            self._stopping,
            self._scheme,
        )
        http = HttpServer(frontend.handle, host, self.fe_http_port, f"starrocks-fe-{name}", self._tls)
        query = QueryPort(
            self.engine,
            self.users,
            self.labels,
            self.config,
            host=host,
            port=self.fe_query_port,
            ssl=self._tls,
            now=self.clock.now,
            cluster=lambda: Cluster(host, self.fe_http_port, self.fe_query_port, self.be_host, self._be.port),
        )
        return _Node(host, http, query)

    def _error_url(self, error: LoadFailed) -> str:
        return f"{self._scheme}://{self.be_host}:{self._be.port}/api/_load_error_log?file={self._logs.put(error.error_lines)}"

    def _tick(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            try:
                self.transactions.tick()
            except Exception:
                _log.exception("a tick was lost to a defect of the sandbox")


def _free(port: int, hosts: Sequence[str]) -> int:
    """This port, or else one that is free on all hosts."""
    if port:
        return port
    for _ in range(TRIES):
        with contextlib.ExitStack() as held:
            first = held.enter_context(socket.create_server((hosts[0], 0)))
            number: int = first.getsockname()[1]
            try:
                for host in hosts[1:]:
                    held.enter_context(socket.create_server((host, number)))
            except OSError:
                continue
            return number
    raise OSError(f"no port is free on all of {', '.join(hosts)}")
