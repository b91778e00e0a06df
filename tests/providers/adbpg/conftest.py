"""An AnalyticDB sink over PostgreSQL as it is, and over the sandbox's kernel 6.6; what the latter is sent is kept word for word."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from tests.providers.adbpg.sinks import AdbpgBox as AdbpgBox
from tests.servers import PostgresServer, SandboxServer
from tidegate.providers.adbpg.connection import SYSTEM
from tidegate.providers.adbpg.sink import AdbpgSink
from tidegate.providers.postgres.driver import Params, Readable
from tidegate.providers.postgres.session import Session
from tidegate.sandbox.adbpg import Adbpg
from tidegate.sandbox.pgwire import Sandbox, Upstream

KERNEL = "6.6.1.0"
PASSWORD = "Secret#1"


class RecordingSession(Session):
    """A session that keeps its statements. A table whose rows may lie where the server likes is a mistake that no server tells."""

    sent: ClassVar[list[str]] = []

    def run(self, statement: str, params: Params | None = None, *, table: object | None = None) -> int:
        self.sent.append(statement)
        if statement.startswith(("CREATE TABLE", "CREATE TEMPORARY TABLE")):
            assert " DISTRIBUTED " in statement, statement
        return super().run(statement, params, table=table)

    def copy_in(self, statement: str, source: Readable, *, table: object | None = None) -> int:
        self.sent.append(statement)
        return super().copy_in(statement, source, table=table)


class RecordedSink(AdbpgSink):
    """The sink, its connections wrapped."""

    session: type[RecordingSession] = RecordingSession

    def _open(self) -> Session:
        plain = super()._open()
        return self.session(plain._driver, plain.name)


class GreenplumBox(AdbpgBox):
    """A database of a stand-in for kernel 6.6, in this process, with a sink on it. ``sent``: what the sink sent."""

    def __init__(self, upstream: PostgresServer) -> None:
        self._upstream = upstream
        self._sandboxes: list[Sandbox] = []
        super().__init__(self._start(Adbpg(KERNEL)))

    def open(self, **values: Any) -> AdbpgSink:
        sink = RecordedSink(SYSTEM.values(self.server.values(**values), "warehouse"), "warehouse")
        self.sent: list[str] = []
        sink.session = type("OneSession", (RecordingSession,), {"sent": self.sent})
        return sink

    def becomes(self, dialect: Adbpg) -> None:
        """Be another kernel, for a sink that has not asked yet."""
        self.sink.close()
        self.server = self._start(dialect)
        self.sink = self.open()

    def close(self) -> None:
        super().close()
        for sandbox in self._sandboxes:
            sandbox.stop()

    def _start(self, dialect: Adbpg) -> SandboxServer:
        there = self._upstream
        sandbox = Sandbox(dialect, Upstream(there.host, there.port, there.user), {"adbpg": PASSWORD})
        sandbox.start()
        self._sandboxes.append(sandbox)
        return SandboxServer(
            there.process, there.folder, sandbox.port, "adbpg", host=sandbox.host, password=PASSWORD, database=there.database
        )


@contextmanager
def own_database(postgres: PostgresServer, name: str, *, greenplum: bool) -> Iterator[AdbpgBox]:
    """A box for all of a module's tests: plain PostgreSQL, which has no COPY … ON CONFLICT, or kernel 6.6, which has it."""
    name = f"{name}{os.getpid()}"
    postgres.execute(f"CREATE DATABASE {name}", database="postgres")
    server = PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database=name)
    box = GreenplumBox(server) if greenplum else AdbpgBox(server)
    yield box
    box.close()
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)", database="postgres")


@pytest.fixture
def plain(pg_database: PostgresServer) -> Iterator[AdbpgBox]:
    box = AdbpgBox(pg_database)
    yield box
    box.close()


@pytest.fixture
def box(pg_database: PostgresServer) -> Iterator[GreenplumBox]:
    box = GreenplumBox(pg_database)
    yield box
    box.close()
