"""Files that grow, are cut, renamed, replaced, removed, repeated or broken, and how a source finds where it was."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.providers.cdcfiles.reading import append, line_of, open_source, packed, read, rows, write, zstandard
from tests.scale import examples
from tidegate.changes.position import BinlogPosition, LinesPosition, Position
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, EventRefused, PositionLost, PreflightError, SchemaError
from tidegate.providers.cdcfiles.files import File, Files, Line, natural
from tidegate.sync.protocols import Limits, Window

T = "shop.t"
DDL = "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE u (id INT PRIMARY KEY)"


def insert(number: int, table: str = "t", **more: Any) -> dict[str, Any]:
    source = {
        "db": "shop",
        "table": table,
        "file": "log.000001",
        "pos": number * 10,
        "row": 0,
        "snapshot": "false",
        "ts_ms": 1000 + number,
    }
    return {"before": None, "after": {"id": number}, "op": "c", "source": source | more}


class Reader:
    """Runs one after the other over the same files."""

    def __init__(self, url: Path | str, *tables: str, **fields: Any) -> None:
        self.url, self.fields = url, {"ddl": DDL} | fields
        self.positions: dict[str, Position | None] = dict.fromkeys(tables or (T,))

    def run(self, **fields: Any) -> list[int]:
        """What a run brings: ids, in order."""
        chunks, positions = read(open_source(self.url, **self.fields | fields), self.positions)
        self.positions = dict(positions)
        return [row["id"] for _, row in rows(chunks)]


def test_a_file_that_grows_goes_on_where_it_was(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", insert(1), insert(2))
    reader = Reader(tmp_path)
    assert reader.run() == [1, 2]
    assert reader.run() == []
    append(path, insert(3))
    assert reader.run() == [3]
    write(tmp_path / "b.json", insert(4))
    append(path, insert(5))
    assert reader.run(order="position") == [4, 5]


def test_a_last_line_that_is_cut_waits_for_its_end(tmp_path: Path) -> None:
    whole = line_of(insert(2))
    path = write(tmp_path / "a.json", insert(1), whole[:40])
    reader = Reader(tmp_path)
    assert reader.run() == [1]
    append(path, whole[40:], insert(3))
    assert reader.run() == [2, 3]


def test_a_last_line_without_its_newline_counts_if_it_is_a_whole_object(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", insert(1), line_of(insert(2))[:-1])
    reader = Reader(tmp_path)
    assert reader.run() == [1, 2]
    append(path, b"\n", insert(3))
    assert reader.run() == [3]


def test_a_last_line_that_is_no_json_waits_and_is_broken_once_another_follows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", insert(1), b'{"before":\n')
    reader = Reader(tmp_path)
    assert reader.run() == [1]
    append(path, insert(2))
    with pytest.raises(EventRefused, match=r"records, position a\.json:2: not JSON \[broken_lines"):
        reader.run()
    assert reader.run(broken_lines="skip") == [2]


@pytest.mark.parametrize("broken", [b"{]\n", b"17\n", b'"text"\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_a_broken_line_in_the_middle_is_named_or_skipped_and_counted(
    tmp_path: Path, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.json", insert(1), broken, insert(2))
    with pytest.raises(EventRefused, match=r"a\.json:2"):
        Reader(tmp_path).run()
    source = open_source(tmp_path, ddl=DDL, broken_lines="skip")
    with caplog.at_level(logging.WARNING):
        chunks, _ = read(source, [T])
    assert [row["id"] for _, row in rows(chunks)] == [1, 2]
    assert source.skipped == 1
    assert "a.json:2" in caplog.text


def test_line_numbers_count_from_the_file_s_beginning_in_every_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", insert(1), b"\n", insert(2))
    reader = Reader(tmp_path)
    reader.run()
    assert str(reader.positions[T]) == "a.json:4"
    append(path, insert(3), b"broken\n", insert(4))
    with pytest.raises(EventRefused, match=r"a\.json:5"):
        reader.run()


def test_names_are_ordered_by_the_numbers_in_them(tmp_path: Path) -> None:
    for number in (9, 10, 100):
        write(tmp_path / f"part-{number}.json", insert(number))
    assert Reader(tmp_path).run() == [9, 10, 100]
    assert sorted(["a10b2", "a9", "a10b10", "a"], key=natural) == ["a", "a9", "a10b2", "a10b10"]


@given(st.lists(st.text(max_size=8), max_size=6))
@example(["part-2²", "part-²"])
def test_any_names_can_be_ordered(names: list[str]) -> None:
    sorted(names, key=natural)


def test_a_renamed_file_is_known_again(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", insert(1))
    reader = Reader(tmp_path)
    assert reader.run() == [1]
    append(path, insert(2))
    path.rename(tmp_path / "log.json.1")
    write(path, insert(3))
    assert reader.run() == [2, 3]
    assert reader.run() == []


def test_a_file_that_was_packed_after_it_was_read_is_the_same_file(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", insert(1), insert(2))
    reader = Reader(tmp_path)
    assert reader.run() == [1, 2]
    packed(tmp_path / "log.json.gz", path.read_bytes(), line_of(insert(3)))
    path.unlink()
    assert reader.run() == [3]


def test_a_file_that_was_replaced_under_its_name_is_a_new_one(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", insert(1), insert(2))
    reader = Reader(tmp_path)
    assert reader.run() == [1, 2]
    write(path, insert(3), insert(4))
    assert reader.run() == [3, 4]


def test_a_file_that_shrank_is_told_before_anything_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", *[insert(number) for number in range(40)])
    reader = Reader(tmp_path)
    assert len(reader.run()) == 40
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) - 20])
    with pytest.raises(PositionLost, match="restored from an older copy"):
        reader.run()


def test_files_that_are_gone_after_they_were_read_are_not_missed(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.json", insert(number))
    reader = Reader(tmp_path)
    assert reader.run() == [0, 1, 2]
    (tmp_path / "0.json").unlink()
    (tmp_path / "1.json").unlink()
    write(tmp_path / "3.json", insert(3))
    assert reader.run() == [3]
    assert reader.run() == []


def test_the_position_does_not_grow_with_files_that_are_gone(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    for number in range(1, 260):
        write(tmp_path / f"{number}.json", insert(number))
        (tmp_path / f"{number - 50}.json").unlink(missing_ok=True)
        if number % 50 == 0:
            assert len(reader.run()) == 50
    position = reader.positions[T]
    assert isinstance(position, LinesPosition)
    assert position.forgotten > 0
    assert len(position.files) <= 160


def test_no_files_and_no_records_are_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "*.json"):
        (problem,) = open_source(path).preflight({}).problems
        assert isinstance(problem, PreflightError)
        assert "no files" in str(problem)
    write(tmp_path / "a.json", b"\n")
    (problem,) = open_source(tmp_path).preflight({}).problems
    assert "format" in str(problem)


@pytest.mark.parametrize("url", ["{}/a.json", "{}/*.json", "{}", "{}/", "file://{}"])
def test_a_file_a_glob_and_a_folder(tmp_path: Path, url: str) -> None:
    write(tmp_path / "a.json", insert(1))
    write(tmp_path / ".hidden.json", insert(2))
    write(tmp_path / "_tmp.json", insert(3))
    (tmp_path / "folder").mkdir()
    assert Reader(url.format(tmp_path)).run() == [1]


def test_any_url_of_fsspec_s() -> None:
    with fsspec.open("memory://records/a.json", "wb") as file:
        file.write(line_of(insert(1)))
    assert Reader("memory://records").run() == [1]
    with pytest.raises(ConfigError, match=r"\[url\]"):
        open_source("nonsense://x")
    with pytest.raises(ConfigError, match="storage_options"):
        open_source("memory://records", storage_options="[]")


@pytest.mark.parametrize("cut", [0, 1, 8, 9, 15])
def test_gzip_of_several_members_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    members = [line_of(insert(number)) for number in range(1, 4)]
    packed(tmp_path / "a.json.gz", *members, cut=cut)
    reader = Reader(tmp_path)
    first = reader.run()
    assert first == [1, 2, 3] if cut <= 8 else first in ([1, 2], [1, 2, 3])
    packed(tmp_path / "a.json.gz", *members, line_of(insert(4)))
    assert first + reader.run() == [1, 2, 3, 4]


@pytest.mark.parametrize("cut", [0, 1, 8, 30])
def test_zstandard_of_several_frames_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    frames = [line_of(insert(number)) for number in range(1, 4)]
    zstandard(tmp_path / "a.json.zst", *frames, cut=cut)
    reader = Reader(tmp_path)
    first = reader.run()
    assert first == [1, 2, 3] if cut == 0 else first in ([1, 2], [1, 2, 3])
    zstandard(tmp_path / "a.json.zst", *frames, line_of(insert(4)))
    assert first + reader.run() == [1, 2, 3, 4]


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.json.gz", b"".join(line_of(insert(number)) for number in range(1000)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    # What comes out before the damage shows may be a broken line.
    with pytest.raises(EventRefused, match=r"a\.json\.gz(:\d+: not JSON| is damaged)"):
        Reader(tmp_path).run()


@pytest.mark.parametrize("more", [{}, {"file": None}], ids=["with places in the log", "without"])
def test_tables_mixed_in_one_file_each_stand_where_they_stand(tmp_path: Path, more: dict[str, Any]) -> None:
    path = write(
        tmp_path / "a.json", *(insert(number, table, **more) for number, table in ((1, "t"), (1, "u"), (2, "t"), (9, "o")))
    )
    reader = Reader(tmp_path)
    assert reader.run() == [1, 2]
    append(path, insert(3, **more), insert(2, "u", **more))
    reader.positions["shop.u"] = None
    chunks, _ = read(open_source(tmp_path, ddl=DDL), reader.positions)
    assert [row["id"] for _, row in rows(chunks, T)] == [3]
    assert [row["id"] for _, row in rows(chunks, "shop.u")] == [1, 2]


def test_the_format_is_told_by_the_first_record_and_then_fixed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", b"null\n", {"ts_ms": 1}, insert(1))
    reader = Reader(tmp_path)
    reader.run()
    position = reader.positions[T]
    assert isinstance(position, LinesPosition)
    assert position.format == "debezium"
    with pytest.raises(PositionLost, match="of the format debezium"):
        reader.run(format="maxwell")
    append(path, {"database": "shop", "table": "t", "type": "insert", "data": {"id": 5}})
    with pytest.raises(EventRefused, match=r"\[format\]"):
        reader.run()


def test_positions_of_other_sources_are_lost_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "a.json", insert(1))
    (problem,) = open_source(tmp_path, ddl=DDL).preflight({TableName("shop", "t"): BinlogPosition("b.000001", 4, "s")}).problems
    assert isinstance(problem, PositionLost)
    assert "read another source before" in str(problem)


def test_a_table_that_no_record_and_no_declaration_speaks_of_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.json", insert(1))
    source = open_source(tmp_path, ddl=DDL)
    assert source.preflight({}).problems == ()
    with pytest.raises(SchemaError, match=r"no record of it.*\[ddl"):
        source.schema(TableName("shop", "absent"))


def test_a_declaration_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "ddl.sql").write_text(DDL)
    write(tmp_path / "a.json", insert(1))
    assert Reader(tmp_path / "a.json").run(ddl=str(tmp_path / "ddl.sql")) == [1]
    for ddl, message in ((str(tmp_path / "no.sql"), "neither"), ("SELECT (1)", "no CREATE TABLE"), (f"{DDL};{DDL}", "twice")):
        with pytest.raises(ConfigError, match=message):
            open_source(tmp_path / "a.json", ddl=ddl)


def test_a_start_is_latest_or_a_line(tmp_path: Path) -> None:
    write(tmp_path / "1.json", insert(1), insert(2))
    path = write(tmp_path / "2.json", insert(3), insert(4))
    source = open_source(tmp_path, ddl=DDL)
    for start, ids in (("latest", [5]), ("2.json:2", [4, 5]), ("1.json:1", [1, 2, 3, 4, 5]), ("2.json:3", [5])):
        write(path, insert(3), insert(4))
        assert source.preflight({}).problems == ()
        position = source.locate(start)
        append(path, insert(5))
        chunks, _ = read(open_source(tmp_path, ddl=DDL), {T: position})
        assert [row["id"] for _, row in rows(chunks)] == ids
    for start in ("2026-11-21T10:00:00Z", "3.json:1", "2.json:0", "2.json:9"):
        with pytest.raises(ConfigError, match=r"\[start\]"):
            source.locate(start)


def test_repeated_and_overlapping_files_are_told_by_the_log_s_positions(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    write(tmp_path / "1.json", *[insert(number) for number in range(1, 11)])
    write(tmp_path / "2.json", *[insert(number) for number in range(6, 16)])
    write(tmp_path / "3.json", *[insert(number) for number in range(1, 11)])
    assert reader.run() == list(range(1, 16))
    write(tmp_path / "4.json", *[insert(number) for number in range(3, 18)])
    assert reader.run() == [16, 17]


def test_a_file_of_older_records_that_comes_late_is_refused(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    write(tmp_path / "1.json", *[insert(number) for number in range(1, 11)])
    write(tmp_path / "3.json", *[insert(number) for number in range(21, 31)])
    assert len(reader.run()) == 20
    write(tmp_path / "2.json", *[insert(number) for number in range(11, 21)])
    with pytest.raises(EventRefused, match=r"2\.json:1: an older record than ones that were read, and not read before") as caught:
        reader.run()
    assert "order='position'" in str(caught.value)


def test_files_that_share_a_table_s_records_are_refused_in_the_order_of_names_and_merged_by_position(tmp_path: Path) -> None:
    write(tmp_path / "partition-0.json", *[insert(number) for number in (1, 3, 5)])
    write(tmp_path / "partition-1.json", *[insert(number) for number in (2, 4, 6)])
    with pytest.raises(EventRefused, match="not in the order of their log"):
        Reader(tmp_path).run()
    assert Reader(tmp_path).run(order="position") == [1, 2, 3, 4, 5, 6]


def test_a_log_that_was_begun_anew_is_not_taken_for_a_repeat(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", insert(5), insert(6))
    reader = Reader(tmp_path)
    assert reader.run() == [5, 6]
    append(path, insert(1, ts_ms=9000), insert(2, ts_ms=9001))
    assert reader.run() == [1, 2]


def test_rows_of_a_copy_share_a_position_and_are_older_than_the_changes_after_it(tmp_path: Path) -> None:
    copy = [insert(number, snapshot="true", pos=100, ts_ms=0) for number in range(1, 4)]
    reader = Reader(tmp_path)
    write(tmp_path / "1.json", *copy, insert(20))
    assert reader.run() == [1, 2, 3, 20]
    write(tmp_path / "2.json", *copy, insert(20), insert(21))
    assert reader.run() == [21]


@settings(max_examples=examples(50), deadline=None)
@given(
    count=st.integers(1, 30),
    ranges=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6),
    limit=st.integers(1, 8),
    runs=st.sets(st.integers(0, 6)),
)
def test_any_ranges_of_a_log_are_each_read_once_or_refused(
    tmp_path_factory: pytest.TempPathFactory, count: int, ranges: list[tuple[int, int]], limit: int, runs: set[int]
) -> None:
    url = tmp_path_factory.mktemp("records")
    positions: dict[str, Any] = {T: None}
    seen: set[int] = set()
    files: set[bytes] = set()
    read_in_order = True
    for number, (low, high) in enumerate([(0, 1), *ranges]):
        ids = list(range(low, min(high, count)))
        if not ids:
            continue
        data = b"".join(line_of(insert(one)) for one in ids)
        (url / f"{number}.json").write_bytes(data)
        files.add(data)
        # A record that is older than some that were read, and was not read itself, comes late.
        late = [one for one in ids if one not in seen and seen and one < max(seen)]
        if late:
            read_in_order = False
        else:
            seen |= set(ids)
        source = open_source(url, ddl=DDL)
        if not read_in_order:
            with pytest.raises(EventRefused, match="older record"):
                read(source, positions, Limits(rows=limit))
            return
        chunks, positions = read(source, positions, Limits(rows=limit))
        brought = [row["id"] for _, row in rows(chunks)]
        assert len(brought) == len(set(brought))
        assert set(brought) <= seen


def test_what_a_file_holds_past_the_head_is_left_for_the_next_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", insert(1))
    source = open_source(tmp_path, ddl=DDL)
    assert source.preflight({TableName("shop", "t"): None}).problems == ()
    head = source.head()
    append(path, insert(2))
    starts = source.start([TableName("shop", "t")], consistent=False)
    chunks = list(source.read(Window(starts, head), Limits()))
    assert [row["id"] for _, row in rows(chunks)] == [1]
    assert source.lag_seconds() == 0


def test_a_packed_file_that_did_not_change_is_not_unpacked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(tmp_path / "1.json.gz", *[line_of(insert(number)) for number in range(1000)])
    reader = Reader(tmp_path)
    assert len(reader.run()) == 1000
    unpacked = []
    whole = Files.tail

    def tail(files: Files, file: File, start: int, size: int) -> list[Line]:
        unpacked.append(file.name)
        return whole(files, file, start, size)

    monkeypatch.setattr(Files, "tail", tail)
    write(tmp_path / "2.json", insert(1000))
    assert reader.run() == [1000]
    assert unpacked == ["2.json"]


def test_what_waits_for_the_end_of_its_transaction_is_read_once_that_comes_in_another_file(tmp_path: Path) -> None:
    row = {"database": "shop", "table": "t", "type": "insert", "ts": 1, "xid": 1}
    write(tmp_path / "1.json", row | {"data": {"id": 1}, "commit": True}, row | {"data": {"id": 2}, "xid": 2, "xoffset": 0})
    reader = Reader(tmp_path)
    assert reader.run() == [1]
    assert reader.run() == []
    write(tmp_path / "2.json", row | {"data": {"id": 3}, "xid": 2, "commit": True})
    assert reader.run() == [2, 3]


@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"ddl": "/nowhere/tables.sql"}, "ddl"),
        ({"ddl": "nowhere://tables.sql"}, "ddl"),
        ({"ddl": "CREATE TABLE t (id INT PRIMARY KEY,,)"}, "ddl"),
        ({"ddl": "CREATE TABLE t (id)"}, "ddl"),
        ({"ddl": "CREATE TABLE t (id INT PRIMARY KEY, "}, "ddl"),
        ({"ddl": "("}, "ddl"),
        ({"time_zone": "Europe/Pariss"}, "time_zone"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named_when_the_source_is_opened(
    tmp_path: Path, fields: dict[str, str], setting: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(tmp_path, **fields)
    assert caught.value.setting == setting


def test_a_last_line_that_has_its_end_and_is_no_json_is_broken_where_another_file_follows(tmp_path: Path) -> None:
    write(tmp_path / "1.json", insert(1), b'{"before":\n')
    write(tmp_path / "2.json", insert(3))
    with pytest.raises(EventRefused, match=r"1\.json:2: not JSON"):
        Reader(tmp_path).run()
    assert Reader(tmp_path).run(broken_lines="skip") == [1, 3]
