"""MariaDB into StarRocks, end to end: by each interface, killed at any request, with every reply lost once, after an outage."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests import shop as shop_module
from tests.crash import run_and_kill
from tests.servers import MySqlServer, StarrocksServer, start_starrocks
from tests.shop import KEYS, TABLES, Shop
from tidegate.changes.schema import TableName
from tidegate.errors import LeaseLost, PermanentError, Unavailable
from tidegate.providers.starrocks.prepared import Prepared
from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.results import SyncResult
from tidegate.sync.resync import resync
from tidegate.sync.run import run

pytestmark = [pytest.mark.mysql, pytest.mark.starrocks]
_numbers = itertools.count()


@pytest.fixture
def shop(mariadb: MySqlServer, database: str) -> Shop:
    made = Shop(mariadb, database)
    made.create()
    return made


@pytest.fixture(scope="module")
def four() -> Iterator[StarrocksServer]:
    """StarRocks 4.0: one transaction takes the rows of all tables."""
    yield from _once(start_starrocks("--server-version", "4.0.1"))


def _once(server: StarrocksServer) -> Iterator[StarrocksServer]:
    yield server
    server.stop()


def tables_of(shop: Shop) -> list[str]:
    return [f"{shop.database}.{table}" for table in TABLES]


def sync_once(shop: Shop, target: StarrocksServer, *, values: dict[str, Any] | None = None, **options: Any) -> SyncResult:
    source = systems()["mysql"].open_source(shop.server.values(), "shop_mysql")
    sink = systems()["starrocks"].open_sink(target.values(**(values or {})), "warehouse")
    overrides = options.pop("overrides", None)
    start = options.pop("start", "snapshot")
    sync = Sync.of("shop", tables_of(shop), options=WriteOptions.of(options), overrides=overrides, start=start)
    with closing(source), closing(sink):
        return run(sync, source, sink, owner="test")


def rows_of(target: StarrocksServer, table: str) -> list[tuple[Any, ...]]:
    rows = target.query(f"SELECT * FROM {table} ORDER BY {', '.join(KEYS[table])}")
    return [tuple(int(value) if at == 0 else value for at, value in enumerate(row)) for row in rows]


def assert_equal(shop: Shop, target: StarrocksServer) -> None:
    for table in TABLES:
        assert rows_of(target, table) == shop.rows(table), table


def fresh(target: StarrocksServer) -> StarrocksServer:
    """Another database, ledger and labels included."""
    name = f"{target.database}_{next(_numbers)}"
    target.execute(f"CREATE DATABASE {name}")
    return dataclasses.replace(target, database=name)


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("format", ["json", "csv"])
def test_a_copy_then_changes_leave_the_target_equal_to_the_source(
    shop: Shop, starrocks_database: StarrocksServer, version: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"sink_version": version, "format": format}
    if format == "csv":
        # CSV can't tell the text \N from NULL, and transactions know no enclose.
        unsendable = ("\\N",) if version == "V1" else ("\\N", "tab\there", "line\nfeed")
        monkeypatch.setattr(shop_module, "_TEXTS", tuple(text for text in shop_module._TEXTS if text not in unsendable))
        if version == "V1":
            values["properties"] = json.dumps({"enclose": '"', "escape": "\\"})
    shop.fill(120)
    first = sync_once(shop, starrocks_database, values=values, batch_rows=50)
    assert_equal(shop, starrocks_database)
    assert (first.rows, {table.phase for table in first.tables}) == (360, {"snapshot"})
    shop.run(40)
    sync_once(shop, starrocks_database, values=values)
    assert_equal(shop, starrocks_database)
    assert sync_once(shop, starrocks_database, values=values).rows == 0


def test_with_transactions_over_tables_a_window_is_one_of_them(shop: Shop, four: StarrocksServer) -> None:
    target = fresh(dataclasses.replace(four, database="test"))
    shop.fill(30)
    sync_once(shop, target)
    shop.run(20)
    sync_once(shop, target)
    assert_equal(shop, target)
    labels = target.query("SELECT DISTINCT label FROM information_schema.loads WHERE db_name = %s", (target.database,))
    windows = [label for (label,) in labels if "-log-" not in label]
    assert len(windows) == len(TABLES) + 1  # a page of each copy, and the changes of all


@pytest.mark.parametrize("options", [{"conflict_mode": "ignore"}, {"delete_mode": "soft", "soft_delete_column": "gone"}])
def test_what_depends_on_the_row_that_is_there_is_looked_up(
    shop: Shop, starrocks_database: StarrocksServer, options: dict[str, Any]
) -> None:
    shop.fill(30)
    sync_once(shop, starrocks_database, **options)
    before = {table: shop.rows(table) for table in TABLES}
    shop.run(25)
    sync_once(shop, starrocks_database, **options)
    for table in TABLES:
        rows = rows_of(starrocks_database, table)
        now, width = shop.rows(table), len(KEYS[table])
        if "soft_delete_column" in options:
            assert [row[:-1] for row in rows if not row[-1]] == now
            assert {row[:width] for row in rows} >= {row[:width] for row in before[table]}
        else:
            assert {row[:width] for row in rows} == {row[:width] for row in now}


APPEND: dict[str, Any] = {"write_mode": "append", "op_column": "op"}


def replayed(target: StarrocksServer, table: str) -> list[tuple[Any, ...]]:
    """The log of a table applied in the order of its events: each must fit what came before, so none stands twice."""
    width = len(KEYS[table])
    own = ("op", "tidegate_file", "tidegate_offset", "tidegate_row", *KEYS[table])
    names = [*KEYS[table], *(name for (name, *_) in target.query(f"DESC {table}") if name not in own)]
    log = target.query(
        f"SELECT op, {', '.join(names)} FROM {table} ORDER BY tidegate_file IS NOT NULL, tidegate_file, tidegate_offset, "
        "tidegate_row, CASE op WHEN 'UPDATE_BEFORE' THEN 0 ELSE 1 END"
    )
    state: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for op, *values in log:
        row = tuple(int(value) if at == 0 else value for at, value in enumerate(values))
        key = row[:width]
        if op in ("INSERT", "UPDATE_AFTER"):
            assert key not in state, f"{op} of a row that is there: a change stands twice"
            state[key] = row
        else:
            assert state.pop(key) == row, f"{op} of another row than the one that was there"
    return [state[key] for key in sorted(state)]


def test_append_holds_every_change_once_and_replays_to_the_source(shop: Shop, starrocks_database: StarrocksServer) -> None:
    shop.fill(40)
    for _ in range(3):
        sync_once(shop, starrocks_database, **APPEND)
        shop.run(15)
    sync_once(shop, starrocks_database, **APPEND)
    for table in TABLES:
        assert replayed(starrocks_database, table) == shop.rows(table)


SMALL: dict[str, Any] = {"batch_rows": 20, "max_retries": 0}


def _every_step(
    shop: Shop,
    server: StarrocksServer,
    points: int | None,
    values: dict[str, Any],
    options: dict[str, Any],
    prepare: Callable[[StarrocksServer], object],
    check: Callable[[StarrocksServer], None],
) -> None:
    """Kill a run at so many of its steps, or at each; with a change in between, the next run ends as one that was never killed."""

    def run_it(target: StarrocksServer, at: int = 0) -> int | None:
        return run_and_kill(shop.server.values(), target.values(**values), tables_of(shop), options, at=at, system="starrocks")

    target = fresh(server)
    prepare(target)
    steps = run_it(target)
    assert steps is not None
    stride = 1 if points is None else max(1, steps // points)
    for step in range(stride // 2 + 1, steps + 1, stride):
        target = fresh(server)
        prepare(target)
        assert run_it(target, step) is None or step > steps - 20, f"step {step} of {steps} was not reached"
        shop.run(1)
        run_it(target)
        check(target)


def _every(*cases: Any) -> list[Any]:
    """Each case with all of its steps."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), None, marks=pytest.mark.soak, id=f"{case}-every")
        for case in cases
    ]


