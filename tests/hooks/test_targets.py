"""What the Test button says of GaussDB and AnalyticDB PostgreSQL: ready, or what is wrong, in the server's words."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from airflow.sdk import BaseHook

from tests import airflow_home
from tests.servers import PostgresServer, free_port
from tidegate.errors import PreflightError, TidegateError, Unavailable
from tidegate.hooks import TidegateHook
from tidegate.hooks.adbpg import AdbpgHook
from tidegate.hooks.gaussdb import GaussdbHook

pytestmark = [pytest.mark.airflow, pytest.mark.postgres]

HOOKS = {"gaussdb": GaussdbHook, "adbpg": AdbpgHook}
DENIED = {
    "gaussdb": "Invalid username/password,login denied.",  # GaussDB doesn't tell which of the two
    "adbpg": 'password authentication failed for user "{user}"',
}


@pytest.fixture(params=HOOKS)
def system(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def server(system: str, request: pytest.FixtureRequest) -> PostgresServer:
    found: PostgresServer = request.getfixturevalue(f"{system}_database")
    return found


def connect(monkeypatch: pytest.MonkeyPatch, server: PostgresServer, system: str, **wrong: Any) -> None:
    given = json.loads(airflow_home.postgres_connection(server, system)) | wrong
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(given))


def error_of_a_run() -> TidegateError:
    """What a task would fail with."""
    with pytest.raises(TidegateError) as raised, closing(TidegateHook("warehouse").sink()) as sink:
        sink.ledger.last("shop_to_ods")
    return raised.value


def test_airflow_finds_the_hook_by_the_type_of_the_connection_and_it_is_ready(
    system: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, server, system)
    hook = BaseHook.get_hook("warehouse")
    assert type(hook) is HOOKS[system]
    assert hook.test_connection() == (True, f"ready as a target ({hook.hook_name})")


def test_the_verbs_work(system: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, server, system)
    hook = TidegateHook("warehouse")
    result = hook.upsert("ods.orders", [{"id": 1, "memo": "a"}, {"id": 2, "memo": "b"}], key=["id"])
    # COPY … ON CONFLICT tells no row that was there from one that wasn't.
    told = system != "adbpg"
    assert (result.rows, result.inserted) == (2, 2 if told else None)
    assert hook.upsert("ods.orders", [{"id": 1, "memo": "c"}]).updated == (1 if told else None)
    assert hook.delete("ods.orders", [{"id": 2}, {"id": 9}]).not_found == 1
    assert hook.read("ods.orders").to_pylist() == [{"id": 1, "memo": "c"}]


def test_a_wrong_port_is_told_with_the_address_and_worth_a_retry(
    system: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    connect(monkeypatch, server, system, port=port)
    error = error_of_a_run()
    assert isinstance(error, Unavailable)
    assert error.connection == "warehouse"
    assert "host, port" in (error.setting or "")
    assert server.host in str(error)
    assert str(port) in str(error)
    assert TidegateHook("warehouse").test_connection() == (False, f"not ready as a target: {error}")


def test_a_wrong_password_is_told_without_it_and_not_tried_again(
    system: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, server, system, password="opensesame")
    error = error_of_a_run()
    assert isinstance(error, PreflightError)
    assert DENIED[system].format(user=server.user) in str(error)
    assert "password" in (error.setting or "")
    good, text = TidegateHook("warehouse").test_connection()
    assert (good, text) == (False, f"not ready as a target: {error}")
    assert "opensesame" not in text


def test_a_database_that_is_not_there_is_named_and_not_tried_again(
    system: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, server, system, schema="nowhere")
    error = error_of_a_run()
    assert isinstance(error, PreflightError)
    assert 'database "nowhere" does not exist' in str(error)
    assert "database" in (error.setting or "")
    assert TidegateHook("warehouse").test_connection() == (False, f"not ready as a target: {error}")


def test_a_field_out_of_its_choices_is_refused_before_anything_is_asked(
    system: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = {"gaussdb": "driver", "adbpg": "connection_max_active"}[system]
    connect(monkeypatch, server, system, extra={field: "0"})
    good, text = TidegateHook("warehouse").test_connection()
    assert not good
    assert f"[{field}]" in text
