"""MariaDB into PostgreSQL, end to end: under a running writer, and killed at every step."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.crash import run_and_kill
from tests.servers import MySqlServer, PostgresServer
from tests.shop import KEYS, TABLES, Shop, assert_equal, target_rows
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, EventRefused, PreflightError, SyncBusy, TidegateError
from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.results import SyncResult
from tidegate.sync.resync import resync
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


def _while_writing(shop: Shop, work: Callable[[], object]) -> None:
    """Do the work while a writer changes all tables."""
    stop = threading.Event()

    def write() -> None:
        connection = shop.server.connect(database=shop.database)
        while not stop.is_set():
            shop.run(5, connection)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        work()
    finally:
        stop.set()
        writer.join()


def _under_a_writer(shop: Shop, target: PostgresServer, rows: int, runs: int, **options: Any) -> None:
    """Runs, one after the other, while a writer changes all tables; equal once it has stopped."""
    shop.fill(rows)
    _while_writing(shop, lambda: [sync_once(shop, target, **options) for _ in range(runs)])
    sync_once(shop, target, **options)
    assert_equal(shop, target)


def test_copy_and_catch_ups_under_a_running_writer_end_equal(shop: Shop, pg_database: PostgresServer) -> None:
    _under_a_writer(shop, pg_database, rows=1000, runs=3, batch_rows=200)


@pytest.mark.soak
def test_a_hundred_thousand_rows_under_a_running_writer_end_equal(shop: Shop, pg_database: PostgresServer) -> None:
    _under_a_writer(shop, pg_database, rows=33_400, runs=6, batch_rows=5000)


LOGS = (
    "CREATE SCHEMA ods",
    "CREATE TABLE ods.customers (id bigint, name varchar(40), note text, vip smallint, op text, n bigserial)",
    "CREATE TABLE ods.orders (id numeric, customer int, total numeric(12,2), at timestamp(6), memo text, op text, n bigserial)",
    "CREATE TABLE ods.order_items (order_id numeric(20,0), line int, sku text, price numeric(10,4), op text, n bigserial)",
)
"""Tables that number the rows as they come: a table has no order of its own, not even by ctid."""


def test_append_holds_every_change_once_and_replays_to_the_source(shop: Shop, pg_database: PostgresServer) -> None:
    """Copied in one view, then under a writer: the log applied in order gives the source's rows, and no row more than once."""
    shop.fill(200)
    pg_database.execute(*LOGS)
    _while_writing(shop, lambda: [sync_once(shop, pg_database, write_mode="append", op_column="op") for _ in range(3)])
    sync_once(shop, pg_database, write_mode="append", op_column="op")
    for table in TABLES:
        width = len(KEYS[table])
        connection = pg_database.connect()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT op, * FROM ods.{table} ORDER BY n")
            log = cursor.fetchall()
        connection.close()
        state: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for op, *values in log:
            row = tuple(values[:-2])
            key = row[:width]
            if op in ("INSERT", "UPDATE_AFTER"):
                assert key not in state, f"{op} of a row that is there: a change stands twice"
                state[key] = row
            else:
                assert state.pop(key) == row, f"{op} of another row than the one that was there"
        assert [state[key] for key in sorted(state)] == shop.rows(table)


