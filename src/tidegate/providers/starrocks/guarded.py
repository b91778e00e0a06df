"""Loads that go on without what the table refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.schema import Column, TableName
from tidegate.errors import RowRefused
from tidegate.sync.held import Quarantine, guarded
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Copy, Entry
from tidegate.sync.quarantine import isolate
from tidegate.sync.results import WriteResult
from tidegate.sync.writeahead import WriteAheadLoad


class GuardedLoad:
    """A Load over one whose chunks stand alone. A chunk that is refused is halved, and its halves are chunks of their own: a run
    that goes on with the intent halves it in the same way."""

    def __init__(self, load: WriteAheadLoad, open_quarantine: Callable[[Target, str], Quarantine]) -> None:
        self._load, self._open_quarantine = load, open_quarantine
        self._quarantines: dict[TableName, Quarantine] = {}

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        before = self._load.refused
        try:
            result = self._write(target, batch, copy)
        except RowRefused as error:
            self._load.read_anew(error)
            raise
        result.failed_loads += self._load.refused - before
        return result

    def _write(self, target: Target, batch: ChangeBatch, copy: Copy | None) -> WriteResult:
        def attempt(part: ChangeBatch) -> WriteResult:
            return self._load.write(target, part, copy)

        if target.options.on_error == "fail":
            # A run that goes on with an intent finds what its predecessor halved, under another on_error.
            return isolate(batch, attempt, most=0)[0] if self._load.resumed else attempt(batch)
        quarantine = self._quarantine(target) if target.options.on_error == "quarantine" else None
        return guarded(batch, attempt, quarantine, target.table, append=target.options.write_mode == "append")

    def _quarantine(self, target: Target) -> Quarantine:
        if target.table not in self._quarantines:
            self._quarantines[target.table] = self._open_quarantine(target, self._load.announced())
        return self._quarantines[target.table]

    def finish_copy(self, target: Target) -> int | None:
        return self._load.finish_copy(target)

    def truncate(self, target: Target) -> WriteResult:
        result = self._load.truncate(target)
        if target.options.on_error == "quarantine":
            self._quarantine(target).supersede_all()
        return result

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        return self._load.fill(target, column, value)

    def swap(self, target: Target, shadow: Target) -> None:
        self._load.swap(target, shadow)

    def commit(self, entries: Sequence[Entry]) -> None:
        self._load.commit(entries)

    def abort(self) -> None:
        self._load.abort()
