"""The assets of a sync, from a real MariaDB into a real PostgreSQL."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import dagster as dg
import pytest

from tests.servers import MySqlServer, PostgresServer
from tidegate.assets import MysqlResource, PostgresResource, TableTranslator, TidegateIOManager, TidegateResource, tidegate_assets
from tidegate.errors import ConfigError
from tidegate.sync.mapping import Sync, TableMapping

pytestmark = [pytest.mark.dagster, pytest.mark.mysql, pytest.mark.postgres]


@pytest.fixture
def shop(mariadb: MySqlServer, database: str) -> str:
    """A MySQL database with two tables and some rows."""
    mariadb.execute(
        f"CREATE TABLE {database}.customers (id bigint PRIMARY KEY, name varchar(40))",
        f"CREATE TABLE {database}.orders (id int PRIMARY KEY, customer bigint NOT NULL, total decimal(9, 2))",
        f"INSERT INTO {database}.customers VALUES (1, 'Ann'), (2, 'Ben')",
        f"INSERT INTO {database}.orders VALUES (10, 1, 9.99)",
    )
    return database


Materialize = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def materialize(mariadb: MySqlServer, warehouse: PostgresResource, instance: dg.DagsterInstance) -> Materialize:
    def go(assets: dg.AssetsDefinition, **more: Any) -> dg.ExecuteInProcessResult:
        resources: dict[str, Any] = {"shop_mysql": MysqlResource(**mariadb.values()), "warehouse": warehouse}
        return dg.materialize([assets], resources=resources | more.pop("resources", {}), instance=instance, **more)

    return go


def assets_of(database: str, **more: Any) -> dg.AssetsDefinition:
    tables = [f"{database}.customers", f"{database}.orders"]
    return tidegate_assets(sync="shop_to_ods", source="shop_mysql", sink="warehouse", tables=tables, schema="ods", **more)


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """By the table's name, the metadata that Dagster stored for it."""
    found = {}
    for event in result.get_asset_materialization_events():
        materialization = event.materialization
        found[materialization.asset_key.path[-1]] = {name: value.value for name, value in materialization.metadata.items()}
    return found


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    return str(event.step_failure_data.error_display_string)


def select(server: PostgresServer, query: str) -> list[Any]:
    connection = server.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        found: list[Any] = cursor.fetchall()
    connection.close()
    return found


def test_the_first_run_copies_and_the_next_bring_what_changed(
    mariadb: MySqlServer, shop: str, pg_database: PostgresServer, materialize: Materialize
) -> None:
    assets = assets_of(shop)
    first = metadata_of(materialize(assets))
    assert {name: (table["tidegate/phase"], table["tidegate/inserted"]) for name, table in first.items()} == {
        "customers": ("snapshot", 2),
        "orders": ("snapshot", 1),
    }
    mariadb.execute(
        f"INSERT INTO {shop}.customers VALUES (3, 'Cy')",
        f"UPDATE {shop}.customers SET name = 'Anna' WHERE id = 1",
        f"DELETE FROM {shop}.customers WHERE id = 2",
    )
    second = metadata_of(materialize(assets))["customers"]
    counts = {name: second[f"tidegate/{name}"] for name in ("rows", "read", "inserted", "updated", "deleted", "ignored")}
    assert counts == {"rows": 3, "read": 3, "inserted": 1, "updated": 1, "deleted": 1, "ignored": 0}
    assert second["tidegate/phase"] == "changes"
    assert select(pg_database, "SELECT id, name FROM ods.customers ORDER BY 1") == [(1, "Anna"), (3, "Cy")]
    assert select(pg_database, "SELECT id, total::text FROM ods.orders") == [(10, "9.99")]


def test_a_run_without_news_says_so(shop: str, materialize: Materialize) -> None:
    assets = assets_of(shop)
    materialize(assets)
    again = metadata_of(materialize(assets))
    assert {name: table["tidegate/rows"] for name, table in again.items()} == {"customers": 0, "orders": 0}