MODES = [("upsert", version) for version in ("V1", "V2", "4.0")] + [("append", version) for version in ("V1", "V2", "4.0")]
FEW = [("append", "V1"), ("upsert", "V2")]


@pytest.mark.crash
@pytest.mark.parametrize(("version", "points"), _every("V1", "V2"))
def test_a_copy_killed_at_any_request_is_finished_by_the_next_run(
    shop: Shop, starrocks_database: StarrocksServer, version: str, points: int | None
) -> None:
    shop.fill(45)
    check = functools.partial(assert_equal, shop)
    _every_step(shop, starrocks_database, points, {"sink_version": version}, SMALL, lambda _: None, check)


@pytest.mark.crash
@pytest.mark.parametrize(
    ("mode", "version", "points"), [*(pytest.param(*case, 2, id=f"{case[0]}-{case[1]}-few") for case in FEW), *_every(*MODES)]
)
def test_a_catch_up_killed_at_any_request_is_finished_by_the_next_run(
    shop: Shop, starrocks_database: StarrocksServer, four: StarrocksServer, mode: str, version: str, points: int | None
) -> None:
    server = dataclasses.replace(four, database="test") if version == "4.0" else starrocks_database
    values = {} if version == "4.0" else {"sink_version": version}
    options = SMALL | (APPEND if mode == "append" else {})
    shop.fill(30)

    def prepare(target: StarrocksServer) -> None:
        # The copy of a log needs transactions.
        run_and_kill(shop.server.values(), target.values(), tables_of(shop), options, system="starrocks")
        shop.run(20)

    def check(target: StarrocksServer) -> None:
        for table in TABLES:
            rows = replayed(target, table) if mode == "append" else rows_of(target, table)
            assert rows == shop.rows(table), table

    _every_step(shop, server, points, values, options, prepare, check)


