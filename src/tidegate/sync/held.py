"""Refused changes and those that wait for them: which are held back, and what settles them. A target brings only where they lie."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidegate.changes.batch import FILE, OFFSET, PRESENT, ROW, TIME, ChangeBatch, RowKind
from tidegate.errors import RowRefused
from tidegate.sync.quarantine import components, halves, is_alone, isolate
from tidegate.sync.results import WriteResult

log = logging.getLogger(__name__)

Key = tuple[str, ...]
Texts = Callable[[pa.Table], Iterable[tuple[str | None, ...]]]
"""The rows of a table as texts, NULL as None."""


class Shelf(Protocol):
    """Where a target keeps the entries of one of its tables, for one sync."""

    name: str
    """For messages."""

    def open(self) -> Mapping[str, set[Key]]:
        """The ids of the entries that nothing has settled, and the keys that still wait in each."""

    def add(self, keys: Sequence[Key], events: Sequence[Mapping[str, Any]], error: str) -> str:
        """Keep an entry; its id. RowRefused if it is too long to be kept."""

    def narrow(self, entry: str, keys: Sequence[Key]) -> str:
        """Fewer keys wait in it; its id from now on."""

    def settle(self, entry: str) -> None:
        """None does."""


class Quarantine:
    """The quarantined changes of one target. An entry is open until each of its keys got a full row or a delete."""

    def __init__(self, shelf: Shelf, texts: Texts) -> None:
        self._shelf, self._texts = shelf, texts
        self.name = shelf.name
        self._open = {entry: set(keys) for entry, keys in shelf.open().items()}

    def hold(self, batch: ChangeBatch, error: str) -> None:
        """Keep changes, their positions and the error; the text holds no values. In several entries if one is too long."""
        keys = sorted(set(self._keys(batch)))
        try:
            entry = self._shelf.add(keys, list(self._events(batch)), error)
        except RowRefused:
            if is_alone(batch):
                raise
            for half in halves(batch, components(batch)):
                self.hold(half, error)
            return
        if keys:
            self._open[entry] = set(keys)

    def waiting(self, batch: ChangeBatch, *, append: bool) -> npt.NDArray[np.bool_]:
        """The changes that can't be applied without quarantined ones before them: they join these.

        A delete or a full row says all there is about its key, so it waits for nothing; a row of a log (``append``) always does.
        """
        wait = np.zeros(batch.num_rows, dtype=bool)
        touched = self._touched(batch)
        if not touched:
            return wait
        final = np.zeros(batch.num_rows, dtype=bool) if append else _final(batch)
        held = {at[0] for at in touched.values() if not final[at].any()}
        if held:
            labels = components(batch)
            wait = np.isin(labels, labels[sorted(held)])
        return wait

    def supersede(self, batch: ChangeBatch) -> None:
        """``batch`` was written: entries whose keys it settles are closed."""
        touched = self._touched(batch)
        final = _final(batch) if touched else None
        settled = {key for key, at in touched.items() if final is not None and final[at].any()}
        for entry, keys in list(self._open.items()):
            if not keys & settled:
                continue
            del self._open[entry]
            if left := keys - settled:
                self._open[self._shelf.narrow(entry, sorted(left))] = left
            else:
                self._shelf.settle(entry)

    def supersede_all(self) -> None:
        """All rows were deleted: there is no key left whose changes wait."""
        for entry in self._open:
            self._shelf.settle(entry)
        self._open.clear()

    def _touched(self, batch: ChangeBatch) -> dict[Key, list[int]]:
        """The rows of the batch per quarantined key."""
        waiting = {key for keys in self._open.values() for key in keys}
        found: dict[Key, list[int]] = {}
        if waiting and batch.schema.key:
            for at, key in enumerate(self._keys(batch)):
                if key in waiting:
                    found.setdefault(key, []).append(at)
        return found

    def _keys(self, batch: ChangeBatch) -> Iterator[Key]:
        if batch.schema.key:
            for key in self._texts(batch.data.select(list(batch.schema.key))):
                yield tuple(value or "" for value in key)

    def _events(self, batch: ChangeBatch) -> Iterator[dict[str, Any]]:
        """The changes as JSON: kind, position and the values as text; a column that a change leaves out is missing."""
        names = batch.schema.names
        where = self._columns(batch, [name for name in (FILE, OFFSET, ROW, TIME) if name in batch.data.column_names])
        values = self._columns(batch, names)
        for at, kind in enumerate(batch.kinds):
            present = {
                name: batch.data.column(PRESENT + name)[at].as_py() for name in names if PRESENT + name in batch.data.column_names
            }
            event: dict[str, Any] = {"kind": RowKind(int(kind)).name}
            event |= {name.removeprefix("__tidegate_"): column[at] for name, column in where.items()}
            yield event | {"values": {name: column[at] for name, column in values.items() if present.get(name, True)}}

    def _columns(self, batch: ChangeBatch, names: Sequence[str]) -> dict[str, Sequence[str | None]]:
        columns: Sequence[Sequence[str | None]] = list(zip(*self._texts(batch.data.select(list(names))), strict=True))
        return dict(zip(names, columns, strict=False))


def guarded(
    batch: ChangeBatch,
    attempt: Callable[[ChangeBatch], WriteResult],
    quarantine: Quarantine | None,
    table: object,
    *,
    append: bool,
) -> WriteResult:
    """Write all but the refused changes, which go into the quarantine, or without one are counted.

    ``attempt`` writes a part of the batch, all or nothing, and raises RowRefused if it can't.
    """
    waiting = 0
    if quarantine is not None:
        wait = quarantine.waiting(batch, append=append)
        if wait.any():
            held = batch.filter(wait)
            waiting = held.events()
            quarantine.hold(held, "waits for the quarantined changes of its key")
            batch = batch.filter(~wait)

    def attempt_part(part: ChangeBatch) -> WriteResult:
        result = attempt(part)
        if quarantine is not None:
            quarantine.supersede(part)
        return result

    result, refused = isolate(batch, attempt_part)
    count = sum(item.batch.events() for item in refused)
    result.rows += count + waiting
    if quarantine is None:
        result.skipped += count
        if refused:
            what = "%s: %d changes of %d keys were refused and are skipped (on_error='skip')"
            log.warning(what, table, count, len(refused))
        return result
    for item in refused:
        quarantine.hold(item.batch, str(item.error))
    result.quarantined += count + waiting
    if count or waiting:
        log.warning("%s: %d changes were refused or wait for such; see %s", table, count + waiting, quarantine.name)
    return result


def _final(batch: ChangeBatch) -> npt.NDArray[np.bool_]:
    """Which rows settle their key whatever came before: deletes, and rows that leave nothing out."""
    final = np.ones(batch.num_rows, dtype=bool)
    for name in batch.schema.names:
        flags = batch.present(name)
        if flags is not None:
            final &= flags
    deletes = (batch.kinds == RowKind.DELETE) | (batch.kinds == RowKind.UPDATE_BEFORE)
    settled: npt.NDArray[np.bool_] = final | deletes
    return settled
