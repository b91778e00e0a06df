"""The verbs that every hook and every resource offers: insert, update, upsert, delete, append, overwrite, apply, read.

Each call is one load: all of its rows are in, or none. They stand outside any sync and need no lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.position import SplitsPosition
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, SchemaError
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.plan import refusals
from tidegate.sync.protocols import Entry, Intent, Lease, Sink, Window, resolve
from tidegate.sync.results import WriteResult
from tidegate.sync.retry import retrying
from tidegate.sync.rows import Rows, batches, replayable


class Verbs:
    """Writes rows to, and reads them from, tables of one sink. ``open_sink`` opens it anew for each call.

    ``table`` is ``schema.table`` or a TableName; a missing table is created. ``rows`` is an Arrow table, batch or reader, a list of
    dicts or dataclasses, a pandas or polars frame. ``key`` names the key columns; None: the table's primary key. ``options`` are
    the fields of :class:`WriteOptions`.

    All raise ConfigError for options that are unknown or that the target can't do, SchemaError for a missing key or column,
    RowRefused for values that don't fit. Retries need rows that can be read again: a reader or generator is tried once.
    """

    def __init__(self, open_sink: Callable[[], Sink]) -> None:
        self._open_sink = open_sink

    def insert(self, table: str | TableName, rows: Rows, *, key: Sequence[str] | None = None, **options: Any) -> WriteResult:
        """Add rows. ConflictError if a key exists, and then none is added."""
        return self._write(table, rows, RowKind.INSERT, key, options | {"conflict_mode": "strict"})

    def update(self, table: str | TableName, rows: Rows, *, key: Sequence[str] | None = None, **options: Any) -> WriteResult:
        """Set the columns that the rows bring, where the key exists; ``not_found`` counts the others."""
        return self._write(table, rows, RowKind.UPDATE_AFTER, key, options, existing_only=True)

    def upsert(self, table: str | TableName, rows: Rows, *, key: Sequence[str] | None = None, **options: Any) -> WriteResult:
        """Add rows, or change those whose key exists, as ``conflict_mode`` says."""
        return self._write(table, rows, RowKind.UPDATE_AFTER, key, options)

    def delete(self, table: str | TableName, keys: Rows, *, key: Sequence[str] | None = None, **options: Any) -> WriteResult:
        """Remove rows by key, or mark them with ``delete_mode='soft'``. Columns of ``keys`` outside the key are not looked at."""
        return self._write(table, keys, RowKind.DELETE, key, options)

    def append(self, table: str | TableName, rows: Rows, *, idempotency_key: str | None = None, **options: Any) -> WriteResult:
        """Add rows as they are. With an ``idempotency_key`` a second call with the same key, for this table, adds nothing."""
        options |= {"write_mode": "append"}
        return self._write(table, rows, RowKind.INSERT, None, options, idempotency_key=idempotency_key)

    def overwrite(self, table: str | TableName, rows: Rows, *, key: Sequence[str] | None = None, **options: Any) -> WriteResult:
        """Replace all rows of the table by these, atomically."""
        return self._write(table, rows, RowKind.INSERT, key, options | {"write_mode": "overwrite"})

    def apply(
        self,
        table: str | TableName,
        changes: Rows,
        *,
        key: Sequence[str] | None = None,
        kind_column: str = "row_kind",
        **options: Any,
    ) -> WriteResult:
        """Apply a changelog: rows with a column that says +I, -U, +U or -D (or INSERT, UPDATE_BEFORE, UPDATE_AFTER, DELETE)."""
        return self._write(table, changes, kind_column, key, options)

    def read(self, table: str | TableName, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of the table in canonical types, in no order. SchemaError if it is missing."""
        name = TableName.parse(table)
        with closing(self._open_sink()) as sink:
            existing = sink.describe(name)
            if existing is None:
                raise SchemaError("no such table", connection=sink.name, table=name)
            if sink.capabilities.ignores_case:
                existing = existing.called(columns or ())
            wanted = existing.columns if columns is None else [existing.column(column) for column in columns]
            schema = pa.schema([(column.name, column.type) for column in wanted])
            return pa.Table.from_batches([batch.cast(schema) for batch in sink.read(name, columns)], schema)

    def _write(
        self,
        table: str | TableName,
        rows: Rows,
        kinds: RowKind | str,
        key: Sequence[str] | None,
        options: dict[str, Any],
        *,
        existing_only: bool = False,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        name = TableName.parse(table)
        began = time.monotonic()
        with closing(self._open_sink()) as sink:
            resolved = resolve(WriteOptions.of(options), sink.capabilities)
            writer = _Writer(sink, name, rows, kinds, key, resolved, existing_only)
            result, retries = retrying(
                lambda: writer.write_once(idempotency_key),
                retries=(resolved.max_retries or 0) if replayable(rows) else 0,
                wait=resolved.retry_wait or 0.0,
                what=f"the write to {name}",
            )
        result.retries, result.seconds = retries, time.monotonic() - began
        return result


class _Writer:
    """One call of a verb, which a retry may repeat."""

    def __init__(
        self,
        sink: Sink,
        table: TableName,
        rows: Rows,
        kinds: RowKind | str,
        key: Sequence[str] | None,
        options: WriteOptions,
        existing_only: bool,
    ) -> None:
        self.sink, self.table, self.rows, self.kinds = sink, table, rows, kinds
        self.options, self.existing_only = options, existing_only
        self.existing = sink.describe(table)
        self.key = tuple(key) if key is not None else self.existing.key if self.existing is not None else ()

    def write_once(self, idempotency_key: str | None) -> WriteResult:
        if idempotency_key is None:
            return self._load(None, ())
        ledger = self.sink.ledger
        ledger.setup()
        name = f"append {self.table} {idempotency_key}"
        lease = ledger.acquire(name, idempotency_key, ttl=60.0)
        try:
            if ledger.last(name):
                return WriteResult()
            done = SplitsPosition("append", frozenset({idempotency_key}))
            # What a call that was cut off had announced: some of it may be in.
            intent = next(iter(ledger.intents(lease)), None)
            return self._load(lease, (Entry(name, self.table, self.table, done),), Window({}, done), intent)
        finally:
            ledger.release(lease)

    def _load(
        self, lease: Lease | None, entries: Sequence[Entry], window: Window | None = None, intent: Intent | None = None
    ) -> WriteResult:
        result = WriteResult()
        any_case = self.sink.capabilities.ignores_case
        changes = batches(self.rows, self.table, self.key, self.existing, self.kinds, self.options.batch_rows or 100_000, any_case)
        first = next(changes, None)
        if first is None:
            if self.options.write_mode != "overwrite" or self.existing is None:
                return result
            first = _nothing(self.existing)
        if self.options.conflict_mode == "strict" and not self.sink.capabilities.transactional:
            changes = self._only_one(changes)
        target = self._target(first.schema)
        load = self.sink.begin([target], lease, window, intent)
        try:
            result += load.write(target, first)
            for batch in changes:
                if batch.schema != first.schema:
                    # Dicts of a later piece brought other columns.
                    target = replace(target, schema=batch.schema)
                result += load.write(target, batch)
            load.commit(entries)
        except BaseException:
            load.abort()
            raise
        return result

    def _only_one(self, rest: Iterator[ChangeBatch]) -> Iterator[ChangeBatch]:
        """Nothing, or ConfigError: without transactions the rows of one load alone are all added or none."""
        if next(rest, None) is not None:
            what = f"more than {self.options.batch_rows:,} rows can't be inserted here all or none"
            raise ConfigError(what, connection=self.sink.name, table=self.table, setting="batch_rows, or conflict_mode='ignore'")
        return iter(())

    def _target(self, schema: TableSchema) -> Target:
        """The checked target, its table made if there was none. A delete brings keys alone, so it can't make one."""
        # A delete makes no row, so nothing is asked of it that a new row would lack.
        deletes = self.kinds == RowKind.DELETE and not self.sink.capabilities.transactional
        target = Target(self.table, schema, self.options, self.existing_only or deletes)
        for problem in refusals(target, self.sink.capabilities, self.sink.name):
            raise problem
        if self.existing is None and (self.kinds == RowKind.DELETE or self.existing_only):
            raise SchemaError("no such table", connection=self.sink.name, table=self.table)
        if self.existing is not None and self.kinds != RowKind.DELETE:
            any_case = self.sink.capabilities.ignores_case
            known = self.existing.called(schema.names).names if any_case else self.existing.names
            computed = "columns" in (self.options.properties or {})  # rows bring what expressions are made of
            if not computed and (new := [name for name in schema.names if name not in known]):
                what = f"the table has no column {', '.join(new)}"
                raise SchemaError(what, connection=self.sink.name, table=self.table)
        preparation = self.sink.inspect(target)
        for found in preparation.problems:
            raise found
        if preparation.ddl:
            self.sink.prepare(target, preparation)
        return target


def _nothing(schema: TableSchema) -> ChangeBatch:
    return ChangeBatch.of(schema, schema.arrow().empty_table(), RowKind.INSERT)
