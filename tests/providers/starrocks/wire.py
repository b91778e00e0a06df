"""What StarRocks' readers make of a body, by the rules of its source, for the tests of the encoding; and tables to encode."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tidegate.changes.schema import TableName
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.format import Format

EPOCH = dt.datetime(1970, 1, 1)


def csv_rows(body: bytes, format: Format) -> list[list[str | None]]:
    """The fields of each row; a field ``\\N`` is NULL. Blank lines are skipped, as StarRocks does."""
    rows = _enclosed(body, format) if format.enclose else _split(body, format)
    return [[None if field == b"\\N" else field.decode() for field in row] for row in rows]


def _split(body: bytes, format: Format) -> list[list[bytes]]:
    lines = body.split(format.row_delimiter)
    assert lines.pop() == b""
    return [line.split(format.column_separator) for line in lines if line]


def _enclosed(body: bytes, format: Format) -> list[list[bytes]]:
    """The state machine of ``CSVReader::more_rows``: which bytes are dropped, and when a field ends."""
    column, row, quote = format.column_separator, format.row_delimiter, format.enclose
    escape = format.escape or b"\0"
    rows: list[list[bytes]] = []
    fields: list[bytes] = []
    at = start = 0
    dropped: set[int] = set()
    enclosed = False
    state = before = "start"
    line = 0

    def field(end: int) -> bytes:
        kept = bytes(body[i] for i in range(start, end) if i not in dropped)
        return kept[:-1] if enclosed else kept

    while at < len(body):
        one = body[at : at + 1]
        if state in ("start", "ordinary", "escape"):
            if state == "escape" and one in (quote, escape):
                state, at = before, at + 1
                continue
            if state == "start":
                start = at
            delimiter = row if body.startswith(row, at) else column if body.startswith(column, at) else b""
            if delimiter and state == "escape":
                state, at = before, at + len(delimiter)
                continue
            if delimiter:
                fields.append(field(at))
                at += len(delimiter)
                if delimiter == row:
                    if at - len(row) > line:
                        rows.append(fields)
                    fields, line = [], at
                dropped, enclosed, state = set(), False, "start"
                continue
            if one == escape:
                before, state = "ordinary", "escape"
                dropped.add(at)
            elif one == quote and state == "start":
                at += 1
                start = at
                if body[at : at + 1] != quote:
                    state, enclosed = "enclose", True
                    continue
                # Two quotes: an empty field if a delimiter follows, else the field goes on outside of quotes.
                state = "ordinary"
                enclosed = body.startswith((row, column), at + 1)
            elif one == quote:
                before, state = "ordinary", "ordinary"
                dropped.add(at)
            else:
                state = "ordinary"
            at += 1
        elif state == "enclose":
            if one == quote:
                at += 1
                if body[at : at + 1] == quote:
                    dropped.add(at - 1)
                    at += 1
                else:
                    state = "ordinary"
            else:
                if one == escape:
                    before, state = "enclose", "escape"
                    dropped.add(at)
                at += 1
    assert (fields, state) == ([], "start"), "the last row has no delimiter"
    return rows


# Tables

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ODD = st.sampled_from(
    [
        "",
        "\\N",
        "\\",
        "\\\\",
        '"',
        '""',
        '"a\tb"',
        '"\t',
        "a\tb",
        "a\nb",
        "\n",
        "\r\n",
        "NULL",
        "null",
        " ",
        "\0",
        "\x01\x02",
        "|",
        "||",
        *["\u2028\u2029", "\x7f", "漢字🐘", "a$", "$", "$$", "'", "[1]", "{}", '\\"', 'x"', '"x', "\\t", "\b\f\x1f"],
    ]
)
JSON_TEXTS = ["{}", "[]", "1", "-0.5e3", '"a\\n\\"b"', "true", '{"a": [1, {"b": null}], "ü": "\\u00e9"}', " [ 1 ] ", '{"a":\n1}']


def _decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.one_of(st.sampled_from([0, 1, -1, most, -most]), st.integers(-most, most)).map(
        lambda n: Decimal((n < 0, tuple(map(int, str(abs(n)))), -scale))
    )


def _whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.one_of(st.sampled_from([low, high, 0]), st.integers(low, high))


_MICROS = _whole(-62_135_596_800_000_000, 253_402_300_799_999_999)
VALUES: dict[tuple[pa.DataType, str], st.SearchStrategy[Any]] = {
    (pa.bool_(), "boolean"): st.booleans(),
    (pa.int8(), "tinyint"): _whole(-(2**7), 2**7 - 1),
    (pa.int16(), "smallint"): _whole(-(2**15), 2**15 - 1),
    (pa.int32(), "int"): _whole(-(2**31), 2**31 - 1),
    (pa.int64(), "bigint"): _whole(-(2**63), 2**63 - 1),
    (pa.uint8(), "smallint"): _whole(0, 2**8 - 1),
    (pa.uint32(), "bigint"): _whole(0, 2**32 - 1),
    (pa.uint64(), "largeint"): _whole(0, 2**64 - 1),
    (pa.float32(), "float"): st.floats(width=32, allow_nan=False, allow_infinity=False),
    (pa.float64(), "double"): st.floats(allow_nan=False, allow_infinity=False),
    (pa.decimal128(12, 2), "decimal(12,2)"): _decimals(12, 2),
    (pa.decimal128(38, 20), "decimal(38,20)"): _decimals(38, 20),
    (pa.decimal256(65, 30), "varchar(67)"): _decimals(65, 30),
    (pa.date32(), "date"): st.dates(),
    (pa.timestamp("us"), "datetime"): _MICROS,
    (pa.timestamp("us", tz="UTC"), "datetime"): _MICROS,
    (pa.duration("us"), "varchar(32)"): _whole(-(2**63), 2**63 - 1),
    (pa.string(), "varchar(65533)"): st.one_of(_TEXT, _ODD),
    (pa.string(), "json"): st.sampled_from(JSON_TEXTS),
    (pa.binary(), "varbinary"): st.binary(max_size=6),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, CatalogTable]:
    """A few rows of a few columns of any type, in chunks, and a table for them."""
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=5))
    number = draw(st.integers(0, 6))
    cut = draw(st.integers(0, number))
    columns = []
    for kind, target in kinds:
        values = draw(st.lists(st.one_of(st.none(), VALUES[kind, target]), min_size=number, max_size=number))
        whole = pa.array(values, kind)
        columns.append(pa.chunked_array([whole.slice(0, cut), whole.slice(cut)]))
    names = [f'c"{at}' for at in range(len(kinds))]
    there = tuple(CatalogColumn(name, target) for name, (_, target) in zip(names, kinds, strict=True))
    return pa.table(columns, names=names), CatalogTable(TableName("db", "t"), "DUP_KEYS", there, (names[0],))


def shown(value: Any, kind: pa.DataType) -> Any:
    """A value as Python compares it: an instant without its zone."""
    if value is not None and pa.types.is_timestamp(kind):
        return value.replace(tzinfo=None)
    return value


def read(text: str | None, kind: pa.DataType) -> Any:
    """The value that a text stands for."""
    if text is None:
        return None
    if pa.types.is_boolean(kind):
        return {"0": False, "1": True}[text]
    if pa.types.is_integer(kind):
        return int(text)
    if pa.types.is_floating(kind):
        return float(text)
    if pa.types.is_decimal(kind):
        assert "E" not in text
        return Decimal(text)
    if pa.types.is_date(kind):
        return dt.date.fromisoformat(text)
    if pa.types.is_timestamp(kind):
        assert len(text) in (19, 26)
        return dt.datetime.fromisoformat(text)
    if pa.types.is_duration(kind):
        sign, clock = (-1, text[1:]) if text.startswith("-") else (1, text)
        hours, minutes, seconds = clock.split(":")
        whole, _, fraction = seconds.partition(".")
        micros = (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 1_000_000 + int(fraction or 0)
        return sign * micros
    if pa.types.is_binary(kind):
        return bytes.fromhex(text)
    return text


def expected(column: pa.ChunkedArray) -> list[Any]:
    """The column's values as :func:`read` gives them."""
    if pa.types.is_duration(column.type):
        column = column.cast(pa.int64())
    return [shown(value, column.type) for value in column.to_pylist()]
