"""From an Airflow connection to a source, a sink and the verbs."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseHook, Connection

from tests import airflow_home
from tests.servers import MySqlServer, PostgresServer, free_port
from tidegate.errors import ConfigError
from tidegate.hooks import TidegateHook
from tidegate.hooks.base import given_fields
from tidegate.hooks.postgres import PostgresHook
from tidegate.providers.system import system_of

pytestmark = pytest.mark.airflow


def fields(conn_type: str, **columns: Any) -> dict[str, Any]:
    extra = json.dumps(columns.pop("extra", {}))
    connection = Connection(conn_id="c", conn_type=conn_type, extra=extra, **columns)
    return given_fields(system_of(conn_type, "c"), connection)


def test_standard_columns_and_extras_become_the_fields_of_the_system() -> None:
    given = fields("tidegatepg", host="db", port=5433, login="me", password="pw", schema="dw", extra={"sslmode": "require"})
    assert given == {"host": "db", "port": 5433, "login": "me", "password": "pw", "database": "dw", "sslmode": "require"}


def test_an_empty_column_leaves_the_default() -> None:
    assert fields("tidegatepg", host="", schema=None, login="me") == {"login": "me"}


def test_extras_of_another_providers_type_that_mean_nothing_here_are_left_out() -> None:
    assert fields("postgres", login="me", extra={"cursor": "dictcursor", "sslmode": "require"}) == {
        "login": "me",
        "sslmode": "require",
    }


def test_an_unknown_extra_of_our_own_type_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_C", json.dumps({"conn_type": "tidegatepg", "login": "me", "extra": {"sslmodes": "x"}}))
    with pytest.raises(ConfigError, match="did you mean sslmode"):
        TidegateHook("c").sink()
    assert TidegateHook("c").test_connection()[0] is False


def test_a_connection_of_a_type_that_no_system_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_C", json.dumps({"conn_type": "oracle"}))
    with pytest.raises(ConfigError, match="oracle"):
        TidegateHook("c").source()
    good, text = TidegateHook("c").test_connection()
    assert not good
    assert "oracle" in text


def test_a_system_that_is_no_source_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_C", json.dumps({"conn_type": "tidegatepg", "login": "me"}))
    with pytest.raises(ConfigError, match="can't be a source"):
        TidegateHook("c").source()


@pytest.mark.postgres
@pytest.mark.parametrize("conn_type", ["tidegatepg", "postgres"])
def test_the_verbs_work_on_our_own_type_and_on_airflows(
    pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.postgres_connection(pg_database, conn_type))
    pg_database.execute("CREATE TABLE orders (id int PRIMARY KEY, total numeric(9,2))")
    hook = TidegateHook("warehouse")
    result = hook.upsert("public.orders", [{"id": 1, "total": "1.10"}, {"id": 2, "total": "2.20"}])
    assert (result.rows, result.inserted) == (2, 2)
    assert hook.delete("public.orders", [{"id": 1}, {"id": 9}]).not_found == 1
    assert hook.read("public.orders").to_pylist()[0]["id"] == 2


@pytest.mark.postgres
def test_airflow_finds_the_hook_by_the_type_of_the_connection(pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.postgres_connection(pg_database))
    hook = BaseHook.get_hook("warehouse")
    assert isinstance(hook, PostgresHook)
    good, text = hook.test_connection()
    assert good, text
    assert "ready as a target" in text


@pytest.mark.postgres
@pytest.mark.parametrize("wrong", [{"port": free_port()}, {"schema": "nowhere"}])
def test_a_connection_that_does_not_work_is_told_apart_without_its_password(
    pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    given = json.loads(airflow_home.postgres_connection(pg_database)) | {"password": "opensesame"} | wrong
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(given))
    good, text = TidegateHook("warehouse").test_connection()
    assert not good
    assert "not ready as a target" in text
    assert "opensesame" not in text


@pytest.mark.mysql
@pytest.mark.parametrize("conn_type", ["mysqlcdc", "mysql"])
def test_a_mysql_connection_says_where_its_binlog_stands(
    mariadb: MySqlServer, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", airflow_home.mysql_connection(mariadb, conn_type))
    good, text = TidegateHook("shop").test_connection()
    assert good, text
    assert "ready as a source, which stands at binlog." in text


@pytest.mark.mysql
def test_airflows_own_mysql_connection_is_a_source(mariadb: MySqlServer, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate.changes.schema import TableName

    mariadb.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", airflow_home.mysql_connection(mariadb, "mysql", cursor="sscursor"))
    with closing(TidegateHook("shop").source()) as source:
        assert source.schema(TableName(database, "t")).key == ("id",)


def test_a_folder_of_change_files_can_be_a_target_before_there_is_anything_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"conn_type": "changefiles", "extra": {"url": str(tmp_path / "stream")}}
    monkeypatch.setenv("AIRFLOW_CONN_FILES", json.dumps(given))
    good, text = TidegateHook("files").test_connection()
    assert good, text
    assert "ready as a target" in text
