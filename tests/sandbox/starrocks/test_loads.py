"""From the bytes of a load to rows that fit: conversion, strict mode, filters, expressions, and what is refused."""

from __future__ import annotations

import bz2
import datetime
import gzip
import json
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.starrocks.tables import JSON, SCORE_BOARD, engine_with, load, load_csv, rows_of, stage, table
from tests.scale import examples
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.model import ColumnDef, LoadFailed

EVERYTHING = (
    ColumnDef("id", "bigint", nullable=False),
    ColumnDef("tiny", "tinyint"),
    ColumnDef("large", "largeint"),
    ColumnDef("dec", "decimal(20, 3)"),
    ColumnDef("real", "double"),
    ColumnDef("flag", "boolean"),
    ColumnDef("day", "date"),
    ColumnDef("moment", "datetime"),
    ColumnDef("short", "varchar(6)"),
    ColumnDef("doc", "json"),
    ColumnDef("list", "array<int>"),
)


@pytest.fixture
def board() -> Iterator[Engine]:
    engine = engine_with(table(*SCORE_BOARD))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def wide() -> Iterator[Engine]:
    engine = engine_with(table(*EVERYTHING))
    yield engine
    engine.close()


_row = st.fixed_dictionaries(
    {
        "tiny": st.none() | st.integers(-128, 127),
        "large": st.none() | st.integers(-(2**127), 2**127 - 1),
        "dec": st.none() | st.decimals(-(10**16), 10**16, places=3),
        "real": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "flag": st.none() | st.booleans(),
        "day": st.none() | st.dates(),
        "moment": st.none() | st.datetimes(),
        "short": st.none() | st.text("aé ;", max_size=3),
        "list": st.none() | st.lists(st.none() | st.integers(-5, 5), max_size=3),
    }
)


