"""The shop's MySQL tables in GaussDB, at most five minutes behind: the Dagster twin of ``mysql_cdc_to_gaussdb.py``.

Look at it with ``dagster dev -f mysql_cdc_to_gaussdb_dagster.py``. Connections come from the environment: ``SHOP_…`` is MySQL,
``GAUSSDB_…`` GaussDB. With ``SHOP_CHANGES_URL``, the folder of a recorded stream, changes are replayed from there, three
segments a run, and no MySQL is needed: ``data/shop`` beside this file is one.

A database with A compatibility stores '' as NULL: the resource's ``empty_string`` decides about it.
"""

import os

import dagster as dg

from tidegate.assets import ChangeFilesResource, GaussdbResource, MysqlResource, TidegateResource, tidegate_assets

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

warehouse = GaussdbResource(
    host=dg.EnvVar("GAUSSDB_HOST"),
    port=dg.EnvVar.int("GAUSSDB_PORT"),
    login=dg.EnvVar("GAUSSDB_USER"),
    password=dg.EnvVar("GAUSSDB_PASSWORD"),
    database=dg.EnvVar("GAUSSDB_DATABASE"),
)

shop_to_ods = tidegate_assets(
    sync="shop_to_ods",
    source="shop_mysql",
    sink="gaussdb_warehouse",
    tables=["shop.customers", "shop.orders", "shop.order_items"],
    schema="ods",
    group_name="ods",
    kinds={shop.system.name, "gaussdb"},
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
    resources={"shop_mysql": shop, "gaussdb_warehouse": warehouse},
)
