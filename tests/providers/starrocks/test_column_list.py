"""The header ``columns`` of Stream Load, read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import ConfigError
from tidegate.providers.starrocks.column_list import parse_columns


def test_the_reference_s_bitmap_example() -> None:
    found = parse_columns("page_id,visit_date,visit_user_id,visit_users=to_bitmap(visit_user_id)")
    assert found.fields == ("page_id", "visit_date", "visit_user_id")
    assert found.derived == {"visit_users": "to_bitmap(visit_user_id)"}
    assert found.field("PAGE_ID")
    assert found.computes("Visit_Users")
    assert not found.field("visit_users")


def test_commas_that_part_nothing() -> None:
    found = parse_columns("`a,b`, c = concat(x, ',', \"y,\"), d=if(e='a\\',b', [1,2], 0)")
    assert found.fields == ("a,b",)
    assert found.derived == {"c": "concat(x, ',', \"y,\")", "d": "if(e='a\\',b', [1,2], 0)"}


@pytest.mark.parametrize("text", ["a,b=f(", "a,b='x", "a),b"])
def test_what_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="columns"):
        parse_columns(text)


_NAME = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@settings(deadline=None)
@given(st.lists(_NAME, unique=True, max_size=6), st.dictionaries(_NAME, st.sampled_from(["f(a,b)", "'x,y'", "a+1", "g(h(a),'(')"])))
def test_lists_are_read_as_they_are_written(fields: list[str], derived: dict[str, str]) -> None:
    found = parse_columns(", ".join([*fields, *(f"{name}={how}" for name, how in derived.items())]))
    assert (found.fields, found.derived) == (tuple(fields), derived)
