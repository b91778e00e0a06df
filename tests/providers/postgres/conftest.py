"""A sink over a fresh database, and short ways to write and look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from tests.servers import PostgresServer
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.schema import TableName, TableSchema
from tidegate.providers.postgres.connection import SYSTEM
from tidegate.providers.postgres.sink import PostgresSink, open_sink
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Copy, resolve
from tidegate.sync.results import WriteResult


class Box:
    """A database with a sink on it."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.sink = self.open()

    def open(self, **values: Any) -> PostgresSink:
        return open_sink(SYSTEM.values(self.server.values(**values), "warehouse"), "warehouse")

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
        return result


@pytest.fixture
def box(pg_database: PostgresServer) -> Iterator[Box]:
    box = Box(pg_database)
    yield box
    box.sink.close()


@pytest.fixture(scope="session")
def _light(postgres: PostgresServer) -> Iterator[Box]:
    name = f"light{os.getpid()}"
    postgres.execute(f"CREATE DATABASE {name}", database="postgres")
    box = Box(PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database=name))
    yield box
    box.sink.close()
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)", database="postgres")


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
