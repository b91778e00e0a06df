"""The walkthroughs of the vendor's Flink page, with the results that it documents.

As plain loads, in both formats, and as the example DAG as it is. The page is cut in the conditional update: it goes on with
``INSERT (1,'starrocks-update',99), (2,'flink-update',101)`` and gives ``(1,starrocks,100), (2,flink-update,101)``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests import airflow_home
from tests.servers import StarrocksServer
from tidegate.errors import ConfigError
from tidegate.providers.starrocks.connection import SYSTEM
from tidegate.providers.starrocks.tools import query, stream_load
from tidegate.providers.starrocks.vendor import PREFIX, from_flink

SCORE_BOARD = """
CREATE TABLE `score_board` (
    `id` int(11) NOT NULL COMMENT "",
    `name` varchar(65533) NULL DEFAULT "" COMMENT "",
    `score` int(11) NOT NULL DEFAULT "0" COMMENT ""
) ENGINE=OLAP PRIMARY KEY(`id`) COMMENT "OLAP" DISTRIBUTED BY HASH(`id`)
"""
PAGE_UV = """
CREATE TABLE `page_uv` (
  `page_id` INT NOT NULL COMMENT '页面ID',
  `visit_date` datetime NOT NULL COMMENT '访问时间',
  `visit_users` BITMAP BITMAP_UNION NOT NULL COMMENT '用户ID'
) ENGINE=OLAP AGGREGATE KEY(`page_id`, `visit_date`) DISTRIBUTED BY HASH(`page_id`)
"""
HLL_UV = PAGE_UV.replace("page_uv", "hll_uv").replace("BITMAP BITMAP_UNION", "HLL HLL_UNION")
BEFORE = [(1, "starrocks", 100), (2, "flink", 100)]
RESULTS = {
    "csv_records": [[1, "starrocks-csv", 100], [2, "flink-csv", 100]],
    "json_records": [[1, "starrocks-json", 100], [2, "flink-json", 100]],
    "objects": [[1, "starrocks-rowdata", 100], [2, "flink-rowdata", 100]],
    "insert": [[1, "starrocks", 100], [2, "flink", 100]],
    "partial_update": [[1, "starrocks-update", 100], [2, "flink-update", 100]],
    "conditional_update": [[1, "starrocks", 100], [2, "flink-update", 101]],
    "bitmap": [[1, 3], [2, 1]],
    "hll": [[3, 2], [4, 1]],
}

Flink = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(params=["json", "csv"])
def flink(request: pytest.FixtureRequest, starrocks_database: StarrocksServer) -> Flink:
    """``flink(ddl, rows, question, **properties)``: what a job with this WITH clause leaves in a table made by the DDL."""
    own = starrocks_database.values()
    hosts = own["host"].split(",")

    def go(ddl: str, rows: list[dict[str, Any]], question: str, *, before: Any = None, **properties: str) -> list[tuple[Any, ...]]:
        table = ddl.split("`")[1]
        clause = {
            "connector": "starrocks",
            "jdbc-url": "jdbc:mysql://" + ",".join(f"{host}:{own['port']}" for host in hosts),
            "load-url": ";".join(f"{host}:{own['http_port']}" for host in hosts),
            "database-name": own["database"],
            "table-name": table,
            "username": own["login"],
            "password": own["password"],
            PREFIX + "format": request.param,
            **{name.replace("__", "."): value for name, value in properties.items()},
        }
        job = from_flink(clause)
        values = SYSTEM.values(job.values, "flink")
        query(values, "flink", ddl.replace(f"`{table}`", f"`{own['database']}`.`{table}`", 1))
        if before is not None:
            stream_load(values, "flink", job.table, before)
        # What from_flink made of headers, back in Stream Load's own words.
        headers = dict(job.options.properties or {})
        columns = headers.pop("columns", None)
        if job.options.conflict_mode == "update":
            headers["partial_update"] = "true"
        if job.options.version_column:
            headers["merge_condition"] = job.options.version_column
        stream_load(values, "flink", job.table, rows, columns=columns, properties=headers)
        return list(query(values, "flink", question.format(f"{own['database']}.{table}")))

    return go


def scores(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(("id", "name", "score"), row, strict=False)) for row in rows]


ALL = "SELECT id, name, score FROM {} ORDER BY id"
USERS = "SELECT page_id, COUNT(DISTINCT visit_users) FROM {} GROUP BY page_id ORDER BY page_id"


def test_insert(flink: Flink) -> None:
    assert flink(SCORE_BOARD, scores(BEFORE), ALL) == BEFORE


def test_partial_update(flink: Flink) -> None:
    rows = [{"id": 1, "name": "starrocks-update"}, {"id": 2, "name": "flink-update"}]
    more = {"sink__properties__partial_update": "true", "sink__properties__columns": "id,name,__op"}
    found = flink(SCORE_BOARD, rows, ALL, before=scores(BEFORE), **more)
    assert found == [(1, "starrocks-update", 100), (2, "flink-update", 100)]


def test_conditional_update(flink: Flink) -> None:
    rows = scores([(1, "starrocks-update", 99), (2, "flink-update", 101)])
    more = {"sink__properties__merge_condition": "score", "sink__version": "V1"}
    found = flink(SCORE_BOARD, rows, ALL, before=scores(BEFORE), **more)
    assert found == [(1, "starrocks", 100), (2, "flink-update", 101)]


def test_a_conditional_update_by_the_transaction_interface_is_refused(flink: Flink) -> None:
    with pytest.raises(ConfigError, match="merge_condition"):
        flink(SCORE_BOARD, [], ALL, sink__properties__merge_condition="score", sink__version="V2")


def visits(*rows: tuple[int, str, int]) -> list[dict[str, Any]]:
    return [{"page_id": page, "visit_date": datetime.fromisoformat(at), "visit_user_id": user} for page, at, user in rows]


def test_bitmap(flink: Flink) -> None:
    rows = visits(
        (1, "2020-06-23 01:30:30", 13),
        (1, "2020-06-23 01:30:30", 23),
        (1, "2020-06-23 01:30:30", 33),
        (1, "2020-06-23 02:30:30", 13),
        (2, "2020-06-23 01:30:30", 23),
    )
    columns = "page_id,visit_date,visit_user_id,visit_users=to_bitmap(visit_user_id)"
    assert flink(PAGE_UV, rows, USERS, sink__properties__columns=columns) == [(1, 3), (2, 1)]


def test_hll(flink: Flink) -> None:
    rows = visits((3, "2023-07-24 12:00:00", 78), (4, "2023-07-24 13:20:10", 2), (3, "2023-07-24 12:30:00", 674))
    columns = "page_id,visit_date,visit_user_id,visit_users=hll_hash(visit_user_id)"
    assert flink(HLL_UV, rows, USERS, sink__properties__columns=columns) == [(3, 2), (4, 1)]


@pytest.mark.airflow
def test_the_example_gives_what_the_page_shows(starrocks_database: StarrocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STARROCKS_WAREHOUSE", airflow_home.starrocks_connection(starrocks_database))
    path = airflow_home.EXAMPLES / "starrocks_walkthroughs.py"
    # The example looks for its file beside itself.
    code = path.read_text().replace("Path(__file__).parent", f"Path({str(airflow_home.EXAMPLES)!r})")
    run = airflow_home.run_dag(airflow_home.load_dag(path.stem, code))
    assert run.state == "success"
    found = {task: run.get_task_instance(task).xcom_pull(task_ids=task) for task in RESULTS}
    assert found == RESULTS
    file = run.get_task_instance("file").xcom_pull(task_ids="file")
    assert (file["rows"], file["loads"]) == (2, 1)
    values = SYSTEM.values(starrocks_database.values(), "starrocks")
    rows = query(values, "starrocks", "SELECT id, name, score FROM test.score_board ORDER BY id")
    assert list(rows) == [(1, "starrocks-file", 100), (2, "flink-file", 100)]