def _resync(shop: Shop, target: StarrocksServer, values: dict[str, Any]) -> None:
    source = systems()["mysql"].open_source(shop.server.values(), "shop_mysql")
    sink = systems()["starrocks"].open_sink(target.values(**values), "warehouse")
    with closing(source), closing(sink):
        resync(Sync.of("shop", tables_of(shop)), source, sink, [TableName(shop.database, "orders")], owner="somebody")


@pytest.mark.parametrize("values", [{}, {"sink_version": "V1"}])
def test_a_resync_copies_the_table_beside_the_old_one(
    shop: Shop, starrocks_database: StarrocksServer, values: dict[str, Any]
) -> None:
    shop.fill(40)
    sync_once(shop, starrocks_database, values=values)
    starrocks_database.execute("UPDATE orders SET memo = 'damaged' WHERE 1 = 1", "INSERT INTO orders (id) VALUES (999999)")
    _resync(shop, starrocks_database, values)
    shop.run(5)
    sync_once(shop, starrocks_database, values=values, batch_rows=20)
    assert_equal(shop, starrocks_database)


@pytest.mark.crash
@pytest.mark.parametrize(("version", "points"), [pytest.param("4.0", 2, id="4.0-few"), *_every("V1", "V2", "4.0")])
def test_a_resync_killed_at_any_request_is_finished_by_the_next_run(
    shop: Shop, starrocks_database: StarrocksServer, four: StarrocksServer, version: str, points: int | None
) -> None:
    server = dataclasses.replace(four, database="test") if version == "4.0" else starrocks_database
    values = {} if version == "4.0" else {"sink_version": version}
    shop.fill(45)

    def prepare(target: StarrocksServer) -> None:
        run_and_kill(shop.server.values(), target.values(**values), tables_of(shop), SMALL, system="starrocks")
        _resync(shop, target, values)

    _every_step(shop, server, points, values, SMALL, prepare, functools.partial(assert_equal, shop))


@pytest.mark.parametrize("mode", ["upsert", "append"])
@pytest.mark.parametrize(
    ("version", "operations"), [("V1", ["stream_load", "state"]), ("V2", ["begin", "load", "prepare", "commit"])]
)
def test_every_reply_that_is_lost_once_leaves_the_same_rows(
    shop: Shop, starrocks_database: StarrocksServer, mode: str, version: str, operations: list[str]
) -> None:
    options: dict[str, Any] = SMALL | {"max_retries": 3, "retry_wait": 0} | (APPEND if mode == "append" else {})
    shop.fill(15)
    sync_once(shop, starrocks_database, **options)
    for operation in operations:
        shop.run(12)
        starrocks_database.fault("lost_reply", on=operation, nth=2)
        sync_once(shop, starrocks_database, values={"sink_version": version}, **options)
        starrocks_database.control("DELETE", "/faults")
        for table in TABLES:
            rows = replayed(starrocks_database, table) if mode == "append" else rows_of(starrocks_database, table)
            assert rows == shop.rows(table), (operation, table)


def _killed_after_it_decided(shop: Shop, target: StarrocksServer, options: dict[str, Any]) -> None:
    """A run that died with its loads prepared and its decision recorded, before the first commit."""

    def die(*_: object) -> None:
        raise Unavailable("the process is gone")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Prepared, "commit", die)
        with pytest.raises(Unavailable, match="the process is gone"):
            sync_once(shop, target, **options)


