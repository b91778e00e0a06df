"""Rows by several connections: staging tables alone, merged by one, exactly once, with nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import FakeSource, Transaction
from tests.model import Change
from tests.providers.adbpg.sinks import AdbpgBox
from tests.providers.postgres.conftest import changes, schema_of
from tests.scale import examples
from tests.servers import PostgresServer
from tests.sync.test_run import ORDERS, SCHEMAS, altered_histories, sync_of
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.position import SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, RowRefused
from tidegate.providers.adbpg.connection import SYSTEM
from tidegate.providers.adbpg.sink import open_sink
from tidegate.providers.postgres import lanes
from tidegate.providers.postgres.session import Session
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Lease
from tidegate.sync.results import WriteResult
from tidegate.sync.run import run

pytestmark = pytest.mark.postgres

LEFT = "SELECT relname FROM pg_class WHERE relname LIKE 'tidegate_lane%' ORDER BY 1"


@pytest.fixture
def box(plain: AdbpgBox, monkeypatch: pytest.MonkeyPatch) -> AdbpgBox:
    monkeypatch.setattr(lanes, "LANE_ROWS", 2)
    plain.execute("CREATE SCHEMA ods")
    plain.sink.ledger.setup()
    return plain


def rows(*ids: int, text: str = "x") -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "a": [f"{text}{at}" for at in ids]})


def upserts(table: pa.Table) -> ChangeBatch:
    return ChangeBatch.of(schema_of(table, "id"), table, RowKind.UPDATE_AFTER)


def write(box: AdbpgBox, target: Target, *batches: ChangeBatch, lease: Lease) -> WriteResult:
    box.prepare(target)
    load = box.sink.begin([target], lease)
    result = WriteResult()
    try:
        for batch in batches:
            result += load.write(target, batch)
        load.commit([])
    except BaseException:
        load.abort()
        raise
    return result


@contextmanager
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the tables that lanes make meanwhile."""
    names: list[str] = []
    with monkeypatch.context() as patched:
        inner = lanes.Lanes.table

        def table(self: lanes.Lanes) -> Any:
            name = inner(self)
            names.append(name.name)
            return name

        patched.setattr(lanes.Lanes, "table", table)
        yield names


def test_rows_of_several_lanes_are_merged_by_one_and_counted(box: AdbpgBox, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = box.sink.ledger.acquire("shop", "me", 60)
    target = box.target(schema_of(rows(1), "id"), parallelism=3)
    write(box, target, upserts(rows(1, 2, 3)), lease=lease)
    with made(monkeypatch) as names:
        result = write(box, target, upserts(rows(*range(2, 12), text="y")), changes(rows(1, 5), "-D -D", "id"), lease=lease)
    assert len(names) == 2
    assert (result.inserted, result.updated, result.deleted, result.loads) == (8, 2, 2, 4)
    assert box.query("SELECT id, a FROM ods.t ORDER BY id") == [(at, f"y{at}") for at in range(2, 12) if at != 5]
    assert box.query(LEFT) == []


def test_a_verb_and_few_rows_need_no_lanes(box: AdbpgBox, monkeypatch: pytest.MonkeyPatch) -> None:
    target = box.target(schema_of(rows(1), "id"), parallelism=3)
    with made(monkeypatch) as names:
        box.write(target, upserts(rows(*range(10))))
        write(box, target, upserts(rows(1, 2, 3)), lease=box.sink.ledger.acquire("shop", "me", 60))
    assert names == []
    assert box.query("SELECT count(*) FROM ods.t") == [(10,)]


@pytest.mark.parametrize("active", [2, 3])
def test_lanes_take_the_connections_that_are_free_and_wait_for_none(
    pg_database: PostgresServer, box: AdbpgBox, monkeypatch: pytest.MonkeyPatch, active: int
) -> None:
    box.sink.close()
    box.sink = box.open(connection_max_active=active)
    lease = box.sink.ledger.acquire("shop", "me", 60)
    with made(monkeypatch) as names:
        write(box, box.target(schema_of(rows(1), "id"), parallelism=8), upserts(rows(*range(20))), lease=lease)
    assert len(names) == active - 2
    assert box.query("SELECT count(*) FROM ods.t") == [(20,)]


@pytest.mark.parametrize("bad", [0, 5, 11], ids=["first lane", "second lane", "the load's own"])
@pytest.mark.parametrize("on_error", ["fail", "skip", "quarantine"])
def test_a_refused_row_of_a_lane_goes_alone(box: AdbpgBox, bad: int, on_error: str) -> None:
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY, a int)")
    table = pa.table({"id": pa.array(range(12), pa.int64()), "a": [str(at) if at != bad else "many" for at in range(12)]})
    lease = box.sink.ledger.acquire("shop", "me", 60)
    target = box.target(schema_of(table, "id"), parallelism=3, on_error=on_error)
    load = box.sink.begin([target], lease)
    if on_error == "fail":
        with pytest.raises(RowRefused, match="column a"):
            load.write(target, upserts(table))
        load.abort()
        assert box.query("SELECT * FROM ods.t") == []
    else:
        result = load.write(target, upserts(table))
        load.commit([])
        assert result.skipped + result.quarantined == 1
        assert box.query("SELECT id FROM ods.t ORDER BY id") == [(at,) for at in range(12) if at != bad]
    assert box.query(LEFT) == []
    assert box.query("SELECT keys FROM tidegate.tidegate_quarantine") == ([([[str(bad)]],)] if on_error == "quarantine" else [])


