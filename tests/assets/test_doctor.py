"""The doctor as asset checks: one a table, with the severity of its verdict."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from tests.servers import MySqlServer
from tidegate.assets import MysqlResource, PostgresResource, build_doctor_checks, tidegate_assets

pytestmark = [pytest.mark.dagster, pytest.mark.mysql, pytest.mark.postgres]


@pytest.fixture
def shop(mariadb: MySqlServer, database: str) -> str:
    mariadb.execute(
        f"CREATE TABLE {database}.customers (id bigint PRIMARY KEY)",
        f"CREATE TABLE {database}.orders (id int PRIMARY KEY, customer bigint)",
    )
    return database


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {item.asset_key.path[-1]: item for item in result.get_asset_check_evaluations()}


def test_each_table_has_a_check_with_the_severity_of_its_verdict(
    mariadb: MySqlServer, shop: str, warehouse: PostgresResource, instance: dg.DagsterInstance
) -> None:
    what: dict[str, Any] = {"sync": "shop_to_ods", "source": "shop_mysql", "sink": "warehouse", "schema": "ods"}
    what["tables"] = [f"{shop}.customers", f"{shop}.orders"]
    resources = {"shop_mysql": MysqlResource(**mariadb.values()), "warehouse": warehouse}
    assets = tidegate_assets(**what)

    def check(interval: timedelta, *more: Any) -> dict[str, dg.AssetCheckEvaluation]:
        definitions = [*more, build_doctor_checks(**what, interval=interval)]
        return evaluations(dg.materialize(definitions, resources=resources, instance=instance))

    found = check(timedelta(days=1), assets)
    assert {name: item.passed for name, item in found.items()} == {"customers": True, "orders": True}
    mariadb.execute("SET GLOBAL binlog_expire_logs_seconds = 604800")
    try:
        late = check(timedelta(days=4), assets)["orders"]
        lost = check(timedelta(days=30), assets)
    finally:
        mariadb.execute("SET GLOBAL binlog_expire_logs_seconds = 0")
    assert (late.passed, late.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert {item.severity for item in lost.values()} == {dg.AssetCheckSeverity.ERROR}
    assert "the next run is in 30 d" in (lost["orders"].description or "")
    assert 0 < float(str(lost["orders"].metadata["tidegate/seconds_left"].value)) <= 604_800
