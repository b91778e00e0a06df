"""A run over tables that are truncated, filled or broken at the source, into PostgreSQL."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import FakeSource, Transaction
from tests.providers.postgres.conftest import Box
from tests.scale import examples
from tests.sync.test_run import CUSTOMERS, ORDERS, SCHEMAS, altered_histories, sync_of
from tidegate.sync.options import WriteOptions
from tidegate.sync.run import run

pytestmark = pytest.mark.postgres


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=altered_histories(), limit=st.integers(1, 3), stops=st.lists(st.integers(0, 10), max_size=2))
def test_tables_that_are_truncated_filled_or_broken_end_equal_to_the_source(
    light: Box, log: list[Transaction], limit: int, stops: list[int]
) -> None:
    light.execute("DROP SCHEMA IF EXISTS ods, tidegate CASCADE", "CREATE SCHEMA ods")
    source = FakeSource(SCHEMAS, log, grows=True)
    sync = sync_of(WriteOptions(batch_rows=limit, flush_interval=1, on_ddl="resync"), ORDERS, CUSTOMERS)
    for stop in [*sorted(stops), len(log)]:
        source.visible = max(source.visible, min(stop, len(log)))
        run(sync, source, light.sink, owner="scheduler")
    for table in (ORDERS, CUSTOMERS):
        names = SCHEMAS[table].names
        found = light.query(f"SELECT {', '.join(names)} FROM ods.{table.name}")
        assert {row[:2]: dict(zip(names, row, strict=True)) for row in found} == source.state(table)
    left = "SELECT relname FROM pg_class WHERE relname LIKE '%tidegate%' AND relnamespace = 'ods'::regnamespace"
    assert light.query(left) == []
