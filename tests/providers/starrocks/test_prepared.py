"""Loads that are prepared, and committed once the run has decided: what the next run makes of one that died, or was given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.providers.starrocks.conftest import (
    FIRST,
    SCHEMA,
    SOURCE,
    Box,
    Killed,
    at,
    changes,
    entry,
    inserts,
    kill,
    people,
    rows,
    schema_of,
)
from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError, RowRefused, TransientError, Unavailable
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Lease, Load

OTHER = TableName("shop", "u")
ENTRIES = [entry(10), entry(10, table=OTHER, target=TableName("", "u"))]


def two(box: Box) -> tuple[Target, Target]:
    """A primary key table and a log that keeps whatever is loaded twice."""
    box.table("id BIGINT, name VARCHAR(20)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "u")
    one = box.target(SCHEMA)
    other = box.target(schema_of(FIRST, "id", name="shop.u"), "u", write_mode="append")
    for target in (one, other):
        box.prepare(target)
    box.sink.ledger.setup()
    return one, other


def window(box: Box, targets: tuple[Target, Target], lease: Lease) -> Load:
    one, other = targets
    load = box.begin(one, other, lease=lease)
    load.write(one, inserts(FIRST, "id"))
    load.write(other, inserts(FIRST, "id", name="shop.u"))
    return load


def both(box: Box) -> tuple[int, int]:
    return len(rows(box, "t")), len(rows(box, "u"))


def taken_over(box: Box) -> Lease:
    """The next run's lease, which settles what the last one left."""
    box.reopen()
    return box.sink.ledger.acquire("s", "me", 60)


@pytest.mark.parametrize("database", ["box", "multi"])
def test_what_was_not_decided_is_rolled_back_and_done_again(request: pytest.FixtureRequest, database: str) -> None:
    box: Box = request.getfixturevalue(database)
    targets = two(box)
    window(box, targets, box.sink.ledger.acquire("s", "me", 60))
    assert set(box.states().values()) == {"PREPARE"}
    if database == "box":
        load = window(box, targets, taken_over(box))
        kill(box.sink, "prepare", nth=2)
        with pytest.raises(Killed):
            load.commit(ENTRIES)
        assert sorted(box.states().values()) == ["ABORTED", "ABORTED", "PREPARE", "PREPARED"]
    lease = taken_over(box)
    assert set(box.states().values()) == {"ABORTED"}
    assert (both(box), box.sink.ledger.last("s")) == ((0, 0), {})
    window(box, targets, lease).commit(ENTRIES)
    assert both(box) == (2, 2)


@pytest.mark.parametrize("nth", [1, 2])
def test_what_was_decided_is_committed_by_the_next_run(box: Box, nth: int) -> None:
    targets = two(box)
    load = window(box, targets, box.sink.ledger.acquire("s", "me", 60))
    kill(box.sink, "commit", nth=nth)
    with pytest.raises(Killed):
        load.commit(ENTRIES)
    load.abort()
    assert sum(both(box)) == 2 * (nth - 1)
    for _ in range(2):
        taken_over(box)
        assert both(box) == (2, 2)
    assert {table: found.position for table, found in box.sink.ledger.last("s").items()} == {SOURCE: at(10), OTHER: at(10)}


@pytest.mark.parametrize("gone", [False, True])
def test_a_decision_over_all_tables_is_committed_by_the_next_run_or_taken_back(multi: Box, gone: bool) -> None:
    targets = two(multi)
    load = window(multi, targets, multi.sink.ledger.acquire("s", "me", 60))
    kill(multi.sink, "commit")
    with pytest.raises(Killed):
        load.commit(ENTRIES)
    if gone:
        (label,) = [label for label, state in multi.states().items() if state == "PREPARE"]
        multi.open()._streamload.rollback(label, multi.server.database, multi=True)
    lease = taken_over(multi)
    assert both(multi) == ((0, 0) if gone else (2, 2))
    assert len(multi.sink.ledger.last("s")) == (0 if gone else 2)
    if gone:
        window(multi, targets, lease).commit(ENTRIES)
        assert both(multi) == (2, 2)


@pytest.mark.parametrize("decided", [True, False])
@pytest.mark.parametrize(("was", "now"), [("off", "auto"), ("auto", "off")])
def test_transactions_of_the_other_kind_are_ended_as_what_they_are(multi: Box, was: str, now: str, decided: bool) -> None:
    """Or of a server that has become a 4.0 meanwhile."""
    multi.reopen(multi_table=was)
    targets = two(multi)
    lease = multi.sink.ledger.acquire("s", "me", 60)
    load = window(multi, targets, lease)
    kill(multi.sink, "commit" if decided else "prepare" if was == "off" else "commit")
    if decided or was == "off":
        with pytest.raises(Killed):
            load.commit(ENTRIES)
    multi.reopen(multi_table=now)
    lease = multi.sink.ledger.acquire("s", "me", 60)
    assert both(multi) == ((2, 2) if decided else (0, 0))
    assert set(multi.states().values()) == ({"VISIBLE"} if decided else {"ABORTED"})


