"""Positions: where in a source a table stands. A tagged union with a JSON round trip.

Two positions compare as before, equal, after or **incomparable**; incomparable stops the run. Time is never compared: it has a
resolution of a second, and sessions can set it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from tidegate.errors import ConfigError

Order = Literal["before", "equal", "after", "incomparable"]


def _order(left: Any, right: Any) -> Order:
    return "equal" if left == right else "before" if left < right else "after"


@dataclass(frozen=True, slots=True)
class BinlogPosition:
    """The end of an event in the binlog of one server. Everything before it has been applied.

    ``file`` and ``offset`` as the server shows them. ``server`` identifies the server (``server_uuid``, for MariaDB its server id):
    positions of different servers are incomparable. ``fingerprint`` is a hash of the file's format description event, by which a
    log that was reset, or restored from elsewhere, is told from the one that was read. ``gtid`` is the global transaction ids of
    all that stands before it in that server's log, as the server writes them; empty if they aren't known. ``skip`` are those of
    transactions that stand after it and were applied all the same, from the log of another server before a failover.
    """

    tag: ClassVar[str] = "binlog"
    file: str
    offset: int
    server: str
    gtid: str = ""
    fingerprint: str = ""
    skip: str = ""

    @property
    def sequence(self) -> int:
        """The number at the end of the file's name: 999999 comes before 1000000."""
        return int(self.file.rpartition(".")[2])

    def compare(self, other: Position) -> Order:
        if isinstance(other, SegmentPosition):
            return "incomparable" if other.origin is None else self.compare(other.origin)
        if not isinstance(other, BinlogPosition) or self.server != other.server:
            return "incomparable"
        if self.file.rpartition(".")[0] != other.file.rpartition(".")[0]:
            return "incomparable"
        if self.sequence == other.sequence and self.fingerprint and other.fingerprint and self.fingerprint != other.fingerprint:
            return "incomparable"
        return _order((self.sequence, self.offset), (other.sequence, other.offset))

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"


@dataclass(frozen=True, slots=True)
class SnapshotPosition:
    """A table whose first copy is under way: the rows up to ``after`` are in, and the changes since ``low`` are to be applied next.

    ``low`` is a *visible* position: everything before it can be read by the snapshot's queries. ``after`` is the key of the last
    row copied, each value as text (None: nothing yet). ``rows`` counts the rows copied so far.
    """

    tag: ClassVar[str] = "snapshot"
    low: BinlogPosition
    after: tuple[str, ...] | None = None
    rows: int = 0

    def compare(self, other: Position) -> Order:
        if not isinstance(other, SnapshotPosition):
            # A copy that isn't finished stands before every position in the log of the same server.
            return "incomparable" if self.low.compare(other) == "incomparable" else "before"
        if self.low.compare(other.low) != "equal":
            return "incomparable"
        return _order(self.rows, other.rows)

    def __str__(self) -> str:
        return f"snapshot, {self.rows} rows, changes from {self.low}"


@dataclass(frozen=True, slots=True)
class SegmentPosition:
    """Change files: everything up to and with segment number ``segment`` of ``stream`` has been applied (0: nothing yet).

    ``origin`` is where the recorded source stood at the end of that segment, so that a live reader can go on from there; it is by
    this that a segment's position compares with the log's own.
    """

    tag: ClassVar[str] = "segment"
    stream: str
    segment: int = 0
    origin: BinlogPosition | None = None

    def compare(self, other: Position) -> Order:
        if isinstance(other, BinlogPosition):
            return "incomparable" if self.origin is None else self.origin.compare(other)
        if not isinstance(other, SegmentPosition) or self.stream != other.stream:
            return "incomparable"
        return _order(self.segment, other.segment)

    def __str__(self) -> str:
        return f"segment {self.segment}" + (f" ({self.origin})" if self.origin else "")


@dataclass(frozen=True, slots=True)
class SplitsPosition:
    """A source read in independent splits (time ranges, tables, tags): the names of those that are done, under one ``query``."""

    tag: ClassVar[str] = "splits"
    query: str
    done: frozenset[str] = frozenset()

    def compare(self, other: Position) -> Order:
        if not isinstance(other, SplitsPosition) or self.query != other.query:
            return "incomparable"
        if self.done == other.done:
            return "equal"
        return "before" if self.done < other.done else "after" if self.done > other.done else "incomparable"

    def __str__(self) -> str:
        return f"{len(self.done)} splits"


