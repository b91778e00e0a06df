"""The write operators: rows from a file, a query or another task, into a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import OutletEventAccessors

from tests import airflow_home
from tests.servers import PostgresServer, free_port
from tidegate.errors import ConfigError, Unavailable
from tidegate.operators import TidegateDeleteOperator, TidegateUpsertOperator

pytestmark = pytest.mark.airflow

WRITE: dict[str, Any] = {"task_id": "t", "table": "ods.orders", "sink_conn_id": "warehouse"}
ORDERS = [{"id": 1, "status": "new"}, {"id": 2, "status": "paid"}]


def context(run_id: str = "run") -> Any:
    ti = SimpleNamespace(dag_id="d", task_id="t", run_id=run_id, map_index=-1)
    return {"ti": ti, "outlet_events": OutletEventAccessors()}


@pytest.fixture
def warehouse(pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """The connection warehouse to a database with an empty table ods.orders; reads it."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.postgres_connection(pg_database))
    pg_database.execute("CREATE SCHEMA ods", "CREATE TABLE ods.orders (id int PRIMARY KEY, status text, code text)")

    def read() -> list[Any]:
        return airflow_home.fetch(pg_database, "SELECT * FROM ods.orders ORDER BY id")

    return read


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "given: none"),
        ({"path": "/a.csv", "rows": []}, "given: path, rows"),
        ({"sql": "SELECT 1"}, "sql_conn_id"),
        ({"sql_conn_id": "shop", "rows": []}, "sql_conn_id"),
        ({"rows": [], "format": "csv"}, "format"),
        ({"rows": [], "conflict_mode": "replace"}, "conflict_mode"),
        ({"rows": [], "on_eror": "skip"}, "did you mean on_error"),
        ({"rows": [], "table": "a.b.c"}, "a.b.c"),
    ],
)
def test_a_mistake_is_refused_while_the_dag_is_read(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TidegateUpsertOperator(**(WRITE | given))


def test_the_table_is_an_asset_unless_a_template_names_it() -> None:
    named = TidegateUpsertOperator(**WRITE, path="/data/{{ ds }}.csv")
    assert [outlet.uri for outlet in named.outlets] == ["tidegate://warehouse/ods/orders"]
    assert TidegateUpsertOperator(**(WRITE | {"table": "ods.{{ params.t }}"}), rows=[]).outlets == []


@pytest.mark.postgres
def test_rows_of_another_task_are_merged_by_key(warehouse: Callable[[], list[Any]]) -> None:
    first = TidegateUpsertOperator(**WRITE, rows=ORDERS).execute(context())
    assert (first["rows"], first["inserted"], first["updated"]) == (2, 2, 0)
    again = context()
    operator = TidegateUpsertOperator(**WRITE, rows=[{"id": 2, "status": "sent"}, {"id": 3, "status": "new"}])
    result = operator.execute(again)
    assert (result["inserted"], result["updated"]) == (1, 1)
    assert json.loads(json.dumps(result)) == result
    assert warehouse() == [(1, "new", None), (2, "sent", None), (3, "new", None)]
    extra = again["outlet_events"][operator.outlets[0]].extra
    assert (extra["rows"], extra["inserted"], extra["updated"]) == (2, 1, 1)


@pytest.mark.postgres
def test_rows_that_a_template_renders_as_text_are_read(warehouse: Callable[[], list[Any]]) -> None:
    operator = TidegateUpsertOperator(**WRITE, rows="{{ params.rows }}", key="{{ params.key }}", dag=DAG("d"))
    operator.render_template_fields({"params": {"rows": ORDERS, "key": ["id"]}})
    operator.execute(context())
    assert warehouse() == [(1, "new", None), (2, "paid", None)]


@pytest.mark.postgres
def test_a_csv_file_reaches_the_table_as_it_is_written(warehouse: Callable[[], list[Any]], tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text('id,status,code\n1,"",007\n2,,1e5\n')
    TidegateUpsertOperator(**WRITE, path=str(tmp_path / "orders.csv")).execute(context())
    assert warehouse() == [(1, "", "007"), (2, None, "1e5")]


@pytest.mark.postgres
def test_a_query_on_another_connection_is_streamed_into_the_table(
    warehouse: Callable[[], list[Any]], pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", airflow_home.postgres_connection(pg_database, "postgres"))
    sql = "SELECT n AS id, 'new' AS status FROM generate_series(1, {{ params.count }}) AS n"
    operator = TidegateUpsertOperator(**WRITE, sql=sql, sql_conn_id="shop", batch_rows="10000", dag=DAG("d"))
    operator.render_template_fields({"params": {"count": 25_000}})
    assert operator.execute(context())["inserted"] == 25_000
    assert len(warehouse()) == 25_000


@pytest.mark.postgres
def test_appending_twice_in_one_run_adds_nothing_twice(warehouse: Callable[[], list[Any]], pg_database: PostgresServer) -> None:
    pg_database.execute("CREATE TABLE ods.log (id int, status text)")
    append = {"table": "ods.log", "rows": ORDERS, "write_mode": "append"}
    for run_id in ("one", "one", "two"):
        TidegateUpsertOperator(**(WRITE | append)).execute(context(run_id))
    assert airflow_home.fetch(pg_database, "SELECT count(*) FROM ods.log") == [(4,)]


@pytest.mark.postgres
def test_overwriting_replaces_the_table(warehouse: Callable[[], list[Any]]) -> None:
    TidegateUpsertOperator(**WRITE, rows=ORDERS).execute(context())
    TidegateUpsertOperator(**WRITE, rows=[{"id": 9, "status": "new"}], write_mode="overwrite").execute(context())
    assert warehouse() == [(9, "new", None)]


@pytest.mark.postgres
def test_rows_are_removed_by_key(warehouse: Callable[[], list[Any]]) -> None:
    TidegateUpsertOperator(**WRITE, rows=ORDERS).execute(context())
    result = TidegateDeleteOperator(**WRITE, rows=[{"id": 1, "status": "whatever"}, {"id": 7}]).execute(context())
    assert (result["deleted"], result["not_found"]) == (1, 1)
    assert warehouse() == [(2, "paid", None)]


@pytest.mark.postgres
def test_a_value_that_does_not_fit_fails_at_once_and_is_not_shown(warehouse: Callable[[], list[Any]]) -> None:
    with pytest.raises(AirflowFailException) as caught:
        TidegateUpsertOperator(**WRITE, rows=[{"id": 1}, {"id": "opensesame"}]).execute(context())
    assert "opensesame" not in str(caught.value)
    assert warehouse() == []


def test_a_target_that_is_away_is_left_to_airflows_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"conn_type": "tidegatepg", "host": "127.0.0.1", "port": free_port(), "login": "me", "password": "opensesame"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(given))
    with pytest.raises(Unavailable) as caught:
        TidegateUpsertOperator(**WRITE, rows=ORDERS, max_retries=0).execute(context())
    assert "opensesame" not in str(caught.value)


@pytest.mark.postgres
def test_it_runs_in_a_dag_with_rows_from_a_task_and_mapped(
    warehouse: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
from airflow.sdk import DAG, task
from tidegate.operators import TidegateDeleteOperator, TidegateUpsertOperator

with DAG("write_rows") as dag:

    @task
    def orders():
        return [{"id": n, "status": "new"} for n in range(4)]

    put = TidegateUpsertOperator(task_id="put", table="ods.orders", rows=orders(), sink_conn_id="warehouse")
    put >> TidegateDeleteOperator.partial(task_id="drop", table="ods.orders", sink_conn_id="warehouse", max_retries=1).expand(
        rows=[[{"id": 0}], [{"id": 2}]]
    )
"""
    run = airflow_home.run_dag(airflow_home.load_dag("write_rows", code))
    assert run.state == "success"
    assert warehouse() == [(1, "new", None), (3, "new", None)]
    assert [event["rows"] for event in airflow_home.asset_events("tidegate://warehouse/ods/orders")[-3:]] == [4, 1, 1]
