"""A batch as steps: which rows of which columns go into one load, in which order, and what has to be asked before.

StarRocks takes upserts and deletes of a primary key table in one load, but all of its rows have the same columns. So rows that
leave columns out go in loads of their own (``partial_update``), and a key that is deleted and comes back with some columns only is
deleted by an earlier load. What depends on the row that is there (``ignore``, ``strict``, ``update``, ``soft``) StarRocks can't
express: such steps say so in ``ask``, and the sink looks the keys up before it loads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidegate.changes.batch import FILE, KIND, OFFSET, PRESENT, ROW, ChangeBatch, RowKind
from tidegate.changes.fold import fold, key_codes
from tidegate.changes.schema import TableSchema
from tidegate.errors import EventRefused
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.texts import base
from tidegate.providers.starrocks.types import canonical
from tidegate.sync.mapping import Target

Ask = Literal["new", "strict", "update", "existing", "mark", "unmark"]
"""Which of the rows go: those whose key is new; all, if all keys are new; new ones whole and others in the listed columns; those
whose key is there; the same, to be marked; all, but a marked row is replaced whole. A marked row is not there."""

EVENT_COLUMNS = {"tidegate_file": FILE, "tidegate_offset": OFFSET, "tidegate_row": ROW}
"""The event identity columns of tables that take the change log, and where a batch has them."""


@dataclass(frozen=True, slots=True)
class StepRows:
    """Rows that go into one load. ``ops`` is None for tables that know no ``__op``."""

    rows: pa.Table
    ops: npt.NDArray[np.uint8] | None
    partial: bool = False
    version: str | None = None
    """``merge_condition``: a row goes in if its value there is no lower than the one that is there."""
    ask: Ask | None = None


def appended(target: Target, table: CatalogTable, batch: ChangeBatch) -> tuple[StepRows, int]:
    """The change log as rows, one a change, and how many deletes were left out. EventRefused as the other targets do."""
    options, ignored = target.options, 0
    if options.delete_mode == "ignore":
        kept = batch.filter(batch.kinds != RowKind.DELETE)
        ignored, batch = batch.num_rows - kept.num_rows, kept
    rows = batch.rows
    if options.op_column is None:
        if (batch.kinds != RowKind.INSERT).any():
            what = "changes other than inserts under write_mode='append' without op_column, which takes inserts alone"
            raise EventRefused(what, table=batch.schema.table, setting="op_column")
    else:
        names = pa.array([kind.name for kind in RowKind]).take(pa.array(batch.kinds))
        rows = rows.append_column(options.op_column, names)
    for name, hidden in EVENT_COLUMNS.items():
        if table.column(name) is not None and hidden in batch.data.column_names:
            rows = rows.append_column(name, batch.data.column(hidden).cast(pa.string() if hidden == FILE else pa.int64()))
    ops = np.zeros(rows.num_rows, np.uint8) if table.model == "PRIMARY_KEYS" else None
    return StepRows(rows, ops), ignored


def merged(target: Target, table: CatalogTable, batch: ChangeBatch, *, before_images: bool = False) -> list[StepRows]:
    """The batch's net effect on a primary key table.

    ``before_images``: an UPDATE_BEFORE is a delete (the vendor's ``sink.ignore.update-before=false``), so columns that the batch
    doesn't have are reset by the UPDATE_AFTER.
    """
    if before_images:
        kinds = batch.kinds.copy()
        kinds[batch.kinds == RowKind.UPDATE_BEFORE] = RowKind.DELETE
        kinds[batch.kinds == RowKind.UPDATE_AFTER] = RowKind.INSERT
        at = batch.data.column_names.index(KIND)
        batch = ChangeBatch(batch.schema, batch.data.set_column(at, KIND, pa.array(kinds, pa.uint8())))
    return list(_Merge(target, table, batch).steps())


class _Merge:
    def __init__(self, target: Target, table: CatalogTable, batch: ChangeBatch) -> None:
        self.target, self.table, self.batch = target, table, batch
        self.key = list(target.key)
        self.folded = fold(batch, target.options.rules)
        self.mark = target.options.soft_delete_column
        own = {name.lower() for name in batch.schema.names} | {(self.mark or "").lower()}
        self.more = [column for column in table.columns if column.name.lower() not in own and not column.generated]

    def steps(self) -> Iterator[StepRows]:
        options = self.target.options
        if self.mark is not None:
            yield from self._soft()
        elif options.conflict_mode == "upsert" and not self.target.existing_only:
            yield from self._upserts()
        else:
            yield from self._asked()

    def _upserts(self) -> Iterator[StepRows]:
        """What StarRocks does by itself."""
        version, removes = self.target.options.version_column, self.folded.remove
        if version is not None or len(self.folded.rounds) > 1:
            # A delete asks no version, and what comes after it meets no row: it goes before, by itself.
            yield from self._deletes(removes)
            for rows in self.folded.rounds:
                yield from (self._put(group, version) for group in _groups(rows, self.batch.schema.names))
            return
        groups = [group for rows in self.folded.rounds for group in _groups(rows, self.batch.schema.names)]
        whole = [group for group in groups if not self._is_partial(group)]
        deleted = self._without(removes, whole)
        if whole:
            rows = pa.concat_tables(whole)
            if deleted.num_rows:
                rows = pa.concat_tables([deletes(deleted, self.table, self.batch.schema).rows, rows]).combine_chunks()
            ops = np.zeros(rows.num_rows, np.uint8)
            ops[: deleted.num_rows] = 1
            yield StepRows(rows, ops)
        else:
            yield from self._deletes(deleted)
        for group in groups:
            if self._is_partial(group):
                yield self._put(group, None)

    def _asked(self) -> Iterator[StepRows]:
        options = self.target.options
        ask: Ask = "existing" if self.target.existing_only else "update"
        if not self.target.existing_only and options.conflict_mode == "ignore":
            ask = "new"
        elif not self.target.existing_only and options.conflict_mode == "strict":
            ask = "strict"
        yield from self._deletes(self.folded.remove)
        for rows in self.folded.rounds:
            for group in _groups(rows, self.batch.schema.names):
                version = options.version_column
                if version is not None and version not in group.column_names:
                    if ask != "existing":
                        yield self._put(group, version)
                    continue
                yield StepRows(group, np.zeros(group.num_rows, np.uint8), self._is_partial(group), version, ask)

    def _soft(self) -> Iterator[StepRows]:
        assert self.mark is not None
        yield from self._marks(self.folded.remove)
        asks: dict[str, Ask] = {"ignore": "new", "strict": "strict", "update": "update"}
        ask = "existing" if self.target.existing_only else asks.get(self.target.options.conflict_mode, "unmark")
        for rows in self.folded.rounds:
            for group in _groups(rows, self.batch.schema.names):
                marked = group.append_column(self.mark, pa.array(np.zeros(group.num_rows, dtype=bool)))
                yield StepRows(marked, np.zeros(group.num_rows, np.uint8), self._is_partial(group), None, ask)
        yield from self._marks(self.folded.remove_after)

    def _marks(self, keys: pa.Table) -> Iterator[StepRows]:
        if keys.num_rows and self.mark is not None:
            rows = keys.append_column(self.mark, pa.array(np.ones(keys.num_rows, dtype=bool)))
            yield StepRows(rows, np.zeros(rows.num_rows, np.uint8), True, None, "mark")

    def _put(self, group: pa.Table, version: str | None) -> StepRows:
        ops = np.zeros(group.num_rows, np.uint8)
        if version is not None and version not in group.column_names:
            # A version that is left out is lower than any: only a key that is new takes the row.
            return StepRows(group, ops, self._is_partial(group), None, "new")
        return StepRows(group, ops, self._is_partial(group), version)

    def _deletes(self, keys: pa.Table) -> Iterator[StepRows]:
        if keys.num_rows:
            yield deletes(keys, self.table, self.batch.schema)

    def _is_partial(self, group: pa.Table) -> bool:
        """Whether writing the row whole would reset columns that it doesn't speak of."""
        return bool(self.more) or len(group.column_names) < len(self.batch.schema.names)

    def _without(self, keys: pa.Table, groups: Sequence[pa.Table]) -> pa.Table:
        """The keys that no row of the groups has: those are replaced anyway."""
        if not keys.num_rows or not groups:
            return keys
        there = pa.concat_tables([group.select(self.key) for group in groups])
        return keys.filter(pa.array(absent(keys, there, self.key, self.batch)))


def deletes(keys: pa.Table, table: CatalogTable, schema: TableSchema) -> StepRows:
    """Keys as whole rows, which are to be deleted: StarRocks checks them like any other."""
    names, arrays = list(schema.names), []
    for column in schema.columns:
        if column.name in keys.column_names:
            arrays.append(keys.column(column.name))
            continue
        there = table.column(column.name)
        value = None if there is None or there.nullable else _neutral(column.type, there)
        arrays.append(pa.chunked_array([_repeated(value, keys.num_rows, column.type)]))
    own = {name.lower() for name in names}
    for there in table.columns:
        if there.name.lower() not in own and not there.optional:
            kind = canonical(there).type
            arrays.append(pa.chunked_array([_repeated(_neutral(kind, there), keys.num_rows, kind)]))
            names.append(there.name)
    return StepRows(pa.table(arrays, names=names), np.ones(keys.num_rows, np.uint8))


def absent(keys: pa.Table, there: pa.Table, key: Sequence[str], batch: ChangeBatch) -> npt.NDArray[np.bool_]:
    """Which of ``keys`` aren't among ``there``, compared as :func:`tidegate.changes.fold.key_codes` does."""
    own = keys.select(list(key))
    both = pa.concat_tables([own, there.select(list(key)).cast(own.schema)])
    codes = key_codes(both, batch)
    missing: npt.NDArray[np.bool_] = ~np.isin(codes[: keys.num_rows], codes[keys.num_rows :])
    return missing


def _groups(rows: pa.Table, names: Sequence[str]) -> Iterator[pa.Table]:
    """The rows by which columns they have, each group with these columns alone, in the order of their first rows."""
    if not rows.num_rows:
        return
    flags = [name for name in names if PRESENT + name in rows.column_names]
    if not flags:
        yield rows.select(list(names))
        return
    patterns = np.stack([rows.column(PRESENT + name).to_numpy() for name in flags], axis=1)
    distinct, first, inverse = np.unique(patterns, axis=0, return_index=True, return_inverse=True)
    for at in np.argsort(first):
        has = {name for name, flag in zip(flags, distinct[at], strict=True) if flag}
        wanted = [name for name in names if name not in flags or name in has]
        yield rows.select(wanted).filter(pa.array(inverse.reshape(-1) == at))


def _neutral(kind: pa.DataType, there: CatalogColumn) -> object:
    """A value of the type that the column takes."""
    if pa.types.is_string(kind):
        return {"json": "{}", "map": "{}", "struct": "{}", "array": "[]"}.get(base(there.type), "")
    if pa.types.is_boolean(kind):
        return False
    if pa.types.is_binary(kind):
        return b""
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return pa.scalar(0, pa.int64() if not pa.types.is_date32(kind) else pa.int32()).cast(kind).as_py()
    return 0


def _repeated(value: object, rows: int, kind: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(rows, kind)
    if pa.types.is_duration(kind):
        return pa.repeat(pa.scalar(0, pa.int64()), rows).cast(kind)
    if pa.types.is_decimal(kind):
        return pa.repeat(pa.scalar(0, pa.int64()), rows).cast(pa.decimal128(19, 0)).cast(kind, safe=False)
    return pa.repeat(pa.scalar(value, kind), rows)
