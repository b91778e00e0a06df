"""Change files as a target: what a source says, captured as it is.

Rows of all four kinds go into data files as they come, never folded. A load's files and its ledger entries become a segment
together, by the one manifest that names them. A load that is killed before that leaves files that no manifest names: nobody reads
them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError, SchemaError, TidegateError
from tidegate.providers.changefiles import datafile
from tidegate.providers.changefiles.ledger import ChangeFilesLedger
from tidegate.providers.changefiles.store import open_store
from tidegate.providers.changefiles.stream import Stream
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Capabilities, Copy, Entry, Intent, Lease, Preparation, Window
from tidegate.sync.results import WriteResult

log = logging.getLogger(__name__)

_AS_IT_IS = "change files keep the change log as it is; use write_mode='append'"
_MERGED = "nothing is merged into change files: set it where they are replayed into a table"
_NO_SHADOW = "segments are never changed once they are committed: capture the table into a new folder"
_ONE_WRITER = "rows go into a table's file in source order, by one writer; leave it out"

CAPABILITIES = Capabilities(
    transactional=True,
    options={
        "write_mode": ("append",),
        "conflict_mode": ("upsert",),
        "delete_mode": ("apply",),
        "on_error": ("fail",),
        "initial": ("refuse", "merge"),
        "method": (),
        "columns": (),
        "version_column": (),
        "ignore_nulls": (False,),
        "op_column": (),
        "soft_delete_column": (),
        "parallelism": (1,),
        "properties": (),
    },
    refusals={
        "properties": "they are settings of Stream Load, and nothing is loaded over HTTP here; leave them out",
        "write_mode=upsert": _AS_IT_IS,
        "write_mode=overwrite": "segments are never changed once they are committed; capture into a new folder",
        "conflict_mode": _MERGED,
        "delete_mode=ignore": "a log without its deletes can't be replayed: set it where the files are replayed into a table",
        "delete_mode=soft": _MERGED,
        "on_error": "a file refuses no row of a canonical type, so there is nothing to set aside",
        "initial=replace": "segments are never changed once they are committed; capture into a new folder",
        "method": "there is one way to write a file; leave it out",
        "columns": _MERGED,
        "version_column": _MERGED,
        "ignore_nulls": _MERGED,
        "op_column": "the kind of each row is always stored, as __tidegate_kind; leave it out",
        "soft_delete_column": _MERGED,
        "parallelism": _ONE_WRITER,
    },
    follows=frozenset(("truncated", "column_added")),
    keeps_events=True,
    defaults={"batch_rows": 100_000, "batch_bytes": 32 * 1024 * 1024, "max_retries": 3, "retry_wait": 1.0},
)


class ChangeFilesSink:
    """A stream that is being captured."""

    def __init__(self, stream: Stream, name: str) -> None:
        self._stream = stream
        self._name = name
        self._ledger = ChangeFilesLedger(stream, name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def ledger(self) -> ChangeFilesLedger:
        return self._ledger

    def describe(self, table: TableName) -> TableSchema | None:
        newest = self._stream.newest()
        return newest.tables[table].schema if newest and table in newest.tables else None

    def inspect(self, target: Target) -> Preparation:
        newest = self._stream.newest()
        state = newest.tables.get(target.table) if newest else None
        problems: list[TidegateError] = []
        if target.existing_only:
            problems.append(ConfigError(_MERGED, connection=self._name, table=target.table, setting="update"))
        return Preparation(
            exists=state is not None,
            empty=state is None or state.events == 0,
            rows=state.events if state else 0,
            strategy="appended to the stream as segments, all four kinds, never folded",
            problems=tuple(problems),
        )

    def prepare(self, target: Target, preparation: Preparation) -> None:
        """Make the folder; a table begins with its first rows."""
        self._ledger.setup()

    def shadow(self, target: Target) -> Target:
        """Never asked for: capabilities don't have it."""
        raise ConfigError(_NO_SHADOW, connection=self._name, table=target.table)

    def drop_shadow(self, target: Target) -> None:
        """There never is one."""

    def begin(
        self, targets: Sequence[Target], lease: Lease | None, window: Window | None = None, intent: Intent | None = None
    ) -> ChangeFilesLoad:
        return ChangeFilesLoad(self._stream, targets, lease)

    def read(self, table: TableName, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Every row of the table's change log in source order, images before and after a change alike.

        ``columns`` may name hidden ones, ``__tidegate_kind`` first of all; None: the table's own. All batches have the columns of
        the table's newest schema; a column that a row's file lacks is null. SchemaError for a table or a column that the stream
        lacks.
        """
        newest = self._stream.newest()
        if newest is None or table not in newest.tables:
            raise SchemaError("not in the stream", connection=self._name, table=table)
        names = newest.tables[table].schema.names if columns is None else columns
        schema = datafile.log_schema(newest.tables[table].schema)
        for name in names:
            if name not in schema.names:
                raise SchemaError(f"no column {name}", connection=self._name, table=table)
        schema = pa.schema([schema.field(name) for name in names])
        for manifest in self._stream.after(self._stream.numbers()[0] - 1, newest.number):
            for item in manifest.files:
                if item.table == table:
                    for batch in datafile.read(self._stream.store, item, manifest.number, self._name):
                        try:
                            yield from datafile.conform(batch.data, schema).to_batches()
                        except pa.ArrowInvalid as error:
                            what = f"segment {manifest.number} holds values that don't fit the columns' newest types"
                            raise SchemaError(what, connection=self._name, table=table) from error

    def close(self) -> None:
        """Nothing is held open."""


class ChangeFilesLoad:
    """One segment in the making."""

    def __init__(self, stream: Stream, targets: Sequence[Target], lease: Lease | None) -> None:
        self._stream = stream
        self._lease = lease
        self._writer = datafile.SegmentWriter(stream.store)
        # A table without rows is a table of the stream all the same: readers ask for it by name.
        self._schemas = {target.table: replace(target.schema, table=target.table) for target in targets}

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        """Take rows as they are. ``inserted``, ``updated`` and ``deleted`` count the changes captured, by what they were."""
        schema = self._stored_schema(target, batch.schema)
        self._schemas[target.table] = schema
        self._writer.add(ChangeBatch(schema, batch.data), "changes" if copy is None else "snapshot")
        counts = batch.counts()
        return WriteResult(
            rows=batch.events(),
            inserted=counts[RowKind.INSERT],
            updated=counts[RowKind.UPDATE_AFTER],
            deleted=counts[RowKind.DELETE],
            bytes=batch.nbytes,
        )

    def finish_copy(self, target: Target) -> int | None:
        """Never asked for: ``initial='replace'`` is refused."""
        raise ConfigError(CAPABILITIES.refusals["initial=replace"], table=target.table, setting="initial")

    def truncate(self, target: Target) -> WriteResult:
        """Stored as what happened to the table: a replay empties its own target here."""
        self._writer.happen(target.table, "truncated", "the table was emptied")
        return WriteResult()

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        """Stored as what happened to the table, with the value: a replay fills its own target here."""
        schema = self._schemas[target.table]
        if column.name not in schema.names:
            self._schemas[target.table] = replace(schema, columns=(*schema.columns, column))
        self._writer.happen(target.table, "column_added", f"the column {column.name} was added", column, value)
        return WriteResult()

    def swap(self, target: Target, shadow: Target) -> None:
        """Never asked for: capabilities don't have it."""
        raise ConfigError(_NO_SHADOW, table=target.table)

    def commit(self, entries: Sequence[Entry]) -> None:
        files, events = self._writer.finish(), self._writer.events
        if not files and not events and self._lease is not None and not entries:
            return
        manifest = self._stream.commit(self._lease, files=files, events=events, entries=entries, schemas=self._schemas)
        log.debug("segment %d: %d files, %d bytes", manifest.number, len(files), sum(item.bytes for item in files))

    def abort(self) -> None:
        try:
            self._writer.discard()
        except (TidegateError, OSError, pa.ArrowException) as error:
            # No manifest names these files, so they do no harm; the error that led here is the one to report.
            log.warning("files of a load that was given up stay behind: %s", error)

    @staticmethod
    def _stored_schema(target: Target, schema: TableSchema) -> TableSchema:
        key = target.key if set(target.key) <= set(schema.names) else schema.key
        return TableSchema(target.table, schema.columns, key)


def open_sink(values: Mapping[str, Any], name: str) -> ChangeFilesSink:
    """The stream of a connection, to write."""
    store = open_store(values["url"], values["storage_options"], values["storage_secrets"], name)
    return ChangeFilesSink(Stream(store, name), name)
