"""Whatever goes into a stream comes out of it: the same rows, in the same order, with the same types."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.changefiles.streams import OPTIONS, binlog, open_sink, open_source
from tests.scale import examples
from tidegate.changes.batch import FILE, KIND, OFFSET, PRESENT, ROW, TIME, ChangeBatch, RowKind
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.providers.changefiles import datafile
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Entry, Limits, Window

TEXT = st.text(max_size=12) | st.sampled_from(["", "\\N", "\t\n\r\\\"'", "🐟 naïve", "NULL", "a\u0000b"])


def _decimal(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    def exact(value: int) -> Decimal:
        return Decimal((int(value < 0), tuple(map(int, str(abs(value)))), -scale))

    return st.integers(-(10**precision) + 1, 10**precision - 1).map(exact)


def _datetimes(zone: bool) -> st.SearchStrategy[datetime]:
    naive = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))
    return naive.map(lambda value: value.replace(tzinfo=UTC)) if zone else naive


TYPES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.uint16(): st.integers(0, 2**16 - 1),
    pa.uint32(): st.integers(0, 2**32 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.date32(): st.dates(date(1, 1, 1), date(9999, 12, 31)),
    pa.timestamp("us"): _datetimes(False),
    pa.timestamp("us", tz="UTC"): _datetimes(True),
    pa.duration("us"): st.timedeltas(timedelta(hours=-839), timedelta(hours=839)),
    pa.string(): TEXT,
    pa.binary(): st.binary(max_size=12),
    pa.decimal128(20, 4): _decimal(20, 4),
    pa.decimal256(65, 30): _decimal(65, 30),
}


@st.composite
def schemas(draw: st.DrawFn, name: str) -> TableSchema:
    kinds = draw(st.lists(st.sampled_from(sorted(TYPES, key=str)), min_size=1, max_size=5))
    columns = [Column("id", pa.int64(), False)]
    columns += [Column(f"c{number}", kind, draw(st.booleans())) for number, kind in enumerate(kinds)]
    return TableSchema(TableName("shop", name), tuple(columns), ("id",))


@st.composite
def batches(draw: st.DrawFn, schema: TableSchema) -> ChangeBatch:
    changes = draw(st.lists(st.sampled_from([(0,), (1, 2), (3,)]), min_size=1, max_size=8))
    kinds = [kind for change in changes for kind in change]

    def values(kind: pa.DataType, content: st.SearchStrategy[Any]) -> pa.Array:
        return pa.array(draw(st.lists(content, min_size=len(kinds), max_size=len(kinds))), kind)

    columns = [values(column.type, TYPES[column.type] | st.none()) for column in schema.columns[1:]]
    data = pa.table([values(pa.int64(), st.integers(0, 9)), *columns], names=list(schema.names))
    # A column of a binlog's minimal image is there for all rows or, by its flags, for some.
    present = {name: values(pa.bool_(), st.booleans()) for name in schema.names[1:] if draw(st.integers(0, 4)) == 0}
    hidden = {}
    if draw(st.booleans()):
        hidden = {
            "file": pa.array(["binlog.000001"] * len(kinds)),
            "offset": values(pa.uint64(), st.integers(0, 2**64 - 1)),
            "row": values(pa.uint32(), st.integers(0, 2**32 - 1)),
            "time": values(pa.timestamp("us", tz="UTC"), _datetimes(True) | st.none()),
        }
    return ChangeBatch.of(schema, data, pa.array(kinds, pa.uint8()), present=present, **hidden)


@st.composite
def logs(draw: st.DrawFn) -> list[list[ChangeBatch]]:
    """Segments of batches of two tables, of which one changes its schema on the way."""
    first, second, other = draw(schemas("orders")), draw(schemas("orders")), draw(schemas("items"))
    segments = []
    for number in range(draw(st.integers(1, 4))):
        orders = first if number < 2 else second
        segments.append(draw(st.lists(st.sampled_from([orders, other]).flatmap(batches), max_size=4)))
    return segments


HIDDEN_COLUMNS = (KIND, FILE, OFFSET, ROW, TIME)


def _flat(items: Sequence[ChangeBatch], table: TableName) -> list[dict[str, Any]]:
    """The rows of a table and their schemas; a flag that a batch doesn't have is True, an origin that it doesn't have None."""
    rows = []
    for item in items:
        if item.schema.table == table:
            flags = {PRESENT + name: True for name in item.schema.names}
            for row in item.data.to_pylist():
                rows.append(dict.fromkeys(HIDDEN_COLUMNS) | flags | row | {"schema": item.schema})
    return rows


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    log=logs(),
    rows=st.integers(1, 20),
    size=st.sampled_from([1, 200, 10**6]),
    # A row group of each batch or of all, and a file of each row group or of all: a log of a few rows is cut as a large one is.
    row_group=st.sampled_from([1, 10**6]),
    file=st.sampled_from([1, 10**6]),
)
def test_any_batches_come_back_as_they_went_in_whatever_the_chunk_size(
    log: list[list[ChangeBatch]], rows: int, size: int, row_group: int, file: int
) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    sink = open_sink(url)
    tables = sorted({item.schema.table for segment in log for item in segment})
    lease = sink.ledger.acquire("capture", "me", 60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datafile, "ROW_GROUP_BYTES", row_group)
        patch.setattr(datafile, "FILE_BYTES", file)
        for number, segment in enumerate(log):
            targets = {item.schema.table: Target(item.schema.table, item.schema, OPTIONS) for item in segment}
            load = sink.begin(list(targets.values()), lease)
            for item in segment:
                load.write(targets[item.schema.table], item)
            load.commit([Entry("capture", table, table, binlog(number)) for table in targets])
    if not tables:
        return
    source = open_source(url)
    chunks = list(source.read(Window(source.start(tables, consistent=False), source.head()), Limits(rows, size)))

    sent = [item for segment in log for item in segment]
    received = [item for chunk in chunks for item in chunk.batches]
    for table in tables:
        # repr: 0.0 and -0.0 are equal and must not be mixed up.
        assert repr(_flat(received, table)) == repr(_flat(sent, table))
    for item in received:
        assert item.kinds[0] != RowKind.UPDATE_AFTER
        assert item.kinds[-1] != RowKind.UPDATE_BEFORE
    for chunk in chunks:
        assert chunk.num_rows <= max(rows, 2)
    assert chunks[-1].end == source.head()
    again = list(source.read(Window(source.start(tables, consistent=False), source.head()), Limits(rows, size)))
    assert [[item.data for item in chunk.batches] for chunk in again] == [[item.data for item in chunk.batches] for chunk in chunks]
    assert [chunk.end for chunk in again] == [chunk.end for chunk in chunks]
