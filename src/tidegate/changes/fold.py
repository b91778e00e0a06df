"""The net effect of a chunk per key: equal to applying its changes one by one under the rules.

The result is a short program that any sink can run, each step at most once per key::

    remove   these keys            (delete, or with delete_mode='soft' mark)
    put      these rows            (one or more rounds, each row meeting the target under the same rules)
    remove   these keys again      (soft only: rows that arrived and were deleted in the same chunk)

Within a key's changes a delete ends a *life*. Only the last life with content reaches the target: what came before is covered by
the first removal. Everything here works on columns; the only Python loops are over columns and rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.batch import PRESENT, ChangeBatch, RowKind
from tidegate.changes.rules import Rules
from tidegate.errors import ConflictError, EventRefused, SchemaError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Folded:
    """The net effect of a chunk. ``remove`` and ``remove_after`` hold key columns; each table of ``rounds`` the batch's columns
    and, where rows leave columns out, their ``present:`` columns. No key stands twice in one table."""

    remove: pa.Table
    rounds: tuple[pa.Table, ...]
    remove_after: pa.Table


def fold(batch: ChangeBatch, rules: Rules) -> Folded:
    """The net effect of ``batch`` by its schema's key.

    Raises SchemaError for a table without a key or a NULL in it, EventRefused for an UPDATE_BEFORE without its other half or a kind
    that ``strict`` doesn't take, ConflictError for a key that ``strict`` meets twice in the batch.
    """
    key = batch.schema.key
    if not key:
        raise SchemaError("rows are merged by key, and the table has none", table=batch.schema.table, setting="key=[...]")
    if rules.conflict_mode == "strict":
        return _strict(batch)
    codes = key_codes(batch.data.select(list(key)), batch)
    index, is_delete = _changes(batch, codes, rules)
    codes = codes[index]
    if not is_delete.any() and _all_distinct(codes):
        return Folded(_no_keys(batch), (_rows(batch, index, rules),), _no_keys(batch))
    return _Fold(batch, rules, index, codes, is_delete).result()


def key_codes(keys: pa.Table, batch: ChangeBatch) -> Ints:
    """A number per row, equal where the keys are equal byte for byte."""
    codes: Ints | None = None
    for name, column in zip(keys.column_names, keys.columns, strict=True):
        if column.null_count:
            raise SchemaError(f"NULL in the key column {name}", table=batch.schema.table, setting="key=[...]")
        if pa.types.is_floating(column.type):
            bits = column.to_numpy().view(np.int64 if column.type == pa.float64() else np.int32)
            column = pa.chunked_array([pa.array(bits)])
        part = _codes(column)
        if codes is None:
            codes = part
        else:
            # Pair the codes so far with this column's; both stay below the row count, so the product fits.
            _, codes = np.unique(codes * (int(part.max(initial=0)) + 1) + part, return_inverse=True)
    assert codes is not None
    return codes


def _codes(column: pa.ChunkedArray) -> Ints:
    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        values = column.to_numpy().astype(np.int64, copy=False)
        low = int(values.min()) if len(values) else 0
        if len(values) == 0 or int(values.max()) - low < 2**31:
            return np.asarray(values - low, dtype=np.int64)
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # an empty column, or one of many chunks
        encoded = encoded.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        return np.empty(0, dtype=np.int64)
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _all_distinct(codes: Ints) -> bool:
    if len(codes) < 2:
        return True
    if codes.max() < 4 * len(codes):
        return int(np.bincount(codes).max()) == 1
    ordered = np.sort(codes)
    return not bool((ordered[1:] == ordered[:-1]).any())


def _changes(batch: ChangeBatch, codes: Ints, rules: Rules) -> tuple[Ints, Bools]:
    """The rows that matter, and which of them delete: an UPDATE_BEFORE stays only as the delete half of a key change."""
    kinds = batch.kinds
    keep = np.ones(len(kinds), dtype=bool)
    before = np.flatnonzero(kinds == RowKind.UPDATE_BEFORE)
    if len(before):
        after = before + 1
        if after[-1] == len(kinds) or not (kinds[after] == RowKind.UPDATE_AFTER).all():
            raise EventRefused("an UPDATE_BEFORE that no UPDATE_AFTER follows", table=batch.schema.table)
        keep[before[codes[before] == codes[after]]] = False
    is_delete = (kinds == RowKind.DELETE) | (kinds == RowKind.UPDATE_BEFORE)
    if rules.delete_mode == "ignore":
        keep &= ~is_delete
    index = np.flatnonzero(keep)
    return index, is_delete[index]


def _strict(batch: ChangeBatch) -> Folded:
    if (batch.kinds != RowKind.INSERT).any():
        kinds = sorted({RowKind(int(kind)).name for kind in np.unique(batch.kinds)} - {"INSERT"})
        raise EventRefused(f"{', '.join(kinds)} under conflict_mode='strict', which takes inserts alone", table=batch.schema.table)
    keys = batch.data.select(list(batch.schema.key))
    codes = key_codes(keys, batch)
    if not _all_distinct(codes):
        _, first, counts = np.unique(codes, return_index=True, return_counts=True)
        twice = keys.take(pa.array(first[counts > 1][:10])).to_pylist()
        raise ConflictError(
            f"{int((counts > 1).sum())} keys stand more than once in the rows to insert",
            keys=[tuple(row.values()) for row in twice],
            table=batch.schema.table,
            setting="conflict_mode",
        )
    return Folded(_no_keys(batch), (_rows(batch, np.arange(batch.num_rows), Rules("strict")),), _no_keys(batch))


def _no_keys(batch: ChangeBatch) -> pa.Table:
    return batch.data.select(list(batch.schema.key)).slice(0, 0)


def _rows(batch: ChangeBatch, index: Ints, rules: Rules) -> pa.Table:
    """These rows as they are, each with its own present flags."""
    everything = len(index) == batch.num_rows
    table = batch.rows if everything else batch.rows.take(pa.array(index))
    for name in batch.schema.names:
        flags = _present(batch, name, rules)
        if flags is not None:
            table = table.append_column(PRESENT + name, pa.array(flags if everything else flags[index]))
    return _drop_full(table)


def _present(batch: ChangeBatch, name: str, rules: Rules) -> Bools | None:
    """Which rows have something to say about the column; None: all."""
    flags = batch.present(name)
    if rules.ignore_nulls and name not in batch.schema.key and batch.data.column(name).null_count:
        valid = batch.data.column(name).is_valid().to_numpy()
        flags = valid if flags is None else flags & valid
    return flags


def _drop_full(table: pa.Table) -> pa.Table:
    """Without the present columns that are true throughout."""
    full = [n for n in table.column_names if n.startswith(PRESENT) and pc.all(table.column(n), min_count=0).as_py()]
    return table.drop_columns(full) if full else table


class _Fold:
    """Changes sorted by key, in source order within each; all arrays below run over them, or over the keys ("groups")."""

    def __init__(self, batch: ChangeBatch, rules: Rules, index: Ints, codes: Ints, is_delete: Bools) -> None:
        order = np.argsort(codes, kind="stable")
        self.batch, self.rules = batch, rules
        self.source = index[order]  # row in the batch
        self.deletes = is_delete[order]
        ordered = codes[order]
        self.at = np.arange(len(ordered))
        first = np.ones(len(ordered), dtype=bool)
        first[1:] = ordered[1:] != ordered[:-1]
        self.starts = np.flatnonzero(first)
        self.ends = np.append(self.starts[1:], len(ordered)) - 1
        self.group = np.cumsum(first) - 1

    def result(self) -> Folded:
        if len(self.at) == 0:
            return Folded(_no_keys(self.batch), (), _no_keys(self.batch))
        soft = self.rules.delete_mode == "soft"
        last_put = self._last(~self.deletes)
        dead = self.deletes[self.ends]
        if not soft:
            last_put = np.where(dead, -1, last_put)
        # The delete before the last life with content; for a key without content, any delete of it.
        limit = np.where(last_put >= 0, last_put, self.ends + 1)
        last_delete = self._last(self.deletes & (self.at < limit[self.group]))
        life_start = np.where(last_delete >= 0, last_delete + 1, self.starts)
        live = last_put >= 0
        in_life = live[self.group] & (self.at >= life_start[self.group]) & (self.at <= last_put[self.group])
        remove = self._keys(last_delete[last_delete >= 0])
        after = self._keys(self.ends[live & dead]) if soft else _no_keys(self.batch)
        rounds = tuple(self._rounds(in_life, life_start[live], last_put[live], live))
        return Folded(remove, rounds, after)

    def _last(self, mask: Bools) -> Ints:
        """Per group the last of its changes in the mask, or -1."""
        return np.maximum.reduceat(np.where(mask, self.at, -1), self.starts)

    def _keys(self, at: Ints) -> pa.Table:
        return self.batch.data.select(list(self.batch.schema.key)).take(pa.array(self.source[at]))

    def _rounds(self, in_life: Bools, start: Ints, end: Ints, live: Bools) -> Iterator[pa.Table]:
        if not live.any():
            return
        rules = self.rules
        if rules.conflict_mode == "ignore":
            yield _rows(self.batch, self.source[start], rules)
            return
        flags = {name: _present(self.batch, name, rules) for name in self.batch.schema.names}
        absent = any(flag is not None and not flag.all() for flag in flags.values())
        if rules.version_column is not None:
            rank = self._version_rank(rules.version_column)
            rising = in_life & self._rising(rank, in_life)
            if absent:
                # Whether each of them meets the target's version is for the target to say: one round each, in order.
                yield from self._one_by_one(rising)
                return
            end = self._last(rising)[live]
        yield _drop_full(self._coalesced(in_life, start, end, live, flags))

    def _version_rank(self, name: str) -> Ints:
        """The order of the versions as numbers, NULL first."""
        column = self.batch.data.column(name)
        ranks = pc.rank(column, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)
        return np.where(column.is_valid().to_numpy(), ranks, 0)[self.source]

    def _rising(self, rank: Ints, in_life: Bools) -> Bools:
        """Changes at least as new as every earlier one of their life; the others are outdated whatever the target has."""
        shifted = np.where(in_life, rank, 0) + self.group * (int(rank.max()) + 1)
        return np.asarray(shifted >= np.maximum.accumulate(shifted), dtype=np.bool_)

    def _one_by_one(self, mask: Bools) -> Iterator[pa.Table]:
        at = np.flatnonzero(mask)
        group = self.group[at]
        first = np.ones(len(at), dtype=bool)
        first[1:] = group[1:] != group[:-1]
        number = np.arange(len(at)) - np.flatnonzero(first)[np.cumsum(first) - 1]
        for turn in range(int(number.max()) + 1):
            yield _rows(self.batch, self.source[at[number == turn]], self.rules)

    def _coalesced(self, in_life: Bools, start: Ints, end: Ints, live: Bools, flags: dict[str, Bools | None]) -> pa.Table:
        """One row per live key: each column from the last change that has it, unlisted ones under ``update`` from the first."""
        arrays: list[pa.ChunkedArray | pa.Array] = []
        present: dict[str, Bools] = {}
        listed = self._listed()
        for name in self.batch.schema.names:
            flag = flags[name]
            at = end if name in listed else start
            if flag is not None and name in listed:
                at = self._last(in_life & flag[self.source])[live]
                if (at < 0).any():
                    present[name] = at >= 0
            elif flag is not None:
                present[name] = flag[self.source[at]]
            take = pa.array(self.source[np.maximum(at, 0)], mask=at < 0)
            arrays.append(self.batch.data.column(name).take(take))
        for mask in present.values():
            arrays.append(pa.array(mask))
        return pa.table(arrays, names=[*self.batch.schema.names, *(PRESENT + name for name in present)])

    def _listed(self) -> Sequence[str]:
        if self.rules.conflict_mode == "update" and self.rules.columns is not None:
            return self.rules.columns
        return self.batch.schema.names
