"""Stream Load: every way in which a reply can be lost, late, or not what it seems."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.providers.starrocks.scripted import LOST, Cluster, Conversation, Scripted, cluster, values
from tidegate.changes.schema import TableName
from tidegate.errors import (
    ConfigError,
    LoadUnresolved,
    PreflightError,
    RowRefused,
    SchemaError,
    TidegateError,
    Unavailable,
)
from tidegate.providers.starrocks.http import Http
from tidegate.providers.starrocks.streamload import StreamLoad

ORDERS = TableName("shop", "orders")
SUCCESS = {"Status": "Success", "TxnId": 7, "NumberTotalRows": 3, "NumberLoadedRows": 2, "NumberFilteredRows": 1}
EXISTS = {"Status": "Label Already Exists", "TxnId": -1, "Message": "Label [l] has already been used."}


class Clock:
    """Pauses that take no time."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


def loads(running: Cluster, clock: Clock | None = None, **more: Any) -> StreamLoad:
    fields = running.values(**more)
    return StreamLoad(Http(fields, "sr"), fields, "sr", clock or Clock())


@contextlib.contextmanager
def loading(clock: Clock | None = None, **script: Any) -> Iterator[tuple[Cluster, Callable[[], Any]]]:
    with cluster(**script) as running:
        client = loads(running, clock)
        yield running, lambda: client.load("l", ORDERS, {"format": "csv"}, b"rows\n")


def test_a_load_sends_its_headers_and_returns_the_counts() -> None:
    with cluster(loads=[SUCCESS]) as running:
        reply = loads(running).load("l-1", ORDERS, {"Format": "json", "timezone": "Europe/Berlin"}, [b"[", b"]"])
    assert (reply.txn_id, reply.total_rows, reply.loaded_rows, reply.filtered_rows, reply.settled) == (7, 3, 2, 1, False)
    assert running.bodies == [b"[]"]
    assert running.backend.requests == [("PUT", "/api/shop/orders/_stream_load")]
    for headers in (running.frontend.headers[0], running.backend.headers[0]):
        wanted = {"label": "l-1", "timeout": "600", "timezone": "Europe/Berlin", "expect": "100-continue", "format": "json"}
        assert wanted.items() <= headers.items()
    assert running.steps == ["load"]


def test_the_time_zone_is_never_the_servers_by_accident() -> None:
    with cluster() as running:
        loads(running, load_timeout=42).load("l", TableName("", "orders"), {}, b"x")
    assert running.backend.headers[0]["timezone"] == "UTC"
    assert running.backend.headers[0]["timeout"] == "42"
    assert running.backend.requests == [("PUT", "/api/shop/orders/_stream_load")]


def test_names_are_quoted_in_the_path() -> None:
    with cluster() as running:
        loads(running).load("l", TableName("shöp", "a b/c"), {}, b"x")
    assert running.backend.requests == [("PUT", "/api/sh%C3%B6p/a%20b%2Fc/_stream_load")]


def test_a_table_without_a_database_names_the_field() -> None:
    with cluster() as running, pytest.raises(ConfigError, match="database"):
        loads(running, database="").load("l", TableName("", "orders"), {}, b"x")


def test_publish_timeout_is_success() -> None:
    with loading(loads=[{"Status": "Publish Timeout"}]) as (running, load):
        assert load().status == "Publish Timeout"
    assert running.steps == ["load"]


def test_a_label_that_is_finished_is_success_without_counts() -> None:
    with loading(loads=[EXISTS | {"ExistingJobStatus": "FINISHED"}]) as (_, load):
        assert load().settled


def test_a_label_that_is_running_is_waited_for() -> None:
    clock = Clock()
    states = ["PREPARE", LOST, "PREPARE", "COMMITTED"]
    with loading(clock, loads=[EXISTS | {"ExistingJobStatus": "RUNNING"}], states=states) as (running, load):
        assert load().settled
    assert running.steps.count("load") == 1
    assert len(clock.pauses) == 3


SETTLED: list[tuple[Any, ...]] = [
    (LOST,),
    ({},),
    (b"<html>",),
    ({"Status": "Commit Timeout"},),
    ({"Status": "NEW_WORD"},),
    ({"Status": "Fail", "Message": "commit rpc timed out"},),
    (EXISTS | {"ExistingJobStatus": "RUNNING"},),
    (EXISTS,),
]


@pytest.mark.parametrize("said", SETTLED)
@pytest.mark.parametrize("state", ["VISIBLE", "COMMITTED"])
def test_what_has_no_verdict_is_success_if_its_label_is_committed(said: Any, state: str) -> None:
    with loading(loads=[said[0]], states=[state]) as (running, load):
        reply = load()
    assert reply.settled
    assert running.steps == ["load", "state"]


@pytest.mark.parametrize("said", SETTLED)
@pytest.mark.parametrize("state", ["ABORTED", "UNKNOWN"])
def test_what_has_no_verdict_is_to_be_sent_again_if_its_label_is_not_there(said: Any, state: str) -> None:
    with loading(loads=[said[0]], states=[state]) as (running, load), pytest.raises(Unavailable, match=r"load l\b"):
        load()
    assert running.steps == ["load", "state"]


