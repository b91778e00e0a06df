"""The counts of writes among Airflow's own metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.observability.stats import Stats

from tidegate.changes.schema import TableName
from tidegate.operators.stats import report_counts
from tidegate.sync.results import WriteResult

pytestmark = pytest.mark.airflow


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was sent, by name."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(Stats, "incr", lambda name, count: found.__setitem__(name, count))
    monkeypatch.setattr(Stats, "timing", lambda name, value: found.__setitem__(name, value))
    return found


def test_the_counts_of_a_table_are_counters_under_its_sync(metrics: dict[str, Any]) -> None:
    write = WriteResult(rows=5, inserted=None, filtered=1, bytes=90, loads=2, failed_loads=1, seconds=1.5)
    report_counts("shop_to_ods", TableName("ods", "orders"), write)
    stem = "tidegate.shop_to_ods.ods.orders"
    assert metrics == {
        f"{stem}.rows": 5,
        f"{stem}.filtered": 1,
        f"{stem}.bytes": 90,
        f"{stem}.loads": 2,
        f"{stem}.failed_loads": 1,
        f"{stem}.seconds": timedelta(seconds=1.5),
    }


def test_names_hold_what_airflow_takes_in_a_name_alone(metrics: dict[str, Any]) -> None:
    report_counts("shop → ods", TableName("ods", "größe"), WriteResult(rows=1))
    assert list(metrics) == ["tidegate.shop___ods.ods.gr__e.rows"]


def test_a_run_without_news_sends_nothing(metrics: dict[str, Any]) -> None:
    report_counts("shop_to_ods", TableName("ods", "orders"), WriteResult())
    assert metrics == {}
