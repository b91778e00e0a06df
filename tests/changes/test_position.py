"""Positions: a JSON round trip, and an order that is incomparable rather than wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.changes.position import (
    BinlogPosition,
    FileMark,
    LinesPosition,
    OffsetsPosition,
    Order,
    Position,
    SegmentPosition,
    SnapshotPosition,
    SplitsPosition,
    from_json,
    to_json,
)
from tidegate.errors import ConfigError

texts = st.text(max_size=8)
binlogs = st.builds(BinlogPosition, st.sampled_from(["b.000001", "b.000002"]), st.integers(0, 2**40), texts, texts, texts, texts)
snapshots = st.builds(SnapshotPosition, binlogs, st.one_of(st.none(), st.tuples(texts, texts)), st.integers(0, 9))
positions: st.SearchStrategy[Position] = st.one_of(
    binlogs,
    snapshots,
    st.builds(SegmentPosition, texts, st.integers(0, 9), st.one_of(st.none(), binlogs)),
    st.builds(SplitsPosition, texts, st.frozensets(texts)),
    st.builds(OffsetsPosition, texts, st.dictionaries(texts, st.integers(0, 9))),
    st.builds(LinesPosition, texts, st.dictionaries(texts, st.builds(FileMark, texts, st.integers(0, 9))), st.integers(0, 2)),
)


@given(positions)
def test_a_position_survives_json(position: Position) -> None:
    assert from_json(json.loads(json.dumps(to_json(position)))) == position


@given(positions, positions)
def test_the_order_of_two_positions_is_the_same_seen_from_both(left: Position, right: Position) -> None:
    mirror: dict[Order, Order] = {"before": "after", "after": "before", "equal": "equal", "incomparable": "incomparable"}
    assert right.compare(left) == mirror[left.compare(right)] or isinstance(left, SnapshotPosition) != isinstance(
        right, SnapshotPosition
    )


def lines(forgotten: int = 0, /, **offsets: int) -> LinesPosition:
    return LinesPosition("canal", {key: FileMark(f"{key}.json", offset) for key, offset in offsets.items()}, forgotten)


def at(file: str, offset: int, server: str = "s", fingerprint: str = "") -> BinlogPosition:
    return BinlogPosition(file, offset, server, fingerprint=fingerprint)


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        (at("b.000001", 4), at("b.000001", 5), "before"),
        (at("b.000002", 4), at("b.000001", 500), "after"),
        (at("b.999999", 4), at("b.1000000", 4), "before"),
        (at("b.000001", 5 * 2**30), at("b.000001", 4), "after"),
        (at("b.000001", 4), at("b.000001", 4), "equal"),
        (at("b.000001", 4, "s"), at("b.000001", 4, "t"), "incomparable"),
        (at("b.000001", 4), at("other.000001", 4), "incomparable"),
        (at("b.000001", 4, fingerprint="x"), at("b.000001", 9, fingerprint="y"), "incomparable"),
        (at("b.000001", 4, fingerprint="x"), at("b.000002", 9, fingerprint="y"), "before"),
        (SnapshotPosition(at("b.000001", 4)), at("b.000001", 4), "before"),
        (SnapshotPosition(at("b.000001", 4, "t")), at("b.000001", 4), "incomparable"),
        (SegmentPosition("a", 1), SegmentPosition("a", 2), "before"),
        (SegmentPosition("a", 1), SegmentPosition("b", 2), "incomparable"),
        (SegmentPosition("a", 1, at("b.000001", 4)), at("b.000001", 5), "before"),
        (SegmentPosition("a", 1, at("b.000001", 4)), at("b.000001", 4), "equal"),
        (SegmentPosition("a", 1), at("b.000001", 4), "incomparable"),
        (SplitsPosition("q", frozenset("a")), SplitsPosition("q", frozenset("ab")), "before"),
        (SplitsPosition("q", frozenset("a")), SplitsPosition("q", frozenset("b")), "incomparable"),
        (OffsetsPosition("t", {"1": 5}), OffsetsPosition("t", {"1": 5, "2": 1}), "before"),
        (OffsetsPosition("t", {"1": 5}), OffsetsPosition("t", {"2": 1}), "incomparable"),
        (lines(a=5), lines(a=5, b=1), "before"),
        (lines(a=5), lines(a=4, b=1), "incomparable"),
        (lines(a=5), lines(1, b=1), "before"),
        (lines(a=5, b=1), lines(1, b=1), "before"),
        (lines(a=5), LinesPosition("maxwell", lines(a=5).files), "incomparable"),
    ],
)
def test_order(left: Position, right: Position, order: Order) -> None:
    assert left.compare(right) == order


def test_a_kind_from_a_newer_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="newer tidegate"):
        from_json({"kind": "wormhole"})
