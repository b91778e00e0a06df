"""The examples of GaussDB, AnalyticDB PostgreSQL and StarRocks as they are, under both orchestrators, into the stand-ins.

Recorded changes in three ticks, and a MariaDB that is written to between two ticks: each time the target ends equal to the source.
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import airflow_home
from tests.servers import MySqlServer, PostgresServer, StarrocksServer
from tests.shop import KEYS, TABLES, Shop
from tidegate.changes.schema import TableName
from tidegate.provider_info import get_provider_info, hook_class
from tidegate.providers.system import systems
from tidegate.verify.compare import compare

EXAMPLES = Path(__file__).parents[1] / "example_dags"
RECORDED = EXAMPLES / "data" / "shop"
NAMES = ("gaussdb", "adbpg", "starrocks")
Tick = Callable[[], int]
"""Runs an example once, as its schedule would; how many rows were written."""


@dataclass(frozen=True)
class Warehouse:
    """A fresh database on a stand-in."""

    name: str
    server: PostgresServer | StarrocksServer

    @property
    def empty_is_null(self) -> bool:
        """GaussDB's databases have A compatibility by default."""
        return self.name == "gaussdb"

    def read(self, table: str) -> tuple[pa.Table, tuple[str, ...]]:
        """The rows of a table, and its key."""
        name = TableName("ods", table)
        with closing(systems()[self.name].open_sink(self.server.values(), "warehouse")) as sink:
            found = sink.describe(name)
            assert found is not None
            return pa.Table.from_batches(sink.read(name)), found.key


@pytest.fixture(params=NAMES)
def warehouse(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    server = request.getfixturevalue(f"{request.param}_database")
    yield Warehouse(request.param, server)
    if isinstance(server, StarrocksServer):
        # What is a schema of the fresh database elsewhere is a database of its own here.
        server.execute("DROP DATABASE IF EXISTS ods FORCE")


@pytest.fixture
def recorded() -> dict[str, str]:
    """The source of the examples in their environment: the recorded shop, three segments a tick."""
    source = {"conn_type": "changefiles", "extra": {"url": str(RECORDED), "segments_per_run": 3}}
    return {"AIRFLOW_CONN_SHOP_MYSQL": json.dumps(source), "SHOP_CHANGES_URL": str(RECORDED)}


def live(server: MySqlServer) -> dict[str, str]:
    """The source of the examples in their environment: a server."""
    fields = {"HOST": server.host, "PORT": str(server.port), "USER": server.user, "PASSWORD": server.password}
    return {"AIRFLOW_CONN_SHOP_MYSQL": airflow_home.mysql_connection(server)} | {f"SHOP_{name}": fields[name] for name in fields}


@pytest.fixture(params=[pytest.param("airflow", marks=pytest.mark.airflow), pytest.param("dagster", marks=pytest.mark.dagster)])
def ticks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Tick]]:
    """``ticks(warehouse, environment)``: the example of the warehouse, in an orchestrator."""
    with dg.DagsterInstance.ephemeral() as instance:

        def start(warehouse: Warehouse, environment: dict[str, str]) -> Tick:
            monkeypatch.delenv("SHOP_CHANGES_URL", raising=False)
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            if request.param == "airflow":
                return _airflow(warehouse, monkeypatch)
            return _dagster(warehouse, instance, monkeypatch)

        yield start


def _airflow(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Tick:
    name = warehouse.name
    server = warehouse.server
    if isinstance(server, StarrocksServer):
        connection = airflow_home.starrocks_connection(server)
    else:
        connection = airflow_home.postgres_connection(server, name)
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}_WAREHOUSE", connection)
    dag = airflow_home.load_dag(f"mysql_cdc_to_{name}")

    def tick() -> int:
        run = airflow_home.run_dag(dag)
        assert run.state == "success"
        tables = run.get_task_instance("shop_to_ods").xcom_pull(task_ids="shop_to_ods")["tables"]
        return sum(table["write"]["rows"] for table in tables.values())

    return tick


