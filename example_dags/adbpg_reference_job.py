"""The job of the vendor's own guide to its Flink connector for AnalyticDB PostgreSQL, without Flink.

There, a generator (``f_sequence`` 1 to 1000, ``f_random`` 1 to 1000, ``f_random_str`` of ten characters) is written to the table
``test_adbpg_table (b1 int PRIMARY KEY, b2 int, b3 text)``, and rows whose key exists are kept (``conflictmode`` ignore). Its
options are taken as they are. One connection is needed, ``adbpg``: the account, and the server that ``url`` names there.

The guide's Flink table names a column B4, which the target lacks and the generator has no value for: it is left out here.
"""

from __future__ import annotations

import random
import string
from dataclasses import asdict
from datetime import datetime
from typing import Any

from airflow.sdk import DAG, task

from tidegate.operators import TidegateUpsertOperator
from tidegate.providers.adbpg.vendor import from_flink

JOB = from_flink(
    {
        "connector": "adbpg-nightly-1.13",
        "password": "in the connection",
        "tablename": "test_adbpg_table",
        "username": "in the connection",
        "url": "jdbc:postgresql://url:5432/schema",
        "maxretrytimes": "2",
        "batchsize": "50000",
        "connectionmaxactive": "5",
        "conflictmode": "ignore",
        "usecopy": "0",
        "targetschema": "public",
        "exceptionmode": "ignore",
        "casesensitive": "0",
        "writemode": "1",
        "retrywaittime": "200",
    }
)


def generated(start: int = 1, end: int = 1000, length: int = 10) -> list[dict[str, Any]]:
    """What Flink's datagen makes of the guide's source table, under the target's names."""
    letters = string.hexdigits[:16]
    return [
        {"B1": number, "B2": random.randint(1, 1000), "B3": "".join(random.choices(letters, k=length))}
        for number in range(start, end + 1)
    ]


with DAG(
    dag_id="adbpg_reference_job",
    description="The vendor's Flink example: a thousand generated rows into test_adbpg_table, rows that are there kept.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["tidegate"],
) as dag:

    @task
    def datagen() -> list[dict[str, Any]]:
        """The rows."""
        return generated()

    TidegateUpsertOperator(
        task_id="write",
        sink_conn_id="adbpg",
        table=str(JOB.table),
        rows=datagen(),
        **asdict(JOB.options),
    )
