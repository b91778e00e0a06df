"""A copy cut into ranges of keys, which several connections read at once; their pages come out in the order of the key.

Where a range ends is asked of the server, by its own index: what comes after what is the columns' collations' business. The last
one ends at the last key there was when the reading began: a table that grows while it is read doesn't keep it going. A range says
which rows, not how many: by the time it is read it may hold more, or larger ones, and is read in several pages then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa

from tidegate.providers.mysql.routes import Route, one_key
from tidegate.providers.mysql.select import KeyRange, bound_query, last_query
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.types import MySqlTable
from tidegate.sync.protocols import Limits

_PROBE_ROWS = 16
"""Read first, to learn how large rows are."""


class Routes:
    """Up to ``count`` routes, each opened when it is first needed, and the session that asks for the bounds of ranges.

    The session may be that of the only route, but not of one among several: it can't ask while rows are on their way.
    """

    def __init__(self, control: Session, count: int, opened: Callable[[], Route]) -> None:
        self.control = control
        self.count = count
        self._open = opened
        self._free: list[Route] = []

    def take(self) -> Route:
        return self._free.pop() if self._free else self._open()

    def give(self, route: Route) -> None:
        self._free.append(route)


@dataclass(slots=True)
class _Reading:
    """A range on its way: at most one page of it is finished and not yet taken."""

    route: Route
    pages: Iterator[pa.Table]
    page: Future[pa.Table | None]


class RangeReader:
    """Reads a keyed table. All pages that are under way or waiting together hold about half of ``limits``, each a share of it."""

    def __init__(self, routes: Routes, table: MySqlTable, limits: Limits) -> None:
        self._routes = routes
        self._table = table
        self._limits = limits
        self._row_bytes = 0

    def pages(self, after: tuple[str, ...] | None) -> Iterator[pa.Table]:
        """The rows behind a key, in the order of the key."""
        ranges = self._ranges(after)
        first = next(ranges, None)
        if first is None:
            return
        route = self._routes.take()
        for page in route.pages(self._table, first[0], first[1]):
            self._learn(page)
            yield page
        self._routes.give(route)
        if self._routes.count > 1:
            yield from self._at_once(ranges)
            return
        for within, limits in ranges:
            for page in route.pages(self._table, within, limits):
                self._learn(page)
                yield page

    def _at_once(self, ranges: Iterator[tuple[KeyRange, Limits]]) -> Iterator[pa.Table]:
        readings: deque[_Reading] = deque()
        with ThreadPoolExecutor(self._routes.count, "tidegate-copy") as pool:

            def begin(within: KeyRange, limits: Limits) -> _Reading:
                route = self._routes.take()
                pages = route.pages(self._table, within, limits)
                return _Reading(route, pages, pool.submit(next, pages, None))

            try:
                while True:
                    while len(readings) < self._routes.count and (following := next(ranges, None)) is not None:
                        readings.append(begin(*following))
                    if not readings:
                        return
                    reading = readings[0]
                    while (page := reading.page.result()) is not None:
                        reading.page = pool.submit(next, reading.pages, None)
                        self._learn(page)
                        yield page
                    self._routes.give(readings.popleft().route)
            finally:
                for reading in readings:
                    reading.page.cancel()
                wait([reading.page for reading in readings])
                for reading in readings:
                    with closing(reading.pages):  # type: ignore[type-var]
                        pass

    def _ranges(self, after: tuple[str, ...] | None) -> Iterator[tuple[KeyRange, Limits]]:
        """The ranges behind a key, and the limits of their pages."""
        control, table = self._routes.control, self._table
        end = one_key(control, table, last_query(table))
        while end is not None:
            limits = self._page_limits()
            bound = one_key(control, table, bound_query(table, KeyRange(after, end), limits.rows))
            # The range may be the last, hold fewer rows than there were a moment ago, or none.
            upto = bound or end
            yield KeyRange(after, upto), limits
            after = upto
            if upto == end:
                return

    def _page_limits(self) -> Limits:
        count = self._routes.count
        size = self._limits.bytes if count == 1 else max(1, self._limits.bytes // (2 * count))
        if not self._row_bytes:
            return Limits(min(_PROBE_ROWS, self._limits.rows), size)
        return Limits(max(1, min(self._limits.rows // count, size // self._row_bytes)), size)

    def _learn(self, page: pa.Table) -> None:
        if page.num_rows:
            self._row_bytes = max(1, page.nbytes // page.num_rows)