@settings(max_examples=examples(15), deadline=None)
@given(rows=st.lists(_row, min_size=1, max_size=5), kind=st.sampled_from(["json", "csv"]))
def test_values_of_every_type_come_back_equal(wide: Engine, rows: list[dict[str, Any]], kind: str) -> None:
    wide.truncate("test", "t")
    names = ["id", *rows[0]]
    rows = [{"id": number, **{name: row[name] for name in names[1:]}} for number, row in enumerate(rows)]
    if kind == "json":
        as_json = {"dec": str, "day": str, "moment": str, "large": str}
        plain = [{name: as_json.get(name, lambda v: v)(v) if v is not None else None for name, v in row.items()} for row in rows]
        load(wide, plain)
    else:
        text = [["\\N" if v is None else str(v).replace("None", "null") for v in row.values()] for row in rows]
        load_csv(wide, "".join("\t".join(row) + "\n" for row in text), {"columns": ",".join(names)})
    assert rows_of(wide, ", ".join(f'"{name}"' for name in names)) == [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize("text", ["300", "x", "12.7", ""])
def test_what_does_not_convert_is_null_unless_strict(wide: Engine, text: str) -> None:
    wide.truncate("test", "t")
    assert load_csv(wide, f"1\t{text}\n", {"columns": "id,tiny"}).filtered == 0
    assert rows_of(wide, "id, tiny") == [(1, None)]
    with pytest.raises(LoadFailed, match="too many filtered rows") as failure:
        load_csv(wide, f"1\t{text}\n", {"columns": "id,tiny", "strict_mode": "true"})
    why = f"Error: The field (name = tiny, pos = 1) is out of range. Type: TINYINT, Value length: {len(text)}, Value: {text}"
    assert failure.value.error_lines == (f"{why}. Row: 1\t{text}",)
    assert (failure.value.total, failure.value.filtered, failure.value.loaded) == (1, 1, 0)


def test_json_cuts_the_fraction_of_a_number_in_an_integer_column(wide: Engine) -> None:
    wide.truncate("test", "t")
    load(wide, [{"id": 1, "tiny": 12.7}, {"id": 2, "tiny": "12.7"}, {"id": 3, "tiny": True}])
    assert rows_of(wide, "id, tiny") == [(1, 12), (2, 12), (3, None)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2024-06-15 07:53:01.25", datetime.datetime(2024, 6, 15, 7, 53, 1, 250000)),
        ("2024-06-15T07:53:01", datetime.datetime(2024, 6, 15, 7, 53, 1)),
        ("2024-06-15", datetime.datetime(2024, 6, 15)),
        ("20240615", datetime.datetime(2024, 6, 15)),
        ("20240615075301", datetime.datetime(2024, 6, 15, 7, 53, 1)),
        ("2024-06-15T07:53", datetime.datetime(2024, 6, 15, 7, 53)),
        ("2024/6/5 7:3:1", datetime.datetime(2024, 6, 5, 7, 3, 1)),
        ("24-6-5", datetime.datetime(2024, 6, 5)),
        ("70-06-05", datetime.datetime(1970, 6, 5)),
        ("  2024-06-15   07:53:01\t", datetime.datetime(2024, 6, 15, 7, 53, 1)),
        ("2024-06-15 07:53:01 foo", datetime.datetime(2024, 6, 15, 7, 53, 1)),
        ("2024-06-15 07:53:01.", datetime.datetime(2024, 6, 15, 7, 53, 1)),
        ("2024-06-15 07:53:01.1234567", datetime.datetime(2024, 6, 15, 7, 53, 1, 123456)),
        ("2024-06-15T07:53:01.25Z", datetime.datetime(2024, 6, 15, 7, 53, 1, 250000)),
        ("2024-06-15 07:53:01+08:00", datetime.datetime(2024, 6, 15, 7, 53, 1)),
        ("2024-06-15 07:53+08", datetime.datetime(2024, 6, 15, 7, 53, 8)),
        ("2024-06-15t07:53:01", datetime.datetime(2024, 6, 15)),
        ("2024-06-15 foo", datetime.datetime(2024, 6, 15)),
        ("2024-06-15 07:53 foo", None),
        ("2024-06-15 24:00:00", None),
        ("2024-06-15 23:59:60", None),
        ("2024 06 15", None),
        ("2024-02-30", None),
        ("0000-00-00 00:00:00", None),
    ],
)
def test_datetimes(wide: Engine, text: str, want: datetime.datetime | None) -> None:
    wide.truncate("test", "t")
    load(wide, [{"id": 1, "moment": text}])
    assert rows_of(wide, "id, moment") == [(1, want)]
    if want is None:
        with pytest.raises(LoadFailed) as failure:
            load(wide, [{"id": 1, "moment": text}], {"strict_mode": "true"})
        assert f"Value ''{text}'' is out of range. The type of 'moment' is DATETIME. Row: ['1'," in failure.value.error_lines[0]


def test_csv_takes_the_datetimes_that_json_takes(wide: Engine) -> None:
    wide.truncate("test", "t")
    load_csv(wide, "1\t2024-06-15 07:53:01+08:00\t2024-06-15 foo\n", {"columns": "id,moment,day", "strict_mode": "true"})
    assert rows_of(wide, "id, moment, day") == [(1, datetime.datetime(2024, 6, 15, 7, 53, 1), datetime.date(2024, 6, 15))]


def test_a_negative_zero_keeps_its_sign_where_the_text_is_no_integer_of_json() -> None:
    engine = engine_with(table(ColumnDef("id", "int", nullable=False), ColumnDef("f", "float"), ColumnDef("d", "double")))
    body = b'[{"id":1,"f":-0.0,"d":-0.0},{"id":2,"f":"-0","d":"-0"},{"id":3,"f":-0e0,"d":-0E+1},{"id":4,"f":-0,"d":-0}]'
    engine.publish([engine.stage("test", "t", JSON, body)])
    load_csv(engine, "5\t-0\t-0.0e0\n")
    assert [(id_, str(f), str(d)) for id_, f, d in rows_of(engine)] == [
        *((id_, "-0.0", "-0.0") for id_ in (1, 2, 3)),
        (4, "0.0", "0.0"),
        (5, "-0.0", "-0.0"),
    ]
    engine.close()


