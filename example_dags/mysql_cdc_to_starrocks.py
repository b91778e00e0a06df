"""Three MySQL tables into StarRocks, every five minutes: first a copy, from then on what changed.

Two connections are needed (Admin → Connections, or as environment variables):

``shop_mysql``
    the source: of type MySQL CDC, or a MySQL connection that is there already; or a folder of change files.
``starrocks_warehouse``
    the target: of type StarRocks, with the frontends' query port (9030) and, as an extra, their HTTP port (8030). Backends that
    the worker can't reach under the name that they are registered with go into ``be_addresses``.

Tables that are missing are made as primary key tables. Rows go by Stream Load, as JSON; the intent of each load is written down
before it, so that a run that is killed is finished by the next one, and nothing comes twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from tidegate.operators import TidegateSyncOperator

with DAG(
    dag_id="mysql_cdc_to_starrocks",
    description="Keeps ods.customers, ods.orders and ods.order_items in StarRocks in step with the shop.",
    schedule=timedelta(minutes=5),
    start_date=datetime(2026, 1, 1),
    catchup=False,  # a run brings everything since the last one: there is nothing to catch up on
    max_active_runs=1,  # a second run at a time would only wait for the first
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},  # for what passes by itself; mistakes fail at once
    tags=["tidegate"],
) as dag:
    TidegateSyncOperator(
        task_id="shop_to_ods",
        sync="shop_to_ods",
        source_conn_id="shop_mysql",
        tables=["shop.customers", "shop.orders", "shop.order_items"],
        sink_conn_id="starrocks_warehouse",
        schema="ods",
    )
