"""Row images in the decoder's core: every one is found, ends where it should, and gives its values."""

from __future__ import annotations

import decimal
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.mysql.binlog.test_json_binary import packed_decimal
from tidegate.providers.mysql.binlog.decimals import decimal_array, decimal_reader
from tidegate.providers.mysql.binlog.gather import Bytes, Cells
from tidegate.providers.mysql.binlog.images import BadValue, BrokenRow, Shape, decode_rows, find_rows
from tidegate.providers.mysql.binlog.values import Field

INT = Field(4, 0, lambda cells: cells.array(cells.values("<i4")))
FIELDS = {width: Field(0, width, Cells.slices) for width in (1, 2, 3, 4)}
Row = Sequence[int | bytes | None]


def image(prefixes: Sequence[int], row: Row, *, unused: int = 0) -> bytes:
    """A row of integers (a prefix of 0) and bytes, as the server writes it. ``unused`` sets the bitmap's bits without column."""
    bits = sum(1 << i for i, value in enumerate(row) if value is None)
    size = (len(row) + 7) // 8
    if unused:
        bits |= (1 << (8 * size)) - (1 << len(row))
    found = bits.to_bytes(size, "little")
    for prefix, value in zip(prefixes, row, strict=True):
        if isinstance(value, int):
            found += struct.pack("<i", value)
        elif value is not None:
            found += len(value).to_bytes(prefix, "little") + value
    return found


def shape(prefixes: Sequence[int]) -> Shape:
    return Shape([FIELDS.get(prefix, INT) for prefix in prefixes])


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], list[list[Row]]]:
    """The columns' prefixes, and rows by event."""
    prefixes = draw(st.lists(st.sampled_from((0, 0, 1, 2, 3, 4)), min_size=1, max_size=20))
    value = {0: st.integers(-(2**31), 2**31 - 1)} | dict.fromkeys((1, 2, 3, 4), st.binary(max_size=30))
    row = st.tuples(*[st.none() | value[prefix] for prefix in prefixes])
    return prefixes, draw(st.lists(st.lists(row, min_size=1, max_size=4), min_size=1, max_size=6))


@given(tables(), st.integers(0, 1))
def test_rows_of_many_events_come_back_as_columns(table: tuple[list[int], list[list[Row]]], unused: int) -> None:
    prefixes, events = table
    found, data, starts = shape(prefixes), bytearray(), list[int]()
    for rows in events:
        begin = len(data)
        data += b"".join(image(prefixes, row, unused=unused) for row in rows)
        assert find_rows(found, data, begin, starts) == len(rows)
    arrays = decode_rows(found, range(len(prefixes)), data, starts)
    assert [tuple(row) for row in zip(*(array.to_pylist() for array in arrays), strict=True)] == [
        r for rows in events for r in rows
    ]


@given(tables(), st.data())
def test_a_row_that_does_not_end_with_its_event_is_never_taken_for_one(
    table: tuple[list[int], list[list[Row]]], data: st.DataObject
) -> None:
    prefixes, events = table
    whole = b"".join(image(prefixes, row) for row in events[0])
    ends = set[int]()
    for row in events[0]:
        ends.add(max(ends, default=0) + len(image(prefixes, row)))
    cut = data.draw(st.integers(1, len(whole) - 1)) if len(whole) > 1 else 0
    if cut and cut not in ends:
        with pytest.raises(BrokenRow):
            find_rows(shape(prefixes), whole[:cut], 0, [])


@given(st.binary(max_size=200), st.lists(st.sampled_from((0, 1, 2, 3, 4)), min_size=1, max_size=20))
def test_any_bytes_are_rows_or_refused(data: bytes, prefixes: list[int]) -> None:
    found, starts = shape(prefixes), list[int]()
    try:
        count = find_rows(found, data, 0, starts)
    except BrokenRow:
        return
    arrays = decode_rows(found, range(len(prefixes)), bytearray(data), starts)
    assert {len(array) for array in arrays} == {count}


def test_columns_without_a_place_are_passed_over() -> None:
    prefixes = [0, 1, 0]
    data, starts = bytearray(image(prefixes, (1, b"hidden", 3))), list[int]()
    find_rows(shape(prefixes), data, 0, starts)
    assert [array.to_pylist() for array in decode_rows(shape(prefixes), (1, None, 0), data, starts)] == [[3], [1]]


def test_a_value_that_can_not_be_decoded_names_its_column() -> None:
    def refuse(cells: Cells) -> Any:
        raise pa.ArrowInvalid("no")

    found, starts = Shape([INT, Field(4, 0, refuse)]), list[int]()
    data = bytearray(image([0, 0], (1, 2)))
    find_rows(found, data, 0, starts)
    with pytest.raises(BadValue) as caught:
        decode_rows(found, (0, 1), data, starts)
    assert caught.value.place == 1


def test_more_patterns_of_nulls_than_are_remembered() -> None:
    prefixes = [0] * 14
    rows = [tuple(None if pattern >> i & 1 else pattern for i in range(14)) for pattern in range(1 << 14)]
    data, starts, found = bytearray(b"".join(image(prefixes, row) for row in rows)), list[int](), shape(prefixes)
    assert find_rows(found, data, 0, starts) == 1 << 14
    assert len(found.patterns) <= 4096
    arrays = decode_rows(found, range(14), data, starts)
    assert list(zip(*(array.to_pylist() for array in arrays), strict=True)) == rows


@st.composite
def decimals(draw: st.DrawFn) -> tuple[int, int, list[int | None]]:
    precision = draw(st.integers(1, 65))
    scale = draw(st.integers(0, min(precision, 30)))
    top = 10**precision - 1
    extremes = st.sampled_from((top, -top, 0, 1, -1))
    return precision, scale, draw(st.lists(st.none() | extremes | st.integers(-top, top), min_size=1, max_size=10))


@given(decimals())
def test_columns_of_decimals_agree_with_single_ones(column: tuple[int, int, list[int | None]]) -> None:
    precision, scale, unscaled = column
    kind = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    width, decode = decimal_array(precision, scale, kind)
    data, at = bytearray(b"\xaa"), []
    for number in unscaled:
        at.append(len(data))
        data += b"" if number is None else packed_decimal(number, precision, scale)
    assert len(data) == 1 + width * sum(number is not None for number in unscaled)
    packed = bytes(data)
    nulls = np.array([number is None for number in unscaled]) if None in unscaled else None
    array = decode(Cells(Bytes(data), np.array(at), np.empty(0, dtype=np.int64), nulls))
    array.validate(full=True)
    read = decimal_reader(precision, scale)
    single = [None if number is None else decimal.Decimal(read(packed, pos)[0]) for number, pos in zip(unscaled, at, strict=True)]
    assert array.to_pylist() == single
    with decimal.localcontext(prec=70):
        assert single == [None if number is None else decimal.Decimal(number).scaleb(-scale) for number in unscaled]


@pytest.mark.parametrize(("precision", "scale"), [(9, 0), (12, 2), (38, 10), (65, 30)])
def test_bytes_with_more_digits_than_a_decimal_are_refused(precision: int, scale: int) -> None:
    kind = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    width, decode = decimal_array(precision, scale, kind)
    data = bytearray(b"\xff" * width)
    with pytest.raises(ValueError, match="digits"):
        decode(Cells(Bytes(data), np.array([0]), np.empty(0, dtype=np.int64), None))