def test_replace_ends_with_exactly_the_rows_of_the_source(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(120)
    sync_once(shop, pg_database, name="first")
    shop.run(40)
    pg_database.execute(
        "INSERT INTO ods.customers VALUES (999999, 'stays nowhere', NULL, 0)", "DELETE FROM tidegate.tidegate_lease"
    )
    result = sync_once(shop, pg_database, name="second", initial="replace", batch_rows=50)
    assert_equal(shop, pg_database)
    assert (result.table(f"{shop.database}.customers").write.deleted or 0) > 0


def test_a_resync_copies_one_table_again_and_the_others_go_on(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(80)
    sync_once(shop, pg_database)
    table = TableName(shop.database, "orders")
    shop.run(20)
    shop.server.execute(f"TRUNCATE {table}", f"INSERT INTO {table} (id) VALUES (1), (2)")
    shop.ids["orders"] = [(1,), (2,)]
    pg_database.execute("UPDATE ods.orders SET memo = 'damaged'")
    with pytest.raises(EventRefused, match=r"TRUNCATE.*\(tidegate resync\)"):
        sync_once(shop, pg_database, on_ddl="fail")
    source = systems()["mysql"].open_source(shop.server.values(), "shop_mysql")
    sink = systems()["postgres"].open_sink(pg_database.values(), "warehouse")
    with closing(source), closing(sink):
        resync(Sync.of("shop", tables_of(shop), schema="ods"), source, sink, [table], owner="somebody")
    result = sync_once(shop, pg_database, batch_rows=1)
    assert_equal(shop, pg_database)
    phases = {item.source.partition(".")[2]: item.phase for item in result.tables}
    assert phases == {"customers": "changes", "orders": "snapshot", "order_items": "changes"}


def test_a_resync_keeps_the_rows_that_ignored_deletes_have_kept(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(5)
    sync_once(shop, pg_database, delete_mode="ignore")
    before = {row[0] for row in shop.rows("customers")}
    shop.server.execute(f"TRUNCATE {shop.database}.customers", f"INSERT INTO {shop.database}.customers VALUES (77, 'new', NULL, 0)")
    source = systems()["mysql"].open_source(shop.server.values(), "shop_mysql")
    sink = systems()["postgres"].open_sink(pg_database.values(), "warehouse")
    sync = Sync.of("shop", tables_of(shop), schema="ods", options=WriteOptions(delete_mode="ignore"))
    with closing(source), closing(sink):
        resync(sync, source, sink, [TableName(shop.database, "customers")], owner="somebody")
    sync_once(shop, pg_database, delete_mode="ignore")
    assert {row[0] for row in target_rows(pg_database, "ods", "customers")} == before | {77}


def test_merge_leaves_the_rows_that_the_source_does_not_have(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(20)
    sync_once(shop, pg_database, name="first")
    pg_database.execute("INSERT INTO ods.customers VALUES (999999, 'stays', NULL, 0)", "DELETE FROM tidegate.tidegate_lease")
    sync_once(shop, pg_database, name="second", initial="merge")
    assert set(target_rows(pg_database, "ods", "customers")) - set(shop.rows("customers")) == {(999999, "stays", None, 0)}


def test_soft_deletes_keep_the_row_and_its_mark_until_the_key_comes_back(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(60)
    options = {"delete_mode": "soft", "soft_delete_column": "gone"}
    sync_once(shop, pg_database, **options)
    before = {table: {row[: len(KEYS[table])] for row in shop.rows(table)} for table in TABLES}
    shop.run(60)
    sync_once(shop, pg_database, **options)
    for table in TABLES:
        rows = target_rows(pg_database, "ods", table)
        assert [row[:-1] for row in rows if not row[-1]] == shop.rows(table)
        assert before[table] <= {row[: len(KEYS[table])] for row in rows}


@pytest.mark.parametrize("method", ["insert", "upsert"])
def test_the_other_ways_to_write_end_in_the_same_rows(shop: Shop, pg_database: PostgresServer, method: str) -> None:
    shop.fill(80)
    sync_once(shop, pg_database, method=method, batch_rows=30)
    shop.run(40)
    sync_once(shop, pg_database, method=method)
    assert_equal(shop, pg_database)


def test_a_table_that_gained_a_column_goes_on_with_it(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(10)
    sync_once(shop, pg_database)
    shop.run(5)
    shop.server.execute(
        f"ALTER TABLE {shop.database}.customers ADD COLUMN email VARCHAR(50)",
        f"UPDATE {shop.database}.customers SET email = 'a@b.example' WHERE id IS NOT NULL LIMIT 3",
    )
    sync_once(shop, pg_database)
    assert target_rows(pg_database, "ods", "customers") == shop.rows("customers")


def test_overwrite_is_no_way_to_keep_a_table_in_step(shop: Shop, pg_database: PostgresServer) -> None:
    """Each chunk of changes would replace all rows that came before it."""
    shop.fill(3)
    with pytest.raises(TidegateError, match="write_mode"):
        sync_once(shop, pg_database, write_mode="overwrite")


def test_a_target_table_that_was_dropped_is_not_begun_again_with_changes_alone(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(3)
    sync_once(shop, pg_database)
    pg_database.execute("DROP TABLE ods.customers")
    shop.run(3)
    with pytest.raises(PreflightError, match=r"ods\.customers: the table is gone"):
        sync_once(shop, pg_database)


def test_a_target_that_was_renamed_in_the_options_is_not_begun_with_changes_alone(shop: Shop, pg_database: PostgresServer) -> None:
    shop.fill(3)
    sync_once(shop, pg_database)
    shop.run(3)
    source = systems()["mysql"].open_source(shop.server.values(), "shop_mysql")
    sink = systems()["postgres"].open_sink(pg_database.values(), "warehouse")
    sync = Sync.of("shop", tables_of(shop), schema="elsewhere")
    with closing(source), closing(sink), pytest.raises(ConfigError, match=r"ods\.customers so far"):
        run(sync, source, sink, owner="test")


SMALL = {"batch_rows": 20, "max_retries": 0}


def _fresh(target: PostgresServer) -> None:
    """Empty the database, ledger included."""
    target.execute(
        "DO $$ DECLARE name text; BEGIN "
        "FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_|tidegate_sandbox)' "
        "LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP; END $$",
        "CREATE SCHEMA public",
    )


@pytest.fixture(
    params=[
        pytest.param(("postgres", 29), id="postgres-some"),
        pytest.param(("gaussdb", 97), id="gaussdb-few"),
        pytest.param(("adbpg", 97), id="adbpg-few"),
        *(pytest.param((system, 1), id=f"{system}-every", marks=pytest.mark.soak) for system in ("postgres", "gaussdb", "adbpg")),
    ]
)
def killed(request: pytest.FixtureRequest) -> tuple[str, PostgresServer, int]:
    """A system, a database on it, and every how many steps a run is killed."""
    system, stride = request.param
    return system, request.getfixturevalue("pg_database" if system == "postgres" else f"{system}_database"), stride


def _every_step(shop: Shop, killed: tuple[str, PostgresServer, int], prepare: Callable[[], object]) -> None:
    """Kill a run at each step; with a few more changes in between, the next run ends equal to the source."""
    system, target, stride = killed
    run_it = functools.partial(run_and_kill, shop.server.values(), target.values(), tables_of(shop), SMALL, system=system)
    _fresh(target)
    prepare()
    steps = run_it()
    assert steps is not None
    for step in range(1, steps + 1, stride):
        _fresh(target)
        prepare()
        assert run_it(at=step) is None or step > steps - 8, f"step {step} of {steps} was not reached"
        shop.run(1)
        run_it()
        assert_equal(shop, target, empty_is_null=system == "gaussdb")


@pytest.mark.crash
def test_a_copy_killed_at_any_step_is_finished_by_the_next_run(shop: Shop, killed: tuple[str, PostgresServer, int]) -> None:
    shop.fill(45)
    _every_step(shop, killed, lambda: None)


@pytest.mark.crash
def test_a_catch_up_killed_at_any_step_is_finished_by_the_next_run(shop: Shop, killed: tuple[str, PostgresServer, int]) -> None:
    shop.fill(30)
    system, target, _ = killed

    def prepare() -> None:
        run_and_kill(shop.server.values(), target.values(), tables_of(shop), SMALL, system=system)
        shop.run(20)

    _every_step(shop, killed, prepare)
