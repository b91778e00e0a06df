"""Rows that StarRocks would refuse or change are found before they are sent, and no others."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.starrocks.wire import JSON_TEXTS, tables
from tidegate.changes.schema import TableName
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable, Model
from tidegate.providers.starrocks.check import Refusal, refused
from tidegate.providers.starrocks.format import Format
from tidegate.providers.starrocks.jsontext import LONGEST_WRAPPED, invalid_json, misread


def table(*columns: CatalogColumn, key: tuple[str, ...] = (), model: Model = "DUP_KEYS") -> CatalogTable:
    return CatalogTable(TableName("db", "t"), model, columns, key)


def found(
    values: list[Any], kind: pa.DataType, target: str, format: Format | None = None, *, nullable: bool = True
) -> list[Refusal]:
    return refused(pa.table({"v": pa.array(values, kind)}), table(CatalogColumn("v", target, nullable)), format)


@given(tables())
def test_what_fits_is_not_refused(made: tuple[pa.Table, CatalogTable]) -> None:
    assert refused(*made) == []


FLOAT_MAX = 3.4028234663852886e38


@pytest.mark.parametrize(
    ("kind", "target", "good", "bad", "why"),
    [
        (pa.string(), "varchar(4)", ["abcd", "漢", ""], ["abcde", "漢字"], "longer"),
        (pa.string(), "char(2)", ["ab"], ["abc"], "longer"),
        (pa.string(), "char", ["a"], ["ab"], "longer"),
        (pa.binary(), "varbinary(2)", [b"ab"], [b"abc"], "longer"),
        (pa.binary(), "varchar(2)", [b"a"], [b"ab"], "longer"),
        (pa.int32(), "varchar(2)", [99, -9], [100, -10], "longer"),
        (pa.string(), "json", JSON_TEXTS, ["", "x", '{"a":1,}', "1,2", '1,"b":2', '1}\n{"v":2'], "JSON"),
        (pa.string(), "array<int>", ["[1]"], ["[1"], "JSON"),
        (pa.int16(), "tinyint", [127, -128], [128, -129], "range"),
        (pa.uint64(), "bigint", [2**63 - 1], [2**63], "range"),
        (pa.uint64(), "largeint", [2**64 - 1], [], ""),
        (pa.int8(), "boolean", [0, 1], [2, -1], "range"),
        (pa.int32(), "decimal(3,1)", [99, -99], [100, -100], "range"),
        (
            pa.decimal128(5, 2),
            "decimal(3,1)",
            [Decimal("99.90"), Decimal("-0.10")],
            [Decimal("100.00"), Decimal("-100.00")],
            "range",
        ),
        (pa.decimal128(5, 2), "decimal(5,1)", [Decimal("1.10")], [Decimal("1.11"), Decimal("0.05")], "digits after the point"),
        (pa.decimal128(20, 0), "bigint", [Decimal(2**63 - 1)], [Decimal(2**63), Decimal(-(2**63) - 1)], "range"),
        (pa.decimal128(3, 1), "int", [Decimal("1.0")], [Decimal("1.5")], "digits after the point"),
        (pa.decimal256(39, 0), "largeint", [Decimal(2**127 - 1)], [Decimal(2**127)], "range"),
        (pa.float64(), "double", [0.0, 1.7e308], [float("nan"), float("inf"), -float("inf")], "NaN"),
        (pa.float64(), "float", [FLOAT_MAX, -FLOAT_MAX], [3.5e38, -3.5e38], "range"),
        (pa.date32(), "date", [dt.date(1, 1, 1), dt.date(9999, 12, 31), -719_528], [-719_529, 2_932_897], "years"),
        (pa.timestamp("us"), "datetime", [dt.datetime.max], [253_402_300_800_000_000, -62_167_219_200_000_001], "years"),
        (pa.timestamp("us", tz="UTC"), "datetime", [0], [253_402_300_800_000_000], "years"),
        (pa.duration("us"), "varchar(8)", [0], [1], "longer"),
    ],
)
def test_the_refused_values(kind: pa.DataType, target: str, good: list[Any], bad: list[Any], why: str) -> None:
    values = [None, *good, None, *bad]
    refusals = found(values, kind, target)
    marks = np.zeros(len(values), np.bool_)
    for refusal in refusals:
        assert why in refusal.why
        assert refusal.column == "v"
        marks |= refusal.mask
    assert marks.tolist() == [False] * (len(good) + 2) + [True] * len(bad)


def test_null_where_there_must_be_none() -> None:
    (refusal,) = found([1, None], pa.int32(), "int", nullable=False)
    assert (refusal.mask.tolist(), refusal.why) == ([False, True], "NULL in a column that is NOT NULL")
    (refusal,) = found([None], pa.null(), "int", nullable=False)
    assert refusal.mask.tolist() == [True]


def test_values_are_not_in_the_reason() -> None:
    for refusal in [*found(["secret"], pa.string(), "varchar(3)"), *found(["secret"], pa.string(), "json")]:
        assert "secret" not in refusal.why


def test_names_are_matched_without_case_and_other_columns_left_alone() -> None:
    rows = pa.table({"V": ["abc"], "other": ["x" * 100]})
    assert [item.column for item in refused(rows, table(CatalogColumn("v", "varchar(2)")))] == ["V"]


# Keys


def keyed(*kinds: str) -> CatalogTable:
    names = [f"k{at}" for at in range(len(kinds))]
    columns = [CatalogColumn(name, kind, nullable=False, key=True) for name, kind in zip(names, kinds, strict=True)]
    return table(*columns, key=tuple(names), model="PRIMARY_KEYS")


@pytest.mark.parametrize(
    ("kinds", "rows"),
    [
        (("varchar(500)",), [("x" * 128, False), ("x" * 129, True), ("漢" * 43, True)]),
        (("int", "varchar(500)"), [((1, "x" * 124), False), ((1, "x" * 125), True)]),
        # A text before the last column ends in two bytes, and U+0000 in it takes two.
        (
            ("varchar(500)", "bigint"),
            [(("x" * 118, 1), False), (("x" * 119, 1), True), (("\0" * 59, 1), False), (("\0" * 60, 1), True)],
        ),
    ],
)
def test_long_keys(kinds: tuple[str, ...], rows: list[tuple[Any, bool]]) -> None:
    there = keyed(*kinds)
    keys = [key if isinstance(key, tuple) else (key,) for key, _ in rows]
    columns = {name: [key[at] for key in keys] for at, name in enumerate(there.key)}
    (refusal,) = refused(pa.table(columns), there)
    assert refusal.mask.tolist() == [bad for _, bad in rows]
    assert "primary_key_limit_size" in refusal.why


def test_a_key_of_numbers_is_never_too_long() -> None:
    there = keyed("bigint")
    assert refused(pa.table({"k0": [1]}), there) == []


def test_short_keys_are_not_refused() -> None:
    assert refused(pa.table({"k0": ["x"], "k1": [1]}), keyed("varchar(500)", "bigint")) == []


def test_only_primary_keys_are_limited() -> None:
    there = table(CatalogColumn("k", "varchar(500)"), key=("k",))
    assert refused(pa.table({"k": ["x" * 500]}), there) == []


# What only CSV can't send


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        (Format.of("csv"), ["a", " ", '"'], ["a\tb", "a\n", "\\N", ""]),
        (Format.of("csv", "\\x01", "\\x02"), ["a\tb", "a\n"], ["\x01", "\x02", "\\N"]),
        (Format.of("csv", "||", "\\r\\n"), ["a|b", "\r", "\n"], ["a||b", "a|", "\r\n"]),
        (Format.of("csv", enclose='"', escape="\\"), ["a\tb\n", '"', '"a\tb', "\0", ""], ["\\N"]),
        (Format.of("csv", enclose='"'), ["a\tb\n", 'a"', ""], ["\\N", '"', '"a', "\0"]),
    ],
)
def test_what_csv_would_read_as_something_else(format: Format, good: list[str], bad: list[str]) -> None:
    values = [*good, *bad]
    marks = np.zeros(len(values), np.bool_)
    for refusal in found(values, pa.string(), "varchar(100)", format):
        marks |= refusal.mask
    assert marks.tolist() == [False] * len(good) + [True] * len(bad)
    assert found(values, pa.string(), "varchar(100)", Format()) == []


def test_an_empty_string_beside_another_column_is_no_empty_line() -> None:
    rows = pa.table({"a": [""], "b": [1]})
    assert refused(rows, table(CatalogColumn("a", "varchar(1)"), CatalogColumn("b", "int")), Format.of("csv")) == []


# JSON text

_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)
_GOOD = st.builds(json.dumps, _JSON, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 1])).filter(
    lambda text: "\\ud" not in text
)
_PIECES = st.lists(st.sampled_from([*'{}[]",:\\ \n1e-.u', "null", "true", "NaN", "Infinity", '"v"', "\\u00e9"]), max_size=8)
_ANY = st.one_of(
    _GOOD,
    _PIECES.map("".join),
    st.builds(lambda text, at, more: text[:at] + more + text[at:], _GOOD, st.integers(0, 9), _PIECES.map("".join)),
)


def is_json(text: str) -> bool:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return "\\ud" not in text.lower()


@given(st.lists(st.one_of(st.none(), _ANY), max_size=5))
def test_json_text_is_one_value(texts: list[str | None]) -> None:
    assert invalid_json(pa.array(texts, pa.string())).tolist() == [text is not None and not is_json(text) for text in texts]


@given(st.lists(_GOOD, min_size=1, max_size=5))
def test_json_text_is_never_refused(texts: list[str]) -> None:
    assert not invalid_json(pa.array(texts, pa.string())).any()


@pytest.mark.parametrize(
    "bad",
    ["NaN", "[-Infinity]", "1,2", '1,"b":2', '1}{"v":1', '1],"b":[2', "", '"\\ud800"', '"\t"', "01", "1 /**/", "{'a': 1}", "[1"],
)
def test_a_text_that_is_no_value_is_found_among_others(bad: str) -> None:
    assert invalid_json(pa.array(['"NaN and Infinity"', bad, "[1]"])).tolist() == [False, True, False]


def test_one_bad_text_among_many_is_found() -> None:
    texts = ['{"a": 1}'] * 40_000
    texts[33_333] = '{"a": 1'
    assert np.flatnonzero(invalid_json(pa.array(texts))).tolist() == [33_333]


TWICE = [dt.datetime(2024, 10, 27, hour, 30, tzinfo=dt.UTC) for hour in (0, 1)]
"""Both are 02:30 in Berlin."""
ONCE = [
    dt.datetime(2024, 10, 26, 23, 59, tzinfo=dt.UTC),
    dt.datetime(2024, 10, 27, 2, tzinfo=dt.UTC),
    dt.datetime(2024, 3, 31, 1, 30, tzinfo=dt.UTC),
]


def twice(zone: str, *, key: str = "at", model: Model = "PRIMARY_KEYS") -> list[Refusal]:
    instants = pa.array([*ONCE, *TWICE], pa.timestamp("us", tz="UTC"))
    columns = [CatalogColumn("at", "datetime", False), CatalogColumn("id", "int", False)]
    rows = pa.table({"at": instants, "id": pa.array(range(len(instants)), pa.int32())})
    return refused(rows, table(*columns, key=(key,), model=model), time_zone=zone)


@pytest.mark.parametrize("model", ["PRIMARY_KEYS", "AGG_KEYS", "UNIQUE_KEYS"])
def test_two_instants_that_are_written_alike_are_no_keys(model: Model) -> None:
    (refusal,) = twice("Europe/Berlin", model=model)
    assert (refusal.column, refusal.mask.tolist()) == ("at", [False] * len(ONCE) + [True] * 2)
    assert "clocks of Europe/Berlin show twice" in refusal.why


def test_elsewhere_they_are_only_values() -> None:
    assert twice("Europe/Berlin", key="id") == []
    assert twice("Europe/Berlin", model="DUP_KEYS") == []
    assert [twice(zone) for zone in ("UTC", "utc", "Z", "+02:00", "Asia/Shanghai")] == [[]] * 5


BARE = [" null\n", "null", "1", "-0.5", "true", " false"]


@pytest.mark.parametrize(("kind", "other"), [("json", BARE[:2]), ("csv", BARE)])
def test_scalars_that_a_format_would_take_for_something_else(kind: Any, other: list[str]) -> None:
    texts = [*BARE, '{"a": null}', " [null]", '"null"', '""', None]
    assert misread(pa.array(texts, pa.string()), kind).tolist() == [text in other for text in texts]


def test_a_scalar_beside_a_text_that_no_varchar_holds_is_refused() -> None:
    long = f'"{"x" * (LONGEST_WRAPPED - 1)}"'
    (refusal,) = found(["null", long, "1", None], pa.string(), "json")
    assert refusal.mask.tolist() == [True, False, False, False]
    assert found(["null", f'"{long[3:]}'], pa.string(), "json") == []
    assert [one.mask.tolist() for one in found(["1", long], pa.string(), "json", Format.of("csv"))] == [[True, False]]
    assert found(["1", long], pa.string(), "json") == []