@pytest.mark.parametrize("mode", ["upsert", "append"])
@pytest.mark.parametrize("hours", [0, 30, 24 * 5])
def test_after_an_outage_what_was_decided_is_there_once(shop: Shop, mode: str, hours: int) -> None:
    """At once; after the prepared transactions' time; after the labels' time, too."""
    options: dict[str, Any] = SMALL | {"retry_wait": 0} | (APPEND if mode == "append" else {})
    with closing_server(start_starrocks()) as server:
        target = fresh(dataclasses.replace(server, database="test"))
        shop.fill(10)
        sync_once(shop, target, **options)
        shop.run(10)
        _killed_after_it_decided(shop, target, options)
        if hours:
            target.control("POST", "/clock", forward=hours * 3600)
        sync_once(shop, target, **options)
        for table in TABLES:
            rows = replayed(target, table) if mode == "append" else rows_of(target, table)
            assert rows == shop.rows(table), table


class closing_server:
    def __init__(self, server: StarrocksServer) -> None:
        self.server = server

    def __enter__(self) -> StarrocksServer:
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.stop()


def test_a_run_that_was_taken_over_commits_nothing(shop: Shop, starrocks_database: StarrocksServer) -> None:
    shop.fill(5)
    sync_once(shop, starrocks_database)
    sink = systems()["starrocks"].open_sink(starrocks_database.values(), "warehouse")
    other = systems()["starrocks"].open_sink(starrocks_database.values(), "warehouse")
    source = systems()["mysql"].open_source(shop.server.values(), "shop_mysql")
    with closing(sink), closing(other), closing(source):
        zombie = sink.ledger.acquire("shop", "zombie", 0.0)
        rescuer = other.ledger.acquire("shop", "rescuer", 60.0)
        with pytest.raises(LeaseLost, match="rescuer took over"):
            sink.ledger.record(zombie, [])
        other.ledger.release(rescuer)
    sync_once(shop, starrocks_database)
    assert_equal(shop, starrocks_database)


def test_a_frontend_that_is_gone_is_passed_over(shop: Shop) -> None:
    with closing_server(start_starrocks()) as server:
        target = fresh(dataclasses.replace(server, database="test"))
        shop.fill(10)
        sync_once(shop, target)
        shop.run(10)
        target.control("POST", "/frontend", name="leader", up=False)
        sync_once(shop, target)
        target.control("POST", "/frontend", name="leader", up=True)
        assert_equal(shop, target)


def test_replace_ends_with_exactly_the_rows_of_the_source_and_never_shows_less(
    shop: Shop, starrocks_database: StarrocksServer
) -> None:
    shop.fill(20)
    starrocks_database.execute(
        "CREATE TABLE customers (id BIGINT NOT NULL, name VARCHAR(160), note VARCHAR(65533), vip TINYINT) PRIMARY KEY (id) "
        "DISTRIBUTED BY HASH (id)",
        "INSERT INTO customers VALUES (999999, 'stays nowhere', NULL, 0)",
    )
    with pytest.raises(PermanentError, match="holds rows"):
        sync_once(shop, starrocks_database)
    sync_once(shop, starrocks_database, initial="replace")
    assert_equal(shop, starrocks_database)
    names = {name for (name,) in starrocks_database.query("SHOW TABLES")}
    assert names >= {"customers", "tidegate_ledger"}
    assert not [name for name in names if name.endswith("_copy")]


def test_truncate_and_an_added_column_are_followed(shop: Shop, starrocks_database: StarrocksServer) -> None:
    shop.fill(10)
    sync_once(shop, starrocks_database)
    database = shop.database
    shop.run(5)
    shop.server.execute(f"TRUNCATE {database}.orders", f"INSERT INTO {database}.orders (id, memo) VALUES (1, 'after')")
    shop.server.execute(f"ALTER TABLE {database}.customers ADD COLUMN level INT NOT NULL DEFAULT 3")
    shop.server.execute(f"INSERT INTO {database}.customers (id, name, vip, level) VALUES (88888, 'new', 0, 4)")
    sync_once(shop, starrocks_database)
    assert rows_of(starrocks_database, "orders") == shop.rows("orders")
    assert rows_of(starrocks_database, "customers") == shop.rows("customers")
