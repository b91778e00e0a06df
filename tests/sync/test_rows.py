"""Rows as users have them become the same change batch, whatever shape they come in."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tidegate.changes.batch import ChangeBatch, RowKind, concat
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError, EventRefused, RowRefused, SchemaError
from tidegate.sync.rows import batches, replayable

TABLE = TableName("ods", "orders")


@dataclasses.dataclass
class Order:
    id: int
    note: str | None


DICTS = [{"id": 1, "note": "a"}, {"id": 2, "note": None}]
ARROW = pa.table({"id": [1, 2], "note": ["a", None]})


def batch_of(rows: Any, kinds: RowKind | str = RowKind.INSERT, existing: TableSchema | None = None) -> ChangeBatch:
    return concat(list(batches(rows, TABLE, ["id"], existing, kinds, 1000)))


@pytest.mark.parametrize(
    "rows",
    [
        DICTS,
        [Order(1, "a"), Order(2, None)],
        iter(DICTS),
        ARROW,
        ARROW.to_batches()[0],
        ARROW.to_reader(),
        pl.DataFrame(DICTS),
        pd.DataFrame({"id": [1, 2], "note": pd.Series(["a", None], dtype=object)}),
    ],
    ids=["dicts", "dataclasses", "generator", "table", "batch", "reader", "polars", "pandas"],
)
def test_every_shape_gives_the_same_rows(rows: Any) -> None:
    batch = batch_of(rows)
    assert batch.rows.to_pylist() == DICTS
    assert batch.schema.column("note").type == pa.string()
    assert not batch.partial


def test_a_dict_that_lacks_a_column_leaves_it_out_which_is_not_null() -> None:
    batch = batch_of([{"id": 1}, {"id": 2, "note": None}])
    flags = batch.present("note")
    assert flags is not None
    assert flags.tolist() == [False, True]


def test_values_take_the_types_of_the_table() -> None:
    existing = TableSchema(
        TABLE,
        (
            Column("id", pa.int16()),
            Column("price", pa.decimal128(12, 2)),
            Column("at", pa.timestamp("us", tz="UTC")),
            Column("took", pa.duration("us")),
        ),
        ("id",),
    )
    berlin = dt.timezone(dt.timedelta(hours=2))
    rows = [
        {"id": 1, "price": decimal.Decimal("9.90"), "at": dt.datetime(2026, 1, 1, 2, tzinfo=berlin), "took": dt.time(1, 2, 3, 4)}
    ]
    batch = batch_of(rows, existing=existing)
    assert [column.type for column in batch.schema.columns] == [column.type for column in existing.columns]
    (row,) = batch.rows.to_pylist()
    assert row["at"] == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert row["took"] == dt.timedelta(hours=1, minutes=2, seconds=3, microseconds=4)


def test_a_value_that_does_not_fit_the_table_is_refused_by_column_and_not_shown() -> None:
    existing = TableSchema(TABLE, (Column("id", pa.int16()),), ("id",))
    with pytest.raises(RowRefused, match="column id") as caught:
        batch_of([{"id": 70_707}], existing=existing)
    assert "70707" not in str(caught.value)


@pytest.mark.parametrize("kinds", [["+I", "-U", "+U", "-D"], ["insert", "update_before", "UPDATE_AFTER", "Delete"]])
def test_a_kind_column_makes_a_changelog(kinds: list[str]) -> None:
    batch = batch_of([{"id": 1, "row_kind": kind} for kind in kinds], "row_kind")
    assert batch.kinds.tolist() == [0, 1, 2, 3]
    assert batch.schema.names == ("id",)


def test_an_unknown_kind_and_a_missing_kind_column_are_refused() -> None:
    with pytest.raises(EventRefused, match="1 rows whose row_kind"):
        batch_of([{"id": 1, "row_kind": "upsert"}], "row_kind")
    with pytest.raises(SchemaError, match="no column row_kind"):
        batch_of(DICTS, "row_kind")


def test_the_two_rows_of_an_update_stay_together() -> None:
    rows = [{"id": n // 2, "row_kind": "-U" if n % 2 == 0 else "+U"} for n in range(6)]
    assert [batch.num_rows for batch in batches(rows, TABLE, ["id"], None, "row_kind", 1)] == [2, 2, 2]


def test_what_can_only_be_read_once_is_not_tried_again() -> None:
    assert replayable(DICTS)
    assert replayable(ARROW)
    assert not replayable(iter(DICTS))
    assert not replayable(ARROW.to_reader())


@pytest.mark.parametrize("rows", ["text", {"id": 1}, 5, [(1, 2)]])
def test_other_shapes_are_refused(rows: Any) -> None:
    with pytest.raises(ConfigError, match=r"Arrow table|neither a dict nor a dataclass"):
        batch_of(rows)
