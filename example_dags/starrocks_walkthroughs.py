"""The walkthroughs of StarRocks' Flink connector page, without Flink: plain Stream Loads by a hook and an operator.

They need one connection, ``starrocks_warehouse``, whose account may create the database ``test``. Each task makes its table anew
and returns what the page shows at the end. ``tidegate sandbox starrocks`` is enough to try them.

The page's three forms of input come first: records of CSV, records of JSON, and objects that say what becomes of them (``__op``).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from tidegate.hooks.starrocks import StarRocksHook
from tidegate.operators import StarRocksStreamLoadOperator

CONNECTION = "starrocks_warehouse"
FILE = Path(__file__).parent / "data" / "starrocks" / "score_board.csv"

SCORE_BOARD = """
CREATE TABLE test.score_board (
    id INT NOT NULL,
    name VARCHAR(65533) NULL DEFAULT "",
    score INT NOT NULL DEFAULT "0"
) ENGINE=OLAP PRIMARY KEY(id) DISTRIBUTED BY HASH(id)
"""
PAGE_UV = """
CREATE TABLE test.page_uv (
    page_id INT NOT NULL,
    visit_date DATETIME NOT NULL,
    visit_users BITMAP BITMAP_UNION NOT NULL
) ENGINE=OLAP AGGREGATE KEY(page_id, visit_date) DISTRIBUTED BY HASH(page_id)
"""
HLL_UV = """
CREATE TABLE test.hll_uv (
    page_id INT NOT NULL,
    visit_date DATETIME NOT NULL,
    visit_users HLL HLL_UNION NOT NULL
) ENGINE=OLAP AGGREGATE KEY(page_id, visit_date) DISTRIBUTED BY HASH(page_id)
"""
UPSERT, DELETE = 0, 1


def fresh(table: str, statement: str) -> StarRocksHook:
    """A hook, and the table made anew by the statement."""
    hook = StarRocksHook(CONNECTION)
    for each in ("CREATE DATABASE IF NOT EXISTS test", f"DROP TABLE IF EXISTS {table}", statement):
        hook.sql(each)
    return hook


def score_board(*rows: tuple[int, str, int]) -> StarRocksHook:
    """A hook, and the table with these rows."""
    hook = fresh("test.score_board", SCORE_BOARD)
    if rows:
        hook.stream_load("test.score_board", [dict(zip(("id", "name", "score"), row, strict=True)) for row in rows])
    return hook


def scores(hook: StarRocksHook) -> list[list[Any]]:
    return [list(row) for row in hook.sql("SELECT id, name, score FROM test.score_board ORDER BY id")]


with DAG(
    dag_id="starrocks_walkthroughs",
    description="What the page of StarRocks' Flink connector shows, by tidegate.",
    schedule=None,
    catchup=False,
    max_active_tasks=1,  # several of them use the same table
    tags=["tidegate", "starrocks"],
) as dag:

    @task
    def csv_records() -> list[list[Any]]:
        hook = score_board()
        records = ["1\tstarrocks-csv\t100", "2\tflink-csv\t100"]
        hook.stream_load("test.score_board", records, format="csv")
        return scores(hook)

    @task
    def json_records() -> list[list[Any]]:
        hook = score_board()
        records = ['{"id":1, "name":"starrocks-json", "score":100}', '{"id":2, "name":"flink-json", "score":100}']
        hook.stream_load("test.score_board", records)
        return scores(hook)

    @task
    def objects() -> list[list[Any]]:
        hook = score_board((3, "gone", 1))
        rows = [
            {"id": 1, "name": "starrocks-rowdata", "score": 100, "__op": UPSERT},
            {"id": 2, "name": "flink-rowdata", "score": 100, "__op": UPSERT},
            {"id": 3, "name": None, "score": 0, "__op": DELETE},
        ]
        hook.stream_load("test.score_board", rows)
        return scores(hook)

    @task
    def insert() -> list[list[Any]]:
        return scores(score_board((1, "starrocks", 100), (2, "flink", 100)))

    @task
    def partial_update() -> list[list[Any]]:
        hook = score_board((1, "starrocks", 100), (2, "flink", 100))
        rows = [{"id": 1, "name": "starrocks-update"}, {"id": 2, "name": "flink-update"}]
        hook.stream_load("test.score_board", rows, partial_update=True)
        return scores(hook)

    @task
    def conditional_update() -> list[list[Any]]:
        hook = score_board((1, "starrocks", 100), (2, "flink", 100))
        rows = [{"id": 1, "name": "starrocks-update", "score": 99}, {"id": 2, "name": "flink-update", "score": 101}]
        hook.stream_load("test.score_board", rows, merge_condition="score")
        return scores(hook)

    @task
    def bitmap() -> list[list[Any]]:
        hook = fresh("test.page_uv", PAGE_UV)
        visits = [(1, 1, 13), (1, 1, 23), (1, 1, 33), (1, 2, 13), (2, 1, 23)]
        rows = [
            {"page_id": page, "visit_date": datetime(2020, 6, 23, hour, 30, 30), "visit_user_id": user}
            for page, hour, user in visits
        ]
        columns = "page_id,visit_date,visit_user_id,visit_users=to_bitmap(visit_user_id)"
        hook.stream_load("test.page_uv", rows, columns=columns)
        found = hook.sql("SELECT page_id, COUNT(DISTINCT visit_users) FROM test.page_uv GROUP BY page_id ORDER BY page_id")
        return [list(row) for row in found]

    @task
    def hll() -> list[list[Any]]:
        hook = fresh("test.hll_uv", HLL_UV)
        rows = [
            {"page_id": 3, "visit_date": datetime(2023, 7, 24, 12, 0, 0), "visit_user_id": 78},
            {"page_id": 4, "visit_date": datetime(2023, 7, 24, 13, 20, 10), "visit_user_id": 2},
            {"page_id": 3, "visit_date": datetime(2023, 7, 24, 12, 30, 0), "visit_user_id": 674},
        ]
        columns = ["page_id", "visit_date", "visit_user_id", "visit_users=hll_hash(visit_user_id)"]
        hook.stream_load("test.hll_uv", rows, columns=columns)
        found = hook.sql("SELECT page_id, COUNT(DISTINCT visit_users) FROM test.hll_uv GROUP BY page_id ORDER BY page_id")
        return [list(row) for row in found]

    file = StarRocksStreamLoadOperator(
        task_id="file", table="test.score_board", path=str(FILE), sink_conn_id=CONNECTION, properties={"skip_header": 1}
    )
    (
        csv_records()
        >> json_records()
        >> objects()
        >> insert()
        >> partial_update()
        >> conditional_update()
        >> bitmap()
        >> hll()
        >> file
    )
