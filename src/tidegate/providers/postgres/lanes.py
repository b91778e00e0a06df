"""Lanes: a chunk's rows are brought by several connections, into tables of the run's own; one connection merges them all.

What a lane commits is a staging table, never a row of a target: rows and ledger stay one transaction of one connection. A lane's
table is made, filled and analysed in one transaction, and dropped when the load is over. What a killed run leaves is known by its
name, which holds the sync and the fence of the lease, and dropped by the sync's next run.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pyarrow as pa

from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError, TidegateError, TransientError, Unavailable
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.encode import CsvReader
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.sql import PostgresSql
from tidegate.providers.postgres.staging import Made, Stager
from tidegate.sync.protocols import Lease

log = logging.getLogger(__name__)

LANE_ROWS = 10_000
"""Rows below which a lane of its own costs more than it saves."""

_LEFT = """
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' AND left(c.relname::text, %s) = %s
"""


class Lanes:
    """The lanes of one load: connections besides its own, as far as there are free ones, and the tables that they made."""

    def __init__(
        self,
        schema: str,
        lease: Lease,
        take: Callable[[], Session | None],
        give_back: Callable[[Session], None],
    ) -> None:
        self._schema, self._prefix, self._fence = schema, lane_prefix(lease.sync), lease.fence
        self._take, self._give_back = take, give_back
        self._load = uuid.uuid4().hex[:8]
        self._numbers = count(1)
        self._made: list[TableName] = []

    def take(self, number: int) -> list[Session]:
        """Up to so many connections. None is waited for: loads that hold one and wait for more would wait for each other."""
        sessions: list[Session] = []
        try:
            while len(sessions) < number and (session := self._take()) is not None:
                sessions.append(session)
        except TidegateError:
            for session in sessions:
                self._give_back(session)
            raise
        return sessions

    def give_back(self, session: Session) -> None:
        """What it has not committed is undone."""
        session.rollback()
        self._give_back(session)

    def table(self) -> TableName:
        """The name of the next table, from now on one of those that :meth:`drop` removes."""
        name = TableName(self._schema, f"{self._prefix}{self._fence}_{self._load}_{next(self._numbers)}")
        self._made.append(name)
        return name

    def drop(self, session: Session, sql: PostgresSql) -> None:
        """Remove the tables. ``session`` is in no transaction. Doesn't raise: what stays is dropped by the sync's next run."""
        if not self._made or session.closed:
            return
        try:
            for table in self._made:
                session.run(sql.drop_table(table))
            session.commit()
            self._made.clear()
        except TidegateError as error:
            session.rollback()
            log.warning("staging tables of lanes in %s stay until the next run: %s", self._schema, error)


def lane_prefix(sync: str) -> str:
    """How the names of the sync's staging tables begin; the fence comes next."""
    return f"tidegate_lane_{hashlib.sha256(sync.encode()).hexdigest()[:16]}_"


def drop_leftovers(session: Session, sql: PostgresSql, schema: str, lease: Lease) -> None:
    """Remove what killed runs of this sync left: tables of a lower fence than the lease's. ``session`` is in no transaction.

    One that somebody still reads, such as a merge that the server hasn't noticed to be alone, stays for the next time.
    """
    prefix = lane_prefix(lease.sync)
    left = session.rows(_LEFT, (schema, len(prefix), prefix))
    for table in (TableName(schema, name) for (name,) in left if _fence(name, prefix) < lease.fence):
        try:
            session.run(f"{sql.lock(table)} NOWAIT")
            session.run(sql.drop_table(table))
            session.commit()
            log.info("%s: dropped %s, which a killed run left", lease.sync, table)
        except (PermanentError, Unavailable) as error:
            if session.closed:
                raise
            session.rollback()
            log.warning("%s: %s, which a killed run left, stays for now: %s", lease.sync, table, error)
    session.rollback()


def _fence(name: str, prefix: str) -> int:
    return int(name.removeprefix(prefix).partition("_")[0])


class LaneStager:
    """``method='copy'`` with ``parallelism`` connections, the load's own among them. Rows that aren't merged go by that one alone,
    which keeps their order."""

    def __init__(self, inner: Stager, sql: PostgresSql, lanes: Lanes, parallelism: int) -> None:
        self._inner, self._sql, self._lanes, self._parallelism = inner, sql, lanes, parallelism
        self._bytes = self._loads = 0

    @property
    def bytes(self) -> int:
        return self._inner.bytes + self._bytes

    @property
    def loads(self) -> int:
        return self._inner.loads + self._loads

    def put(self, table: CatalogTable, rows: pa.Table) -> None:
        self._inner.put(table, rows)

    def made(self) -> Made:
        return self._inner.made()

    def undone(self, made: Made) -> None:
        self._inner.undone(made)

    def sources(self, table: CatalogTable, rows: pa.Table, key: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
        wanted = min(self._parallelism, rows.num_rows // LANE_ROWS)
        sessions = self._lanes.take(wanted - 1)
        if not sessions:
            yield from self._inner.sources(table, rows, key)
            return
        size = -(-rows.num_rows // (len(sessions) + 1))
        mine = self._inner.sources(table, rows.slice(size * len(sessions)), key)
        items = []
        with ThreadPoolExecutor(len(sessions), thread_name_prefix="tidegate-lane") as threads:
            running = [
                threads.submit(self._fill, session, table, rows.slice(size * at, size), key) for at, session in enumerate(sessions)
            ]
            errors: list[BaseException] = []
            try:
                items.append(next(mine)[0])
            except TidegateError as error:
                errors.append(error)
        for future in running:
            if (found := future.exception()) is not None:
                errors.append(found)
            else:
                name, size_in_bytes = future.result()
                items.append(f"{self._sql.table(name)} AS s")
                self._bytes += size_in_bytes
                self._loads += 1
        if errors:
            # What passes by itself comes first: that a row was refused will be seen again.
            raise next((error for error in errors if isinstance(error, TransientError)), errors[0])
        yield self._sql.together(items, rows.column_names), rows.num_rows
        yield from mine

    def _fill(self, session: Session, table: CatalogTable, rows: pa.Table, key: Sequence[str]) -> tuple[TableName, int]:
        try:
            name = self._lanes.table()
            columns = [(column, there.text) for column in rows.column_names if (there := table.column(column)) is not None]
            session.run(self._sql.create_lane(name, columns), table=table.name)
            reader = CsvReader(rows)
            session.copy_in(self._sql.copy_in(name, rows.column_names), reader, table=table.name)
            if key:
                session.run(self._sql.analyze_table(name, key))
            session.commit()
            return name, reader.bytes
        finally:
            self._lanes.give_back(session)
