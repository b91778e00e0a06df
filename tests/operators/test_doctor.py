"""The doctor as a task of its own, and as a method of the hook."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests import airflow_home
from tests.servers import MySqlServer, PostgresServer
from tidegate.errors import ConfigError
from tidegate.hooks.mysql import MysqlHook
from tidegate.operators import TidegateDoctorOperator
from tidegate.sync.mapping import Sync

pytestmark = pytest.mark.airflow


def task(**more: Any) -> TidegateDoctorOperator:
    what = {"sync": "shop_to_ods", "source_conn_id": "shop_mysql", "sink_conn_id": "warehouse", "tables": ["shop.orders"]}
    return TidegateDoctorOperator(task_id="doctor", **(what | {"schema": "ods"} | more))


def test_it_changes_no_table_and_so_emits_no_asset() -> None:
    assert task().outlets == []


def test_a_verdict_to_fail_on_that_there_is_not_is_refused_while_the_dag_is_read() -> None:
    with pytest.raises(ConfigError, match="'ok' is not one of critical, warn"):
        task(fail_on="ok")


@pytest.mark.mysql
@pytest.mark.postgres
def test_it_fails_once_the_log_is_kept_for_less_than_the_pause_between_runs(
    mariadb: MySqlServer, database: str, pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_MYSQL", airflow_home.mysql_connection(mariadb, "mysqlcdc"))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.postgres_connection(pg_database, "tidegatepg"))
    mariadb.execute(f"CREATE TABLE {database}.orders (id int PRIMARY KEY)")
    tables = [f"{database}.orders"]
    report = MysqlHook("shop_mysql").preflight(Sync.of("shop_to_ods", tables, schema="ods"), "warehouse", interval=3600)
    assert report.verdict == "ok"
    mariadb.execute("SET GLOBAL binlog_expire_logs_seconds = 604800")
    try:
        assert task(tables=tables, interval=timedelta(days=1), fail_on="warn").execute({})["verdict"] == "ok"
        assert task(tables=tables, interval=timedelta(days=5)).execute({})["verdict"] == "warn"
        with pytest.raises(AirflowFailException, match="one missed run"):
            task(tables=tables, interval=timedelta(days=5), fail_on="warn").execute({})
        with pytest.raises(AirflowFailException, match="the next run is in 8 d"):
            task(tables=tables, interval=8 * 86_400).execute({})
    finally:
        mariadb.execute("SET GLOBAL binlog_expire_logs_seconds = 0")
