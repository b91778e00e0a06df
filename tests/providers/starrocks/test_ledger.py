"""Leases, fences, ownership and entries in tidegate_ledger, whose numbers are labels that can exist once."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.ledger_contract import LedgerContract
from tests.providers.starrocks.conftest import FIRST, SCHEMA, SOURCE, Box, at, entry, inserts, people, rows
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, LeaseLost, LoadUnresolved, PreflightError, SyncBusy, Unavailable
from tidegate.providers.starrocks.logstore import StarrocksLog
from tidegate.sync.log import Record
from tidegate.sync.logledger import WriteAheadLedger
from tidegate.sync.protocols import Entry

TARGET = TableName("", "t")


@pytest.fixture
def others(box: Box, ledger: WriteAheadLedger) -> Callable[[int], Sequence[WriteAheadLedger]]:
    """The ledger as other processes see it."""
    return lambda number: [box.open().ledger for _ in range(number)]


@pytest.fixture
def other(others: Callable[[int], Sequence[WriteAheadLedger]]) -> WriteAheadLedger:
    return others(1)[0]


def log_of(ledger: WriteAheadLedger) -> StarrocksLog:
    log = ledger._store
    assert isinstance(log, StarrocksLog)
    return log


class TestContract(LedgerContract):
    pass


def test_a_plan_sees_an_empty_ledger_where_there_is_none_and_creates_nothing(box: Box) -> None:
    assert box.sink.ledger.last("s") == {}
    assert box.sink.ledger.owners([TARGET]) == {}
    assert box.query("SHOW TABLES") == []


def test_setup_by_many_at_once_gives_one_table(box: Box) -> None:
    sinks = [box.open() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda sink: sink.ledger.setup(), sinks))
    box.sink.ledger.setup()
    assert box.query("SHOW TABLES") == [("tidegate_ledger",)]


def test_an_expired_lease_is_anyones_and_a_heartbeat_keeps_it(ledger: WriteAheadLedger, other: WriteAheadLedger) -> None:
    lease = ledger.acquire("s", "me", -1)
    assert other.acquire("s", "you", -1).fence == lease.fence + 1
    mine = ledger.acquire("s", "me", 60)
    ledger.renew(mine)
    with pytest.raises(SyncBusy):
        other.acquire("s", "you", 60)


def test_of_two_that_race_for_each_number_one_wins_it(box: Box, ledger: WriteAheadLedger, other: WriteAheadLedger) -> None:
    logs = [log_of(ledger), log_of(other)]
    barrier = threading.Barrier(2)

    def race(which: int) -> list[bool]:
        won = []
        for number in range(8):
            barrier.wait()
            won.append(logs[which].append("race", number, {"kind": "claim", "sync": f"s{which}"}))
        return won

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(race, range(2))
    assert all(one != two for one, two in zip(first, second, strict=True))
    said = [record["sync"] for _, record in logs[0].records("race", 0)]
    assert said == ["s0" if won else "s1" for won in first]


@pytest.mark.parametrize("fault", ["lost_reply", "publish_timeout", "dead", "refuse"])
def test_an_append_whose_reply_is_lost_late_or_never_was_is_decided(box: Box, ledger: WriteAheadLedger, fault: str) -> None:
    lease = ledger.acquire("s", "me", 60)
    box.server.fault(fault, on="stream_load", at="be", seconds=0.3, label="tidegate-log-")
    ledger.record(lease, [entry(10)])
    assert box.open().ledger.last("s")[SOURCE].position == at(10)
    assert box.query("SELECT COUNT(*), COUNT(DISTINCT number), MAX(number) FROM tidegate_ledger") == [(2, 2, 1)]
    ledger.record(lease, [entry(20)])


def test_an_append_that_nobody_answers_is_unresolved_and_the_next_one_knows(
    box: Box, ledger: WriteAheadLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row was loaded and can't be read: neither «ours» nor «taken» would be true."""
    log = log_of(ledger)
    monkeypatch.setattr(log, "_pause", lambda seconds: None)
    lease = ledger.acquire("s", "me", 60)
    real = log._metadata.session.rows
    box.server.fault("lost_reply", on="stream_load", at="be", label="tidegate-log-")
    monkeypatch.setattr(
        log._metadata.session,
        "rows",
        lambda question, *args, **more: [] if "`token`" in question else real(question, *args, **more),
    )
    with pytest.raises(LoadUnresolved, match="can't be read yet"):
        ledger.record(lease, [entry(10)])
    monkeypatch.undo()
    assert box.open().ledger.last("s")[SOURCE].position == at(10)


