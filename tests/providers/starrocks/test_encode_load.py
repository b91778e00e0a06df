"""Every type with its extremes, into StarRocks and out of it."""

from __future__ import annotations

import datetime as dt
import json
import struct
from contextlib import closing
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.servers import StarrocksServer
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.providers.starrocks.check import refused
from tidegate.providers.starrocks.column_list import as_fields
from tidegate.providers.starrocks.connection import SYSTEM
from tidegate.providers.starrocks.encode import encode
from tidegate.providers.starrocks.format import Format
from tidegate.providers.starrocks.headers import load_headers
from tidegate.providers.starrocks.http import Http
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.session import Session
from tidegate.providers.starrocks.streamload import StreamLoad
from tidegate.providers.starrocks.types import ddl_type, misfit

SMALLEST, LARGEST = 5e-324, 1.7976931348623157e308
TEXTS = [
    *["", " ", "x", "NULL", "null", "a\tb", "a\nb", "\r\n", '"', '""', '"a\tb', 'x"', "\\", "\\n", "\\\\N", "\x01\x02\x1f\x7f"],
    *["\u2028\u2029", "漢字🐘é", "'", "[1]", "{}", "||", "0", "-"],
]
VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "flag": (pa.bool_(), [True, False]),
    "i8": (pa.int8(), [-128, 127]),
    "i16": (pa.int16(), [-(2**15), 2**15 - 1]),
    "i32": (pa.int32(), [-(2**31), 2**31 - 1]),
    "i64": (pa.int64(), [-(2**63), 2**63 - 1, 0]),
    "u8": (pa.uint8(), [0, 255]),
    "u32": (pa.uint32(), [0, 2**32 - 1]),
    "u64": (pa.uint64(), [0, 2**63, 2**64 - 1]),
    "f32": (pa.float32(), [0.1, 3.4028234663852886e38, -1.401298464324817e-45, 16777216.0]),
    "f64": (pa.float64(), [0.1, LARGEST, -LARGEST, SMALLEST, -0.0, 1 / 3, 1e22, 123456789012345680.0, 2.0**53]),
    "d12": (pa.decimal128(12, 2), [Decimal("9999999999.99"), Decimal("-0.01"), Decimal("0.00")]),
    "d38": (pa.decimal128(38, 20), [Decimal("1E-20"), Decimal("9" * 18 + "." + "9" * 20), Decimal("-1E-19")]),
    "d65": (pa.decimal256(65, 30), [Decimal("1E-30"), Decimal("-" + "9" * 35 + "." + "9" * 30)]),
    "day": (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1582, 10, 10), dt.date(2024, 2, 29)]),
    "at": (pa.timestamp("us"), [dt.datetime(1, 1, 1), dt.datetime.max, dt.datetime(2024, 6, 15, 7, 53)]),
    "instant": (pa.timestamp("us", tz="UTC"), [dt.datetime(2038, 1, 19, 3, 14, 7, 999_999, dt.UTC)]),
    "took": (pa.duration("us"), [-(838 * 3600 + 59 * 60 + 59) * 1_000_000, 1, 0]),
    "text": (pa.string(), TEXTS),
    "doc": (pa.string(), ['{"a": [1, {"b": null}], "ü": "\\u00e9\\n\\""}', "[]", "1", '"x"', "true", "null", "-0.5", " { } "]),
    "raw": (pa.binary(), [b"", b'\0\xff\n\t"\\', bytes(range(256))]),
}


def rows_and_schema() -> tuple[pa.Table, TableSchema]:
    number = max(len(values) for _, values in VALUES.values()) + 1
    columns = {"id": pa.array(range(number), pa.int32())}
    for name, (kind, values) in VALUES.items():
        columns[name] = pa.array([*values, *[None] * (number - len(values))], kind)
    rows = pa.table(columns)
    marks = {"doc": {"json": "1"}}
    fields = [Column(name, rows.schema.field(name).type, True, marks.get(name, {})) for name in rows.column_names]
    return rows, TableSchema(TableName("", "every"), tuple(fields), ("id",))


@pytest.mark.parametrize("ops", [False, True])
@pytest.mark.parametrize("format", [Format(), Format.of("csv", enclose='"', escape="\\"), Format.of("csv", "||", "$$", "'", "#")])
def test_every_type_goes_in_and_out(starrocks_database: StarrocksServer, format: Format, ops: bool) -> None:
    values = SYSTEM.values(starrocks_database.values(), "test")
    rows, schema = rows_and_schema()
    declared = ", ".join(f"`{column.name}` {ddl_type(column, key=column.name == 'id')}" for column in schema.columns)
    starrocks_database.execute(f"CREATE TABLE every ({declared}) PRIMARY KEY (id) DISTRIBUTED BY HASH (id)")
    with closing(Session(values, "test")) as session:
        metadata = Metadata(session)
        name = metadata.full(TableName("", "every"))
        table = metadata.table(name)
        assert table is not None
        there = [table.column(column.name) for column in schema.columns]
        assert [misfit(source, target) for source, target in zip(schema.columns, there, strict=True) if target] == [None] * len(
            there
        )
        assert refused(rows, table, format) == []
        fields = as_fields(rows, there, format.kind)
        listed = [*(f"`{field}`" for field in fields.rows.column_names), *(["__op"] if ops else []), *fields.made]
        headers = load_headers(values, format.kind, ",".join(listed), array=True)
        if format.kind == "csv":
            headers |= {
                "column_separator": "\\x" + format.column_separator.hex(),
                "row_delimiter": "\\x" + format.row_delimiter.hex(),
            }
            headers |= {"enclose": format.enclose.decode(), "escape": format.escape.decode()}
        body = encode(fields.rows, fields.there, format, ops=np.zeros(rows.num_rows, np.uint8) if ops else None)
        reply = StreamLoad(Http(values, "test"), values, "test").load("every", name, headers, body)
        assert (reply.loaded_rows, reply.filtered_rows) == (rows.num_rows, 0)
    found = starrocks_database.query("SELECT * FROM every ORDER BY id")
    for at, column in enumerate(schema.columns):
        back, sent = [row[at] for row in found], rows[column.name].to_pylist()
        assert [_same(value, column) for value in back] == [_same(value, column) for value in sent], column.name


def _same(value: Any, column: Column) -> Any:
    """As both sides can be compared: JSON by its meaning, floats by their bits, what became text as text."""
    if value is None:
        return None
    if column.attributes.get("json"):
        return ["JSON", json.loads(value)]  # its null is not NULL
    if pa.types.is_integer(column.type):
        return int(value)
    if pa.types.is_floating(column.type):
        return struct.pack("f" if column.type == pa.float32() else "d", value)
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    if pa.types.is_decimal(column.type):
        return Decimal(value)
    if isinstance(value, dt.timedelta):
        whole = abs(value)
        hours, rest = divmod(whole.days * 86_400 + whole.seconds, 3600)
        clock = f"{'-' if value < dt.timedelta(0) else ''}{hours:02}:{rest // 60:02}:{rest % 60:02}"
        return clock + (f".{whole.microseconds:06}" if whole.microseconds else "")
    return value
