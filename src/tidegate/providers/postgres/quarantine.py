"""Where refused changes are kept: ``tidegate_quarantine``, in the transaction that went on without them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidegate.changes.batch import FILE, OFFSET, PRESENT, ROW, TIME, ChangeBatch, RowKind
from tidegate.changes.schema import TableName
from tidegate.providers.postgres.encode import text_rows
from tidegate.providers.postgres.session import Session
from tidegate.sync.quarantine import components

Key = tuple[str, ...]


class QuarantineTable:
    """The quarantined changes of one target of one sync. An entry is open until each of its keys got a full row or a delete."""

    def __init__(self, session: Session, table: str, sync: str, target: TableName) -> None:
        self._session, self._table, self._sync, self._target = session, table, sync, target
        self.name = table
        self._open: dict[str, set[Key]] = {}
        rows = session.rows(
            f"SELECT id, keys::text FROM {table} "
            "WHERE sync = %s AND target_schema = %s AND target_table = %s AND superseded_at IS NULL",
            (sync, target.schema, target.name),
        )
        for entry, keys in rows:
            self._open[entry] = {tuple(key) for key in json.loads(keys)}

    def hold(self, batch: ChangeBatch, error: str) -> None:
        """Keep changes, their positions and the error; the text holds no values."""
        entry = uuid.uuid4().hex
        keys = sorted(set(_keys(batch)))
        self._session.run(
            f"INSERT INTO {self._table} (id, sync, target_schema, target_table, keys, events, error, at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())",
            (
                *(entry, self._sync, self._target.schema, self._target.name),
                json.dumps([list(key) for key in keys]),
                json.dumps(list(_events(batch))),
                error,
            ),
        )
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
            keys -= settled
            if keys:
                left = json.dumps([list(key) for key in sorted(keys)])
                self._session.run(f"UPDATE {self._table} SET keys = %s WHERE id = %s", (left, entry))
            else:
                self._session.run(f"UPDATE {self._table} SET superseded_at = clock_timestamp() WHERE id = %s", (entry,))
                del self._open[entry]

    def supersede_all(self) -> None:
        """All rows were deleted: there is no key left whose changes wait."""
        for entry in self._open:
            self._session.run(f"UPDATE {self._table} SET superseded_at = clock_timestamp() WHERE id = %s", (entry,))
        self._open.clear()

    def _touched(self, batch: ChangeBatch) -> dict[Key, list[int]]:
        """The rows of the batch per quarantined key."""
        waiting = {key for keys in self._open.values() for key in keys}
        found: dict[Key, list[int]] = {}
        if waiting and batch.schema.key:
            for at, key in enumerate(_keys(batch)):
                if key in waiting:
                    found.setdefault(key, []).append(at)
        return found


def _keys(batch: ChangeBatch) -> Iterator[Key]:
    if batch.schema.key:
        for key in text_rows(batch.data.select(list(batch.schema.key)), refuse_nul=False):
            yield tuple(value or "" for value in key)


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


def _events(batch: ChangeBatch) -> Iterator[dict[str, Any]]:
    """The changes as JSON: kind, position and the values as text; a column that a change leaves out is missing."""
    names = batch.schema.names
    where = _texts(batch, [name for name in (FILE, OFFSET, ROW, TIME) if name in batch.data.column_names])
    values = _texts(batch, names)
    for at, kind in enumerate(batch.kinds):
        present = {
            name: batch.data.column(PRESENT + name)[at].as_py() for name in names if PRESENT + name in batch.data.column_names
        }
        event: dict[str, Any] = {"kind": RowKind(int(kind)).name}
        event |= {name.removeprefix("__tidegate_"): column[at] for name, column in where.items()}
        yield event | {"values": {name: column[at] for name, column in values.items() if present.get(name, True)}}


def _texts(batch: ChangeBatch, names: Sequence[str]) -> dict[str, Sequence[str | None]]:
    table: pa.Table = batch.data.select(list(names))
    columns: Sequence[Sequence[str | None]] = list(zip(*text_rows(table, refuse_nul=False), strict=True))
    return dict(zip(names, columns, strict=False))
