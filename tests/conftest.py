"""Servers are started once per test session and only if a test asks for them; a missing one skips with what to install."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from tests.servers import (
    Missing,
    MySqlServer,
    PostgresServer,
    Server,
    start_mariadb,
    start_mysql56,
    start_postgres,
)

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


@pytest.fixture
def database(mariadb: MySqlServer) -> Iterator[str]:
    """A fresh database on MariaDB."""
    name = f"d{os.getpid()}_{next(_numbers)}"
    mariadb.execute(f"CREATE DATABASE {name}")
    yield name
    mariadb.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def pg_database(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A fresh PostgreSQL database: the server, its ``database`` set to it."""
    name = f"d{os.getpid()}_{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name}", database="postgres")
    yield PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database=name)
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")
