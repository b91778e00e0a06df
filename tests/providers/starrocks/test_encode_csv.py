"""What goes as CSV is what StarRocks' reader makes of it; what it would read as something else is refused."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.providers.starrocks.wire import csv_rows, expected, read, tables
from tests.scale import examples
from tidegate.errors import ConfigError
from tidegate.providers.starrocks.catalog import CatalogTable
from tidegate.providers.starrocks.check import refused
from tidegate.providers.starrocks.encode import PIECE_ROWS, encode
from tidegate.providers.starrocks.format import Format

FORMATS = [
    Format.of("csv", column, row, enclose, escape)
    for column, row in (
        ("\\t", "\\n"),
        (",", "\\r\\n"),
        ("\\x01", "\\x02"),
        ("0x0102", "$$"),
        ("||", "\\n"),
        ("$|$", "$\\n"),
        ("<sep>", "1\\n"),
        ("-", "N"),
        ("ü", "é"),
    )
    for enclose, escape in (("", ""), ('"', ""), ('"', "\\"), ("'", "|" if "|" not in column else "#"))
    if enclose or row != "N"
]


@settings(max_examples=examples(200))
@given(tables(), st.sampled_from(FORMATS), st.booleans())
def test_every_row_that_isnt_refused_comes_back(made: tuple[pa.Table, CatalogTable], format: Format, with_ops: bool) -> None:
    rows, table = made
    bad = np.zeros(rows.num_rows, np.bool_)
    for refusal in refused(rows, table, format):
        bad |= refusal.mask
    rows = rows.filter(pa.array(~bad))
    ops = (np.arange(rows.num_rows) % 2).astype(np.uint8) if with_ops else None
    found = csv_rows(b"".join(encode(rows, table.columns, format, ops=ops)), format)
    assert len(found) == rows.num_rows
    assert {len(row) for row in found} <= {rows.num_columns + with_ops}
    for at, column in enumerate(rows.columns):
        values = [read(row[at], column.type) for row in found]
        if pa.types.is_floating(column.type):
            assert [value and struct.pack("d", value) for value in values] == [
                value and struct.pack("d", value) for value in expected(column)
            ]
        else:
            assert values == expected(column)
    if ops is not None:
        assert [row[-1] for row in found] == [str(op) for op in ops]


def body(values: list[str | None], *format: str, **more: str) -> bytes:
    rows = pa.table({"a": pa.array(values, pa.string()), "b": pa.array([1] * len(values), pa.int8())})
    return b"".join(encode(rows, [None, None], Format.of("csv", *format, **more)))


def test_null_is_not_the_empty_string() -> None:
    assert body([None, "", "x"]) == b"\\N\t1\n\t1\nx\t1\n"


def test_null_is_escaped_where_the_backslash_escapes() -> None:
    """StarRocks drops an escape character outside of quotes: a bare one would leave N."""
    assert body([None], enclose='"', escape="\\") == b'"\\\\N"\t1\n'


def test_only_values_that_need_it_are_enclosed() -> None:
    assert body(["a b", "a\tb", 'a"b', "a\\b"], enclose='"', escape="\\") == b'a b\t1\n"a\tb"\t1\n"a\\"b"\t1\n"a\\\\b"\t1\n'
    assert body(['a"b'], enclose='"') == b'"a""b"\t1\n'


@pytest.mark.parametrize("empty", [pa.array([""]), pa.array([b""])])
def test_an_only_column_is_never_an_empty_line(empty: pa.Array) -> None:
    assert b"".join(encode(pa.table({"v": empty}), [None], Format.of("csv", enclose='"'))) == b'""\n'


def test_floats_have_an_exponent() -> None:
    for values, text in (([0.1, 1e300, None, -0.0], b"0.1e0\n1e+300\n\\N\n-0.0e0\n"), ([0.1, 2.0], b"0.1e0\n2e0\n")):
        assert b"".join(encode(pa.table({"v": values}), [None], Format.of("csv"))) == text


@pytest.mark.parametrize(
    ("text", "value"), [("\\x01", b"\1"), ("0x01", b"\1"), ("\\x0102", b"\1\2"), ("0x010x02", b"\1\2"), ("\\t", b"\t")]
)
def test_delimiters_are_read_as_the_vendors_are(text: str, value: bytes) -> None:
    assert Format.of("csv", text, "\\n").column_separator == value


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("", "\\n"), "has 0 bytes"),
        (("x" * 51, "\\n"), "has 51 bytes"),
        (("\\xff", "\\n"), "isn't UTF-8"),
        (("\\n", "\\n"), "contains the other"),
        (("|", "||"), "contains the other"),
        ((",", "\\n", ","), "part of a delimiter"),
        ((",", "\\n", '""'), "one ASCII character"),
        ((",", "\\n", "", "\\"), "set enclose"),
        ((",", "N"), "the sign of NULL"),
        ((",", "\\n", '"', '"'), "another character"),
    ],
)
def test_a_format_that_cant_be_read_is_refused(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Format.of("csv", *arguments)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="json or csv"):
        Format.of("avro")


def test_pieces_are_whole_rows() -> None:
    rows = pa.table({"id": np.arange(2 * PIECE_ROWS + 1)})
    pieces = encode(rows, [None], Format.of("csv"))
    assert len(pieces) == 3
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert b"".join(pieces).split() == [str(at).encode() for at in range(rows.num_rows)]
