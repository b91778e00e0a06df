"""A load: one transaction over all tables of a window and the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.position import SnapshotPosition
from tidegate.changes.schema import Column, TableName
from tidegate.errors import RowRefused, SchemaError
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.dialect import Dialect
from tidegate.providers.postgres.encode import NUL
from tidegate.providers.postgres.lanes import Lanes, LaneStager
from tidegate.providers.postgres.ledger import QUARANTINE, PostgresLedger
from tidegate.providers.postgres.quarantine import quarantine_of
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.shadow import ShadowTarget
from tidegate.providers.postgres.staging import Stager
from tidegate.providers.postgres.swap import swap
from tidegate.providers.postgres.writer import TableWriter, seen_table
from tidegate.sync.held import Quarantine, guarded
from tidegate.sync.mapping import Target
from tidegate.sync.options import Method
from tidegate.sync.protocols import Copy, Entry, Lease, Window
from tidegate.sync.results import WriteResult

log = logging.getLogger(__name__)


class PostgresLoad:
    """Writes in one transaction of ``session``, which it gives back by calling ``done`` once it is over.

    ``lanes``: how other connections bring rows for it; None outside a sync. ``known``: tables as the catalog has them, which the
    loads of a sink share from one inspection to the next; a load that fails forgets them.
    """

    def __init__(
        self,
        session: Session,
        dialect: Dialect,
        ledger: PostgresLedger,
        lease: Lease | None,
        window: Window | None,
        done: Callable[[], None],
        lanes: Lanes | None = None,
        known: dict[TableName, CatalogTable] | None = None,
    ) -> None:
        self._done, self._over = done, False
        self._lanes = lanes
        self._known = {} if known is None else known
        self._session, self._dialect, self._ledger = session, dialect, ledger
        self._lease = lease
        self._sync = lease.sync if lease is not None else ""
        starts = window is None or any(isinstance(at, SnapshotPosition) and at.after is None for at in window.after.values())
        self._copy_starts = starts
        self._stagers: dict[tuple[Method, int], Stager] = {}
        self._writers: dict[TableName, TableWriter] = {}
        self._quarantines: dict[TableName, Quarantine] = {}

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        """Apply a batch; see :class:`tidegate.sync.protocols.Load`.

        Raises RowRefused, ConflictError, EventRefused or SchemaError for what can't be written, under ``on_error='fail'`` as under
        the others, which go on without the refused keys only. After an exception nothing but :meth:`abort` is left to do.
        """
        began = time.monotonic()
        writer = self._writer(target)
        if copy == "replace" and self._lease is None:
            self._ledger.setup()
        result = writer.open(copy, copy_starts=self._copy_starts)
        if target.options.on_error == "fail":
            result += self._unguarded(writer, batch, copy)
        else:
            result += self._guarded(writer, batch, copy)
        result.seconds = time.monotonic() - began
        return result

    def finish_copy(self, target: Target) -> int:
        """Remove, or mark, the rows that the copy didn't bring; how many."""
        writer = self._writer(target)
        writer.open("replace", copy_starts=self._copy_starts)
        return writer.finish_copy()

    def truncate(self, target: Target) -> WriteResult:
        """Delete, mark or keep all rows, those of earlier batches of this load too; see :class:`tidegate.sync.protocols.Load`."""
        began = time.monotonic()
        writer = self._writer(target)
        result = writer.truncate()
        if target.options.on_error == "quarantine":
            self._quarantine(writer).supersede_all()
        if target.options.delete_mode == "ignore":
            log.info("%s: all rows were removed at the source, and are kept (delete_mode='ignore')", writer.table.name)
        result.seconds = time.monotonic() - began
        return result

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        """Set the column to the value in all rows, those of earlier batches of this load too.

        RowRefused for a value that the table refuses, whatever ``on_error`` says: it is in every row.
        """
        began = time.monotonic()
        writer = self._writer(target)
        one = pa.nulls(1, column.type) if value is None else pa.repeat(value, 1)
        with self._located(writer):
            result = writer.fill(column.name, one.cast(column.type))
        result.seconds = time.monotonic() - began
        return result

    def swap(self, target: Target, shadow: Target) -> None:
        """Let the shadow, with the rows of this load, take the target's place: :func:`tidegate.providers.postgres.swap.swap`."""
        assert isinstance(shadow, ShadowTarget)
        swap(self._session, self._dialect.sql, self._dialect.catalog, shadow)
        for table in (self._ledger.resolve(target.table), shadow.table):
            self._writers.pop(table, None)
            self._known.pop(table, None)

    def commit(self, entries: Sequence[Entry]) -> None:
        """Rows and entries, all or nothing.

        Raises LeaseLost if another run took over. Unavailable if the connection is lost while the server commits: whether it did
        so is then for the next run to see in the ledger.
        """
        try:
            if self._lease is not None:
                self._ledger.append(self._session, self._lease, entries)
            elif entries:
                raise AssertionError("entries of a load without a lease")
            self._session.commit()
        except BaseException:
            self.abort()
            raise
        self._finish()

    def abort(self) -> None:
        """Give up: nothing was written. Doesn't raise."""
        if not self._over:
            self._known.clear()
            self._session.rollback()
            self._finish()

    def _finish(self) -> None:
        self._over = True
        if self._lanes is not None:
            self._lanes.drop(self._session, self._dialect.sql)
        self._done()

    # Refused rows

    def _unguarded(self, writer: TableWriter, batch: ChangeBatch, copy: Copy | None) -> WriteResult:
        with self._located(writer):
            return writer.write(batch, copy)

    @contextmanager
    def _located(self, writer: TableWriter) -> Iterator[None]:
        try:
            yield
        except RowRefused as error:
            if error.connection is not None:
                raise
            # The encoder, which saw U+0000, knows no more than the column.
            where = {"connection": self._session.name, "table": writer.table.name, "setting": "on_error"}
            raise RowRefused(NUL, column=error.column, rows=error.rows, **where) from None

    def _guarded(self, writer: TableWriter, batch: ChangeBatch, copy: Copy | None) -> WriteResult:
        """Write all but the refused changes; store or count these."""
        options = writer.target.options

        def attempt(part: ChangeBatch) -> WriteResult:
            made = writer.stager.made()
            try:
                with self._session.savepoint():
                    return writer.write(part, copy)
            except RowRefused:
                writer.stager.undone(made)
                raise

        quarantine = self._quarantine(writer) if options.on_error == "quarantine" else None
        return guarded(batch, attempt, quarantine, writer.table.name, append=options.write_mode == "append")

    def _quarantine(self, writer: TableWriter) -> Quarantine:
        # What a shadow refuses is the target's own: the shadow's name is gone when it is complete.
        table = writer.target.of if isinstance(writer.target, ShadowTarget) else writer.table.name
        if table not in self._quarantines:
            if self._lease is None:
                self._ledger.setup()  # a run has done so
            name = self._ledger.table(QUARANTINE)
            self._quarantines[table] = quarantine_of(self._session, name, self._sync or self._dialect.sql.empty, table)
        return self._quarantines[table]

    def _table(self, name: TableName) -> CatalogTable | None:
        """The table as it was when this sink's loads first met it, or was last inspected."""
        table = self._known.get(name) or self._dialect.catalog.table(self._session, name)
        if table is not None:
            self._known[name] = table
        return table

    # One writer a table

    def _writer(self, target: Target) -> TableWriter:
        target = replace(target, table=self._ledger.resolve(target.table))
        writer = self._writers.get(target.table)
        if writer is None or writer.target != target:
            table = self._table(target.table)
            if table is None:
                raise SchemaError("there is no such table", connection=self._session.name, table=target.table)
            seen = seen_table(self._ledger.schema, self._sync, target.table)
            earlier = writer
            plan = self._dialect.strategy(target, table, self._session.name)
            stager = self._stager(target.options.method or "copy", target.options.parallelism or 1)
            writer = self._dialect.writer(self._session, self._dialect.sql, stager, target, table, plan, seen)
            if earlier is not None:
                writer.opened = earlier.opened
            self._writers[target.table] = writer
        return writer

    def _stager(self, method: Method, parallelism: int) -> Stager:
        # The temporary tables of a method are one stager's, whatever the number of lanes.
        stager = self._stagers.get((method, 1))
        if stager is None:
            stager = self._stagers[method, 1] = self._dialect.stager(self._session, self._dialect.sql, method)
        if parallelism == 1 or method != "copy" or self._lanes is None:
            return stager
        if (method, parallelism) not in self._stagers:
            self._stagers[method, parallelism] = LaneStager(stager, self._dialect.sql, self._lanes, parallelism)
        return self._stagers[method, parallelism]
