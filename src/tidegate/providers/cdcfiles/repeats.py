"""Records that come again: told by where they stand in their log, never by their values.

Per table and epoch (a log, a server's GTIDs) the places that were read are kept as ranges, a file's worth each. It is assumed that
a file holds a table's records in the log's order, repeats apart. Then a record

* past all ranges is new;
* within one was read before: a repeat, dropped;
* before the last range and within none comes late: applied now, it would undo what came after it. It is refused;
* that was committed later than everything read is no repeat wherever it stands: the log was begun anew.

The last places of the present run are remembered one by one: among those a repeat is proved, not assumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.providers.cdcfiles.records import LAST, Place, Refused

_RANGES = 16
"""Ranges kept by table and epoch. Beyond, the two lowest become one."""
_REMEMBERED = 20_000
"""Places by table that a run remembers one by one: the newest of them."""

_At = tuple[int, ...]


@dataclass(slots=True)
class _Epoch:
    ranges: list[tuple[_At, _At]] = field(default_factory=list)
    first: str = ""
    """A hash of the first record at the last place, if several may share it."""

    def covers(self, at: _At) -> bool:
        return any(low <= at <= high for low, high in self.ranges)

    def add(self, at: _At, *, new_range: bool) -> None:
        if new_range or not self.ranges:
            self.ranges.append((at, at))
            if len(self.ranges) > _RANGES:
                self.ranges[:2] = [(self.ranges[0][0], self.ranges[1][1])]
        else:
            self.ranges[-1] = (self.ranges[-1][0], at)


class Mark:
    """What was read of one table."""

    def __init__(self, stored: Mapping[str, Any] | None = None, *, merged: bool = False) -> None:
        """``merged``: records come in the log's order from several files at once, so that a run is one range."""
        stored = stored or {}
        self._merged = merged
        self._newest: int | None = stored.get("newest")
        log = stored.get("log")
        self._log: tuple[str, int, int] | None = None if log is None else (log[0], log[1], log[2])
        self._epochs = {
            name: _Epoch([(tuple(low), tuple(high)) for low, high in item["ranges"]], item["first"])
            for name, item in stored.get("epochs", {}).items()
        }
        self._resumed: str | None = stored.get("file")
        """The file whose records the last run added last: what follows in it are no repeats of those."""
        self._file: str | None = None if merged else self._resumed
        self._ties: dict[str, tuple[str, _At]] = {}
        """By file the place of its last record, where several may share it."""
        self._seen: set[int] = set()
        self._here: dict[str, _At] = {}
        """By epoch the first place that is remembered: all that were read from there on are in ``_seen``, as hashes."""

    def to_json(self) -> dict[str, Any]:
        epochs = {
            name: {"ranges": [[list(low), list(high)] for low, high in item.ranges], "first": item.first}
            for name, item in self._epochs.items()
        }
        log = None if self._log is None else list(self._log)
        return {"newest": self._newest, "log": log, "file": self._file, "epochs": epochs}

    def is_repeat(self, place: Place | None, text: bytes, file: str) -> bool:
        """Whether the record was read before; if it wasn't, it counts as read from now on. Refused for one that comes late.

        ``text`` is the record's line, ``file`` the identity of the file that it stands in.
        """
        if place is None:
            return False
        if (
            place.copy
            and self._log is not None
            and place.log is not None
            and self._log[0] == place.log[0]
            and self._log > place.log
        ):
            return True  # a row of a copy that is older than a change that was read
        new_range = file != self._file and not (self._merged and self._file is not None)
        self._file = file
        epoch = self._epochs.setdefault(place.epoch, _Epoch())
        at = self._ordinal(epoch, place, text, file) if place.ties else place.at
        if epoch.ranges and at <= epoch.ranges[-1][1]:
            if place.committed is not None and self._newest is not None and place.committed > self._newest:
                epoch = self._epochs[place.epoch] = _Epoch(first=_digest(text))
                self._here.pop(place.epoch, None)
            elif self._was_read(epoch, place.epoch, at):
                return True
        epoch.add(at, new_range=new_range)
        self._remember(place.epoch, at)
        if place.committed is not None:
            self._newest = max(self._newest or place.committed, place.committed)
        if place.log is not None and not place.copy:
            self._log = place.log
        return False

    def _was_read(self, epoch: _Epoch, name: str, at: _At) -> bool:
        remembered = name in self._here and at >= self._here[name]
        if epoch.covers(at) and (not remembered or hash((name, at)) in self._seen):
            return True
        what = (
            "an older record than ones that were read, and not read before: the table's records are not in the order of their log; "
            "or copy the table again (tidegate resync)"
        )
        raise Refused(what, "order='position'")

    def _remember(self, name: str, at: _At) -> None:
        if len(self._seen) >= _REMEMBERED:
            self._seen, self._here = set(), {}
        self._here.setdefault(name, at)
        self._seen.add(hash((name, at)))

    def _ordinal(self, epoch: _Epoch, place: Place, text: bytes, file: str) -> _At:
        """The place made one of its own by a number: how many with the same came before it.

        In a file they are counted. A file that begins with the place that was read last repeats it if it begins with the same
        record, else it goes on. Of a place whose last record is marked and wasn't read yet, none is taken for a repeat: two rows of
        one transaction may be the same text, and one that comes twice does less harm than one that is dropped.
        """
        digest = _digest(text)
        last = epoch.ranges[-1][1] if epoch.ranges else None
        before = self._ties.get(file)
        still_open = last is not None and last[:-1] == place.at and last[-1] < LAST
        if last is not None and still_open and place.ends:
            at = (*place.at, last[-1] + 1)
        elif before is not None and before == (place.epoch, (*place.at, before[1][-1])):
            at = (*place.at, before[1][-1] + 1)
        elif last is not None and still_open and before is None and (file == self._resumed or digest != epoch.first):
            at = (*place.at, last[-1] + 1)
        else:
            at = (*place.at, 0)
            if last is None or at > last:
                epoch.first = digest
        self._ties[file] = (place.epoch, at)
        return at


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:12]
