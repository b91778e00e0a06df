"""The ledger: where each table of a sync stands, who may run it, and who owns a table. In the target, in its transactions."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tidegate.changes.position import from_json, to_json
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, LeaseLost, PreflightError, SyncBusy
from tidegate.providers.postgres.errors import AlreadyThere, Deadlock, DuplicateKey
from tidegate.providers.postgres.lanes import drop_leftovers
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.sql import PostgresSql
from tidegate.sync.protocols import Entry, Intent, Lease

log = logging.getLogger(__name__)

LEDGER, LEASE, QUARANTINE = "tidegate_ledger", "tidegate_lease", "tidegate_quarantine"
_RIGHTS = {LEDGER: ("SELECT", "INSERT"), LEASE: ("SELECT", "INSERT", "UPDATE"), QUARANTINE: ("SELECT", "INSERT", "UPDATE")}

_TABLES: dict[str, tuple[Sequence[tuple[str, str]], Sequence[str]]] = {
    LEDGER: (
        (
            ("sync", "text NOT NULL"),
            ("source_schema", "text NOT NULL"),
            ("source_table", "text NOT NULL"),
            ("seq", "bigint NOT NULL"),
            ("target_schema", "text NOT NULL"),
            ("target_table", "text NOT NULL"),
            ("position", "json NOT NULL"),
            ("copy", "text"),
            ("schema", "json"),
            ("run", "text NOT NULL"),
            ("rows", "bigint NOT NULL"),
            ("fence", "bigint NOT NULL"),
            ("at", "timestamptz NOT NULL"),
        ),
        ("sync", "source_schema", "source_table", "seq"),
    ),
    LEASE: (
        (
            ("name", "text NOT NULL"),
            ("owner", "text NOT NULL"),
            ("fence", "bigint NOT NULL"),
            ("heartbeat", "timestamptz NOT NULL"),
            ("expires", "timestamptz"),
        ),
        ("name",),
    ),
    QUARANTINE: (
        (
            ("id", "text NOT NULL"),
            ("sync", "text NOT NULL"),
            ("target_schema", "text NOT NULL"),
            ("target_table", "text NOT NULL"),
            ("keys", "json NOT NULL"),
            ("events", "json NOT NULL"),
            ("error", "text NOT NULL"),
            ("at", "timestamptz NOT NULL"),
            ("superseded_at", "timestamptz"),
        ),
        ("id",),
    ),
}


class PostgresLedger:
    """The ledger on a connection of its own, so that a heartbeat goes through while a load is busy. Safe to share by threads.

    ``resolve`` gives a table without a schema the connection's default one.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        sql: PostgresSql,
        schema: str,
        role: str,
        resolve: Callable[[TableName], TableName],
    ) -> None:
        self._open, self._sql, self._role, self.resolve = open_session, sql, role, resolve
        if "%" in schema:
            raise ConfigError("a percent sign can't stand in the name of the ledger's schema", setting="ledger_schema")
        self.schema = schema
        self._session: Session | None = None
        self._lock = threading.RLock()

    def table(self, name: str) -> str:
        """One of the ledger's tables, quoted."""
        return self._sql.table(TableName(self.schema, name))

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        """A transaction on the ledger's connection, which is opened again after it was lost."""
        with self._lock:
            if self._session is None or self._session.closed:
                self._session = self._open()
            session = self._session
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise

    # Tables

    def setup(self) -> None:
        """Create what is missing, also while another run does the same; take what is there.

        Raises PreflightError with the statements to run, if the account may not.
        """
        with self._transaction():
            pass  # so that a refused login isn't taken for a missing right
        for _ in range(5):
            try:
                with self._transaction() as session:
                    missing = self._missing(session)
                    if self.schema and self._creates_schema(session):
                        session.run(self._sql.create_schema(self.schema))
                    for name in missing:
                        session.run(self._create(name))
                    self._check_rights(session)
                return
            except (DuplicateKey, AlreadyThere, Deadlock):
                continue  # another run creates it at this moment: IF NOT EXISTS doesn't see what isn't committed
            except PreflightError as error:
                raise self._forbidden(error) from None
        raise PreflightError(f"the ledger's tables in {self.schema} could not be created: others create and drop them")

    def _creates_schema(self, session: Session) -> bool:
        return session.value("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (self.schema,)) is None

    def _missing(self, session: Session) -> list[str]:
        there = session.rows(
            "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname IN %s",
            (self.schema, tuple(_TABLES)),
        )
        return [name for name in _TABLES if (name,) not in there]

    def _create(self, name: str) -> str:
        columns, key = _TABLES[name]
        return self._sql.create_table(TableName(self.schema, name), columns, key)

    def _check_rights(self, session: Session) -> None:
        if not session.value("SELECT has_schema_privilege(%s, 'USAGE')", (self.schema,)):
            raise PreflightError(f"the account lacks USAGE on the schema {self.schema}", connection=session.name)
        wanted = [(name, right) for name, rights in _RIGHTS.items() for right in rights]
        checks = ", ".join(["has_table_privilege(%s, %s)"] * len(wanted))
        params = [text for name, right in wanted for text in (self.table(name), right)]
        has = session.rows(f"SELECT {checks}", params)[0]
        lacking = [f"{right} on {name}" for (name, right), granted in zip(wanted, has, strict=True) if not granted]
        if lacking:
            raise PreflightError(f"the account lacks {', '.join(lacking)}", connection=session.name)

    def _forbidden(self, error: PreflightError) -> PreflightError:
        statements = ";\n".join(self.ddl())
        return PreflightError(f"{error}\nTo be run by an account that may:\n{statements};", setting="ledger_schema")

    def ddl(self) -> Sequence[str]:
        """The statements of :meth:`setup`, and the grants that runs need."""
        role = self._sql.name(self._role)
        schema = self._sql.name(self.schema)
        return (
            self._sql.create_schema(self.schema),
            *(self._create(name) for name in _TABLES),
            # CREATE: for the keys that a copy with initial='replace' has brought.
            f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}",
            *(f"GRANT {', '.join(rights)} ON {self.table(name)} TO {role}" for name, rights in _RIGHTS.items()),
        )

    # Leases

    def acquire(self, sync: str, owner: str, ttl: float) -> Lease:
        """Take the lease if it is free, expired or this owner's own: a statement each, decided by the server's row lock and clock.

        Raises SyncBusy, naming the owner, if another's is live.
        """
        table = self.table(LEASE)
        with self._transaction() as session:
            taken = session.value(
                f"UPDATE {table} SET owner = %s, fence = fence + 1, heartbeat = clock_timestamp(), "
                "expires = clock_timestamp() + %s * interval '1 second' "
                "WHERE name = %s AND (owner = %s OR expires <= clock_timestamp()) RETURNING fence",
                (owner, ttl, sync, owner),
            )
            if taken is not None:
                return Lease(sync, owner, int(taken), ttl)
        try:
            with self._transaction() as session:
                session.run(
                    f"INSERT INTO {table} (name, owner, fence, heartbeat, expires) "
                    "VALUES (%s, %s, 1, clock_timestamp(), clock_timestamp() + %s * interval '1 second')",
                    (sync, owner, ttl),
                )
            return Lease(sync, owner, 1, ttl)
        except DuplicateKey:
            raise self._busy(sync) from None

    def _busy(self, sync: str) -> SyncBusy:
        with self._transaction() as session:
            rows = session.rows(
                "SELECT owner, extract(epoch FROM clock_timestamp() - heartbeat), extract(epoch FROM expires - clock_timestamp()) "
                f"FROM {self.table(LEASE)} WHERE name = %s",
                (sync,),
            )
            owner, age, left = rows[0] if rows else ("another", 0, 0)
        what = (
            f"{owner} runs the sync {sync}: last heartbeat {float(age):.0f} s ago, the lease ends in {max(0.0, float(left)):.0f} s"
        )
        return SyncBusy(what, connection=session.name)

    def renew(self, lease: Lease) -> None:
        """Heartbeat. LeaseLost if it was taken over."""
        with self._transaction() as session:
            renewed = session.run(
                f"UPDATE {self.table(LEASE)} SET heartbeat = clock_timestamp(), "
                "expires = clock_timestamp() + %s * interval '1 second' WHERE name = %s AND fence = %s AND owner = %s",
                (lease.ttl, lease.sync, lease.fence, lease.owner),
            )
        if not renewed:
            raise lease_lost(lease, session.name)

    def release(self, lease: Lease) -> None:
        """Give the lease back, unless it was taken over. The row stays: the fence must go on growing."""
        with self._transaction() as session:
            session.run(
                f"UPDATE {self.table(LEASE)} SET owner = %s, expires = clock_timestamp() WHERE name = %s AND fence = %s",
                (self._sql.empty, lease.sync, lease.fence),
            )

    # Owners of tables

    def claim(self, lease: Lease, targets: Sequence[TableName]) -> None:
        """Make the sync the owner of these tables, for good; what killed runs of it left besides is removed.

        ConfigError naming the sync that is; LeaseLost if the fence was passed.
        """
        self._all_different(targets)
        for _ in range(5):
            try:
                with self._transaction() as session:
                    self.lock(session, lease)
                    there = self._owners(session, targets)
                    for target in targets:
                        owner = there.get(target)
                        if owner is None:
                            session.run(
                                f"INSERT INTO {self.table(LEASE)} (name, owner, fence, heartbeat) "
                                "VALUES (%s, %s, 0, clock_timestamp())",
                                (self._claim_name(target), lease.sync),
                            )
                        elif owner != lease.sync:
                            what = f"belongs to the sync {owner}; two syncs on one table would undo each other's work"
                            raise ConfigError(what, connection=session.name, table=target, setting="sync")
                with self._transaction() as session:
                    drop_leftovers(session, self._sql, self.schema, lease)
                return
            except DuplicateKey:
                continue  # another sync claims at this moment: see who it is
        raise SyncBusy(f"the tables of {lease.sync} are being claimed by others")

    def _all_different(self, targets: Sequence[TableName]) -> None:
        seen: dict[str, TableName] = {}
        for target in targets:
            other = seen.setdefault(self._claim_name(target), target)
            if other != target:
                what = f"{target} and {other} are the same table, and rows of one source table would overwrite those of the other"
                raise ConfigError(what, table=target, setting="tables")

    def owners(self, targets: Sequence[TableName]) -> Mapping[TableName, str]:
        """Which sync owns each, where one does."""
        with self._transaction() as session:
            return {} if LEASE in self._missing(session) else self._owners(session, targets)

    def _owners(self, session: Session, targets: Sequence[TableName]) -> dict[TableName, str]:
        names = {target: self._claim_name(target) for target in targets}
        rows = (
            session.rows(f"SELECT name, owner FROM {self.table(LEASE)} WHERE name IN %s", (tuple(names.values()),)) if names else []
        )
        owners = dict(rows)
        return {target: owners[name] for target, name in names.items() if name in owners}

    def _claim_name(self, target: TableName) -> str:
        return f"table:{self.resolve(target)}"

    # Entries

    def last(self, sync: str) -> Mapping[TableName, Entry]:
        """The latest entry of each table, with the latest schema that was recorded."""
        with self._transaction() as session:
            if LEDGER in self._missing(session):
                return {}
            rows = session.rows(self._LAST.format(table=self.table(LEDGER)), (sync, sync))
        return {entry.table: entry for entry in (self._entry(sync, row) for row in rows)}

    _LAST = """
SELECT e.source_schema, e.source_table, e.target_schema, e.target_table, e.position::text,
       e.run, e.rows, e.copy, e.at, s.schema::text
FROM (SELECT source_schema, source_table, max(seq) AS seq, max(CASE WHEN schema IS NOT NULL THEN seq END) AS schema_seq
      FROM {table} WHERE sync = %s GROUP BY source_schema, source_table) AS latest
JOIN {table} AS e
  ON e.sync = %s AND e.source_schema = latest.source_schema AND e.source_table = latest.source_table AND e.seq = latest.seq
LEFT JOIN {table} AS s
  ON s.sync = e.sync AND s.source_schema = e.source_schema AND s.source_table = e.source_table AND s.seq = latest.schema_seq
"""

    def _entry(self, sync: str, row: tuple[Any, ...]) -> Entry:
        source_schema, source_table, target_schema, target_table, position, run, rows, copy, at, schema = row
        return Entry(
            sync=sync,
            table=TableName(self._from_text(source_schema), source_table),
            target=TableName(self._from_text(target_schema), target_table),
            position=from_json(json.loads(position)),
            run=self._from_text(run),
            rows=rows,
            copy=copy,
            schema=None if schema is None else TableSchema.from_json(json.loads(schema)),
            at=at,
        )

    def _text(self, value: str) -> str:
        return value or self._sql.empty

    def _from_text(self, value: str) -> str:
        return "" if value == self._sql.empty else value

    def record(self, lease: Lease, entries: Sequence[Entry]) -> None:
        """Append entries for which there is nothing to load. LeaseLost if the fence was passed."""
        with self._transaction() as session:
            self.append(session, lease, entries)

    def append(self, session: Session, lease: Lease, entries: Sequence[Entry]) -> None:
        """Add the entries to the transaction of ``session``, behind the fence. LeaseLost if it was passed."""
        self.lock(session, lease)
        for entry in entries:
            source, target = self._text(entry.table.schema), self._text(entry.target.schema)
            # The lease's row lock keeps others of the same sync from taking the same number.
            session.run(
                f"INSERT INTO {self.table(LEDGER)} (sync, source_schema, source_table, seq, target_schema, target_table, "
                '"position", copy, schema, run, rows, fence, at) '
                "SELECT %s, %s, %s, coalesce(max(seq), 0) + 1, %s, %s, CAST(%s AS json), %s, "
                "CAST(%s AS json), %s, %s, %s, clock_timestamp() "
                f"FROM {self.table(LEDGER)} WHERE sync = %s AND source_schema = %s AND source_table = %s",
                (
                    *(entry.sync, source, entry.table.name, target, entry.target.name),
                    json.dumps(to_json(entry.position)),
                    entry.copy,
                    None if entry.schema is None else json.dumps(entry.schema.to_json()),
                    *(self._text(entry.run), entry.rows, lease.fence),
                    *(entry.sync, source, entry.table.name),
                ),
            )

    def lock(self, session: Session, lease: Lease) -> None:
        """Hold the lease's row until the transaction ends: nobody takes over meanwhile. LeaseLost if somebody has."""
        fence = session.value(f"SELECT fence FROM {self.table(LEASE)} WHERE name = %s FOR UPDATE", (lease.sync,))
        if fence != lease.fence:
            raise lease_lost(lease, session.name)

    def intents(self, lease: Lease) -> Sequence[Intent]:
        """None: rows and ledger share a transaction."""
        return ()


def lease_lost(lease: Lease, connection: str) -> LeaseLost:
    what = f"the lease of {lease.sync} (fence {lease.fence}) was taken over by another run; this one has written nothing more"
    return LeaseLost(what, connection=connection)
