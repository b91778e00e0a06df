"""The sync operator under Airflow: the example DAG with real servers, its results, and its retries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import airflow_home
from tests.airflow_home import fetch
from tests.servers import MySqlServer, PostgresServer, free_port
from tidegate.changes.position import BinlogPosition, SegmentPosition
from tidegate.operators.sync import event_extra, summary
from tidegate.sync.results import SyncResult, TableResult, WriteResult

pytestmark = pytest.mark.airflow

TABLES = ("customers", "orders", "order_items")


@pytest.fixture
def shop(mariadb: MySqlServer) -> Iterator[MySqlServer]:
    """A shop with two customers, three orders and four items."""
    mariadb.execute(
        "DROP DATABASE IF EXISTS shop",
        "CREATE DATABASE shop",
        "CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(50) NOT NULL)",
        "CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, customer INT NOT NULL, total DECIMAL(9,2), placed DATETIME(3))",
        "CREATE TABLE shop.order_items (order_id BIGINT, line INT, article VARCHAR(20), PRIMARY KEY (order_id, line))",
        "INSERT INTO shop.customers VALUES (1, 'Åsa'), (2, 'Bo')",
        "INSERT INTO shop.orders VALUES (1, 1, 9.90, '2026-01-01 10:00:00.5'), (2, 1, NULL, NULL), (3, 2, 5, NULL)",
        "INSERT INTO shop.order_items VALUES (1, 1, 'tea'), (1, 2, 'cup'), (2, 1, 'pot'), (3, 1, 'tea')",
    )
    yield mariadb
    mariadb.execute("DROP DATABASE shop")


def connect(monkeypatch: pytest.MonkeyPatch, shop: MySqlServer, warehouse: PostgresServer, *types: str) -> None:
    source, sink = types or ("mysqlcdc", "tidegatepg")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_MYSQL", airflow_home.mysql_connection(shop, source))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.postgres_connection(warehouse, sink))


def result_of(run: Any) -> Any:
    return run.get_task_instance("shop_to_ods").xcom_pull(task_ids="shop_to_ods")


@pytest.mark.mysql
@pytest.mark.postgres
@pytest.mark.parametrize("types", [("mysqlcdc", "tidegatepg"), ("mysql", "postgres")], ids=["ours", "airflows"])
def test_the_example_copies_first_and_then_brings_what_changed(
    shop: MySqlServer, pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch, types: tuple[str, str]
) -> None:
    connect(monkeypatch, shop, pg_database, *types)
    dag = airflow_home.load_dag("mysql_cdc_to_postgres")

    first = airflow_home.run_dag(dag)
    assert first.state == "success"
    assert fetch(pg_database, "SELECT id, total::text FROM ods.orders ORDER BY id") == [(1, "9.90"), (2, None), (3, "5.00")]
    tables = result_of(first)["tables"]
    assert [tables[f"shop.{name}"]["write"]["inserted"] for name in TABLES] == [2, 3, 4]
    assert {table["phase"] for table in tables.values()} == {"snapshot"}

    shop.execute(
        "UPDATE shop.orders SET total = 12.5 WHERE id = 2",
        "DELETE FROM shop.orders WHERE id = 3",
        "INSERT INTO shop.orders VALUES (4, 2, 1, NULL)",
        "UPDATE shop.order_items SET line = 5 WHERE order_id = 1 AND line = 2",
    )
    second = airflow_home.run_dag(dag)
    assert second.state == "success"
    assert fetch(pg_database, "SELECT id, total::text FROM ods.orders ORDER BY id") == [(1, "9.90"), (2, "12.50"), (4, "1.00")]
    assert fetch(pg_database, "SELECT line FROM ods.order_items WHERE order_id = 1 ORDER BY 1") == [(1,), (5,)]
    result = result_of(second)
    assert json.loads(json.dumps(result)) == result
    write = result["tables"]["shop.orders"]["write"]
    assert (write["rows"], write["inserted"], write["updated"], write["deleted"]) == (3, 1, 1, 1)
    assert result["tables"]["shop.customers"]["write"]["rows"] == 0

    third = result_of(airflow_home.run_dag(dag))
    assert {table["phase"] for table in third["tables"].values()} == {"idle"}


@pytest.mark.mysql
@pytest.mark.postgres
def test_each_table_has_an_asset_event_with_its_rows_and_position(
    shop: MySqlServer, pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, shop, pg_database)
    run = airflow_home.run_dag(airflow_home.load_dag("mysql_cdc_to_postgres"))
    for name, rows in zip(TABLES, (2, 3, 4), strict=True):
        event = airflow_home.asset_events(f"tidegate://warehouse/ods/{name}")[-1]
        assert (event["sync"], event["source"], event["phase"]) == ("shop_to_ods", f"shop.{name}", "snapshot")
        assert (event["rows"], event["inserted"], event["updated"], event["deleted"]) == (rows, rows, 0, 0)
        position = result_of(run)["tables"][f"shop.{name}"]["position"]
        assert event["position"] == f"{position['file']}:{position['offset']}"


@pytest.mark.mysql
@pytest.mark.postgres
def test_what_somebody_has_to_change_first_is_not_retried(
    shop: MySqlServer, pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, shop, pg_database)
    shop.execute("DROP TABLE shop.order_items")
    run = airflow_home.run_dag(airflow_home.load_dag("mysql_cdc_to_postgres"))
    (task,) = run.get_task_instances()
    assert (run.state, task.state, task.try_number) == ("failed", "failed", 1)
    assert fetch(pg_database, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'ods'") == [(0,)]


BUSY = """
from datetime import timedelta
from airflow.sdk import DAG
from tests.operators.test_sync import let_go
from tidegate.operators import TidegateSyncOperator

