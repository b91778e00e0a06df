"""One Stream Load by hand: every form of data, into the sandbox."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.servers import StarrocksServer
from tidegate.errors import ConfigError, RowRefused, SchemaError
from tidegate.providers.starrocks.connection import SYSTEM
from tidegate.providers.starrocks.reply import Reply
from tidegate.providers.starrocks.tools import Loaded, counts, query, stream_load

BOARD = """
CREATE TABLE score_board (id INT NOT NULL, name VARCHAR(65533) NULL DEFAULT "", score INT NOT NULL DEFAULT "0")
PRIMARY KEY(id) DISTRIBUTED BY HASH(id)
"""
LOG = "CREATE TABLE log (id INT, name VARCHAR(100), at DATETIME) DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)"
ROWS = [(1, "starrocks", 100), (2, "flink", 100)]

Load = Callable[..., Loaded]
Read = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def values(starrocks_database: StarrocksServer) -> dict[str, Any]:
    """The connection to a fresh database with the tables score_board and log."""
    found = SYSTEM.values(starrocks_database.values(), "starrocks")
    for statement in (BOARD, LOG):
        query(found, "starrocks", statement.replace("TABLE ", f"TABLE {found['database']}.", 1))
    return found


@pytest.fixture
def load(values: dict[str, Any]) -> Load:
    def go(table: str, data: Any, *, more: Mapping[str, Any] | None = None, **how: Any) -> Loaded:
        return stream_load(values | dict(more or {}), "starrocks", table, data, **how)

    return go


@pytest.fixture
def read(values: dict[str, Any]) -> Read:
    return lambda sql: query(values, "starrocks", sql.replace("FROM ", f"FROM {values['database']}.", 1))


def board(read: Read) -> list[tuple[Any, ...]]:
    return read("SELECT id, name, score FROM score_board ORDER BY id")


@dataclass
class RowData:
    id: int
    name: str
    score: int


DICTS = [dict(zip(("id", "name", "score"), row, strict=True)) for row in ROWS]
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dicts": (DICTS, {}),
    "dicts as csv": (DICTS, {"format": "csv"}),
    "dataclasses": ([RowData(*row) for row in ROWS], {}),
    "arrow": (pa.Table.from_pylist(DICTS), {}),
    "arrow batch": (pa.RecordBatch.from_pylist(DICTS), {"format": "csv"}),
    "csv text": ("1\tstarrocks\t100\n2\tflink\t100\n", {"format": "csv"}),
    "csv text, unnamed": ("1\tstarrocks\t100\n2\tflink\t100", {}),
    "csv records": (["1\tstarrocks\t100", "2\tflink\t100"], {}),
    "csv by commas": ("1,starrocks,100\n2,flink,100\n", {"properties": {"column_separator": ","}}),
    "csv in another order": ("100\t1\tstarrocks\n100\t2\tflink\n", {"columns": ["score", "id", "name"]}),
    "json array": ('[{"id":1,"name":"starrocks","score":100},{"id":2,"name":"flink","score":100}]', {}),
    "json records": (['{"id":1,"name":"starrocks","score":100}', '{"id":2,"name":"flink","score":100}'], {}),
    "json records, one": (['{"id":1,"name":"starrocks","score":100}', '{"id":2,"name":"flink","score":100}'], {"format": "json"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_gives_the_same_rows(form: str, load: Load, read: Read) -> None:
    data, how = FORMS[form]
    loaded = load("score_board", data, **how)
    assert board(read) == ROWS
    assert (loaded.write.rows, loaded.write.loads, loaded.write.filtered) == (2, 1, 0)
    assert loaded.write.bytes > 0
    assert loaded.write.inserted is None
    assert loaded.reply is not None
    assert loaded.reply.label.startswith("tidegate-")


CSV, JSON = (
    b"1\tstarrocks\t100\n2\tflink\t100\n",
    b'\n [{"id":1,"name":"starrocks","score":100},{"id":2,"name":"flink","score":100}]',
)
FILES: dict[str, bytes] = {
    "board.csv": CSV,
    "board.csv.gz": gzip.compress(CSV),
    "board.TSV.bz2": bz2.compress(CSV),
    "board.json": JSON,
    "board.jsonl": b'{"id":1,"name":"starrocks","score":100}\n{"id":2,"name":"flink","score":100}\n',
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("given", [Path, lambda path: f"file://{path}"], ids=["path", "url"])
def test_a_file_is_loaded_as_its_name_ends(name: str, given: Any, load: Load, read: Read, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    load("score_board", given(tmp_path / name))
    assert board(read) == ROWS


def test_a_file_with_a_header_line_is_loaded_without_it(load: Load, read: Read, tmp_path: Path) -> None:
    (tmp_path / "board.csv").write_bytes(b"id\tname\tscore\n" + CSV)
    load("score_board", tmp_path / "board.csv", properties={"skip_header": 1})
    assert board(read) == ROWS


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing.csv", "no file .*nothing.csv"),
        ("nothing.csv.gz", "no file nothing.csv.gz"),
        ("board.parquet", "doesn't end in"),
        ("board", "doesn't end in"),
    ],
)
def test_a_file_that_is_not_there_or_of_no_format_is_refused(name: str, says: str, load: Load, tmp_path: Path) -> None:
    if not name.startswith("nothing"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=says):
        load("score_board", tmp_path / name)


@pytest.mark.parametrize("format", ["json", "csv"])
@pytest.mark.parametrize(("upsert", "delete"), [(0, 1), ("upsert", "DELETE")])
def test_op_says_what_becomes_of_a_row(format: str, upsert: int | str, delete: int | str, load: Load, read: Read) -> None:
    load("score_board", DICTS)
    gone, changed = DICTS[0] | {"__op": delete}, DICTS[1] | {"score": 7, "__op": upsert}
    load("score_board", [gone, changed, {"id": 3, "name": "new", "score": 1, "__op": upsert}], format=format)
    assert board(read) == [(2, "flink", 7), (3, "new", 1)]


def test_an_op_that_is_none_is_refused(load: Load) -> None:
    with pytest.raises(SchemaError, match="__op"):
        load("score_board", [DICTS[0] | {"__op": 2}])


def test_rows_to_delete_are_refused_where_nothing_is_deleted(load: Load, read: Read, starrocks_database: StarrocksServer) -> None:
    starrocks_database.execute("CREATE TABLE heap (id INT, name VARCHAR(9)) DUPLICATE KEY (id) DISTRIBUTED BY HASH (id)")
    with pytest.raises(SchemaError, match="1 rows to delete, and a duplicate key table"):
        load("heap", [{"id": 1, "name": "x", "__op": 1}, {"id": 2, "name": "y", "__op": 0}])
    load("heap", [{"id": 2, "name": "y", "__op": "upsert"}])
    assert read("SELECT * FROM heap") == [(2, "y")]


def test_a_text_that_is_no_number_is_refused_and_not_null(load: Load, read: Read, starrocks_database: StarrocksServer) -> None:
    starrocks_database.execute("CREATE TABLE open (id INT, score INT) PRIMARY KEY (id) DISTRIBUTED BY HASH (id)")
    with pytest.raises(RowRefused, match="too many filtered rows"):
        load("open", [{"id": 1, "score": "oops"}])
    load("open", [{"id": 1, "score": "7"}])
    load("open", [{"id": 2, "score": "oops"}], properties={"strict_mode": False})
    assert read("SELECT id, score FROM open ORDER BY id") == [(1, 7), (2, None)]


def test_broken_json_is_refused_for_good_and_csv_of_other_columns_says_how_it_was_read(load: Load) -> None:
    with pytest.raises(RowRefused, match="no JSON as its headers say"):
        load("score_board", '{"id": 1, "name"')
    with pytest.raises(RowRefused, match=r"doesn't match source value column count: 1.*separator: '"):
        load("score_board", "1,x,3\n", format="csv")


def test_a_packed_file_that_is_damaged_is_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "board.csv.gz").write_bytes(gzip.compress(CSV)[:-9] + b"damage...")
    with pytest.raises(ConfigError, match=r"board\.csv\.gz can't be read"):
        load("score_board", tmp_path / "board.csv.gz")


def test_a_label_loads_once(load: Load, read: Read) -> None:
    rows = [{"id": 1, "name": "once", "at": datetime(2026, 1, 2, 3, 4)}]
    first = load("log", rows, label="once-1")
    again = load("log", rows, label="once-1")
    assert (first.write.rows, again.write.rows, again.write.loads) == (1, 0, 0)
    assert read("SELECT id, name, at FROM log") == [(1, "once", datetime(2026, 1, 2, 3, 4))]
    load("log", rows)
    assert len(read("SELECT id FROM log")) == 2


def test_rows_over_the_filter_ratio_refuse_the_load_and_below_it_are_counted(load: Load, read: Read) -> None:
    text = "1\tgood\t100\n2\tbad\tzillion\n3\tgood\t100\n"
    with pytest.raises(RowRefused) as caught:
        load("score_board", text)
    assert "zillion" not in str(caught.value)
    assert board(read) == []
    loaded = load("score_board", text, more={"max_filter_ratio": 0.5})
    assert (loaded.write.rows, loaded.write.filtered) == (3, 1)
    assert board(read) == [(1, "good", 100), (3, "good", 100)]


def test_no_rows_are_no_load(load: Load, read: Read) -> None:
    loaded = load("score_board", [])
    assert (loaded.write.loads, loaded.reply) == (0, None)


@pytest.mark.parametrize(
    ("table", "data", "how", "says"),
    [
        ("score_board", [{"id": 1, "nmae": "x"}], {}, "nmae"),
        ("nowhere", [{"id": 1}], {}, "nowhere"),
        ("score_board", DICTS, {"columns": "id,score,name"}, "rows bring id, name, score"),
        ("score_board", "1", {"label": "a b"}, "label"),
        ("score_board", "1", {"format": "avro"}, "avro"),
        ("score_board", "1", {"properties": {"label": "mine"}}, "label"),
        ("score_board", DICTS, {"properties": {"partial_updates": True}}, "did you mean partial_update"),
        ("score_board", DICTS, {"properties": {"conflict_mode": "update"}}, "conflict_mode is an option of syncs"),
        ("score_board", DICTS, {"properties": {"jsonpaths": '["$.id"]'}}, "jsonpaths is for text and files"),
        ("score_board", "1", {"label": "once", "properties": {"enable_merge_commit": True}}, "lose their labels"),
    ],
)
def test_what_can_not_be_loaded_is_refused(table: str, data: Any, how: dict[str, Any], says: str, load: Load) -> None:
    with pytest.raises((ConfigError, SchemaError), match=says):
        load(table, data, **how)


def test_text_that_needs_it_is_quoted_in_csv(load: Load, read: Read) -> None:
    name = 'tab\t, "quote", \\ and\nnewline'
    load("score_board", [{"id": 1, "name": name, "score": 1}], format="csv")
    assert board(read) == [(1, name, 1)]


@pytest.mark.parametrize("format", ["json", "csv"])
def test_bytes_reach_a_binary_column(format: str, values: dict[str, Any], load: Load, read: Read) -> None:
    ddl = "CREATE TABLE {}.pages (id INT NOT NULL, body VARBINARY) PRIMARY KEY(id) DISTRIBUTED BY HASH(id)"
    query(values, "starrocks", ddl.format(values["database"]))
    load("pages", [{"id": 1, "body": b"\x00\xff", "__op": 0}, {"id": 2, "body": None, "__op": 0}], format=format)
    assert read("SELECT id, hex(body) FROM pages ORDER BY id") == [(1, "00FF"), (2, None)]


def test_csv_is_written_with_the_delimiters_and_quotes_that_are_asked_for(load: Load, read: Read) -> None:
    rows = [{"id": 1, "name": "it's, 'so'", "score": 1}]
    load("score_board", rows, format="csv", properties={"column_separator": ",", "row_delimiter": "\\x02", "enclose": "'"})
    assert board(read) == [(1, "it's, 'so'", 1)]


def test_a_connection_without_database_needs_one_in_the_name(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"\[database\]"):
        stream_load(values | {"database": ""}, "starrocks", "score_board", "1")


def test_a_reply_that_was_settled_by_asking_counts_no_rows_that_nobody_counted() -> None:
    lost = Reply(status="Success", existing_job_status="FINISHED", settled=True)
    assert (counts(lost).rows, counts(lost).loads) == (0, 1)
    assert counts(replace(lost, status="Label Already Exists")).loads == 0
