"""What goes as JSON is what a JSON reader finds, exactly."""

from __future__ import annotations

import datetime as dt
import json
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.starrocks.wire import expected, read, tables
from tidegate.errors import RowRefused
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.encode import PIECE_ROWS, encode
from tidegate.providers.starrocks.format import Format

JSON = Format()


class Number(str):
    """A JSON number, as it is written."""


def loads(body: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(body, parse_int=Number, parse_float=Number, strict=True)
    return found


def one(values: Any, kind: pa.DataType, target: str | None = None, **more: Any) -> str:
    """The text of a column's only value."""
    there = CatalogColumn("v", target) if target else None
    body = b"".join(encode(pa.table({"v": pa.array([values], kind)}), [there], JSON, **more)).decode()
    return body.removeprefix('[{"v":').removesuffix("}]")


@given(tables())
def test_every_value_comes_back(made: tuple[pa.Table, CatalogTable]) -> None:
    rows, table = made
    found = loads(b"".join(encode(rows, table.columns, JSON)))
    assert len(found) == rows.num_rows
    for name, column, there in zip(rows.column_names, rows.columns, table.columns, strict=True):
        values = [row[name] for row in found]
        if there.type == "json":
            texts = [value and json.loads(value, parse_int=Number, parse_float=Number) for value in column.to_pylist()]
            assert values == texts
            continue
        read_back = [read(value, column.type) for value in values]
        if pa.types.is_floating(column.type):
            assert [value and struct.pack("d", value) for value in read_back] == [
                value and struct.pack("d", value) for value in expected(column)
            ]
        else:
            assert read_back == expected(column)


@given(tables(), st.data())
def test_the_operation_is_the_last_member(made: tuple[pa.Table, CatalogTable], data: st.DataObject) -> None:
    rows, table = made
    ops = data.draw(st.lists(st.integers(0, 1), min_size=rows.num_rows, max_size=rows.num_rows))
    found = loads(b"".join(encode(rows, table.columns, JSON, ops=np.array(ops, np.uint8))))
    assert [row["__op"] for row in found] == [str(op) for op in ops]
    assert all(list(row) == [*rows.column_names, "__op"] for row in found)


def test_many_rows_are_one_array_in_pieces_of_bounded_size() -> None:
    number = 2 * PIECE_ROWS + 5
    rows = pa.table({"id": np.arange(number), "s": pa.array(['a"', None] * (number // 2) + ["x"])})
    pieces = encode(rows, [None, None], JSON, ops=(np.arange(number) % 2).astype(np.uint8))
    assert max(len(piece) for piece in pieces) < 60 * PIECE_ROWS
    found = json.loads(b"".join(pieces))
    assert [row["id"] for row in found] == list(range(number))
    assert [row["__op"] for row in found] == [at % 2 for at in range(number)]


def test_long_texts_make_smaller_pieces() -> None:
    rows = pa.table({"s": ["x" * 1_000_000] * 100})
    assert max(len(piece) for piece in encode(rows, [None], JSON)) < 20_000_000


def test_no_rows_are_an_empty_array() -> None:
    assert b"".join(encode(pa.table({"v": pa.array([], pa.string())}), [None], JSON)) == b"[]"


@pytest.mark.parametrize(
    ("value", "kind", "target", "text"),
    [
        (-0.0, pa.float64(), "double", "-0.0"),
        (5e-324, pa.float64(), "double", "5e-324"),
        (1.7976931348623157e308, pa.float64(), "double", "1.7976931348623157e+308"),
        (0.1, pa.float64(), "double", "0.1"),
        # As the double it equals: StarRocks makes a double of the text and a float of that.
        (0.1, pa.float32(), "float", "0.10000000149011612"),
        (2**63 - 1, pa.int64(), "bigint", str(2**63 - 1)),
        (2**64 - 1, pa.uint64(), "largeint", f'"{2**64 - 1}"'),
        (Decimal("1E-30"), pa.decimal256(65, 30), "varchar(67)", '"0.' + "0" * 29 + '1"'),
        (Decimal("-0.10"), pa.decimal128(38, 2), "decimal(38,2)", '"-0.10"'),
        (True, pa.bool_(), "boolean", "1"),
        (dt.date(1, 1, 1), pa.date32(), "date", '"0001-01-01"'),
        (dt.date(2024, 6, 15), pa.date32(), "datetime", '"2024-06-15 00:00:00"'),
        # The vendor's connector leaves the seconds out of this one.
        (dt.datetime(2024, 6, 15, 7, 53), pa.timestamp("us"), "datetime", '"2024-06-15 07:53:00"'),
        # As text it must not depend on the other values of its piece.
        (dt.datetime(2024, 6, 15, 7, 53), pa.timestamp("us"), "varchar(26)", '"2024-06-15 07:53:00.000000"'),
        (dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), pa.timestamp("us"), "datetime", '"9999-12-31 23:59:59.999999"'),
        (-(838 * 3600 + 59 * 60 + 59) * 1_000_000, pa.duration("us"), "varchar(32)", '"-838:59:59"'),
        (1_500_000, pa.duration("us"), "varchar(32)", '"00:00:01.500000"'),
        (b"\x00\xff", pa.binary(), "varbinary", '"00FF"'),
        (b"", pa.binary(), "varbinary", '""'),
        ('{"a": 1.10}', pa.string(), "json", '{"a": 1.10}'),
        ('{"a": 1}', pa.string(), "varchar(20)", '"{\\"a\\": 1}"'),
        ("[1, 2]", pa.string(), "array<int>", "[1, 2]"),
        ("\x00\x1f\x7f\u2028\n", pa.string(), "varchar(20)", '"\\u0000\\u001f\x7f\u2028\\n"'),
        (None, pa.string(), "json", "null"),
        # Tables that users bring
        ("x", pa.large_string(), None, '"x"'),
        ("x", pa.dictionary(pa.int8(), pa.string()), None, '"x"'),
        (dt.time(1, 2, 3), pa.time32("s"), None, '"01:02:03"'),
        ([1, None], pa.list_(pa.int8()), "array<tinyint>", "[1,null]"),
        (
            [[(dt.date(2024, 1, 2), [b"\xff"])]],
            pa.list_(pa.map_(pa.date32(), pa.list_(pa.binary()))),
            None,
            '[{"2024-01-02":["FF"]}]',
        ),
        ([("a", 1)], pa.map_(pa.string(), pa.int8()), "map<varchar(5),tinyint>", '{"a":1}'),
        (
            {"a": "ü", "b": dt.date(2024, 1, 2)},
            pa.struct({"a": pa.string(), "b": pa.date32()}),
            "json",
            '{"a":"\\u00fc","b":"2024-01-02"}',
        ),
        (None, pa.null(), None, "null"),
    ],
)
def test_the_text_of(value: Any, kind: pa.DataType, target: str | None, text: str) -> None:
    assert one(value, kind, target) == text


def test_the_text_of_a_time_does_not_depend_on_its_neighbours() -> None:
    rows = pa.table({"v": pa.array([1_000_000, 1], pa.duration("us"))})
    assert b"".join(encode(rows, [CatalogColumn("v", "varchar(32)")], JSON)) == b'[{"v":"00:00:01"},{"v":"00:00:00.000001"}]'


def test_a_list_with_what_json_lacks_is_refused() -> None:
    with pytest.raises(RowRefused, match="NaN or an infinity"):
        one([float("nan")], pa.list_(pa.float64()))


def test_an_instant_is_written_in_the_time_zone() -> None:
    at = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
    kind = pa.timestamp("us", tz="UTC")
    assert one(at, kind, "datetime") == '"2024-07-01 12:00:00"'
    assert one(at, kind, "datetime", time_zone="Europe/Berlin") == '"2024-07-01 14:00:00"'
    assert one(at.replace(tzinfo=None), pa.timestamp("us"), "datetime", time_zone="Europe/Berlin") == '"2024-07-01 12:00:00"'


def test_a_null_that_hides_bytes_is_null() -> None:
    hiding = pa.Array.from_buffers(
        pa.string(), 2, [pa.py_buffer(b"\x02"), pa.py_buffer(np.array([0, 2, 3], np.int32)), pa.py_buffer(b'"\\x')]
    )
    assert b"".join(encode(pa.table({"v": hiding}), [None], JSON)) == b'[{"v":null},{"v":"x"}]'
