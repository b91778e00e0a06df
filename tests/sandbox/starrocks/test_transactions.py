"""The transaction interface: steps, states, time-outs, what may be repeated and what not; any order of steps against a model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.sandbox.starrocks.conftest import Start
from tests.sandbox.starrocks.wire import PASSWORD, USER, Client, line, make_table
from tests.scale import examples
from tidegate.sandbox.starrocks.server import StarrocksSandbox

MULTI: dict[str, Any] = {"transaction_type": "multi"}


def statuses(*said: Any) -> list[str]:
    return [each["Status"] for each in said]


def open_with_rows(client: Client, label: str, body: bytes = b"1,a\n", **headers: Any) -> None:
    assert statuses(client.step("begin", label, **headers), client.step("load", label, body)) == ["OK", "OK"]


def test_begin_load_prepare_commit(client: Client) -> None:
    begun = client.step("begin", "a")
    assert (begun["Status"], begun["Label"], begun["TxnId"] > 0) == ("OK", "a", True)
    assert client.state("a") == "PREPARE"
    loaded = client.step("load", "a", b"1,a\n2,b\n")
    assert (loaded["Status"], loaded["LoadBytes"], loaded["TxnId"]) == ("OK", 8, begun["TxnId"])
    assert client.step("load", "a", b"3,c\n")["LoadBytes"] == 4
    prepared = client.step("prepare", "a")
    assert (prepared["Status"], prepared["NumberTotalRows"], prepared["NumberLoadedRows"]) == ("OK", 3, 3)
    assert prepared["LoadBytes"] == 12
    assert (client.state("a"), client.rows()) == ("PREPARED", [])
    committed = client.step("commit", "a")
    assert committed == {"Status": "OK", "Message": "", "TxnId": begun["TxnId"], "Label": "a"}
    assert (client.state("a"), client.rows()) == ("VISIBLE", [(1, "a"), (2, "b"), (3, "c")])


def test_commit_without_prepare(client: Client) -> None:
    open_with_rows(client, "a")
    said = client.step("commit", "a")
    assert (said["Status"], said["NumberLoadedRows"], client.state("a")) == ("OK", 1, "VISIBLE")


def test_steps_are_redirected_to_the_backend_as_long_as_it_has_the_transaction(client: Client) -> None:
    open_with_rows(client, "a")
    headers = {"label": "a", "db": "d", "table": "t"}
    for operation in ("load", "prepare", "commit", "rollback"):
        assert client.at("fe", "POST", f"/api/transaction/{operation}", headers).status == 307
    client.step("prepare", "a")
    assert client.at("fe", "POST", "/api/transaction/prepare", headers).status == 307
    assert client.at("fe", "POST", "/api/transaction/commit", headers).status == 200


def test_commit_may_be_repeated(client: Client) -> None:
    open_with_rows(client, "a")
    client.step("prepare", "a")
    first = client.step("commit", "a")
    again = client.step("commit", "a")
    assert again["Status"] == "OK"
    assert again["Message"] == f"Transaction {first['TxnId']} has already committed, label is a"
    assert client.rows() == [(1, "a")]


def test_rollback_may_be_repeated_and_its_label_used_again(client: Client) -> None:
    open_with_rows(client, "a")
    assert client.step("rollback", "a")["Status"] == "OK"
    assert "has already aborted" in client.step("rollback", "a")["Message"]
    open_with_rows(client, "a")
    client.step("prepare", "a")
    assert client.step("rollback", "a")["Status"] == "OK"
    assert (client.state("a"), client.rows()) == ("ABORTED", [])


def test_a_second_prepare_finds_no_transaction_and_the_state_tells_why(client: Client) -> None:
    open_with_rows(client, "a")
    assert client.step("prepare", "a")["Status"] == "OK"
    said = client.step("prepare", "a")
    assert (said["Status"], said["Message"]) == ("TXN_NOT_EXISTS", "transaction with label a not exists")
    assert client.state("a") == "PREPARED"
    assert client.step("load", "a", b"2,b\n")["Status"] == "TXN_NOT_EXISTS"


def test_what_ended_one_way_is_not_ended_the_other_way(client: Client) -> None:
    open_with_rows(client, "a")
    client.step("commit", "a")
    said = client.step("rollback", "a")
    assert said["Status"] == "FAILED"
    assert "Can not abort VISIBLE transaction" in said["Message"]
    open_with_rows(client, "b")
    client.step("rollback", "b")
    said = client.step("commit", "b")
    assert said["Status"] == "FAILED"
    assert "Can not commit ABORTED transaction" in said["Message"]


@pytest.mark.parametrize("operation", ["prepare", "commit"])
def test_without_data_there_is_nothing_to_end(client: Client, operation: str) -> None:
    client.step("begin", "a")
    said = client.step(operation, "a")
    assert said["Status"] == "INTERNAL_ERROR"
    assert said["Message"].endswith("hasn't send any data yet")
    assert client.state("a") == "ABORTED"


@pytest.mark.parametrize("operation", ["load", "prepare", "commit", "rollback"])
def test_a_label_without_a_transaction(client: Client, operation: str) -> None:
    said = client.step(operation, "none")
    assert (said["Status"], "No transaction found" in said["Message"]) == ("FAILED", True)


def test_begin_with_a_label_in_use(client: Client) -> None:
    client.step("begin", "a")
    said = client.step("begin", "a")
    assert (said["Status"], said["ExistingJobStatus"]) == ("LABEL_ALREADY_EXISTS", "RUNNING")
    client.load("b", b"1,a\n")
    assert client.step("begin", "b")["ExistingJobStatus"] == "FINISHED"


def test_database_and_table_must_be_those_of_begin(client: Client) -> None:
    make_table(client.box, database="e")
    make_table(client.box, "u")
    client.step("begin", "a")
    assert client.step("load", "a", b"1,a\n", table="u")["Message"] == "Request table u not equal transaction table t"
    assert client.step("load", "a", b"1,a\n", database="e")["Message"] == "Request database e not equal transaction database d"
    assert client.step("begin", "b", table="none")["Message"] == 'unknown table "d.none"'
    assert "Database[none] does not exist." in client.step("begin", "b", database="none")["Message"]
    assert "Empty label." in client.at("fe", "POST", "/api/transaction/begin", {"db": "d"}).json["Message"]
    assert "No database selected." in client.at("fe", "POST", "/api/transaction/begin", {}).json["Message"]


def test_loads_with_other_parameters_are_refused_and_roll_back(client: Client) -> None:
    open_with_rows(client, "a")
    said = client.step("load", "a", b"2;b\n", column_separator=";")
    assert (said["Status"], said["Message"]) == ("INTERNAL_ERROR", "load request not equal last.")
    assert client.state("a") == "ABORTED"


def test_an_error_of_the_plan_is_told_by_load_one_of_the_rows_by_prepare(client: Client) -> None:
    client.step("begin", "a")
    said = client.step("load", "a", b"1,a\n", columns="id,none=nothing")
    assert (said["Status"], client.state("a")) == ("INTERNAL_ERROR", "ABORTED")
    open_with_rows(client, "b")
    client.step("rollback", "b")
    client.step("begin", "b")
    assert client.step("load", "b", b"x,a\n", strict_mode="true")["Status"] == "OK"
    said = client.step("prepare", "b")
    assert (said["Status"], said["Message"]) == ("INTERNAL_ERROR", "too many filtered rows")
    assert said["ErrorURL"].startswith("http://127.0.0.2:")
    assert client.state("b") == "ABORTED"


def test_bodies_of_csv_run_together_and_documents_of_json_do_not(client: Client) -> None:
    client.step("begin", "csv")
    client.step("load", "csv", b"1,a\n2,")
    client.step("load", "csv", b"b\n")
    assert client.step("commit", "csv")["NumberLoadedRows"] == 2
    client.step("begin", "json")
    for number in (3, 4):
        body = json.dumps([{"id": number, "v": "c"}]).encode()
        assert client.step("load", "json", body, format="json", strip_outer_array="true")["Status"] == "OK"
    assert client.step("commit", "json")["NumberLoadedRows"] == 2
    assert client.rows() == [(1, "a"), (2, "b"), (3, "c"), (4, "c")]


def test_the_share_of_filtered_rows_is_that_of_all_documents(client: Client) -> None:
    settings_ = {"format": "json", "strict_mode": "true", "strip_outer_array": "true", "max_filter_ratio": "0.25"}
    bodies = [[{"id": "x", "v": "bad"}], [{"id": number, "v": "good"} for number in range(3)]]
    for label, wanted in (("few", "OK"), ("many", "INTERNAL_ERROR")):
        client.step("begin", label)
        for body in bodies:
            client.step("load", label, json.dumps(body).encode(), **settings_)
        said = client.step("prepare", label)
        assert said["Status"] == wanted, said
        settings_["max_filter_ratio"] = "0.2"


def test_enclose_is_not_known_to_the_transaction_interface(client: Client) -> None:
    client.load("v1", b'1,"a"\n', enclose='"')
    client.step("begin", "v2")
    client.step("load", "v2", b'2,"b"\n', enclose='"')
    client.step("commit", "v2")
    assert client.rows() == [(1, "a"), (2, '"b"')]


def test_while_a_body_arrives_the_transaction_is_busy(client: Client) -> None:
    client.step("begin", "a")
    with line(client.box.be_host, client.box.be_port) as to:
        fixed = {"label": "a", "db": "d", "table": "t", "column_separator": ",", "Expect": "100-continue", "Content-Length": "4"}
        to.head("PUT", "/api/transaction/load", fixed)
        assert to.answer().status == 100
        for operation in ("load", "prepare", "commit"):
            said = client.step(operation, "a", b"2,b\n" if operation == "load" else b"")
            assert (said["Status"], said["Label"]) == ("TXN_IN_PROCESSING", "a")
        to.send(b"1,a\n")
        assert to.answer().json["Status"] == "OK"
    assert client.step("commit", "a")["Status"] == "OK"
    assert client.rows() == [(1, "a")]


def test_what_arrived_before_a_connection_broke_stays_in_the_transaction(client: Client) -> None:
    from tests.servers import wait_until

    client.step("begin", "a")
    with line(client.box.be_host, client.box.be_port) as to:
        fixed = {"label": "a", "db": "d", "table": "t", "column_separator": ",", "Expect": "100-continue"}
        to.head("PUT", "/api/transaction/load", {**fixed, "Content-Length": "8"})
        assert to.answer().status == 100, "it has begun before the next load does"
        to.send(b"1,a\n")
    wait_until(lambda: client.step("load", "a", b"2,b\n")["Status"] == "OK", "the end of the broken load")
    client.step("commit", "a")
    assert client.rows() == [(1, "a"), (2, "b")]


def test_half_a_document_stays_in_the_buffer_and_the_next_body_is_appended(client: Client) -> None:
    from tests.servers import wait_until

    fixed = {"label": "a", "db": "d", "table": "t", "format": "json", "strip_outer_array": "true"}
    client.step("begin", "a")
    with line(client.box.be_host, client.box.be_port) as to:
        to.head("PUT", "/api/transaction/load", {**fixed, "Expect": "100-continue", "Content-Length": "1000"})
        assert to.answer().status == 100
        to.send(b'[{"id": 1, "v": "a"}, {"id": 2,')

    def next_body() -> bool:
        said = client.step("load", "a", b' "v": "b"}]', column_separator="", format="json", strip_outer_array="true")
        return bool(said["Status"] == "OK")

    wait_until(next_body, "the end of the broken load")
    assert client.step("commit", "a")["Status"] == "OK"
    assert client.rows() == [(1, "a"), (2, "b")]


def test_time_outs_roll_back(client: Client) -> None:
    open_with_rows(client, "slow", timeout="10")
    open_with_rows(client, "idle", idle_transaction_timeout="5")
    client.box.forward(6)
    assert (client.state("slow"), client.state("idle")) == ("PREPARE", "ABORTED")
    client.box.forward(6)
    assert client.state("slow") == "ABORTED"
    assert client.step("commit", "slow")["Status"] == "FAILED"
    open_with_rows(client, "held", timeout="10")
    client.step("prepare", "held", prepared_timeout="100")
    client.box.forward(50)
    assert client.state("held") == "PREPARED"
    client.box.forward(51)
    assert client.state("held") == "ABORTED"
    assert client.rows() == []


def test_prepared_time_out_is_the_frontends_where_the_header_is_not_known(start: Start) -> None:
    client = start("3.3.5")
    client.box.config.set("prepared_transaction_default_timeout_second", 1000)
    open_with_rows(client, "a")
    client.step("prepare", "a", prepared_timeout="10")
    client.box.forward(20)
    assert client.state("a") == "PREPARED"
    client.box.forward(1000)
    assert client.state("a") == "ABORTED"


def test_a_database_has_so_many_transactions_and_no_more(client: Client) -> None:
    client.box.config.set("max_running_txn_num_per_db", 1)
    client.step("begin", "a")
    said = client.step("begin", "b")
    assert said["Message"] == "current running txns on db d is 1, larger than limit 1"
    assert client.load("c", b"1,a\n")["Message"].startswith("current running txns on db")
    client.step("rollback", "a")
    assert client.step("begin", "b")["Status"] == "OK"


def test_cancel(client: Client) -> None:
    open_with_rows(client, "a")
    open_with_rows(client, "b")
    client.step("prepare", "b")
    assert client.at("fe", "POST", "/api/d/t/_cancel?label=a", {}).json["status"] == "OK"
    assert client.at("fe", "POST", "/api/d/b/_cancel", {}).json["status"] == "OK"
    assert (client.state("a"), client.state("b")) == ("ABORTED", "ABORTED")
    assert client.step("load", "a", b"1,a\n")["Status"] == "TXN_NOT_EXISTS"
    for label in ("a", "none"):
        assert client.at("fe", "POST", f"/api/d/t/_cancel?label={label}", {}).json["status"] == "FAILED"


def test_below_2_4_there_is_no_transaction_interface(start: Start) -> None:
    said = start("2.3.1").at("fe", "POST", "/api/transaction/begin", {}).json
    assert (said["status"], said["msg"]) == ("FAILED", "Not implemented")


def test_several_tables_become_visible_at_once(start: Start) -> None:
    client = start("4.0.1")
    make_table(client.box, "u")
    assert client.step("begin", "a", **MULTI)["Status"] == "OK"
    assert client.state("a") == "UNKNOWN"
    assert client.step("begin", "a", **MULTI)["Status"] == "LABEL_ALREADY_EXISTS"
    for table in ("t", "u", "t"):
        assert client.step("load", "a", b"1,a\n", table, **MULTI)["Status"] == "OK"
    assert client.state("a") == "PREPARE"
    assert "Unsupported operation" in client.step("prepare", "a", **MULTI)["Message"]
    assert client.step("commit", "a", **MULTI)["Status"] == "OK"
    assert (client.rows(), client.rows("u"), client.state("a")) == ([(1, "a"), (1, "a")], [(1, "a")], "VISIBLE")
    assert "has already committed" in client.step("commit", "a", **MULTI)["Message"]
    assert client.step("rollback", "a", **MULTI)["Status"] == "FAILED"
    assert client.step("begin", "a", **MULTI)["Status"] == "LABEL_ALREADY_EXISTS"


def test_one_bad_table_fails_them_all(start: Start) -> None:
    client = start("4.0.1")
    make_table(client.box, "u")
    client.step("begin", "a", **MULTI)
    client.step("load", "a", b"1,a\n", "t", **MULTI)
    client.step("load", "a", b"x,a\n", "u", strict_mode="true", **MULTI)
    said = client.step("commit", "a", **MULTI)
    assert (said["Status"], said["Message"]) == ("FAILED", "too many filtered rows")
    assert (client.rows(), client.rows("u"), client.state("a")) == ([], [], "ABORTED")


def test_several_tables_roll_back(start: Start) -> None:
    client = start("4.0.1")
    client.step("begin", "a", **MULTI)
    client.step("load", "a", b"1,a\n", **MULTI)
    assert client.step("rollback", "a", **MULTI)["Status"] == "OK"
    assert "has already aborted" in client.step("rollback", "a", **MULTI)["Message"]
    assert client.step("commit", "a", **MULTI)["Status"] == "FAILED"
    assert (client.rows(), client.state("a")) == ([], "ABORTED")


def test_a_backend_does_not_manage_transactions_of_several_tables(start: Start) -> None:
    said = start("4.0.1").at("be", "POST", "/api/transaction/begin", {"label": "a", "db": "d", **MULTI}).json
    assert (said["Status"], "can only be sent to FE nodes" in said["Message"]) == ("INVALID_ARGUMENT", True)


def test_before_4_0_a_second_table_is_another_table(start: Start) -> None:
    client = start("3.5.6")
    make_table(client.box, "u")
    client.step("begin", "a", **MULTI)
    assert client.step("load", "a", b"1,a\n", "u")["Status"] in ("INVALID_ARGUMENT", "FAILED", "TXN_NOT_EXISTS")
    assert client.rows("u") == []


LABELS = st.sampled_from(["a", "b"])


class Labels(RuleBasedStateMachine):
    """Any order of steps, by two labels: the states of a model, and each row as often as its label became visible."""

    def __init__(self) -> None:
        super().__init__()
        self.box = StarrocksSandbox("3.5.6", user=USER, password=PASSWORD)
        self.box.start()
        make_table(self.box)
        self.client = Client(self.box)
        self.states: dict[str, str] = {}
        self.staged: dict[str, list[int]] = {}
        self.seen: list[int] = []
        self.next = 0

    def teardown(self) -> None:
        self.box.stop()

    @initialize()
    def settings(self) -> None:
        self.box.config.set("label_keep_max_second", 1000)

    def state(self, label: str) -> str:
        return self.states.get(label, "UNKNOWN")

    def row(self) -> tuple[int, bytes]:
        self.next += 1
        return self.next, b"%d,x\n" % self.next

    def free(self, label: str) -> bool:
        return self.state(label) in ("UNKNOWN", "ABORTED")

    @rule(label=LABELS)
    def load_at_once(self, label: str) -> None:
        number, body = self.row()
        said = self.client.load(label, body)
        assert said["Status"] == ("Success" if self.free(label) else "Label Already Exists")
        if self.free(label):
            self.states[label] = "VISIBLE"
            self.seen.append(number)

    @rule(label=LABELS)
    def load_badly(self, label: str) -> None:
        said = self.client.load(label, b"x,x\n", strict_mode="true")
        assert said["Status"] == ("Fail" if self.free(label) else "Label Already Exists")
        if self.free(label):
            self.states[label] = "ABORTED"

    @rule(label=LABELS)
    def begin(self, label: str) -> None:
        said = self.client.step("begin", label)
        assert said["Status"] == ("OK" if self.free(label) else "LABEL_ALREADY_EXISTS")
        if self.free(label):
            self.states[label], self.staged[label] = "PREPARE", []

    @rule(label=LABELS)
    def load(self, label: str) -> None:
        number, body = self.row()
        said = self.client.step("load", label, body)
        assert (said["Status"] == "OK") == (self.state(label) == "PREPARE")
        if self.state(label) == "PREPARE":
            self.staged[label].append(number)

    @rule(label=LABELS)
    def prepare(self, label: str) -> None:
        ok = self.client.step("prepare", label)["Status"] == "OK"
        assert ok == (self.state(label) == "PREPARE" and bool(self.staged[label]))
        if self.state(label) == "PREPARE":
            self.states[label] = "PREPARED" if ok else "ABORTED"

    @rule(label=LABELS)
    def commit(self, label: str) -> None:
        ok = self.client.step("commit", label)["Status"] == "OK"
        before = self.state(label)
        rows = self.staged.get(label, [])
        assert ok == (before in ("PREPARED", "VISIBLE") or (before == "PREPARE" and bool(rows)))
        if before in ("PREPARE", "PREPARED"):
            self.states[label] = "VISIBLE" if ok else "ABORTED"
            self.seen += rows if ok else []

    @rule(label=LABELS)
    def roll_back(self, label: str) -> None:
        ok = self.client.step("rollback", label)["Status"] == "OK"
        assert ok == (self.state(label) in ("PREPARE", "PREPARED", "ABORTED"))
        if self.state(label) in ("PREPARE", "PREPARED"):
            self.states[label] = "ABORTED"

    @rule()
    def time_passes(self) -> None:
        """More than a load may take and less than labels are kept: open ones are aborted, prepared ones stay."""
        self.box.forward(700)
        for label, state in self.states.items():
            if state == "PREPARE":
                self.states[label] = "ABORTED"

    @rule()
    def labels_are_forgotten(self) -> None:
        self.time_passes()
        self.box.forward(1100)
        self.states = {label: state for label, state in self.states.items() if state == "PREPARED"}

    @invariant()
    def as_in_the_model(self) -> None:
        if not hasattr(self, "client"):
            return
        forgotten = self.box.labels
        for label in ("a", "b"):
            state = self.client.state(label)
            # time_passes may be drawn twice in a row: what has ended is forgotten then.
            if state == "UNKNOWN" and self.state(label) in ("VISIBLE", "ABORTED"):
                assert forgotten.find("d", label) is None
                del self.states[label]
            assert state == self.state(label)
        assert [row[0] for row in self.client.rows()] == sorted(self.seen)


TestLabels = Labels.TestCase
TestLabels.settings = settings(max_examples=examples(12), stateful_step_count=25, deadline=None)
