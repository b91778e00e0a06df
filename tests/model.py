"""The reference model: a table as a dict, changes applied one by one. What fold, sinks and runs must equal.

A row is a dict of its columns; a change that leaves a column out simply lacks it. A row marked by ``delete_mode='soft'`` is kept
with its values and counts as not there for the next change of its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.changes.batch import RowKind, TableEvent
from tidegate.changes.rules import Rules

Row = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """One change: an insert has ``after``, a delete ``before``, an update both."""

    before: Row | None
    after: Row | None

    def rows(self) -> list[tuple[RowKind, Row]]:
        """As rows of a changelog."""
        if self.before is None:
            assert self.after is not None
            return [(RowKind.INSERT, self.after)]
        if self.after is None:
            return [(RowKind.DELETE, self.before)]
        return [(RowKind.UPDATE_BEFORE, self.before), (RowKind.UPDATE_AFTER, self.after)]


class Conflict(Exception):
    """``strict`` met a key that is there."""


@dataclass
class Model:
    """A target table. ``columns`` are all of its columns, ``defaults`` what a new row gets in those it doesn't bring."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    rules: Rules = field(default_factory=Rules)
    defaults: Row = field(default_factory=dict)
    rows: dict[Key, Row] = field(default_factory=dict)
    marked: set[Key] = field(default_factory=set)

    def apply(self, changes: Iterable[Change | TableEvent]) -> Model:
        for change in changes:
            if isinstance(change, TableEvent):
                self._event(change)
                continue
            if self.rules.conflict_mode == "strict" and (change.before is not None or change.after is None):
                raise Conflict
            if change.after is None:
                assert change.before is not None
                self._delete(self._key(change.before))
                continue
            if change.before is not None and self._key(change.before) != self._key(change.after):
                self._delete(self._key(change.before))
            self._put(change.after)
        return self

    def _event(self, event: TableEvent) -> None:
        if event.kind == "truncated":
            self.truncate()
        elif event.kind == "column_added":
            assert event.column is not None
            self.fill(event.column.name, None if event.value is None else event.value.as_py())
        else:
            self.fill("b", 0)

    def truncate(self) -> int:
        """All live rows are deleted; how many."""
        live = self.live()
        for key in live:
            self._delete(key)
        return len(live)

    def fill(self, column: str, value: Any) -> int:
        """All rows hold the value; how many. Under ``ignore_nulls`` a NULL counts as left out."""
        if value is None and self.rules.ignore_nulls:
            return 0
        self.rows = {key: row | {column: value} for key, row in self.rows.items()}
        return len(self.rows)

    def live(self) -> dict[Key, Row]:
        return {key: row for key, row in self.rows.items() if key not in self.marked}

    def _key(self, row: Mapping[str, Any]) -> Key:
        return tuple(row[name] for name in self.key)

    def _delete(self, key: Key) -> None:
        if self.rules.delete_mode == "ignore":
            return
        if self.rules.delete_mode == "soft":
            if key in self.rows:
                self.marked.add(key)
            return
        self.rows.pop(key, None)

    def _put(self, row: Row) -> None:
        key, rules = self._key(row), self.rules
        given = {name: value for name, value in row.items() if name in self.key or not (rules.ignore_nulls and value is None)}
        old = self.rows.get(key)
        if old is None or key in self.marked:
            self.rows[key] = dict.fromkeys(self.columns) | self.defaults | given
            self.marked.discard(key)
            return
        if rules.conflict_mode == "strict":
            raise Conflict
        if rules.conflict_mode == "ignore":
            return
        if rules.version_column is not None and _version(given.get(rules.version_column)) < _version(old[rules.version_column]):
            return
        if rules.conflict_mode == "update" and rules.columns is not None:
            given = {name: value for name, value in given.items() if name in rules.columns}
        self.rows[key] = old | given


def _version(value: Any) -> tuple[bool, Any]:
    """NULL, and a version that was left out, is lower than any other."""
    return (value is not None, value if value is not None else 0)
