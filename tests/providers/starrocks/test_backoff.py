"""Loads wait while a table has too many versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from tidegate.changes.schema import TableName
from tidegate.errors import Unavailable
from tidegate.providers.starrocks.backoff import FRESH_SECONDS, Backoff
from tidegate.providers.starrocks.metadata import Metadata

T = TableName("shop", "orders")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Tablets:
    """A table whose tablets have these many versions, one count a question; the last one stays."""

    name = "sr"

    def __init__(self, *counts: int | None) -> None:
        self._counts: Iterator[int | None] = iter(counts)
        self._last: int | None = None
        self.asked = 0

    def tablet_versions(self, table: TableName) -> int | None:
        self.asked += 1
        self._last = next(self._counts, self._last)
        return self._last


def backoff(tablets: Tablets, clock: Clock, limit: int = 700, patience: float = 600.0) -> Backoff:
    return Backoff(cast(Metadata, tablets), limit, patience=patience, clock=clock, sleep=clock.sleep)


def test_a_table_with_few_versions_waits_for_nothing() -> None:
    assert backoff(Tablets(3), Clock()).wait(T) == 0.0


def test_small_loads_don_t_ask_each_time() -> None:
    tablets, clock = Tablets(300), Clock()
    waits = backoff(tablets, clock)
    for _ in range(200):  # half of the 400 that are left
        waits.wait(T)
    assert tablets.asked == 1
    waits.wait(T)
    assert tablets.asked == 2


def test_a_count_is_not_believed_for_long() -> None:
    tablets, clock = Tablets(3), Clock()
    waits = backoff(tablets, clock)
    waits.wait(T)
    clock.now += FRESH_SECONDS + 1
    waits.wait(T)
    assert tablets.asked == 2


def test_near_the_limit_every_load_asks() -> None:
    tablets = Tablets(699)
    waits = backoff(tablets, Clock())
    waits.wait(T)
    waits.wait(T)
    assert tablets.asked == 2


def test_a_load_waits_until_compaction_has_caught_up() -> None:
    tablets, clock = Tablets(900, 800, 700, 650), Clock()
    assert backoff(tablets, clock).wait(T) == clock.now > 0
    assert tablets.asked == 4


def test_a_load_doesn_t_wait_for_ever() -> None:
    clock = Clock()
    with pytest.raises(Unavailable, match=r"shop.orders.*900 versions.*batch_rows, flush_interval, the schedule"):
        backoff(Tablets(900), clock, patience=100.0).wait(T)
    assert clock.now == 100.0


def test_without_the_right_to_see_versions_nothing_waits_and_nothing_is_asked_again_soon() -> None:
    tablets = Tablets(None)
    waits = backoff(tablets, Clock())
    assert [waits.wait(T) for _ in range(5)] == [0.0] * 5
    assert tablets.asked == 1
