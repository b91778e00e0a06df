"""What the doctor says of settings that don't fit the schedule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.starrocks.scripted_sql import Script, denied, fields
from tests.providers.starrocks.scripted_sql import script as script
from tidegate.changes.schema import TableName
from tidegate.providers.starrocks.health import findings
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.session import Session

T = TableName("shop", "orders")
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def metadata(script: Script) -> Iterator[Metadata]:
    configure(script)
    script.on("'/transactions'", [{"DbId": "8", "DbName": "shop"}])
    session = Session(fields(), "sr")
    yield Metadata(session)
    session.close()


def configure(script: Script, prepared: int = 86_400, kept: int = 259_200, labels: int = 1000, running: int = 1000) -> None:
    values = {
        "prepared_transaction_default_timeout_second": prepared,
        "label_keep_max_second": kept,
        "label_keep_max_num": labels,
        "max_running_txn_num_per_db": running,
    }
    for name, value in values.items():
        script.on(f"ADMIN SHOW FRONTEND CONFIG LIKE '{name}'", [{"Key": name, "Value": str(value)}])


def ended(number: int, minutes: float) -> list[dict[str, str]]:
    """So many loads, the last of them that many minutes after the first."""
    return [
        {
            "Label": f"l{at}",
            "FinishTime": f"2026-11-21 {int(at * minutes / (number - 1)) // 60:02}:{int(at * minutes / (number - 1)) % 60:02}:00",
        }
        for at in range(number)
    ]


def test_the_defaults_fit_an_hourly_schedule(metadata: Metadata) -> None:
    assert list(findings(metadata, [T], interval=HOUR)) == []


def test_a_daily_schedule_outlasts_prepared_transactions(metadata: Metadata) -> None:
    (text,) = findings(metadata, [T], interval=DAY)
    assert "rolled back after 24 h" in text
    assert 'ADMIN SET FRONTEND CONFIG ("prepared_transaction_default_timeout_second" = "129600")' in text


def test_a_weekly_schedule_outlasts_labels(metadata: Metadata) -> None:
    texts = list(findings(metadata, [T], interval=7 * DAY))
    assert 'ADMIN SET FRONTEND CONFIG ("label_keep_max_second" = "648000")' in texts[1]


def test_the_outage_to_be_prepared_for_counts(metadata: Metadata) -> None:
    assert len(list(findings(metadata, [T], interval=HOUR, downtime=4 * DAY))) == 2


def test_labels_that_others_push_out(metadata: Metadata, script: Script) -> None:
    script.on("/transactions/8/finished", ended(1000, 100))
    (text,) = findings(metadata, [T], interval=HOUR)
    assert "1000 loads ended within 1 h 40 m, and 1000 labels are remembered" in text
    assert 'ADMIN SET FRONTEND CONFIG ("label_keep_max_num" = "9360")' in text


def test_a_quiet_database_pushes_nothing_out(metadata: Metadata, script: Script) -> None:
    script.on("/transactions/8/finished", ended(300, 100))
    assert list(findings(metadata, [T], interval=HOUR)) == []


def test_transactions_of_many_tables_need_room(metadata: Metadata, script: Script) -> None:
    configure(script, running=100)
    script.on("/transactions/8/running", [{"Label": f"x{at}"} for at in range(90)])
    tables = [TableName("shop", f"t{at}") for at in range(8)]
    (text,) = findings(metadata, tables, interval=HOUR)
    assert "90 transactions are open" in text
    assert 'ADMIN SET FRONTEND CONFIG ("max_running_txn_num_per_db" = "212")' in text


def test_what_may_not_be_seen_is_said(metadata: Metadata, script: Script) -> None:
    script.on("ADMIN SHOW", denied())
    (text,) = findings(metadata, [T], interval=HOUR)
    assert "label_keep_max_second" in text
    assert "OPERATE" in text
