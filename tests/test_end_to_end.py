"""MariaDB into PostgreSQL, end to end: under a running writer, and killed at every step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.crash import run_and_kill
from tests.servers import MySqlServer, PostgresServer
from tests.shop import TABLES, Shop, assert_equal
from tidegate.errors import SyncBusy
from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.results import SyncResult
from tidegate.sync.run import run

pytestmark = [pytest.mark.mysql, pytest.mark.postgres]


@pytest.fixture
def shop(mariadb: MySqlServer, database: str) -> Shop:
    made = Shop(mariadb, database)
    made.create()
    return made


def tables_of(shop: Shop) -> list[str]:
    return [f"{shop.database}.{table}" for table in TABLES]


def sync_once(shop: Shop, target: PostgresServer, *, name: str = "shop", **options: Any) -> SyncResult:
    source = systems()["mysql"].open_source(shop.server.values(), "shop_mysql")
    sink = systems()["postgres"].open_sink(target.values(), "warehouse")
    sync = Sync.of(name, tables_of(shop), schema="ods", options=WriteOptions.of(options))
    with closing(source), closing(sink):
        return run(sync, source, sink, owner="test")


def test_a_copy_then_changes_leave_the_target_equal_to_the_source(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(250)
    first = sync_once(shop, pg_database, batch_rows=100)
    assert_equal(shop, pg_database)
    assert {table.phase for table in first.tables} == {"snapshot"}
    assert first.rows == 750
    shop.run(60)
    second = sync_once(shop, pg_database)
    assert_equal(shop, pg_database)
    assert {table.phase for table in second.tables} == {"changes"}
    assert second.rows > 0
    third = sync_once(shop, pg_database)
    assert third.rows == 0


def test_a_second_sync_on_the_same_target_tables_is_refused(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(1)
    sync_once(shop, pg_database)
    with pytest.raises(Exception, match="belongs to the sync shop"):
        sync_once(shop, pg_database, name="another")


def test_a_sync_that_is_running_keeps_a_second_one_out(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(1)
    sink = systems()["postgres"].open_sink(pg_database.values(), "warehouse")
    with closing(sink):
        sink.ledger.setup()
        sink.ledger.acquire("shop", "somebody else", 60)
        with pytest.raises(SyncBusy, match="somebody else"):
            sync_once(shop, pg_database)


def _under_a_writer(shop: Shop, target: PostgresServer, rows: int, runs: int, **options: Any) -> None:
    """Runs, one after the other, while a writer changes all tables; equal once it has stopped."""
    shop.fill(rows)
    stop = threading.Event()

    def write() -> None:
        connection = shop.server.connect(database=shop.database)
        while not stop.is_set():
            shop.run(5, connection)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(runs):
            sync_once(shop, target, **options)
    finally:
        stop.set()
        writer.join()
    sync_once(shop, target, **options)
    assert_equal(shop, target)


def test_copy_and_catch_ups_under_a_running_writer_end_equal(shop: Shop, pg_database: PostgresServer) -> None:
    _under_a_writer(shop, pg_database, rows=1000, runs=3, batch_rows=200)


@pytest.mark.soak
def test_a_hundred_thousand_rows_under_a_running_writer_end_equal(shop: Shop, pg_database: PostgresServer) -> None:
    _under_a_writer(shop, pg_database, rows=33_400, runs=6, batch_rows=5000)


SMALL = {"batch_rows": 20, "max_retries": 0}


def _fresh(target: PostgresServer) -> Iterator[PostgresServer]:
    """The database emptied, ledger included."""
    target.execute(
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_)' "
        "LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP; END $$",
        "CREATE SCHEMA public",
    )
    yield target


def _every_step(shop: Shop, target: PostgresServer, prepare: Any, stride: int) -> None:
    """Kill a run at each step; with a few more changes in between, the next run ends equal to the source."""
    values = shop.server.values(), target.values()
    for _ in _fresh(target):
        prepare()
    steps = run_and_kill(*values, tables_of(shop), SMALL)
    assert steps is not None
    for step in range(1, steps + 1, stride):
        for _ in _fresh(target):
            prepare()
        killed = run_and_kill(*values, tables_of(shop), SMALL, step) is None
        assert killed or step > steps - 8, f"step {step} of {steps} was not reached"
        shop.run(1)
        run_and_kill(*values, tables_of(shop), SMALL)
        assert_equal(shop, target)


@pytest.mark.crash
@pytest.mark.parametrize("stride", [pytest.param(5, id="some"), pytest.param(1, id="every", marks=pytest.mark.soak)])
def test_a_copy_killed_at_any_step_is_finished_by_the_next_run(shop: Shop, pg_database: PostgresServer, stride: int) -> None:
    shop.fill(45)
    _every_step(shop, pg_database, lambda: None, stride)


@pytest.mark.crash
@pytest.mark.parametrize("stride", [pytest.param(5, id="some"), pytest.param(1, id="every", marks=pytest.mark.soak)])
def test_a_catch_up_killed_at_any_step_is_finished_by_the_next_run(shop: Shop, pg_database: PostgresServer, stride: int) -> None:
    shop.fill(30)

    def prepare() -> None:
        run_and_kill(shop.server.values(), pg_database.values(), tables_of(shop), SMALL)
        shop.run(20)

    _every_step(shop, pg_database, prepare, stride)