with DAG("busy") as dag:
    TidegateSyncOperator(
        task_id="shop_to_ods", sync="busy", source_conn_id="shop_mysql", tables=["shop.orders"], sink_conn_id="warehouse",
        schema="ods", retries=1, retry_delay=timedelta(0), on_retry_callback=let_go,
    )
"""
held: list[Any] = []


def let_go(context: Any) -> None:
    sink, lease = held.pop()
    sink.ledger.release(lease)
    sink.close()


@pytest.mark.mysql
@pytest.mark.postgres
def test_what_passes_by_itself_is_retried(shop: MySqlServer, pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate.hooks import TidegateHook

    connect(monkeypatch, shop, pg_database)
    sink = TidegateHook("warehouse").sink()
    sink.ledger.setup()
    held.append((sink, sink.ledger.acquire("busy", "somebody else", 600)))
    run = airflow_home.run_dag(airflow_home.load_dag("busy", BUSY))
    (task,) = run.get_task_instances()
    assert (run.state, task.try_number) == ("success", 2)
    assert not held
    assert fetch(pg_database, "SELECT count(*) FROM ods.orders") == [(3,)]


@pytest.mark.mysql
@pytest.mark.postgres
def test_templates_and_options_of_one_table_reach_the_run(
    shop: MySqlServer, pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, shop, pg_database)
    code = """
from airflow.sdk import DAG
from tidegate.operators import TidegateSyncOperator

with DAG("templated", params={"tables": ["shop.orders", "shop.customers"], "schema": "dw", "rows": 2}) as dag:
    TidegateSyncOperator(
        task_id="shop_to_ods", sync="{{ dag.dag_id }}", source_conn_id="{{ 'shop' }}_mysql", tables="{{ params.tables }}",
        sink_conn_id="warehouse", schema="{{ params.schema }}", batch_rows="{{ params.rows }}",
        table_options={"shop.orders": {"target": "dw.placed", "delete_mode": "soft", "soft_delete_column": "gone"}},
    )
