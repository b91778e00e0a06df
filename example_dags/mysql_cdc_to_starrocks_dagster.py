"""The shop's MySQL tables in StarRocks, at most five minutes behind: the Dagster twin of ``mysql_cdc_to_starrocks.py``.

Look at it with ``dagster dev -f mysql_cdc_to_starrocks_dagster.py``. Connections come from the environment: ``SHOP_…`` is MySQL,
``STARROCKS_…`` StarRocks. With ``SHOP_CHANGES_URL``, the folder of a recorded stream, changes are replayed from there, three
segments a run, and no MySQL is needed: ``data/shop`` beside this file is one.

Tables that are missing are made as primary key tables, in the database ``ods``.
"""

import os

import dagster as dg

from tidegate.assets import ChangeFilesResource, MysqlResource, StarRocksResource, TidegateResource, tidegate_assets

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

warehouse = StarRocksResource(
    host=dg.EnvVar("STARROCKS_HOST"),
    port=dg.EnvVar.int("STARROCKS_PORT"),
    http_port=dg.EnvVar.int("STARROCKS_HTTP_PORT"),
    login=dg.EnvVar("STARROCKS_USER"),
    password=dg.EnvVar("STARROCKS_PASSWORD"),
    database=dg.EnvVar("STARROCKS_DATABASE"),
)

shop_to_ods = tidegate_assets(
    sync="shop_to_ods",
    source="shop_mysql",
    sink="starrocks_warehouse",
    tables=["shop.customers", "shop.orders", "shop.order_items"],
    schema="ods",
    group_name="ods",
    kinds={shop.system.name, "starrocks"},
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
    resources={"shop_mysql": shop, "starrocks_warehouse": warehouse},
)
