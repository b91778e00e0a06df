"""Databases and tables: what is created, refused, altered and kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.starrocks.tables import SCORE_BOARD, engine_with, load, load_csv, rows_of, table
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.model import ColumnDef, EngineError, LoadFailed, Model

INT = ColumnDef("id", "int", nullable=False)
ROWS = [{"id": 1, "name": "a", "score": 1}, {"id": 2, "name": "b", "score": 2}]


@pytest.fixture
def board() -> Iterator[Engine]:
    engine = engine_with(table(*SCORE_BOARD))
    yield engine
    engine.close()


def test_databases_and_tables_come_and_go(board: Engine) -> None:
    with pytest.raises(EngineError, match="database exists"):
        board.create_database("test")
    with pytest.raises(EngineError, match="Table 't' already exists"):
        board.create_table(table(*SCORE_BOARD))
    board.create_table(table(*SCORE_BOARD), if_not_exists=True)
    board.drop_table("test", "t")
    with pytest.raises(EngineError, match=r"Unknown table 'test\.t'"):
        board.drop_table("test", "t")
    board.create_table(table(*SCORE_BOARD))
    board.drop_database("test")
    assert (board.databases(), board.tables("test"), board.table("test", "t")) == ([], [], None)
    with pytest.raises(EngineError, match="Unknown database 'test'"):
        board.create_table(table(*SCORE_BOARD))


@pytest.mark.parametrize(
    ("columns", "model", "key", "why"),
    [
        ((ColumnDef("id", "int"),), "PRIMARY_KEYS", ("id",), "cannot be nullable"),
        ((ColumnDef("id", "decimal(10,2)", nullable=False),), "PRIMARY_KEYS", ("id",), "type not supported"),
        ((ColumnDef("v", "int"), INT), "PRIMARY_KEYS", ("id",), "Key columns must be the first few columns"),
        ((INT, ColumnDef("v", "int")), "AGG_KEYS", ("id",), "must have an aggregation type"),
        ((INT, ColumnDef("v", "int", aggregation="SUM")), "PRIMARY_KEYS", ("id",), "Can not specify aggregate function"),
        ((INT, ColumnDef("v", "bitmap", aggregation="SUM")), "AGG_KEYS", ("id",), "Invalid aggregate function"),
        ((INT, ColumnDef("v", "int", default="x")), "PRIMARY_KEYS", ("id",), "Invalid default value for 'v'"),
        ((INT, ColumnDef("v", "uuid")), "PRIMARY_KEYS", ("id",), "Unknown data type 'uuid'"),
        ((INT, ColumnDef("ID", "int")), "PRIMARY_KEYS", ("id",), "Duplicate column name 'id'"),
        ((ColumnDef("id", "json"),), "DUP_KEYS", ("id",), "Invalid data type of key column"),
    ],
)
def test_tables_that_the_server_refuses(
    board: Engine, columns: tuple[ColumnDef, ...], model: Model, key: tuple[str, ...], why: str
) -> None:
    with pytest.raises(EngineError, match=why):
        board.create_table(table(*columns, model=model, key=key, name="x"))


def test_maps_and_structs_are_there_from_3_1_on() -> None:
    columns = (INT, ColumnDef("m", "map<varchar(5), int>"), ColumnDef("s", "struct<a int, B array<varchar(3)>>"))
    old = engine_with(version="3.0.9")
    with pytest.raises(EngineError, match="Unsupported data type: MAP"):
        old.create_table(table(*columns))
    old.close()
    new = engine_with(table(*columns), version="3.1.0")
    load(new, [{"id": 1, "m": {"k": 2}, "s": {"a": 1, "B": ["x"]}}])
    assert rows_of(new) == [(1, {"k": 2}, {"a": 1, "B": ["x"]})]
    new.close()


def test_columns_are_added_by_a_job_and_loads_go_on_meanwhile(board: Engine) -> None:
    board.alter_seconds = 3600
    staged = board.stage("test", "t", {}, b"1\ta\t1\n")
    job = board.add_columns("test", "t", [ColumnDef("extra", "int", default="7")])
    found = board.table("test", "t")
    assert job.state == "RUNNING"
    assert found is not None
    assert (found.state, len(found.columns)) == ("SCHEMA_CHANGE", 3)
    with pytest.raises(EngineError, match=r"state\(SCHEMA_CHANGE\) is not NORMAL"):
        board.add_columns("test", "t", [ColumnDef("more", "int")])
    load_csv(board, "2\tb\t2\n")
    board.alter_seconds = 0
    assert [job.state for job in board.alter_jobs("test")] == ["FINISHED"]
    board.publish([staged])
    assert rows_of(board) == [(1, "a", 1, 7), (2, "b", 2, 7)]


def test_a_column_that_is_there_or_needs_a_value_is_not_added(board: Engine) -> None:
    with pytest.raises(EngineError, match="already exists in base table: NAME"):
        board.add_columns("test", "t", [ColumnDef("NAME", "int")])
    with pytest.raises(EngineError, match="NOT NULL column without default"):
        board.add_columns("test", "t", [ColumnDef("x", "int", nullable=False)])
    assert [one.state for one in board.tables("test")] == ["NORMAL"]


def test_a_file_keeps_databases_tables_and_rows(tmp_path: Path) -> None:
    engine = Engine(path=tmp_path / "store")
    engine.create_database("test")
    engine.create_database("empty")
    engine.create_table(table(*SCORE_BOARD))
    load(engine, ROWS)
    engine.add_columns("test", "t", [ColumnDef("extra", "largeint")])
    engine.rename("test", "t", "board")
    engine.close()
    again = Engine(path=tmp_path / "store")
    assert sorted(again.databases()) == ["empty", "test"]
    (found,) = again.tables("test")
    assert ([column.name for column in found.columns], found.key) == (["id", "name", "score", "extra"], ("id",))
    assert rows_of(again, name="board") == [(1, "a", 1, None), (2, "b", 2, None)]
    again.close()


def test_tables_change_places(board: Engine) -> None:
    board.create_table(table(INT, name="other"))
    load(board, ROWS)
    board.swap("test", "t", "other")
    assert (board.row_count("test", "other"), board.row_count("test", "t")) == (2, 0)
    with pytest.raises(EngineError, match="already used"):
        board.rename("test", "t", "other")
    load(board, [{"id": 5}])
    assert rows_of(board, "id, 0") == [(5, 0)]


def test_versions_count_the_loads_until_a_load_is_refused(board: Engine) -> None:
    board.compaction_seconds = float("inf")
    board.tablet_max_versions = 3
    for _ in range(3):
        load(board, ROWS)
    assert board.versions("test", "t") == 4
    with pytest.raises(LoadFailed, match=r"because of too many versions, current/limit: 4/3\."):
        load(board, ROWS)
    board.compact("test", "t")
    staged = [board.stage("test", "t", {}, b"1\ta\t1\n") for _ in range(2)]
    board.publish(staged)
    assert board.versions("test", "t") == 2
    board.compaction_seconds = 0
    assert board.versions("test", "t") == 1


def test_insert_upserts_fills_defaults_and_refuses_what_does_not_fit(board: Engine) -> None:
    assert board.insert("test", "t", ["id", "name"], [[1, "a"], [2, None], [1, "b"]]) == 3
    assert rows_of(board) == [(1, "b", 0), (2, None, 0)]
    with pytest.raises(LoadFailed, match="Insert has filtered data"):
        board.insert("test", "t", ["id", "score"], [[1, None]])
    with pytest.raises(EngineError, match="must be explicitly mentioned in column permutation"):
        board.insert("test", "t", ["name"], [["a"]])
    with pytest.raises(EngineError, match="Unknown column 'x'"):
        board.insert("test", "t", ["id", "x"], [[1, 2]])
    assert board.delete_where("test", "t", "name IS NULL") == 1
    assert rows_of(board) == [(1, "b", 0)]


def test_readers_see_a_load_wholly_or_not_at_all(board: Engine) -> None:
    load(board, [{"id": number, "name": "", "score": 0} for number in range(50)])
    seen: list[set[int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append({row[0] for row in board.query("SELECT score FROM test.t")[1]})

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for score in range(1, 6):
            load(board, [{"id": number, "name": "", "score": score} for number in range(50)])
    finally:
        done.set()
        reader.join()
    assert seen
    assert all(len(scores) == 1 for scores in seen)
