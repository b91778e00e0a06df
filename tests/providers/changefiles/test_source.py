from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.model import Change, Model
from tests.providers.changefiles.streams import (
    AFTER,
    BEFORE,
    DELETE,
    INSERT,
    ITEMS,
    NOW,
    ORDERS,
    SCHEMAS,
    Row,
    batch,
    binlog,
    inserts,
    open_source,
    replay,
    rows_of,
    stream_of,
)
from tidegate.changes.batch import KIND, Chunk, RowKind
from tidegate.changes.position import SegmentPosition, SplitsPosition
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, CorruptSegment, PositionLost, PreflightError, SchemaError
from tidegate.sync.protocols import Limits, Window

FIVE = [[inserts(number), inserts(number + 10, table=ITEMS)] for number in range(1, 6)]


@pytest.fixture
def url(tmp_path: Path) -> Path:
    """A stream of five segments, with one row of each of two tables in each."""
    stream_of(tmp_path, *FIVE)
    return tmp_path


def test_a_replay_from_the_beginning_gives_everything_and_ends_at_the_head(url: Path) -> None:
    source = open_source(url)
    chunks = replay(source, [ORDERS, ITEMS])
    assert [row[1] for row in rows_of(chunks, ORDERS)] == [1, 2, 3, 4, 5]
    assert [row[1] for row in rows_of(chunks, ITEMS)] == [11, 12, 13, 14, 15]
    assert len(chunks) == 1
    assert chunks[0].end == source.head() == SegmentPosition(source.head().stream, 5, binlog(500))


def test_many_small_segments_make_one_chunk_with_one_batch_a_table(url: Path) -> None:
    (chunk,) = replay(open_source(url), [ORDERS, ITEMS])
    assert [item.schema.table for item in chunk.batches] == [ORDERS, ITEMS]


def test_chunks_end_with_segments_where_they_fit(url: Path) -> None:
    source = open_source(url)
    chunks = replay(source, [ORDERS, ITEMS], Limits(rows=5))
    assert [chunk.num_rows for chunk in chunks] == [4, 4, 2]
    ends = [chunk.end for chunk in chunks]
    assert [end.segment for end in ends if isinstance(end, SegmentPosition)] == [2, 4, 5]


def test_a_segment_larger_than_a_chunk_is_cut_and_only_its_last_piece_has_an_end(tmp_path: Path) -> None:
    stream_of(tmp_path, [inserts(*range(10))], [inserts(10)])
    chunks = replay(open_source(tmp_path), limits=Limits(rows=4))
    assert [chunk.num_rows for chunk in chunks] == [4, 4, 3]
    assert [chunk.end is None for chunk in chunks] == [True, True, False]


def test_the_two_rows_of_an_update_stay_in_one_chunk(tmp_path: Path) -> None:
    changes: list[Row] = [(INSERT, 1, "a"), *([(BEFORE, 1, "a"), (AFTER, 1, "b")] * 3)]
    stream_of(tmp_path, [batch(changes)])
    for rows in (1, 2, 3, 4):
        chunks = replay(open_source(tmp_path), limits=Limits(rows=rows))
        assert rows_of(chunks) == changes
        for chunk in chunks:
            assert all(item.kinds[-1] != RowKind.UPDATE_BEFORE for item in chunk.batches)


def test_a_table_is_spared_what_it_already_has(url: Path) -> None:
    source = open_source(url)
    stream = source.head().stream
    chunks = replay(source, [ORDERS, ITEMS], orders=SegmentPosition(stream, 4), items=SegmentPosition(stream, 2))
    assert [row[1] for row in rows_of(chunks, ORDERS)] == [5]
    assert [row[1] for row in rows_of(chunks, ITEMS)] == [13, 14, 15]


def test_a_window_without_rows_ends_at_its_until(tmp_path: Path) -> None:
    stream_of(tmp_path, [inserts(1)], [inserts(2)])
    source = open_source(tmp_path)
    (chunk,) = replay(source, [ITEMS])
    assert (chunk.num_rows, chunk.end) == (0, source.head())


def test_segments_per_run_bounds_the_head_from_the_lowest_stored_position(url: Path) -> None:
    source = open_source(url, segments_per_run=2)
    stream = source.head().stream
    assert source.head().segment == 2
    assert source.head().origin == binlog(200)
    assert source.estimate(ORDERS, None) == 2
    for stored, head in ((2, 4), (4, 5), (5, 5)):
        findings = source.preflight({ORDERS: SegmentPosition(stream, stored), ITEMS: SegmentPosition(stream, stored)})
        assert findings.problems == ()
        assert source.head().segment == head
    # A table that joins later starts behind; what the others have is not taken back.
    source.preflight({ORDERS: SegmentPosition(stream, 4), ITEMS: None})
    assert source.head().segment == 4


