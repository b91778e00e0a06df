"""Debezium's records in every mode: what each says, and what it doesn't say is asked for and never guessed."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.cdcfiles.reading import append, events, open_source, read, rows, tables, write
from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused, TidegateError
from tidegate.providers.cdcfiles.source import CdcFilesSource
from tidegate.sync.protocols import Limits

SOURCE = {"connector": "mysql", "db": "shop", "table": "t", "snapshot": "false", "file": "mysql-bin.000001", "row": 0, "ts_ms": 1}
T = "shop.t"


def record(op: str, pos: int, before: Any = None, after: Any = None, **source: Any) -> dict[str, Any]:
    return {"before": before, "after": after, "source": SOURCE | {"pos": pos} | source, "op": op, "ts_ms": 2}


def typed(fields: list[dict[str, Any]], row: dict[str, Any], pos: int = 1) -> dict[str, Any]:
    """A record with a schema of these fields beside ``id``."""
    fields = [{"type": "int32", "optional": False, "field": "id"}, *fields]
    image = {"type": "struct", "fields": fields, "optional": True, "name": "s.shop.t.Value"}
    schema = {"type": "struct", "fields": [{**image, "field": "before"}, {**image, "field": "after"}], "name": "s.shop.t.Envelope"}
    return {"schema": schema, "payload": record("c", pos, after={"id": 1} | row)}


def column(path: Path, **fields: Any) -> tuple[pa.DataType, list[Any]]:
    """The type and the values of ``x``."""
    chunks, _ = read(open_source(path, **fields), [T])
    batch = chunks[0].batches[0]
    return batch.schema.column("x").type, batch.data.column("x").to_pylist()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


MOMENT = datetime(2023, 3, 23, 15, 0, 10, 123456)
COARSE = MOMENT.replace(microsecond=123000)
INSTANT = MOMENT.replace(tzinfo=UTC)
MICROS = int(INSTANT.timestamp()) * 10**6 + 123456
POINT = b"\x01\x01\x00\x00\x00" + bytes(16)
TIMES, DATA, CONNECT = "io.debezium.time.", "io.debezium.data.", "org.apache.kafka.connect.data."
WALL, ZONED, LENGTH = pa.timestamp("us"), pa.timestamp("us", tz="UTC"), pa.duration("us")


def field(kind: str, name: str | None = None, **parameters: str) -> dict[str, Any]:
    """A field of a Kafka Connect schema."""
    return {"type": kind} | ({"name": name} if name else {}) | ({"parameters": parameters} if parameters else {})


def number(scale: int, precision: int) -> dict[str, Any]:
    return field("bytes", f"{CONNECT}Decimal", scale=str(scale), **{"connect.decimal.precision": str(precision)})


def propagated(kind: str, name: str, *lengths: str) -> dict[str, Any]:
    """A field with what ``column.propagate.source.type`` adds."""
    names = [f"__debezium.source.column.{part}" for part in ("type", "length", "scale")]
    return field(kind, **dict(zip(names, (name, *lengths), strict=False)))


@pytest.mark.parametrize(
    ("item", "value", "kind", "expected"),
    [
        (number(2, 10), b64((-110).to_bytes(2, "big", signed=True)), pa.decimal128(10, 2), Decimal("-1.10")),
        (number(30, 65), b64((10**64 + 7).to_bytes(27, "big")), pa.decimal256(65, 30), Decimal(f"1{0:034}.{7:030}")),
        (number(2, 10), 1.1, pa.decimal128(10, 2), Decimal("1.10")),
        (field("string"), "1.10", pa.string(), "1.10"),
        (field("double"), 1.5, pa.float64(), 1.5),
        (field("float"), 1.5, pa.float32(), 1.5),
        (field("int64"), -(2**63), pa.int64(), -(2**63)),
        (field("int16"), 2, pa.int16(), 2),
        (field("boolean"), True, pa.bool_(), True),
        (field("int32", f"{TIMES}Date"), 19439, pa.date32(), date(2023, 3, 23)),
        (field("int32", f"{CONNECT}Date"), -1, pa.date32(), date(1969, 12, 31)),
        (field("int64", f"{TIMES}Timestamp"), MICROS // 1000, WALL, COARSE),
        (field("int64", f"{TIMES}MicroTimestamp"), MICROS, WALL, MOMENT),
        (field("int64", f"{TIMES}NanoTimestamp"), MICROS * 1000, WALL, MOMENT),
        (field("int64", f"{CONNECT}Timestamp"), MICROS // 1000, WALL, COARSE),
        (field("string", f"{TIMES}ZonedTimestamp"), "2023-03-23T15:00:10.123456Z", ZONED, INSTANT),
        (field("string", f"{TIMES}ZonedTimestamp"), "2023-03-23T17:00:10.123456+02:00", ZONED, INSTANT),
        (field("int32", f"{TIMES}Time"), 3_600_000, LENGTH, timedelta(hours=1)),
        (field("int64", f"{TIMES}MicroTime"), -3_020_399_000_000, LENGTH, -timedelta(hours=838, minutes=59, seconds=59)),
        (field("int64", f"{TIMES}NanoTime"), 5_000_000, LENGTH, timedelta(milliseconds=5)),
        (field("int32", f"{CONNECT}Time"), 1, LENGTH, timedelta(milliseconds=1)),
        (field("string", f"{TIMES}IsoDate"), "2023-03-23Z", pa.date32(), date(2023, 3, 23)),
        (field("string", f"{TIMES}IsoTimestamp"), "2023-03-23T15:00:10.123456Z", WALL, MOMENT),
        (field("string", f"{TIMES}IsoTime"), "10:13:23.5Z", LENGTH, timedelta(hours=10, minutes=13, seconds=23.5)),
        (field("int32", f"{TIMES}Year"), 2023, pa.int16(), 2023),
        (field("bytes", f"{DATA}Bits", length="12"), b64(b"\x01\x08"), pa.uint64(), 0x801),
        (field("bytes"), b64(b"\x00\xff"), pa.binary(), b"\x00\xff"),
        (field("string", f"{DATA}Json"), '{"a": 1e400}', pa.string(), '{"a": 1e400}'),
        (field("string", f"{DATA}Enum", allowed="a,b\\,c"), "b,c", pa.string(), "b,c"),
        (field("string", f"{DATA}EnumSet", allowed="a,b"), "a,b", pa.string(), "a,b"),
        (field("struct", f"{DATA}geometry.Geometry"), {"wkb": b64(POINT), "srid": None}, pa.binary(), POINT),
        (
            field("struct", f"{DATA}geometry.Point"),
            {"wkb": b64(POINT), "srid": 4326, "x": 0, "y": 0},
            pa.binary(),
            b"\x01\x01\x00\x00\x20\xe6\x10\x00\x00" + bytes(16),
        ),
        (propagated("int64", "BIGINT UNSIGNED", "20"), -1, pa.uint64(), 2**64 - 1),
        (propagated("double", "DECIMAL", "10", "2"), 1.1, pa.decimal128(10, 2), Decimal("1.10")),
    ],
)
def test_with_a_schema_each_value_is_what_the_schema_says(tmp_path: Path, item: Any, value: Any, kind: Any, expected: Any) -> None:
    item = {**item, "optional": True, "field": "x"}
    path = write(tmp_path / "a.json", typed([item], {"x": value}), typed([item], {"x": None}, 2))
    assert column(path) == (kind, [expected, None])


def test_numbers_survive_digit_by_digit(tmp_path: Path) -> None:
    ddl = "CREATE TABLE t (id INT PRIMARY KEY, x DECIMAL(65,30), y BIGINT UNSIGNED)"
    digits = b"12345678901234567890.123456789012345678901234567890"
    source = b'"op":"c","source":{"db":"shop","table":"t"}}\n'
    line = b'{"before":null,"after":{"id":1,"x":' + digits + b',"y":18446744073709551615},' + source
    (row,) = tables(open_source(write(tmp_path / "a.json", line), ddl=ddl), T)[T]
    assert row == {"id": 1, "x": Decimal("12345678901234567890.123456789012345678901234567890"), "y": 2**64 - 1}


@pytest.mark.parametrize(
    ("declared", "value", "fields", "expected"),
    [
        ("DECIMAL(10,2)", b64((110).to_bytes(1, "big")), {"decimal_mode": "precise"}, Decimal("1.10")),
        ("DECIMAL(10,2)", "1.10", {"decimal_mode": "string"}, Decimal("1.10")),
        ("DECIMAL(10,2)", 1.1, {}, Decimal("1.10")),
        ("BIGINT UNSIGNED", -1, {}, 2**64 - 1),
        ("BIGINT UNSIGNED", b64((2**64 - 1).to_bytes(9, "big")), {"decimal_mode": "precise"}, 2**64 - 1),
        ("DATE", 19439, {}, date(2023, 3, 23)),
        ("DATE", "2023-03-23", {}, date(2023, 3, 23)),
        ("DATETIME", MICROS // 1000, {"time_mode": "adaptive"}, MOMENT.replace(microsecond=123000)),
        ("DATETIME(6)", MICROS, {"time_mode": "adaptive_time_microseconds"}, MOMENT),
        ("DATETIME(6)", MICROS // 1000, {"time_mode": "connect"}, MOMENT.replace(microsecond=123000)),
        ("DATETIME", MICROS, {"time_mode": "microseconds"}, MOMENT),
        ("DATETIME(6)", MICROS * 1000, {"time_mode": "nanoseconds"}, MOMENT),
        ("DATETIME(6)", "2023-03-23T15:00:10.123456Z", {}, MOMENT),
        ("TIMESTAMP(6)", "2023-03-23T15:00:10.123456Z", {}, MOMENT.replace(tzinfo=UTC)),
        ("TIME", 3_600_000, {"time_mode": "adaptive"}, timedelta(hours=1)),
        ("TIME", 3_600_000_000, {"time_mode": "adaptive_time_microseconds"}, timedelta(hours=1)),
        ("TIME(6)", 3_600_000, {"time_mode": "connect"}, timedelta(hours=1)),
        ("YEAR", 2023, {}, 2023),
        ("TINYINT(1)", True, {}, 1),
        ("BIT(1)", True, {}, 1),
        ("BIT(12)", b64(b"\x01\x08"), {}, 0x801),
        ("VARBINARY(5)", b64(b"\x00\xff"), {}, b"\x00\xff"),
        ("VARBINARY(5)", "-_8", {"binary_mode": "base64-url-safe"}, b"\xfb\xff"),
        ("VARBINARY(5)", "00ff", {"binary_mode": "hex"}, b"\x00\xff"),
        ("BINARY(3)", b64(b"\x01"), {}, b"\x01\x00\x00"),
        ("FLOAT", 3.140000104904175, {}, pytest.approx(3.14)),
        ("SET('a','b')", "a,b", {}, "a,b"),
        ("JSON", '{"a": 1}', {}, '{"a": 1}'),
    ],
)
def test_without_schema_the_declaration_and_the_modes_decide(
    tmp_path: Path, declared: str, value: Any, fields: Any, expected: Any
) -> None:
    ddl = f"CREATE TABLE t (id INT PRIMARY KEY, x {declared})"
    path = write(tmp_path / "a.json", record("c", 1, after={"id": 1, "x": value}), record("c", 2, after={"id": 2, "x": None}))
    assert column(path, ddl=ddl, **fields)[1] == [expected, None]


@pytest.mark.parametrize(
    ("declared", "value", "setting"),
    [
        ("DATETIME", 1679583610123, "time_mode"),
        ("DATETIME(6)", 1679583610123456, "time_mode"),
        ("TIME", 3600000, "time_mode"),
        ("DECIMAL(10,2)", "1234", "decimal_mode"),
        ("BIGINT UNSIGNED", "1234", "decimal_mode"),
        ("TIMESTAMP", "2023-03-23 15:00:10", "time_zone"),
        ("INT", "many", "ddl"),
        ("INT", 1.5, "ddl"),
        ("TINYINT", 300, "ddl"),
        ("VARBINARY(5)", "!", "ddl"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_line_the_column_and_the_setting(
    tmp_path: Path, declared: str, value: Any, setting: str
) -> None:
    ddl = f"CREATE TABLE t (id INT PRIMARY KEY, x {declared})"
    path = write(tmp_path / "a.json", record("c", 1, after={"id": 1, "x": None}), record("c", 2, after={"id": 2, "x": value}))
    with pytest.raises(EventRefused) as caught:
        read(open_source(path, ddl=ddl), [T])
    assert caught.value.setting == setting
    text = str(caught.value)
    assert "position a.json:2" in text
    assert "column x" in text
    assert "table shop.t" in text
    assert str(value) not in text


def test_without_schema_and_declaration_nothing_is_inferred(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", record("c", 1, after={"id": 1, "x": 2}))
    with pytest.raises(EventRefused, match=r"id, x.*\[ddl\]"):
        read(open_source(path), [T])


def test_columns_that_are_not_declared_are_refused_and_not_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", record("c", 1, after={"id": 1}), record("c", 2, after={"id": 2, "new": 1}))
    with pytest.raises(EventRefused, match=r"a\.json:2: columns that are not declared: new \[ddl\]"):
        read(open_source(path, ddl=ID), [T])


ID = "CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(10))"


def follow(path: Path, **fields: Any) -> list[tuple[str, Any]]:
    chunks, _ = read(open_source(path, **({"ddl": ID} | fields)), [T])
    return rows(chunks)


def test_operations_are_rows_of_their_kinds_and_what_is_no_change_is_none(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        record("r", 1, after={"id": 1, "x": "a"}, snapshot="first"),
        record("r", 1, after={"id": 2, "x": "b"}, snapshot="last"),
        {"ts_ms": 5},
        {"status": "BEGIN", "id": "tx", "event_count": None},
        record("c", 10, after={"id": 3, "x": "c"}),
        record("u", 20, {"id": 3, "x": "c"}, {"id": 3, "x": "d"}),
        record("d", 30, {"id": 3, "x": "d"}),
        b"null\n",
        b"\n",
        record("m", 40),
        {"status": "END", "id": "tx", "event_count": 3},
        record("d", 50, {"id": 1, "x": "a"}),
        b"null\n",
        record("c", 50, after={"id": 9, "x": "a"}),
    )
    assert follow(path) == [
        ("+I", {"id": 1, "x": "a"}),
        ("+I", {"id": 2, "x": "b"}),
        ("+I", {"id": 3, "x": "c"}),
        ("-U", {"id": 3, "x": "c"}),
        ("+U", {"id": 3, "x": "d"}),
        ("-D", {"id": 3, "x": "d"}),
        ("-D", {"id": 1, "x": "a"}),
        ("+I", {"id": 9, "x": "a"}),
    ]


def test_an_update_without_its_before_image_is_an_update_all_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", record("u", 20, None, {"id": 3, "x": "d"}))
    assert follow(path) == [("+U", {"id": 3, "x": "d"})]


def test_truncation_is_an_event_at_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json", record("c", 1, after={"id": 1, "x": "a"}), record("t", 2), record("c", 3, after={"id": 2, "x": "b"})
    )
    chunks, _ = read(open_source(path, ddl=ID), [T])
    assert [getattr(part, "kind", None) for chunk in chunks for part in chunk.parts] == [None, "truncated", None]
    assert events(chunks)[0].position == "a.json:2"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (record("x", 1, after={"id": 1}), "unknown operation 'x'"),
        (record("c", 1), "'c' without its row"),
        (record("d", 1), "'d' without its row"),
        ({"hello": 1}, "without op"),
        ({"id": 1, "__op": "x", "__table": "t", "__db": "shop"}, "unknown operation 'x'"),
    ],
)
def test_a_shape_that_is_not_known_is_refused(tmp_path: Path, line: Any, message: str) -> None:
    path = write(tmp_path / "a.json", record("c", 0, after={"id": 1, "x": ""}), line, record("c", 9, after={"id": 1, "x": ""}))
    with pytest.raises(EventRefused, match=message) as caught:
        follow(path)
    assert "a.json:2" in str(caught.value)


def test_the_placeholder_of_an_unavailable_value_is_absent_and_not_null(tmp_path: Path) -> None:
    ddl = "CREATE TABLE t (id INT PRIMARY KEY, x TEXT, y BLOB, z TEXT)"
    text = "__debezium_unavailable_value"
    path = write(
        tmp_path / "a.json",
        record("u", 1, {"id": 1, "x": "a", "y": None, "z": None}, {"id": 1, "x": text, "y": b64(text.encode()), "z": None}),
        record("c", 2, after={"id": 2, "x": "b", "y": b64(b"c"), "z": "d"}),
    )
    assert follow(path, ddl=ddl) == [
        ("-U", {"id": 1, "x": "a", "y": None, "z": None}),
        ("+U", {"id": 1, "z": None}),
        ("+I", {"id": 2, "x": "b", "y": b"c", "z": "d"}),
    ]


def test_a_field_that_is_missing_is_absent_and_not_null(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", record("c", 1, after={"id": 1}), record("c", 2, after={"id": 2, "x": None}))
    assert follow(path) == [("+I", {"id": 1}), ("+I", {"id": 2, "x": None})]


def test_unwrapped_rows_tell_their_operation_in_metadata(tmp_path: Path) -> None:
    meta = {"__db": "shop", "__table": "t", "__source_ts_ms": 1}
    path = write(
        tmp_path / "a.json",
        {"id": 1, "x": "a", "__op": "c", "__deleted": "false", **meta},
        {"id": 1, "x": "b", "__op": "u", "__deleted": "false", **meta},
        b"null\n",
        {"id": 1, "x": "b", "__op": "d", "__deleted": "true", **meta},
    )
    assert follow(path) == [("+I", {"id": 1, "x": "a"}), ("+U", {"id": 1, "x": "b"}), ("-D", {"id": 1, "x": "b"})]


def test_unwrapped_rows_with_a_schema_and_no_name_are_the_table_s_that_is_given(tmp_path: Path) -> None:
    fields = [
        {"type": "int32", "optional": False, "field": "id"},
        {"type": "int64", "optional": True, "field": "x", "name": "io.debezium.time.MicroTimestamp"},
        {"type": "string", "optional": True, "field": "__deleted"},
    ]
    line = {"schema": {"type": "struct", "fields": fields}, "payload": {"id": 1, "x": MICROS, "__deleted": "false"}}
    path = write(tmp_path / "a.json", line)
    assert follow(path, ddl=None, table=T) == [("+I", {"id": 1, "x": MOMENT})]
    with pytest.raises(EventRefused, match=r"doesn't name its table \[table\]"):
        follow(path, ddl=None)


def test_flink_cdc_s_reduced_envelope(tmp_path: Path) -> None:
    ddl = "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP(3), d DATE, n DECIMAL(10,2), raw VARBINARY(3))"
    row = {"id": 1, "at": "2020-07-30 18:00:00.123Z", "d": "2020-07-30", "n": 1.5, "raw": "AP8="}
    path = write(tmp_path / "a.json", {"before": None, "after": row, "op": "c", "source": {"db": "shop", "table": "t"}})
    at = datetime(2020, 7, 30, 18, 0, 0, 123000, UTC)
    expected = {"id": 1, "at": at, "d": date(2020, 7, 30), "n": Decimal("1.50"), "raw": b"\x00\xff"}
    assert follow(path, ddl=ddl) == [("+I", expected)]


def test_a_new_column_in_the_schema_is_an_event_with_its_default(tmp_path: Path) -> None:
    x = {"type": "string", "optional": True, "field": "x"}
    y = {"type": "int32", "optional": True, "default": 7, "field": "y"}
    z = {"type": "int32", "optional": True, "field": "z"}
    path = write(tmp_path / "a.json", typed([x], {"x": "a"}), typed([x, y, z], {"x": "b", "y": 1, "z": 2}, 2))
    source = open_source(path)
    chunks, positions = read(source, [T])
    found = [(event.kind, event.column and event.column.name, event.value and event.value.as_py()) for event in events(chunks)]
    assert found == [("column_added", "y", 7), ("column_added", "z", None)]
    assert chunks[-1].schemas[source_table(source)].names == ("id", "x", "y", "z")
    append(path, typed([x, y, z], {"x": "c", "y": 1, "z": 2}, 3))
    chunks, _ = read(open_source(path), positions)
    assert events(chunks) == [], "it was told once"


def test_looking_for_the_columns_of_a_table_passes_over_records_of_tables_that_are_known(tmp_path: Path) -> None:
    other = typed([], {}, 2)
    other["payload"]["source"] = other["payload"]["source"] | {"table": "u"}
    path = write(tmp_path / "a.json", record("c", 1), other)
    source = open_source(path, ddl="CREATE TABLE t (id INT PRIMARY KEY)")
    findings = source.preflight({TableName.parse(T): None, TableName.parse("shop.u"): None})
    assert findings.problems == (), "it is refused where it is read"
    assert source.schema(TableName.parse("shop.u")).names == ("id",)
    with pytest.raises(EventRefused, match=r"a\.json:1: .*without its row"):
        read(source, [T, "shop.u"])


def source_table(source: CdcFilesSource) -> Any:
    return next(iter(source._schemas.found))


def test_a_new_column_whose_old_values_are_not_told_breaks_the_table_and_begins_a_chunk(tmp_path: Path) -> None:
    x = {"type": "string", "optional": True, "field": "x"}
    y = {"type": "int32", "optional": False, "field": "y"}
    path = write(tmp_path / "a.json", typed([x], {"x": "a"}), typed([x, y], {"x": "b", "y": 1}, 2))
    chunks, _ = read(open_source(path), [T])
    assert [len(chunk.parts) for chunk in chunks] == [1, 2]
    (event,) = events(chunks)
    assert chunks[1].parts[0] is event
    assert event.kind == "broken"


def test_schema_changes_of_debezium_are_events(tmp_path: Path) -> None:
    change = {
        "source": SOURCE | {"pos": 5},
        "databaseName": "shop",
        "ddl": "ALTER TABLE t ADD COLUMN n INT DEFAULT 3",
        "tableChanges": [],
    }
    path = write(
        tmp_path / "a.json", record("c", 1, after={"id": 1, "x": "a"}), change, record("c", 9, after={"id": 2, "x": "a", "n": 4})
    )
    chunks, positions = read(open_source(path, ddl=ID), [T])
    (event,) = events(chunks)
    assert (event.kind, event.value.as_py() if event.value else None) == ("column_added", 3)
    assert rows(chunks)[-1] == ("+I", {"id": 2, "x": "a", "n": 4})
    # The declaration is older than the column, which is remembered all the same.
    append(path, record("c", 10, after={"id": 3, "x": "a", "n": 5}))
    chunks, _ = read(open_source(path, ddl=ID), positions)
    assert rows(chunks) == [("+I", {"id": 3, "x": "a", "n": 5})]


def test_chunks_end_where_the_transaction_changes(tmp_path: Path) -> None:
    lines = [record("c", number, after={"id": number, "x": ""}, gtid=f"uuid:{number // 3}") for number in range(9)]
    chunks, _ = read(open_source(write(tmp_path / "a.json", *lines), ddl=ID), [T], Limits(rows=2))
    assert [(chunk.num_rows, chunk.end is None) for chunk in chunks] == [
        (2, True),
        (1, False),
        (2, True),
        (1, False),
        (2, True),
        (1, False),
    ]


def test_a_table_of_another_database_is_not_taken_for_one_s_own(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json", record("c", 1, after={"id": 1, "x": ""}), record("c", 2, after={"id": 2, "x": ""}, db="other")
    )
    assert follow(path) == [("+I", {"id": 1, "x": ""})]
    with pytest.raises(TidegateError, match="several databases"):
        read(open_source(path, ddl=ID), ["t"])


def test_a_statement_that_comes_again_is_a_repeat(tmp_path: Path) -> None:
    def change(number: int, **more: Any) -> dict[str, Any]:
        source = {"db": "shop", "table": "t", "file": "log.000001", "pos": number, "row": 0, "snapshot": "false", "ts_ms": number}
        return {"source": source, **more}

    lines = [
        change(20, databaseName="shop", ddl="TRUNCATE TABLE t"),
        change(30, op="c", before=None, after={"id": 4}),
    ]
    ddl = "CREATE TABLE t (id INT PRIMARY KEY)"
    write(tmp_path / "1.json", change(10, op="c", before=None, after={"id": 1}), *lines)
    chunks, positions = read(open_source(tmp_path, ddl=ddl), ["shop.t"])
    assert [event.kind for event in events(chunks)] == ["truncated"]
    write(tmp_path / "2.json", *lines, change(40, op="c", before=None, after={"id": 5}))
    chunks, _ = read(open_source(tmp_path, ddl=ddl), positions)
    assert events(chunks) == []
    assert [row["id"] for _, row in rows(chunks)] == [5]
