"""compare sees every kind of difference, and none where there is none."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tidegate.errors import SchemaError
from tidegate.verify.compare import compare

EXPECTED = pa.table({"id": [1, 2, 3], "a": ["x", None, "z"], "f": [1.0, float("nan"), None]})


def test_the_order_of_rows_and_the_width_of_integers_do_not_matter() -> None:
    actual = EXPECTED.take([2, 0, 1]).set_column(0, "id", pa.array([3, 1, 2], pa.int16()))
    assert compare(EXPECTED, actual, ["id"]).equal


def test_each_difference_is_counted_where_it_is() -> None:
    actual = pa.table({"id": [2, 3, 4], "a": ["", "z", "new"], "f": [float("nan"), 0.0, 1.0]})
    difference = compare(EXPECTED, actual, ["id"])
    assert (difference.missing, difference.unexpected, difference.changed) == (1, 1, 2)
    assert difference.columns == {"a": 1, "f": 1}
    assert str(difference) == "1 missing, 1 unexpected, 2 changed, in a (1), f (1)"


def test_null_is_not_the_empty_string() -> None:
    actual = EXPECTED.set_column(1, "a", pa.array(["x", "", "z"]))
    assert compare(EXPECTED, actual, ["id"]).columns == {"a": 1}


def test_a_missing_column_and_a_repeated_key_are_errors() -> None:
    with pytest.raises(SchemaError, match="missing: f"):
        compare(EXPECTED, EXPECTED.drop_columns(["f"]), ["id"])
    with pytest.raises(SchemaError, match="twice in the actual rows"):
        compare(EXPECTED, pa.concat_tables([EXPECTED, EXPECTED]), ["id"])


def test_null_is_the_empty_string_where_the_database_says_so() -> None:
    actual = EXPECTED.set_column(1, "a", pa.array(["x", "", "z"]))
    assert compare(EXPECTED, actual, ["id"], empty_is_null=True).equal
    assert compare(actual, EXPECTED, ["id"], empty_is_null=True).equal
    other = EXPECTED.set_column(1, "a", pa.array(["", None, "z"]))
    assert compare(EXPECTED, other, ["id"], empty_is_null=True).columns == {"a": 1}


def test_a_time_that_the_target_keeps_as_text_is_equal_to_the_time() -> None:
    microseconds = [0, 1_500_000, -3_020_399_000_000, 93_600_000_001, None]
    expected = pa.table({"id": [1, 2, 3, 4, 5], "at": pa.array(microseconds, pa.duration("us"))})
    texts = ["00:00:00", "00:00:01.5", "-838:59:59", "26:00:00.000001", None]
    assert compare(expected, pa.table({"id": [1, 2, 3, 4, 5], "at": texts}), ["id"]).equal
    other = ["00:00:00", "00:00:01", "838:59:59", "26:00:00.000001", None]
    assert compare(expected, pa.table({"id": [1, 2, 3, 4, 5], "at": other}), ["id"]).columns == {"at": 2}
    with pytest.raises(SchemaError, match="at"):
        compare(expected, pa.table({"id": [1, 2, 3, 4, 5], "at": ["noon", *texts[1:]]}), ["id"])


def test_json_is_compared_as_values_where_the_database_keeps_no_text() -> None:
    field = pa.field("j", pa.string(), metadata={"json": "true"})
    schema = pa.schema([pa.field("id", pa.int32()), field])
    texts = ['{"a":  1, "b": 2}', "[0.10, 12345678901234567890123]", "null", None]
    expected = pa.table([pa.array([1, 2, 3, 4], pa.int32()), pa.array(texts)], schema=schema)
    stored = ['{"b":2,"a":1}', "[0.1,12345678901234567890123]", None, None]
    actual = pa.table({"id": [1, 2, 3, 4], "j": stored})
    assert compare(expected, actual, ["id"], json_values=True).equal
    assert compare(expected, actual, ["id"]).columns == {"j": 3}
    wrong = pa.table({"id": [1, 2, 3, 4], "j": ['{"a":1}', "[0.1,12345678901234567890124]", "0", "[]"]})
    assert compare(expected, wrong, ["id"], json_values=True).columns == {"j": 4}
