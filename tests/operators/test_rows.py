"""Rows out of files and queries, as they are written there."""

from __future__ import annotations

import gzip
import json
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import airflow_home
from tests.servers import PostgresServer
from tidegate.errors import ConfigError, SchemaError
from tidegate.operators.rows import query, read_file

pytestmark = pytest.mark.airflow


def rows_of(read: Any) -> list[dict[str, Any]]:
    if isinstance(read, pa.RecordBatchReader):
        rows: list[dict[str, Any]] = read.read_all().to_pylist()
        return rows
    return list(read)


def test_a_parquet_file_keeps_its_types(tmp_path: Path) -> None:
    table = pa.table({"id": pa.array([1, 2], pa.uint16()), "total": pa.array([Decimal("1.10"), None], pa.decimal128(9, 2))})
    pq.write_table(table, tmp_path / "orders.parquet")
    read = read_file(str(tmp_path / "orders.parquet")).read_all()
    assert read.schema == table.schema
    assert read == table


def test_csv_values_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text('id,code,note\n007,1e5,\n8,true,""\n9,2026-01-01,"a\nb"\n', encoding="utf-8")
    assert rows_of(read_file(str(tmp_path / "codes.csv"))) == [
        {"id": "007", "code": "1e5", "note": None},
        {"id": "8", "code": "true", "note": ""},
        {"id": "9", "code": "2026-01-01", "note": "a\nb"},
    ]


def test_a_packed_csv_file_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "codes.csv.gz").write_bytes(gzip.compress(b"id\n1\n"))
    assert rows_of(read_file(str(tmp_path / "codes.csv.gz"))) == [{"id": "1"}]


@pytest.mark.parametrize("packed", [False, True])
def test_json_lines_keep_digits_and_what_a_row_leaves_out(tmp_path: Path, packed: bool) -> None:
    lines = '{"id": 1, "total": 12345678901234567.89, "at": "2026-01-01"}\n\n{"id": 2, "tags": ["é", {"a": 1}]}\n'.encode()
    path = tmp_path / ("rows.jsonl.gz" if packed else "rows.ndjson")
    path.write_bytes(gzip.compress(lines) if packed else lines)
    first, second = rows_of(read_file(str(path)))
    assert first == {"id": 1, "total": Decimal("12345678901234567.89"), "at": "2026-01-01"}
    assert second == {"id": 2, "tags": '["é", {"a": 1}]'}


@pytest.mark.parametrize("where", ["", "/*.jsonl"])
def test_a_folder_or_a_pattern_is_read_in_the_order_of_the_names(tmp_path: Path, where: str) -> None:
    for number in (2, 10, 1):
        (tmp_path / f"part-{number:02}.jsonl").write_text(json.dumps({"id": number}))
    (tmp_path / "_SUCCESS").write_text("")
    assert [row["id"] for row in rows_of(read_file(f"file://{tmp_path}{where}"))] == [1, 2, 10]


def test_the_format_can_be_given_where_the_name_does_not_say_it(tmp_path: Path) -> None:
    (tmp_path / "export.txt").write_text("id\n1\n")
    with pytest.raises(ConfigError, match="say which"):
        read_file(str(tmp_path / "export.txt"))
    with pytest.raises(ConfigError, match="xml"):
        read_file(str(tmp_path / "export.txt"), "xml")
    assert rows_of(read_file(str(tmp_path / "export.txt"), "csv")) == [{"id": "1"}]


def test_no_file_is_an_error_and_so_are_files_that_differ_in_their_columns(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no files"):
        read_file(str(tmp_path / "absent.csv"))
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "b.csv").write_text("id,more\n1,2\n")
    with pytest.raises(SchemaError, match=r"b\.csv"):
        read_file(str(tmp_path))


def test_a_file_that_is_not_what_its_name_says_is_refused_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("secret")
    with pytest.raises(SchemaError, match="parquet") as caught:
        read_file(str(tmp_path / "a.parquet"))
    assert "secret" not in str(caught.value)
    (tmp_path / "a.csv").write_text("id,x\n" + "1,2\n" * 300_000 + "3,secret,4\n")
    with pytest.raises(SchemaError, match="csv") as caught:
        rows_of(read_file(str(tmp_path / "a.csv")))
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    (tmp_path / "b.jsonl").write_text('{"id": 1}\n[2]\n')
    with pytest.raises(SchemaError, match="line 2"):
        rows_of(read_file(str(tmp_path / "b.jsonl")))


@pytest.fixture
def shop(pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection of Airflow's own PostgreSQL type."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", airflow_home.postgres_connection(pg_database, "postgres"))
    return "shop"


@pytest.mark.postgres
def test_a_query_gives_rows_as_its_driver_reads_them(shop: str) -> None:
    sql = "SELECT 1.10::numeric AS price, '[1]'::jsonb AS tags, '\\x00ff'::bytea AS raw, NULL AS nothing"
    with query(shop, sql) as rows:
        assert list(rows) == [{"price": Decimal("1.10"), "tags": "[1]", "raw": b"\x00\xff", "nothing": None}]


@pytest.mark.postgres
def test_a_query_is_fetched_piece_by_piece(shop: str) -> None:
    with query(shop, "SELECT n FROM generate_series(1, 25000) AS n ORDER BY n") as rows:
        assert [row["n"] for row in rows] == list(range(1, 25001))


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("sql", "says"), [("SELECT 1 AS a, 2 AS a", "more than once: a"), ("CREATE TEMP TABLE x (a int)", "no rows")]
)
def test_a_query_whose_rows_can_not_be_told_is_refused(shop: str, sql: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says), query(shop, sql):
        pass


def test_a_connection_without_a_cursor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FILES", json.dumps({"conn_type": "changefiles", "extra": {"url": "/nowhere"}}))
    with pytest.raises(ConfigError, match="DB-API"), query("files", "SELECT 1"):
        pass
