"""The shop's MySQL tables in AnalyticDB PostgreSQL, at most five minutes behind: the Dagster twin of ``mysql_cdc_to_adbpg.py``.

Look at it with ``dagster dev -f mysql_cdc_to_adbpg_dagster.py``. Connections come from the environment: ``SHOP_…`` is MySQL,
``ADBPG_…`` AnalyticDB PostgreSQL. With ``SHOP_CHANGES_URL``, the folder of a recorded stream, changes are replayed from there,
three segments a run, and no MySQL is needed: ``data/shop`` beside this file is one.
"""

import os

import dagster as dg

from tidegate.assets import AdbpgResource, ChangeFilesResource, MysqlResource, TidegateResource, tidegate_assets

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

warehouse = AdbpgResource(
    host=dg.EnvVar("ADBPG_HOST"),
    port=dg.EnvVar.int("ADBPG_PORT"),
    login=dg.EnvVar("ADBPG_USER"),
    password=dg.EnvVar("ADBPG_PASSWORD"),
    database=dg.EnvVar("ADBPG_DATABASE"),
)

shop_to_ods = tidegate_assets(
    sync="shop_to_ods",
    source="shop_mysql",
    sink="adbpg_warehouse",
    tables=["shop.customers", "shop.orders", "shop.order_items"],
    schema="ods",
    method="copy",  # writemode = 1
    conflict_mode="upsert",  # conflictmode = upsert
    on_error="fail",  # exceptionmode = strict; its default, ignore, is "skip", and "quarantine" keeps the refused rows
    group_name="ods",
    kinds={shop.system.name, "adbpg"},
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
    resources={"shop_mysql": shop, "adbpg_warehouse": warehouse},
)
