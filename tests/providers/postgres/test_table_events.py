"""A table that was emptied, or gained a column, at the source: the target follows, in order with the rows around it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.postgres.conftest import FAMILY, Box, changes, inserts, schema_of
from tests.providers.postgres.test_inspection import EVERY
from tests.providers.postgres.test_load import FIRST, SCHEMA, counts, people, rows
from tests.providers.postgres.test_quarantine import quarantined
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import EventRefused, RowRefused, SchemaError
from tidegate.providers.postgres.types import column_type

__all__ = ["FAMILY"]
pytestmark = pytest.mark.postgres


@pytest.fixture(params=["copy", "insert", "upsert"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Emptied


def test_truncate_removes_all_rows_of_earlier_batches_too_and_none_of_later_ones(light: Box) -> None:
    target = light.target(SCHEMA)
    light.write(target, inserts(FIRST, "id"))
    load = light.sink.begin([target], None)
    load.write(target, inserts(people((3, "cid")), "id"))
    result = load.truncate(target)
    load.write(target, inserts(people((2, "new")), "id"))
    load.commit([])
    assert (counts(result), result.rows) == ({"deleted": 3}, 0)
    assert rows(light) == [(2, "new")]


def test_readers_see_the_rows_until_a_truncate_is_committed_and_need_not_wait(light: Box) -> None:
    target = light.target(SCHEMA)
    light.write(target, inserts(FIRST, "id"))
    load = light.sink.begin([target], None)
    load.truncate(target)
    light.execute("SET statement_timeout = '5s'; SELECT count(*) FROM ods.t")
    assert len(rows(light)) == 2
    load.commit([])
    assert rows(light) == []


def test_an_aborted_truncate_leaves_everything(light: Box) -> None:
    target = light.target(SCHEMA)
    light.write(target, inserts(FIRST, "id"))
    load = light.sink.begin([target], None)
    load.truncate(target)
    load.abort()
    assert len(rows(light)) == 2


def test_truncate_follows_the_delete_mode(light: Box) -> None:
    soft = light.target(SCHEMA, delete_mode="soft", soft_delete_column="gone")
    light.write(soft, inserts(FIRST, "id"), changes(people((1, "ann")), "-D", "id"))
    load = light.sink.begin([soft], None)
    assert counts(load.truncate(soft)) == {"deleted": 1}
    load.write(soft, inserts(people((1, "back")), "id"))
    load.commit([])
    assert rows(light) == [(1, "back", False), (2, "bob", True)]
    ignoring = light.target(SCHEMA, delete_mode="ignore")
    load = light.sink.begin([ignoring], None)
    assert counts(load.truncate(ignoring)) == {}
    load.commit([])
    assert len(rows(light)) == 2


def test_strict_takes_no_truncate(light: Box) -> None:
    target = light.target(SCHEMA, conflict_mode="strict")
    light.prepare(target)
    load = light.sink.begin([target], None)
    with pytest.raises(EventRefused, match=r"table ods\.t: TRUNCATE under .*inserts alone.*\[conflict_mode\]"):
        load.truncate(target)
    load.abort()


def test_truncate_works_where_a_foreign_key_points_to_the_table_and_says_so_where_rows_do(light: Box) -> None:
    target = light.target(SCHEMA)
    light.write(target, inserts(FIRST, "id"))
    light.execute("CREATE TABLE ods.child (t bigint REFERENCES ods.t)")
    load = light.sink.begin([target], None)
    load.truncate(target)
    load.abort()
    light.execute("INSERT INTO ods.child VALUES (1)")
    load = light.sink.begin([target], None)
    with pytest.raises(RowRefused, match="foreign key"):
        load.truncate(target)
    load.abort()


def test_truncate_supersedes_what_the_table_has_in_quarantine(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name varchar(3))")
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    target = box.target(SCHEMA, on_error="quarantine")
    load = box.sink.begin([target], lease)
    load.write(target, inserts(people((1, "toolong"), (2, "ok")), "id"))
    load.truncate(target)
    late = ChangeBatch.of(SCHEMA, people((1, None)), pa.array([0], pa.uint8()), present={"name": pa.array([False])})
    assert load.write(target, late).quarantined == 0
    load.write(target, inserts(people((5, "toolong")), "id"))
    load.commit([])
    assert [(keys, superseded) for _, _, keys, _, _, superseded in quarantined(box)] == [('[["1"]]', True), ('[["5"]]', False)]
    assert rows(box) == [(1, None)]


# A column added

UTC = UTC
VALUES: dict[str, Any] = {
    "id": 2**64 - 1,
    "flag": True,
    "i8": -128,
    "u8": 255,
    "i16": -(2**15),
    "u16": 2**16 - 1,
    "i32": -(2**31),
    "u32": 2**32 - 1,
    "i64": -(2**63),
    "bits": 4095,
    "f4": 0.1,
    "f8": -0.0,
    "d": Decimal("-1234567890.10"),
    "wide": Decimal("12345678901234567890123456789012345.000000000000000000000000000001"),
    "day": date(1, 1, 1),
    "wall": datetime(9999, 12, 31, 23, 59, 59, 999999),
    "instant": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    "length": -timedelta(hours=838, minutes=59, seconds=59, microseconds=1000),
    "short": "O'Reilly\\ \t%s ü",
    "long": "",
    "doc": '{"b": 1.0,  "a": null}',
    "raw": b"\x00\xff\\'",
}


@pytest.mark.parametrize("null", [False, True])
def test_a_filled_value_of_every_type_is_what_a_written_row_holds(light: Box, method: str, null: bool) -> None:
    names = [column.name for column in EVERY.columns if column.name != "id"]
    light.execute("CREATE SCHEMA ods")
    declared = ", ".join(f'"{column.name}" {column_type(column)}' for column in EVERY.columns if column.name != "id")
    light.execute(f"CREATE TABLE ods.t (id numeric(20) PRIMARY KEY, {declared})", "INSERT INTO ods.t VALUES (1), (2)")
    light.execute("UPDATE ods.t SET i8 = 7, doc = '[]', long = 'x', f8 = 0.0 WHERE id = 2")
    target = light.target(EVERY, method=method)
    written = pa.Table.from_pylist([VALUES | (dict.fromkeys(names) if null else {})], schema=EVERY.arrow())
    load = light.sink.begin([target], None)
    load.write(target, ChangeBatch.of(EVERY, written, RowKind.INSERT))
    for column in EVERY.columns:
        if column.name != "id":
            value = None if null else pa.array([VALUES[column.name]], column.type)[0]
            load.fill(target, column, value)
    load.commit([])
    shown = ", ".join(f'"{name}"::text' for name in names)
    found = light.query(f"SELECT {shown} FROM ods.t ORDER BY id")
    assert len(found) == 3
    assert set(found) == {found[-1]}
    if null:
        assert set(found[-1]) == {None}
    again = light.sink.begin([target], None)
    for column in EVERY.columns:
        if column.name != "id" and not null:
            assert counts(again.fill(target, column, pa.array([VALUES[column.name]], column.type)[0])) == {}
    again.abort()


def test_a_fill_reaches_rows_of_earlier_batches_and_marked_ones_and_no_later_ones(light: Box) -> None:
    soft: dict[str, Any] = {"delete_mode": "soft", "soft_delete_column": "gone"}
    light.write(light.target(SCHEMA, **soft), inserts(FIRST, "id"), changes(people((2, "bob")), "-D", "id"))
    wide = pa.table({"id": [4], "name": ["d"], "n": pa.array([None], pa.int32())})
    target = light.target(schema_of(wide, "id"), **soft)
    light.prepare(target)
    load = light.sink.begin([target], None)
    load.write(target, inserts(people((3, "cid")), "id"))
    result = load.fill(target, target.schema.column("n"), pa.scalar(7, pa.int32()))
    load.write(target, inserts(wide, "id"))
    load.commit([])
    assert (counts(result), result.rows) == ({"updated": 3}, 0)
    assert result.seconds > 0
    assert [(row[0], row[2], row[3]) for row in light.query("SELECT id, name, gone, n FROM ods.t ORDER BY id")] == [
        (1, False, 7),
        (2, True, 7),
        (3, False, 7),
        (4, False, None),
    ]


def test_a_fill_with_the_default_that_the_table_has_writes_nothing(light: Box) -> None:
    light.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name text)", "INSERT INTO ods.t VALUES (1), (2)")
    light.execute("ALTER TABLE ods.t ADD n int DEFAULT 7")
    target = light.target(schema_of(FIRST.append_column("n", pa.array([1, 1], pa.int32())), "id"))
    load = light.sink.begin([target], None)
    assert counts(load.fill(target, target.schema.column("n"), pa.scalar(7, pa.int32()))) == {}
    load.commit([])


def test_a_null_is_filled_unless_nulls_are_ignored(light: Box) -> None:
    for ignore, left in ((True, "ann"), (False, None)):
        light.write(light.target(SCHEMA), inserts(FIRST, "id"))
        target = light.target(SCHEMA, ignore_nulls=ignore)
        load = light.sink.begin([target], None)
        load.fill(target, SCHEMA.column("name"), None)
        load.commit([])
        assert rows(light)[0] == (1, left)


@pytest.mark.parametrize("on_error", ["fail", "skip", "quarantine"])
@pytest.mark.parametrize("value", ["toolong", "a\0b"])
def test_a_value_that_the_column_refuses_stops_the_load_whatever_on_error_says(light: Box, on_error: str, value: str) -> None:
    light.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name varchar(3))", "INSERT INTO ods.t VALUES (1)")
    target = light.target(SCHEMA, on_error=on_error)
    load = light.sink.begin([target], None)
    with pytest.raises(RowRefused, match=r"connection warehouse, table ods\.t: ") as caught:
        load.fill(target, SCHEMA.column("name"), pa.scalar(value))
    assert value not in str(caught.value)
    load.abort()
    assert rows(light) == [(1, None)]


def test_a_fill_of_a_column_that_the_table_lacks_is_refused(light: Box) -> None:
    target = light.target(SCHEMA)
    light.prepare(target)
    load = light.sink.begin([target], None)
    with pytest.raises(SchemaError, match="the table lacks more: it has to be prepared first"):
        load.fill(target, Column("more", pa.int8()), None)
    load.abort()


def test_readers_are_not_kept_waiting_by_a_fill(light: Box) -> None:
    target = light.target(SCHEMA)
    light.write(target, inserts(FIRST, "id"))
    load = light.sink.begin([target], None)
    load.fill(target, SCHEMA.column("name"), pa.scalar("x"))
    assert rows(light) == [(1, "ann"), (2, "bob")]
    load.commit([])
    assert rows(light) == [(1, "x"), (2, "x")]


# A wider type


@pytest.mark.parametrize(
    ("column", "there", "wider", "said"),
    [
        (Column("c", pa.int64()), "integer", "bigint", "rewrites the table"),
        (Column("c", pa.int32()), "smallint", "integer", "rewrites the table"),
        (Column("c", pa.uint32()), "integer", "bigint", "rewrites the table"),
        (Column("c", pa.uint64()), "bigint", "numeric(20,0)", "rewrites the table"),
        (Column("c", pa.uint64()), "numeric(19,0)", "numeric(20,0)", "without a rewrite"),
        (Column("c", pa.decimal128(12, 2)), "numeric(10,2)", "numeric(12,2)", "without a rewrite"),
        (Column("c", pa.decimal128(12, 4)), "numeric(12,2)", "numeric(14,4)", "rewrites the table"),
        (Column("c", pa.decimal128(8, 4)), "numeric(12,2)", "numeric(14,4)", "rewrites the table"),
        (Column("c", pa.string(), attributes={"length": "80"}), "varchar(4)", "character varying(80)", "without a rewrite"),
        (Column("c", pa.string(), attributes={"length": "99999999"}), "varchar(4)", "text", "without a rewrite"),
        (Column("c", pa.string(), attributes={"length": "8"}), "char(4)", "character(8)", "rewrites the table"),
        (Column("c", pa.float64()), "real", "double precision", "rewrites the table"),
        (Column("c", pa.timestamp("us"), attributes={"fsp": "3"}), "timestamp(0)", "timestamp(6) without time zone", "without a"),
        (Column("c", pa.timestamp("us", tz="UTC")), "timestamptz(3)", "timestamp(6) with time zone", "without a rewrite"),
        (Column("c", pa.duration("us")), "interval(0)", "interval(6)", "without a rewrite"),
        (Column("c", pa.duration("us")), "time(0)", "time(6) without time zone", "without a rewrite"),
    ],
)  # fmt: skip
def test_a_column_that_became_wider_at_the_source_is_widened_and_keeps_its_values(
    light: Box, column: Column, there: str, wider: str, said: str
) -> None:
    samples = {"char": "'ab'", "varchar": "'ab'", "time(": "'01:02:03'", "timestam": "'2020-01-02 03:04:05'", "interval": "'5 s'"}
    sample = next((text for start, text in samples.items() if there.startswith(start)), "12")
    light.execute(f"CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, c {there} DEFAULT {sample})")
    light.execute("CREATE INDEX ON ods.t (c)", "INSERT INTO ods.t VALUES (1)")
    before = light.query("SELECT c, pg_relation_filenode('ods.t') FROM ods.t")[0]
    target = light.target(TableSchema(TableName("shop", "t"), (Column("id", pa.int64(), False), column), ("id",)))
    found = light.sink.inspect(target)
    assert found.problems == ()
    assert len(found.ddl) == 1
    assert any(f"column c: {there.split('(')[0][:4]}" in text.replace("character varying", "varchar").replace("character", "char")
               and said in text for text in found.warnings)  # fmt: skip
    light.sink.prepare(target, found)
    after = light.query("SELECT c, pg_relation_filenode('ods.t') FROM ods.t")[0]
    assert (after[0].strip() if isinstance(after[0], str) else after[0]) == (
        before[0].strip() if isinstance(before[0], str) else before[0]
    )
    assert (after[1] != before[1]) == ("rewrites" in said)
    types = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'ods.t'::regclass AND attname = 'c'"
    if light.family == "gaussdb":
        wider = wider.replace("varying(80)", "varying(320)")  # whose length counts bytes
    assert light.query(types) == [(wider,)]
    again = light.sink.inspect(target)
    assert (again.ddl, again.problems) == ((), ())


def test_columns_are_widened_in_one_statement(light: Box) -> None:
    light.only("postgres", because="ADD COLUMN IF NOT EXISTS came with PostgreSQL 9.6")
    light.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id integer PRIMARY KEY, n integer)")
    target = light.target(schema_of(pa.table({"id": [1], "n": [1], "more": ["x"]}), "id"))
    assert light.sink.inspect(target).ddl == (
        'ALTER TABLE "ods"."t" ALTER COLUMN "id" TYPE bigint, ALTER COLUMN "n" TYPE bigint',
        'ALTER TABLE "ods"."t" ADD COLUMN IF NOT EXISTS "more" text',
    )
    light.write(target, inserts(pa.table({"id": [2**40], "n": [2**40], "more": ["x"]}), "id"))
    assert rows(light) == [(2**40, 2**40, "x")]


@pytest.mark.parametrize("on_ddl", ["fail", "ignore"])
def test_nothing_is_widened_unless_ddl_is_followed(light: Box, on_ddl: str) -> None:
    light.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, c integer)")
    schema = schema_of(pa.table({"id": [1], "c": [1]}), "id")
    found = light.sink.inspect(light.target(schema, on_ddl=on_ddl))
    assert found.ddl == ()
    assert "int64 doesn't fit into integer; as bigint it would" in str(found.problems[0])


@pytest.mark.parametrize(
    ("column", "there"),
    [
        (Column("c", pa.int32()), "ods.small"),
        (Column("c", pa.decimal128(12, 2)), "integer"),
        (Column("c", pa.int64()), "boolean"),
        (Column("c", pa.timestamp("us")), "date"),
        (Column("c", pa.string(), attributes={"json": "1", "length": "99"}), "varchar(4)"),
        (Column("c", pa.binary()), "text"),
        (Column("c", pa.int64()), "integer GENERATED ALWAYS AS IDENTITY"),
    ],
)
def test_what_is_no_pure_widening_stays_a_problem(light: Box, column: Column, there: str) -> None:
    if "GENERATED" in there:
        light.only("postgres", because="identity columns came with PostgreSQL 10")
    light.execute("CREATE SCHEMA ods; CREATE DOMAIN ods.small AS smallint CHECK (value < 100)")
    light.execute(f"CREATE TABLE ods.t (id bigint PRIMARY KEY, c {there})")
    schema = TableSchema(TableName("shop", "t"), (Column("id", pa.int64(), False), column), ("id",))
    found = light.sink.inspect(light.target(schema))
    assert found.ddl == ()
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE VIEW ods.v AS SELECT c FROM ods.t", "rule _RETURN on view ods.v"),
        ("ALTER TABLE ods.t ADD twice int GENERATED ALWAYS AS (c * 2) STORED", "column twice of table ods.t"),
        ("CREATE POLICY p ON ods.t USING (c > 0)", "policy p on table ods.t"),
        ("CREATE FUNCTION ods.h() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT max(c) FROM ods.t; END", "function ods.h()"),
    ],
)
def test_what_keeps_a_column_from_being_widened_is_named(light: Box, statement: str, said: str) -> None:
    light.only("postgres", because="policies and generated columns came with later versions than it is made from")
    light.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, c integer, other integer)", statement)
    light.execute("CREATE VIEW ods.harmless AS SELECT other FROM ods.t")
    schema = schema_of(pa.table({"id": [1], "c": [1]}), "id")
    (problem,) = light.sink.inspect(light.target(schema)).problems
    assert "column c (integer) has to become bigint, and can't while there is " in str(problem)
    assert said in str(problem)
    assert "harmless" not in str(problem)


def test_widening_a_table_of_somebody_else_is_a_problem_with_the_statement(box: Box) -> None:
    box.only("postgres", because="the sandbox knows its own accounts only")
    box.execute("CREATE ROLE weak LOGIN", "CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY, c integer)")
    box.execute("GRANT USAGE ON SCHEMA ods TO weak", "GRANT ALL ON ods.t TO weak")
    sink = box.open(login="weak")
    try:
        (problem,) = sink.inspect(box.target(schema_of(pa.table({"id": [1], "c": [1]}), "id"))).problems
        assert 'ALTER TABLE "ods"."t" ALTER COLUMN "c" TYPE bigint' in str(problem)
    finally:
        sink.close()
        box.execute("DROP OWNED BY weak", "DROP ROLE weak")


def test_with_on_ddl_ignore_missing_columns_are_left_out_with_a_word(light: Box) -> None:
    light.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name text)")
    age = Column("age", pa.int64())
    wider = TableSchema(SCHEMA.table, (Column("id", pa.int64(), False), *SCHEMA.columns[1:], age), ("id",))
    soft: dict[str, Any] = {"delete_mode": "soft", "soft_delete_column": "gone"}
    found = light.sink.inspect(light.target(wider, on_ddl="ignore", **soft))
    assert found.problems == ()
    add = "ADD COLUMN IF NOT EXISTS" if light.family == "postgres" else "ADD COLUMN"
    assert found.ddl == (f'ALTER TABLE "ods"."t" {add} "gone" boolean NOT NULL DEFAULT false',)
    assert [text for text in found.warnings if "''" not in text] == [
        "the table lacks age, and on_ddl='ignore' adds no column: they are left out"
    ]
    lost = schema_of(FIRST.append_column("k", pa.array([1, 2])), "id", "k")
    assert "lacks the key column k" in str(light.sink.inspect(light.target(lost, on_ddl="ignore")).problems[-1])