def test_a_varchar_counts_bytes(wide: Engine) -> None:
    wide.truncate("test", "t")
    assert load(wide, [{"id": 1, "short": "ééé"}, {"id": 2, "short": "éééa"}]).filtered == 0
    assert rows_of(wide, "id, short") == [(1, "ééé"), (2, None)]
    with pytest.raises(LoadFailed) as failure:
        load(wide, [{"id": 2, "short": "éééa"}], {"strict_mode": "true"})
    assert "Value length is beyond the capacity. column=short, capacity=6" in failure.value.error_lines[0]


def test_a_server_before_3_filters_a_text_that_is_too_long_in_json() -> None:
    engine = engine_with(table(*EVERYTHING), version="2.5.18")
    with pytest.raises(LoadFailed) as failure:
        load(engine, [{"id": 2, "short": "éééa"}])
    assert failure.value.error_lines == ("Error: String 'éééa'(length=7) is too long. The max length of 'short' is 6",)
    engine.close()


def test_a_computed_text_that_is_too_long_is_filtered(wide: Engine) -> None:
    with pytest.raises(LoadFailed) as failure:
        load_csv(wide, "1\tabcd\n", {"columns": "id,x,short=concat(x,x)"})
    assert failure.value.error_lines == ("Error: String 'abcdabcd'(length=8) is too long. The max length of 'short' is 6",)


def test_documents_keep_their_text_and_their_kind(wide: Engine) -> None:
    wide.truncate("test", "t")
    load(wide, [{"id": 1, "doc": {"a": [1, "é"]}}, {"id": 2, "doc": "text"}, {"id": 3, "doc": None}, {"id": 4, "list": "no"}])
    assert rows_of(wide, "id, doc") == [(1, '{"a":[1,"é"]}'), (2, '"text"'), (3, None), (4, None)]


def test_a_json_column_holds_null_apart_from_no_value(wide: Engine) -> None:
    wide.truncate("test", "t")
    inside = "doc=json_query(parse_json(concat('[', doc__text, ']')), '$[0]')"
    rows: list[dict[str, Any]] = [{"id": id_, "doc__text": text} for id_, text in enumerate(["null", None, "1", '"null"', "{bad"])]
    load(wide, rows, {"columns": f"id,doc__text,{inside}"})
    load(wide, [{"id": 5, "doc": None}, {"id": 6}])
    assert rows_of(wide, "id, doc, doc IS NULL") == [
        *((0, "null", False), (1, None, True), (2, "1", False), (3, '"null"', False), (4, None, True)),
        *((5, None, True), (6, None, True)),
    ]


def test_parse_json_makes_a_string_of_what_begins_neither_an_object_nor_an_array(wide: Engine) -> None:
    wide.truncate("test", "t")
    body = 'null\n1\ntrue\n"x"\n{"a": null}\n{bad\n\\N\n'
    texts = "".join(f"{id_}\t{line}\n" for id_, line in enumerate(body.splitlines()))
    assert load_csv(wide, texts, {"columns": "id,x,doc=parse_json(x)", "strict_mode": "true"}).filtered == 0
    want = ['"null"', '"1"', '"true"', '"x"', '{"a": null}', None, None]
    assert rows_of(wide, "id, doc") == list(enumerate(want))
    load_csv(wide, "7\tnull\n", {"columns": "id,x,doc=concat(x, '')"})
    assert rows_of(wide, "id, doc")[7] == (7, '"null"')


