"""StarRocks as a Dagster resource: its plain tool and its IO manager."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.servers import StarrocksServer
from tidegate.assets import StarRocksResource, TidegateIOManager

pytestmark = pytest.mark.dagster


@pytest.fixture
def warehouse(starrocks_database: StarrocksServer) -> StarRocksResource:
    return StarRocksResource(**starrocks_database.values())


def rows(starrocks_database: StarrocksServer, sql: str) -> list[tuple[Any, ...]]:
    return starrocks_database.query(sql)


def test_a_resource_loads_text_rows_and_files(
    warehouse: StarRocksResource, starrocks_database: StarrocksServer, tmp_path: Path
) -> None:
    starrocks_database.execute("CREATE TABLE board (id INT NOT NULL, name VARCHAR(20)) PRIMARY KEY(id) DISTRIBUTED BY HASH(id)")
    (tmp_path / "board.csv").write_text("3\tc\n")
    assert warehouse.stream_load("board", [{"id": 1, "name": "a"}]).write.rows == 1
    warehouse.stream_load("board", "2\tb", format="csv")
    warehouse.stream_load("board", tmp_path / "board.csv")
    assert sorted(rows(starrocks_database, "SELECT id, name FROM board")) == [(1, "a"), (2, "b"), (3, "c")]


def test_it_says_whether_it_works(warehouse: StarRocksResource) -> None:
    good, text = warehouse.test_connection()
    assert good, text
    assert "takes loads with transactions" in text


def test_the_io_manager_upserts_with_the_counts_of_loads(warehouse: StarRocksResource, starrocks_database: StarrocksServer) -> None:
    @dg.asset(io_manager_key="warehouse", metadata={"tidegate/key": ["id"]})
    def scores() -> list[dict[str, Any]]:
        return [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]

    manager = TidegateIOManager(sink=warehouse, schema=warehouse.database)
    result = dg.materialize([scores], resources={"warehouse": manager})
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["tidegate/rows"].value == 2
    assert metadata["tidegate/loads"].value == 1
    assert (metadata["tidegate/failed_loads"].value, metadata["tidegate/filtered"].value) == (0, 0)
    assert "tidegate/inserted" not in metadata
    assert sorted(rows(starrocks_database, "SELECT id, name FROM scores")) == [(1, "a"), (2, "b")]
