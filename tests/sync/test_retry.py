"""Transient errors are tried again, n + 1 attempts for n retries; permanent ones never."""

from __future__ import annotations

import pytest

from tidegate.errors import ConfigError, SyncBusy, TidegateError, Unavailable
from tidegate.sync.retry import retrying


class Work:
    def __init__(self, *outcomes: TidegateError | None) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return "done"


def test_n_retries_are_n_plus_one_attempts_and_the_waits_double() -> None:
    work, pauses = Work(Unavailable("1"), Unavailable("2"), None), list[float]()
    assert retrying(work, retries=2, wait=1.0, what="it", sleep=pauses.append) == ("done", 2)
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0


def test_the_last_error_is_raised_when_the_retries_are_used_up() -> None:
    work = Work(Unavailable("1"), Unavailable("2"), None)
    with pytest.raises(Unavailable, match="2"):
        retrying(work, retries=1, wait=0, what="it", sleep=lambda _: None)
    assert work.calls == 2


@pytest.mark.parametrize("error", [ConfigError("no"), SyncBusy("busy")])
def test_permanent_errors_and_a_busy_sync_are_not_tried_again(error: TidegateError) -> None:
    work = Work(error, None)
    with pytest.raises(type(error)):
        retrying(work, retries=5, wait=0, what="it", sleep=lambda _: None)
    assert work.calls == 1
