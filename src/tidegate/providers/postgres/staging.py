"""Bringing rows to the server: by COPY, by INSERT … VALUES, or inside the statement that uses them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import ClassVar, Protocol

import pyarrow as pa

from tidegate.changes.schema import TableName
from tidegate.providers.postgres.binary import BinaryReader, binary_reader
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.encode import CsvReader, text_rows
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.sql import PostgresSql
from tidegate.sync.options import Method

KEPT = 32
"""Staging tables that a session keeps at most: each commit empties them all."""
PAGE_ROWS = 1000
"""Rows of one INSERT … VALUES."""


class Stager(Protocol):
    """How rows get to the server, in the transaction of one load. Counts the bytes and the loads that it took."""

    @property
    def bytes(self) -> int: ...

    @property
    def loads(self) -> int: ...

    def sources(self, table: CatalogTable, rows: pa.Table, key: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
        """The rows as FROM items named ``s``, each with its number of rows, each good until the next is asked for.

        ``key``: the columns by which the statement joins; none if it doesn't join.
        """

    def put(self, table: CatalogTable, rows: pa.Table) -> None:
        """Insert the rows, in their order, as they are."""

    def made(self) -> Made:
        """The staging tables there are."""

    def undone(self, made: Made) -> None:
        """A savepoint was rolled back: there are only these left."""


Made = dict[tuple[TableName, tuple[str, ...]], str]
"""Staging tables by target and columns."""


class _Base:
    def __init__(self, session: Session, sql: PostgresSql) -> None:
        self._session, self._sql = session, sql
        self._stages: Made = {}
        self.bytes = 0
        self.loads = 0

    def made(self) -> Made:
        return dict(self._stages)

    def undone(self, made: Made) -> None:
        self._session.new_stages -= set(self._stages.values()) - set(made.values())
        self._stages = made

    def _pages(self, rows: pa.Table) -> Iterator[list[str]]:
        lines = (self._session.literals(row) for row in text_rows(rows))
        while page := list(islice(lines, PAGE_ROWS)):
            self.bytes += sum(map(len, page))
            self.loads += 1
            yield page

    def _insert(self, into: TableName, rows: pa.Table, table: TableName) -> None:
        for page in self._pages(rows):
            self._session.run(self._sql.insert_values(into, rows.column_names, page), table=table)


class _Staged(_Base):
    """A temporary table per target and set of columns, made once and emptied between uses."""

    prefix: ClassVar[str] = "tidegate_stage_"
    """One for each class: tables of one load may come by different methods."""

    def __init__(self, session: Session, sql: PostgresSql) -> None:
        super().__init__(session, sql)
        self._numbers = count(1)

    def sources(self, table: CatalogTable, rows: pa.Table, key: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
        if rows.num_rows == 0:
            return
        columns = tuple(rows.column_names)
        stage = self._stages.get((table.name, columns))
        if stage is None:
            stage = self._stages[table.name, columns] = self._make(table, columns)
        else:
            self._session.run(self._sql.empty_staging(stage))
        self._fill(TableName("", stage), rows, table)
        if key:
            # Without statistics a join against a temporary table can take the planner's worst guess.
            self._session.run(self._sql.analyze(stage, key))
        yield self._sql.staged(stage), rows.num_rows

    def _make(self, table: CatalogTable, columns: Sequence[str]) -> str:
        kept = self._kept(table, columns)
        if kept in self._session.stages:
            return kept
        if self._sql.keeps_stages and len(self._session.stages | self._session.new_stages) < KEPT:
            self._session.run(self._sql.create_kept_staging(kept, table.name, columns), table=table.name)
            self._session.new_stages.add(kept)
            return kept
        stage = f"{self.prefix}{next(self._numbers)}"
        self._session.run(self._create(stage, table, columns), table=table.name)
        return stage

    def _kept(self, table: CatalogTable, columns: Sequence[str]) -> str:
        """A name that changes with what the table's columns are."""
        types = [(name, column.text) for name in columns if (column := table.column(name)) is not None]
        return self.prefix + hashlib.sha256(repr((table.name, types)).encode()).hexdigest()[:16]

    def _create(self, stage: str, table: CatalogTable, columns: Sequence[str]) -> str:
        return self._sql.create_staging(stage, table.name, columns)

    def _fill(self, into: TableName, rows: pa.Table, table: CatalogTable) -> None:
        """Put the rows into ``into``, whose columns have the types of ``table``'s."""
        raise AssertionError("a stage is filled by COPY or by INSERT")


class CopyStager(_Staged):
    """``method='copy'``."""

    def put(self, table: CatalogTable, rows: pa.Table) -> None:
        self._fill(table.name, rows, table)

    def _fill(self, into: TableName, rows: pa.Table, table: CatalogTable) -> None:
        if rows.num_rows == 0:
            return
        statement, reader = self._copy(into, rows, table)
        self._session.copy_in(statement, reader, table=table.name)
        self.bytes += reader.bytes
        self.loads += 1

    def _copy(self, into: TableName, rows: pa.Table, table: CatalogTable) -> tuple[str, CsvReader | BinaryReader]:
        return self._sql.copy_in(into, rows.column_names), CsvReader(rows)


class BinaryCopyStager(CopyStager):
    """``method='copy'`` in the binary format where rows and table allow it, for a server whose binary forms are PostgreSQL's."""

    def _copy(self, into: TableName, rows: pa.Table, table: CatalogTable) -> tuple[str, CsvReader | BinaryReader]:
        reader = binary_reader(rows, table)
        if reader is None:
            return super()._copy(into, rows, table)
        return self._sql.copy_in_binary(into, rows.column_names), reader


class InsertStager(_Staged):
    """``method='insert'``."""

    prefix = "tidegate_stage_insert_"

    def put(self, table: CatalogTable, rows: pa.Table) -> None:
        self._insert(table.name, rows, table.name)

    def _fill(self, into: TableName, rows: pa.Table, table: CatalogTable) -> None:
        self._insert(into, rows, table.name)


class InlineStager(_Base):
    """``method='upsert'``: no staging table."""

    def sources(self, table: CatalogTable, rows: pa.Table, key: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
        types = {column.name: column.cast for column in table.columns}
        columns = [(name, types[name]) for name in rows.column_names]
        for page in self._pages(rows):
            yield self._sql.inline(columns, page), len(page)

    def put(self, table: CatalogTable, rows: pa.Table) -> None:
        self._insert(table.name, rows, table.name)


STAGERS: dict[Method, type[CopyStager] | type[InsertStager] | type[InlineStager]] = {
    "copy": CopyStager,
    "insert": InsertStager,
    "upsert": InlineStager,
}


def postgres_stager(session: Session, sql: PostgresSql, method: Method) -> Stager:
    """PostgreSQL's own: COPY in the binary format. A system of its family is given CSV, whose meaning it is sure to share."""
    return (BinaryCopyStager if method == "copy" else STAGERS[method])(session, sql)
