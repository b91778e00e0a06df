"""Random change logs for the property tests, and their way into batches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa
from hypothesis import strategies as st

from tests.model import Change, Row
from tidegate.changes.batch import ChangeBatch
from tidegate.changes.rules import ConflictMode, DeleteMode, Rules
from tidegate.changes.schema import Column, TableName, TableSchema

SCHEMA = TableSchema(
    TableName("shop", "orders"),
    (
        Column("id", pa.int64(), nullable=False),
        Column("region", pa.string(), nullable=False),
        Column("a", pa.string()),
        Column("b", pa.int32()),
        Column("v", pa.int64()),
    ),
    ("id", "region"),
)
KEY = SCHEMA.key
OTHERS = ("a", "b", "v")

_keys = st.tuples(st.integers(0, 2), st.sampled_from(["x", "X", "x "]))
_values = st.fixed_dictionaries(
    {
        "a": st.one_of(st.none(), st.sampled_from(["", "n", "m"])),
        "b": st.one_of(st.none(), st.integers(-2, 2)),
        "v": st.one_of(st.none(), st.integers(0, 3)),
    }
)


@st.composite
def rows(draw: st.DrawFn, *, partial: bool) -> Row:
    key = draw(_keys)
    row: Row = {"id": key[0], "region": key[1], **draw(_values)}
    if partial:
        for name in draw(st.sets(st.sampled_from(OTHERS))):
            del row[name]
    return row


@st.composite
def changes(draw: st.DrawFn, *, partial: bool = True) -> Change:
    """Any change of any key, whether or not it fits what came before: a replay meets all of them."""
    kind = draw(st.sampled_from(["insert", "update", "move", "delete"]))
    after = draw(rows(partial=partial))
    if kind == "insert":
        return Change(None, after)
    if kind == "delete":
        return Change(after, None)
    before = draw(rows(partial=False))
    if kind == "update":
        before |= {name: after[name] for name in KEY}
    return Change(before, after)


def logs(*, partial: bool = True, inserts_only: bool = False, size: int = 14) -> st.SearchStrategy[list[Change]]:
    one = rows(partial=partial).map(lambda row: Change(None, row)) if inserts_only else changes(partial=partial)
    return st.lists(one, max_size=size)


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """Every combination that WriteOptions takes, ``strict`` apart."""
    conflict = draw(st.sampled_from(["upsert", "update", "ignore"]))
    version = draw(st.sampled_from([None, "v"])) if conflict != "ignore" else None
    columns = draw(st.sampled_from([None, ("a", "v"), ("v",), ("b", "v", "a")])) if conflict == "update" else None
    return Rules(
        conflict_mode=cast(ConflictMode, conflict),
        delete_mode=cast(DeleteMode, draw(st.sampled_from(["apply", "ignore", "soft"]))),
        columns=columns,
        version_column=version,
        ignore_nulls=draw(st.booleans()),
    )


def batch_of(log: Sequence[Change], schema: TableSchema = SCHEMA) -> ChangeBatch:
    """The log as one batch; columns that a row lacks are absent in it."""
    pairs = [pair for change in log for pair in change.rows()]
    table = pa.Table.from_pylist([row for _, row in pairs], schema=schema.arrow())
    present = {}
    for name in schema.names:
        flags = [name in row for _, row in pairs]
        if not all(flags):
            present[name] = pa.array(flags, pa.bool_())
    return ChangeBatch.of(schema, table, pa.array([int(kind) for kind, _ in pairs], pa.uint8()), present=present)


def cut(log: Sequence[Change], cuts: Sequence[int]) -> list[list[Change]]:
    """The log in pieces; ``cuts`` are any numbers, taken modulo its length."""
    bounds = sorted({0, len(log), *(number % (len(log) + 1) for number in cuts)})
    return [list(log[start:end]) for start, end in itertools.pairwise(bounds)]


def key_of(row: Row, key: Sequence[str] = KEY) -> tuple[Any, ...]:
    return tuple(row[name] for name in key)