def test_null_in_a_column_that_takes_none_is_filtered_also_when_it_is_to_delete(board: Engine) -> None:
    with pytest.raises(LoadFailed) as failure:
        load(board, [{"id": 1, "name": "a"}, {"id": 2, "__op": 1}, {"id": 3, "name": "b", "score": 1}])
    lines = failure.value.error_lines
    assert lines[0] == "Error: NULL value in non-nullable column 'score'. Row: [1, 'a', NULL]"
    assert (len(lines), failure.value.filtered, failure.value.loaded) == (2, 2, 1)


def test_max_filter_ratio_is_of_the_selected_rows(board: Engine) -> None:
    body = "1\ta\t1\n2\tb\n3\tc\t3\n4\td\t4\n"
    done = load_csv(board, body, {"max_filter_ratio": "0.25"})
    assert (done.total, done.loaded, done.filtered, done.unselected) == (4, 3, 1, 0)
    with pytest.raises(LoadFailed, match="too many filtered rows"):
        load_csv(board, body, {"max_filter_ratio": "0.25", "where": "score < 4"})
    done = load_csv(board, body, {"max_filter_ratio": "0.34", "where": "score < 4"})
    assert (done.loaded, done.filtered, done.unselected) == (2, 1, 1)


def test_rows_of_which_nothing_is_left_to_load_fail_at_commit(board: Engine) -> None:
    staged = board.stage("test", "t", {"max_filter_ratio": "1"}, b"1\n")
    with pytest.raises(LoadFailed, match="No partitions have data available for loading"):
        board.check([staged])
    full = stage(board, [{"id": 1, "name": "", "score": 1}])
    board.publish([staged, full])
    assert board.row_count("test", "t") == 1


def test_at_most_fifty_lines_are_kept_and_rejected_rows_as_many_as_asked(board: Engine) -> None:
    body = "".join(f"{number}\n" for number in range(80)).encode()
    with pytest.raises(LoadFailed) as failure:
        board.stage("test", "t", {"log_rejected_record_num": "60"}, body)
    assert len(failure.value.error_lines) == 50
    assert failure.value.rejected_rows == tuple(str(number) for number in range(60))
    assert failure.value.filtered == 80


def test_expressions_compute_columns_and_operations(board: Engine) -> None:
    load_csv(board, "1\ta\t7\t0\n2\tb\t8\t0\n", {"columns": "id,tmp,score,op,name=upper(tmp),__op=op"})
    load_csv(board, "3,x\n", {"columns": "x,y,id=x+1,name=concat(y,'-',x),score=if(y='x',5,6)", "column_separator": ","})
    assert rows_of(board) == [(1, "A", 7), (2, "B", 8), (4, "x-3", 5)]
    load_csv(board, "1\n", {"columns": "id,name='',score=0,__op='delete'"})
    assert [row[0] for row in rows_of(board)] == [2, 4]


def test_a_column_that_is_not_listed_has_its_default(board: Engine) -> None:
    load_csv(board, "1\n", {"columns": "id"})
    assert rows_of(board) == [(1, "", 0)]


NUMBERED = (
    ColumnDef("id", "bigint", nullable=False),
    ColumnDef("n", "bigint", nullable=False, auto_increment=True),
    ColumnDef("v", "int"),
)


def test_rows_that_bring_no_number_get_the_next_one() -> None:
    engine = engine_with(table(*NUMBERED))
    load_csv(engine, "1\t5\n2\t6\n", {"columns": "id,v"})
    load_csv(engine, "3\t7\n")
    load_csv(engine, "4\t\\N\n5\t100\n6\tx\n", {"columns": "id,n"})
    load(engine, [{"id": 7, "n": 200, "v": 1}])
    assert rows_of(engine) == [(1, 1, 5), (2, 2, 6), (3, 3, 7), (4, 4, None), (5, 100, None), (6, 5, None), (7, 6, 1)]
    with pytest.raises(LoadFailed, match="too many filtered rows"):
        load_csv(engine, "6\tx\n", {"columns": "id,n", "strict_mode": "true"})
    engine.close()