def test_a_materialization_tells_position_lag_and_columns(mariadb: MySqlServer, shop: str, materialize: Materialize) -> None:
    materialize(assets_of(shop))
    mariadb.execute(f"INSERT INTO {shop}.orders VALUES (11, 2, 1)")
    table = metadata_of(materialize(assets_of(shop)))["orders"]
    assert table["tidegate/position"]["kind"] == "binlog"
    assert table["tidegate/position"]["file"]
    assert isinstance(table["tidegate/lag_seconds"], float)
    assert isinstance(table["tidegate/seconds"], float)
    assert table["dagster/table_name"] == "ods.orders"
    columns = {column.name: column for column in table["dagster/column_schema"].columns}
    assert {name: column.type for name, column in columns.items()} == {
        "id": "int32",
        "customer": "int64",
        "total": "decimal128(9, 2)",
    }
    assert [name for name, column in columns.items() if "tidegate/key" in column.tags] == ["id"]
    assert [name for name, column in columns.items() if not column.constraints.nullable] == ["id"]


def test_one_table_can_be_materialized_by_itself(
    mariadb: MySqlServer, shop: str, pg_database: PostgresServer, materialize: Materialize
) -> None:
    assets = assets_of(shop)
    assert list(metadata_of(materialize(assets, selection=[dg.AssetKey(["ods", "orders"])]))) == ["orders"]
    assert select(pg_database, "SELECT to_regclass('ods.customers')") == [(None,)]
    mariadb.execute(f"INSERT INTO {shop}.orders VALUES (11, 2, 1)")
    both = metadata_of(materialize(assets))
    assert (both["customers"]["tidegate/phase"], both["orders"]["tidegate/phase"]) == ("snapshot", "changes")
    assert select(pg_database, "SELECT count(*) FROM ods.orders") == [(2,)]


def test_options_of_the_sync_and_of_a_table_reach_the_target(
    mariadb: MySqlServer, shop: str, pg_database: PostgresServer, materialize: Materialize
) -> None:
    own = {f"{shop}.orders": {"delete_mode": "ignore", "soft_delete_column": None, "target": "ods.all_orders"}}
    assets = assets_of(shop, delete_mode="soft", soft_delete_column="gone", table_options=own)
    materialize(assets)
    mariadb.execute(f"DELETE FROM {shop}.customers WHERE id = 1", f"DELETE FROM {shop}.orders")
    materialize(assets)
    assert select(pg_database, "SELECT id FROM ods.customers WHERE gone ORDER BY 1") == [(1,)]
    assert select(pg_database, "SELECT id FROM ods.all_orders") == [(10,)]


def test_wrong_options_are_refused_when_the_code_is_loaded() -> None:
    with pytest.raises(ConfigError, match="did you mean write_mode"):
        assets_of("shop", write_mod="append")
    with pytest.raises(ConfigError, match=r"sync doesn't have: shop\.order"):
        assets_of("shop", table_options={"shop.order": {}})


def test_a_permanent_error_is_not_retried(shop: str, pg_database: PostgresServer, materialize: Materialize) -> None:
    pg_database.execute("CREATE SCHEMA ods", "CREATE TABLE ods.customers (id bigint PRIMARY KEY, name text)")
    pg_database.execute("INSERT INTO ods.customers VALUES (7, 'ours')")
    result = materialize(assets_of(shop, retry_policy=dg.RetryPolicy(max_retries=2)), raise_on_error=False)
    assert "initial='replace' or 'merge'" in failure_of(result)
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert select(pg_database, "SELECT id FROM ods.customers") == [(7,)]


def test_a_transient_error_is_retried_by_the_policy(shop: str, materialize: Materialize) -> None:
    away = {"warehouse": PostgresResource(host="127.0.0.1", port=1, login="loader")}
    assets = assets_of(shop, retry_policy=dg.RetryPolicy(max_retries=2), max_retries=0)
    result = materialize(assets, resources=away, raise_on_error=False)
    assert not result.success
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 2


def test_a_sync_that_is_under_way_is_left_alone_and_tried_again(
    shop: str, warehouse: PostgresResource, pg_database: PostgresServer, materialize: Materialize
) -> None:
    with closing(warehouse.sink()) as sink:
        sink.ledger.setup()
        sink.ledger.acquire("shop_to_ods", "another run", 600)
        result = materialize(assets_of(shop, retry_policy=dg.RetryPolicy(max_retries=1)), raise_on_error=False)
    assert "SyncBusy" in failure_of(result)
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 1
    assert select(pg_database, "SELECT to_regclass('ods.customers')") == [(None,)]


