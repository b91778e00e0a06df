"""Replacing a whole table: rows go into its shadow, which takes its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.schema import Column
from tidegate.providers.starrocks.prepared import Prepared
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Copy, Entry, Load, Preparation
from tidegate.sync.results import WriteResult


class _Tables(Protocol):
    def shadow(self, target: Target) -> Target: ...

    def inspect(self, target: Target) -> Preparation: ...

    def prepare(self, target: Target, preparation: Preparation) -> None: ...

    def drop_shadow(self, target: Target) -> None: ...


class OverwriteLoad:
    """A Load outside any sync. ``inner`` opens the load of the shadows."""

    def __init__(
        self, tables: _Tables, targets: Sequence[Target], inner: Callable[[Sequence[Target]], Load], statements: Prepared
    ) -> None:
        self._tables, self._targets, self._statements = tables, targets, statements
        self._shadows = {target.table: self._made(target) for target in targets}
        self._inner = inner(list(self._shadows.values()))

    def _made(self, target: Target) -> Target:
        """An empty shadow. A table without a primary key takes the rows as they come."""
        self._tables.drop_shadow(target)
        mode = "upsert" if target.key else "append"
        shadow = self._tables.shadow(replace(target, options=target.options.override({"write_mode": mode})))
        preparation = self._tables.inspect(shadow)
        for problem in preparation.problems:
            raise problem
        self._tables.prepare(shadow, preparation)
        return shadow

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        shadow = self._shadows[target.table]
        return self._inner.write(replace(shadow, schema=target.schema), batch, copy)

    def finish_copy(self, target: Target) -> int | None:
        raise AssertionError("overwrite is no copy")

    def truncate(self, target: Target) -> WriteResult:
        raise AssertionError("overwrite is no sync")

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        raise AssertionError("overwrite is no sync")

    def swap(self, target: Target, shadow: Target) -> None:
        raise AssertionError("overwrite is no sync")

    def commit(self, entries: Sequence[Entry]) -> None:
        self._inner.commit(entries)
        for target in self._targets:
            self._statements.act(self._statements.swapping(target, self._shadows[target.table]))

    def abort(self) -> None:
        self._inner.abort()
        for target in self._targets:
            self._tables.drop_shadow(target)
