"""A sink over a fresh database of StarRocks, and short ways to write and look."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from tests.servers import StarrocksServer, start_starrocks
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.position import BinlogPosition
from tidegate.changes.schema import TableName, TableSchema
from tidegate.providers.starrocks.connection import SYSTEM
from tidegate.providers.starrocks.sink import StarrocksSink
from tidegate.sync.logledger import WriteAheadLedger
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Copy, Entry, Intent, Lease, Load, Window, resolve
from tidegate.sync.results import WriteResult
from tidegate.sync.verbs import Verbs

SOURCE, TARGET = TableName("shop", "t"), TableName("", "t")
FAST: dict[str, Any] = {"retry_wait": 0.0}


class Box:
    """A database with a sink on it. ``values`` are connection fields that all of its sinks have."""

    def __init__(self, server: StarrocksServer, **values: Any) -> None:
        self.server, self._values = server, values
        self._open: list[StarrocksSink] = []
        self._connection = server.connect(ssl_disabled=True)
        self.sink = self.open()

    def open(self, **values: Any) -> StarrocksSink:
        """A sink that is closed with the box."""
        sink = SYSTEM.open_sink(self.server.values(**(self._values | values)), "warehouse")
        assert isinstance(sink, StarrocksSink)
        self._open.append(sink)
        return sink

    def reopen(self, **values: Any) -> StarrocksSink:
        """The box's sink as another process has it."""
        self.sink = self.open(**values)
        return self.sink

    def close(self) -> None:
        for sink in self._open:
            sink.close()
        self._connection.close()

    def verbs(self, **values: Any) -> Verbs:
        return Verbs(lambda: SYSTEM.open_sink(self.server.values(**(self._values | values)), "warehouse"))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.query(statement)

    def table(self, columns: str, rest: str = "PRIMARY KEY(id) DISTRIBUTED BY HASH(id)", name: str = "t") -> None:
        """Make a table."""
        self.execute(f'CREATE TABLE {name} ({columns}) {rest} BUCKETS 1 PROPERTIES ("replication_num" = "1")')

    def target(self, schema: TableSchema, table: str = "t", *, existing_only: bool = False, **options: Any) -> Target:
        wanted = resolve(WriteOptions(**(FAST | options)), self.sink.capabilities)
        return Target(TableName.parse(table), schema, wanted, existing_only)

    def prepare(self, target: Target) -> None:
        found = self.sink.inspect(target)
        for problem in found.problems:
            raise problem
        self.sink.prepare(target, found)

    def begin(self, *targets: Target, lease: Lease | None = None, intent: Intent | None = None, end: int = 10) -> Load:
        """A load of the window from 4 to ``end``."""
        window = Window({target.schema.table: at(4) for target in targets}, at(end))
        return self.sink.begin(targets, lease, window, intent)

    def write(self, target: Target, *batches: ChangeBatch, copy: Copy | None = None, lease: Lease | None = None) -> WriteResult:
        """Prepare, write and commit; without a lease outside any sync."""
        self.prepare(target)
        load = self.begin(target, lease=lease)
        result = WriteResult()
        try:
            for batch in batches:
                result += load.write(target, batch, copy)
            load.commit([entry(10)] if lease is not None else [])
        except BaseException:
            load.abort()
            raise
        return result

    def states(self) -> dict[str, str]:
        """The state of each label of the database but the ledger's own."""
        found = self.server.control("GET", "/labels")
        return {
            item["label"]: item["state"]
            for item in found
            if item["database"] == self.server.database and "-log-" not in item["label"]
        }


def at(offset: int) -> BinlogPosition:
    return BinlogPosition("binlog.000001", offset, "1")


def entry(offset: int, sync: str = "s", table: TableName = SOURCE, target: TableName = TARGET, **more: Any) -> Entry:
    return Entry(sync, table, target, at(offset), **more)


@pytest.fixture
def box(starrocks_database: StarrocksServer) -> Iterator[Box]:
    """A box over an empty database."""
    box = Box(starrocks_database)
    yield box
    box.close()


@pytest.fixture(params=["V1", "AUTO"])
def either(request: pytest.FixtureRequest, starrocks_database: StarrocksServer) -> Iterator[Box]:
    """A box whose loads stand alone, and one whose loads are prepared and committed together."""
    box = Box(starrocks_database, sink_version=request.param)
    yield box
    box.close()


@pytest.fixture
def ledger(box: Box) -> WriteAheadLedger:
    box.sink.ledger.setup()
    return box.sink.ledger


@pytest.fixture(scope="module")
def newest() -> Iterator[StarrocksServer]:
    """A StarRocks 4.0, which has one transaction for all tables."""
    server = start_starrocks("--server-version=4.0.1")
    yield server
    server.stop()


@pytest.fixture
def multi(newest: StarrocksServer, request: pytest.FixtureRequest) -> Iterator[Box]:
    """A box over an empty database of a 4.0."""
    name = f"m{abs(hash(request.node.nodeid))}"
    newest.execute(f"CREATE DATABASE {name}")
    box = Box(replace(newest, database=name))
    yield box
    box.close()
    newest.control("DELETE", "/faults")
    newest.control("POST", "/publish")
    newest.execute(f"DROP DATABASE IF EXISTS {name} FORCE")


def schema_of(table: pa.Table, *key: str, name: str = "shop.t") -> TableSchema:
    return TableSchema.of_arrow(TableName.parse(name), table.schema, key)


def inserts(table: pa.Table, *key: str, name: str = "shop.t") -> ChangeBatch:
    return ChangeBatch.of(schema_of(table, *key, name=name), table, RowKind.INSERT)


def changes(table: pa.Table, kinds: str, *key: str, present: dict[str, pa.Array] | None = None) -> ChangeBatch:
    """``kinds`` as ``+I -U +U -D``."""
    by_name = {kind.short: kind for kind in RowKind}
    numbers = pa.array([by_name[kind] for kind in kinds.split()], pa.uint8())
    return ChangeBatch.of(schema_of(table, *key), table, numbers, present=present)


def people(*rows: tuple[int, str | None]) -> pa.Table:
    return pa.table({"id": pa.array([row[0] for row in rows], pa.int64()), "name": pa.array([row[1] for row in rows], pa.string())})


FIRST = people((1, "ann"), (2, "bob"))
SCHEMA = schema_of(FIRST, "id")


def rows(box: Box, table: str = "t", order: str = "id") -> list[tuple[Any, ...]]:
    return box.query(f"SELECT * FROM {table} ORDER BY {order}")


def counts(result: WriteResult) -> dict[str, int | None]:
    """The counts that aren't 0; None for one that the target can't tell."""
    names = ("inserted", "updated", "deleted", "ignored", "not_found")
    return {name: getattr(result, name) for name in names if getattr(result, name) != 0}


class Killed(BaseException):
    """The process ends here."""


def kill(sink: StarrocksSink, method: str, *, nth: int = 1, after: bool = False, ledger: bool = False) -> None:
    """The process dies before, or ``after``, the nth call of this method of the loader; the ledger's loads don't count."""
    real, calls = getattr(sink._streamload, method), itertools.count(1)

    def call(label: str, *args: Any, **more: Any) -> Any:
        if "-log-" in label and not ledger:
            return real(label, *args, **more)
        number = next(calls)
        if number == nth and not after:
            raise Killed
        done = real(label, *args, **more)
        if number == nth:
            raise Killed
        return done

    setattr(sink._streamload, method, call)
