"""PostgreSQL as a target."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import pyarrow as pa

from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import SchemaError
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.dialect import POSTGRES, Dialect
from tidegate.providers.postgres.inspection import Inspector
from tidegate.providers.postgres.lanes import Lanes
from tidegate.providers.postgres.ledger import PostgresLedger
from tidegate.providers.postgres.load import PostgresLoad
from tidegate.providers.postgres.pool import Pool
from tidegate.providers.postgres.reader import read_table
from tidegate.providers.postgres.session import AlreadyThere, DuplicateKey, Session, connect
from tidegate.providers.postgres.shadow import ShadowTarget, is_shadow, shadow_target
from tidegate.providers.postgres.shadow_inspection import ShadowInspector, not_a_shadow
from tidegate.providers.postgres.types import canonical_type
from tidegate.sync.mapping import Target
from tidegate.sync.options import Initial, Method, OnError, WriteMode
from tidegate.sync.protocols import Capabilities, Intent, Lease, Preparation, Window

CAPABILITIES = Capabilities(
    transactional=True,
    options={
        "write_mode": get_args(WriteMode),
        "conflict_mode": ("upsert", "update", "ignore", "strict"),
        "delete_mode": ("apply", "ignore", "soft"),
        "on_error": get_args(OnError),
        "initial": get_args(Initial),
        "method": get_args(Method),
        "parallelism": (1,),
        "properties": (),
    },
    refusals={
        "properties": "they are settings of Stream Load, and nothing is loaded over HTTP here; leave them out",
        "parallelism": "on one machine several COPYs into staging were measured no faster than one: the merge takes the time",
    },
    defaults={
        "method": "copy",
        "batch_rows": 100_000,
        "batch_bytes": 32 * 1024 * 1024,
        "flush_interval": 60.0,
        "max_retries": 3,
        "retry_wait": 1.0,
        "parallelism": 1,
    },
    follows=frozenset({"truncated", "column_added"}),
    shadow=True,
    loads_at_once=True,
)


def open_sink(values: Mapping[str, Any], name: str) -> PostgresSink:
    """The sink over parsed connection fields; connects when it is first used. ``name`` is the connection's, for messages."""
    return PostgresSink(values, name)


