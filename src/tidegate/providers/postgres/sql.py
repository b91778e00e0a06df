"""The statements, as text. Nothing here talks to a server.

Identifiers are always quoted. In a statement that merges, ``t`` is the target and ``s`` the rows that arrive: a staging table or
an inline list, whatever FROM item the caller names ``s``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.changes.rules import Rules
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError

IDENTIFIER_BYTES = 63


@dataclass(frozen=True, slots=True)
class Put:
    """Rows on their way into a table."""

    table: TableName
    source: str
    """A FROM item named ``s``."""
    key: tuple[str, ...]
    columns: tuple[str, ...]
    """What the rows bring, the key included."""
    absent: tuple[str, ...]
    """What these rows leave out, of the columns that come with other rows."""
    rules: Rules
    mark: str | None = None
    """The column that marks deleted rows, with ``delete_mode='soft'``."""


class PostgresSql:
    """PostgreSQL's words. A system of its family overrides what it says otherwise."""

    # Names

    def name(self, identifier: str) -> str:
        """A quoted identifier; ConfigError for one that the server would cut or can't hold."""
        size = len(identifier.encode())
        if size > IDENTIFIER_BYTES or not identifier or "\0" in identifier:
            what = (
                f"{size} bytes long, and PostgreSQL cuts names at {IDENTIFIER_BYTES}" if size > IDENTIFIER_BYTES else "not a name"
            )
            raise ConfigError(f"{identifier!r} is {what}: give the target another one")
        return '"' + identifier.replace('"', '""') + '"'

    def names(self, identifiers: Sequence[str], prefix: str = "") -> str:
        """Quoted identifiers, comma separated; ``prefix`` stands before each."""
        return ", ".join(prefix + self.name(item) for item in identifiers)

    def table(self, table: TableName) -> str:
        return f"{self.name(table.schema)}.{self.name(table.name)}" if table.schema else self.name(table.name)

    def _same_key(self, key: Sequence[str]) -> str:
        return " AND ".join(f"t.{self.name(item)} = s.{self.name(item)}" for item in key)

    # Tables

    def create_schema(self, schema: str) -> str:
        return f"CREATE SCHEMA IF NOT EXISTS {self.name(schema)}"

    def create_table(self, table: TableName, columns: Sequence[tuple[str, str]], key: Sequence[str]) -> str:
        """``columns`` are names and what follows the name: type, NOT NULL, default."""
        lines = [f"{self.name(name)} {rest}" for name, rest in columns]
        if key:
            lines.append(f"PRIMARY KEY ({self.names(key)})")
        return f"CREATE TABLE IF NOT EXISTS {self.table(table)} ({', '.join(lines)})"

    def add_columns(self, table: TableName, columns: Sequence[tuple[str, str]]) -> str:
        added = ", ".join(f"ADD COLUMN IF NOT EXISTS {self.name(name)} {rest}" for name, rest in columns)
        return f"ALTER TABLE {self.table(table)} {added}"

    def drop_table(self, table: TableName) -> str:
        return f"DROP TABLE IF EXISTS {self.table(table)}"

    def clear_table(self, table: TableName) -> str:
        """DELETE, since TRUNCATE shuts readers out until the commit and shows an empty table to those whose snapshot is older."""
        return f"DELETE FROM {self.table(table)}"

    def any_row(self, table: TableName) -> str:
        return f"SELECT EXISTS (SELECT 1 FROM {self.table(table)})"

    # Staging

    def create_staging(self, stage: str, table: TableName, columns: Sequence[str]) -> str:
        """A temporary table with the target's types and none of its constraints, gone with the transaction."""
        return (
            f"CREATE TEMPORARY TABLE {self.name(stage)} ON COMMIT DROP AS "
            f"SELECT {self.names(columns)} FROM {self.table(table)} WHERE false"
        )

    def create_seen(self, seen: TableName, table: TableName, key: Sequence[str]) -> str:
        """The keys that a copy brought. A logged table: the server empties unlogged ones after a crash."""
        return f"CREATE TABLE IF NOT EXISTS {self.table(seen)} AS SELECT {self.names(key)} FROM {self.table(table)} WHERE false"

    def empty_staging(self, stage: str) -> str:
        return f"TRUNCATE {self.name(stage)}"

    def analyze(self, stage: str, columns: Sequence[str]) -> str:
        return f"ANALYZE {self.name(stage)} ({self.names(columns)})"

    def copy_in(self, table: TableName, columns: Sequence[str]) -> str:
        return f"COPY {self.table(table)} ({self.names(columns)}) FROM STDIN WITH (FORMAT csv)"

    def copy_out(self, query: str) -> str:
        return f"COPY ({query}) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE *)"

    def insert_values(self, table: TableName, columns: Sequence[str], rows: Sequence[str]) -> str:
        """``rows`` are literals, comma separated."""
        return f"INSERT INTO {self.table(table)} ({self.names(columns)}) VALUES {', '.join(f'({row})' for row in rows)}"

    def inline(self, columns: Sequence[tuple[str, str]], rows: Sequence[str]) -> str:
        """Literals as a FROM item named ``s``. ``columns`` are names and types to cast to, which neither cut nor round."""
        casts = ", ".join(f"CAST(v.{self.name(name)} AS {kind}) AS {self.name(name)}" for name, kind in columns)
        names = self.names([name for name, _ in columns])
        return f"(SELECT {casts} FROM (VALUES {', '.join(f'({row})' for row in rows)}) AS v ({names})) AS s"

    def staged(self, stage: str) -> str:
        """A staging table as a FROM item named ``s``."""
        return f"{self.name(stage)} AS s"

    # Removing

    def delete(self, table: TableName, source: str, key: Sequence[str]) -> str:
        return f"DELETE FROM {self.table(table)} AS t USING {source} WHERE {self._same_key(key)}"

    def set_mark(self, table: TableName, source: str, key: Sequence[str], mark: str) -> str:
        column = self.name(mark)
        return (
            f"UPDATE {self.table(table)} AS t SET {column} = true FROM {source} "
            f"WHERE {self._same_key(key)} AND t.{column} IS NOT TRUE"
        )

    def remember(self, seen: TableName, source: str, key: Sequence[str]) -> str:
        return f"INSERT INTO {self.table(seen)} ({self.names(key)}) SELECT {self.names(key, 's.')} FROM {source}"

    def remove_unseen(self, table: TableName, seen: TableName, key: Sequence[str], mark: str | None) -> str:
        unseen = f"NOT EXISTS (SELECT 1 FROM {self.table(seen)} AS s WHERE {self._same_key(key)})"
        if mark is None:
            return f"DELETE FROM {self.table(table)} AS t WHERE {unseen}"
        column = self.name(mark)
        return f"UPDATE {self.table(table)} AS t SET {column} = true WHERE t.{column} IS NOT TRUE AND {unseen}"

    # Putting

    def conflicts(self, put: Put, limit: int) -> str:
        """Some of the keys that are there already."""
        return (
            f"SELECT {self.names(put.key, 's.')} FROM {put.source} WHERE EXISTS "
            f"(SELECT 1 FROM {self.table(put.table)} AS t WHERE {self._same_key(put.key)}) LIMIT {limit}"
        )

    def count_present(self, put: Put) -> str:
        """How many of the keys are there; rows that are marked as deleted are not."""
        marked = f" AND t.{self.name(put.mark)} IS NOT TRUE" if put.mark else ""
        return f"SELECT count(*) FROM {self.table(put.table)} AS t JOIN {put.source} ON {self._same_key(put.key)}{marked}"

    def insert(self, put: Put) -> str:
        """Plain INSERT: a key that is there is an error."""
        columns, values = self._columns_and_values(put)
        return f"INSERT INTO {self.table(put.table)} AS t ({columns}) SELECT {values} FROM {put.source}"

    def upsert(self, put: Put) -> str:
        """INSERT; what happens to a row that is there is decided by the rules (:class:`tidegate.changes.rules.Rules`)."""
        sets = self._assignments(put, "excluded")
        action = "NOTHING"
        if sets:
            conditions = self._conditions(put, "excluded")
            action = f"UPDATE SET {', '.join(sets)}" + (f" WHERE {conditions}" if conditions else "")
        return f"{self.insert(put)} ON CONFLICT ({self.names(put.key)}) DO {action}"

    def counted(self, upsert: str) -> str:
        """The statement with a result: rows inserted, and rows inserted or updated. An updated row carries its locker in xmax."""
        return f"WITH w AS ({upsert} RETURNING t.xmax = 0 AS fresh) SELECT count(*) FILTER (WHERE fresh), count(*) FROM w"

    def update_existing(self, put: Put) -> str | None:
        """UPDATE of rows that are there and not marked; None if there is nothing to set."""
        sets = [f"{self.name(item)} = s.{self.name(item)}" for item in self._listed(put)]
        if not sets:
            return None
        conditions = [self._same_key(put.key)]
        if put.mark:
            conditions.append(f"t.{self.name(put.mark)} IS NOT TRUE")
        if put.rules.version_column:
            conditions.append(f"({self._newer(put, 's')})")
        return f"UPDATE {self.table(put.table)} AS t SET {', '.join(sets)} FROM {put.source} WHERE {' AND '.join(conditions)}"

    def _columns_and_values(self, put: Put) -> tuple[str, str]:
        columns, values = self.names(put.columns), self.names(put.columns, "s.")
        if put.mark:
            return f"{columns}, {self.name(put.mark)}", f"{values}, false"
        return columns, values

    def _listed(self, put: Put) -> list[str]:
        """The columns that a live row takes over."""
        listed: Sequence[str] = put.columns
        if put.rules.conflict_mode == "ignore":
            listed = ()
        elif put.rules.conflict_mode == "update" and put.rules.columns is not None:
            listed = put.rules.columns
        return [item for item in put.columns if item in listed and item not in put.key]

    def _assignments(self, put: Put, new: str) -> list[str]:
        listed = self._listed(put)
        sets = [f"{self.name(item)} = {new}.{self.name(item)}" for item in listed]
        if put.mark is None:
            return sets
        # A marked row begins a new life: it takes every column, those that are left out their default, which excluded carries.
        mark = self.name(put.mark)
        for item in (*put.columns, *put.absent):
            if item not in listed and item not in put.key:
                column = self.name(item)
                sets.append(f"{column} = CASE WHEN t.{mark} IS TRUE THEN {new}.{column} ELSE t.{column} END")
        return [*sets, f"{mark} = false"]

    def _conditions(self, put: Put, new: str) -> str:
        """Which rows that are there are touched at all; empty: every one."""
        rules = put.rules
        if rules.conflict_mode == "ignore" or (put.mark and not self._listed(put)):
            return f"t.{self.name(put.mark)} IS TRUE" if put.mark else ""
        if rules.version_column is None:
            return ""
        newer = self._newer(put, new)
        return f"t.{self.name(put.mark)} IS TRUE OR {newer}" if put.mark else newer

    def _newer(self, put: Put, new: str) -> str:
        """NULL, and a version that the change leaves out, is lower than any."""
        version = put.rules.version_column
        assert version is not None
        column = self.name(version)
        unversioned = f"t.{column} IS NULL"
        return f"{unversioned} OR {new}.{column} >= t.{column}" if version in put.columns else unversioned
