"""Loads wait while the table has too many versions, so that StarRocks never has to refuse one.

Each load is a version of every tablet that it touches, until compaction folds versions together; from 1000 on the backends refuse
loads (be.conf, tablet_max_versions). A refused load is lost work, and the loads after it fare no better.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from tidegate.changes.schema import TableName
from tidegate.errors import Unavailable
from tidegate.providers.starrocks.metadata import Metadata

log = logging.getLogger(__name__)

FRESH_SECONDS = 60.0
"""For how long a count is believed: others load into the table too."""
PATIENCE = 600.0


@dataclass(slots=True)
class _Known:
    at: float
    loads: int
    """How many more loads may go before the count has to be asked for again."""


class Backoff:
    """``limit`` is the connection's field ``tablet_versions``; ``patience`` the seconds that a load waits at most."""

    def __init__(
        self,
        metadata: Metadata,
        limit: int,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._metadata, self._limit, self._patience = metadata, limit, patience
        self._clock, self._sleep = clock, sleep
        self._known: dict[TableName, _Known] = {}

    def wait(self, table: TableName) -> float:
        """Before each load of the table: returns when it may go, with the seconds that it waited.

        Unavailable when the count stays above the limit. Without the right to see it, nothing is waited for.
        """
        known = self._known.get(table)
        if known is not None and known.loads > 0 and self._clock() - known.at < FRESH_SECONDS:
            known.loads -= 1
            return 0.0
        begun, pause = self._clock(), 0.5
        while (count := self._metadata.tablet_versions(table)) is not None and count >= self._limit:
            waited = self._clock() - begun
            if waited >= self._patience:
                what = (
                    f"a tablet has {count} versions, which compaction doesn't bring below {self._limit}: fewer and larger loads "
                    "make fewer versions, as does a longer schedule"
                )
                setting = "batch_rows, flush_interval, the schedule; or the connection's tablet_versions"
                raise Unavailable(what, connection=self._metadata.name, table=table, setting=setting)
            log.info("%s: a tablet has %d versions; loads wait until it has fewer than %d", table, count, self._limit)
            self._sleep(min(pause, self._patience - waited))
            pause = min(pause * 2, 15.0)
        # Half of what is left: our other runs and other clients add versions too.
        left = 1_000_000 if count is None else max(1, (self._limit - count) // 2)
        self._known[table] = _Known(self._clock(), left - 1)
        return self._clock() - begun