def test_a_partial_update_leaves_the_number_of_a_row_that_is_there() -> None:
    engine = engine_with(table(*NUMBERED))
    load_csv(engine, "1\t100\t0\n", {"columns": "id,n,v"})
    load_csv(engine, "1\t9\n2\t9\n", {"columns": "id,v", "partial_update": "true"})
    assert rows_of(engine) == [(1, 100, 9), (2, 1, 9)]
    engine.close()


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    for id_ in (1, 2):
        engine = Engine("3.3.5", tmp_path / "t.duckdb")
        engine.create_database("test", if_not_exists=True)
        engine.create_table(table(*NUMBERED), if_not_exists=True)
        load_csv(engine, f"{id_}\t0\n", {"columns": "id,v"})
        numbers = [row[1] for row in rows_of(engine)]
        engine.close()
    assert len(set(numbers)) == 2


GENERATED = (
    ColumnDef("id", "int", nullable=False),
    ColumnDef("list", "array<int>"),
    ColumnDef("doc", "json"),
    ColumnDef("mean", "double", generated="array_avg(list)"),
    ColumnDef("a", "varchar(65533)", generated="json_string(json_query(doc, '$.a'))"),
)


def test_generated_columns_are_computed_from_the_rows_values() -> None:
    engine = engine_with(table(*GENERATED))
    load_csv(engine, '1|[1,2]|{"a": 1}\n2|\\N|{}\n', {"column_separator": "|"})
    load(engine, [{"id": 3, "list": [4], "doc": {"a": [5]}, "mean": 7}])
    load_csv(engine, "4|6\n", {"column_separator": "|", "columns": "id,x,list=concat('[', x, ']')"})
    assert rows_of(engine, "id, mean, a") == [(1, 1.5, "1"), (2, None, None), (3, 4.0, "[5]"), (4, 6.0, None)]
    assert engine.insert("test", "t", ["id", "list"], [[5, [7, 8]]]) == 1
    assert rows_of(engine, "id, mean, a")[4] == (5, 7.5, None)
    engine.close()


def test_a_partial_update_brings_all_that_generated_columns_are_computed_from() -> None:
    engine = engine_with(table(*GENERATED))
    headers = {"column_separator": "|", "partial_update": "true"}
    load_csv(engine, '1|[1,2]|{"a": 1}\n', {"column_separator": "|"})
    load_csv(engine, '1|[3,4]|{"a": 3}\n2|[3,4]|{"a": 3}\n', {**headers, "columns": "id,list,doc"})
    assert rows_of(engine, "id, mean, a") == [(1, 3.5, "3"), (2, 3.5, "3")]
    with pytest.raises(LoadFailed, match="column doc needs to be used for expression evaluation for materialized column a"):
        load_csv(engine, "1|[3]\n", {**headers, "columns": "id,list"})
    engine.close()


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ("id,list,mean", "generated column: mean can not be specified"),
        ("id,list,x,MEAN=x", "generated column: MEAN can not be specified"),
        ("id,list,x,doc=concat(x, mean)", "Mapping column can not ref generated column: mean"),
    ],
)
def test_a_load_that_names_a_generated_column_is_refused(columns: str, why: str) -> None:
    engine = engine_with(table(*GENERATED))
    with pytest.raises(LoadFailed, match=why):
        load_csv(engine, "1\t[3]\t1\n", {"columns": columns})
    engine.close()


def test_time_zones_move_what_from_unixtime_gives(board: Engine) -> None:
    for zone, hour in (("Asia/Shanghai", "08"), ("UTC", "00"), ("+02:00", "02")):
        load_csv(board, "1\t0\n", {"columns": "id,t,name=from_unixtime(t)", "timezone": zone})
        assert rows_of(board, "id, name") == [(1, f"1970-01-01 {hour}:00:00")]


