"""The headers ``columns`` and ``where``, and StarRocks' types."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.starrocks.tables import engine_with
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.expressions import condition, parse_columns, split_list
from tidegate.sandbox.starrocks.model import EngineError, LoadFailed
from tidegate.sandbox.starrocks.sqltypes import parse_type


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = engine_with()
    yield engine
    engine.close()


@given(st.lists(st.sampled_from(["a", "`b,c`", "f(x, g(y))", "'it,s'", "x = if(a, 'b,', 1)", "m['a,b']"]), min_size=1))
def test_commas_inside_of_quotes_and_brackets_do_not_split(items: list[str]) -> None:
    assert split_list(", ".join(items)) == items


def test_names_and_expressions_are_told_apart() -> None:
    found = parse_columns("page_id, `visit date`,user_id,visit_users=to_bitmap(user_id), __op = 'delete'")
    assert found.fields == ("page_id", "visit date", "user_id")
    assert [(one.name, one.function, one.refers) for one in found.mappings] == [
        ("visit_users", "to_bitmap", ("user_id",)),
        ("__op", "", ()),
    ]
    assert found.mappings[1].sql == "1"
    assert parse_columns("  ").fields == ()


@pytest.mark.parametrize("text", ["a,,b", "a b", "a=", "=b", "a=b,A=c"])
def test_a_list_that_can_not_be_read_is_refused(text: str) -> None:
    with pytest.raises(LoadFailed):
        parse_columns(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("year(d)", 2024),
        ("month('x')", None),
        ("n + 1", 13.0),
        ("t * 2", None),
        ("cast(t as int)", None),
        ("concat(t, '-', n)", "abc-12"),
        ("if(n > 3, 'big', 'small')", "big"),
        ("replace(t, 'b', 'CAST(')", "aCAST(c"),
        ("nullif(t, 'abc')", None),
        ("ifnull(nothing, t)", "abc"),
        ("substr(t, 2, 1)", "b"),
        ("date_format(d, '%Y%m%d')", "20240615"),
        ("cast(str_to_date('2024|06|15', '%Y|%m|%d') as varchar)", "2024-06-15"),
        ("bitmap_count(to_bitmap(n))", 1),
        ("to_bitmap(t)", None),
        ("bitmap_to_string(bitmap_from_string('3,1,3'))", "1,3"),
        ("hll_cardinality(hll_hash(t))", 1),
        ("hll_cardinality(hll_hash(nothing))", 0),
        ("parse_json(t)", '"abc"'),
        ("parse_json('null')", '"null"'),
        ("parse_json(n)", '"12"'),
        ("parse_json('')", '""'),
        ("parse_json(' [1, null]')", " [1, null]"),
        ("parse_json('{star: 1}')", None),
        ("parse_json(nothing)", None),
        ("json_query(parse_json(concat('[', n, ']')), '$[0]')", "12"),
        ("json_query(parse_json('[null]'), '$[0]')", "null"),
        ("json_query(parse_json('[null]'), '$[1]')", None),
        ("json_string(json_query(parse_json('{\"a\": [1]}'), '$.a'))", "[1]"),
    ],
)
def test_what_expressions_give(engine: Engine, text: str, want: object) -> None:
    sql = parse_columns(f"d, n, t, nothing, x={text}").mappings[0].sql
    source = "(SELECT '2024-06-15 01:02:03' AS d, '12' AS n, 'abc' AS t, NULL::VARCHAR AS nothing)"
    assert engine.query(f"SELECT {sql} FROM {source}")[1] == [(want,)]


def test_a_condition_names_its_columns() -> None:
    sql, names = condition("a > 3 and b = 'x'")
    assert names == ("a", "b")
    assert sql == 'TRY_CAST("a" AS DOUBLE) > 3 AND "b" = \'x\''


@pytest.mark.parametrize(
    ("text", "duckdb", "shown"),
    [
        ("int(11)", "INTEGER", "INT"),
        ("LARGEINT", "HUGEINT", "LARGEINT"),
        ("bigint ( 20 )", "BIGINT", "BIGINT"),
        ("varchar(20)", "VARCHAR", "VARCHAR(20)"),
        ("string", "VARCHAR", "VARCHAR(65533)"),
        ("decimal(20, 3)", "DECIMAL(20,3)", "DECIMAL128(20, 3)"),
        ("decimal64(10,2)", "DECIMAL(10,2)", "DECIMAL64(10, 2)"),
        ("bitmap", "UBIGINT[]", "BITMAP"),
        ("array<array<decimal(5,1)>>", "DECIMAL(5,1)[][]", "ARRAY<ARRAY<DECIMAL32(5, 1)>>"),
        (
            "map<varchar(3),struct<a int, Bc date>>",
            'MAP(VARCHAR, STRUCT("a" INTEGER, "Bc" DATE))',
            "MAP<VARCHAR(3), STRUCT{a INT, Bc DATE}>",
        ),
    ],
)
def test_types(text: str, duckdb: str, shown: str) -> None:
    assert (parse_type(text).duckdb, str(parse_type(text))) == (duckdb, shown)


@pytest.mark.parametrize(
    "text",
    [
        "uuid",
        "bigint(20) unsigned",
        "int(a)",
        "decimal(39,1)",
        "decimal(3,4)",
        "varchar(1048577)",
        "char(256)",
        "array<int,int>",
        "map<int>",
        "",
    ],
)
def test_types_that_are_none(text: str) -> None:
    with pytest.raises(EngineError):
        parse_type(text)
