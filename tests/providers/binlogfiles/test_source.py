"""Binlog files give the same batches as the server that wrote them, or say what is wrong with them."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.binlogfiles.logs import ALL, NAME, SMALL, Log, chunks, plain
from tests.scale import examples
from tests.servers import MySqlServer, running, start_mariadb
from tidegate.changes.batch import Chunk
from tidegate.changes.position import BinlogPosition, SegmentPosition
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, CorruptSegment, PermanentError, PositionLost, PreflightError, SchemaError
from tidegate.providers.binlogfiles.files import Bytes, LogFolder
from tidegate.providers.binlogfiles.logfile import LogFile
from tidegate.providers.binlogfiles.scan import Bounds
from tidegate.providers.binlogfiles.source import BinlogFilesSource
from tidegate.providers.mysql import connection as mysql
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql


def live(log: Log, limits: Limits | None = None) -> list[Chunk]:
    source = mysql.SYSTEM.open_source(log.server.values(), "live")
    try:
        return chunks(source, log.begin, log.end, limits)
    finally:
        source.close()


def read(log: Log, folder: Path | str | None = None, limits: Limits | None = None) -> list[Chunk]:
    source = log.source(folder)
    return chunks(source, log.here(log.begin, source), source.head(), limits)


def pack(folder: Path, kind: str) -> None:
    """Replace each file by a packed one."""
    for path in sorted(folder.iterdir()):
        if kind == ".gz":
            Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        else:
            with pa.OSFile(f"{path}{kind}", "wb") as out, pa.CompressedOutputStream(out, "zstd") as packed:
                packed.write(path.read_bytes())
        path.unlink()


def problem(source: BinlogFilesSource, position: BinlogPosition | None = None, table: TableName = SMALL) -> PermanentError:
    (found,) = source.preflight({table: position}).problems
    assert found.connection == NAME
    assert isinstance(found, PermanentError)
    return found


class TestReading:
    @pytest.mark.parametrize("limits", [Limits(), Limits(rows=7), Limits(bytes=500)], ids=["one chunk", "rows", "bytes"])
    def test_files_give_what_the_server_sends(self, log: Log, limits: Limits) -> None:
        found = plain(read(log, limits=limits))
        assert found == plain(live(log, limits))
        assert sum(len(rows) for _, batches in found for *_, rows in batches) > 200

    @pytest.mark.parametrize("kind", [".gz", ".zst"])
    def test_packed_files_too(self, log: Log, copy: Path, kind: str) -> None:
        pack(copy, kind)
        assert plain(read(log, copy, Limits(rows=20))) == plain(live(log, Limits(rows=20)))

    def test_the_end_is_the_servers_and_the_fingerprint_too(self, log: Log) -> None:
        source = log.source()
        assert source.head() == log.here(log.end, source)
        if log.mariadb:
            assert source.head().compare(log.end) == "equal", "live and files can go on from each other"

    def test_every_chunk_can_be_gone_on_from(self, log: Log, copy: Path) -> None:
        pack(copy, ".zst")
        whole = read(log, copy, Limits(rows=20))
        rows = [row for chunk in whole for batch in chunk.batches for row in batch.data.to_pylist()]
        for index, chunk in enumerate(whole[:-1]):
            if chunk.end is None or index % 3:
                continue
            assert isinstance(chunk.end, BinlogPosition)
            rest = chunks(log.source(copy), chunk.end, log.source(copy).head())
            after = [row for later in whole[index + 1 :] for batch in later.batches for row in batch.data.to_pylist()]
            found = [row for later in rest for batch in later.batches for row in batch.data.to_pylist()]
            assert sorted(map(str, found)) == sorted(map(str, after))
        assert rows

    @pytest.mark.parametrize("url", ["{}/binlog.*", "{}/binlog.00000[0-9]", "file://{}"])
    def test_a_glob_or_a_url_does_as_well(self, log: Log, url: str) -> None:
        assert plain(read(log, url.format(log.folder))) == plain(live(log))

    def test_a_store_that_fsspec_reaches(self, log: Log, copy: Path) -> None:
        pack(copy, ".gz")
        memory = fsspec.filesystem("memory")
        for path in copy.iterdir():
            memory.pipe_file(f"/{copy}/{path.name}", path.read_bytes())
        try:
            assert plain(read(log, f"memory://{copy}")) == plain(live(log))
            assert plain(read(log, f"memory://{copy}/*.gz")) == plain(live(log))
        finally:
            memory.rm(f"/{copy}", recursive=True)

    def test_one_file_alone(self, log: Log) -> None:
        source = log.source(log.folder / log.begin.file)
        head = source.head()
        assert head.file == log.begin.file
        assert sum(chunk.num_rows for chunk in chunks(source, log.here(log.begin, source), head)) > 40

    def test_files_that_begin_in_mid_history(self, log: Log, copy: Path) -> None:
        (copy / log.begin.file).unlink()
        source = log.source(copy)
        earliest = source.locate("earliest")
        assert (earliest.sequence, earliest.offset) == (log.begin.sequence + 1, 4)
        end = chunks(source, earliest, source.head())[-1].end
        assert end is not None
        assert end.compare(source.head()) == "equal"
        assert "there is no file" in str(problem(source, log.here(log.begin, source)))

    @pytest.mark.parametrize("packed_first", [True, False])
    def test_a_plain_file_counts_while_it_is_being_packed(
        self, log: Log, copy: Path, packed_first: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (copy / f"{log.begin.file}.gz").write_bytes(gzip.compress((copy / log.begin.file).read_bytes())[:100])
        listed = LogFolder._listed
        monkeypatch.setattr(
            LogFolder, "_listed", lambda self: sorted(listed(self), key=lambda item: item["name"], reverse=packed_first)
        )
        assert plain(read(log, copy)) == plain(live(log))

    def test_lag_is_known_once_something_was_read(self, log: Log, copy: Path) -> None:
        source = log.source(copy)
        assert source.lag_seconds() is None
        middle = source.locate(f"{log.begin.file}:{(copy / log.begin.file).stat().st_size}")
        chunks(source, log.here(log.begin, source), middle)
        assert (source.lag_seconds() or 0) > 0
        chunks(source, middle, source.head())
        assert source.lag_seconds() == 0


class TestUnfinished:
    def test_what_is_cut_off_waits_for_the_next_run(self, log: Log, copy: Path) -> None:
        last = copy / log.end.file
        data = last.read_bytes()
        source = log.source(copy)
        last.write_bytes(data[: len(data) * 2 // 3])
        middle = source.head()
        assert middle.file == log.end.file
        assert middle.offset < log.end.offset
        early = chunks(source, log.here(log.begin, source), middle)
        last.write_bytes(data)
        late = chunks(source, middle, source.head())
        found = [(batch.schema.table, row) for chunk in early + late for batch in chunk.batches for row in batch.data.to_pylist()]
        expected = [(batch.schema.table, row) for chunk in live(log) for batch in chunk.batches for row in batch.data.to_pylist()]
        assert sorted(map(str, found)) == sorted(map(str, expected))

    @settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(share=st.floats(0.02, 1), kind=st.sampled_from(["", ".gz"]))
    def test_wherever_it_is_cut_the_end_is_the_last_whole_transactions(self, log: Log, copy: Path, share: float, kind: str) -> None:
        for path in copy.iterdir():
            path.unlink()
        data = (log.folder / log.end.file).read_bytes()
        data = gzip.compress(data, 1) if kind else data
        (copy / f"{log.end.file}{kind}").write_bytes(data[: max(400, int(len(data) * share))])
        source, original = log.source(copy, ddl=log.ddl), log.source(ddl=log.ddl)
        head = source.head()
        assert source.locate(str(head)) == head
        assert head.offset <= log.end.offset
        whole = chunks(original, original.locate(f"{log.end.file}:4"), head)
        assert plain(chunks(source, source.locate("earliest"), head)) == plain(whole)

    def test_a_file_that_was_only_just_begun_is_left_out(self, log: Log, copy: Path) -> None:
        for size in (0, 2, 60):
            begun = (copy / log.end.file).read_bytes()[:size]
            (copy / f"binlog.{log.end.sequence + 1:06}").write_bytes(begun)
            assert plain(read(log, copy)) == plain(live(log))

    def test_one_that_ends_between_the_events_of_a_transaction_is_refused(self, log: Log, copy: Path) -> None:
        path = copy / log.begin.file
        data = path.read_bytes()
        ends = [pos for pos, kind in _events(data) if kind == 16]
        path.write_bytes(data[: ends[-1]])
        with pytest.raises(CorruptSegment, match="ends inside an event or a transaction"):
            read(log, copy)

    @pytest.mark.parametrize("kind", ["", ".gz"])
    def test_a_file_that_is_cut_though_another_follows_is_refused(self, log: Log, copy: Path, kind: str) -> None:
        path = copy / log.begin.file
        data = gzip.compress(path.read_bytes()) if kind else path.read_bytes()
        path.unlink()
        (copy / f"{path.name}{kind}").write_bytes(data[:-30])
        with pytest.raises(CorruptSegment, match=f"{log.begin.file} ends inside an event or a transaction, and binlog"):
            read(log, copy)

    def test_one_that_was_copied_while_it_was_written_to_is_refused(self, log: Log, copy: Path) -> None:
        shutil.copy(copy / log.begin.file, copy / f"binlog.{log.end.sequence + 1:06}")
        with pytest.raises(CorruptSegment, match="was copied while the server wrote to it"):
            read(log, copy)


class TestRefused:
    def test_a_number_that_is_missing_is_named(self, log: Log, copy: Path) -> None:
        names = sorted(path.name for path in copy.iterdir())
        (copy / names[-2]).unlink()
        source = log.source(copy)
        begin = log.here(log.begin, source)
        assert f"{names[-2]} is missing between {names[-3]} and {names[-1]}" in str(problem(source, begin))
        with pytest.raises(PermanentError, match=f"{names[-2]} is missing"):
            chunks(source, begin, source.head())
        (copy / names[-3]).unlink()
        assert f"{names[-3]} to {names[-2]} is missing" in str(problem(source, begin))

    def test_a_hole_before_the_position_matters_to_nobody(self, log: Log, copy: Path) -> None:
        (copy / f"binlog.{log.begin.sequence + 1:06}").unlink()
        source = log.source(copy)
        later = source.locate(f"binlog.{log.begin.sequence + 2:06}:4")
        assert source.preflight({SMALL: later}).problems == ()
        end = chunks(source, later, source.head())[-1].end
        assert end is not None
        assert end.compare(source.head()) == "equal"

    def test_what_is_no_binlog_file(self, log: Log, copy: Path) -> None:
        (copy / log.end.file).write_bytes(b"PAR1" + bytes(100))
        assert "is no binlog file: it begins with b'PAR1'" in str(problem(log.source(copy)))

    def test_packed_bytes_that_are_none(self, log: Log, copy: Path) -> None:
        (copy / log.end.file).unlink()
        (copy / f"{log.end.file}.gz").write_bytes(b"not packed at all")
        assert "it can't be unpacked" in str(problem(log.source(copy)))
        (copy / f"{log.end.file}.gz").rename(copy / f"{log.end.file}.zst")
        assert "it can't be unpacked" in str(problem(log.source(copy)))

    def test_an_encrypted_file_of_mysql(self, log: Log, copy: Path) -> None:
        (copy / log.end.file).write_bytes(b"\xfdbin" + bytes(600))
        assert "is encrypted, and the key is the server's" in str(problem(log.source(copy)))

    def test_an_encrypted_file_of_mariadb(self, log: Log, copy: Path) -> None:
        """An event behind the format event says so; it is put in by hand, as no key management is at hand."""
        path = copy / log.end.file
        data = path.read_bytes()
        first = 4 + int.from_bytes(data[13:17], "little")
        event = bytearray(data[first : first + 60])
        event[4] = 164
        event[9:13] = (60).to_bytes(4, "little")
        path.write_bytes(data[:first] + event + bytes(500))
        assert "is encrypted, and the key is the server's" in str(problem(log.source(copy)))

    def test_an_event_that_is_not_whole_inside(self, log: Log, copy: Path) -> None:
        path = copy / log.end.file
        data = bytearray(path.read_bytes())
        first = 4 + int.from_bytes(data[13:17], "little")
        data[first + 9 : first + 13] = (3).to_bytes(4, "little")
        path.write_bytes(data)
        assert "holds an event of 3 bytes" in str(problem(log.source(copy)))

    def test_a_folder_without_files_and_one_with_two_logs(self, log: Log, copy: Path, tmp_path: Path) -> None:
        assert "holds no binlog files" in str(problem(log.source(tmp_path)))
        assert "holds no binlog files" in str(problem(log.source(tmp_path / "nowhere")))
        shutil.copy(copy / log.begin.file, copy / "relay-bin.000001")
        found = problem(log.source(copy))
        assert isinstance(found, PreflightError)
        assert "the files of several logs: binlog, relay-bin" in str(found)
        assert log.source(f"{copy}/binlog.*").preflight({SMALL: None}).problems == ()

    def test_positions_of_others(self, log: Log, copy: Path) -> None:
        source = log.source(copy)
        begin = log.here(log.begin, source)
        for position, words in {
            replace(begin, server="mariadb-77"): "of the server mariadb-77",
            replace(begin, fingerprint="0" * 16): "another file than the one",
            replace(begin, offset=10**9): "ends at",
        }.items():
            found = problem(source, position)
            assert isinstance(found, PositionLost)
            assert words in str(found)
        (found,) = source.preflight({SMALL: SegmentPosition("s")}).problems  # type: ignore[assignment]
        assert "from which binlog files can't go on" in str(found)

    def test_there_is_nothing_to_copy(self, log: Log) -> None:
        with pytest.raises(ConfigError, match="no rows to copy") as caught:
            log.source().start([SMALL], consistent=False)
        assert "start='earliest'" in (caught.value.setting or "")

    def test_options_that_are_not_json(self, log: Log) -> None:
        with pytest.raises(ConfigError, match="not a JSON object"):
            log.source(storage_options="[1]")
        with pytest.raises(ConfigError, match="nosuch"):
            log.source("nosuch://a/b")


class TestLocating:
    def test_places_by_name(self, log: Log) -> None:
        source = log.source()
        assert source.locate("latest") == source.head()
        assert source.locate(str(log.begin)) == log.here(log.begin, source)
        assert source.locate("earliest").offset == 4

    def test_a_place_inside_a_transaction_names_the_nearest(self, log: Log) -> None:
        source = log.source()
        with pytest.raises(ConfigError, match="the nearest such places are") as caught:
            source.locate(f"{log.begin.file}:{log.begin.offset + 1}")
        assert str(log.begin) in str(caught.value)

    @pytest.mark.parametrize(
        ("start", "words"), [("binlog.999999:4", "there is no file"), ("yesterday", "is no place"), ("x:y", "is no place")]
    )
    def test_places_that_are_none(self, log: Log, start: str, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            log.source().locate(start)

    @pytest.mark.parametrize("without", [(), (33,)], ids=["as it is", "without MySQL's GTIDs"])
    def test_the_places_are_those_where_the_server_said_its_log_ended(self, log: Log, without: tuple[int, ...]) -> None:
        for path in sorted(log.folder.iterdir()):
            told = {int(place.rpartition(":")[2]) for place in log.places if place.startswith(path.name)}
            with path.open("rb") as handle:
                file = LogFile(Bytes(handle, None, NAME), path.name, NAME)
                cut = 4 * file.begin.format.checksums
                bounds = Bounds()
                # MariaDB's checkpoint events (161) come when they like, between transactions too.
                fed = (event for event in file.events() if event[4] not in without)
                found = {file.offset for event in fed if bounds.ends(event, len(event) - cut) and event[4] != 161}
            found.discard(path.stat().st_size if path.name != log.end.file else 0)
            assert {offset for offset in found if offset >= min(told)} == told

    def test_every_end_of_a_chunk_is_a_place(self, log: Log) -> None:
        source = log.source()
        for chunk in read(log, limits=Limits(rows=10)):
            if isinstance(chunk.end, BinlogPosition):
                assert source.locate(str(chunk.end)) == replace(chunk.end, gtid="")


class TestTables:
    def test_columns_and_key_are_those_of_the_server(self, log: Log) -> None:
        server = mysql.SYSTEM.open_source(log.server.values(), "live")
        there = {table: server.schema(table) for table in (ALL, SMALL)}
        server.close()
        for source in (log.source(), log.source(ddl=log.ddl)):
            for table, schema in there.items():
                found = source.schema(table)
                assert found.key == schema.key
                assert [(item.name, item.type, item.nullable) for item in found.columns] == [
                    (item.name, item.type, item.nullable) for item in schema.columns
                ]

    def test_given_statements_tell_all_that_the_server_does(self, log: Log) -> None:
        server = mysql.SYSTEM.open_source(log.server.values(), "live")
        found, there = log.source(ddl=log.ddl).schema(ALL), server.schema(ALL)
        server.close()
        for mine, theirs in zip(found.columns, there.columns, strict=True):
            known = {name: value.replace("utf8mb3", "utf8") for name, value in mine.attributes.items() if name != "collation"}
            expected = {name: value.replace("utf8mb3", "utf8") for name, value in theirs.attributes.items() if name != "collation"}
            assert known == expected, mine.name

    def test_rows_without_names_need_statements(self, log: Log) -> None:
        if log.mariadb:
            pytest.skip("this log names its columns")
        found = problem(log.source(ddl=None))
        assert isinstance(found, SchemaError)
        assert "don't name their columns" in str(found)
        assert found.setting == "ddl"

    def test_a_table_without_rows_needs_a_statement(self, log: Log) -> None:
        quiet = TableName("shop", "quiet")
        assert "hold no rows of it" in str(problem(log.source(), table=quiet))
        source = log.source(ddl="CREATE TABLE shop.quiet (k int NOT NULL, PRIMARY KEY (k))")
        assert source.schema(quiet).key == ("k",)

    def test_a_character_set_that_needs_the_server_names_the_column(self, log: Log) -> None:
        japanese = TableName("shop", "japanese")
        create = "CREATE TABLE shop.japanese (k int NOT NULL, v varchar(9), PRIMARY KEY (k)) DEFAULT CHARSET=sjis"
        for source in [log.source()] * log.mariadb + [log.source(ddl=create)]:
            found = problem(source, table=japanese)
            assert "column v: the character set sjis can't be converted" in str(found)

    def test_the_database_has_to_be_named(self, log: Log) -> None:
        assert "its database is not named" in str(problem(log.source(), table=TableName("", "small")))


def test_a_server_that_was_killed_leaves_files_that_can_be_read(mariadb: MySqlServer, tmp_path: Path) -> None:
    """Nobody closed them; but the next file's GTID list says that nothing is missing."""
    with running(start_mariadb) as server:
        server.execute(
            "CREATE DATABASE shop", "CREATE TABLE shop.small (k INT PRIMARY KEY, v INT)", "INSERT INTO shop.small VALUES (1, 1)"
        )
        server.restart()
        server.execute("INSERT INTO shop.small VALUES (2, 2)")
        for path in (server.folder / "data").glob("binlog.0*"):
            shutil.copy(path, tmp_path / path.name)
    source = Log(
        mariadb, tmp_path, BinlogPosition("binlog.000001", 4, "mariadb-1"), BinlogPosition("", 0, ""), "", frozenset()
    ).source()
    after: Any = {SMALL: source.locate("earliest")}

    def keys() -> list[int]:
        read = source.read(Window(after, source.head()), Limits())
        return [row["k"] for chunk in read for batch in chunk.batches for row in batch.rows.to_pylist()]

    assert keys() == [1, 2]
    first = tmp_path / "binlog.000001"
    whole, last = first.read_bytes(), _last_transaction(first.read_bytes())
    commit = max(pos for pos, kind in _events(whole) if kind == 16)
    first.write_bytes(whole + whole[last:commit])
    assert keys() == [1, 2], "what was never committed is left out"
    first.write_bytes(whole[:last])
    with pytest.raises(CorruptSegment, match="was copied while the server wrote to it"):
        list(source.read(Window(after, source.head()), Limits()))


def _last_transaction(data: bytes) -> int:
    """Where the last GTID event stands."""
    return max(pos for pos, kind in _events(data) if kind == 162)


def _events(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each event stands, and its type."""
    pos = 4
    while pos < len(data):
        yield pos, data[pos + 4]
        pos += int.from_bytes(data[pos + 9 : pos + 13], "little")
