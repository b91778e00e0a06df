"""Finding refused changes by splitting: which stand together, what is written, what is left."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model import Change
from tests.strategies import KEY, SCHEMA, batch_of, logs
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConflictError, RowRefused
from tidegate.sync.quarantine import components, isolate
from tidegate.sync.results import WriteResult


def keys_of(batch: ChangeBatch) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in KEY) for row in batch.data.select(list(KEY)).to_pylist()]


def log_of(*changes: Change) -> ChangeBatch:
    return batch_of(list(changes))


def row(number: int, a: str | None = None) -> dict[str, Any]:
    return {"id": number, "region": "x", "a": a, "b": None, "v": None}


class Table:
    """Refuses every part that holds one of the bad ids, all or nothing."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.written, self.attempts = set(bad), list[dict[str, Any]](), 0

    def attempt(self, part: ChangeBatch) -> WriteResult:
        self.attempts += 1
        rows = part.data.to_pylist()
        if any(item["id"] in self.bad for item in rows):
            raise RowRefused("bad id")
        self.written += rows
        return WriteResult(rows=part.events(), inserted=part.events())


@given(logs(partial=False, size=20))
def test_components_are_the_keys_and_what_key_changes_link(log: list[Change]) -> None:
    batch = batch_of(log)
    labels = components(batch)
    groups: list[set[tuple[Any, ...]]] = []
    for change in log:
        touched = {tuple(item[name] for name in KEY) for item in (change.before, change.after) if item is not None}
        joined = [group for group in groups if group & touched]
        groups = [group for group in groups if not group & touched] + [touched.union(*joined)]
    keys = keys_of(batch)
    for left, first in zip(keys, labels, strict=True):
        for right, second in zip(keys, labels, strict=True):
            assert (first == second) == any(left in group and right in group for group in groups)
    firsts = list(dict.fromkeys(labels.tolist()))
    assert firsts == list(range(len(firsts))), "numbered in the order in which they begin"


def test_a_long_chain_of_key_changes_is_one_component() -> None:
    chain = [Change({**row(n)}, {**row(n + 1)}) for n in range(5000, 0, -1)]
    assert set(components(batch_of(chain))) == {0}


def test_without_a_key_each_change_stands_alone_and_an_update_is_one() -> None:
    table = pa.table({"a": [1, 1, 2, 3]})
    schema = TableSchema.of_arrow(TableName("s", "t"), table.schema)
    kinds = [RowKind.INSERT, RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER, RowKind.DELETE]
    batch = ChangeBatch.of(schema, table, pa.array([int(kind) for kind in kinds], pa.uint8()))
    assert components(batch).tolist() == [0, 1, 1, 2]


def test_a_batch_that_is_taken_is_tried_once() -> None:
    table = Table()
    result, refused = isolate(log_of(*(Change(None, row(n)) for n in range(100))), table.attempt)
    assert (result.rows, refused, table.attempts) == (100, [], 1)


@pytest.mark.parametrize("bad", [{0}, {99}, {0, 1, 50, 99}, set(range(100))])
def test_all_but_the_refused_keys_are_written_once(bad: set[int]) -> None:
    table = Table(*bad)
    result, refused = isolate(log_of(*(Change(None, row(n)) for n in range(100))), table.attempt)
    assert sorted(item["id"] for item in table.written) == sorted(set(range(100)) - bad)
    assert sorted(keys_of(item.batch)[0][0] for item in refused) == sorted(bad)
    assert result.rows == 100 - len(bad)
    if len(bad) == 1:
        assert table.attempts < 20


def test_both_ends_of_a_refused_key_change_are_held_together_in_order() -> None:
    changes = [Change(None, row(1, "a")), Change(None, row(5)), Change(row(1, "a"), row(2, "b")), Change(row(2, "b"), None)]
    table = Table(2)
    _, refused = isolate(log_of(*changes), table.attempt)
    assert [item["id"] for item in table.written] == [5]
    assert len(refused) == 1
    assert keys_of(refused[0].batch) == [(1, "x"), (1, "x"), (2, "x"), (2, "x")]
    assert [item.short for item in map(RowKind, refused[0].batch.kinds.tolist())] == ["+I", "-U", "+U", "-D"]


def test_when_most_of_a_batch_is_refused_it_is_the_table_that_is_wrong() -> None:
    with pytest.raises(RowRefused):
        isolate(log_of(*(Change(None, row(n)) for n in range(20))), Table(*range(20)).attempt, most=10)


def test_other_errors_go_through() -> None:
    def attempt(part: ChangeBatch) -> WriteResult:
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        isolate(log_of(Change(None, row(1))), attempt)


@given(logs(size=20), st.sets(st.integers(0, 2)))
def test_every_change_is_written_or_refused_never_both(log: list[Change], bad: set[int]) -> None:
    table = Table(*bad)
    batch = batch_of(log)
    result, refused = isolate(batch, table.attempt)
    assert result.rows + sum(item.batch.events() for item in refused) == len(log)
    assert len(table.written) + sum(item.batch.num_rows for item in refused) == batch.num_rows
    assert batch.schema == SCHEMA
