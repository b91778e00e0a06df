"""The statements of a server that grew from PostgreSQL 9.2.4, as openGauss documents them (SQL reference: INSERT, MERGE INTO,
CREATE TABLE; gram.y).

What PostgreSQL has learned since is missing: FILTER, ON CONFLICT, an alias in INSERT, IF NOT EXISTS for schemas, columns and CREATE
TABLE AS. ON DUPLICATE KEY UPDATE takes no RETURNING, and rows of it carry nothing that tells inserted from updated ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tidegate.changes.schema import TableName
from tidegate.providers.postgres.sql import PostgresSql, Put
from tidegate.providers.postgres.types import VARCHAR_MAX

UTF8_BYTES = 4
"""The longest character in UTF-8."""

_DATE = re.compile(r"^date\b")
_VARCHAR = re.compile(r"\bvarchar\((\d+)\)")


@dataclass(frozen=True, slots=True)
class GaussdbPut(Put):
    """Rows on their way into a table with columns that no UPDATE may set."""

    fixed: frozenset[str] = frozenset()
    """Partition and distribution keys outside the key."""


class GaussdbSql(PostgresSql):
    """GaussDB's and openGauss's words.

    ``counts_bytes``: the n of varchar(n) is a number of bytes. ``dates_have_times``: DATE is no date.
    """

    tells_fresh: ClassVar[bool] = False
    keeps_stages: ClassVar[bool] = False
    empty: ClassVar[str] = " "

    def __init__(self, *, counts_bytes: bool = False, dates_have_times: bool = False) -> None:
        self._counts_bytes, self._dates_have_times = counts_bytes, dates_have_times

    # Tables

    def create_schema(self, schema: str) -> str:
        return f"CREATE SCHEMA {self.name(schema)}"

    def create_table(self, table: TableName, columns: Sequence[tuple[str, str]], key: Sequence[str]) -> str:
        return super().create_table(table, self._own_types(columns), key)

    def add_columns(self, table: TableName, columns: Sequence[tuple[str, str]]) -> str:
        added = ", ".join(f"ADD COLUMN {self.name(name)} {rest}" for name, rest in self._own_types(columns))
        return f"ALTER TABLE {self.table(table)} {added}"

    def alter_types(self, table: TableName, columns: Sequence[tuple[str, str]]) -> str:
        return super().alter_types(table, self._own_types(columns))

    def _own_types(self, columns: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        """Types that hold what PostgreSQL's of the same name do: lengths are in bytes, and DATE is another under A compatibility.

        There gram.y reads it as timestamp(0), and where ``mapping_date_to_datea`` is on as datea, whose text is in another format.
        """
        if self._counts_bytes:
            columns = [(name, _VARCHAR.sub(_as_bytes, rest)) for name, rest in columns]
        if self._dates_have_times:
            columns = [(name, _DATE.sub("timestamp(0)", rest)) for name, rest in columns]
        return columns

    # Staging

    def create_staging(self, stage: str, table: TableName, columns: Sequence[str]) -> str:
        """GaussDB has no ON COMMIT DROP (42P16): the table stays with the session, :meth:`leftovers` finds it."""
        return (
            f"CREATE TEMPORARY TABLE {self.name(stage)} ON COMMIT DELETE ROWS AS "
            f"SELECT {self.names(columns)} FROM {self.table(table)} WHERE false"
        )

    def leftovers(self) -> str:
        """The staging tables of this session's earlier transactions."""
        return (
            "SELECT c.relname FROM pg_catalog.pg_class c "
            "WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind = 'r' AND c.relname LIKE 'tidegate_stage%'"
        )

    def drop_staging(self, stage: str) -> str:
        return f"DROP TABLE {self.name(stage)}"

    def create_seen(self, seen: TableName, table: TableName, key: Sequence[str]) -> str:
        return f"CREATE TABLE {self.table(seen)} AS SELECT {self.names(key)} FROM {self.table(table)} WHERE false"

    # Putting

    def insert(self, put: Put) -> str:
        columns, values = self._columns_and_values(put)
        return f"INSERT INTO {self.table(put.table)} ({columns}) SELECT {values} FROM {put.source}"

    def upsert(self, put: Put) -> str:
        """ON DUPLICATE KEY UPDATE, of rows none of which is marked. The target goes by its name without schema: it has no alias."""
        sets = [f"{self.name(item)} = EXCLUDED.{self.name(item)}" for item in self._listed(put)]
        if not sets:
            return f"{self.insert(put)} ON DUPLICATE KEY UPDATE NOTHING"
        newer = self.newer(put, self.name(put.table.name), "EXCLUDED")
        return f"{self.insert(put)} ON DUPLICATE KEY UPDATE {', '.join(sets)}" + (f" WHERE {newer}" if newer else "")

    def merge(self, put: Put) -> str:
        """MERGE INTO, of rows none of which is marked."""
        columns, values = self._columns_and_values(put)
        sets = self._sets(put)
        matched = self.matched(", ".join(sets), self.newer(put, "t", "s")) if sets else ""
        return (
            f"MERGE INTO {self.table(put.table)} AS t USING {put.source} ON ({self._same_key(put.key)}) "
            f"{matched}WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})"
        )

    def matched(self, sets: str, condition: str) -> str:
        """The branch of MERGE for rows that are there."""
        return f"WHEN MATCHED THEN UPDATE SET {sets} " + (f"WHERE {condition} " if condition else "")

    def update_live(self, put: Put) -> str | None:
        """UPDATE of rows that are there, none of which is marked; None if there is nothing to set."""
        sets = self._sets(put)
        if not sets:
            return None
        newer = self.newer(put, "t", "s")
        where = self._same_key(put.key) + (f" AND ({newer})" if newer else "")
        return f"UPDATE {self.table(put.table)} AS t SET {', '.join(sets)} FROM {put.source} WHERE {where}"

    def insert_absent(self, put: Put) -> str:
        """INSERT of the rows whose keys aren't there."""
        return f"{self.insert(put)} WHERE NOT EXISTS (SELECT 1 FROM {self.table(put.table)} AS t WHERE {self._same_key(put.key)})"

    def revive(self, put: Put) -> str:
        """A marked row begins a new life: it takes every column, those that are left out their default, and loses its mark."""
        assert put.mark is not None
        mark = self.name(put.mark)
        fixed = _fixed(put)
        sets = [f"{self.name(item)} = s.{self.name(item)}" for item in put.columns if item not in put.key and item not in fixed]
        sets += [f"{self.name(item)} = DEFAULT" for item in put.absent if item not in fixed]
        sets.append(f"{mark} = false")
        where = f"{self._same_key(put.key)} AND t.{mark} IS TRUE"
        return f"UPDATE {self.table(put.table)} AS t SET {', '.join(sets)} FROM {put.source} WHERE {where}"

    def count_touched(self, put: Put, *, revives: bool) -> str:
        """How many of the keys are there, and how many of those rows will be written.

        ``revives``: marked rows are there and begin a new life; otherwise they are as good as gone.
        """
        touched = (self.newer(put, "t", "s") or "true") if super()._listed(put) else "false"
        join = self._same_key(put.key)
        if put.mark:
            mark = f"t.{self.name(put.mark)} IS TRUE"
            touched = f"({mark} OR {touched})"
            join += "" if revives else f" AND NOT ({mark})"
        counts = f"count(*), count(CASE WHEN {touched} THEN 1 END)"
        return f"SELECT {counts} FROM {self.table(put.table)} AS t JOIN {put.source} ON {join}"

    # Rows that go to another partition or node

    def any_move(self, put: Put) -> str:
        """Whether a row changes in a column that may not be set."""
        return f"SELECT EXISTS (SELECT 1 FROM {self._moving(put)})"

    def take_out(self, put: Put, stage: str, columns: Sequence[str]) -> str:
        """Those rows, as they are to be, into a staging table of all their columns."""
        listed = super()._listed(put)
        values = ", ".join(("s." if item in listed else "t.") + self.name(item) for item in columns)
        return f"INSERT INTO {self.name(stage)} ({self.names(columns)}) SELECT {values} FROM {self._moving(put)}"

    def put_back(self, table: TableName, stage: str, columns: Sequence[str]) -> str:
        names = self.names(columns)
        return f"INSERT INTO {self.table(table)} ({names}) SELECT {names} FROM {self.name(stage)}"

    def _moving(self, put: Put) -> str:
        conditions = [self._same_key(put.key)]
        if put.mark:
            conditions.append(f"t.{self.name(put.mark)} IS NOT TRUE")
        if newer := self.newer(put, "t", "s"):
            conditions.append(f"({newer})")
        moves = [item for item in super()._listed(put) if item in _fixed(put)]
        conditions.append("(" + " OR ".join(f"t.{self.name(item)} IS DISTINCT FROM s.{self.name(item)}" for item in moves) + ")")
        return f"{self.table(put.table)} AS t JOIN {put.source} ON {' AND '.join(conditions)}"

    # Parts

    def _sets(self, put: Put) -> list[str]:
        return [f"{self.name(item)} = s.{self.name(item)}" for item in self._listed(put)]

    def _listed(self, put: Put) -> list[str]:
        return [item for item in super()._listed(put) if item not in _fixed(put)]

    def moves(self, put: Put) -> bool:
        """Whether the rows bring a column that may not be set."""
        return any(item in _fixed(put) for item in super()._listed(put))

    def newer(self, put: Put, old: str, new: str) -> str:
        """Which rows that are there are older than what comes; empty: it doesn't matter."""
        version = put.rules.version_column
        if version is None or put.rules.conflict_mode == "ignore":
            return ""
        column = self.name(version)
        unversioned = f"{old}.{column} IS NULL"
        return f"({unversioned} OR {new}.{column} >= {old}.{column})" if version in put.columns else unversioned


def _fixed(put: Put) -> frozenset[str]:
    return put.fixed if isinstance(put, GaussdbPut) else frozenset()


def _as_bytes(match: re.Match[str]) -> str:
    size = int(match[1]) * UTF8_BYTES
    return f"varchar({size})" if size <= VARCHAR_MAX else "text"
