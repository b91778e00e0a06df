"""Three MySQL tables into AnalyticDB PostgreSQL, every five minutes: first a copy, from then on what changed.

Two connections are needed (Admin → Connections, or as environment variables):

``shop_mysql``
    the source: of type MySQL CDC, or a MySQL connection that is there already; or a folder of change files.
``adbpg_warehouse``
    the target: of type AnalyticDB PostgreSQL. Its address has to be on the instance's white list.

What a Flink job says in its WITH clause is said here by the options below; docs/adbpg.md has all of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from tidegate.operators import TidegateSyncOperator

with DAG(
    dag_id="mysql_cdc_to_adbpg",
    description="Keeps ods.customers, ods.orders and ods.order_items in AnalyticDB PostgreSQL in step with the shop.",
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
        sink_conn_id="adbpg_warehouse",
        schema="ods",
        method="copy",  # writemode = 1
        conflict_mode="upsert",  # conflictmode = upsert
        on_error="fail",  # exceptionmode = strict; its default, ignore, is "skip", and "quarantine" keeps the refused rows
    )