"""
    dag = airflow_home.load_dag("templated", code)
    assert dag.tasks[0].outlets == []
    assert airflow_home.run_dag(dag).state == "success"
    shop.execute("DELETE FROM shop.orders WHERE id = 2", "DELETE FROM shop.customers WHERE id = 2")
    run = airflow_home.run_dag(dag)
    assert result_of(run)["sync"] == "templated"
    assert fetch(pg_database, "SELECT id FROM dw.placed WHERE gone") == [(2,)]
    assert fetch(pg_database, "SELECT id FROM dw.customers") == [(1,)]


@pytest.mark.mysql
@pytest.mark.postgres
def test_the_example_replays_change_files_under_the_same_connection_name(
    shop: MySqlServer, pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from contextlib import closing

    from tidegate.hooks import TidegateHook
    from tidegate.sync.mapping import Sync
    from tidegate.sync.options import WriteOptions
    from tidegate.sync.run import run

    connect(monkeypatch, shop, pg_database)
    files = json.dumps({"conn_type": "changefiles", "extra": {"url": str(tmp_path / "stream")}})
    monkeypatch.setenv("AIRFLOW_CONN_RECORDING", files)
    as_it_is = WriteOptions(write_mode="append")
    record = Sync.of("record", [f"shop.{name}" for name in TABLES], schema="shop", options=as_it_is)
    for statement in ("SELECT 1", "DELETE FROM shop.orders WHERE id = 3"):
        shop.execute(statement)
        with closing(TidegateHook("shop_mysql").source()) as source, closing(TidegateHook("recording").sink()) as sink:
            run(record, source, sink, owner="test")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_MYSQL", files)
    replay = airflow_home.run_dag(airflow_home.load_dag("mysql_cdc_to_postgres"))
    assert replay.state == "success"
    assert fetch(pg_database, "SELECT id FROM ods.orders ORDER BY id") == [(1,), (2,)]
    assert result_of(replay)["tables"]["shop.orders"]["position"]["kind"] == "segment"


def test_a_server_that_is_away_is_retried_and_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from tidegate.errors import Unavailable
    from tidegate.operators import TidegateSyncOperator

    away = {"host": "127.0.0.1", "port": free_port(), "login": "me", "password": "opensesame"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_MYSQL", json.dumps({"conn_type": "mysqlcdc", **away}))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "tidegatepg", **away}))
    operator = TidegateSyncOperator(
        task_id="t", sync="s", source_conn_id="shop_mysql", tables=["shop.orders"], sink_conn_id="warehouse", max_retries=0
    )
    context: Any = {"ti": SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)}
    with pytest.raises(Unavailable) as caught:
        operator.execute(context)
    assert "opensesame" not in str(caught.value)


def a_result(rows: int, lag: float | None = None) -> SyncResult:
    position = BinlogPosition("binlog.000003", 4711, "1")
    moved = TableResult("shop.orders", "ods.orders", "changes", WriteResult(rows=rows, inserted=rows), position, rows, lag)
    idle = TableResult("shop.customers", "ods.customers", "idle", WriteResult(), SegmentPosition("s", 3))
    return SyncResult("shop_to_ods", (moved, idle), 2.12)


def test_the_last_line_says_what_a_person_wants_to_know() -> None:
    assert summary(a_result(1234, 0.52)) == "shop_to_ods: 1,234 rows into 1 of 2 tables in 2.1 s; 0.5 s behind the source"
    assert summary(a_result(1)) == "shop_to_ods: 1 rows into 1 of 2 tables in 2.1 s"
    assert summary(a_result(0, 0.0)) == "shop_to_ods: nothing new in 2 tables, 2.1 s"


def test_an_event_says_how_many_rows_and_up_to_where() -> None:
    orders, customers = (event_extra("s", table) for table in a_result(5, 0.5).tables)
    assert (orders["rows"], orders["inserted"], orders["deleted"]) == (5, 5, 0)
    assert (orders["position"], orders["lag_seconds"]) == ("binlog.000003:4711", 0.5)
    assert customers["position"] == "segment 3"
