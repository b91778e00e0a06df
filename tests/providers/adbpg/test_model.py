"""Whatever the log, the options and the cuts, and whichever way rows take: the table equals the model of PostgreSQL's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.model import Change
from tests.providers.adbpg.conftest import AdbpgBox, own_database
from tests.providers.postgres.test_model import (
    LOADS,
    SOURCE_COLUMNS,
    counts,
    dense_logs,
    modelled,
    options_of,
    outcome,
    tables,
)
from tests.scale import examples
from tests.servers import PostgresServer
from tests.strategies import SCHEMA, batch_of
from tidegate.changes.rules import ConflictMode, DeleteMode, Rules
from tidegate.changes.schema import TableName
from tidegate.sync.mapping import Target
from tidegate.sync.options import Method

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module", params=["plain", "greenplum"])
def shared(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[AdbpgBox]:
    """One database for all examples: each runs in a transaction that is rolled back. Rows of the log fill ``whole``."""
    greenplum = request.param == "greenplum"
    with own_database(postgres, f"adbpg_model_{request.param}", greenplum=greenplum) as box:
        box.execute(
            "CREATE SCHEMA ods", f"CREATE TABLE ods.whole ({SOURCE_COLUMNS})", *tables("adbpg" if greenplum else "postgres")
        )
        yield box


def into_whole(box: AdbpgBox, target: Target, pieces: list[list[Change]]) -> tuple[dict[object, dict[str, object]], int]:
    """Write the pieces in one load and look at the table from within, then forget it all; also how many native COPYs there were."""
    before = len(getattr(box, "sent", []))
    load = box.sink.begin([target], None)
    try:
        for piece in pieces:
            load.write(target, batch_of(piece))
        rows = load._session.rows(f"SELECT id, region, a, b, v FROM {target.table}")
    finally:
        load.abort()
    native = [text for text in getattr(box, "sent", [])[before:] if "DO ON CONFLICT" in text and "tidegate_probe" not in text]
    return {row[:2]: dict(zip(SCHEMA.names, row, strict=True)) for row in rows}, len(native)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**LOADS)
def test_any_log_under_any_rules_equals_the_model(
    shared: AdbpgBox, pieces: list[list[Change]], rules: Rules, method: Method, table: str, on_error: str
) -> None:
    target = Target(TableName("ods", table), SCHEMA, options_of(rules, method=method, on_error=on_error))
    found, marked, result = outcome(shared, target, pieces)
    model = modelled(rules, pieces)
    assert found == model.rows
    assert marked == model.marked
    # The table has columns that the rows lack: nothing is written natively, so every count is known.
    assert None not in counts(result)
    assert result.rows == sum(map(len, pieces))


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=dense_logs(),
    mode=st.sampled_from(["upsert", "update", "ignore"]),
    delete_mode=st.sampled_from(["apply", "ignore"]),
    on_error=st.sampled_from(["fail", "skip"]),
)
def test_rows_that_fill_the_table_equal_the_model_whole_ones_by_copy_on_conflict(
    shared: AdbpgBox, pieces: list[list[Change]], mode: ConflictMode, delete_mode: DeleteMode, on_error: str
) -> None:
    rules = Rules(mode, delete_mode)
    target = Target(TableName("ods", "whole"), SCHEMA, options_of(rules, method="copy", on_error=on_error))
    found, native = into_whole(shared, target, pieces)
    model = modelled(rules, pieces)
    assert found == model.rows
    event("native" if native else "staged")