def test_the_retry_of_a_run_takes_over_the_lease_that_it_left(
    shop: str, warehouse: PostgresResource, pg_database: PostgresServer, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    killed = instance.add_run(dg.DagsterRun("job"))
    with closing(warehouse.sink()) as sink:
        sink.ledger.setup()
        sink.ledger.acquire("shop_to_ods", f"{killed.run_id}/shop_to_ods", 600)
    retry = {"dagster/parent_run_id": killed.run_id, "dagster/root_run_id": killed.run_id, "dagster/retry_number": "1"}
    assert materialize(assets_of(shop), tags=retry).success
    assert select(pg_database, "SELECT count(*) FROM ods.customers") == [(2,)]


def test_a_table_that_another_sync_owns_is_refused(shop: str, materialize: Materialize) -> None:
    materialize(assets_of(shop))
    tables = [f"{shop}.customers"]
    other = tidegate_assets(sync="other", source="shop_mysql", sink="warehouse", tables=tables, schema="ods", initial="merge")
    assert "belongs to the sync shop_to_ods" in failure_of(materialize(other, raise_on_error=False))


def test_progress_is_in_the_run_s_log(shop: str, materialize: Materialize, instance: dg.DagsterInstance) -> None:
    result = materialize(assets_of(shop))
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert any(f"{shop}.customers → ods.customers: 2 rows" in line for line in lines)


def test_a_resource_of_another_kind_is_named(shop: str, materialize: Materialize) -> None:
    result = materialize(assets_of(shop), resources={"warehouse": "a string"}, raise_on_error=False)
    assert "the resource warehouse is a str" in failure_of(result)


def test_assets_have_keys_lineage_badges_and_groups() -> None:
    (customers, _) = assets_of("shop", group_name="ods", kinds={"mysql", "postgres"}).specs
    assert customers.key == dg.AssetKey(["ods", "customers"])
    assert [dep.asset_key for dep in customers.deps] == [dg.AssetKey(["shop", "customers"])]
    assert (customers.group_name, customers.kinds) == ("ods", {"mysql", "postgres"})
    assert customers.metadata["dagster/table_name"] == "ods.customers"


def test_the_translator_decides_about_the_asset() -> None:
    class Bronze(TableTranslator):
        def get_asset_spec(self, sync: Sync, table: TableMapping) -> dg.AssetSpec:
            spec = super().get_asset_spec(sync, table)
            return spec.replace_attributes(key=["bronze", table.source.name], owners=["team:data"], kinds={"table"})

    (customers, _) = assets_of("shop", translator=Bronze(), group_name="bronze", kinds={"mysql"}).specs
    assert customers.key == dg.AssetKey(["bronze", "customers"])
    assert (customers.owners, customers.kinds, customers.group_name) == (["team:data"], {"table"}, "bronze")


def test_two_tables_with_one_asset_key_are_refused() -> None:
    class Flat(TableTranslator):
        def get_asset_spec(self, sync: Sync, table: TableMapping) -> dg.AssetSpec:
            return dg.AssetSpec("everything")

    with pytest.raises(ConfigError, match="two tables have the asset key everything"):
        assets_of("shop", translator=Flat())


def test_an_automation_condition_is_passed_on() -> None:
    condition = dg.AutomationCondition.on_cron("@hourly")
    assert [spec.automation_condition for spec in assets_of("shop", automation_condition=condition).specs] == [condition] * 2


def test_all_runs_of_a_sync_share_a_pool() -> None:
    tables = ["shop.orders"]
    assets = tidegate_assets(sync="shop-to.ods", source="shop_mysql", sink="warehouse", tables=tables)
    assert assets.op.pool == "tidegate_shop_to_ods"


def test_what_follows_can_read_a_synced_table_through_the_io_manager(
    shop: str, mariadb: MySqlServer, warehouse: PostgresResource, instance: dg.DagsterInstance
) -> None:
    seen = []

    @dg.asset(ins={"orders": dg.AssetIn(key=["bronze", "orders"], input_manager_key="tables")})
    def report(orders: Any) -> None:
        seen.append(orders.num_rows)

    class Bronze(TableTranslator):
        def get_asset_spec(self, sync: Sync, table: TableMapping) -> dg.AssetSpec:
            return super().get_asset_spec(sync, table).replace_attributes(key=["bronze", table.source.name])

    resources: dict[str, TidegateResource | TidegateIOManager] = {
        "shop_mysql": MysqlResource(**mariadb.values()),
        "warehouse": warehouse,
        "tables": TidegateIOManager(sink=warehouse),
    }
    dg.materialize([assets_of(shop, translator=Bronze()), report], resources=resources, instance=instance)
    assert seen == [1]