class PostgresSink:
    """A target with transactions: rows and ledger are committed together.

    A system of PostgreSQL's family overrides ``capabilities``, :meth:`connect` and :meth:`dialect`.
    """

    capabilities: Capabilities = CAPABILITIES
    plain: Dialect = POSTGRES
    """What every server of the system understands: the ledger is kept in it."""
    loads: type[PostgresLoad] = PostgresLoad

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values, self._name = values, name
        self._pool = self.pool()
        self._known: dict[TableName, CatalogTable] = {}
        self._default_schema: str | None = None
        self._schema_lock = threading.Lock()
        self._ledger = PostgresLedger(self.connect, self.plain.sql, values["ledger_schema"], values["login"], self.resolve)

    @property
    def name(self) -> str:
        return self._name

    @property
    def ledger(self) -> PostgresLedger:
        return self._ledger

    def connect(self) -> Session:
        """A new connection."""
        return connect(self._values, self._name)

    def pool(self) -> Pool:
        """Where loads and inspections get their connections; the ledger has one of its own besides."""
        return Pool(self.connect, self._name)

    def dialect(self, session: Session) -> Dialect:
        """How the server at the other end is spoken to; asked once a load or inspection, which may probe it."""
        return self.plain

    def resolve(self, table: TableName) -> TableName:
        """The table with its schema: without one, it is the first on the search path."""
        if table.schema:
            return table
        with self._schema_lock:
            if self._default_schema is None:
                session = self._take()
                try:
                    self._default_schema = session.value("SELECT current_schema()")
                finally:
                    session.rollback()
                    self._give_back(session)
            if self._default_schema is None:
                what = "has no schema, and no schema of the search path exists: write schema.table"
                raise SchemaError(what, connection=self._name, table=table)
            return TableName(self._default_schema, table.name)

    def describe(self, table: TableName) -> TableSchema | None:
        """The table as it is, its primary key as the key; None if there is none."""
        resolved = self.resolve(table)
        session = self._take()
        try:
            found = self.dialect(session).catalog.table(session, resolved)
        finally:
            session.rollback()
            self._give_back(session)
        if found is None:
            return None
        columns = []
        for column in found.columns:
            kind, attributes = canonical_type(column)
            columns.append(Column(column.name, kind, not column.not_null, attributes))
        return TableSchema(table, tuple(columns), found.primary_key)

    def inspect(self, target: Target) -> Preparation:
        """Compare the table with what is to come. Reads only."""
        target = replace(target, table=self.resolve(target.table))
        self._known.pop(target.table, None)
        session = self._take()
        try:
            if isinstance(target, ShadowTarget):
                return ShadowInspector(session, self.dialect(session), self._values["login"]).inspect_shadow(target)
            return Inspector(session, self.dialect(session), self._values["login"]).inspect(target)
        finally:
            session.rollback()
            self._give_back(session)

    def prepare(self, target: Target, preparation: Preparation) -> None:
        """Run the preparation's statements, each in a transaction of its own. PreflightError if the account may not."""
        for statement in preparation.ddl:
            self._create(statement, target.table)
        self._known.pop(self.resolve(target.table), None)

    def _create(self, statement: str, table: TableName) -> None:
        session = self._take()
        try:
            session.run(statement, table=table)
            session.commit()
        except (AlreadyThere, DuplicateKey):
            return  # by another run, at this moment
        finally:
            session.rollback()
            self._give_back(session)

    def shadow(self, target: Target) -> ShadowTarget:
        """The same target under the name of its shadow, in the same schema."""
        return shadow_target(target, self.resolve(target.table))

    def drop_shadow(self, target: Target) -> None:
        """Remove the target's shadow, if there is one. SchemaError if a table of that name is no shadow of it."""
        shadow = self.shadow(target)
        self._known.pop(shadow.table, None)
        session = self._take()
        try:
            comment, there = self.plain.catalog.comment(session, shadow.table)
            if there:
                if not is_shadow(comment, shadow.of):
                    raise not_a_shadow(shadow, session.name)
                session.run(self.plain.sql.drop_table(shadow.table), table=shadow.table)
            session.commit()
        finally:
            session.rollback()
            self._give_back(session)

    def begin(
        self, targets: Sequence[Target], lease: Lease | None, window: Window | None = None, intent: Intent | None = None
    ) -> PostgresLoad:
        """Open a load: a transaction on a connection that is the load's own until it is committed or aborted."""
        session = self._take()
        try:
            dialect = self.dialect(session)
        except BaseException:
            session.rollback()
            self._give_back(session)
            raise
        done, lanes = lambda: self._give_back(session), self._lanes(lease)
        return self.loads(session, dialect, self._ledger, lease, window, done, lanes, self._known)

    def _lanes(self, lease: Lease | None) -> Lanes | None:
        """How other connections bring rows for a load, where ``parallelism`` isn't refused; none outside a sync."""
        if lease is None or "parallelism" in self.capabilities.options:
            return None
        return Lanes(self._ledger.schema, lease, self._pool.take_free, self._give_back)

    def read(self, table: TableName, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The table's rows in canonical types, in no order, on a connection of its own.

        SchemaError for a table or a column that isn't there.
        """
        table = self.resolve(table)
        session = self._take()
        try:
            dialect = self.dialect(session)
            yield from read_table(session, dialect.sql, dialect.catalog, table, columns)
        finally:
            session.close()
            self._give_back(session)

    def close(self) -> None:
        """Close the connections; what was not committed is undone."""
        self._pool.close()
        self._ledger.close()

    def _take(self) -> Session:
        """A connection that nobody else uses: a load's transaction must see no other's rollback."""
        return self._pool.take()

    def _give_back(self, session: Session) -> None:
        self._pool.give_back(session)
