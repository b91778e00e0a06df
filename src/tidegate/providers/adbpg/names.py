"""Names of tables and columns, matched to the catalog ignoring case.

With ``case_sensitive`` off, B1 is the column b1, and what is created gets a name in lower case, as PostgreSQL reads a name without
quotes: of A to Z alone. A name that is there exactly as given is always meant by it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tidegate.changes.batch import PRESENT, ChangeBatch
from tidegate.changes.schema import Column, TableName, TableSchema, fold
from tidegate.errors import ConfigError, PermanentError, SchemaError
from tidegate.providers.adbpg.pool import BoundedSink
from tidegate.providers.postgres.load import PostgresLoad
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.shadow import ShadowTarget, is_shadow_name
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Copy, Preparation
from tidegate.sync.results import WriteResult

SETTING = "case_sensitive"


def stored(name: str, there: Iterable[str]) -> str:
    """Which of the names ``there`` is meant: the same, or the only one that differs in case alone; else the name in lower case.

    ConfigError if there are several and none is the same.
    """
    found = [item for item in there if fold(item) == fold(name)]
    if name in found:
        return name
    if len(found) > 1:
        what = f"{name} is any of {', '.join(sorted(found))}, and none exactly: name it as it is, or let case count"
        raise ConfigError(what, setting=SETTING)
    return found[0] if found else fold(name)


def stored_names(names: Sequence[str], there: Sequence[str]) -> dict[str, str]:
    """Each of the names with the one that is meant. ConfigError if two of them differ in case alone."""
    first: dict[str, str] = {}
    for name in names:
        if (other := first.setdefault(fold(name), name)) != name:
            what = f"the columns {other} and {name} differ in case only, and would be one: leave one out, or let case count"
            raise ConfigError(what, setting=SETTING)
    return {name: stored(name, there) for name in names}


def named(target: Target, there: Sequence[str]) -> tuple[Target, dict[str, str]]:
    """The target with the columns' names as they are stored, and those names by the ones that were given."""
    options = target.options
    own = [name for name in (options.op_column, options.soft_delete_column) if name is not None]
    names = stored_names([*target.schema.names, *own], there)

    def renamed(name: str | None) -> str | None:
        return None if name is None else names.get(name, name)

    options = replace(
        options,
        columns=None if options.columns is None else tuple(names.get(name, name) for name in options.columns),
        version_column=renamed(options.version_column),
        op_column=renamed(options.op_column),
        soft_delete_column=renamed(options.soft_delete_column),
    )
    return replace(target, schema=rename_schema(target.schema, names), options=options), names


def rename_schema(schema: TableSchema, names: Mapping[str, str]) -> TableSchema:
    """The same columns and key under other names."""
    columns = tuple(replace(column, name=names.get(column.name, column.name)) for column in schema.columns)
    return TableSchema(schema.table, columns, tuple(names.get(name, name) for name in schema.key))


def rename_batch(batch: ChangeBatch, names: Mapping[str, str]) -> ChangeBatch:
    """The same rows under other names, what says which rows leave a column out with them."""
    both = {**names, **{PRESENT + old: PRESENT + new for old, new in names.items()}}
    data = batch.data.rename_columns([both.get(name, name) for name in batch.data.column_names])
    return ChangeBatch(rename_schema(batch.schema, names), data)


_SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace"
_TABLES = """
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND lower(c.relname::text COLLATE "C") = %s
"""


class NamedLoad(PostgresLoad):
    """A load whose targets and rows get the names that the table has."""

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        target, names = self._named(target)
        missing = stored_names(batch.schema.names, self._columns(target))
        return super().write(target, rename_batch(batch, missing | names), copy)

    def finish_copy(self, target: Target) -> int:
        return super().finish_copy(self._named(target)[0])

    def truncate(self, target: Target) -> WriteResult:
        return super().truncate(self._named(target)[0])

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        target, names = self._named(target)
        return super().fill(target, replace(column, name=names.get(column.name, column.name)), value)

    def _named(self, target: Target) -> tuple[Target, dict[str, str]]:
        target = replace(target, table=self._ledger.resolve(target.table))
        return named(target, self._columns(target))

    def _columns(self, target: Target) -> Sequence[str]:
        writer = self._writers.get(target.table)
        table = writer.table if writer is not None else self._table(target.table)
        return table.names if table is not None else ()


class NamingSink(BoundedSink):
    """A sink that finds tables and columns whatever their case, unless ``case_sensitive`` is on.

    Tables named without a schema are in ``default_schema``.
    """

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        super().__init__(values, name)
        self._exact = bool(values[SETTING])
        self._found: dict[TableName, TableName] = {}
        self._found_lock = threading.Lock()
        self.capabilities = replace(self.capabilities, ignores_case=not self._exact)
        if not self._exact:
            self.loads = NamedLoad

    def resolve(self, table: TableName) -> TableName:
        """The table as it is stored; one that isn't there gets names in lower case."""
        table = TableName(table.schema or self._values["default_schema"], table.name)
        if self._exact or is_shadow_name(table):
            return table
        with self._found_lock:
            if table in self._found:
                return self._found[table]
        with self._session() as session:
            found, there = self._look_up(session, table)
        if there:
            with self._found_lock:
                self._found[table] = found
        return found

    def _look_up(self, session: Session, table: TableName) -> tuple[TableName, bool]:
        try:
            schema = stored(table.schema, [name for (name,) in session.rows(_SCHEMAS)])
            there = [name for (name,) in session.rows(_TABLES, (schema, fold(table.name)))]
            return TableName(schema, stored(table.name, there)), bool(there)
        except ConfigError as error:
            text = str(error).removesuffix(f" [{error.setting}]")
            raise ConfigError(text, connection=session.name, table=table, setting=error.setting) from None

    def _columns(self, table: TableName) -> Sequence[str]:
        """The names of a resolved table's columns; none if there is no such table."""
        with self._session() as session:
            found = self.dialect(session).catalog.table(session, table)
        return found.names if found is not None else ()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        session = self._take()
        try:
            yield session
        finally:
            session.rollback()
            self._give_back(session)

    def inspect(self, target: Target) -> Preparation:
        """Compare the table, as it is stored, with what is to come."""
        if self._exact:
            return super().inspect(target)
        try:
            table = self.resolve(target.table)
            model = self.resolve(target.of) if isinstance(target, ShadowTarget) else table
            return super().inspect(named(replace(target, table=table), self._columns(model))[0])
        except (ConfigError, SchemaError) as error:
            problem: PermanentError = error
            if error.connection is None:
                text = str(error).removesuffix(f" [{error.setting}]")
                problem = ConfigError(text, connection=self._name, table=target.table, setting=error.setting)
            return Preparation(exists=False, empty=True, rows=None, problems=(problem,))

    def begin(self, targets: Sequence[Target], *how: Any, **more: Any) -> PostgresLoad:
        """Open a load. Tables are looked up before it holds a connection: it needs no second one."""
        for target in targets:
            found = self.resolve(target.table)
            with self._found_lock:
                self._found.setdefault(target.table, found)  # one that isn't there, too: the load will ask again
        return super().begin(targets, *how, **more)

    def read(self, table: TableName, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The table's rows; columns that are asked for come under the names by which they were."""
        if self._exact or columns is None:
            yield from super().read(table, columns)
            return
        there = self._columns(self.resolve(table))
        wanted = [stored(name, there) for name in columns]
        for batch in super().read(table, wanted):
            yield batch.rename_columns(list(columns))