def test_what_a_killed_run_left_is_dropped_and_what_lives_is_not(box: AdbpgBox) -> None:
    ledger = box.sink.ledger
    lease = ledger.acquire("shop", "me", 60)
    other = ledger.acquire("other", "me", 60)
    left = f"{lanes.lane_prefix('shop')}{lease.fence}_0a_1"
    foreign = f"{lanes.lane_prefix('other')}{other.fence}_0a_1"
    lease = ledger.acquire("shop", "me", 60)
    living = f"{lanes.lane_prefix('shop')}{lease.fence}_0a_1"
    box.execute(*(f"CREATE UNLOGGED TABLE tidegate.{name} (id int)" for name in (left, foreign, living)))
    ledger.claim(lease, [TableName("ods", "t")])
    assert box.query(LEFT) == sorted([(foreign,), (living,)])


def test_what_a_zombie_still_reads_stays_for_the_next_run(box: AdbpgBox) -> None:
    ledger = box.sink.ledger
    left = f"{lanes.lane_prefix('shop')}{ledger.acquire('shop', 'me', 60).fence}_0a_1"
    box.execute(f"CREATE UNLOGGED TABLE tidegate.{left} (id int)")
    zombie = box.server.connect()
    with zombie.cursor() as cursor:
        cursor.execute(f"SELECT * FROM tidegate.{left}")
        ledger.claim(ledger.acquire("shop", "me", 60), [TableName("ods", "t")])
        assert box.query(LEFT) == [(left,)]
    zombie.close()
    ledger.claim(ledger.acquire("shop", "me", 60), [TableName("ods", "t")])
    assert box.query(LEFT) == []


def test_rows_that_are_inserted_one_by_one_have_no_lanes() -> None:
    with pytest.raises(ConfigError, match="method='copy'"):
        WriteOptions(method="insert", parallelism=2)


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=altered_histories(), limit=st.integers(2, 9), parallelism=st.integers(1, 4), stop=st.integers(0, 10))
def test_a_sync_with_lanes_ends_equal_to_the_source(
    box: AdbpgBox, log: list[Transaction], limit: int, parallelism: int, stop: int
) -> None:
    box.execute("DROP SCHEMA IF EXISTS ods, tidegate CASCADE", "CREATE SCHEMA ods")
    source = FakeSource(SCHEMAS, log, grows=True)
    sync = sync_of(WriteOptions(batch_rows=limit, parallelism=parallelism, on_ddl="resync"), ORDERS)
    for visible in (min(stop, len(log)), len(log)):
        source.visible = max(source.visible, visible)
        run(sync, source, box.sink, owner="scheduler")
    names = SCHEMAS[ORDERS].names
    found = box.query(f"SELECT {', '.join(names)} FROM ods.orders")
    assert {row[:2]: dict(zip(names, row, strict=True)) for row in found} == source.state(ORDERS)
    assert box.query(LEFT) == []