def test_segments_that_come_later_are_seen_by_the_next_head(tmp_path: Path) -> None:
    stream_of(tmp_path, [inserts(1)])
    source = open_source(tmp_path)
    assert source.head().segment == 1
    stream_of(tmp_path, [inserts(2)])
    assert source.head().segment == 2
    assert source.estimate(ORDERS, None) == 2
    assert [row[1] for row in rows_of(replay(source))] == [1, 2]


def test_estimates_count_an_update_once(tmp_path: Path) -> None:
    stream_of(tmp_path, [inserts(1, 2)], [batch([(BEFORE, 1, "a"), (AFTER, 1, "b"), (DELETE, 2, "c")])])
    source = open_source(tmp_path)
    assert source.estimate(ORDERS, None) == 4
    assert source.estimate(ORDERS, SegmentPosition(source.head().stream, 1)) == 2
    assert source.estimate(ITEMS, None) == 0


def test_lag_is_the_age_of_the_newest_change_read_and_nothing_at_the_end_of_the_stream(tmp_path: Path) -> None:
    stream_of(tmp_path, [inserts(1, time=NOW - timedelta(hours=2))], [inserts(2, time=NOW - timedelta(hours=1))])
    source = open_source(tmp_path, segments_per_run=1)
    assert source.lag_seconds() is None
    replay(source)
    lag = source.lag_seconds()
    assert lag is not None
    assert lag >= 7200
    source.preflight({ORDERS: source.head()})
    replay(source)
    assert source.lag_seconds() == 0.0
    level = open_source(tmp_path)
    level.preflight({ORDERS: level.head()})
    assert level.lag_seconds() == 0.0


def test_replaying_a_copy_that_overlaps_with_the_changes_ends_in_the_sources_state(tmp_path: Path) -> None:
    # The copy read rows 1 and 2 as they were after changes that the log repeats: 3 is gone already, 1 has its new note.
    stream_of(
        tmp_path,
        [batch([(INSERT, 1, "new"), (INSERT, 2, "b")])],
        [batch([(INSERT, 3, "c"), (BEFORE, 1, "old"), (AFTER, 1, "new"), (DELETE, 3, "c"), (DELETE, 9, "never seen")])],
        [batch([(BEFORE, 2, "b"), (AFTER, 4, "b moved")])],
    )
    model = Model(("id", "note"), ("id",))
    rows = rows_of(replay(open_source(tmp_path)))
    while rows:
        kind, number, note = rows.pop(0)
        row = {"id": number, "note": note}
        if kind == BEFORE:
            _, number, note = rows.pop(0)
            model.apply([Change(row, {"id": number, "note": note})])
        else:
            model.apply([Change(None, row) if kind == INSERT else Change(row, None)])
    assert model.live() == {(1,): {"id": 1, "note": "new"}, (4,): {"id": 4, "note": "b moved"}}


def test_a_stream_in_memory_reads_like_one_on_disk() -> None:
    url = f"memory://{uuid.uuid4().hex}/deep/stream"
    stream_of(url, *FIVE)
    assert [row[1] for row in rows_of(replay(open_source(url)))] == [1, 2, 3, 4, 5]


def test_the_schema_is_the_newest_and_a_table_that_was_never_captured_is_named_with_those_that_were(url: Path) -> None:
    source = open_source(url)
    assert source.schema(ORDERS) == SCHEMAS[ORDERS]
    with pytest.raises(SchemaError, match=r"table shop\.order: not in the stream; its tables are shop\.items, shop\.orders"):
        source.schema(TableName("shop", "order"))
    (problem,) = source.preflight({TableName("shop", "order"): None}).problems
    assert isinstance(problem, SchemaError)


def test_an_empty_folder_is_told_from_a_stream(tmp_path: Path) -> None:
    source = open_source(tmp_path / "nothing")
    (problem,) = source.preflight({ORDERS: None}).problems
    assert isinstance(problem, PreflightError)
    assert "holds no segments" in str(problem)
    with pytest.raises(PreflightError):
        source.head()


def test_a_stream_that_was_begun_anew_is_told_from_the_one_that_was_read(url: Path) -> None:
    source = open_source(url)
    former = source.head()
    shutil.rmtree(url)
    stream_of(url, *FIVE)
    (problem,) = source.preflight({ORDERS: former}).problems
    assert isinstance(problem, PositionLost)
    assert f"belongs to the stream {former.stream}" in str(problem)


def test_positions_that_are_not_this_streams_are_found_before_reading(url: Path) -> None:
    source = open_source(url)
    stream = source.head().stream
    for position, message in (
        (SegmentPosition("another", 1), "belongs to the stream another"),
        (SegmentPosition(stream, 6), "ends with segment 5"),
        (SplitsPosition("a query"), "not one of change files"),
        (binlog(4), "the stream begins with segment 1, after that position"),
    ):
        (problem,) = source.preflight({ORDERS: position}).problems
        assert isinstance(problem, PositionLost)
        assert message in str(problem)


