"""Trying again, for transient errors alone."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from tidegate.errors import SyncBusy, TransientError

log = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds; the doubling stops here."""


def retrying(
    work: Callable[[], T], *, retries: int, wait: float, what: str, sleep: Callable[[float], None] = time.sleep
) -> tuple[T, int]:
    """``work()`` and the number of retries it took.

    At most ``retries`` + 1 attempts. The pause begins at ``wait`` seconds and doubles up to a minute, each time with half of it at
    random, so that many workers don't come back at once. SyncBusy is not retried here: the other run may take an hour.
    """
    for attempt in range(retries + 1):
        try:
            return work(), attempt
        except SyncBusy:
            raise
        except TransientError as error:
            if attempt == retries:
                raise
            pause = min(wait * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)
            log.warning("%s failed and is tried again in %.1f s (%d of %d): %s", what, pause, attempt + 1, retries, error)
            sleep(pause)
    raise AssertionError("unreachable")
