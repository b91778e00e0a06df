"""Bringing rows to AnalyticDB PostgreSQL: staging tables are distributed as their targets are, and COPY can meet rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from tidegate.changes.schema import TableName
from tidegate.providers.adbpg.catalog import AdbpgTable
from tidegate.providers.adbpg.sql import AdbpgSql
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.encode import CsvReader
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.staging import CopyStager, InlineStager, InsertStager, Stager
from tidegate.sync.options import Method


def staging_key(table: CatalogTable, columns: Sequence[str]) -> tuple[str, ...]:
    """By what a staging table of these columns is distributed: as its target, where it has the columns for it; else at random."""
    distribution = table.distribution if isinstance(table, AdbpgTable) else ()
    return distribution if set(distribution) <= set(columns) else ()


class AdbpgCopyStager(CopyStager):
    """``method='copy'``."""

    def __init__(self, session: Session, sql: AdbpgSql) -> None:
        super().__init__(session, sql)
        self._own = sql

    def _create(self, stage: str, table: CatalogTable, columns: Sequence[str]) -> str:
        return self._own.create_staging_by(stage, table.name, columns, staging_key(table, columns))

    def merge(self, table: TableName, rows: pa.Table, *, update: bool) -> None:
        """COPY … ON CONFLICT straight into the table. ``rows`` bring every column, and no key twice."""
        reader = CsvReader(rows)
        self._session.copy_in(self._own.copy_upsert(table, rows.column_names, update=update), reader, table=table)
        self.bytes += reader.bytes
        self.loads += 1


class AdbpgInsertStager(InsertStager):
    """``method='insert'``."""

    def __init__(self, session: Session, sql: AdbpgSql) -> None:
        super().__init__(session, sql)
        self._own = sql

    def _create(self, stage: str, table: CatalogTable, columns: Sequence[str]) -> str:
        return self._own.create_staging_by(stage, table.name, columns, staging_key(table, columns))


def stagers(sql: AdbpgSql) -> Callable[[Session, object, Method], Stager]:
    """What makes a stager of a session."""

    def make(session: Session, _: object, method: Method) -> Stager:
        if method == "copy":
            return AdbpgCopyStager(session, sql)
        return AdbpgInsertStager(session, sql) if method == "insert" else InlineStager(session, sql)

    return make
