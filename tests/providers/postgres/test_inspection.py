"""What a plan says about a target table, and what preparing it does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pytest

from tests.fakes import FakeSource
from tests.model import Change
from tests.providers.postgres.conftest import Box, inserts, schema_of
from tests.providers.postgres.test_load import FIRST, SCHEMA, rows
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import PreflightError, SchemaError
from tidegate.sync.mapping import Sync
from tidegate.sync.plan import plan
from tidegate.sync.run import run

pytestmark = pytest.mark.postgres

EVERY = TableSchema(
    TableName("shop", "every"),
    (
        Column("id", pa.uint64(), nullable=False),
        Column("flag", pa.bool_()),
        Column("i8", pa.int8(), attributes={"display_width": "1"}),
        Column("u8", pa.uint8()),
        Column("i16", pa.int16()),
        Column("u16", pa.uint16()),
        Column("i32", pa.int32()),
        Column("u32", pa.uint32()),
        Column("i64", pa.int64()),
        Column("bits", pa.uint64(), attributes={"bits": "12"}),
        Column("f4", pa.float32()),
        Column("f8", pa.float64()),
        Column("d", pa.decimal128(12, 2)),
        Column("wide", pa.decimal256(65, 30)),
        Column("day", pa.date32()),
        Column("wall", pa.timestamp("us"), attributes={"fsp": "6"}),
        Column("instant", pa.timestamp("us", tz="UTC"), attributes={"fsp": "0"}),
        Column("length", pa.duration("us"), attributes={"fsp": "3"}),
        Column("short", pa.string(), attributes={"length": "40"}),
        Column("long", pa.string(), attributes={"length": "4294967295"}),
        Column("doc", pa.string(), attributes={"json": "1"}),
        Column("raw", pa.binary()),
    ),
    ("id",),
)


def test_a_missing_table_is_created_from_the_source_and_then_fits(box: Box) -> None:
    target = box.target(EVERY)
    found = box.sink.inspect(target)
    assert (found.exists, found.empty, found.rows, found.problems) == (False, True, None, ())
    assert found.ddl[0] == 'CREATE SCHEMA IF NOT EXISTS "ods"'
    box.sink.prepare(target, found)
    types = box.query(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'ods.t'::regclass AND attnum > 0"
    )
    assert dict(types) == {
        "id": "numeric(20,0)",
        "flag": "boolean",
        "i8": "smallint",
        "u8": "smallint",
        "i16": "smallint",
        "u16": "integer",
        "i32": "integer",
        "u32": "bigint",
        "i64": "bigint",
        "bits": "bigint",
        "f4": "real",
        "f8": "double precision",
        "d": "numeric(12,2)",
        "wide": "numeric(65,30)",
        "day": "date",
        "wall": "timestamp(6) without time zone",
        "instant": "timestamp(6) with time zone",
        "length": "interval",
        "short": "character varying(40)",
        "long": "text",
        "doc": "json",
        "raw": "bytea",
    }
    again = box.sink.inspect(target)
    assert (again.exists, again.empty, again.ddl, again.problems, again.warnings) == (True, True, (), (), ())
    assert again.strategy == "INSERT … ON CONFLICT"


def test_preparing_by_two_runs_at_once_is_no_error(box: Box) -> None:
    target = box.target(EVERY)
    found = box.sink.inspect(target)
    sinks = [box.open() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda sink: sink.prepare(target, found), sinks))
    for sink in sinks:
        sink.close()
    assert box.sink.inspect(target).problems == ()


def test_columns_that_appeared_are_added(box: Box) -> None:
    box.write(box.target(SCHEMA), inserts(FIRST, "id"))
    wider = FIRST.append_column("age", pa.array([1, 2], pa.int8()))
    target = box.target(schema_of(wider, "id"), delete_mode="soft", soft_delete_column="gone")
    found = box.sink.inspect(target)
    assert found.ddl == (
        'ALTER TABLE "ods"."t" ADD COLUMN IF NOT EXISTS "age" smallint, '
        'ADD COLUMN IF NOT EXISTS "gone" boolean NOT NULL DEFAULT false',
    )
    assert not found.empty
    box.write(target, inserts(wider, "id"))
    assert rows(box) == [(1, "ann", 1, False), (2, "bob", 2, False)]


def test_an_append_table_has_no_primary_key_and_takes_the_kind(box: Box) -> None:
    target = box.target(SCHEMA, write_mode="append", op_column="op")
    assert box.sink.inspect(target).ddl[-1] == 'CREATE TABLE IF NOT EXISTS "ods"."t" ("id" bigint, "name" text, "op" text)'


@pytest.mark.parametrize(
    ("column", "there", "said"),
    [
        (
            Column("c", pa.string(), attributes={"length": "40"}),
            "varchar(20)",
            "string(40 characters) doesn't fit into character varying(20)",
        ),
        (Column("c", pa.int64()), "integer", "int64 doesn't fit into integer; as bigint it would"),
        (Column("c", pa.uint32()), "integer", "uint32 doesn't fit"),
        (Column("c", pa.uint64()), "bigint", "as numeric(20,0) it would"),
        (Column("c", pa.uint64()), "numeric(19)", "doesn't fit"),
        (Column("c", pa.decimal128(12, 2)), "numeric(10,2)", "doesn't fit into numeric(10,2)"),
        (Column("c", pa.decimal128(12, 2)), "numeric(12,1)", "doesn't fit"),
        (Column("c", pa.float64()), "real", "doesn't fit"),
        (Column("c", pa.float64()), "numeric(20,5)", "doesn't fit"),
        (Column("c", pa.timestamp("us")), "timestamp(0)", "doesn't fit"),
        (Column("c", pa.timestamp("us")), "date", "doesn't fit"),
        (Column("c", pa.duration("us")), "bigint", "doesn't fit"),
        (Column("c", pa.binary()), "text", "doesn't fit"),
        (Column("c", pa.string()), "bytea", "doesn't fit"),
        (Column("c", pa.bool_()), "integer", "doesn't fit"),
        (Column("c", pa.int64()), "bigint GENERATED ALWAYS AS (id * 2) STORED", "computed by the server"),
        (Column("c", pa.int64()), "bigint GENERATED ALWAYS AS IDENTITY", "computed by the server"),
    ],
)
def test_a_column_that_cannot_hold_the_source_is_a_problem_with_both_types(box: Box, column: Column, there: str, said: str) -> None:
    box.execute(f"CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, c {there})")
    schema = TableSchema(TableName("shop", "t"), (Column("id", pa.int64(), False), column), ("id",))
    problems = box.sink.inspect(box.target(schema, on_ddl="fail")).problems
    assert [type(problem) for problem in problems] == [SchemaError]
    assert "table ods.t: column c" in str(problems[0])
    assert said in str(problems[0])


@pytest.mark.parametrize(
    ("column", "there", "warning"),
    [
        (Column("c", pa.string(), attributes={"length": "40"}), "varchar(40)", None),
        (Column("c", pa.string(), attributes={"length": "40"}), "text", None),
        (Column("c", pa.string()), "varchar(40)", "may be longer"),
        (Column("c", pa.string(), attributes={"length": "4"}), "char(4)", "pads"),
        (Column("c", pa.string()), "uuid", "the server reads each value"),
        (Column("c", pa.string(), attributes={"json": "1"}), "jsonb", "not its spelling"),
        (Column("c", pa.int8()), "bigint", None),
        (Column("c", pa.int64()), "numeric", None),
        (Column("c", pa.int64()), "text", None),
        (Column("c", pa.int8(), attributes={"display_width": "1"}), "boolean", "0 and 1"),
        (Column("c", pa.uint64(), attributes={"bits": "1"}), "boolean", "0 and 1"),
        (Column("c", pa.uint64()), "numeric(20)", None),
        (Column("c", pa.decimal128(9, 0)), "integer", None),
        (Column("c", pa.decimal128(12, 2)), "numeric(20,4)", None),
        (Column("c", pa.float32()), "double precision", None),
        (Column("c", pa.date32()), "timestamp", None),
        (Column("c", pa.timestamp("us"), attributes={"fsp": "3"}), "timestamp(3)", None),
        (Column("c", pa.timestamp("us")), "timestamptz", "taken as UTC"),
        (Column("c", pa.timestamp("us", tz="UTC")), "timestamp", "written as UTC"),
        (Column("c", pa.duration("us")), "time", "0 to 24 hours"),
        (Column("c", pa.duration("us")), "text", None),
        (Column("c", pa.int32()), "integer NOT NULL", "NULL at the source"),
        (Column("c", pa.int32(), False), "integer NOT NULL", None),
        (Column("c", pa.int32()), "small", None),
    ],
)
def test_a_column_that_can_hold_the_source_is_taken_with_a_word_where_there_is_a_catch(
    box: Box, column: Column, there: str, warning: str | None
) -> None:
    box.execute("CREATE DOMAIN small AS integer CHECK (value < 100)")
    box.execute(f"CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, c {there})")
    schema = TableSchema(TableName("shop", "t"), (Column("id", pa.int64(), False), column), ("id",))
    found = box.sink.inspect(box.target(schema))
    assert found.problems == ()
    assert len(found.warnings) == (warning is not None)
    if warning is not None:
        assert "column c: " in found.warnings[0]
        assert warning in found.warnings[0]


def test_a_column_that_nobody_fills_is_a_problem(box: Box) -> None:
    box.execute(
        "CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name text, must int NOT NULL, may int NOT NULL DEFAULT 1)"
    )
    problems = box.sink.inspect(box.target(SCHEMA)).problems
    assert [str(problem) for problem in problems if "column must is NOT NULL without a default" in str(problem)]
    assert len(problems) == 1
    assert box.sink.inspect(box.target(SCHEMA, existing_only=True)).problems == ()


def test_a_key_column_that_is_missing_is_a_problem(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (name text)")
    assert any("lacks the key column id" in str(problem) for problem in box.sink.inspect(box.target(SCHEMA)).problems)


def test_own_columns_of_the_wrong_type_are_problems(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name text, gone integer)")
    soft = box.target(SCHEMA, delete_mode="soft", soft_delete_column="gone")
    assert "has to be boolean" in str(box.sink.inspect(soft).problems[0])
    log = box.target(SCHEMA, write_mode="append", op_column="gone")
    assert "op_column gone" not in str(box.sink.inspect(box.target(SCHEMA)).problems)
    assert box.sink.inspect(log).problems == () or "gone" in str(box.sink.inspect(log).problems[0])


def test_a_view_is_no_target(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE VIEW ods.t AS SELECT 1 AS id")
    assert "is a view" in str(box.sink.inspect(box.target(SCHEMA)).problems[0])


def test_a_name_that_the_server_would_cut_is_refused(box: Box) -> None:
    target = replace(box.target(SCHEMA), table=TableName("ods", "ü" * 32))
    assert "64 bytes long" in str(box.sink.inspect(target).problems[0])


def test_the_update_verb_wants_a_table_that_is_there(box: Box) -> None:
    found = box.sink.inspect(box.target(SCHEMA, existing_only=True))
    assert "there is no such table" in str(found.problems[0])
    assert found.ddl == ()


def test_missing_rights_are_problems_with_the_grant(box: Box) -> None:
    box.execute("CREATE ROLE weak LOGIN", "CREATE SCHEMA ods", "CREATE TABLE ods.u (id bigint PRIMARY KEY)")
    sink = box.open(login="weak")
    try:

        def said(table: str) -> str:
            problems = sink.inspect(box.target(SCHEMA, table)).problems
            assert all(isinstance(problem, PreflightError) for problem in problems)
            return "\n".join(map(str, problems))

        assert "CREATE SCHEMA" in said("other.t")
        assert 'GRANT USAGE, CREATE ON SCHEMA "ods" TO "weak"' in said("ods.t")
        assert 'may not alter it: ALTER TABLE "ods"."u" ADD COLUMN' in said("ods.u")
        assert 'GRANT DELETE, INSERT, SELECT, UPDATE ON "ods"."u" TO "weak"' in said("ods.u")
        box.execute("GRANT USAGE ON SCHEMA ods TO weak; GRANT SELECT, INSERT, UPDATE, DELETE ON ods.u TO weak")
        only_key = schema_of(FIRST.select(["id"]), "id")
        assert sink.inspect(box.target(only_key, "ods.u")).problems == ()
    finally:
        sink.close()
        box.execute("DROP OWNED BY weak", "DROP ROLE weak")


@pytest.mark.parametrize(
    "before",
    [
        (),
        ("CREATE SCHEMA ods",),
        ("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY, name text)", "GRANT USAGE ON SCHEMA ods TO weak"),
    ],
    ids=["no schema", "no table", "no rights"],
)
def test_who_may_nothing_runs_once_another_has_run_what_the_plan_prints(box: Box, before: tuple[str, ...]) -> None:
    box.execute("CREATE ROLE weak LOGIN", *before)
    sink = box.open(login="weak")
    source = FakeSource({SCHEMA.table: SCHEMA}, [[(SCHEMA.table, Change(None, {"id": 1, "name": "ann"}))]], visible=1)
    sync = Sync.of("shop", [str(SCHEMA.table)], schema="ods")
    try:
        found = plan(sync, source, sink)
        assert found.problems
        box.execute(*found.ddl)
        assert plan(sync, source, sink).tables[0].preparation.grants == ()
        run(sync, source, sink, owner="test")
        assert rows(box) == [(1, "ann")]
    finally:
        sink.close()
        box.execute("DROP OWNED BY weak", "DROP ROLE weak")


def test_a_partial_or_deferrable_unique_index_is_not_taken_for_the_key(box: Box) -> None:
    box.execute(
        "CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint, name text); CREATE UNIQUE INDEX ON ods.t (id) WHERE name IS NULL"
    )
    assert "no unique index on the key" in box.sink.inspect(box.target(SCHEMA)).strategy
    box.execute("ALTER TABLE ods.t ADD UNIQUE (id) DEFERRABLE")
    assert "no unique index on the key" in box.sink.inspect(box.target(SCHEMA)).strategy
    box.execute("CREATE UNIQUE INDEX ON ods.t (id) INCLUDE (name)", "CREATE UNIQUE INDEX ON ods.t (name, id)")
    assert box.sink.inspect(box.target(SCHEMA)).strategy == "INSERT … ON CONFLICT"


def test_a_table_with_rows_is_not_empty_and_has_an_estimate_once_analyzed(box: Box) -> None:
    target = box.target(SCHEMA)
    box.write(target, inserts(FIRST, "id"))
    assert (box.sink.inspect(target).empty, box.sink.inspect(target).rows) == (False, None)
    box.execute("ANALYZE ods.t")
    assert box.sink.inspect(target).rows == 2