def test_a_default_of_now_is_in_the_loads_time_zone() -> None:
    engine = engine_with(table(ColumnDef("id", "int", nullable=False), ColumnDef("at", "datetime", default="CURRENT_TIMESTAMP")))
    for id_, zone in ((1, "UTC"), (2, "Asia/Shanghai")):
        load_csv(engine, f"{id_}\n", {"columns": "id", "timezone": zone})
    (_, there), (_, here) = rows_of(engine)
    assert datetime.timedelta(hours=8) <= here - there < datetime.timedelta(hours=9)
    engine.close()


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"format": "xml"}, "unknown data format, format=xml"),
        ({"columns": "id,name"}, None),
        ({"columns": "name,score"}, "Column has no default value. column: id"),
        ({"columns": "id,x,other=x"}, "Mapping column is not in table. column: other"),
        ({"columns": "id,score=y"}, "unknown reference column, column=score, reference=y"),
        ({"columns": "id,id"}, "Duplicate column: id"),
        ({"columns": "id,x,score=nosuchfunction(x)"}, "No matching function"),
        ({"columns": "id,x,score=(x"}, "syntax error"),
        ({"columns": "id,score,__op='truncate'"}, "load op type string not supported"),
        ({"where": "nothing = 1"}, "unknown column reference in where statement, reference=nothing"),
        ({"timezone": "Mars/Olympus"}, "Unknown or incorrect time zone: 'Mars/Olympus'"),
        ({"max_filter_ratio": "2"}, "Invalid max_filter_ratio value"),
        ({"column_separator": "\\x0"}, "Invalid delimiter"),
        ({"row_delimiter": "a" * 51}, r"the valid bytes length for row delimiter is \[1, 50\]"),
    ],
)
def test_headers_that_the_server_refuses(board: Engine, headers: dict[str, str], why: str | None) -> None:
    if why is None:
        board.stage("test", "t", headers, b"1\ta\n")
        return
    with pytest.raises(LoadFailed, match=why):
        board.stage("test", "t", headers, b"1\ta\t1\n")


def test_a_table_that_is_not_there_is_refused(board: Engine) -> None:
    with pytest.raises(LoadFailed, match=r"^unknown table, table=x$"):
        board.stage("test", "x", {}, b"")
    with pytest.raises(LoadFailed, match=r"^unknown database, database=x$"):
        board.stage("x", "t", {}, b"")


def test_bitmap_and_hll_columns_take_only_their_functions() -> None:
    key, agg = ColumnDef("id", "int"), ("BITMAP_UNION", "HLL_UNION")
    engine = engine_with(
        table(key, ColumnDef("users", "bitmap", aggregation=agg[0]), model="AGG_KEYS", name="b"),
        table(key, ColumnDef("users", "hll", aggregation=agg[1]), model="AGG_KEYS", name="h"),
    )
    with pytest.raises(LoadFailed, match="bitmap column require the function return type is BITMAP"):
        stage(engine, [{"id": 1, "users": 1}], name="b")
    with pytest.raises(LoadFailed, match="HLL column must use hll_hash function"):
        stage(engine, [{"id": 1, "users": 1}], name="h")
    load_csv(engine, "1\t5\n1\tx\n1\t\\N\n", {"columns": "id,u,users=to_bitmap(u)"}, name="b")
    assert rows_of(engine, "id, users", name="b") == [(1, [5])]
    assert engine.insert("test", "b", ["id", "users"], [[1, [7, 5]]]) == 1
    assert rows_of(engine, "id, users", name="b") == [(1, [5, 7])]
    engine.close()


def test_a_primary_key_of_more_than_128_bytes_fails_the_load() -> None:
    engine = engine_with(
        table(ColumnDef("id", "varchar(300)", nullable=False), ColumnDef("n", "int", nullable=False), key=("id", "n"))
    )
    load(engine, [{"id": "x" * 122, "n": 1}])
    with pytest.raises(LoadFailed, match=r"^primary key size exceed the limit\.$"):
        load(engine, [{"id": "x" * 123, "n": 1}])
    engine.close()


