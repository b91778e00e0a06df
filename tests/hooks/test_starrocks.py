"""StarRocks behind an Airflow connection: the hook, what its Test button says, and its plain tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import BaseHook

from tests.servers import StarrocksServer, free_port
from tidegate.hooks.starrocks import StarRocksHook
from tidegate.providers.starrocks.connection import SYSTEM

pytestmark = pytest.mark.airflow

ORDERS = "CREATE TABLE {}.orders (id INT NOT NULL, memo VARCHAR(100)) PRIMARY KEY(id) DISTRIBUTED BY HASH(id)"


def connect(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> StarRocksHook:
    standard = {field.name: field.standard for field in SYSTEM.fields if field.standard}
    columns = {standard[name]: value for name, value in values.items() if name in standard}
    extra = {name: value for name, value in values.items() if name not in standard}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "starrocks", **columns, "extra": extra}))
    return StarRocksHook("warehouse")


def test_airflow_finds_the_hook_by_the_type_of_the_connection(
    starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, starrocks_database.values())
    assert type(BaseHook.get_hook("warehouse")) is StarRocksHook


def test_the_test_button_asks_both_ports_and_for_select_and_insert(
    starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = connect(monkeypatch, starrocks_database.values())
    database = starrocks_database.values()["database"]
    good, text = hook.test_connection()
    assert good, text
    assert f"{database} has no table yet" in text
    hook.sql(ORDERS.format(database))
    good, text = hook.test_connection()
    assert good, text
    assert "with transactions" in text
    assert f"SELECT and INSERT on 1 of 1 tables of {database}" in text


@pytest.mark.parametrize("wrong", ["port", "http_port"])
def test_a_port_that_nobody_answers_on_is_told(
    starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    port = free_port()
    hook = connect(monkeypatch, starrocks_database.values() | {wrong: port})
    good, text = hook.test_connection()
    assert not good
    assert str(port) in text


def test_a_wrong_password_is_told_without_it(starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, starrocks_database.values() | {"password": "opensesame"})
    good, text = hook.test_connection()
    assert not good
    assert "opensesame" not in text
    assert "login" in text


def test_a_database_that_is_not_there_is_told(starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    good, text = connect(monkeypatch, starrocks_database.values() | {"database": "nowhere"}).test_connection()
    assert not good
    assert "nowhere" in text


def test_a_hook_loads_and_asks(starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, starrocks_database.values())
    database = starrocks_database.values()["database"]
    hook.sql(ORDERS.format(database))
    loaded = hook.stream_load("orders", [{"id": 1, "memo": "a"}, {"id": 2, "memo": "b"}])
    assert loaded.write.rows == 2
    hook.stream_load("orders", ['{"id": 1, "memo": "c"}'], partial_update=True)
    found = hook.sql(f"SELECT id, memo FROM {database}.orders WHERE id < %s ORDER BY id", (9,))
    assert list(found) == [(1, "c"), (2, "b")]


def test_the_label_of_a_name_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, {"host": "nowhere", "login": "me", "label_prefix": "shop"})
    assert hook.label("dag/task/run") == hook.label("dag/task/run")
    assert hook.label("dag/task/run") != hook.label("dag/task/other")
    assert hook.label("dag/task/run").startswith("shop-")