def test_a_record_longer_than_a_column_is_packed(box: Box, ledger: WriteAheadLedger, other: WriteAheadLedger) -> None:
    lease = ledger.acquire("s", "me", 60)
    many = [Entry("s", TableName("shop", f"t{number}" + "x" * 60), TARGET, at(number)) for number in range(4000)]
    ledger.record(lease, many)
    assert len(other.last("s")) == 4000
    ((longest,),) = box.query("SELECT MAX(LENGTH(record)) FROM tidegate_ledger")
    assert longest < 1_000_000
    again = other.acquire("s", "me", 60)
    assert again.fence == lease.fence + 1
    assert len(box.open().ledger.last("s")) == 4000


def test_what_comes_after_a_gap_is_read_when_the_gap_is_filled(box: Box, ledger: WriteAheadLedger, other: WriteAheadLedger) -> None:
    """A frontend that follows may show a later record first."""
    lease = ledger.acquire("s", "me", 60)
    log = log_of(ledger)
    assert log.append("s", 2, {"kind": "closed"})
    assert other.last("s") == {}
    assert other._states["s"].count == 1
    ledger.record(lease, [entry(10)])
    assert other.last("s")[SOURCE].position == at(10)
    assert other._states["s"].count == 3


def test_only_what_is_new_is_read_and_a_takeover_reads_from_the_last_checkpoint(
    box: Box, ledger: WriteAheadLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = ledger.acquire("s", "me", 60)
    for offset in range(10, 15):
        ledger.record(lease, [entry(offset)])
    ledger.acquire("s", "me", 60)
    fresh = box.open()
    read: list[int] = []
    log = log_of(fresh.ledger)
    real: Any = log.records

    def records(name: str, since: int | None = None) -> Any:
        found = real(name, since)
        read.extend(number for number, _ in found)
        return found

    monkeypatch.setattr(log, "records", records)
    assert fresh.ledger.last("s")[SOURCE].position == at(14)
    assert read == [6], "the record of the lease, which holds the state"
    fresh.ledger.last("s")
    assert read == [6]


def test_a_table_is_one_whether_or_not_its_database_is_named(box: Box, ledger: WriteAheadLedger, other: WriteAheadLedger) -> None:
    full = TableName(box.server.database, "t")
    ledger.claim(ledger.acquire("mine", "me", 60), [TARGET])
    assert other.owners([full]) == {full: "mine"}
    with pytest.raises(ConfigError, match="belongs to the sync mine"):
        other.claim(other.acquire("yours", "you", 60), [full])


def test_of_two_that_race_for_tables_in_any_order_one_gets_all_that_both_want(
    ledger: WriteAheadLedger, other: WriteAheadLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = (TableName("", name) for name in "abc")
    mine, yours = ledger.acquire("mine", "me", 60), other.acquire("yours", "you", 60)
    log, real = log_of(ledger), log_of(ledger).append

    def late(name: str, number: int, record: Record) -> bool:
        monkeypatch.undo()
        other.claim(yours, [a, b])
        return real(name, number, record)

    monkeypatch.setattr(log, "append", late)
    with pytest.raises(ConfigError, match=r"a: belongs to the sync yours"):
        ledger.claim(mine, [c, b, a])
    assert ledger.owners([a, b, c]) == {a: "yours", b: "yours"}


@pytest.mark.parametrize("version", ["V1", "AUTO"])
def test_a_zombie_can_neither_commit_nor_record_nor_claim(
    box: Box, ledger: WriteAheadLedger, other: WriteAheadLedger, version: str
) -> None:
    box.reopen(sink_version=version)
    target = box.target(SCHEMA)
    box.prepare(target)
    mine = box.sink.ledger
    zombie = mine.acquire("s", "me", 60)
    load = box.begin(target, lease=zombie)
    load.write(target, inserts(FIRST, "id"))
    lease = other.acquire("s", "me", 60)
    with pytest.raises(LeaseLost if version == "V1" else Unavailable):  # whose transaction the takeover rolled back
        load.write(target, inserts(people((3, "cid")), "id"))
    load.abort()
    assert rows(box) == ([(1, "ann"), (2, "bob")] if version == "V1" else [])
    assert mine.last("s") == {}
    with pytest.raises(LeaseLost):
        mine.record(zombie, [entry(10)])
    with pytest.raises(LeaseLost):
        mine.claim(zombie, [TARGET])
    assert len(other.intents(lease)) == (1 if version == "V1" else 0)


def test_release_writes_down_what_was_settled(box: Box, ledger: WriteAheadLedger) -> None:
    target = box.target(SCHEMA)
    lease = ledger.acquire("s", "me", 60)
    box.write(target, inserts(FIRST, "id"), lease=lease)
    assert ledger._state("s").decided is not None
    ledger.release(lease)
    fresh = box.open().ledger
    assert fresh.last("s")[SOURCE].position == at(10)
    assert fresh._states["s"].decided is None


def test_an_account_without_rights_is_told_the_statements_and_a_table_made_by_them_is_taken(box: Box) -> None:
    box.server.control("POST", "/users", name=(name := f"etl_{box.server.database}"), password="p", grants=[])
    sink = box.open(login=name, password="p")
    with pytest.raises(PreflightError, match="CREATE TABLE") as caught:
        sink.ledger.setup()
    statements = sink.ledger.ddl()
    assert all(statement in str(caught.value) for statement in statements)
    box.execute(*statements)
    sink.ledger.setup()
    lease = sink.ledger.acquire("s", "me", 60)
    sink.ledger.record(lease, [entry(1)])
    box.execute(f"DROP USER '{name}'")


def test_the_ledger_can_live_in_another_database_and_under_another_prefix(box: Box) -> None:
    name = f"{box.server.database}_ops"
    sink = box.open(ledger_database=name, label_prefix="night")
    sink.ledger.setup()
    try:
        assert sink.ledger.acquire("s", "me", 60).fence == 1
        assert box.query(f"SELECT name, number FROM {name}.tidegate_ledger") == [("s", 0)]
        if box.server.control_port:
            labels = [item["label"] for item in box.server.control("GET", "/labels") if item["database"] == name]
            assert all(label.startswith("night-log-") for label in labels)
    finally:
        box.execute(f"DROP DATABASE {name} FORCE")


def test_a_table_is_handed_over_as_the_page_on_recovery_says(box: Box, ledger: WriteAheadLedger) -> None:
    ledger.claim(ledger.acquire("old_name", "me", 60), [TARGET])
    page = (Path(__file__).parents[3] / "docs" / "recovery.md").read_text()
    (statement,) = re.findall(r"`(UPDATE tidegate_ledger .*)`", page)
    box.execute(statement.replace("ods.orders", f"{box.server.database}.t"))
    box.reopen()
    assert box.sink.ledger.owners([TARGET]) == {TARGET: "new_name"}
    box.sink.ledger.claim(box.sink.ledger.acquire("new_name", "me", 60), [TARGET])
    with pytest.raises(ConfigError, match="belongs to the sync new_name"):
        box.sink.ledger.claim(box.sink.ledger.acquire("old_name", "me", 60), [TARGET])
