"""fold equals applying the changes one by one: for every combination of rules, over random logs cut anywhere."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.model import Change, Model
from tests.scale import examples
from tests.strategies import KEY, OTHERS, SCHEMA, batch_of, cut, logs, rules
from tidegate.changes.batch import PRESENT, ChangeBatch, RowKind
from tidegate.changes.fold import Folded, fold
from tidegate.changes.rules import Rules
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConflictError, EventRefused, SchemaError

DEFAULTS = {"a": "default", "b": 9, "v": 1}


class FoldedTarget(Model):
    """A target that gets what fold makes of a batch, step by step as a sink does."""

    def run(self, folded: Folded) -> None:
        self._remove(folded.remove)
        for table in folded.rounds:
            rows = table.to_pylist()
            keys = [tuple(row[name] for name in self.key) for row in rows]
            assert len(set(keys)) == len(keys), "a key stands twice in one round"
            for row in rows:
                self._put({name: value for name, value in row.items() if name in self.columns and row.get(PRESENT + name, True)})
        self._remove(folded.remove_after)

    def _remove(self, keys: pa.Table) -> None:
        for row in keys.to_pylist():
            self._delete(tuple(row[name] for name in self.key))


@settings(max_examples=examples(500), deadline=None)
@given(before=logs(size=6), log=logs(), rule=rules(), cuts=st.lists(st.integers(0, 50), max_size=3))
@example(
    before=[],
    log=[Change(None, {"id": 0, "region": "x", "v": 2}), Change(None, {"id": 0, "region": "x", "a": "n"})],
    rule=Rules(version_column="v"),
    cuts=[],
)
def test_folding_equals_applying_the_changes_one_by_one(
    before: list[Change], log: list[Change], rule: Rules, cuts: list[int]
) -> None:
    columns = (*KEY, *OTHERS)
    expected = Model(columns, KEY, rule, DEFAULTS).apply(before)
    target = FoldedTarget(columns, KEY, rule, DEFAULTS)
    target.apply(before)
    expected.apply(log)
    for piece in cut(log, cuts):
        target.run(fold(batch_of(piece), rule))
    assert target.live() == expected.live()
    assert target.marked == expected.marked
    assert target.rows == expected.rows


@settings(max_examples=examples(300), deadline=None)
@given(log=logs(partial=False, size=30), rule=rules())
def test_whole_rows_need_one_round(log: list[Change], rule: Rules) -> None:
    if rule.version_column is not None and rule.ignore_nulls:
        return  # NULLs make rows partial, and only the target knows which version they meet
    assert len(fold(batch_of(log), rule).rounds) <= 1


def _batch(kinds: list[RowKind], ids: list[int]) -> ChangeBatch:
    schema = TableSchema(TableName("s", "t"), (Column("id", pa.int64()), Column("a", pa.string())), ("id",))
    table = pa.table({"id": pa.array(ids, pa.int64()), "a": pa.array(["value"] * len(ids))})
    return ChangeBatch.of(schema, table, np.array(kinds, dtype=np.uint8))


def test_strict_takes_inserts_alone() -> None:
    with pytest.raises(EventRefused, match="DELETE under conflict_mode='strict'"):
        fold(_batch([RowKind.INSERT, RowKind.DELETE], [1, 1]), Rules("strict"))


def test_strict_refuses_a_key_twice_and_keeps_the_key_out_of_the_message() -> None:
    with pytest.raises(ConflictError) as caught:
        fold(_batch([RowKind.INSERT] * 3, [7771, 2, 7771]), Rules("strict"))
    assert caught.value.keys == [(7771,)]
    assert "7771" not in str(caught.value)


def test_an_update_before_without_its_other_half_is_refused() -> None:
    with pytest.raises(EventRefused, match="UPDATE_BEFORE"):
        fold(_batch([RowKind.UPDATE_BEFORE, RowKind.INSERT], [1, 1]), Rules())
    with pytest.raises(EventRefused, match="UPDATE_BEFORE"):
        fold(_batch([RowKind.UPDATE_BEFORE], [1]), Rules())


def test_a_table_without_key_is_refused() -> None:
    batch = batch_of([])
    keyless = ChangeBatch(TableSchema(SCHEMA.table, SCHEMA.columns, ()), batch.data)
    with pytest.raises(SchemaError, match="key"):
        fold(keyless, Rules())


def test_null_in_the_key_is_refused_and_names_the_column() -> None:
    schema = TableSchema(TableName("s", "t"), (Column("id", pa.int64()),), ("id",))
    batch = ChangeBatch.of(schema, pa.table({"id": pa.array([1, None], pa.int64())}), RowKind.INSERT)
    with pytest.raises(SchemaError, match=r"s\.t.*NULL in the key column id"):
        fold(batch, Rules())


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [
        (pa.string(), "a", "A"),
        (pa.string(), "a", "a "),
        (pa.string(), "\u00e9", "e\u0301"),
        (pa.binary(), b"a\x00", b"a"),
        (pa.uint64(), 2**64 - 1, 2**63),
        (pa.int64(), -(2**63), 2**63 - 1),
        (pa.decimal256(65, 30), "1.1", "1.10000000000000000000000000001"),
        (pa.float64(), 0.0, -0.0),
        (pa.timestamp("us"), 0, 1),
        (pa.duration("us"), -1, 1),
    ],
)
def test_keys_are_compared_byte_for_byte(kind: pa.DataType, left: object, right: object) -> None:
    """What a collation, padding or a float comparison would call equal stays two keys; equal bytes are one."""
    schema = TableSchema(TableName("s", "t"), (Column("k", kind), Column("n", pa.int64())), ("k",))
    values = [left, right, left]
    keys = pa.array(values).cast(kind) if pa.types.is_decimal(kind) else pa.array(values, kind)
    batch = ChangeBatch.of(schema, pa.table({"k": keys, "n": pa.array([1, 2, 3])}), RowKind.INSERT)
    (table,) = fold(batch, Rules()).rounds
    assert sorted(table.column("n").to_pylist()) == [2, 3]
