"""A table that was followed live goes on from segments exactly where it stands, and from nowhere else."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.providers.changefiles.streams import (
    AFTER,
    BEFORE,
    INSERT,
    ITEMS,
    ORDERS,
    TARGETS,
    Row,
    batch,
    commit,
    entry,
    inserts,
    open_sink,
    open_source,
    rows_of,
)
from tests.scale import examples
from tidegate.changes.batch import FILE, OFFSET, ChangeBatch
from tidegate.changes.position import BinlogPosition, Position
from tidegate.errors import EventRefused, PositionLost
from tidegate.sync.protocols import Limits, Window


def at(offset: int, file: int = 1) -> BinlogPosition:
    return BinlogPosition(f"binlog.{file:06d}", offset, "server-1")


def placed(*rows: tuple[int, Row], file: int = 1) -> ChangeBatch:
    """Rows at offsets of a log file."""
    plain = batch([row for _, row in rows])
    data = plain.data.append_column(FILE, pa.array([f"binlog.{file:06d}"] * len(rows)))
    return ChangeBatch(plain.schema, data.append_column(OFFSET, pa.array([offset for offset, _ in rows], pa.uint64())))


def stream(url: Path, *segments: tuple[BinlogPosition, list[ChangeBatch]]) -> None:
    """A copy that ended at 100, then these segments, each ending at its position."""
    sink = open_sink(url)
    sink.ledger.setup()
    lease = sink.ledger.acquire("capture_shop", "someone", 60)
    commit(sink, lease, 100, inserts(0), inserts(0, table=ITEMS), copy=True)
    for position, batches in segments:
        load = sink.begin(list(TARGETS.values()), lease)
        for item in batches:
            load.write(TARGETS[item.schema.table], item)
        load.commit([entry(table, position, lease.sync) for table in TARGETS])
    sink.ledger.release(lease)


def rest(url: Path, position: Position) -> list[int]:
    """The ids that come after the position."""
    source = open_source(url)
    (*problems,) = source.preflight({ORDERS: position}).problems
    for problem in problems:
        raise problem
    head = source.head()
    assert position.compare(head) == "before"
    chunks = list(source.read(Window({ORDERS: position}, head), Limits()))
    assert chunks[-1].end == head
    return [row[1] for row in rows_of(chunks)]


@pytest.fixture
def url(tmp_path: Path) -> Path:
    stream(
        tmp_path,
        (at(200), [placed((150, (INSERT, 1, "")), (200, (INSERT, 2, "")))]),
        (at(400), [placed((300, (BEFORE, 1, "")), (300, (AFTER, 1, "x")), (400, (INSERT, 3, "")))]),
        (at(50, 2), [placed((50, (INSERT, 4, "")), file=2)]),
    )
    return tmp_path


@pytest.mark.parametrize(
    ("position", "ids"),
    [
        (at(100), [1, 2, 1, 1, 3, 4]),
        (at(150), [2, 1, 1, 3, 4]),
        (at(180), [2, 1, 1, 3, 4]),
        (at(200), [1, 1, 3, 4]),
        (at(300), [3, 4]),
        (at(400), [4]),
        (at(4, 2), [4]),
    ],
)
def test_only_what_stands_after_the_live_position_is_read(url: Path, position: BinlogPosition, ids: list[int]) -> None:
    assert rest(url, position) == ids


def test_a_table_that_stands_where_the_stream_ends_has_nothing_to_read(url: Path) -> None:
    source = open_source(url)
    assert source.preflight({ORDERS: at(50, 2)}).problems == ()
    assert at(50, 2).compare(source.head()) == "equal"
    assert source.estimate(ORDERS, at(50, 2)) == 0


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (at(99), "begins with segment 1, after that position"),
        (at(51, 2), "hasn't come so far: it ends at binlog.000002:50"),
        (BinlogPosition("binlog.000001", 200, "server-2"), "another server's log"),
    ],
)
def test_a_position_from_which_the_stream_cannot_go_on_is_lost_with_the_reason(
    url: Path, position: BinlogPosition, message: str
) -> None:
    (problem,) = open_source(url).preflight({ORDERS: position}).problems
    assert isinstance(problem, PositionLost)
    assert message in str(problem)
    assert "tidegate resync" in str(problem)


def test_segments_whose_beginning_was_removed_serve_those_that_stand_past_it(url: Path) -> None:
    (url / "00000001.json").unlink()
    (url / "00000002.json").unlink()
    assert rest(url, at(300)) == [3, 4]
    (problem,) = open_source(url).preflight({ORDERS: at(150)}).problems
    assert "begins with segment 3" in str(problem)


def test_rows_without_a_place_in_the_log_are_refused(tmp_path: Path) -> None:
    stream(tmp_path, (at(300), [inserts(1, 2)]))
    with pytest.raises(EventRefused, match="without a place in the log"):
        rest(tmp_path, at(200))


def test_an_event_of_the_table_in_the_segment_of_the_position_is_refused(tmp_path: Path) -> None:
    stream(tmp_path)
    sink = open_sink(tmp_path)
    lease = sink.ledger.acquire("capture_shop", "someone", 60)
    load = sink.begin(list(TARGETS.values()), lease)
    load.truncate(TARGETS[ORDERS])
    load.commit([entry(table, at(300), lease.sync) for table in TARGETS])
    with pytest.raises(PositionLost, match="on which side"):
        rest(tmp_path, at(200))


@settings(max_examples=examples(40), deadline=None)
@given(
    offsets=st.lists(st.integers(101, 130), unique=True, max_size=12).map(sorted),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    live=st.integers(100, 131),
)
def test_any_segments_and_any_live_position_give_each_change_once(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[int], cuts: list[int], live: int
) -> None:
    url = tmp_path_factory.mktemp("stream")
    bounds = sorted({0, len(offsets), *(cut % (len(offsets) + 1) for cut in cuts)})
    segments: list[Any] = []
    for start, end in itertools.pairwise(bounds):
        rows: list[tuple[int, Row]] = [(offset, (INSERT, offset, "")) for offset in offsets[start:end]]
        segments.append((at(offsets[end - 1]), [placed(*rows)]))
    stream(url, *segments)
    end = max([100, *offsets])
    source = open_source(url)
    problems = source.preflight({ORDERS: at(live)}).problems
    if live > end:
        assert "hasn't come so far" in str(problems[0])
    elif live == end:
        assert problems == ()
    else:
        assert rest(url, at(live)) == [offset for offset in offsets if offset > live]
