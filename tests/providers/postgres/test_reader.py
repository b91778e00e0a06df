"""Reading back: the canonical values that were written."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from tests.providers.postgres.conftest import Box, inserts, schema_of
from tests.providers.postgres.test_encode import ODD
from tests.providers.postgres.test_load import FIRST, SCHEMA
from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError, PreflightError, SchemaError

pytestmark = pytest.mark.postgres
TABLE = TableName("ods", "t")


def read(box: Box, columns: list[str] | None = None) -> pa.Table:
    return pa.Table.from_batches(list(box.sink.read(TABLE, columns))).sort_by("id")


def test_what_was_written_is_read_in_canonical_types(box: Box) -> None:
    utc = dt.UTC
    table = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int64()),
            "i16": pa.array([-32768, None, 1], pa.int16()),
            "i32": pa.array([2**31 - 1, None, 0], pa.int32()),
            "f4": pa.array([0.1, None, -0.0], pa.float32()),
            "f8": pa.array([0.1, None, 5e-324], pa.float64()),
            "d": pa.array([Decimal("1.10"), None, Decimal("-9999999999.99")], pa.decimal128(12, 2)),
            "e": pa.array([Decimal("9" * 35 + ".5"), None, Decimal("1e-30")], pa.decimal256(65, 30)),
            "b": pa.array([True, None, False]),
            "day": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
            "t": pa.array([dt.datetime(1, 1, 1), None, dt.datetime(9999, 12, 31, 23, 59, 59, 999999)], pa.timestamp("us")),
            "z": pa.array(
                [dt.datetime(1969, 1, 1, tzinfo=utc), None, dt.datetime(2038, 1, 1, 0, 0, 0, 5, utc)], pa.timestamp("us", "UTC")
            ),
            "l": pa.array([dt.timedelta(hours=-838, microseconds=-1), None, dt.timedelta(0)], pa.duration("us")),
            "s": pa.array(["", None, "NULL"]),
            "x": pa.array([b"", None, bytes(range(256))], pa.binary()),
        }
    )
    box.write(box.target(schema_of(table, "id")), inserts(table, "id"))
    found = read(box)
    assert found.schema.types == table.schema.types
    assert [str(row) for row in found.to_pylist()] == [str(row) for row in table.to_pylist()]


def test_odd_texts_are_read_as_they_are(box: Box) -> None:
    table = pa.table({"id": range(len(ODD)), "s": ODD})
    box.write(box.target(schema_of(table, "id")), inserts(table, "id"))
    assert read(box, ["s", "id"])["s"].to_pylist() == ODD


def test_types_without_canonical_form_are_read_as_text(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TYPE mood AS ENUM ('ok')")
    box.execute("CREATE TABLE ods.t (id int, u uuid, m mood, a int[], n numeric, j jsonb, c char(3), o time(0), net inet)")
    box.execute(
        "INSERT INTO ods.t VALUES (1, '00000000-0000-0000-0000-000000000001', 'ok', '{1,2}', 1.50, '{\"a\": 1}', 'x', "
        "'23:59:59', '::1')"
    )
    found = read(box)
    assert found.to_pylist() == [
        {
            "id": 1,
            "u": "00000000-0000-0000-0000-000000000001",
            "m": "ok",
            "a": "{1,2}",
            "n": "1.50",
            "j": '{"a": 1}',
            "c": "x",
            "o": dt.timedelta(hours=23, minutes=59, seconds=59),
            "net": "::1",
        }
    ]
    assert found.schema.field("j").metadata == {b"json": b"1"}


def test_an_empty_table_is_one_empty_batch_of_its_types(box: Box) -> None:
    box.prepare(box.target(SCHEMA))
    found = read(box)
    assert (found.num_rows, found.schema.types) == (0, [pa.int64(), pa.string()])


def test_a_big_table_comes_in_pieces_and_may_be_left_in_the_middle(box: Box) -> None:
    table = pa.table({"id": range(60_000), "s": ["x" * 200] * 60_000})
    box.write(box.target(schema_of(table, "id")), inserts(table, "id"), copy="fresh")
    pieces = box.sink.read(TABLE)
    assert 0 < next(pieces).num_rows < 60_000
    pieces.close()  # type: ignore[attr-defined]
    assert sum(batch.num_rows for batch in box.sink.read(TABLE)) == 60_000


def test_what_is_not_there_or_not_allowed_is_said(box: Box) -> None:
    with pytest.raises(SchemaError, match=r"table ods\.t: there is no such table"):
        read(box)
    box.write(box.target(SCHEMA), inserts(FIRST, "id"))
    with pytest.raises(SchemaError, match="no column nope"):
        read(box, ["nope"])
    box.execute("CREATE ROLE blind LOGIN; GRANT USAGE ON SCHEMA ods TO blind")
    sink = box.open(login="blind")
    with pytest.raises(PreflightError, match="permission denied"):
        list(sink.read(TABLE))
    sink.close()
    box.execute("DROP OWNED BY blind", "DROP ROLE blind")


def test_a_value_without_canonical_form_is_an_error_that_names_the_column(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id int, t timestamp); INSERT INTO ods.t VALUES (1, 'infinity')")
    with pytest.raises(PermanentError, match="column t holds a value without canonical form"):
        read(box)


def test_a_row_longer_than_a_block_is_read(box: Box) -> None:
    table = pa.table({"id": [1, 2], "s": ["x" * 6_000_000, "line\n" * 1_000_000]})
    box.write(box.target(schema_of(table, "id")), inserts(table, "id"))
    found = read(box)["s"].to_pylist()
    assert found == table["s"].to_pylist()
