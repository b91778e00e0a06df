"""How long a source still keeps what a sync has to read, and whether that outlasts the pause between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from tidegate.changes.position import Position, to_json
from tidegate.changes.schema import TableName

Verdict = Literal["ok", "warn", "critical"]

_DAY = 86_400.0
_UNITS = {86_400: "d", 3600: "h", 60: "m", 1: "s"}


@dataclass(frozen=True, slots=True)
class Keeping:
    """One table: how far it is behind, and how long the source keeps the log from its position on.

    ``position`` is None before the first run; what is said then holds for a run that begins now. ``seconds_left`` is the time until
    the server may purge that log, at the earliest (0: at any moment); None if it never does by itself or it can't be told.
    ``reason`` says by which rule, or why not.
    """

    table: TableName
    position: Position | None
    bytes_behind: int | None
    seconds_behind: float | None
    seconds_left: float | None
    reason: str

    def verdict(self, interval: float | None) -> Verdict:
        """``critical`` if the log may be gone at the next run, ``warn`` if it may after one missed run.

        ``interval`` is the time between runs in seconds. Without it anything under a day is worth a warning.
        """
        if self.seconds_left is None:
            return "ok"
        if self.seconds_left <= (interval or 0):
            return "critical"
        return "warn" if self.seconds_left <= (_DAY if interval is None else 2 * interval) else "ok"

    def text(self, interval: float | None) -> str:
        """The verdict in words: ``the log of its position … may be purged in 7 h 20 m …; the next run is in 24 h``."""
        place = "nothing is read yet; the log from now on" if self.position is None else f"the log of its position {self.position}"
        if self.seconds_left is None:
            return f"{place} is kept: {self.reason}"
        when = f"in {span(self.seconds_left)}, at the earliest" if self.seconds_left > 0 else "at any moment"
        verdict = self.verdict(interval)
        what = f"{place} may be purged {when} ({self.reason})"
        if interval is not None:
            what += f"; the next run is in {span(interval)}"
            if verdict == "warn":
                what += ", and one missed run would lose the place"
        return what

    def to_json(self, interval: float | None) -> dict[str, Any]:
        return {
            "table": str(self.table),
            "position": None if self.position is None else to_json(self.position),
            "bytes_behind": self.bytes_behind,
            "seconds_behind": self.seconds_behind,
            "seconds_left": self.seconds_left,
            "reason": self.reason,
            "verdict": self.verdict(interval),
            "text": self.text(interval),
        }


@dataclass(frozen=True, slots=True)
class Retention:
    """What :meth:`Expiring.retention` found. ``warnings``: evidence that the rules are not all that purges."""

    tables: tuple[Keeping, ...] = ()
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Expiring(Protocol):
    """A source that keeps what isn't read yet for a limited time only. Sources without this method keep everything."""

    def retention(self, stored: Mapping[TableName, Position | None]) -> Retention:
        """How long it keeps what comes after each position. Reads only; positions that are lost already are left out."""


def span(seconds: float) -> str:
    """A length of time in its two largest units: ``7 h 20 m``, ``24 h``, ``3 d 4 h``, ``45 s``."""
    whole = max(0, int(seconds))
    large, small = (86_400, 3600) if whole >= 2 * _DAY else (3600, 60) if whole >= 3600 else (60, 1)
    counts = ((whole // large, _UNITS[large]), (whole % large // small, _UNITS[small]))
    return " ".join(f"{count} {unit}" for count, unit in counts if count) or "0 s"
