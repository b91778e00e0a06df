"""GaussDB's statements, and its login, in front of a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.providers.gaussdb.boxes import GaussdbBox, server
from tests.providers.gaussdb.gate import Gate, opened
from tests.servers import PostgresServer
from tidegate.providers.gaussdb.connection import SYSTEM
from tidegate.providers.gaussdb.session import Connector, GaussdbSession

Gates = Callable[..., Gate]


@pytest.fixture(scope="session")
def _warehouse(postgres: PostgresServer) -> Iterator[PostgresServer]:
    name = f"gauss{os.getpid()}"
    postgres.execute(f"CREATE DATABASE {name}", database="postgres")
    yield PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database=name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)", database="postgres")


@pytest.fixture
def warehouse(_warehouse: PostgresServer) -> Iterator[PostgresServer]:
    """A database that these tests share; what they leave in it is removed."""
    yield _warehouse
    _warehouse.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


@pytest.fixture
def gates(warehouse: PostgresServer) -> Iterator[Gates]:
    """Opens gates before the database; takes the fields of a Gate."""
    with ExitStack() as stack:

        def one(**fields: Any) -> Gate:
            return stack.enter_context(opened(Gate(warehouse.port, **fields)))

        yield one


Connect = Callable[..., GaussdbSession]


@pytest.fixture
def connect(warehouse: PostgresServer) -> Iterator[Connect]:
    """A session through a gate; takes fields of the connection."""
    sessions = []

    def one(gate: Gate, **values: Any) -> GaussdbSession:
        sessions.append(connector(gate, warehouse, **values).connect())
        return sessions[-1]

    yield one
    for session in sessions:
        session.close()


def connector(gate: Gate, database: PostgresServer, **values: Any) -> Connector:
    given = gate.values(database=database.database, **values)
    return Connector(SYSTEM.values(given, "warehouse"), "warehouse")


@pytest.fixture(params=["odku", "merge", "two"])
def box(pg_database: PostgresServer, request: pytest.FixtureRequest) -> Iterator[GaussdbBox]:
    """Each way of merging in turn."""
    box = GaussdbBox(pg_database, server(request.param))
    yield box
    box.sink.close()
