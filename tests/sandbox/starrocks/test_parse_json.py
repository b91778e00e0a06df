"""JSON as the backend reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.sandbox.starrocks.headers import LoadHeaders
from tidegate.sandbox.starrocks.model import LoadFailed
from tidegate.sandbox.starrocks.parse_json import as_text, columns_of, dumps, parse_json, parse_path, parse_paths

ARRAY = LoadHeaders("json", strip_outer_array=True)
LINES = LoadHeaders("json")
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
_rows = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), _values), max_size=5)


@given(_rows)
def test_what_pythons_json_writes_comes_back_as_an_array_or_as_lines(rows: list[dict[str, Any]]) -> None:
    for body, headers in (
        (json.dumps(rows), ARRAY),
        ("\n".join(map(json.dumps, rows)), LINES),
        ("".join(map(json.dumps, rows)), LINES),
    ):
        if rows or headers is ARRAY:
            assert [json.loads(dumps(row)) for row in parse_json(body.encode(), headers)] == rows


def test_numbers_keep_their_digits() -> None:
    (row,) = parse_json(b'{"a": 12345678901234567890.120, "b": [1.10], "c": 1e400}', LINES)
    assert [as_text(row[name]) for name in "abc"] == ["12345678901234567890.120", "[1.10]", "1e400"]


def test_text_of_what_is_not_text() -> None:
    assert [as_text(value) for value in (True, False, None, "x", {"a": ["é", None]})] == ["1", "0", None, "x", '{"a":["é",null]}']


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (b'{"a":1}', ARRAY, "the value should be array type with strip_outer_array=true"),
        (b'[{"a":1}]', LINES, "the value should be object type with strip_outer_array=false"),
        (b"[1]", ARRAY, "the value should be object type in outer array"),
        (b"x", ARRAY, "illegal json started with x"),
        (b'[{"a":NaN}]', ARRAY, "Failed to parse json"),
        (b'[{"a":1}', ARRAY, "Failed to parse json"),
        (b"\xff", ARRAY, "not valid UTF-8"),
    ],
)
def test_a_body_that_is_not_what_was_announced_fails_as_a_whole(body: bytes, headers: LoadHeaders, why: str) -> None:
    with pytest.raises(LoadFailed, match=why) as failure:
        parse_json(body, headers)
    assert failure.value.error_lines[0].startswith("Error: ")


def test_names_are_told_apart_by_case_and_a_missing_operation_is_an_upsert() -> None:
    rows = parse_json(b'[{"a":"x","A":"y","other":1},{"__op":1}]', ARRAY)
    assert columns_of(rows, ["a", "b", "__op"], None) == [["x", None], [None, None], ["0", "1"]]


def test_paths_are_matched_with_the_columns_in_order() -> None:
    rows = parse_json(b'{"a":{"b c":[1,{"d":2}]},"e.f":3}', LINES)
    paths = parse_paths('["$.a.b c[1].d", "$.\\"e.f\\"", "$.nothing", "$.a.b c[7]"]')
    assert columns_of(rows, ["v", "w", "x", "y", "z"], paths) == [["2"], ["3"], [None], [None], [None]]


@pytest.mark.parametrize("text", ["a.b", "$..a", "$.a[", "$.a[*]"])
def test_a_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LoadFailed, match="Invalid json path"):
        parse_path(text)


def test_a_root_is_gone_down_to_first() -> None:
    body = b'{"code":0,"data":[{"a":1},{"a":2}]}'
    headers = LoadHeaders("json", json_root="$.data", strip_outer_array=True)
    assert parse_json(body, headers) == [{"a": "1"}, {"a": "2"}]
    assert parse_json(b'{"data":{"a":1}}{"data":{"a":2}}', LoadHeaders("json", json_root="$.data")) == [{"a": "1"}, {"a": "2"}]
    with pytest.raises(LoadFailed, match="json root not found"):
        parse_json(b'{"a":1}', LoadHeaders("json", json_root="$.data"))


def test_debezium_events_become_rows_and_operations() -> None:
    events = [{"op": "c", "before": None, "after": {"id": 1}}, {"payload": {"op": "d", "before": {"id": 2}, "after": None}}]
    body = "\n".join(map(json.dumps, events)).encode()
    assert parse_json(body, LoadHeaders("json", debezium=True)) == [{"id": "1", "__op": "0"}, {"id": "2", "__op": "1"}]
    with pytest.raises(LoadFailed, match="invalid debezium event"):
        parse_json(b'{"op":"t"}', LoadHeaders("json", debezium=True))
