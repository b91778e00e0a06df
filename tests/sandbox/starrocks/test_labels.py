"""Labels: one load each, aborted ones again, forgotten by age and by number, kept over a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.starrocks.conftest import Start
from tests.sandbox.starrocks.wire import Client
from tidegate.sandbox.starrocks.config import FrontendConfig
from tidegate.sandbox.starrocks.faults import Clock
from tidegate.sandbox.starrocks.labels import LabelBook


def test_a_label_that_succeeded_is_not_taken_again_whatever_the_table(client: Client) -> None:
    assert client.load("a", b"1,a\n")["Status"] == "Success"
    for said in (client.load("a", b"1,a\n"), client.load("a", b"2,b\n")):
        assert (said["Status"], said["ExistingJobStatus"]) == ("Label Already Exists", "FINISHED")
    assert client.rows() == [(1, "a")]


def test_an_aborted_label_may_be_used_again(client: Client) -> None:
    assert client.load("a", b"x,a\n", strict_mode="true")["Status"] == "Fail"
    assert client.state("a") == "ABORTED"
    assert client.load("a", b"1,a\n")["Status"] == "Success"
    assert client.state("a") == "VISIBLE"


def test_labels_of_databases_are_apart(client: Client) -> None:
    from tests.sandbox.starrocks.wire import make_table

    make_table(client.box, database="e")
    assert client.load("a", b"1,a\n")["Status"] == "Success"
    assert client.load("a", b"2,b\n", database="e")["Status"] == "Success"
    assert client.state("b") == "UNKNOWN"


def test_a_label_expires(client: Client) -> None:
    client.load("a", b"1,a\n")
    client.box.forward(259_200 - 60)
    assert client.state("a") == "VISIBLE"
    client.box.forward(120)
    assert client.state("a") == "UNKNOWN"
    assert client.load("a", b"1,a\n")["Status"] == "Success"
    assert client.rows() == [(1, "a"), (1, "a")]


def test_the_oldest_labels_of_a_database_make_room(client: Client) -> None:
    client.box.config.set("label_keep_max_num", 2)
    for label in "abc":
        client.load(label, b"1,a\n")
    assert [client.state(label) for label in "abc"] == ["UNKNOWN", "VISIBLE", "VISIBLE"]


def test_a_running_load_is_not_forgotten(client: Client) -> None:
    client.box.config.set("label_keep_max_num", 0)
    client.step("begin", "a", timeout="259200")
    client.box.forward(200_000)
    assert client.state("a") == "PREPARE"


def test_the_settings_can_be_changed_while_it_runs(client: Client) -> None:
    client.load("a", b"1,a\n")
    client.box.config.set("label_keep_max_second", 10)
    client.box.forward(11)
    assert client.state("a") == "UNKNOWN"
    with pytest.raises(ValueError, match="soon"):
        client.box.config.set("label_keep_max_second", "soon")
    with pytest.raises(KeyError):
        client.box.config.set("label_keep", 1)


def test_ids_grow_and_are_not_used_twice_also_over_a_restart(tmp_path: Path) -> None:
    def book() -> LabelBook:
        return LabelBook(config, clock, tmp_path / "labels")

    config, clock = FrontendConfig(label_keep_max_num=0), Clock()
    first = book()
    made = first.add("a", "d", ["t"])
    made.state = "VISIBLE"
    first.save(made)
    assert first.find("d", "a") is None
    first.close()
    second = book()
    assert second.add("b", "d", ["t"]).id > made.id
    second.close()


def test_tables_and_labels_are_there_after_a_restart(start: Start, tmp_path: Path) -> None:
    client = start(folder=tmp_path)
    client.load("done", b"1,a\n")
    client.load("bad", b"x,a\n", strict_mode="true")
    client.box.stop()
    again = start(folder=tmp_path)
    assert again.rows() == [(1, "a")]
    assert (again.state("done"), again.state("bad")) == ("VISIBLE", "ABORTED")
    assert again.load("done", b"1,a\n")["ExistingJobStatus"] == "FINISHED"


def test_after_a_restart_what_was_prepared_can_be_committed_and_what_was_open_is_aborted(start: Start, tmp_path: Path) -> None:
    client = start(folder=tmp_path)
    for label in ("open", "prepared", "dropped"):
        client.step("begin", label)
        client.step("load", label, b"1,%s\n" % label.encode())
    client.step("prepare", "prepared")
    client.step("prepare", "dropped")
    client.box.faults.add("publish_timeout", on="stream_load")
    assert client.load("late", b"2,late\n")["Status"] == "Publish Timeout"
    client.box.stop()
    again = start(folder=tmp_path)
    assert (again.state("open"), again.state("prepared"), again.state("late")) == ("ABORTED", "PREPARED", "VISIBLE")
    assert again.rows() == [(2, "late")]
    assert again.step("commit", "prepared")["Status"] == "OK"
    assert again.step("rollback", "dropped")["Status"] == "OK"
    assert again.rows() == [(1, "prepared"), (2, "late")]


@pytest.mark.parametrize("kind", ["at_once", "prepared"])
def test_a_sandbox_that_ends_between_the_rows_and_their_label_knows_the_label(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    client = start(folder=tmp_path)
    if kind == "prepared":
        client.step("begin", "a")
        client.step("load", "a", b"1,a\n")
        client.step("prepare", "a")

    def crash(transaction: object) -> None:
        raise SystemExit

    monkeypatch.setattr(client.box.transactions, "_visible", crash)
    transaction = client.box.labels.find("d", "a") or client.box.transactions.begin("d", ["t"], "a", "stream_load", "root")
    staged = None if kind == "prepared" else [client.box.engine.stage("d", "t", {"column_separator": ","}, b"1,a\n")]
    with pytest.raises(SystemExit):
        client.box.transactions.commit(transaction, staged)
    client.box.stop()
    again = start(folder=tmp_path)
    assert (again.state("a"), again.rows()) == ("VISIBLE", [(1, "a")])


def test_a_prepared_transaction_without_its_files_is_noticed(start: Start) -> None:
    client = start()
    client.step("begin", "a")
    client.step("load", "a", b"1,a\n")
    client.step("prepare", "a")
    with pytest.raises(LookupError, match="without its rows"):
        client.box.transactions.recover()
