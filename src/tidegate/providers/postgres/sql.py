"""The statements, as text. Nothing here talks to a server.

Identifiers are always quoted. In a statement that merges, ``t`` is the target and ``s`` the rows that arrive: a staging table or
an inline list, whatever FROM item the caller names ``s``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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

    tells_fresh: ClassVar[bool] = True
    """Whether :meth:`counted` tells inserted rows from updated ones; else they are counted before."""
    keeps_stages: ClassVar[bool] = True
    """Whether staging tables may stay with the session: CREATE TABLE IF NOT EXISTS … AS came with PostgreSQL 9.5."""
    empty: ClassVar[str] = ""
    """What the ledger keeps in the place of an empty text: a database that takes '' for NULL needs another."""

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

    # A copy that takes a table's place

    def create_like(self, table: TableName, model: TableName) -> str:
        """Columns, defaults, CHECK constraints, storage and comments of ``model``; indexes come after the rows."""
        how = "INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS EXCLUDING IDENTITY"
        return f"CREATE TABLE {self.table(table)} (LIKE {self.table(model)} {how})"

    def retype_empty(self, table: TableName, column: str, kind: str) -> str:
        """Another type for a column of a table without rows, whatever the old one."""
        name = self.name(column)
        return (
            f"ALTER TABLE {self.table(table)} ALTER COLUMN {name} DROP DEFAULT, "
            f"ALTER COLUMN {name} TYPE {kind} USING CAST(NULL AS {kind})"
        )

    def create_index(self, name: str, table: TableName, rest: str, *, unique: bool) -> str:
        """``rest``: from USING on."""
        return f"CREATE {'UNIQUE ' if unique else ''}INDEX {self.name(name)} ON {self.table(table)} {rest}"

    def drop_index(self, name: str, schema: str) -> str:
        return f"DROP INDEX {self.table(TableName(schema, name))}"

    def constraint_by_index(self, name: str, table: TableName, kind: str, deferrable: str) -> str:
        """The constraint takes over the index of its name."""
        constraint = f"ADD CONSTRAINT {self.name(name)} {kind} USING INDEX {self.name(name)}{deferrable}"
        return f"ALTER TABLE {self.table(table)} {constraint}"

    def add_primary_key(self, name: str, table: TableName, key: Sequence[str]) -> str:
        return f"ALTER TABLE {self.table(table)} ADD CONSTRAINT {self.name(name)} PRIMARY KEY ({self.names(key)})"

    def set_options(self, table: TableName, options: Sequence[str], column: str | None = None) -> str:
        """``options`` as the catalog has them, ``name=value``."""
        pairs = (option.partition("=") for option in options)
        settings = ", ".join(f"{name} = {self.literal(value)}" for name, _, value in pairs)
        of = f"ALTER COLUMN {self.name(column)} " if column is not None else ""
        return f"ALTER TABLE {self.table(table)} {of}SET ({settings})"

    def set_statistics(self, table: TableName, column: str, target: int) -> str:
        return f"ALTER TABLE {self.table(table)} ALTER COLUMN {self.name(column)} SET STATISTICS {target}"

    def set_owner(self, table: TableName, owner: str) -> str:
        return f"ALTER TABLE {self.table(table)} OWNER TO {self.name(owner)}"

    def grant(self, table: TableName, privileges: Sequence[str], column: str, grantee: str, *, grantable: bool) -> str:
        """``column`` empty: the table; ``grantee`` empty: PUBLIC."""
        of = f" ({self.name(column)})" if column else ""
        what = ", ".join(privilege + of for privilege in privileges)
        option = " WITH GRANT OPTION" if grantable else ""
        return f"GRANT {what} ON TABLE {self.table(table)} TO {self._role(grantee)}{option}"

    def revoke_all(self, table: TableName, grantee: str) -> str:
        return f"REVOKE ALL ON TABLE {self.table(table)} FROM {self._role(grantee)}"

    def _role(self, grantee: str) -> str:
        return self.name(grantee) if grantee else "PUBLIC"

    def comment(self, on: str, text: str | None) -> str:
        """``on``: what is commented, with its kind: ``TABLE "a"."b"``."""
        return f"COMMENT ON {on} IS {self.literal(text) if text is not None else 'NULL'}"

    def literal(self, text: str) -> str:
        """A string, with ``standard_conforming_strings`` on as in every session of ours."""
        return "'" + text.replace("'", "''") + "'"

    def lock(self, table: TableName) -> str:
        return f"LOCK TABLE {self.table(table)} IN ACCESS EXCLUSIVE MODE"

    def drop_for_good(self, table: TableName) -> str:
        """Refused by the server if something depends on the table."""
        return f"DROP TABLE {self.table(table)} RESTRICT"

    def rename_table(self, table: TableName, name: str) -> str:
        return f"ALTER TABLE {self.table(table)} RENAME TO {self.name(name)}"

    def rename_index(self, schema: str, old: str, new: str) -> str:
        """A constraint of the index's name is renamed with it."""
        return f"ALTER INDEX {self.table(TableName(schema, old))} RENAME TO {self.name(new)}"

    def drop_table(self, table: TableName) -> str:
        return f"DROP TABLE IF EXISTS {self.table(table)}"

    def clear_table(self, table: TableName) -> str:
        """DELETE, not TRUNCATE.

        TRUNCATE shuts readers out until the commit, shows an empty table to those whose snapshot is older, is refused where a
        foreign key points to the table, and needs a right of its own.
        """
        return f"DELETE FROM {self.table(table)}"

    def mark_all(self, table: TableName, mark: str) -> str:
        column = self.name(mark)
        return f"UPDATE {self.table(table)} SET {column} = true WHERE {column} IS NOT TRUE"

    def fill(self, table: TableName, source: str, column: str) -> str:
        """One value into all rows. Compared as text: equal values may be written differently, and json can't be compared."""
        name = self.name(column)
        differs = f"CAST(t.{name} AS text) IS DISTINCT FROM CAST(s.{name} AS text)"
        return f"UPDATE {self.table(table)} AS t SET {name} = s.{name} FROM {source} WHERE {differs}"

    def alter_types(self, table: TableName, columns: Sequence[tuple[str, str]]) -> str:
        """``columns`` are names and their new types. One statement, so that a table is rewritten once."""
        altered = ", ".join(f"ALTER COLUMN {self.name(name)} TYPE {kind}" for name, kind in columns)
        return f"ALTER TABLE {self.table(table)} {altered}"

    def any_row(self, table: TableName) -> str:
        return f"SELECT EXISTS (SELECT 1 FROM {self.table(table)})"

    # Staging

    def create_staging(self, stage: str, table: TableName, columns: Sequence[str]) -> str:
        """A temporary table with the target's types and none of its constraints, gone with the transaction."""
        return (
            f"CREATE TEMPORARY TABLE {self.name(stage)} ON COMMIT DROP AS "
            f"SELECT {self.names(columns)} FROM {self.table(table)} WHERE false"
        )

    def create_kept_staging(self, stage: str, table: TableName, columns: Sequence[str]) -> str:
        """The same, which stays with the session and is emptied by each commit: to make one costs more than to load a few rows."""
        return (
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {self.name(stage)} ON COMMIT DELETE ROWS AS "
            f"SELECT {self.names(columns)} FROM {self.table(table)} WHERE false"
        )

    def create_seen(self, seen: TableName, table: TableName, key: Sequence[str]) -> str:
        """The keys that a copy brought. A logged table: the server empties unlogged ones after a crash."""
        return f"CREATE TABLE IF NOT EXISTS {self.table(seen)} AS SELECT {self.names(key)} FROM {self.table(table)} WHERE false"

    def create_lane(self, lane: TableName, columns: Sequence[tuple[str, str]]) -> str:
        """A staging table that another connection reads; ``columns`` are names and types. It is made without looking at the target:
        for somebody's ALTER TABLE, waiting for the load, it would wait too.

        UNLOGGED: a server that loses its rows loses the load that needs them.
        """
        return f"CREATE UNLOGGED TABLE {self.table(lane)} ({', '.join(f'{self.name(name)} {kind}' for name, kind in columns)})"

    def together(self, items: Sequence[str], columns: Sequence[str]) -> str:
        """Several FROM items named ``s`` as one of that name."""
        return f"({' UNION ALL '.join(f'SELECT {self.names(columns)} FROM {item}' for item in items)}) AS s"

    def empty_staging(self, stage: str) -> str:
        return f"TRUNCATE {self.name(stage)}"

    def analyze(self, stage: str, columns: Sequence[str]) -> str:
        return self.analyze_table(TableName("", stage), columns)

    def analyze_table(self, table: TableName, columns: Sequence[str]) -> str:
        return f"ANALYZE {self.table(table)} ({self.names(columns)})"

    def copy_in(self, table: TableName, columns: Sequence[str]) -> str:
        return f"COPY {self.table(table)} ({self.names(columns)}) FROM STDIN WITH (FORMAT csv)"

    def copy_in_binary(self, table: TableName, columns: Sequence[str]) -> str:
        return f"COPY {self.table(table)} ({self.names(columns)}) FROM STDIN WITH (FORMAT binary)"

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

    def count_keys(self, table: TableName, source: str, key: Sequence[str], mark: str | None) -> str:
        """How many of the keys are there, each once; marked rows are not."""
        marked = f" AND t.{self.name(mark)} IS NOT TRUE" if mark else ""
        there = f"SELECT 1 FROM {self.table(table)} AS t WHERE {self._same_key(key)}{marked}"
        return f"SELECT count(*) FROM {source} WHERE EXISTS ({there})"

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

    def merge(self, put: Put) -> str | None:
        """The upsert as MERGE, of rows without marks and versions; None if there is nothing to set."""
        listed = self._listed(put)
        if not listed:
            return None
        sets = ", ".join(f"{self.name(item)} = s.{self.name(item)}" for item in listed)
        return (
            f"MERGE INTO {self.table(put.table)} AS t USING {put.source} ON {self._same_key(put.key)} "
            f"WHEN MATCHED THEN UPDATE SET {sets} "
            f"WHEN NOT MATCHED THEN INSERT ({self.names(put.columns)}) VALUES ({self.names(put.columns, 's.')})"
        )

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
