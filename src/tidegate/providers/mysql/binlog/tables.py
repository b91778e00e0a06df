"""The tables of a window, as they are at the place of the log that is being read."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from tidegate.changes.batch import TableEvent
from tidegate.changes.schema import TableName, TableSchema
from tidegate.providers.mysql.binlog.query import Query
from tidegate.providers.mysql.ddl.altered import Altered, Dialect, swapped
from tidegate.providers.mysql.ddl.history import Away, Broken, Effect, SchemaHistory, Swapped, Truncated
from tidegate.providers.mysql.ddl.lexer import NotUnderstood
from tidegate.providers.mysql.types import MySqlTable

log = logging.getLogger(__name__)


class Present(Protocol):
    """What the server can say of its tables now, while the log of before is read."""

    def dialect(self) -> Dialect:
        """What DDL means there."""

    def table(self, table: TableName) -> tuple[MySqlTable, str]:
        """The table as it is now, and what SHOW CREATE TABLE says. SchemaError if it is gone."""


class LoggedTables:
    """Follows DDL from statement to statement. ``tables`` are by their full names, each as of its own position."""

    def __init__(
        self, tables: Mapping[TableName, MySqlTable], present: Present, unknown: frozenset[TableName] = frozenset()
    ) -> None:
        self._tables = dict(tables)
        self._present = present
        self._history = SchemaHistory(present.dialect)
        self._away: dict[TableName, str] = {}
        self._unknown: set[TableName] = set(unknown)

    def get(self, where: TableName) -> MySqlTable | None:
        """The table as it is here; None for one that isn't read."""
        return self._tables.get(where)

    def known(self, where: TableName) -> bool:
        """Whether the columns are known here. If not, only the names in row metadata tell."""
        return where not in self._unknown

    def drop(self, where: TableName) -> None:
        """Read no more rows of it."""
        self._tables.pop(where, None)

    def schemas(self) -> dict[TableName, TableSchema]:
        """The schemas as of here."""
        return {table.name: table.schema for table in self._tables.values()}

    def statement(self, query: Query, concerned: Collection[TableName], position: str) -> list[TableEvent]:
        """Take a statement; what it does to those of the tables that it ``concerned``."""
        tables = {where: self._tables[where] for where in concerned if where in self._tables}
        events: list[TableEvent] = []
        for effect in self._history.effects(query, tables):
            self._away.pop(effect.table.where, None)
            events += self._happened(effect, position)
        return events

    def end(self) -> list[TableEvent]:
        """The window is over: tables that were renamed away, for another to take their place, and none has."""
        return [
            TableEvent(self._tables[where].name, "broken", "RENAME TABLE: the table is renamed", position)
            for where, position in self._away.items()
            if where in self._tables
        ]

    def _happened(self, effect: Effect, position: str) -> list[TableEvent]:
        where, name = effect.table.where, effect.table.name
        match effect:
            case Truncated():
                return [TableEvent(name, "truncated", "TRUNCATE TABLE", position)]
            case Broken(_, verb, reason, setting):
                hint = f" [{setting}]" if setting else ""
                if not setting:
                    self._unknown.add(where)
                return [TableEvent(name, "broken", f"{verb}: {reason}{hint}", position)]
            case Away():
                self._away[where] = position
                return []
            case Swapped():
                try:
                    now, create = self._present.table(name)
                    effect = swapped(effect.table, now, create, self._present.dialect())
                except NotUnderstood as reason:
                    self._unknown.add(where)
                    what = f"RENAME TABLE: another table, of an online schema change, took its place, and {reason}"
                    return [TableEvent(name, "broken", what, position)]
                return self._altered(effect, position)
            case Altered():
                return self._altered(effect, position)

    def _altered(self, effect: Altered, position: str) -> list[TableEvent]:
        if effect.table.where in self._unknown:
            what = "ALTER TABLE: what columns it had before isn't known; begin behind this statement"
            return [TableEvent(effect.table.name, "broken", what, position)]
        again = {name.lower() for name in effect.dropped} & {item.column.name.lower() for item in effect.added}
        before = self._tables[effect.table.where].schema
        self._tables[effect.table.where] = effect.table
        self._unknown.discard(effect.table.where)
        name = effect.table.name
        if again and (changed := [name for name in before.names if name.lower() in again and not _same(before, effect, name)]):
            return [TableEvent(name, "broken", f"ALTER TABLE: the column {changed[0]} is another now", position)]
        if effect.renamed:
            old, new = effect.renamed[0]
            return [TableEvent(name, "broken", f"ALTER TABLE: the column {old} is renamed to {new}", position)]
        events = []
        if effect.dropped or effect.changed:
            parts = [f"drops {', '.join(effect.dropped)}"] if effect.dropped else []
            parts += [f"widens {', '.join(effect.changed)}"] if effect.changed else []
            events.append(TableEvent(name, "altered", f"ALTER TABLE: it {' and '.join(parts)}", position))
        for added in effect.added:
            what = f"ALTER TABLE: it adds {added.column.name}"
            events.append(TableEvent(name, "column_added", what, position, added.column, added.value))
        for event in events:
            log.info("%s, at %s: %s", name, position, event.what)
        return events


def _same(before: TableSchema, effect: Altered, name: str) -> bool:
    """Whether a column that a statement drops and adds has its type again."""
    added = next(item.column for item in effect.added if item.column.name.lower() == name.lower())
    return bool(before.column(name).type == added.type)
