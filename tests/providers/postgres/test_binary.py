"""What goes in by COPY in the binary format is what CSV of the same rows brings, or it goes as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.postgres.conftest import Box, inserts, schema_of
from tests.scale import examples
from tests.servers import PostgresServer
from tidegate.changes.schema import TableName
from tidegate.errors import RowRefused
from tidegate.providers.postgres.binary import binary_reader
from tidegate.providers.postgres.catalog import Catalog, CatalogTable
from tidegate.providers.postgres.connection import SYSTEM
from tidegate.providers.postgres.encode import CsvReader
from tidegate.providers.postgres.session import Session, connect
from tidegate.providers.postgres.types import PgColumn

pytestmark = pytest.mark.postgres

TABLE = TableName("public", "binary_test")
NAN, INFINITY = float("nan"), float("inf")
DAY = 86_400_000_000
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31."""

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.sampled_from([low, low + 1, 0, high - 1, high]) | st.integers(low, high)


def bits(size: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    return whole(-(1 << size - 1), (1 << size - 1) - 1) if signed else whole(0, (1 << size) - 1)


JSON = st.sampled_from(["{}", '{"a": [1, "é"]}', "null", '""', " [1,  2] ", '{"b":1,"a":2,"b":3}'])
SIMPLE: dict[str, tuple[pa.DataType, str, st.SearchStrategy[Any]]] = {
    "int8 in smallint": (pa.int8(), "smallint", bits(8)),
    "int16 in smallint": (pa.int16(), "smallint", bits(16)),
    "uint8 in smallint": (pa.uint8(), "smallint", bits(8, signed=False)),
    "uint16 in integer": (pa.uint16(), "integer", bits(16, signed=False)),
    "int32 in integer": (pa.int32(), "integer", bits(32)),
    "int16 in bigint": (pa.int16(), "bigint", bits(16)),
    "int64 in bigint": (pa.int64(), "bigint", bits(64)),
    "uint32 in bigint": (pa.uint32(), "bigint", bits(32, signed=False)),
    "uint64 in bigint": (pa.uint64(), "bigint", whole(0, 2**63 - 1)),
    "uint64 in numeric": (pa.uint64(), "numeric(20,0)", bits(64, signed=False)),
    "int64 in numeric": (pa.int64(), "numeric", bits(64)),
    "float in real": (pa.float32(), "real", st.floats(width=32)),
    "double": (pa.float64(), "double precision", st.floats()),
    "boolean": (pa.bool_(), "boolean", st.booleans()),
    "tinyint(1) in boolean": (pa.int8(), "boolean", st.integers(0, 1)),
    "text": (pa.string(), "text", TEXT),
    "varchar": (pa.string(), "varchar(12)", TEXT),
    "char": (pa.string(), "char(12)", TEXT),
    "json": (pa.string(), "json", JSON),
    "jsonb": (pa.string(), "jsonb", JSON),
    "bytea": (pa.binary(), "bytea", st.binary(max_size=12)),
    "date": (pa.date32(), "date", whole(FIRST_DAY, LAST_DAY)),
    "timestamp": (pa.timestamp("us"), "timestamp(6)", whole(FIRST_DAY * DAY, (LAST_DAY + 1) * DAY - 1)),
    "rounded timestamp": (pa.timestamp("us"), "timestamp(2)", whole(0, LAST_DAY * DAY)),
    "timestamptz": (pa.timestamp("us", tz="UTC"), "timestamptz(6)", whole(FIRST_DAY * DAY, (LAST_DAY + 1) * DAY - 1)),
    "interval": (pa.duration("us"), "interval", whole(-839 * DAY // 24, 839 * DAY // 24)),
    "rounded interval": (pa.duration("us"), "interval(3)", whole(-839 * DAY // 24, 839 * DAY // 24)),
    "time": (pa.duration("us"), "time", whole(0, DAY)),
}


@pytest.fixture(scope="module")
def session(postgres: PostgresServer) -> Iterator[Session]:
    found = connect(SYSTEM.values(postgres.values(database="postgres"), "warehouse"), "warehouse")
    yield found
    found.rollback()
    found.close()


def table_of(session: Session, kind: str) -> CatalogTable:
    session.run(f'CREATE TABLE binary_test (id bigint, v {kind}, "after" boolean)')
    found = Catalog().table(session, TABLE)
    assert found is not None
    return found


def same_as_csv(session: Session, kind: str, values: pa.Array | pa.ChunkedArray) -> None:
    """Rows around a value, by both ways, as the server shows them."""
    numbers = range(len(values))
    after = pa.array([number % 3 == 0 for number in numbers], pa.bool_())
    rows = pa.table({"id": pa.array(numbers, pa.int64()), "v": values, "after": after})
    try:
        table = table_of(session, kind)
        reader = binary_reader(rows, table, block_bytes=200)
        assert reader is not None
        found = []
        for how, source in (("binary", reader), ("csv", CsvReader(rows))):
            session.run("TRUNCATE binary_test")
            session.copy_in(f"COPY binary_test FROM STDIN WITH (FORMAT {how})", source)
            found.append(session.rows('SELECT id, v::text, "after" FROM binary_test ORDER BY id'))
        assert found[0] == found[1]
    finally:
        session.rollback()


@pytest.mark.parametrize("name", SIMPLE)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_binary_brings_what_csv_brings(session: Session, name: str, data: st.DataObject) -> None:
    kind, there, values = SIMPLE[name]
    drawn = data.draw(st.lists(st.none() | values, max_size=30))
    # In two chunks, the first of them a slice, as rows come out of a batch.
    first = pa.array([None, *drawn], kind).slice(1)
    same_as_csv(session, there, pa.chunked_array([first, pa.array([None, *drawn[::-1]], kind)]))
    same_as_csv(session, there, pa.chunked_array([pa.array([value for value in drawn if value is not None], kind)]))


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.integers(1, 76), st.integers(-9, 76))
def test_decimals_of_any_size_and_scale_are_exact(session: Session, data: st.DataObject, precision: int, scale: int) -> None:
    # pyarrow makes a decimal of a negative scale out of all its digits, zeros included.
    scale = max(min(scale, precision), precision - (38 if precision <= 38 else 76))
    kind = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    top = 10**precision - 1
    digits = st.sampled_from([0, 1, -1, top, -top, 10 ** (precision - 1)]) | st.integers(-top, top)
    numbers = data.draw(st.lists(st.none() | digits, min_size=1, max_size=20))
    values = [None if number is None else exactly(number, scale) for number in numbers]
    same_as_csv(session, "numeric", pa.chunked_array([pa.array(values, kind)]))


def exactly(number: int, scale: int) -> Decimal:
    sign, digits, _ = Decimal(number).as_tuple()
    return Decimal((sign, digits, -scale))


def test_floats_without_a_number_and_decimals_below_one_survive(session: Session) -> None:
    same_as_csv(session, "double precision", pa.array([NAN, INFINITY, -INFINITY, -0.0, 5e-324, None]))
    same_as_csv(session, "real", pa.array([NAN, INFINITY, -INFINITY, -0.0, 1e-45, None], pa.float32()))
    same_as_csv(session, "numeric", pa.array([Decimal("0.00001"), Decimal("-0.99999"), None], pa.decimal128(5, 5)))


@pytest.mark.parametrize(
    ("kind", "there", "value"),
    [
        (pa.int64(), "integer", 2**31),
        (pa.uint64(), "bigint", 2**63),
        (pa.int16(), "boolean", 2),
        (pa.date32(), "date", LAST_DAY + 1),
        (pa.timestamp("us"), "timestamp", FIRST_DAY * DAY - 1),
        (pa.float32(), "double precision", 0.1),
        (pa.string(), "uuid", "00000000-0000-0000-0000-000000000001"),
        (pa.date32(), "timestamp", 0),
        (pa.int32(), "text", 1),
        (pa.int32(), "real", 16777217),
        (pa.timestamp("us", tz="Europe/Paris"), "timestamptz", 0),
    ],
)
def test_what_means_another_thing_in_binary_goes_as_csv(session: Session, kind: pa.DataType, there: str, value: Any) -> None:
    try:
        assert binary_reader(pa.table({"v": pa.array([value], kind)}), table_of(session, there)) is None
    finally:
        session.rollback()


def test_a_value_out_of_the_columns_range_is_refused_in_the_servers_words(box: Box) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id integer PRIMARY KEY, v boolean)")
    rows = pa.table({"id": pa.array([1, 2**40]), "v": pa.array([1, 0], pa.int8())})
    target = box.target(schema_of(pa.table({"id": pa.array([], pa.int32()), "v": pa.array([], pa.bool_())}), "id"))
    load = box.sink.begin([target], None)
    with pytest.raises(RowRefused, match=r"column id: .*out of range for type integer \(SQLSTATE 22003\)"):
        load.write(target, inserts(rows, "id"))
    load.abort()


def test_a_refused_row_names_its_column_in_binary_too(box: Box) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY, v jsonb, w varchar(3))")
    for rows, column in (
        (pa.table({"id": [1], "v": ["{secret"], "w": ["a"]}), "v"),
        (pa.table({"id": [1], "v": ["{}"], "w": ["secret"]}), "w"),
        (pa.table({"id": [1], "v": ["{}"], "w": ["\0"]}), "w"),
    ):
        target = box.target(schema_of(rows, "id"))
        load = box.sink.begin([target], None)
        with pytest.raises(RowRefused, match=f"column {column}") as caught:
            load.write(target, inserts(rows, "id"))
        load.abort()
        assert "secret" not in str(caught.value)


def test_a_null_may_hide_u0000_and_anything_else() -> None:
    """What stands in a buffer under a NULL is no value."""
    values = pa.Array.from_buffers(
        pa.string(), 2, [pa.py_buffer(b"\x02"), pa.py_buffer(b"\0\0\0\0\x02\0\0\0\x04\0\0\0"), pa.py_buffer(b"x\0ok")]
    )
    column = PgColumn("v", "text", "text", "text")
    reader = binary_reader(pa.table({"v": values}), CatalogTable(TABLE, False, None, True, frozenset(), (column,), ()))
    assert reader is not None
    reader.read()
    assert reader.read() == b"\0\x01\xff\xff\xff\xff\0\x01\0\0\0\x02ok"
