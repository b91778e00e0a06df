"""ALTER TABLE … ADD COLUMN and MODIFY COLUMN as jobs: a table keeps its old columns until its job is FINISHED."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tidegate.sandbox.starrocks import ddl
from tidegate.sandbox.starrocks.headers import Version
from tidegate.sandbox.starrocks.model import AlterJob, ColumnDef, EngineError, TableDef
from tidegate.sandbox.starrocks.sqltypes import parse_type, quoted
from tidegate.sandbox.starrocks.stage import default_value, generated_value

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclasses.dataclass(slots=True)
class Kept:
    """A table and what changes about it. Guarded by the engine's lock."""

    table: TableDef
    tablet: int
    published: list[float] = dataclasses.field(default_factory=list)
    job: AlterJob | None = None
    pending: tuple[ColumnDef, ...] = ()


class Alters:
    """The jobs of all tables. Guarded by the engine's lock; ``transaction`` is the engine's."""

    def __init__(self, version: Version, transaction: Callable[[], AbstractContextManager[DuckDBPyConnection]]) -> None:
        self._version = version
        self._transaction = transaction
        self._jobs: list[AlterJob] = []

    def add(self, kept: Kept, columns: Sequence[ColumnDef], id_: int) -> None:
        """A job that adds columns. Raises EngineError, also while another job of the table runs."""
        _check_alterable(kept)
        ddl.added(kept.table, columns, self._version)
        self._start(kept, columns, id_)

    def modify(self, kept: Kept, columns: Sequence[ColumnDef], id_: int) -> None:
        """A job after which the columns of these names have these definitions. Raises as :meth:`add` does."""
        _check_alterable(kept)
        ddl.modified(kept.table, columns, self._version)
        self._start(kept, columns, id_)

    def of(self, db: str) -> list[AlterJob]:
        """The jobs of a database, the oldest first."""
        return [job for job in self._jobs if job.db == db]

    def job(self, id_: int) -> AlterJob:
        return next(job for job in self._jobs if job.id == id_)

    def settle(self, tables: Iterable[Kept], seconds: float) -> None:
        """Finishes the jobs that have run for so long."""
        for kept in tables:
            if kept.job is not None and time.time() >= kept.job.created + seconds:
                self._finish(kept, kept.job)

    def _start(self, kept: Kept, columns: Sequence[ColumnDef], id_: int) -> None:
        with self._transaction() as writer:
            ddl.check_defaults(writer, columns)
        kept.job = AlterJob(id_, kept.table.db, kept.table.name, time.time(), None, "RUNNING")
        kept.pending = tuple(columns)
        kept.table = dataclasses.replace(kept.table, state="SCHEMA_CHANGE")
        self._jobs.append(kept.job)

    def _finish(self, kept: Kept, job: AlterJob) -> None:
        add = [column for column in kept.pending if kept.table.column(column.name) is None]
        change = [column for column in kept.pending if column not in add]
        table = ddl.added(ddl.modified(kept.table, change, self._version), add, self._version)
        table = dataclasses.replace(table, state="NORMAL")
        place = f"{quoted(table.db)}.{quoted(table.name)}"
        generated = [column for column in table.columns if column.generated is not None]
        with self._transaction() as writer:
            for column in generated:
                writer.execute(f"ALTER TABLE {place} DROP COLUMN IF EXISTS {quoted(column.name)}")
            for column in kept.pending:
                type_ = parse_type(column.type).duckdb
                if column in generated:
                    continue
                if column in add:
                    what = f"ADD COLUMN {quoted(column.name)} {type_} DEFAULT {default_value(column)}"
                else:
                    what = f"ALTER COLUMN {quoted(column.name)} SET DATA TYPE {type_}"
                writer.execute(f"ALTER TABLE {place} {what}")
            for column in generated:
                writer.execute(f"ALTER TABLE {place} ADD COLUMN {quoted(column.name)} {parse_type(column.type).duckdb}")
                writer.execute(f"UPDATE {place} SET {quoted(column.name)} = {generated_value(column)}")
            ddl.forget(writer, table.db, table.name)
            ddl.keep(writer, table)
        done = dataclasses.replace(job, finished=time.time(), state="FINISHED")
        self._jobs = [done if one.id == done.id else one for one in self._jobs]
        kept.table, kept.job, kept.pending = table, None, ()


def _check_alterable(kept: Kept) -> None:
    if kept.job is not None:
        raise EngineError(f"Table[{kept.table.name}]'s state({kept.table.state}) is not NORMAL. Do not allow doing ALTER ops")
