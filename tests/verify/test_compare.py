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
