"""The shop's MySQL tables in the warehouse, at most five minutes behind: the Dagster twin of ``mysql_cdc_to_postgres.py``.

Look at it with ``dagster dev -f mysql_cdc_to_postgres_dagster.py``. Connections come from the environment: ``SHOP_…`` is MySQL,
``WAREHOUSE_…`` PostgreSQL. With ``SHOP_CHANGES_URL``, the folder of a recorded stream, changes are replayed from there, three
segments a run, and no MySQL is needed: ``data/shop`` beside this file is one.
"""

import os

import dagster as dg

from tidegate.assets import ChangeFilesResource, MysqlResource, PostgresResource, TidegateResource, tidegate_assets

shop: TidegateResource
if "SHOP_CHANGES_URL" in os.environ:
    shop = ChangeFilesResource(url=dg.EnvVar("SHOP_CHANGES_URL"), segments_per_run=3)
else:
    shop = MysqlResource(
        host=dg.EnvVar("SHOP_HOST"),
        port=dg.EnvVar.int("SHOP_PORT"),
        login=dg.EnvVar("SHOP_USER"),
        password=dg.EnvVar("SHOP_PASSWORD"),
    )

warehouse = PostgresResource(
    host=dg.EnvVar("WAREHOUSE_HOST"),
    port=dg.EnvVar.int("WAREHOUSE_PORT"),
    login=dg.EnvVar("WAREHOUSE_USER"),
    password=dg.EnvVar("WAREHOUSE_PASSWORD"),
    database=dg.EnvVar("WAREHOUSE_DATABASE"),
)

shop_to_ods = tidegate_assets(
    sync="shop_to_ods",
    source="shop_mysql",
    sink="warehouse",
    tables=["shop.customers", "shop.orders", "shop.order_items"],
    schema="ods",
    group_name="ods",
    kinds={shop.system.name, "postgres"},
    retry_policy=dg.RetryPolicy(max_retries=3, delay=30),
)

every_five_minutes = dg.ScheduleDefinition(
    name="shop_to_ods_every_five_minutes",
    target=dg.AssetSelection.assets(shop_to_ods),
    cron_schedule="*/5 * * * *",
)

defs = dg.Definitions(
    assets=[shop_to_ods],
    schedules=[every_five_minutes],
    resources={"shop_mysql": shop, "warehouse": warehouse},
)
