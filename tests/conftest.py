"""Servers are started once per test session and only if a test asks for them; a missing one skips with what to install."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from tests.servers import (
    Missing,
    MySqlServer,
    PostgresServer,
    SandboxServer,
    Server,
    StarrocksServer,
    real_server,
    real_starrocks,
    start_gaussdb_sandbox,
    start_mariadb,
    start_mysql56,
    start_postgres,
    start_sandbox,
    start_starrocks,
)
from tests.shop import Shop

_numbers = itertools.count(1)


def _session_server(start: Callable[[], Server], required: str) -> Iterator[Server]:
    try:
        server = start()
    except Missing as missing:
        # make test installs the servers and sets this: there a missing one is a failure, not a skip.
        if os.environ.get("TIDEGATE_REQUIRE_SERVERS") and required:
            raise
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """A MariaDB with row metadata FULL. Tests make databases of their own: :func:`database`."""
    yield from _session_server(start_mariadb, "required")


@pytest.fixture(scope="session")
def mysql56() -> Iterator[Server]:
    """MySQL 5.6."""
    yield from _session_server(start_mysql56, "")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """PostgreSQL. Tests make databases of their own: :func:`pg_database`."""
    yield from _session_server(start_postgres, "required")


def _real_or(variable: str, start: Callable[[], Server], real: Callable[[str], Server] = real_server) -> Iterator[Server]:
    """The server whose DSN is in this variable, or else a sandbox."""
    dsn = os.environ.get(variable)
    yield from _session_server((lambda: real(dsn)) if dsn else start, "required")


@pytest.fixture(scope="session")
def gaussdb() -> Iterator[Server]:
    """GaussDB's sandbox (compatibility A, one node), or the real server of ``TIDEGATE_TEST_GAUSSDB_DSN``."""
    yield from _real_or("TIDEGATE_TEST_GAUSSDB_DSN", start_gaussdb_sandbox)


@pytest.fixture(scope="session")
def adbpg() -> Iterator[Server]:
    """AnalyticDB PostgreSQL's sandbox, or the real server of ``TIDEGATE_TEST_ADBPG_DSN``."""
    yield from _real_or("TIDEGATE_TEST_ADBPG_DSN", lambda: start_sandbox("adbpg"))


@pytest.fixture(scope="session")
def starrocks() -> Iterator[Server]:
    """StarRocks' sandbox, or the real cluster of ``TIDEGATE_TEST_STARROCKS_DSN``. Tests make databases of their own:
    :func:`starrocks_database`. One that puts the clock forward or takes a node away starts a server of its own."""
    yield from _real_or("TIDEGATE_TEST_STARROCKS_DSN", start_starrocks, real_starrocks)


@pytest.fixture
def starrocks_database(starrocks: StarrocksServer) -> Iterator[StarrocksServer]:
    """A fresh database on StarRocks: the server, its ``database`` set to it. Faults that it asked for end with the test."""
    name = f"d{os.getpid()}_{next(_numbers)}"
    starrocks.execute(f"CREATE DATABASE {name}")
    yield dataclasses.replace(starrocks, database=name)
    if starrocks.control_port:
        starrocks.control("DELETE", "/faults")
        starrocks.control("POST", "/publish")
    starrocks.execute(f"DROP DATABASE IF EXISTS {name} FORCE")


@pytest.fixture
def gaussdb_database(gaussdb: SandboxServer) -> Iterator[SandboxServer]:
    """A fresh database on GaussDB: the server, its ``database`` set to it."""
    yield from _fresh(gaussdb)


@pytest.fixture
def adbpg_database(adbpg: SandboxServer) -> Iterator[SandboxServer]:
    """A fresh database on AnalyticDB PostgreSQL: the server, its ``database`` set to it."""
    yield from _fresh(adbpg)


def _fresh(server: SandboxServer) -> Iterator[SandboxServer]:
    name = f"d{os.getpid()}_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    yield dataclasses.replace(server, database=name)
    server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'", f"DROP DATABASE IF EXISTS {name}"
    )


@pytest.fixture
def database(mariadb: MySqlServer) -> Iterator[str]:
    """A fresh database on MariaDB."""
    name = f"d{os.getpid()}_{next(_numbers)}"
    mariadb.execute(f"CREATE DATABASE {name}")
    yield name
    mariadb.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def shop(mariadb: MySqlServer) -> Iterator[Shop]:
    """The database that the examples name, with its tables."""
    mariadb.execute("CREATE DATABASE shop")
    made = Shop(mariadb, "shop")
    made.create()
    yield made
    mariadb.execute("DROP DATABASE shop")


@pytest.fixture
def pg_database(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A fresh PostgreSQL database: the server, its ``database`` set to it."""
    name = f"d{os.getpid()}_{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name}", database="postgres")
    yield PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database=name)
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")
