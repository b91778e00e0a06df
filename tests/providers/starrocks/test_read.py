"""Reading a table over the query port, in canonical types."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.starrocks.conftest import FIRST, SCHEMA, Box, inserts, people, schema_of
from tidegate.changes.schema import TableName
from tidegate.errors import SchemaError

T = TableName("", "t")
EVERY: dict[str, tuple[pa.DataType, Any]] = {
    "id": (pa.uint64(), 2**64 - 1),
    "flag": (pa.bool_(), True),
    "i8": (pa.int8(), -128),
    "i16": (pa.int16(), -(2**15)),
    "i32": (pa.int32(), -(2**31)),
    "i64": (pa.int64(), -(2**63)),
    "f4": (pa.float32(), 0.5),
    "f8": (pa.float64(), -1e300),
    "d": (pa.decimal128(20, 2), Decimal("-1234567890.10")),
    "day": (pa.date32(), date(1, 1, 1)),
    "wall": (pa.timestamp("us"), datetime(9999, 12, 31, 23, 59, 59, 999999)),
    "text": (pa.string(), "it's\t\\ ü %s"),
    "raw": (pa.binary(), b"\x00\xff\\'"),
}


@pytest.mark.parametrize("format", ["json", "csv"])
def test_every_type_comes_back_as_it_was_written(box: Box, format: str) -> None:
    box.reopen(format=format)
    values = {name: value for name, (_, value) in EVERY.items()}
    if format == "csv":
        values["text"] = "it's\\ ü %s"
    schema = pa.schema([(name, kind) for name, (kind, _) in EVERY.items()])
    written = pa.Table.from_pylist([values, {"id": 1}], schema=schema)
    box.write(box.target(schema_of(written, "id")), inserts(written, "id"))
    found = sorted(pa.Table.from_batches(box.sink.read(T)).to_pylist(), key=lambda row: int(row["id"]))
    assert [{name: row[name] for name in EVERY} for row in found] == [dict.fromkeys(EVERY) | {"id": 1}, values]
    described = box.sink.describe(T)
    assert described is not None
    assert described.key == ("id",)
    types = {column.name: column.type for column in described.columns}
    assert types | {"id": pa.uint64()} == {name: kind for name, (kind, _) in EVERY.items()}


def test_an_empty_table_has_its_columns_and_a_missing_one_is_said(box: Box) -> None:
    box.prepare(box.target(SCHEMA))
    assert sum(batch.num_rows for batch in box.sink.read(T)) == 0
    assert box.verbs().read("t", ["name"]).schema == pa.schema([("name", pa.string())])
    for columns, table in ((["colour"], T), (None, TableName("", "nowhere"))):
        with pytest.raises(SchemaError):
            list(box.sink.read(table, columns))


def test_a_reader_may_stop_early_and_the_sink_goes_on(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.providers.starrocks.reader.ROWS_AT_ONCE", 10)
    box.write(box.target(SCHEMA), inserts(people(*((number, "x") for number in range(1000))), "id"))
    pieces = box.sink.read(T)
    assert next(iter(pieces)).num_rows == 10
    box.write(box.target(SCHEMA), inserts(FIRST, "id"))
    del pieces
    assert sum(batch.num_rows for batch in box.sink.read(T, ["id"])) == 1000
