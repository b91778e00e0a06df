"""MariaDB and MySQL 5.6, and databases on them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.providers.mysql.reading import Database
from tests.servers import MySqlServer

_numbers = itertools.count(1)


def _database(server: MySqlServer) -> Iterator[Database]:
    name = f"m{os.getpid()}_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    database = Database(server, name)
    yield database
    database.close()
    server.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture(params=["mariadb", "mysql56"])
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database on MariaDB, then one on MySQL 5.6."""
    yield from _database(request.getfixturevalue(request.param))


@pytest.fixture
def maria(mariadb: MySqlServer) -> Iterator[Database]:
    """A database on MariaDB, whose log has full row metadata."""
    yield from _database(mariadb)


@pytest.fixture
def old(mysql56: MySqlServer) -> Iterator[Database]:
    """A database on MySQL 5.6, whose log has no row metadata."""
    yield from _database(mysql56)
