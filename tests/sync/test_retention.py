"""The verdict on how long a log is kept, and its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.changes.position import BinlogPosition
from tidegate.changes.schema import TableName
from tidegate.sync.retention import Keeping, Verdict, span

HOUR = 3600.0
ORDERS = TableName("shop", "orders")
HERE = BinlogPosition("binlog.000003", 4711, "s")


def kept(left: float | None, position: BinlogPosition | None = HERE) -> Keeping:
    return Keeping(ORDERS, position, 100, 60.0, left, "the rule")


@pytest.mark.parametrize(
    ("left", "interval", "verdict"),
    [
        (7.3 * HOUR, 24 * HOUR, "critical"),
        (24 * HOUR, 24 * HOUR, "critical"),
        (30 * HOUR, 24 * HOUR, "warn"),
        (49 * HOUR, 24 * HOUR, "ok"),
        (0.0, None, "critical"),
        (23 * HOUR, None, "warn"),
        (25 * HOUR, None, "ok"),
        (None, 24 * HOUR, "ok"),
    ],
)
def test_the_verdict_compares_with_the_next_run_and_the_one_after(
    left: float | None, interval: float | None, verdict: Verdict
) -> None:
    assert kept(left).verdict(interval) == verdict


def test_it_is_said_in_words() -> None:
    assert kept(7 * HOUR + 20 * 60).text(24 * HOUR) == (
        "the log of its position binlog.000003:4711 may be purged in 7 h 20 m, at the earliest (the rule); the next run is in 24 h"
    )
    assert "one missed run would lose the place" in kept(30 * HOUR).text(24 * HOUR)
    assert "at any moment" in kept(0.0).text(None)
    assert kept(None).text(60) == "the log of its position binlog.000003:4711 is kept: the rule"
    assert "nothing is read yet; the log from now on" in kept(60.0, None).text(30)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 m"), (61, "1 m 1 s"), (26_400, "7 h 20 m"), (86_400, "24 h"), (273_600, "3 d 4 h")],
)
def test_spans_have_their_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


@given(st.floats(0, 1e9))
def test_a_span_loses_less_than_its_smallest_unit(seconds: float) -> None:
    units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
    parts = span(seconds).split()
    told = sum(int(count) * units[unit] for count, unit in zip(parts[::2], parts[1::2], strict=True))
    assert told <= seconds
    assert seconds - told < (3600 if seconds >= 172_800 else 60 if seconds >= 3600 else 1)