# Killed at any statement

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.providers.adbpg.test_lanes", "psycopg2"])


def _log() -> list[Transaction]:
    """Inserts, then updates of half of them and deletes of a quarter, in transactions of one change each."""
    first = [{"id": at, "region": "x", "a": "n", "b": at, "v": 1} for at in range(16)]
    second = [{**row, "a": "m", "v": 2} for row in first[::2]]
    third: list[Transaction] = [[(ORDERS, Change(row, None))] for row in first[1::4]]
    inserts: list[Transaction] = [[(ORDERS, Change(None, row))] for row in first]
    updates: list[Transaction] = [[(ORDERS, Change(old, new))] for old, new in zip(first[::2], second, strict=True)]
    return [*inserts, *updates, *third]


def _run(values: Mapping[str, Any], owner: str) -> None:
    log = _log()
    sink = open_sink(SYSTEM.values(values, "warehouse"), "warehouse")
    write_options = WriteOptions(batch_rows=10, parallelism=3, flush_interval=1)
    sync = sync_of(write_options, ORDERS)
    source = FakeSource(SCHEMAS, log)
    entry = sink.ledger.last("shop").get(ORDERS)
    if entry is None or isinstance(entry.position, SnapshotPosition):
        run(sync, source, sink, owner=owner)
    source.visible = len(log)
    run(sync, source, sink, owner=owner)
    sink.close()


def _child(values: Mapping[str, Any], at: int, out: Any) -> None:
    lanes.LANE_ROWS = 2
    count, lock = 0, threading.Lock()

    def watched(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            for step in range(2):  # before it and after
                with lock:
                    count += 1
                    if count == at:
                        os.kill(os.getpid(), signal.SIGKILL)
                if step == 0:
                    result = inner(*args, **kwargs)
            return result

        return call

    for name in ("run", "copy_in", "commit"):
        setattr(Session, name, watched(getattr(Session, name)))
    _run(values, "crash test")
    out.send(count)


def _run_and_kill(values: Mapping[str, Any], at: int) -> int | None:
    receiver, sender = _context.Pipe(duplex=False)
    child = _context.Process(target=_child, args=(values, at, sender))
    child.start()
    sender.close()
    child.join(120)
    assert child.exitcode is not None, "the run hangs"
    if at and child.exitcode == -signal.SIGKILL:
        return None
    assert child.exitcode == 0
    count: int = receiver.recv()
    return count


def _check(box: AdbpgBox) -> None:
    source = FakeSource(SCHEMAS, _log(), visible=len(_log()))
    names = SCHEMAS[ORDERS].names
    found = box.query(f"SELECT {', '.join(names)} FROM ods.orders")
    assert {row[:2]: dict(zip(names, row, strict=True)) for row in found} == source.state(ORDERS)
    assert box.query("SELECT sum(rows) FROM tidegate.tidegate_ledger") == [(len(_log()),)]
    assert box.query(LEFT) == []


def test_a_run_with_lanes_that_is_killed_at_any_statement_writes_each_change_once(box: AdbpgBox) -> None:
    """A few statements of the loads by default; every one with the soak tests."""
    _steps(box, 6)


@pytest.mark.soak
def test_a_run_with_lanes_that_is_killed_at_every_statement_writes_each_change_once(box: AdbpgBox) -> None:
    _steps(box, None)


def _steps(box: AdbpgBox, samples: int | None) -> None:
    values = box.server.values()

    def clean() -> None:
        box.execute("DROP SCHEMA ods CASCADE", "DROP SCHEMA tidegate CASCADE", "CREATE SCHEMA ods")

    clean()
    total = _run_and_kill(values, 0)
    assert total is not None
    _check(box)
    steps = range(1, total + 1) if samples is None else np.linspace(total * 0.4, total * 0.95, samples, dtype=int).tolist()
    kills = left = 0
    for at in steps:
        clean()
        if _run_and_kill(values, at) is None:
            kills += 1
        left += len(box.query(LEFT))
        _run(values, "crash test")
        _check(box)
    assert kills > len(steps) // 2
    assert left, "no kill met a lane's table: the test shows nothing"
