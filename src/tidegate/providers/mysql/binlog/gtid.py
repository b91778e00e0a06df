"""Sets of global transaction identifiers: MySQL's, and MariaDB's positions per domain. Nothing here talks to a server.

MySQL numbers transactions per source (a server's UUID, since 8.3 with an optional tag), and a set may have gaps:
``uuid:1-5:7:tag:2`` ("GTID Sets", MySQL reference manual, Replication). MariaDB numbers them per domain, in one order for all
servers, so that the last ``domain-server-sequence`` of each domain says it all ("Global Transaction ID", MariaDB knowledge base).
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_INTERVAL = re.compile(r"([0-9]+)(?:-([0-9]+))?")

Interval = tuple[int, int]
"""First and last number, both within."""


class MysqlGtids:
    """A set of MySQL's GTIDs. A source is a UUID in lower case, or ``uuid:tag``. Can be added to; not hashable."""

    __slots__ = ("_sources",)

    def __init__(self) -> None:
        self._sources: dict[str, list[Interval]] = {}

    @classmethod
    def parse(cls, text: str) -> MysqlGtids:
        """The set that a server shows; blanks, line breaks and capitals don't matter. ValueError if it is none."""
        found = cls()
        for part in filter(None, "".join(text.split()).lower().split(",")):
            uuid, *items = part.split(":")
            if not _UUID.fullmatch(uuid) or not items:
                raise ValueError(f"{part[:80]!r} is no part of a GTID set")
            source = uuid
            for item in items:
                if numbers := _INTERVAL.fullmatch(item):
                    found.add(source, int(numbers[1]), int(numbers[2] or numbers[1]))
                elif _TAG.fullmatch(item):
                    source = f"{uuid}:{item}"
                else:
                    raise ValueError(f"{item[:80]!r} is no interval of a GTID set")
        return found

    def add(self, source: str, first: int, last: int) -> None:
        """Put in the numbers ``first`` to ``last`` of a source. ValueError unless 1 <= first <= last."""
        if not 1 <= first <= last:
            raise ValueError(f"{first}-{last} is no interval of a GTID set")
        intervals = self._sources.setdefault(source, [])
        # Those that overlap it, or touch it, become one with it.
        begin = bisect.bisect_left(intervals, first - 1, key=_last)
        end = bisect.bisect_right(intervals, last + 1, key=_first)
        if begin < end:
            first, last = min(first, intervals[begin][0]), max(last, intervals[end - 1][1])
        intervals[begin:end] = [(first, last)]

    def intervals(self) -> Iterator[tuple[str, int, int]]:
        """Source, first, last; by source, ascending."""
        for source in sorted(self._sources):
            for first, last in self._sources[source]:
                yield source, first, last

    def has(self, source: str, number: int) -> bool:
        intervals = self._sources.get(source, [])
        place = bisect.bisect_left(intervals, number, key=_last)
        return place < len(intervals) and intervals[place][0] <= number

    def copy(self) -> MysqlGtids:
        made = MysqlGtids()
        made._sources = {source: list(intervals) for source, intervals in self._sources.items()}
        return made

    def __or__(self, other: MysqlGtids) -> MysqlGtids:
        made = self.copy()
        for item in other.intervals():
            made.add(*item)
        return made

    def __sub__(self, other: MysqlGtids) -> MysqlGtids:
        made = MysqlGtids()
        for source, intervals in self._sources.items():
            kept = _without(intervals, other._sources.get(source, []))
            if kept:
                made._sources[source] = kept
        return made

    def __le__(self, other: MysqlGtids) -> bool:
        """Whether all of it is in ``other``."""
        return not self - other

    def __eq__(self, other: object) -> bool:
        return self._sources == other._sources if isinstance(other, MysqlGtids) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return sum(last - first + 1 for _, first, last in self.intervals())

    def __bool__(self) -> bool:
        return bool(self._sources)

    def __str__(self) -> str:
        """As MySQL writes it: ``uuid:1-5:7:tag:2,…``."""
        texts: list[str] = []
        previous = ""
        for source in sorted(self._sources):
            uuid, _, tag = source.partition(":")
            numbers = ":".join(str(first) if first == last else f"{first}-{last}" for first, last in self._sources[source])
            if uuid == previous:
                texts[-1] += f":{tag}:{numbers}"
            else:
                texts.append(f"{source}:{numbers}")
            previous = uuid
        return ",".join(texts)

    def __repr__(self) -> str:
        return f"MysqlGtids({self})"


def _first(interval: Interval) -> int:
    return interval[0]


def _last(interval: Interval) -> int:
    return interval[1]


def _without(intervals: list[Interval], removed: list[Interval]) -> list[Interval]:
    kept = []
    for first, last in intervals:
        for begin, end in removed[bisect.bisect_left(removed, first, key=_last) :]:
            if begin > last:
                break
            if begin > first:
                kept.append((first, begin - 1))
            first = end + 1
        if first <= last:
            kept.append((first, last))
    return kept


@dataclass(frozen=True, slots=True)
class MariadbGtids:
    """Where a MariaDB stands in each domain: the server id and sequence number of the last transaction. The text is sorted."""

    last: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> MariadbGtids:
        """A position as ``gtid_binlog_pos`` shows it. ValueError if it is none, or names a domain twice."""
        last: dict[int, tuple[int, int]] = {}
        for part in filter(None, "".join(text.split()).split(",")):
            numbers = part.split("-")
            if len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
                raise ValueError(f"{part[:80]!r} is no GTID of MariaDB")
            domain, server, sequence = map(int, numbers)
            if domain in last:
                raise ValueError(f"the domain {domain} comes twice")
            last[domain] = (server, sequence)
        return cls(last)

    def lacks(self, other: MariadbGtids) -> MariadbGtids:
        """What ``other`` has beyond this one: its last transaction of each domain in which it is ahead."""
        return MariadbGtids({domain: gtid for domain, gtid in other.last.items() if gtid[1] > self.last.get(domain, (0, 0))[1]})

    def count(self, since: MariadbGtids) -> int:
        """How many transactions lie between, if no numbers were left out."""
        return sum(max(0, number - since.last.get(domain, (0, 0))[1]) for domain, (_, number) in self.last.items())

    def __bool__(self) -> bool:
        return bool(self.last)

    def __str__(self) -> str:
        return ",".join(f"{domain}-{server}-{sequence}" for domain, (server, sequence) in sorted(self.last.items()))
