"""Faults on demand: what a client sees of each, and what is true afterwards; the control port."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from typing import Any

import pytest

from tests.sandbox.starrocks.conftest import Start
from tests.sandbox.starrocks.test_transactions import MULTI, open_with_rows
from tests.sandbox.starrocks.wire import Client
from tidegate.errors import ConfigError
from tidegate.sandbox.starrocks.faults import Clock, Faults
from tidegate.sandbox.starrocks.server import StarrocksSandbox

LOAD = "/api/d/t/_stream_load"
CSV = {"column_separator": ","}


def control(client: Client, method: str, path: str, **fields: Any) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(client.box.fe_host, client.box.control_port, timeout=20)) as connection:
        connection.request(method, path, json.dumps(fields))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_fault_is_met_by_the_nth_request_that_matches_and_by_so_many() -> None:
    faults = Faults()
    faults.add("lost_reply", on="commit", nth=2, times=2, label="a", at="be")
    met = [faults.meet("be", "commit", label) is not None for label in ("a1", "b", "a2", "a3", "a4")]
    assert met == [False, False, True, True, False]
    assert [faults.meet("fe", "commit", "a"), faults.meet("be", "load", "a")] == [None, None]
    assert faults.all()[0]["hits"] == 2
    faults.clear()
    assert faults.all() == []


def test_a_fault_anywhere_waits_for_the_place_where_the_request_is_done() -> None:
    faults = Faults()
    faults.add("lost_reply")
    assert faults.meet("fe", "stream_load", "a", redirected=True) is None
    assert faults.meet("be", "stream_load", "a") is not None


def test_a_lost_reply_of_a_load_that_took_effect(client: Client) -> None:
    client.box.faults.add("lost_reply", on="stream_load")
    assert client.follow("PUT", LOAD, {**CSV, "label": "a"}, b"1,a\n").status == 0
    assert (client.state("a"), client.rows()) == ("VISIBLE", [(1, "a")])
    assert client.load("a", b"1,a\n")["ExistingJobStatus"] == "FINISHED"


@pytest.mark.parametrize(
    ("operation", "state"), [("begin", "PREPARE"), ("load", "PREPARE"), ("prepare", "PREPARED"), ("commit", "VISIBLE")]
)
def test_a_lost_reply_of_each_step(client: Client, operation: str, state: str) -> None:
    client.box.faults.add("lost_reply", on=operation)
    for step in ("begin", "load", "prepare", "commit"):
        body, method = (b"1,a\n", "PUT") if step == "load" else (b"", "POST")
        said = client.follow(method, f"/api/transaction/{step}", {**CSV, "label": "a", "db": "d", "table": "t"}, body)
        if step == operation:
            assert said.status == 0
            break
        assert said.json["Status"] == "OK"
    assert client.state("a") == state


def test_a_lost_reply_of_the_frontends_redirect_changes_nothing(client: Client) -> None:
    client.box.faults.add("lost_reply", on="stream_load", at="fe")
    assert client.at("fe", "PUT", LOAD, {"label": "a"}).status == 0
    assert client.load("a", b"1,a\n")["Status"] == "Success"


def test_a_refused_connection(client: Client) -> None:
    client.box.faults.add("refuse", on="stream_load", at="be")
    assert client.follow("PUT", LOAD, {**CSV, "label": "a"}, b"1,a\n").status == 0
    assert client.state("a") == "UNKNOWN"


def test_a_backend_that_dies_in_mid_load_takes_open_transactions_along_and_leaves_prepared_ones(client: Client) -> None:
    open_with_rows(client, "open")
    open_with_rows(client, "prepared")
    client.step("prepare", "prepared")
    client.box.faults.add("dead", on="stream_load", seconds=60)
    assert client.follow("PUT", LOAD, {**CSV, "label": "a"}, b"1,a\n" * 1000).status == 0
    assert client.step("load", "open", b"2,b\n")["Status"] == "TXN_NOT_EXISTS"
    assert (client.state("a"), client.state("open"), client.state("prepared")) == ("PREPARE", "PREPARE", "PREPARED")
    client.box.forward(61)
    assert (client.state("a"), client.state("open"), client.state("prepared")) == ("ABORTED", "ABORTED", "PREPARED")
    assert client.load("a", b"1,a\n")["Status"] == "Success"
    assert client.step("commit", "prepared")["Status"] == "OK"


def test_a_publish_timeout_is_committed_and_seen_later(client: Client) -> None:
    client.box.faults.add("publish_timeout", on="stream_load")
    said = client.load("a", b"1,a\n")
    assert (said["Status"], said["NumberLoadedRows"]) == ("Publish Timeout", 1)
    assert (client.state("a"), client.rows()) == ("COMMITTED", [])
    assert client.load("a", b"1,a\n")["ExistingJobStatus"] == "FINISHED"
    assert client.load("b", b"2,b\n")["Status"] == "Publish Timeout"
    assert control(client, "POST", "/publish") == (200, {"published": 2})
    assert (client.state("a"), client.rows()) == ("VISIBLE", [(1, "a"), (2, "b")])


def test_a_publish_timeout_ends_by_itself(client: Client) -> None:
    client.box.faults.add("publish_timeout", on="commit", seconds=60)
    open_with_rows(client, "a")
    client.step("prepare", "a")
    said = client.step("commit", "a")
    assert said["Status"] == "FAILED"
    assert "publish timeout" in said["Message"]
    assert client.state("a") == "COMMITTED"
    assert client.step("commit", "a")["Status"] == "OK"
    assert client.rows() == []
    client.box.forward(61)
    assert (client.state("a"), client.rows()) == ("VISIBLE", [(1, "a")])


def test_a_publish_timeout_of_a_commit_without_prepare(client: Client) -> None:
    client.box.faults.add("publish_timeout", on="commit")
    open_with_rows(client, "a")
    assert client.step("commit", "a")["Status"] == "PUBLISH_TIMEOUT"
    assert (client.state("a"), client.rows()) == ("COMMITTED", [])


def test_slow(client: Client) -> None:
    client.box.faults.add("slow", on="stream_load", seconds=0.3)
    begun = time.monotonic()
    assert client.load("a", b"1,a\n")["Status"] == "Success"
    assert time.monotonic() - begun >= 0.3


def test_busy(client: Client) -> None:
    client.box.faults.add("busy", on="prepare", times=2)
    open_with_rows(client, "a")
    assert [client.step("prepare", "a")["Status"] for _ in range(3)] == ["TXN_IN_PROCESSING", "TXN_IN_PROCESSING", "OK"]


def test_too_many_versions_on_demand(client: Client) -> None:
    client.box.faults.add("too_many_versions", on="stream_load")
    said = client.load("a", b"1,a\n")
    assert (said["Status"], "too many versions" in said["Message"], client.state("a")) == ("Fail", True, "ABORTED")
    client.box.faults.add("too_many_versions", on="prepare")
    open_with_rows(client, "b")
    said = client.step("prepare", "b")
    assert (said["Status"], "too many versions" in said["Message"], client.state("b")) == ("INTERNAL_ERROR", True, "ABORTED")
    client.box.faults.add("too_many_versions", on="load")
    client.step("begin", "c")
    assert "too many versions" in client.step("load", "c", b"1,a\n")["Message"]
    assert client.state("c") == "ABORTED"


def test_too_many_versions_by_themselves_till_compaction(client: Client) -> None:
    assert control(client, "POST", "/tablets", tablet_max_versions=3)[0] == 200
    client.box.engine.compaction_seconds = 1e9
    open_with_rows(client, "late")
    said = [client.load(f"l{number}", b"1,a\n") for number in range(4)]
    assert [each["Status"] for each in said] == ["Success", "Success", "Success", "Fail"]
    assert "too many versions, current/limit: 4/3" in said[3]["Message"]
    assert "too many versions" in client.step("prepare", "late")["Message"]
    assert control(client, "POST", "/tablets", compact=True, database="d", table="t")[0] == 200
    assert client.load("l3", b"1,a\n")["Status"] == "Success"


def test_a_frontend_goes_and_the_other_one_leads(client: Client) -> None:
    open_with_rows(client, "a")
    assert control(client, "POST", "/frontend", name="leader", up=False)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        client.at("fe", "GET", "/api/d/get_load_state?label=a", {})
    state = client.at("follower", "GET", "/api/d/get_load_state?label=a", {})
    assert (state.status, state.json["state"]) == (200, "PREPARE")
    said = client.at("follower", "POST", "/api/transaction/prepare", {"label": "a", "db": "d", "table": "t"})
    assert said.headers["location"].startswith(f"http://{client.box.be_host}:")
    assert control(client, "POST", "/frontend", name="leader", up=True)[0] == 200
    back = client.at("fe", "GET", "/api/d/get_load_state?label=a", {})
    assert (back.status, client.box.follower_host in back.headers["location"]) == (307, True)


def test_the_backend_goes_and_comes_back(client: Client) -> None:
    open_with_rows(client, "a")
    assert control(client, "POST", "/backend", up=False)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        client.load("b", b"1,a\n")
    assert client.state("a") == "ABORTED"
    assert control(client, "POST", "/backend", up=True)[0] == 200
    assert client.load("b", b"1,a\n")["Status"] == "Success"


def test_several_tables_with_a_lost_commit(start: Start) -> None:
    client = start("4.0.1")
    client.box.faults.add("lost_reply", on="commit")
    client.step("begin", "a", **MULTI)
    client.step("load", "a", b"1,a\n", **MULTI)
    said = client.follow("POST", "/api/transaction/commit", {"label": "a", "db": "d", **MULTI})
    assert (said.status, client.state("a")) == (0, "VISIBLE")
    assert client.step("commit", "a", **MULTI)["Status"] == "OK"
    assert client.rows() == [(1, "a")]


def test_a_backend_that_dies_takes_the_rows_of_several_tables_along(start: Start) -> None:
    client = start("4.0.1")
    for label in ("empty", "loaded"):
        client.step("begin", label, **MULTI)
    client.step("load", "loaded", b"1,a\n", **MULTI)
    client.box.faults.add("dead", on="stream_load")
    client.follow("PUT", LOAD, {**CSV, "label": "a"}, b"1,a\n")
    assert client.step("commit", "loaded", **MULTI)["Status"] == "FAILED"
    assert client.step("load", "empty", b"2,b\n", **MULTI)["Status"] == "OK"
    assert client.step("commit", "empty", **MULTI)["Status"] == "OK"
    assert client.rows() == [(2, "b")]


def test_the_control_port(client: Client) -> None:
    status, made = control(client, "POST", "/faults", kind="lost_reply", on="commit", nth=2)
    assert (status, made["nth"]) == (200, 2)
    assert control(client, "GET", "/faults") == (200, [made])
    assert control(client, "DELETE", "/faults") == (200, {})
    assert control(client, "GET", "/faults") == (200, [])
    client.load("a", b"1,a\n")
    assert control(client, "POST", "/clock", forward=300_000) == (200, {})
    assert control(client, "GET", "/labels") == (200, [])
    assert control(client, "POST", "/users", name="u", password="p", grants=[["INSERT", "d", "*"]]) == (200, {})
    assert Client(client.box, ("u", "p")).load("b", b"1,a\n")["Status"] == "Success"
    assert control(client, "POST", "/backend", streaming_load_max_mb=0) == (200, {})
    assert "exceed limit" in client.load("c", b"1,a\n")["Message"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/faults", {"kind": "lost_reply", "what": 1}),
        ("/faults", {"kind": "lost"}),
        ("/faults", {"kind": "slow", "on": "loads"}),
        ("/clock", {"forward": -1}),
        ("/clock", {}),
        ("/frontend", {"name": "third", "up": True}),
        ("/backend", {"none": 1}),
        ("/none", {}),
    ],
)
def test_the_control_port_refuses_what_it_does_not_know(client: Client, path: str, fields: dict[str, Any]) -> None:
    status, said = control(client, "POST", path, **fields)
    assert (status, "error" in said) == (400, True)


def test_the_clock_goes_forward_only() -> None:
    with pytest.raises(ValueError, match="forward"):
        Clock().forward(-1)


def test_it_listens_on_loopback_only() -> None:
    with pytest.raises(ConfigError, match="loopback"):
        StarrocksSandbox(be_host="0.0.0.0")
