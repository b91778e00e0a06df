"""The transaction interface: busy channels, lost replies, transactions that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.starrocks.scripted import LOST, cluster
from tests.providers.starrocks.test_streamload import ORDERS, Clock, loads
from tidegate.errors import (
    ConfigError,
    LoadUnresolved,
    PreflightError,
    RowRefused,
    TidegateError,
    Unavailable,
)

OK: dict[str, object] = {"Status": "OK", "Label": "l", "TxnId": 9}
BUSY: dict[str, object] = {"Status": "TXN_IN_PROCESSING", "Message": "Transaction in processing, please retry later"}
GONE: dict[str, object] = {"Status": "TXN_NOT_EXISTS", "Message": "Transaction with label l not exists"}
EXISTS: dict[str, object] = {"Status": "LABEL_ALREADY_EXISTS", "ExistingJobStatus": "RUNNING"}
RPC: dict[str, object] = {"Status": "THRIFT_RPC_ERROR", "Message": "timed out"}
FAILED: dict[str, object] = {"Status": "FAILED", "Message": "class X: transaction has no backend"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"Status": "FAILED", "Message": "class X: Not implemented"}, False),
        ({"status": "FAILED", "msg": "Not implemented"}, False),
        ({"Status": "FAILED", "Message": "class X: No database selected."}, True),
        ({"Status": "INVALID_ARGUMENT", "Message": "empty label"}, True),
    ],
)
def test_the_interface_is_probed(said: Any, expected: bool) -> None:
    with cluster(calls={"begin": [said]}) as running:
        assert loads(running).transactions() is expected
    assert "label" not in running.frontend.headers[0]


def test_a_server_without_the_path_has_no_interface() -> None:
    with cluster() as running:
        running.frontend.handler = lambda conversation: conversation.reply(b"404", status=404)
        assert not loads(running).transactions()


def test_a_whole_transaction() -> None:
    steps: dict[str, Any] = {step: [OK] for step in ("begin", "prepare", "commit", "rollback")}
    with cluster(calls=steps, loads=[OK]) as running:
        client = loads(running, publish_timeout_ms=90_500)
        assert client.begin("l", "shop", "orders").txn_id == 9
        client.send("l", ORDERS, {"format": "json"}, b"[1]")
        client.send("l", ORDERS, {"format": "json"}, b"[2]")
        client.prepare("l", "shop", "orders", headers={"prepared_timeout": "180"})
        client.commit("l", "shop", "orders")
        assert client.rollback("l", "shop", "orders") == "ABORTED"
    assert running.bodies == [b"[1]", b"[2]"]
    asked = dict(zip(running.frontend.requests, running.frontend.headers, strict=True))
    for headers in asked.values():
        assert {"label": "l", "db": "shop", "table": "orders"}.items() <= headers.items()
        assert "transaction_type" not in headers
    assert asked["POST", "/api/transaction/begin"]["timeout"] == "600"
    assert asked["POST", "/api/transaction/prepare"]["prepared_timeout"] == "180"
    assert asked["POST", "/api/transaction/commit"]["timeout"] == "90"
    assert running.backend.headers[0]["timezone"] == "UTC"
    assert running.backend.requests[0] == ("PUT", "/api/transaction/load")


def test_a_transaction_over_tables_says_so_at_every_step() -> None:
    steps: dict[str, Any] = {step: [OK] for step in ("begin", "commit", "rollback")}
    with cluster(calls=steps, loads=[OK]) as running:
        client = loads(running)
        client.begin("l", "shop", multi=True)
        client.send("l", ORDERS, {}, b"[1]", multi=True)
        client.commit("l", "shop", multi=True)
        client.rollback("l", "shop", multi=True)
    assert {headers["transaction_type"] for headers in running.frontend.headers} == {"multi"}
    assert ["table" in headers for headers in running.frontend.headers] == [False, True, False, False]


def test_a_busy_channel_is_waited_for_at_every_step() -> None:
    steps: dict[str, Any] = {step: [BUSY, BUSY, OK] for step in ("begin", "prepare", "rollback")}
    clock = Clock()
    with cluster(calls=steps, loads=[BUSY, BUSY, OK]) as running:
        client = loads(running, clock)
        client.begin("l", "shop", "orders")
        client.send("l", ORDERS, {}, b"[1]")
        client.prepare("l", "shop", "orders")
        client.rollback("l", "shop", "orders")
    assert clock.pauses == [0.1, 0.2] * 4
    assert running.bodies == [b"[1]"] * 3


def test_a_channel_that_stays_busy_is_unavailable() -> None:
    with cluster(loads=[BUSY], calls={"prepare": [BUSY]}, states=["PREPARE"]) as running:
        client = loads(running)
        with pytest.raises(Unavailable, match="processing"):
            client.send("l", ORDERS, {}, b"[1]")
        with pytest.raises(Unavailable, match="processing"):
            client.prepare("l", "shop", "orders")


# begin


@pytest.mark.parametrize(
    ("said", "state", "expected"),
    [
        (LOST, "PREPARE", "OK"),
        (LOST, "UNKNOWN", Unavailable),
        (LOST, "ABORTED", Unavailable),
        (LOST, "VISIBLE", "LABEL_ALREADY_EXISTS"),
        (EXISTS, "PREPARE", LoadUnresolved),
        (EXISTS, "PREPARED", LoadUnresolved),
        (EXISTS, "ABORTED", Unavailable),
        (EXISTS, "COMMITTED", "LABEL_ALREADY_EXISTS"),
        ({"Status": "FAILED", "Message": "current running txns on db 1"}, "UNKNOWN", PreflightError),
        ({"Status": "FAILED", "Message": "Not implemented"}, "UNKNOWN", ConfigError),
        (RPC, "UNKNOWN", Unavailable),
    ],
)
def test_begin(said: Any, state: str, expected: str | type[TidegateError]) -> None:
    with cluster(calls={"begin": [said]}, states=[state]) as running:
        client = loads(running)
        if isinstance(expected, str):
            reply = client.begin("l", "shop", "orders")
            assert (reply.status, reply.settled) == (expected, True)
            assert reply.existing_job_status == ("FINISHED" if expected != "OK" else "")
        else:
            with pytest.raises(expected):
                client.begin("l", "shop", "orders")
    assert running.steps.count("begin") == 1


# load


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (LOST, LoadUnresolved),
        ({}, LoadUnresolved),
        (RPC, LoadUnresolved),
        (GONE, Unavailable),
        ({"Status": "INTERNAL_ERROR", "Message": "disk"}, Unavailable),
        ({"Status": "INTERNAL_ERROR", "Message": "too many filtered rows"}, RowRefused),
        ({"Status": "INVALID_ARGUMENT", "Message": "Request table x not equal transaction table y"}, ConfigError),
    ],
)
def test_rows_of_a_transaction_are_sent_once_and_what_is_lost_can_only_be_rolled_back(said: Any, kind: type[TidegateError]) -> None:
    with cluster(loads=[said], states=["VISIBLE"]) as running, pytest.raises(kind):
        loads(running).send("l", ORDERS, {}, b"[1]")
    assert running.steps == ["load"]


# prepare


@pytest.mark.parametrize(
    ("said", "states", "expected"),
    [
        ([LOST], ["PREPARED"], "settled"),
        ([GONE], ["PREPARED"], "settled"),
        ([{}], ["VISIBLE"], "settled"),
        ([LOST, OK], ["PREPARE"], "answered"),
        ([LOST, LOST, GONE], ["PREPARE", "PREPARE", "PREPARED"], "settled"),
        ([GONE], ["ABORTED"], Unavailable),
        ([GONE], ["UNKNOWN"], Unavailable),
        ([LOST], ["ABORTED"], Unavailable),
        ([LOST], ["PREPARE"], LoadUnresolved),
        ([LOST], [LOST], LoadUnresolved),
        ([FAILED], ["PREPARE"], Unavailable),
        ([{"Status": "INTERNAL_ERROR", "Message": "transaction x hasn't send any data yet"}], ["PREPARE"], ConfigError),
        ([{"Status": "INTERNAL_ERROR", "Message": "too many filtered rows"}], ["ABORTED"], RowRefused),
    ],
)
def test_prepare(said: list[Any], states: list[Any], expected: str | type[TidegateError]) -> None:
    with cluster(calls={"prepare": said}, states=states) as running:
        client = loads(running)
        if isinstance(expected, str):
            assert client.prepare("l", "shop", "orders").settled == (expected == "settled")
        else:
            with pytest.raises(expected):
                client.prepare("l", "shop", "orders")


# commit


@pytest.mark.parametrize(
    ("said", "states", "expected"),
    [
        ([OK | {"Message": "Transaction 1 has already committed, label is l"}], ["UNKNOWN"], "answered"),
        ([{"Status": "Publish Timeout"}], ["UNKNOWN"], "answered"),
        ([LOST], ["VISIBLE"], "settled"),
        ([FAILED], ["COMMITTED"], "settled"),
        ([GONE], ["VISIBLE"], "settled"),
        ([LOST, BUSY, FAILED, OK], ["PREPARED"], "answered"),
        ([LOST], ["PREPARED", LOST, "PREPARED", "VISIBLE"], "settled"),
        ([LOST], ["ABORTED"], Unavailable),
        ([FAILED], ["ABORTED"], Unavailable),
        ([GONE], ["UNKNOWN"], LoadUnresolved),
        ([LOST], ["PREPARED"], LoadUnresolved),
        ([LOST], [LOST], LoadUnresolved),
        ([{"Status": "FAILED", "Message": "Access denied"}], ["PREPARED"], PreflightError),
        ([{"Status": "FAILED", "Message": "Access denied"}], ["VISIBLE"], "settled"),
    ],
)
def test_commit(said: list[Any], states: list[Any], expected: str | type[TidegateError]) -> None:
    with cluster(calls={"commit": said}, states=states) as running:
        client = loads(running)
        if isinstance(expected, str):
            assert client.commit("l", "shop", "orders").settled == (expected == "settled")
        else:
            with pytest.raises(expected):
                client.commit("l", "shop", "orders")


# rollback


@pytest.mark.parametrize(
    ("said", "states", "expected", "cancelled"),
    [
        (OK, ["UNKNOWN"], "ABORTED", False),
        (LOST, ["ABORTED"], "ABORTED", False),
        (FAILED, ["VISIBLE"], "VISIBLE", False),
        (GONE, ["UNKNOWN"], "UNKNOWN", False),
        (FAILED, ["PREPARED", "ABORTED"], "ABORTED", True),
        (LOST, ["PREPARE", "COMMITTED"], "COMMITTED", True),
        (FAILED, ["PREPARED"], LoadUnresolved, True),
    ],
)
def test_rollback(said: Any, states: list[Any], expected: str | type[TidegateError], cancelled: bool) -> None:
    with cluster(calls={"rollback": [said], "_cancel": [{"status": "OK"}]}, states=states) as running:
        client = loads(running)
        if isinstance(expected, str):
            assert client.rollback("l", "shop", "orders") == expected
        else:
            with pytest.raises(expected):
                client.rollback("l", "shop", "orders")
    assert ("_cancel" in running.steps) == cancelled
