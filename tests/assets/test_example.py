"""The example definitions, as they are: loaded, scheduled, and materialized against real servers."""

import runpy
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from tests.servers import PostgresServer
from tests.shop import TABLES, Shop, assert_equal
from tidegate.assets import PostgresResource
from tidegate.changes.schema import TableName
from tidegate.verify.compare import compare

pytestmark = pytest.mark.dagster

EXAMPLES = Path(__file__).parents[2] / "example_dags"
EXAMPLE = EXAMPLES / "mysql_cdc_to_postgres_dagster.py"
RECORDED = EXAMPLES / "data" / "shop"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dg.Definitions]:
    def go(**environment: str) -> dg.Definitions:
        monkeypatch.delenv("SHOP_CHANGES_URL", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        defs = runpy.run_path(str(EXAMPLE))["defs"]
        assert isinstance(defs, dg.Definitions)
        dg.Definitions.validate_loadable(defs)
        return defs

    return go


def warehouse_of(server: PostgresServer) -> dict[str, str]:
    values = {"HOST": server.host, "PORT": server.port, "USER": server.user, "PASSWORD": "any", "DATABASE": server.database}
    return {f"WAREHOUSE_{name}": str(value) for name, value in values.items()}


def test_it_is_scheduled_every_five_minutes_over_all_its_tables(load: Callable[..., dg.Definitions]) -> None:
    defs = load()
    schedule = defs.resolve_schedule_def("shop_to_ods_every_five_minutes")
    assert schedule.cron_schedule == "*/5 * * * *"
    selected = defs.resolve_job_def(schedule.job_name).asset_layer.executable_asset_keys
    assert selected == {dg.AssetKey(["ods", table]) for table in TABLES}


@pytest.mark.mysql
@pytest.mark.postgres
def test_its_job_copies_the_shop_then_brings_changes(
    load: Callable[..., dg.Definitions], shop: Shop, pg_database: PostgresServer, instance: dg.DagsterInstance
) -> None:
    server = shop.server
    mysql = {"SHOP_HOST": server.host, "SHOP_PORT": str(server.port), "SHOP_USER": server.user, "SHOP_PASSWORD": server.password}
    defs = load(**mysql, **warehouse_of(pg_database))
    schedule = defs.resolve_schedule_def("shop_to_ods_every_five_minutes")
    job = defs.resolve_job_def(schedule.job_name)
    shop.fill(20)
    assert job.execute_in_process(instance=instance).success
    assert_equal(shop, pg_database)
    shop.run(20)
    assert job.execute_in_process(instance=instance).success
    assert_equal(shop, pg_database)


@pytest.mark.postgres
def test_it_replays_the_recorded_shop_in_three_runs(
    load: Callable[..., dg.Definitions], warehouse: PostgresResource, pg_database: PostgresServer, instance: dg.DagsterInstance
) -> None:
    defs = load(SHOP_CHANGES_URL=str(RECORDED), **warehouse_of(pg_database))
    job = defs.resolve_job_def(defs.resolve_schedule_def("shop_to_ods_every_five_minutes").job_name)
    rows = []
    for _ in range(4):
        result = job.execute_in_process(instance=instance)
        metadata = [event.materialization.metadata for event in result.get_asset_materialization_events()]
        rows.append(sum(int(str(table["tidegate/rows"].value)) for table in metadata))
    assert all(rows[:3])
    assert rows[3] == 0
    for table in TABLES:
        expected = pq.read_table(RECORDED / "expected" / f"{table}.parquet")
        with closing(warehouse.sink()) as sink:
            found = sink.describe(TableName("ods", table))
        assert found is not None
        difference = compare(expected, warehouse.read(f"ods.{table}"), found.key)
        assert difference.equal, f"{table}: {difference}"
