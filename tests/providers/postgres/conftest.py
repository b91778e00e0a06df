"""A sink over a fresh database, and short ways to write and look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from tests.servers import PostgresServer
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.schema import TableName, TableSchema
from tidegate.providers.postgres.sink import PostgresSink
from tidegate.providers.system import systems
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Copy, resolve
from tidegate.sync.results import WriteResult

FAMILY = ("postgres", "gaussdb", "adbpg")
"""The systems that keep the contract: modules that set this name run against each of them."""


class Box:
    """A database with a sink on it."""

    def __init__(self, server: PostgresServer, family: str = "postgres") -> None:
        self.server, self.family = server, family
        self.sink = self.open()

    def open(self, **values: Any) -> PostgresSink:
        sink = systems()[self.family].open_sink(self.server.values(**values), "warehouse")
        assert isinstance(sink, PostgresSink)
        return sink

    def only(self, *families: str, because: str) -> None:
        """Skip what the other systems do otherwise by their nature; their own tests say how."""
        if self.family not in families:
            pytest.skip(f"not on {self.family}: {because}")

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        connection = self.server.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements)

    def target(self, schema: TableSchema, table: str = "ods.t", *, existing_only: bool = False, **options: Any) -> Target:
        wanted = resolve(WriteOptions(**options), self.sink.capabilities)
        return Target(TableName.parse(table), schema, wanted, existing_only)

    def prepare(self, target: Target) -> None:
        found = self.sink.inspect(target)
        for problem in found.problems:
            raise problem
        self.sink.prepare(target, found)

    def write(self, target: Target, *batches: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        """Prepare, write and commit, outside any sync."""
        self.prepare(target)
        load = self.sink.begin([target], None)
        result = WriteResult()
        try:
            for batch in batches:
                result += load.write(target, batch, copy)
            load.commit([])
        except BaseException:
            load.abort()
            raise
        assert self.family == "adbpg" or None not in (result.inserted, result.updated, result.ignored), "a count is not told"
        return result


class Told(dict[str, Any]):
    """Counts that are equal to others if those that the target told are: COPY … ON CONFLICT doesn't tell all of them."""

    def __init__(self, result: WriteResult) -> None:
        names = ("inserted", "updated", "deleted", "ignored", "not_found", "folded")
        super().__init__({name: getattr(result, name) for name in names if getattr(result, name)})
        self.unknown = {name for name in names if getattr(result, name) is None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and dict(self) == {name: other[name] for name in other if name not in self.unknown}

    __hash__ = None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module of the contract runs against the whole family, others against PostgreSQL alone."""
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", getattr(metafunc.module, "FAMILY", ("postgres",)), scope="session")


@pytest.fixture
def box(request: pytest.FixtureRequest, family: str) -> Iterator[Box]:
    """A box over an empty database."""
    if family == "postgres":
        box = Box(request.getfixturevalue("pg_database"))
        yield box
        box.sink.close()
        return
    # A sandbox sets up each new database, which takes longer than to empty one.
    server: PostgresServer = request.getfixturevalue("_emptied")
    box = Box(server, family)
    yield box
    box.sink.close()
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    for (schema,) in box.query("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_|tidegate_sandbox)'"):
        server.execute(f'DROP SCHEMA "{schema}" CASCADE')
    server.execute("CREATE SCHEMA public")


@pytest.fixture(scope="session")
def _emptied(request: pytest.FixtureRequest, family: str) -> Iterator[PostgresServer]:
    server: PostgresServer = request.getfixturevalue(family)
    name = f"emptied{os.getpid()}"
    server.execute(f"CREATE DATABASE {name}")
    yield replace(server, database=name)
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'", f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def _light(request: pytest.FixtureRequest, family: str) -> Iterator[Box]:
    server: PostgresServer = request.getfixturevalue(family)
    name = f"light{os.getpid()}"
    server.execute(f"CREATE DATABASE {name}")
    box = Box(replace(server, database=name), family)
    yield box
    box.sink.close()
    box.server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    )
    server.execute(f"DROP DATABASE {name}")


@pytest.fixture
def light(_light: Box) -> Iterator[Box]:
    """A box for small cases, whose database they share: what they leave in the schema ``ods`` is removed."""
    yield _light
    _light.sink.close()  # a load that a failed test left open holds locks
    _light.sink = _light.open()
    _light.execute("DROP SCHEMA IF EXISTS ods CASCADE")


def schema_of(table: pa.Table, *key: str, name: str = "shop.t") -> TableSchema:
    return TableSchema.of_arrow(TableName.parse(name), table.schema, key)


def inserts(table: pa.Table, *key: str) -> ChangeBatch:
    return ChangeBatch.of(schema_of(table, *key), table, RowKind.INSERT)


def changes(table: pa.Table, kinds: str, *key: str) -> ChangeBatch:
    """``kinds`` as ``+I -U +U -D``."""
    by_name = {kind.short: kind for kind in RowKind}
    return ChangeBatch.of(schema_of(table, *key), table, pa.array([by_name[kind] for kind in kinds.split()], pa.uint8()))
