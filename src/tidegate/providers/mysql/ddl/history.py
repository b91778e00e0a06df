"""What a statement in the binlog means for the tables of a sync: their columns after it, and the rows that were there.

The rule is conservative. A statement about other tables is nothing; one after which rows and columns can be told is followed; any
other breaks the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tidegate.changes.schema import TableName
from tidegate.providers.mysql.binlog.query import Query
from tidegate.providers.mysql.ddl import clauses as cl
from tidegate.providers.mysql.ddl import statements as st
from tidegate.providers.mysql.ddl.altered import Altered, Dialect, Ghost, alter, alter_ghost, ghost_like, ghost_written, swap
from tidegate.providers.mysql.ddl.cursor import Cursor
from tidegate.providers.mysql.ddl.intext import changed_by, named_in
from tidegate.providers.mysql.ddl.lexer import NotUnderstood
from tidegate.providers.mysql.types import MySqlTable


@dataclass(frozen=True, slots=True)
class Truncated:
    """All rows that were there are gone."""

    table: MySqlTable


@dataclass(frozen=True, slots=True)
class Swapped:
    """gh-ost or pt-online-schema-change put the table that it made in this one's place, and the making wasn't seen.

    The rows are the same; :func:`tidegate.providers.mysql.ddl.altered.swapped` says what the columns are.
    """

    table: MySqlTable


@dataclass(frozen=True, slots=True)
class Away:
    """gh-ost renamed the table, for its own to take the place with a statement of its own (``--cut-over=two-step``).

    An Altered, Swapped or Broken of the table follows before any of its rows. A reader that ends first has to take it for Broken.
    """

    table: MySqlTable


@dataclass(frozen=True, slots=True)
class Broken:
    """What the table's rows are can't be told any more. ``verb`` is the statement in short, ``reason`` why, for people.

    ``setting`` is what would have changed the outcome, if a setting would.
    """

    table: MySqlTable
    verb: str
    reason: str
    setting: str = ""


Effect = Altered | Truncated | Swapped | Away | Broken
Tables = Mapping[TableName, MySqlTable]

_IN_TEXT = "it stands in the log as a statement, not as rows"
_RENAMED = "the table is renamed, or another takes its place"


class SchemaHistory:
    """Reads the statements of a log in their order. It remembers the tables that gh-ost and pt-online-schema-change make.

    ``dialect`` is asked for at the first statement that concerns a table.
    """

    def __init__(self, dialect: Callable[[], Dialect]) -> None:
        self._dialect = dialect
        self._ghosts: dict[TableName, Ghost] = {}
        self._away: set[TableName] = set()
        self._names: tuple[TableName, ...] = ()
        self._spelled: tuple[str, ...] = ()
        self._schemas: tuple[str, ...] = ()

    def effects(self, query: Query, tables: Tables) -> list[Effect]:
        """What a statement does to ``tables`` (by their full names, as they were before it), in its order. Never raises for a
        statement: what isn't understood and may touch a table breaks it."""
        if not self._may_concern(query, tables):
            return []
        at = Cursor(query.text, query.schema, query.sql_mode)
        kind = "statement"
        try:
            kind = st.verb(at) or kind
            start = at.peek().start
            statement = st.parse(at)
            if query.temporary and isinstance(statement, st.AlterTable | st.Truncate):
                return []
            return self._effects(statement, query, query.text[start:], kind, _Folded(tables))
        except NotUnderstood as reason:
            named = named_in(query.text, query.schema, [*tables, *self._ghosts])
            self._forget(named)
            return [Broken(tables[table], kind, str(reason)) for table in named if table in tables]

    def _may_concern(self, query: Query, tables: Tables) -> bool:
        """Whether the text holds a table's name, or drops a database: a log has many statements that don't."""
        names = tuple(tables)
        if names != self._names:
            self._names = names
            # A ghost's name has no more than that of a long name.
            self._spelled = tuple({spelled for table in names for spelled in _spellings(table.name[:_CUT])})
            self._schemas = tuple({spelled for table in names for spelled in _spellings(table.schema)})
        text = query.text.lower()
        if any(name in text for name in self._spelled):
            return True
        return ("database" in text or "schema" in text) and any(name in text for name in self._schemas)

    def _effects(self, statement: st.Statement, query: Query, text: str, kind: str, tables: _Folded) -> list[Effect]:
        match statement:
            case st.Harmless():
                return []
            case st.InText():
                found = [tables.found[table] for table in changed_by(text, query.schema, tables.found)]
                return [Broken(table, kind, _IN_TEXT, "binlog_format=ROW, in every session") for table in found]
            case st.AlterTable():
                return self._alter(statement, tables)
            case st.RenameTables(pairs):
                return self._rename(pairs, tables, "RENAME TABLE")
            case st.CreateTable():
                return self._create(statement, tables)
            case st.DropTables(dropped, temporary):
                if temporary:
                    return []
                self._forget(dropped)
                return [Broken(table, "DROP TABLE", "the table is gone") for name in dropped if (table := tables.get(name))]
            case st.Truncate(name):
                if ghost := self._ghosts.get(_fold(name)):
                    self._ghosts[_fold(name)] = replace(ghost, problem="it was emptied")
                found_table = tables.get(name)
                return [Truncated(found_table)] if found_table else []
            case st.DropIndexOn(name, index):
                table = tables.get(name)
                gone = table and (index.upper() == "PRIMARY" or index.lower() == table.index.lower())
                return [Broken(table, f"{kind} INDEX", "the index of the key is dropped")] if table and gone else []
            case st.DropDatabase(schema):
                gone_with_it = [table for table in tables.found.values() if table.where.schema.lower() == schema.lower()]
                self._forget([name for name in self._ghosts if name.schema == schema.lower()])
                return [Broken(table, "DROP DATABASE", "the table is gone") for table in gone_with_it]

    def _forget(self, names: Iterable[TableName]) -> None:
        for name in names:
            self._ghosts.pop(_fold(name), None)

    def _alter(self, statement: st.AlterTable, tables: _Folded) -> list[Effect]:
        renames = [clause for clause in statement.clauses if isinstance(clause, cl.RenameTable)]
        rest = [clause for clause in statement.clauses if not isinstance(clause, cl.RenameTable)]
        table, ghost = tables.get(statement.table), self._ghosts.get(_fold(statement.table))
        if renames and rest and table is not None:
            return [Broken(table, "ALTER TABLE", _RENAMED)]
        if ghost is not None and rest:
            self._ghosts[_fold(statement.table)] = alter_ghost(ghost, rest, self._dialect())
        if renames:
            return self._rename([(statement.table, rename.new) for rename in renames], tables, "ALTER TABLE … RENAME")
        if table is None or not rest:
            return []
        try:
            altered = alter(table, rest, self._dialect())
        except NotUnderstood as reason:
            return [Broken(table, "ALTER TABLE", str(reason))]
        return [] if altered == Altered(table) else [altered]

    def _create(self, statement: st.CreateTable, tables: _Folded) -> list[Effect]:
        name, table = statement.table, tables.get(statement.table)
        if statement.temporary:
            return []
        self._forget([name])
        if table is not None:
            if statement.replace or statement.filled or _fold(table.where) in self._away:
                reason = "the table is made anew" if not statement.filled else "rows may come with it that aren't in the log"
                return [Broken(table, "CREATE TABLE", reason)]
            # It wasn't there: it is new and empty, and its row events say what they hold.
            return []
        base = next((table for table in tables.found.values() if _tool(name, table.where)), None)
        if base is None or statement.if_not_exists or statement.filled:
            return []
        if statement.like is None:
            ghost = ghost_written(base, statement, self._dialect())
        elif like := tables.get(statement.like):
            ghost = ghost_like(like)
        else:
            ghost = None
        if ghost is not None:
            self._ghosts[_fold(name)] = ghost
        return []

    def _rename(self, pairs: Sequence[tuple[TableName, TableName]], tables: _Folded, verb: str) -> list[Effect]:
        """Follow what stands under each name; then see what stands where the synced tables stood."""
        came_from: dict[TableName, TableName] = {}
        went_to: dict[TableName, TableName] = {}
        touched: dict[TableName, None] = {}
        for old, new in ((_fold(old), _fold(new)) for old, new in pairs):
            origin = came_from.pop(old, old)
            came_from[new], went_to[origin] = origin, new
            touched |= {old: None, new: None}
        ghosts = {name: self._ghosts.pop(name) for name in [*went_to] if name in self._ghosts}
        effects: list[Effect] = []
        for name in touched:
            table = tables.get(name)
            if table is not None:
                effects.append(self._replaced(table, came_from.get(name), went_to.get(name), ghosts, tables, verb))
        for name, ghost in ghosts.items():
            if tables.get(went_to[name]) is None:
                self._ghosts[went_to[name]] = ghost
        return effects

    def _replaced(
        self,
        table: MySqlTable,
        came: TableName | None,
        went: TableName | None,
        ghosts: Mapping[TableName, Ghost],
        tables: _Folded,
        verb: str,
    ) -> Effect:
        """What it means that the table ``came`` (by its name before) stands in a table's place, and the table went to ``went``."""
        name = _fold(table.where)
        if came is None and went is not None and _old_name(went, name) == "gh-ost":
            self._away.add(name)
            return Away(table)
        self._away.discard(name)
        tool = _tool(came, name) if came is not None and tables.get(came) is None else ""
        # gh-ost may have moved the table away before, by a statement of its own.
        fits = tool == "gh-ost" if went is None else tool and _old_name(went, name) == tool
        if came is None or not fits:
            return Broken(table, verb, _RENAMED)
        if came not in ghosts:
            return Swapped(table)
        try:
            return swap(table, ghosts[came], self._dialect().collations)
        except NotUnderstood as reason:
            return Broken(table, verb, str(reason))


