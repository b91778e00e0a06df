"""StarRocks behind an Airflow connection: the hook, what its Test button says, and its plain tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import BaseHook

from tests import airflow_home
from tests.servers import StarrocksServer, free_port
from tidegate.hooks.starrocks import StarRocksHook

pytestmark = pytest.mark.airflow

ORDERS = "CREATE TABLE {}.orders (id INT NOT NULL, memo VARCHAR(100)) PRIMARY KEY(id) DISTRIBUTED BY HASH(id)"


def connect(monkeypatch: pytest.MonkeyPatch, server: StarrocksServer, **more: Any) -> StarRocksHook:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.starrocks_connection(server, **more))
    return StarRocksHook("warehouse")


def test_airflow_finds_the_hook_by_the_type_of_the_connection(
    starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, starrocks_database)
    assert type(BaseHook.get_hook("warehouse")) is StarRocksHook


def test_the_test_button_asks_both_ports_and_for_select_and_insert(
    starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = connect(monkeypatch, starrocks_database)
    database = starrocks_database.database
    good, text = hook.test_connection()
    assert good, text
    assert f"{database} has no table yet" in text
    hook.sql(ORDERS.format(database))
    good, text = hook.test_connection()
    assert good, text
    assert "with transactions" in text
    assert f"SELECT and INSERT on 1 of 1 table of {database}" in text


def test_a_right_that_is_lacking_is_named_with_its_table(
    starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, user = starrocks_database.database, f"u_{starrocks_database.database}"
    starrocks_database.execute(
        ORDERS.format(database),
        ORDERS.format(database).replace("orders", "audit"),
        f"CREATE USER {user} IDENTIFIED BY 'pw'",
        f"GRANT SELECT ON TABLE {database}.orders TO USER {user}",
        f"GRANT SELECT ON TABLE {database}.audit TO USER {user}",
    )
    hook = connect(monkeypatch, starrocks_database, login=user, password="pw")
    good, text = hook.test_connection()
    assert not good
    assert f"lacks INSERT on 2 of 2 tables of {database}" in text
    starrocks_database.execute(f"GRANT INSERT ON TABLE {database}.orders TO USER {user}")
    good, text = hook.test_connection()
    assert good, text
    assert f"SELECT and INSERT on 1 of 2 tables of {database}; lacking: INSERT on audit" in text


@pytest.mark.parametrize("wrong", ["port", "http_port"])
def test_a_port_that_nobody_answers_on_is_told(
    starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    port = free_port()
    hook = connect(monkeypatch, starrocks_database, **{wrong: port})
    good, text = hook.test_connection()
    assert not good
    assert str(port) in text


def test_a_wrong_password_is_told_without_it(starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, starrocks_database, password="opensesame")
    good, text = hook.test_connection()
    assert not good
    assert "opensesame" not in text
    assert "login" in text


def test_a_database_that_is_not_there_is_told(starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    good, text = connect(monkeypatch, starrocks_database, database="nowhere").test_connection()
    assert not good
    assert "nowhere" in text


def test_a_hook_loads_and_asks(starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, starrocks_database)
    database = starrocks_database.database
    hook.sql(ORDERS.format(database))
    loaded = hook.stream_load("orders", [{"id": 1, "memo": "a"}, {"id": 2, "memo": "b"}])
    assert loaded.write.rows == 2
    hook.stream_load("orders", ['{"id": 1, "memo": "c"}'], columns="id,memo", partial_update=True)
    found = hook.sql(f"SELECT id, memo FROM {database}.orders WHERE id < %s ORDER BY id", (9,))
    assert list(found) == [(1, "c"), (2, "b")]


def test_the_label_of_a_name_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"conn_type": "starrocks", "host": "nowhere", "login": "me", "extra": {"label_prefix": "shop"}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(given))
    hook = StarRocksHook("warehouse")
    assert hook.label("dag/task/run") == hook.label("dag/task/run")
    assert hook.label("dag/task/run") != hook.label("dag/task/other")
    assert hook.label("dag/task/run").startswith("shop-")
