"""GTID sets are sets: whatever is done to them is what would be done to the plain numbers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.providers.mysql.binlog.gtid import MariadbGtids, MysqlGtids

A, B = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "aaaaaaaa-71ca-11e1-9e33-c80aa9429562"
Plain = set[tuple[str, int]]

plains: st.SearchStrategy[Plain] = st.sets(st.tuples(st.sampled_from([A, B, f"{A}:blue", f"{A}:green"]), st.integers(1, 12)))


def of(plain: Plain) -> MysqlGtids:
    made = MysqlGtids()
    for source, number in plain:
        made.add(source, number, number)
    return made


def numbers(gtids: MysqlGtids) -> Plain:
    return {(source, number) for source, first, last in gtids.intervals() for number in range(first, last + 1)}


@given(plains)
def test_a_set_is_read_from_what_it_is_written_as(plain: Plain) -> None:
    made = of(plain)
    assert numbers(made) == plain
    assert MysqlGtids.parse(str(made)) == made
    assert len(made) == len(plain)
    assert bool(made) == bool(plain)


@given(plains, plains)
def test_union_difference_and_subset_are_those_of_the_numbers(one: Plain, two: Plain) -> None:
    left, right = of(one), of(two)
    assert numbers(left | right) == one | two
    assert numbers(left - right) == one - two
    assert (left <= right) == (one <= two)
    assert (left == right) == (one == two)
    assert (numbers(left), numbers(right)) == (one, two)


@given(plains, st.tuples(st.sampled_from([A, B, f"{B}:blue"]), st.integers(1, 12)))
def test_a_set_has_what_was_put_in(plain: Plain, item: tuple[str, int]) -> None:
    assert of(plain).has(*item) == (item in plain)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9))))
def test_intervals_in_any_order_become_the_fewest_that_hold_them(intervals: list[tuple[int, int]]) -> None:
    made = MysqlGtids()
    for first, more in intervals:
        made.add(A, first, first + more)
    found = [(first, last) for _, first, last in made.intervals()]
    assert {number for first, last in found for number in range(first, last + 1)} == {
        number for first, more in intervals for number in range(first, first + more + 1)
    }
    assert all(left[1] + 1 < right[0] for left, right in itertools.pairwise(found))


def test_a_set_is_read_as_servers_show_it() -> None:
    """Over several lines, in capitals, with gaps, with tags after a UUID's own numbers."""
    made = MysqlGtids.parse(f"{A.upper()}:1-5:7,\n{B}:3 : Blue:1-3:9:green:2")
    assert str(made) == f"{A}:1-5:7,{B}:3:blue:1-3:9:green:2"
    assert made.has(f"{B}:blue", 9)
    assert not made.has(B, 9)
    assert str(MysqlGtids.parse(f"{A}:blue:4")) == f"{A}:blue:4"
    assert not MysqlGtids.parse("")


@pytest.mark.parametrize("text", ["x", A, f"{A}:", f"{A}:5-3", f"{A}:0", f"{A}:1-x", "0-1-45", f"{A}:1;{B}:1", f"{A}:-4"])
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"GTID set"):
        MysqlGtids.parse(text)


domains = st.dictionaries(st.integers(0, 3), st.tuples(st.integers(1, 3), st.integers(1, 50)))


@given(domains)
def test_a_mariadb_position_is_read_from_what_it_is_written_as(last: dict[int, tuple[int, int]]) -> None:
    made = MariadbGtids(last)
    assert MariadbGtids.parse(str(made)) == made


@given(domains, domains)
def test_a_mariadb_position_lacks_what_another_is_ahead_by(
    one: dict[int, tuple[int, int]], two: dict[int, tuple[int, int]]
) -> None:
    def plain(last: dict[int, tuple[int, int]]) -> set[tuple[int, int]]:
        return {(domain, number) for domain, (_, sequence) in last.items() for number in range(1, sequence + 1)}

    left, right = MariadbGtids(one), MariadbGtids(two)
    missing = left.lacks(right)
    assert bool(missing) == bool(plain(two) - plain(one))
    assert missing.count(left) == len(plain(two) - plain(one))
    assert set(missing.last.items()) <= set(two.items())


@pytest.mark.parametrize("text", ["0-1", "0-1-2-3", "a-1-2", "0-1-2,0-2-3", f"{A}:1"])
def test_what_is_no_mariadb_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"GTID|domain"):
        MariadbGtids.parse(text)