@dataclass(frozen=True, slots=True)
class OffsetsPosition:
    """A subscribed topic: the next offset of each partition (TDengine: vgroup)."""

    tag: ClassVar[str] = "offsets"
    topic: str
    offsets: Mapping[str, int] = field(default_factory=dict)

    def compare(self, other: Position) -> Order:
        if not isinstance(other, OffsetsPosition) or self.topic != other.topic:
            return "incomparable"
        names = self.offsets.keys() | other.offsets.keys()
        orders = {_order(self.offsets.get(name, 0), other.offsets.get(name, 0)) for name in names} - {"equal"}
        return orders.pop() if len(orders) == 1 else "incomparable" if orders else "equal"

    def __str__(self) -> str:
        return ", ".join(f"{name}:{offset}" for name, offset in sorted(self.offsets.items()))


@dataclass(frozen=True, slots=True)
class FileMark:
    """How far a file of lines was read: ``offset`` bytes (of what is in it, if it is compressed), ``lines`` lines.

    ``size`` is the file's own size when nothing in it was left to read; 0 if something was. Of that size still, it has nothing new.
    """

    name: str
    offset: int
    lines: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class LinesPosition:
    """Files of change records that others write, one a line.

    ``files`` maps a file's identity, a hash of how it begins, to how far it was read: a renamed file is the same, a replaced one is
    another. Files that are long gone are dropped from it, each time of which counts in ``forgotten``. ``tables`` holds, by table,
    what the source keeps to recognise repeated records; it is carried and not compared. ``format`` is the records' format.
    """

    tag: ClassVar[str] = "lines"
    format: str
    files: Mapping[str, FileMark] = field(default_factory=dict)
    forgotten: int = 0
    tables: Mapping[str, Any] = field(default_factory=dict)

    def compare(self, other: Position) -> Order:
        if not isinstance(other, LinesPosition) or self.format != other.format:
            return "incomparable"
        orders = {_order(self._offset(key, other), other._offset(key, self)) for key in {*self.files, *other.files}} - {"equal"}
        return orders.pop() if len(orders) == 1 else "incomparable" if orders else "equal"

    def _offset(self, key: str, other: LinesPosition) -> float:
        """How far this position has the file. One that it has forgotten since ``other`` was taken was read whole."""
        if key in self.files:
            return self.files[key].offset
        return math.inf if self.forgotten > other.forgotten else 0

    def __str__(self) -> str:
        if not self.files:
            return "before the first file"
        last = list(self.files.values())[-1]
        return f"{last.name}:{last.lines + 1}" if last.lines or not last.offset else f"{last.name}, byte {last.offset}"


Position = BinlogPosition | SnapshotPosition | SegmentPosition | SplitsPosition | OffsetsPosition | LinesPosition


def in_log(position: Position | None) -> Position | None:
    """The position in the origin's log that a captured segment stands for; any other as it is."""
    return position.origin or position if isinstance(position, SegmentPosition) else position


def to_json(position: Position) -> dict[str, Any]:
    """A dict of JSON values, its ``kind`` the tag; :func:`from_json` reads it."""
    if isinstance(position, SnapshotPosition):
        after = None if position.after is None else list(position.after)
        return {"kind": position.tag, "low": to_json(position.low), "after": after, "rows": position.rows}
    if isinstance(position, SegmentPosition):
        origin = None if position.origin is None else to_json(position.origin)
        return {"kind": position.tag, "stream": position.stream, "segment": position.segment, "origin": origin}
    if isinstance(position, SplitsPosition):
        return {"kind": position.tag, "query": position.query, "done": sorted(position.done)}
    fields = asdict(position)
    if not fields.get("skip", True):
        # What few positions have is left out of all others: recorded segments are known by a checksum over theirs.
        del fields["skip"]
    return {"kind": position.tag, **fields}


def from_json(value: Mapping[str, Any]) -> Position:
    """The position that :func:`to_json` wrote; ConfigError for a kind that this version doesn't know."""
    fields = {name: item for name, item in value.items() if name != "kind"}
    match value.get("kind"):
        case "binlog":
            return BinlogPosition(**fields)
        case "snapshot":
            after = fields["after"]
            return SnapshotPosition(_binlog(fields["low"]), None if after is None else tuple(after), fields["rows"])
        case "segment":
            origin = fields["origin"]
            return SegmentPosition(fields["stream"], fields["segment"], None if origin is None else _binlog(origin))
        case "splits":
            return SplitsPosition(fields["query"], frozenset(fields["done"]))
        case "offsets":
            return OffsetsPosition(fields["topic"], dict(fields["offsets"]))
        case "lines":
            files = {key: FileMark(**mark) for key, mark in fields["files"].items()}
            return LinesPosition(fields["format"], files, fields["forgotten"], dict(fields["tables"]))
        case kind:
            raise ConfigError(f"a stored position of the unknown kind {kind!r}: it was written by a newer tidegate")


def _binlog(value: Mapping[str, Any]) -> BinlogPosition:
    position = from_json(value)
    if not isinstance(position, BinlogPosition):
        raise ConfigError("a stored position whose origin is not a binlog position")
    return position