def test_a_json_body_over_the_limit_needs_ignore_json_size(board: Engine) -> None:
    board.json_limit = 20
    rows = [{"id": 1, "name": "a", "score": 1}]
    with pytest.raises(LoadFailed, match="The size of this batch exceed the max size"):
        load(board, rows)
    assert load(board, rows, {"ignore_json_size": "true"}).loaded == 1


@pytest.mark.parametrize(("how", "version", "taken"), [("gzip", "3.3.5", True), ("zstd", "3.2.7", True), ("gzip", "3.2.6", False)])
def test_compressed_json_is_understood_from_3_2_7_on(how: str, version: str, taken: bool) -> None:
    engine = engine_with(table(*SCORE_BOARD), version=version)
    body = json.dumps([{"id": 1, "name": "a", "score": 1}]).encode()
    packed = gzip.compress(body) if how == "gzip" else bytes(pa.compress(body, "zstd", asbytes=True))
    if taken:
        assert engine.stage("test", "t", {**JSON, "compression": how}, packed).loaded == 1
    else:
        with pytest.raises(LoadFailed):
            engine.stage("test", "t", {**JSON, "compression": how}, packed)
    engine.close()


def test_compressed_csv(board: Engine) -> None:
    body = b"1\ta\t1\n"
    lz4 = pa.BufferOutputStream()
    with pa.CompressedOutputStream(lz4, "lz4") as stream:
        stream.write(body)
    for how, packed in (
        ("gzip", gzip.compress(body)),
        ("bzip2", bz2.compress(body)),
        ("deflate", zlib.compress(body)),
        ("lz4_frame", lz4.getvalue().to_pybytes()),
    ):
        assert board.stage("test", "t", {"compression": how}, packed).loaded == 1
        with pytest.raises(LoadFailed, match="failed to decompress"):
            board.stage("test", "t", {"compression": how}, body)


def test_what_a_version_does_not_know_it_ignores() -> None:
    old, new = engine_with(table(*SCORE_BOARD), version="2.5.18"), engine_with(table(*SCORE_BOARD), version="3.1.2")
    headers = {"column_separator": ",", "enclose": '"'}
    assert [load_csv(engine, '1,"a",1\n', headers).loaded for engine in (old, new)] == [1, 1]
    assert [rows_of(engine) for engine in (old, new)] == [[(1, '"a"', 1)], [(1, "a", 1)]]
    with pytest.raises(LoadFailed, match="Conditional update does not support partial update"):
        load_csv(new, "1\t5\n", {"columns": "id,score", "partial_update": "true", "merge_condition": "score"})
    old.close()
    new.close()


def test_debezium_events_are_applied_by_servers_that_know_them() -> None:
    engine = engine_with(table(*SCORE_BOARD), version="4.0.1")
    events: list[dict[str, Any]] = [{"op": "c", "after": {"id": id_, "name": "a", "score": id_}} for id_ in (1, 2)]
    events.append({"op": "d", "before": {"id": 1, "name": "a", "score": 1}, "after": None})
    body = "\n".join(map(json.dumps, events)).encode()
    engine.publish([engine.stage("test", "t", {"format": "json", "envelope": "debezium"}, body)])
    assert rows_of(engine) == [(2, "a", 2)]
    engine.close()


def test_decimals_are_rounded_half_up_and_never_pass_through_a_float(wide: Engine) -> None:
    wide.truncate("test", "t")
    body = b'[{"id":1,"dec":12345678901234567.1235},{"id":2,"dec":-0.0005},{"id":3,"dec":123456789012345678}]'
    wide.publish([wide.stage("test", "t", JSON, body)])
    assert rows_of(wide, "id, dec") == [(1, Decimal("12345678901234567.124")), (2, Decimal("-0.001")), (3, None)]