def test_a_transaction_that_the_server_gave_up_takes_the_decision_back(box: Box) -> None:
    targets = two(box)
    box.write(targets[0], inserts(people((9, "x")), "id"), lease=(lease := box.sink.ledger.acquire("s", "me", 60)))
    load = window(box, targets, lease)
    kill(box.sink, "commit")
    with pytest.raises(Killed):
        load.commit([replace(line, position=at(20)) for line in ENTRIES])
    lost = next(label for label, state in box.states().items() if state == "PREPARED" and label.endswith("-0"))
    box.open()._streamload.rollback(lost, box.server.database, "t")
    taken_over(box)
    assert both(box) == (1, 0), "and what comes after it"
    assert {table: found.position for table, found in box.sink.ledger.last("s").items()} == {SOURCE: at(10)}
    window(box, targets, taken_over(box)).commit(ENTRIES)
    assert both(box) == (3, 2)


def test_the_run_hears_that_a_decided_transaction_was_given_up_and_settles_it_itself(box: Box) -> None:
    targets = two(box)
    lease = box.sink.ledger.acquire("s", "me", 60)
    load = window(box, targets, lease)
    real = box.sink._streamload.commit

    def commit(label: str, database: str, table: str | None = None, **more: bool) -> object:
        if label.endswith("-1"):
            box.sink._streamload.rollback(label, database, table)
        return real(label, database, table, **more)

    box.sink._streamload.commit = commit  # type: ignore[method-assign, assignment]
    with pytest.raises(Unavailable):
        load.commit(ENTRIES)
    load.abort()
    assert box.sink.ledger.intents(lease) == ()
    assert list(box.sink.ledger.last("s")) == [SOURCE]
    assert both(box) == (2, 0)


@pytest.mark.parametrize("known", [True, False])
def test_a_decision_whose_label_was_forgotten_is_repeated_by_key_and_stops_a_log(multi: Box, known: bool) -> None:
    """Four days later: of a primary key table the rows are loaded again; of a log nobody can tell whether they are in."""
    multi.reopen(multi_table="off")
    targets = two(multi)
    one, other = targets
    lease = multi.sink.ledger.acquire("s", "me", 60)
    load = multi.begin(one, other, lease=lease)
    load.write(one, inserts(FIRST, "id"))
    if not known:
        load.write(other, inserts(FIRST, "id", name="shop.u"))
    kill(multi.sink, "commit", nth=1 if known else 2, after=True)
    with pytest.raises(Killed):
        load.commit(ENTRIES[:1] if known else ENTRIES)
    multi.server.control("POST", "/clock", forward=4 * 86_400)
    multi.reopen(multi_table="off")
    if known:
        multi.sink.ledger.acquire("s", "me", 60)
        assert multi.sink.ledger.last("s") == {}, "it is read and loaded again"
    else:
        with pytest.raises(PermanentError, match=r"forgotten the label .*-1, and nothing in the rows tells.*new copy"):
            multi.sink.ledger.acquire("s", "me", 60)


@pytest.mark.parametrize(("fault", "on"), [("lost_reply", "commit"), ("publish_timeout", "commit"), ("lost_reply", "prepare")])
def test_a_reply_that_is_lost_or_late_is_no_failure(box: Box, fault: str, on: str) -> None:
    targets = two(box)
    box.server.fault(fault, on=on, seconds=0.2)
    load = window(box, targets, box.sink.ledger.acquire("s", "me", 60))
    load.commit(ENTRIES)
    if fault == "publish_timeout":
        box.server.control("POST", "/publish")
    assert both(box) == (2, 2)


def test_a_transaction_whose_load_was_lost_is_rolled_back_whole(box: Box) -> None:
    targets = two(box)
    lease = box.sink.ledger.acquire("s", "me", 60)
    box.server.fault("dead", on="load", at="be")
    load = box.begin(*targets, lease=lease)
    with pytest.raises(TransientError):
        load.write(targets[0], inserts(FIRST, "id"))
    load.abort()
    assert "VISIBLE" not in box.states().values()
    assert box.sink.ledger.intents(lease) == ()
    window(box, targets, lease).commit(ENTRIES)
    assert both(box) == (2, 2)


def test_rows_that_the_server_refuses_end_the_window_before_anything_is_decided(box: Box) -> None:
    box.table("id BIGINT, n TINYINT NOT NULL")
    box.sink.ledger.setup()
    target = box.target(SCHEMA, properties={"columns": "id,name,n=id"})
    box.prepare(target)
    lease = box.sink.ledger.acquire("s", "me", 60)
    with pytest.raises(RowRefused, match=r"filtered|refused"):
        box.write(target, changes(people((1, "a"), (1000, "b")), "+I +I", "id"), lease=lease)
    assert rows(box) == []
    assert box.sink.ledger.last("s") == {}
    assert set(box.states().values()) == {"ABORTED"}
