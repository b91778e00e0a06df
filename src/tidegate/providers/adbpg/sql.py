"""What AnalyticDB PostgreSQL says otherwise: how tables are distributed, and COPY that meets rows which are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from tidegate.changes.schema import TableName
from tidegate.providers.adbpg.probe import Server
from tidegate.providers.postgres.sql import PostgresSql

PROBE = "tidegate_probe"
"""The temporary table on which ON CONFLICT is tried."""


class AdbpgSql(PostgresSql):
    """AnalyticDB PostgreSQL's words, and plain PostgreSQL's where there is nothing to distribute.

    ``server`` tells which server it is; it is asked when the first statement depends on it.
    """

    # Greenplum writes in no CTE beside another gang of writers, and xmax of a segment's row says nothing on the coordinator.
    tells_fresh: ClassVar[bool] = False
    keeps_stages: ClassVar[bool] = False

    def __init__(self, server: Callable[[], Server]) -> None:
        self._server = server

    def distributed(self, by: Sequence[str]) -> str:
        """The clause at the end of a CREATE TABLE, with the blank before it; empty if the server doesn't distribute."""
        if not self._server().greenplum:
            return ""
        return f" DISTRIBUTED BY ({self.names(by)})" if by else " DISTRIBUTED RANDOMLY"

    # Tables

    def create_lane(self, lane: TableName, columns: Sequence[tuple[str, str]]) -> str:
        return super().create_lane(lane, columns) + self.distributed(())

    def create_table(self, table: TableName, columns: Sequence[tuple[str, str]], key: Sequence[str]) -> str:
        """Distributed by the key; without one at random. A unique index has to hold the distribution key."""
        return super().create_table(table, columns, key) + self.distributed(key)

    def add_columns(self, table: TableName, columns: Sequence[tuple[str, str]]) -> str:
        """IF NOT EXISTS came with PostgreSQL 9.6: the kernel of 6.0 is 9.4."""
        if self._server().postgres >= (9, 6):
            return super().add_columns(table, columns)
        added = ", ".join(f"ADD COLUMN {self.name(name)} {rest}" for name, rest in columns)
        return f"ALTER TABLE {self.table(table)} {added}"

    # Staging

    def create_staging_by(self, stage: str, table: TableName, columns: Sequence[str], by: Sequence[str]) -> str:
        """A staging table that is distributed as its target is, so that no row travels when they are joined."""
        return self.create_staging(stage, table, columns) + self.distributed(by)

    def create_seen(self, seen: TableName, table: TableName, key: Sequence[str]) -> str:
        """Without IF NOT EXISTS, which CREATE TABLE AS takes since PostgreSQL 9.5."""
        what = f"SELECT {self.names(key)} FROM {self.table(table)} WHERE false"
        return f"CREATE TABLE {self.table(seen)} AS {what}" + self.distributed(key)

    # COPY … ON CONFLICT

    def copy_upsert(self, table: TableName, columns: Sequence[str], *, update: bool) -> str:
        """COPY that overwrites rows that are there in all their columns, or (``update`` False) keeps them.

        In the form of the vendor's document 210145: neither a conflict target nor a SET list can be given.
        """
        action = "UPDATE" if update else "NOTHING"
        return f"COPY {self.table(table)} ({self.names(columns)}) FROM STDIN WITH CSV DO ON CONFLICT DO {action}"

    # Trying it out

    def create_probe(self) -> str:
        return (
            f"CREATE TEMPORARY TABLE {self.name(PROBE)} (k integer NOT NULL, v text, PRIMARY KEY (k)) ON COMMIT DROP"
            + self.distributed(("k",))
        )

    def upsert_probe(self) -> str:
        """One parameter: the value."""
        return (
            f"INSERT INTO {self.name(PROBE)} AS t (k, v) SELECT s.k, s.v FROM (SELECT 1 AS k, CAST(%s AS text) AS v) AS s "
            "ON CONFLICT (k) DO UPDATE SET v = excluded.v"
        )

    def copy_probe(self, *, update: bool) -> str:
        return self.copy_upsert(TableName("", PROBE), ("k", "v"), update=update)

    def read_probe(self) -> str:
        return f"SELECT v FROM {self.name(PROBE)}"
