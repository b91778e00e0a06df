"""A file into StarRocks by one Stream Load, once for each run of the task."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import OutletEventAccessors

from tests.hooks.test_starrocks import connect
from tests.servers import StarrocksServer
from tidegate.hooks.starrocks import StarRocksHook
from tidegate.operators import StarRocksStreamLoadOperator

pytestmark = pytest.mark.airflow


def context(run_id: str = "run") -> Any:
    ti = SimpleNamespace(dag_id="d", task_id="t", run_id=run_id, map_index=-1)
    return {"ti": ti, "outlet_events": OutletEventAccessors()}


@pytest.fixture
def hook(starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch) -> StarRocksHook:
    """The connection warehouse, with an empty table log in its database."""
    found = connect(monkeypatch, starrocks_database)
    database = starrocks_database.database
    found.sql(f"CREATE TABLE {database}.log (id INT, name VARCHAR(100)) DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)")
    return found


def rows(hook: StarRocksHook, database: str) -> list[tuple[Any, ...]]:
    return sorted(hook.sql(f"SELECT id, name FROM {database}.log"))


def test_the_tries_of_a_run_load_the_file_once(hook: StarRocksHook, starrocks_database: StarrocksServer, tmp_path: Path) -> None:
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(b"id,name\n1,a\n2,b\n"))
    database = starrocks_database.database
    operator = StarRocksStreamLoadOperator(
        task_id="t",
        table=f"{database}.log",
        path=str(tmp_path / "log.csv.gz"),
        sink_conn_id="warehouse",
        properties={"skip_header": 1, "column_separator": ","},
    )
    first = context()
    result = operator.execute(first)
    assert json.loads(json.dumps(result)) == result
    assert (result["rows"], result["loads"], result["reply"]["status"]) == (2, 1, "Success")
    (asset,) = operator.outlets
    assert asset.uri == f"tidegate://warehouse/{database}/log"
    assert first["outlet_events"][asset].extra == {"rows": 2, "filtered": 0, "loads": 1}
    assert operator.execute(context())["loads"] == 0
    assert rows(hook, database) == [(1, "a"), (2, "b")]
    operator.execute(context("another"))
    assert len(rows(hook, database)) == 4


def test_everything_may_be_a_template(hook: StarRocksHook, starrocks_database: StarrocksServer, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("b\t2\n")
    database = starrocks_database.database
    operator = StarRocksStreamLoadOperator(
        task_id="t",
        table="{{ params.database }}.log",
        path=f"{tmp_path}/{{{{ params.name }}}}.csv",
        sink_conn_id="{{ params.connection }}",
        columns="{{ params.columns }}",
        properties="{{ params.properties }}",
        dag=DAG("d"),
    )
    assert operator.outlets == []
    given = {"database": database, "name": "log", "connection": "warehouse", "columns": ["name", "id"], "properties": {}}
    operator.render_template_fields({"params": given})
    operator.execute(context())
    assert rows(hook, database) == [(2, "b")]


def test_a_file_that_is_not_there_fails_at_once(hook: StarRocksHook, starrocks_database: StarrocksServer, tmp_path: Path) -> None:
    operator = StarRocksStreamLoadOperator(task_id="t", table="log", path=str(tmp_path / "no.csv"), sink_conn_id="warehouse")
    with pytest.raises(AirflowFailException, match=r"no\.csv"):
        operator.execute(context())
