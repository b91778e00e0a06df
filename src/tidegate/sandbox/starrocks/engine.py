"""The tables of the sandbox, and what loads do to them.

Simplified: compaction is "versions older than :attr:`Engine.compaction_seconds` are one", a tablet's version count is its table's,
and ``max_filter_ratio`` is looked at for each body, not over all bodies of a transaction.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from tidegate.sandbox.starrocks import convert, ddl, expressions, merge
from tidegate.sandbox.starrocks.alters import Alters, Kept
from tidegate.sandbox.starrocks.headers import read_headers
from tidegate.sandbox.starrocks.literals import duckdb_zone, value_text
from tidegate.sandbox.starrocks.model import AlterJob, ColumnDef, EngineError, LoadFailed, Staged, TableDef
from tidegate.sandbox.starrocks.sqltypes import quoted
from tidegate.sandbox.starrocks.stage import stage_insert, stage_load

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Engine", "EngineError", "LoadFailed"]

_FIRST_TABLET = 10001


class Engine:
    """Databases, tables, rows. Every method may be called from any thread; writers take turns, reads never wait for a load.

    ``version`` is the server to be ("2.5.18", "3.3.5", "4.0.1"); ``path`` a DuckDB file that keeps everything, None for memory. A
    staged load is kept by the caller only, and is gone with the process.
    """

    def __init__(self, version: str = "3.3.5", path: Path | str | None = None) -> None:
        import duckdb

        self.version: tuple[int, ...] = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
        self.version_text = version
        self.tablet_max_versions = 1000
        """A load into a tablet that holds more versions than this fails with "too many versions"."""
        self.compaction_seconds = 10.0
        """Versions older than this count as one."""
        self.alter_seconds = 0.0
        """How long an ALTER (add columns) stays RUNNING; 0 = it is finished when the statement returns."""
        self.json_limit = 100 << 20
        """``streaming_load_max_batch_size_mb`` in bytes."""
        self._lock = threading.RLock()
        self._connection = duckdb.connect(str(path) if path else ":memory:", config={"threads": 1})
        self._connection.execute("SET enable_external_access = false")  # an expression in a header reads no files
        self._writer = self._connection.cursor()
        self._databases: dict[str, dict[str, Kept]] = {}
        self._alters = Alters(self.version, self._transaction)
        self._numbers = itertools.count(_FIRST_TABLET)
        self._open()

    def _open(self) -> None:
        self._writer.execute("; ".join(f"CREATE OR REPLACE MACRO {macro}" for macro in (*convert.MACROS, *expressions.MACROS)))
        self._writer.execute("CREATE SCHEMA IF NOT EXISTS __sandbox")
        self._writer.execute("CREATE TABLE IF NOT EXISTS __sandbox.databases (name VARCHAR)")
        self._writer.execute("CREATE TABLE IF NOT EXISTS __sandbox.tables (db VARCHAR, name VARCHAR, definition VARCHAR)")
        self._writer.execute("CREATE TABLE IF NOT EXISTS __sandbox.published (mark BIGINT)")
        self._writer.execute("CREATE SEQUENCE IF NOT EXISTS __sandbox.increments")
        for (name,) in self._writer.execute("SELECT name FROM __sandbox.databases").fetchall():
            self._databases[name] = {}
        for db, name, text in self._writer.execute("SELECT db, name, definition FROM __sandbox.tables").fetchall():
            self._databases[db][name] = Kept(ddl.from_json(text), next(self._numbers))

    def close(self) -> None:
        """Ends everything. Calls that are under way fail."""
        with self._lock:
            self._writer.close()
            self._connection.close()

    # Databases and tables

    def databases(self) -> list[str]:
        with self._lock:
            return list(self._databases)

    def create_database(self, name: str, *, if_not_exists: bool = False) -> None:
        """Raises EngineError where it exists."""
        with self._lock:
            if name in self._databases:
                if if_not_exists:
                    return
                raise EngineError(f"Can't create database '{name}'; database exists")
            with self._transaction() as writer:
                writer.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}")
                writer.execute("INSERT INTO __sandbox.databases VALUES (?)", [name])
            self._databases[name] = {}

    def drop_database(self, name: str, *, if_exists: bool = False) -> None:
        """With its tables. Raises EngineError where there is none."""
        with self._lock:
            if name not in self._databases:
                if if_exists:
                    return
                raise EngineError(f"Can't drop database '{name}'; database doesn't exist")
            with self._transaction() as writer:
                for table in self._databases[name]:
                    writer.execute(f"DROP TABLE {quoted(name)}.{quoted(table)}")
                writer.execute("DELETE FROM __sandbox.tables WHERE db = ?", [name])
                writer.execute("DELETE FROM __sandbox.databases WHERE name = ?", [name])
            del self._databases[name]

    def tables(self, db: str) -> list[TableDef]:
        """Empty for a database that isn't there."""
        with self._lock:
            self._settle()
            return [kept.table for kept in self._databases.get(db, {}).values()]

    def table(self, db: str, name: str) -> TableDef | None:
        """As it is now: columns of an ALTER that still runs aren't there yet, and ``state`` is SCHEMA_CHANGE."""
        with self._lock:
            self._settle()
            kept = self._databases.get(db, {}).get(name)
            return kept.table if kept else None

    def create_table(self, table: TableDef, *, if_not_exists: bool = False) -> None:
        """Raises EngineError for what the server refuses; types, key and defaults are checked."""
        with self._lock:
            tables = self._database(table.db)
            if table.name in tables:
                if if_not_exists:
                    return
                raise EngineError(f"Table '{table.name}' already exists")
            table = dataclasses.replace(ddl.check_table(table, self.version), state="NORMAL")
            ddl.check_defaults(self._writer, table.columns)
            with self._transaction() as writer:
                writer.execute(ddl.create_sql(table))
                ddl.keep(writer, table)
            tables[table.name] = Kept(table, next(self._numbers))

    def drop_table(self, db: str, name: str, *, if_exists: bool = False) -> None:
        """Raises EngineError where there is none."""
        with self._lock:
            tables = self._database(db)
            if name not in tables:
                if if_exists:
                    return
                raise EngineError(f"Unknown table '{db}.{name}'")
            with self._transaction() as writer:
                writer.execute(f"DROP TABLE {quoted(db)}.{quoted(name)}")
                ddl.forget(writer, db, name)
            del tables[name]

    def truncate(self, db: str, name: str) -> None:
        with self._lock:
            kept = self._kept(db, name)
            with self._transaction() as writer:
                writer.execute(f"DELETE FROM {quoted(db)}.{quoted(name)}")
            kept.published.clear()

    def rename(self, db: str, name: str, new: str) -> None:
        """Raises EngineError where ``new`` is taken."""
        with self._lock:
            kept = self._kept(db, name)
            if new in self._databases[db]:
                raise EngineError(f"Table name[{new}] is already used")
            with self._transaction() as writer:
                self._move(writer, db, name, new)
                ddl.forget(writer, db, name)
                kept.table = dataclasses.replace(kept.table, name=new)
                ddl.keep(writer, kept.table)
            self._databases[db] = {(new if one == name else one): value for one, value in self._databases[db].items()}

    def swap(self, db: str, name: str, other: str) -> None:
        """``ALTER TABLE … SWAP WITH …``: both at once."""
        with self._lock:
            mine, theirs = self._kept(db, name), self._kept(db, other)
            with self._transaction() as writer:
                for old, new in ((name, "__swapped"), (other, name), ("__swapped", other)):
                    self._move(writer, db, old, new)
                ddl.forget(writer, db, name)
                ddl.forget(writer, db, other)
                mine.table, theirs.table = dataclasses.replace(mine.table, name=other), dataclasses.replace(theirs.table, name=name)
                ddl.keep(writer, mine.table)
                ddl.keep(writer, theirs.table)
            self._databases[db][name], self._databases[db][other] = theirs, mine

    def add_columns(self, db: str, name: str, columns: Sequence[ColumnDef]) -> AlterJob:
        """As a job: the columns are there when it is FINISHED. Raises EngineError, also while another job of the table runs."""
        return self._alter(db, name, columns, self._alters.add)

    def modify_columns(self, db: str, name: str, columns: Sequence[ColumnDef]) -> AlterJob:
        """As a job: the columns of these names have these definitions when it is FINISHED. Raises as :meth:`add_columns` does."""
        return self._alter(db, name, columns, self._alters.modify)

    def _alter(
        self, db: str, name: str, columns: Sequence[ColumnDef], start: Callable[[Kept, Sequence[ColumnDef], int], None]
    ) -> AlterJob:
        with self._lock:
            self._settle()
            id_ = next(self._numbers)
            start(self._kept(db, name), columns, id_)
            self._settle()
            return self._alters.job(id_)

    def alter_jobs(self, db: str) -> list[AlterJob]:
        """All jobs of the database, the oldest first."""
        with self._lock:
            self._settle()
            return self._alters.of(db)

    def set_properties(self, db: str, name: str, properties: Mapping[str, str]) -> None:
        with self._lock:
            kept = self._kept(db, name)
            kept.table = dataclasses.replace(kept.table, properties={**kept.table.properties, **properties})
            with self._transaction() as writer:
                ddl.forget(writer, db, name)
                ddl.keep(writer, kept.table)

    # Loads

    def stage(self, db: str, table: str, headers: Mapping[str, str], body: BinaryIO | bytes) -> Staged:
        """Reads a body: parse, convert, filter, count. Header names in any case. Raises LoadFailed; the table is not touched."""
        found = self._loadable(db, table)
        settings = read_headers(headers, self.version)
        data = body if isinstance(body, bytes) else body.read()
        cursor = self._cursor()
        try:
            if settings.columns or settings.where or any(column.default for column in found.columns):
                cursor.execute(f"SET TimeZone = '{duckdb_zone(settings.timezone)}'")
            return stage_load(cursor, found, settings, data, self.version, self.json_limit)
        finally:
            cursor.close()

    def check(self, staged: Sequence[Staged]) -> None:
        """Raises LoadFailed for what prepare and commit refuse: a table that nothing is written to (``empty_load_as_error``)."""
        loaded: dict[tuple[str, str], int] = {}
        for one in staged:
            loaded[one.db, one.table] = loaded.get((one.db, one.table), 0) + one.loaded
        for count in loaded.values():
            if count == 0:
                total = sum(one.total for one in staged)
                new = self.version >= (3, 0)
                words = "No partitions have data available for loading" if new else "all partitions have no load data"
                raise LoadFailed(words, total=total, filtered=sum(one.filtered for one in staged))

    def publish(self, staged: Sequence[Staged], mark: int | None = None) -> None:
        """All or nothing, in order; later rows win by key. One more version each. Raises LoadFailed, as :meth:`check` does.

        ``mark``: a transaction's id, written down together with its rows, for :meth:`published` after a crash.
        """
        import duckdb

        self.check(staged)
        with self._lock:
            self._settle()
            try:
                with self._transaction() as writer:
                    for one in staged:
                        self._apply(writer, one)
                    if mark is not None:
                        writer.execute("INSERT INTO __sandbox.published VALUES (?)", [mark])
            except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
                raise LoadFailed(f"Failed to write: {str(error).splitlines()[0]}") from error
            for db, name in dict.fromkeys((one.db, one.table) for one in staged):
                self._databases[db][name].published.append(time.monotonic())

    def published(self) -> set[int]:
        """The marks that were given to :meth:`publish`. They are forgotten thereby."""
        with self._lock, self._transaction() as writer:
            marks = {int(mark) for (mark,) in writer.execute("SELECT mark FROM __sandbox.published").fetchall()}
            writer.execute("DELETE FROM __sandbox.published")
            return marks

    def insert(self, db: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
        """INSERT INTO … VALUES with Python values (BITMAP and HLL as lists of int): one load of its own, staged and published.

        Returns how many rows there were; columns that aren't named get their defaults. Raises LoadFailed and EngineError.
        """
        found = self._loadable(db, table)
        for name in columns:
            if found.column(name) is None:
                raise EngineError(f"Unknown column '{name}' in '{table}'")
        said = {name.lower() for name in columns}
        for column in found.columns:
            if column.name.lower() not in said and not column.optional:
                raise EngineError(f"'{column.name}' must be explicitly mentioned in column permutation")
        if not rows:
            return 0
        texts = [[value_text(row[at], found.column(name)) for row in rows] for at, name in enumerate(columns)]
        cursor = self._cursor()
        try:
            staged = stage_insert(cursor, found, columns, texts, self.version)
        finally:
            cursor.close()
        self.publish([staged])
        return len(rows)

    def delete_where(self, db: str, name: str, condition: str, params: Sequence[Any] = ()) -> int:
        """DELETE FROM … WHERE, the condition in DuckDB's words. Returns how many rows are gone; one version more."""
        with self._lock:
            kept = self._kept(db, name)
            with self._transaction() as writer:
                found = writer.execute(f"DELETE FROM {quoted(db)}.{quoted(name)} WHERE {condition}", list(params)).fetchall()
            kept.published.append(time.monotonic())
            return int(found[0][0])

    # Numbers and reads

    def versions(self, db: str, name: str) -> int:
        """How many versions a tablet of the table holds (``information_schema.be_tablets.NUM_VERSION``)."""
        with self._lock:
            kept = self._kept(db, name)
            edge = time.monotonic() - self.compaction_seconds
            kept.published = [moment for moment in kept.published if moment > edge]
            return 1 + len(kept.published)

    def compact(self, db: str, name: str) -> None:
        """What background compaction does: one version is left."""
        with self._lock:
            self._kept(db, name).published.clear()

    def row_count(self, db: str, name: str) -> int:
        with self._lock:
            self._kept(db, name)
        return int(self.query(f"SELECT count(*) FROM {quoted(db)}.{quoted(name)}")[1][0][0])

    def query(self, sql: str, params: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """A SELECT in DuckDB's SQL: schema = database; BITMAP and HLL are UBIGINT[] (sorted, distinct), LARGEINT is HUGEINT.

        COUNT(DISTINCT b) of a BITMAP is ``bitmap_union_count(b)``, of an HLL ``hll_union_agg(h)``: macros that are there, like the
        other functions in :data:`tidegate.sandbox.starrocks.expressions.MACROS`. Raises DuckDB's errors.
        """
        cursor = self._cursor()
        try:
            result = cursor.execute(sql, list(params))
            return [column[0] for column in result.description or ()], result.fetchall()
        finally:
            cursor.close()

    # Inside

    def _cursor(self) -> DuckDBPyConnection:
        with self._lock:
            cursor = self._connection.cursor()
        cursor.execute("SET arrow_lossless_conversion = true")
        return cursor

    @contextmanager
    def _transaction(self) -> Iterator[DuckDBPyConnection]:
        self._writer.execute("BEGIN")
        try:
            yield self._writer
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        self._writer.execute("COMMIT")

    def _database(self, db: str) -> dict[str, Kept]:
        try:
            return self._databases[db]
        except KeyError:
            raise EngineError(f"Unknown database '{db}'") from None

    def _kept(self, db: str, name: str) -> Kept:
        try:
            return self._database(db)[name]
        except KeyError:
            raise EngineError(f"Unknown table '{db}.{name}'") from None

    def _loadable(self, db: str, name: str) -> TableDef:
        """Raises LoadFailed for a table that isn't there or whose tablets hold too many versions."""
        with self._lock:
            self._settle()
            if db not in self._databases:
                raise LoadFailed(f"unknown database, database={db}")
            if name not in self._databases[db]:
                raise LoadFailed(f"unknown table, table={name}")
            kept = self._databases[db][name]
            count = self.versions(db, name)
            if count > self.tablet_max_versions:
                raise LoadFailed(
                    f"Failed to load data into tablet {kept.tablet}, because of too many versions, current/limit: "
                    f"{count}/{self.tablet_max_versions}. You can reduce the loading job concurrency, or increase loading data "
                    "batch size. If you are loading data with Routine Load, you can increase FE configs "
                    "routine_load_task_consume_second and max_routine_load_batch_size,"
                )
            return kept.table

    @staticmethod
    def _move(writer: DuckDBPyConnection, db: str, name: str, new: str) -> None:
        writer.execute(f"ALTER TABLE {quoted(db)}.{quoted(name)} RENAME TO {quoted(new)}")

    def _settle(self) -> None:
        """Finishes the ALTERs whose time has come."""
        tables = (kept for tables in self._databases.values() for kept in tables.values())
        self._alters.settle(tables, self.alter_seconds)

    def _apply(self, writer: DuckDBPyConnection, staged: Staged) -> None:
        kept = self._databases.get(staged.db, {}).get(staged.table)
        if kept is None:
            raise LoadFailed(f"unknown table, table={staged.table}")
        if staged.rows.num_rows == 0:
            return
        count = staged.rows.num_rows
        named = [name for name in staged.rows.column_names if kept.table.column(name)]
        ops = staged.ops if staged.ops is not None else pa.repeat(pa.scalar(0, pa.int8()), count)
        incoming = staged.rows.append_column("__op", ops).append_column("__position", pa.array(range(count), pa.int64()))
        writer.register("incoming", incoming)
        try:
            merge.apply(writer, kept.table, named, partial=staged.partial is not None, condition=staged.merge_condition)
        finally:
            writer.unregister("incoming")