def test_removed_segments_cost_those_who_need_them_their_position_and_nobody_else(url: Path) -> None:
    (url / "00000001.json").unlink()
    (url / "00000002.json").unlink()
    source = open_source(url)
    stream = source.head().stream
    for position in (None, SegmentPosition(stream, 1)):
        (problem,) = source.preflight({ORDERS: position}).problems
        assert isinstance(problem, PositionLost)
        assert "begins with segment 3" in str(problem)
    with pytest.raises(PositionLost):
        replay(source)
    assert source.preflight({ORDERS: SegmentPosition(stream, 2)}).problems == ()
    assert [row[1] for row in rows_of(replay(source, orders=SegmentPosition(stream, 2)))] == [3, 4, 5]


def test_a_gap_in_the_numbers_is_corruption(url: Path) -> None:
    (url / "00000003.json").unlink()
    with pytest.raises(CorruptSegment, match=r"segment 3 is missing: there is no 00000003\.json"):
        replay(open_source(url))


def _data_file(url: Path, number: int) -> Path:
    manifest = json.loads((url / f"{number:08d}.json").read_text())
    return url / str(manifest["files"][0]["name"])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "the file is missing"),
        (_cut, r"\d+ bytes, and the manifest says \d+"),
        (_flip, "differ from the manifest's checksum"),
    ],
    ids=["missing", "cut", "flipped"],
)
def test_a_damaged_data_file_is_named_before_a_row_of_it_is_handed_on(
    url: Path, damage: Callable[[Path], None], message: str
) -> None:
    damaged = _data_file(url, 3)
    damage(damaged)
    source = open_source(url)
    stream = source.head().stream
    got: list[Chunk] = []
    with pytest.raises(CorruptSegment, match=message) as caught:
        got.extend(source.read(Window({ORDERS: SegmentPosition(stream)}, source.head()), Limits(rows=1)))
    assert damaged.name in str(caught.value)
    assert "segment 3" in str(caught.value)
    assert [row[1] for row in rows_of(got)] == [1, 2]
    # Who needs nothing of it reads on.
    assert len(rows_of(replay(source, orders=SegmentPosition(stream, 3)))) == 2


def _rewrite(url: Path, number: int, table: pa.Table) -> None:
    """Another file in place of a segment's first, with a manifest whose checksums are right: an error of a writer."""
    import hashlib

    from tidegate.providers.changefiles.manifest import _checksum

    path = _data_file(url, number)
    pq.write_table(table, path)
    manifest = json.loads((url / f"{number:08d}.json").read_text())
    manifest["files"][0] |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    del manifest["checksum"]
    (url / f"{number:08d}.json").write_text(json.dumps(manifest | {"checksum": _checksum(manifest)}))


def test_rows_that_differ_in_number_kind_or_type_from_the_manifest_are_refused(url: Path) -> None:
    whole = pq.read_table(_data_file(url, 5))
    kinds = whole.set_column(whole.column_names.index(KIND), KIND, pa.array([3], pa.uint8()))
    for table, message in (
        (whole.slice(0, 0), "0 rows of kind INSERT, and the manifest says 1"),
        (kinds, "0 rows of kind INSERT, and the manifest says 1"),
        (whole.set_column(0, "id", pa.array(["1"])), "column id is string, and the manifest says int64"),
        (whole.drop_columns(["note"]), "its columns are not those of the manifest"),
    ):
        _rewrite(url, 5, table)
        with pytest.raises(CorruptSegment, match=message):
            replay(open_source(url))


def test_a_manifest_that_was_edited_or_cut_is_refused(url: Path) -> None:
    path = url / "00000002.json"
    text = path.read_text()
    path.write_text(text.replace('"INSERT": 1', '"INSERT": 2'))
    with pytest.raises(CorruptSegment, match=r"00000002\.json differs from its own checksum"):
        replay(open_source(url))
    path.write_text(text[:100])
    with pytest.raises(CorruptSegment, match=r"00000002\.json is no manifest"):
        replay(open_source(url))
    path.write_text(text.replace('"format": 1', '"format": 3'))
    with pytest.raises(ConfigError, match="has format 3; this tidegate reads format 2"):
        replay(open_source(url))


def test_a_segment_of_another_stream_or_history_in_place_of_ones_own_is_refused(
    url: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    stream_of(other, *FIVE)
    (url / "00000003.json").write_bytes((other / "00000003.json").read_bytes())
    with pytest.raises(CorruptSegment, match="segment 3 belongs to the stream"):
        replay(open_source(url))
    (url / "00000003.json").write_bytes((url / "00000002.json").read_bytes())
    with pytest.raises(CorruptSegment, match=r"00000003\.json is the manifest of segment 2"):
        replay(open_source(url))


def test_a_restored_history_that_was_written_on_is_told_from_the_one_that_was_read(url: Path, tmp_path: Path) -> None:
    fifth = (url / "00000005.json").read_bytes()
    (url / "00000005.json").unlink()
    (url / "00000004.json").unlink()
    stream_of(tmp_path, [inserts(99)])
    (url / "00000005.json").write_bytes(fifth)
    with pytest.raises(CorruptSegment, match="segment 5 was written after another segment 4 than the one that is there"):
        replay(open_source(url))