@pytest.mark.parametrize("said", SETTLED)
@pytest.mark.parametrize("state", ["PREPARE", "PREPARED", LOST])
def test_what_is_not_settled_in_time_is_unresolved(said: Any, state: str) -> None:
    clock = Clock()
    with loading(clock, loads=[said[0]], states=[state]) as (_, load), pytest.raises(LoadUnresolved):
        load()
    assert sum(clock.pauses) in (0, pytest.approx(60))
    assert max(clock.pauses, default=0) <= 5


PERMANENT: list[tuple[str, type[TidegateError]]] = [
    ("too many filtered rows", RowRefused),
    ("primary key size exceed the limit", RowRefused),
    ("Only primary key table support partial update", ConfigError),
    ("Access denied", PreflightError),
    ("current running txns on db 1 is 100, larger than limit 100", PreflightError),
    ("unknown table, table=orders", SchemaError),
]


@pytest.mark.parametrize(("message", "kind"), PERMANENT)
def test_what_does_not_pass_fails_at_once(message: str, kind: type[TidegateError]) -> None:
    with loading(loads=[{"Status": "Fail", "Message": message}], states=["ABORTED"]) as (running, load), pytest.raises(kind):
        load()
    assert running.steps == ["load"]


def test_too_many_versions_is_worth_a_retry() -> None:
    message = "Failed to load data into tablet 1, because of too many versions, current/limit: 1001/1000."
    script: dict[str, Any] = {"loads": [{"Status": "Fail", "Message": message}], "states": ["ABORTED"]}
    with loading(**script) as (_, load), pytest.raises(Unavailable, match="compaction"):
        load()


def filtered(address: str) -> dict[str, object]:
    url = f"http://{address}/api/_load_error_log?file=error_log_1"
    return {"Status": "Fail", "Message": "too many filtered rows", "NumberTotalRows": 2, "NumberFilteredRows": 1, "ErrorURL": url}


@pytest.mark.parametrize("show", [False, True])
def test_refused_rows_come_from_the_error_url(show: bool) -> None:
    line = b"Error: Value 'geheim' is out of range. The type of 'k' is INT. Row: [geheim]\n\n"
    with cluster(errors=line) as running:
        running.loads = [filtered("be1:8040")]
        client = loads(running, show_rows=show, be_addresses=f"be1:8040={running.backend.address}")
        with pytest.raises(RowRefused) as caught:
            client.load("l", ORDERS, {}, b"x")
    assert caught.value.rows == [line.decode().strip()]
    assert ("geheim" in str(caught.value)) == show
    assert "1 of 2 rows refused" in str(caught.value)


def test_an_error_url_out_of_reach_is_no_failure_of_its_own() -> None:
    with loading(loads=[filtered("127.0.0.3:1")]) as (_, load), pytest.raises(RowRefused) as caught:
        load()
    assert caught.value.rows == []


def test_filtered_rows_of_a_success_can_be_read() -> None:
    with cluster(errors=b"Error: a\nError: b\n") as running:
        running.loads = [filtered(running.backend.address) | {"Status": "Success"}]
        client = loads(running)
        assert client.rejected(client.load("l", ORDERS, {}, b"x")) == ["Error: a", "Error: b"]


def test_a_success_that_took_no_rows_is_not_believed() -> None:
    with Scripted(lambda conversation: conversation.reply({"Status": "Success"})) as other:
        fields = values(other)
        with pytest.raises(PreflightError, match="load_url"):
            StreamLoad(Http(fields, "sr"), fields, "sr", Clock()).load("l", ORDERS, {}, b"rows")


def test_a_label_that_is_refused_by_its_headers_is_settled_without_sending() -> None:
    def refuses(conversation: Conversation) -> None:
        conversation.reply(EXISTS | {"ExistingJobStatus": "FINISHED"})

    with cluster() as running:
        running.backend.handler = refuses
        assert loads(running).load("l", ORDERS, {}, bytes(10_000_000)).settled
    assert running.bodies == []


def test_a_state_is_asked_with_its_label() -> None:
    with cluster(states=["VISIBLE"]) as running:
        assert loads(running).state("shop", "a&b") == "VISIBLE"
    assert running.frontend.requests == [("GET", "/api/shop/get_load_state?label=a%26b")]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"status": "FAILED", "msg": "unknown database, database=shop"}, SchemaError),
        ({"status": "FAILED", "msg": "Access denied; you need INSERT"}, PreflightError),
        ({"status": "OK", "state": "SOMETHING"}, Unavailable),
        (b"<html>", Unavailable),
        (LOST, LoadUnresolved),
    ],
)
def test_a_state_that_is_not_told(said: Any, kind: type[TidegateError]) -> None:
    with cluster(states=[said]) as running, pytest.raises(kind):
        loads(running).state("shop", "l")


def test_cancel_tells_the_state_after_it() -> None:
    with cluster(calls={"_cancel": [{"status": "OK"}]}, states=["ABORTED"]) as running:
        assert loads(running).cancel("shop", "l-1") == "ABORTED"
    assert running.frontend.requests[0] == ("POST", "/api/shop/l-1/_cancel?label=l-1")
