"""Reading ahead: one item ahead and no more, errors in their place, no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.servers import wait_until
from tidegate.sync.ahead import Ahead


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "tidegate-ahead"]


def test_items_come_in_order_and_an_error_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    seen: list[int] = []
    with pytest.raises(ValueError, match="broken"), Ahead(items()) as ahead:
        seen.extend(ahead)
    assert seen == [1, 2]
    assert _threads() == []


def test_at_most_two_items_are_made_before_the_first_is_used() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    with Ahead(items()) as ahead:
        assert next(ahead) == 0
        wait_until(lambda: len(made) >= 3, "reading ahead")
        assert next(ahead) == 1
    assert len(made) <= 5


def test_leaving_early_stops_the_reader_and_closes_the_source() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    with Ahead(items()) as ahead:
        next(ahead)
    assert closed.is_set()
    assert _threads() == []
