"""What happened to whole tables survives capture, at its place among the rows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.providers.changefiles.streams import (
    INSERT,
    ITEMS,
    ORDERS,
    TARGETS,
    binlog,
    entry,
    inserts,
    open_sink,
    open_source,
    replay,
)
from tests.scale import examples
from tidegate.changes.batch import KIND, ChangeBatch, Chunk, TableEvent
from tidegate.changes.position import SegmentPosition
from tidegate.changes.schema import Column, TableName
from tidegate.errors import ConfigError
from tidegate.providers.changefiles.sink import CAPABILITIES, ChangeFilesSink
from tidegate.sync.protocols import Limits

AGE = Column("age", pa.int32())


def story(chunks: list[Chunk], table: TableName = ORDERS) -> list[Any]:
    """A table's rows and events as they came: ids, and kinds of events."""
    found: list[Any] = []
    for chunk in chunks:
        for part in chunk.parts:
            if isinstance(part, TableEvent):
                if part.table == table:
                    found.append(part.kind)
            elif part.schema.table == table:
                assert set(part.data.column(KIND).to_pylist()) == {INSERT}
                found += part.data.column("id").to_pylist()
    return found


def capture(sink: ChangeFilesSink, offset: int, steps: list[tuple[TableName, Any]]) -> None:
    """One segment: ids to insert, ``truncated``, or ``column_added``."""
    sink.ledger.setup()
    lease = sink.ledger.acquire("capture_shop", "someone", 60)
    load = sink.begin(list(TARGETS.values()), lease)
    for table, step in steps:
        if step == "truncated":
            load.truncate(TARGETS[table])
        elif step == "column_added":
            load.fill(TARGETS[table], AGE, None)
        else:
            load.write(TARGETS[table], inserts(step, table=table))
    load.commit([entry(table, binlog(offset), lease.sync) for table in TARGETS])
    sink.ledger.release(lease)


def test_events_are_replayed_at_their_place_and_name_their_segment(tmp_path: Path) -> None:
    sink = open_sink(tmp_path)
    capture(sink, 100, [(ORDERS, 1), (ITEMS, 10), (ORDERS, "truncated"), (ORDERS, 2), (ITEMS, 11)])
    capture(sink, 200, [(ORDERS, "truncated"), (ORDERS, 3), (ORDERS, "truncated")])
    chunks = replay(open_source(tmp_path), [ORDERS, ITEMS])
    assert story(chunks) == [1, "truncated", 2, "truncated", 3, "truncated"]
    assert story(chunks, ITEMS) == [10, 11]
    positions = [part.position for chunk in chunks for part in chunk.parts if isinstance(part, TableEvent)]
    assert positions == ["segment 1", "segment 2", "segment 2"]


def test_a_segment_of_events_alone_is_a_segment(tmp_path: Path) -> None:
    sink = open_sink(tmp_path)
    capture(sink, 100, [(ORDERS, 1)])
    capture(sink, 200, [(ORDERS, "truncated")])
    assert story(replay(open_source(tmp_path))) == [1, "truncated"]


def test_a_table_that_has_the_segment_already_gets_none_of_its_events(tmp_path: Path) -> None:
    sink = open_sink(tmp_path)
    capture(sink, 100, [(ORDERS, 1)])
    capture(sink, 200, [(ORDERS, "truncated"), (ITEMS, 10)])
    source = open_source(tmp_path)
    chunks = replay(source, [ORDERS, ITEMS], orders=source.head())
    assert story(chunks) == []
    assert story(chunks, ITEMS) == [10]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (AGE, pa.scalar(7, pa.int32())),
        (AGE, None),
        (Column("price", pa.decimal256(65, 30)), pa.scalar(Decimal("1." + "1" * 30), pa.decimal256(65, 30))),
        (Column("at", pa.timestamp("us", tz="UTC")), pa.scalar(10**15, pa.timestamp("us", tz="UTC"))),
        (Column("raw", pa.binary()), pa.scalar(b"\x00\xff", pa.binary())),
        (Column("text", pa.string()), pa.scalar("it's", pa.string())),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_added_column_and_what_it_holds_come_back_exactly(tmp_path: Path, column: Column, value: pa.Scalar | None) -> None:
    sink = open_sink(tmp_path)
    load = sink.begin([TARGETS[ORDERS]], None)
    load.write(TARGETS[ORDERS], inserts(1))
    load.fill(TARGETS[ORDERS], column, value)
    load.commit([])
    source = open_source(tmp_path)
    chunks = replay(source)
    (event,) = [part for chunk in chunks for part in chunk.parts if isinstance(part, TableEvent)]
    assert (event.kind, event.column) == ("column_added", column)
    assert (event.value is None and value is None) or (event.value is not None and event.value.equals(value))
    assert source.schema(ORDERS).names == ("id", "note", column.name)
    assert chunks[-1].schemas[ORDERS].names == ("id", "note", column.name)


@settings(max_examples=examples(40), deadline=None)
@given(
    segments=st.lists(
        st.lists(st.tuples(st.sampled_from([ORDERS, ITEMS]), st.sampled_from(["row", "row", "truncated", "column_added"]))),
        max_size=4,
    ),
    rows=st.integers(1, 5),
)
def test_any_mixture_of_rows_and_events_is_replayed_in_order_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, segments: list[list[tuple[TableName, str]]], rows: int
) -> None:
    url = tmp_path_factory.mktemp("stream")
    sink = open_sink(url)
    expected: dict[TableName, list[Any]] = {ORDERS: [0], ITEMS: [0]}
    capture(sink, 50, [(ORDERS, 0), (ITEMS, 0)])
    number = 0
    for index, segment in enumerate(segments):
        steps: list[tuple[TableName, Any]] = []
        for table, step in segment:
            number += 1
            steps.append((table, number if step == "row" else step))
            expected[table].append(number if step == "row" else step)
        capture(sink, 100 * (index + 1), steps)
    chunks = replay(open_source(url), [ORDERS, ITEMS], Limits(rows=rows))
    for table in (ORDERS, ITEMS):
        assert story(chunks, table) == expected[table]


def test_the_sink_follows_truncation_and_new_columns_and_swaps_nothing(tmp_path: Path) -> None:
    assert CAPABILITIES.follows == {"truncated", "column_added"}
    assert not CAPABILITIES.shadow
    with pytest.raises(ConfigError, match="into a new folder"):
        open_sink(tmp_path).shadow(TARGETS[ORDERS])


def test_a_start_is_latest_or_after_a_segment(tmp_path: Path) -> None:
    sink = open_sink(tmp_path)
    capture(sink, 100, [(ORDERS, 1)])
    capture(sink, 200, [(ORDERS, 2)])
    source = open_source(tmp_path)
    head = source.head()
    assert source.locate("latest") == head
    assert source.locate("segment 2") == head
    assert source.locate("segment 1") == SegmentPosition(head.stream, 1, binlog(100))
    assert source.locate("segment 0") == SegmentPosition(head.stream, 0)
    for start, message in (("segment 3", "the stream has 1 to 2"), ("2026-11-21T10:00:00Z", "can't be searched by time")):
        with pytest.raises(ConfigError, match=message):
            source.locate(start)


def test_batches_are_not_joined_across_an_event(tmp_path: Path) -> None:
    sink = open_sink(tmp_path)
    capture(sink, 100, [(ORDERS, 1), (ORDERS, "truncated"), (ORDERS, 2)])
    (chunk,) = replay(open_source(tmp_path))
    assert [type(part) for part in chunk.parts] == [ChangeBatch, TableEvent, ChangeBatch]