def _definitions(name: str) -> dg.Definitions:
    defs = runpy.run_path(str(EXAMPLES / f"mysql_cdc_to_{name}_dagster.py"))["defs"]
    assert isinstance(defs, dg.Definitions)
    dg.Definitions.validate_loadable(defs)
    return defs


def _dagster(warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Tick:
    values = warehouse.server.values()
    fields = {"HOST": "host", "PORT": "port", "USER": "login", "PASSWORD": "password", "DATABASE": "database"}
    if warehouse.name == "starrocks":
        fields["HTTP_PORT"] = "http_port"
    for variable, field in fields.items():
        monkeypatch.setenv(f"{warehouse.name.upper()}_{variable}", str(values[field]))
    defs = _definitions(warehouse.name)
    job = defs.resolve_job_def(defs.resolve_schedule_def("shop_to_ods_every_five_minutes").job_name)

    def tick() -> int:
        result = job.execute_in_process(instance=instance)
        metadata = [event.materialization.metadata for event in result.get_asset_materialization_events()]
        return sum(int(str(table["tidegate/rows"].value)) for table in metadata)

    return tick


@pytest.mark.postgres
def test_the_recorded_shop_is_replayed_in_three_ticks(
    warehouse: Warehouse, ticks: Callable[..., Tick], recorded: dict[str, str]
) -> None:
    tick = ticks(warehouse, recorded)
    written = [tick() for _ in range(4)]
    assert all(written[:3])
    assert written[3] == 0
    for table in TABLES:
        expected = pq.read_table(RECORDED / "expected" / f"{table}.parquet")
        actual, key = warehouse.read(table)
        difference = compare(
            expected, actual, key, empty_is_null=warehouse.empty_is_null, json_values=warehouse.name == "starrocks"
        )
        assert difference.equal, f"{table}: {difference}"


@pytest.mark.mysql
@pytest.mark.postgres
def test_a_live_shop_is_copied_and_then_followed(warehouse: Warehouse, ticks: Callable[..., Tick], shop: Shop) -> None:
    tick = ticks(warehouse, live(shop.server))
    shop.fill(20)
    assert tick() == 60
    assert_equal(shop, warehouse)
    shop.run(20)
    assert tick() > 0
    assert_equal(shop, warehouse)
    assert tick() == 0


def assert_equal(shop: Shop, warehouse: Warehouse) -> None:
    for table in TABLES:
        rows, _ = warehouse.read(table)
        actual = sorted((tuple(row.values()) for row in rows.to_pylist()), key=lambda row: row[: len(KEYS[table])])
        empty: Any = None if warehouse.empty_is_null else ""
        expected = [tuple(empty if value == "" else value for value in row) for row in shop.rows(table)]
        assert actual == expected, table


@pytest.mark.airflow
@pytest.mark.parametrize("name", NAMES)
def test_the_dag_is_scheduled_every_five_minutes_over_all_its_tables(name: str) -> None:
    dag = airflow_home.load_dag(f"mysql_cdc_to_{name}")
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == (timedelta(minutes=5), False, 1)
    (task,) = dag.tasks
    assert task.sink_conn_id == f"{name}_warehouse"
    assert {asset.uri for asset in task.outlets} == {f"tidegate://{name}_warehouse/ods/{table}" for table in TABLES}


@pytest.mark.dagster
@pytest.mark.parametrize("name", NAMES)
def test_the_dagster_twin_is_scheduled_every_five_minutes_over_all_its_tables(name: str) -> None:
    defs = _definitions(name)
    schedule = defs.resolve_schedule_def("shop_to_ods_every_five_minutes")
    assert schedule.cron_schedule == "*/5 * * * *"
    selected = defs.resolve_job_def(schedule.job_name).asset_layer.executable_asset_keys
    assert selected == {dg.AssetKey(["ods", table]) for table in TABLES}


@pytest.mark.parametrize("name", NAMES)
def test_the_connection_that_an_example_needs_is_one_that_airflow_is_told_of(name: str) -> None:
    types = {entry["connection-type"]: entry for entry in get_provider_info()["connection-types"]}
    assert types[name]["hook-class-name"] == hook_class(systems()[name])
