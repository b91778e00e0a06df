"""The job of the vendor's guide: its rows, its options, and the column that its target lacks."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from tests import airflow_home
from tests.fakes import FakeSource
from tests.providers.adbpg.sinks import AdbpgBox
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.operators import TidegateUpsertOperator
from tidegate.providers.adbpg.vendor import from_flink
from tidegate.sync.mapping import Sync, TableMapping
from tidegate.sync.options import WriteOptions
from tidegate.sync.plan import Plan, plan

pytestmark = [pytest.mark.airflow, pytest.mark.postgres]

TABLE = "CREATE TABLE test_adbpg_table (b1 int, b2 int, b3 text, PRIMARY KEY (b1))"


@pytest.fixture
def box(plain: AdbpgBox, monkeypatch: pytest.MonkeyPatch) -> AdbpgBox:
    monkeypatch.setenv("AIRFLOW_CONN_ADBPG", airflow_home.postgres_connection(plain.server, "adbpg"))
    plain.execute(TABLE)
    return plain


def _write(dag: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    task = dag.get_task("write")
    assert isinstance(task, TidegateUpsertOperator)
    task.rows = rows
    ti = SimpleNamespace(dag_id=dag.dag_id, task_id="write", run_id="run", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": OutletEventAccessors()}
    return task.execute(context)


def test_a_thousand_rows_come_once_and_old_ones_are_kept(box: AdbpgBox) -> None:
    dag = airflow_home.load_dag("adbpg_reference_job")
    box.execute("INSERT INTO test_adbpg_table VALUES (7, 0, 'old')")
    generate = dag.get_task("datagen").python_callable
    rows = generate()
    assert {len(row["B3"]) for row in rows} == {10}
    first = _write(dag, rows)
    assert (first["inserted"], first["ignored"], first["skipped"]) == (999, 1, 0)
    before = box.query("SELECT * FROM test_adbpg_table ORDER BY b1")
    assert [row[0] for row in before] == list(range(1, 1001))
    assert before[6] == (7, 0, "old")
    again = _write(dag, generate())
    assert (again["inserted"], again["ignored"]) == (0, 1000)
    assert box.query("SELECT * FROM test_adbpg_table ORDER BY b1") == before


def _plan(box: AdbpgBox, **more: Any) -> Plan:
    job = from_flink(
        {
            "connector": "adbpg-nightly-1.13",
            "url": "jdbc:postgresql://url:5432/schema",
            "tablename": "TEST_ADBPG_TABLE",
            "username": "x",
            "password": "x",
            "conflictmode": "ignore",
        }
    )
    columns = [("B1", pa.int32()), ("B2", pa.int32()), ("B3", pa.string()), ("B4", pa.string())]
    schema = TableSchema(TableName("flink", "t"), tuple(Column(name, kind, name != "B1") for name, kind in columns), ("B1",))
    options = WriteOptions.of({**asdict(job.options), **more})
    sync = Sync("job", (TableMapping(schema.table, job.table, options=options),))
    return plan(sync, FakeSource({schema.table: schema}, []), box.sink)


def test_the_plan_says_that_the_target_lacks_b4(box: AdbpgBox) -> None:
    found = _plan(box)
    assert found.problems == ()
    assert 'run: ALTER TABLE "public"."test_adbpg_table" ADD COLUMN IF NOT EXISTS "b4" text' in str(found)
    assert "b1" not in str(found.tables[0].preparation.ddl)


def test_the_plan_says_that_b4_is_left_out(box: AdbpgBox) -> None:
    found = _plan(box, on_ddl="ignore")
    assert found.problems == ()
    assert found.tables[0].preparation.ddl == ()
    assert "note: the table lacks B4, and on_ddl='ignore' adds no column: they are left out" in str(found)
    assert found.tables[0].target.schema.names == ("B1", "B2", "B3")