def _fold(name: TableName) -> TableName:
    # Servers may fold the case of table names; taking two for one only stops a run too many.
    return TableName(name.schema.lower(), name.name.lower())


class _Folded:
    """Tables by their names, whatever their case."""

    def __init__(self, tables: Tables) -> None:
        self.found = tables
        self._by_name = {_fold(name): table for name, table in tables.items()}

    def get(self, name: TableName) -> MySqlTable | None:
        return self._by_name.get(_fold(name))


def _spellings(name: str) -> tuple[str, str]:
    # In backticks, a backtick of the name is doubled.
    return name.lower(), name.lower().replace("`", "``")


_CUT = 59
"""What of a name has its place between the underscore and the ending of gh-ost's names."""


def _tool(name: TableName, base: TableName) -> str:
    """The tool that makes a table of this name for ``base``; "" if none does.

    gh-ost (``go/base/context.go``, GetGhostTableName) cuts the base's name so that the whole has 64 characters;
    pt-online-schema-change (--new-table-name) puts up to ten underscores before it.
    """
    made, of = _fold(name), _fold(base)
    if made.schema != of.schema:
        return ""
    if made.name == f"_{of.name[:_CUT]}_gho":
        return "gh-ost"
    return "pt-online-schema-change" if re.fullmatch(rf"_{{1,10}}{re.escape(of.name)}_new", made.name) else ""


def _old_name(name: TableName, base: TableName) -> str:
    """The tool that gives this name to ``base`` when another table takes its place; "" if none does."""
    made, of = _fold(name), _fold(base)
    if made.schema != of.schema:
        return ""
    if made.name == f"_{of.name[:_CUT]}_del" or re.fullmatch(rf"_{re.escape(of.name[:44])}.*_\d{{14}}_del", made.name):
        return "gh-ost"
    return "pt-online-schema-change" if re.fullmatch(rf"_{{1,10}}{re.escape(of.name)}_old", made.name) else ""
