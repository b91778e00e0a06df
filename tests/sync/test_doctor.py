"""The doctor's report over a source and a target in memory: verdicts, words, and what of it concerns one table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.fakes import FakeSource, Tables, TransactionalSink
from tests.strategies import KEY, SCHEMA
from tidegate.changes.position import BinlogPosition, Position
from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError, PositionLost, PreflightError, Unavailable
from tidegate.sync.doctor import Report, doctor
from tidegate.sync.mapping import Sync
from tidegate.sync.protocols import Entry, Findings, Lease
from tidegate.sync.retention import Keeping, Retention

ORDERS, ITEMS = TableName("shop", "orders"), TableName("shop", "items")
SYNC = Sync.of("shop", [ORDERS, ITEMS], schema="ods")
HOUR = 3600.0


@dataclass
class Clinic(FakeSource):
    """A source that says what the test wants it to."""

    schemas: dict[TableName, object] = field(default_factory=dict)  # type: ignore[assignment]
    log: list[object] = field(default_factory=list)  # type: ignore[assignment]
    findings: Findings = field(default_factory=Findings)
    left: Mapping[TableName, float] = field(default_factory=dict)
    asked: Mapping[TableName, Position | None] = field(default_factory=dict)
    refuses: PermanentError | None = None

    def preflight(self, stored: Mapping[TableName, Position | None]) -> Findings:
        return self.findings

    def retention(self, stored: Mapping[TableName, Position | None]) -> Retention:
        if self.refuses:
            raise self.refuses
        self.asked = stored
        found = [Keeping(table, stored[table], 10, 5.0, self.left.get(table), "the rule") for table in stored]
        return Retention(tuple(found), ("purged too early",) if self.left else ())


def look(source: FakeSource, interval: float | None = 24 * HOUR, sink: TransactionalSink | None = None) -> Report:
    source.schemas |= {table: replace(SCHEMA, table=table) for table in (ORDERS, ITEMS)}
    return doctor(SYNC, source, sink or TransactionalSink(Tables(SCHEMA.names, KEY)), interval=interval)


def test_a_sync_that_lacks_nothing_is_well() -> None:
    report = look(Clinic())
    assert report.verdict == "ok"
    assert str(report).splitlines()[0] == "sync shop: ok"


def test_a_source_that_keeps_everything_is_asked_no_more_than_its_preflight() -> None:
    assert look(FakeSource({}, [])) == Report("shop", (), (), 24 * HOUR)


def test_the_positions_that_the_target_remembers_are_asked_about() -> None:
    source, sink = Clinic(), TransactionalSink(Tables(SCHEMA.names, KEY))
    here = BinlogPosition("binlog.000001", 4, "fake")
    sink.ledger.acquire("shop", "me", 60)
    sink.ledger.record(Lease("shop", "me", 1, 60), [Entry("shop", ORDERS, TableName("ods", "orders"), here)])
    look(source, sink=sink)
    assert source.asked == {ORDERS: here, ITEMS: None}


class Forgetful(TransactionalSink):
    """A target whose server forgets what a run left unfinished."""

    def health(self, targets: Sequence[TableName], interval: float | None) -> Sequence[str]:
        return [f"{', '.join(map(str, targets))}: labels are forgotten after 1 h, a run comes every {interval} s"]


def test_settings_of_the_target_that_do_not_fit_the_schedule_are_worth_a_look() -> None:
    report = look(Clinic(), sink=Forgetful(Tables(SCHEMA.names, KEY)))
    assert report.verdict == "warn"
    assert "warn: ods.orders, ods.items: labels are forgotten after 1 h, a run comes every 86400.0 s" in str(report)


def test_a_log_that_is_purged_before_the_next_run_is_critical_for_its_table_alone() -> None:
    report = look(Clinic(left={ORDERS: 7 * HOUR, ITEMS: 100 * HOUR}))
    assert report.verdict == "critical"
    assert report.of(ORDERS).verdict == "critical"
    assert report.of(ITEMS).verdict == "warn", "the warning concerns all"
    assert "critical: shop.orders: nothing is read yet; the log from now on may be purged in 7 h" in str(report)
    assert "10 bytes and 5 s behind" in str(report)


def test_a_problem_of_one_table_and_one_of_all() -> None:
    own = PositionLost("purged", connection="c", table=ORDERS)
    report = look(Clinic(findings=Findings((own,), ("slow",))))
    assert (report.verdict, report.of(ORDERS).verdict, report.of(ITEMS).verdict) == ("critical", "critical", "warn")
    assert str(report).splitlines()[1:3] == ["critical: connection c, table shop.orders: purged", "warn: slow"]
    every = look(Clinic(findings=Findings((PreflightError("off", connection="c"),))))
    assert every.of(ITEMS).verdict == "critical"


def test_a_side_that_can_not_be_asked_is_a_finding_told_once() -> None:
    refusal = PreflightError("not allowed", connection="c")
    assert [item.text for item in look(Clinic(refuses=refusal)).findings] == ["connection c: not allowed"]
    report = look(Clinic(findings=Findings((refusal,)), refuses=refusal))
    assert [item.text for item in report.findings] == ["connection c: not allowed"]


def test_a_server_that_is_away_is_worth_a_retry() -> None:
    class Away(Clinic):
        def preflight(self, stored: Mapping[TableName, Position | None]) -> Findings:
            raise Unavailable("away", connection="c")

    with pytest.raises(Unavailable):
        look(Away())


def test_the_report_is_json() -> None:
    value = look(Clinic(left={ORDERS: 7 * HOUR})).to_json()
    assert json.loads(json.dumps(value)) == value
    assert value["verdict"] == "critical"
    assert value["retention"][0]["seconds_left"] == 7 * HOUR
