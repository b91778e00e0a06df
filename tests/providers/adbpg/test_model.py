"""Whatever the log, the options and the cuts, and whichever way rows take: the table equals the model of PostgreSQL's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.model import Change, Model
from tests.providers.adbpg.conftest import AdbpgBox, GreenplumBox
from tests.providers.postgres.test_model import dense_logs, options_of, outcome
from tests.scale import examples
from tests.servers import PostgresServer
from tests.strategies import KEY, SCHEMA, batch_of, rules
from tidegate.changes.rules import ConflictMode, DeleteMode, Rules
from tidegate.changes.schema import TableName
from tidegate.sync.mapping import Target
from tidegate.sync.options import Method

pytestmark = pytest.mark.postgres

_COLUMNS = "id bigint, region varchar(4), a text DEFAULT 'def', b int DEFAULT 7, v bigint DEFAULT 2"
_MORE = "gone boolean NOT NULL DEFAULT false, kept text DEFAULT 'kept'"


@pytest.fixture(scope="module", params=["plain", "greenplum"])
def shared(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[AdbpgBox]:
    """One database for all examples: each runs in a transaction that is rolled back. Rows of the log fill ``whole``."""
    name = f"adbpg_model_{request.param}{os.getpid()}"
    postgres.execute(f"CREATE DATABASE {name}", database="postgres")
    server = PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database=name)
    box = AdbpgBox(server) if request.param == "plain" else GreenplumBox(server)
    box.execute(
        "CREATE SCHEMA ods",
        f"CREATE TABLE ods.plain ({_COLUMNS}, {_MORE}, PRIMARY KEY (id, region))",
        f"CREATE TABLE ods.whole ({_COLUMNS}, PRIMARY KEY (id, region))",
        f"CREATE TABLE ods.parts ({_COLUMNS}, {_MORE}, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
        "CREATE TABLE ods.part1 PARTITION OF ods.parts FOR VALUES IN ('x', 'X')",
        "CREATE TABLE ods.part2 PARTITION OF ods.parts DEFAULT",
    )
    yield box
    box.sink.close()
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)", database="postgres")


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
@given(
    pieces=dense_logs(),
    rules=rules(),
    method=st.sampled_from(["copy", "insert", "upsert"]),
    table=st.sampled_from(["plain", "parts"]),
    on_error=st.sampled_from(["fail", "skip"]),
)
def test_any_log_under_any_rules_equals_the_model(
    shared: AdbpgBox, pieces: list[list[Change]], rules: Rules, method: Method, table: str, on_error: str
) -> None:
    target = Target(TableName("ods", table), SCHEMA, options_of(rules, method=method, on_error=on_error))
    found, marked, result = outcome(shared, target, pieces)
    model = Model(SCHEMA.names, KEY, rules, {"a": "def", "b": 7, "v": 2}).apply(change for piece in pieces for change in piece)
    assert found == model.rows
    assert marked == model.marked
    # The table has columns that the rows lack: nothing is written natively, so every count is known.
    counted = [result.inserted, result.updated, result.deleted, result.ignored, result.not_found, result.folded]
    assert None not in counted
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
    model = Model(SCHEMA.names, KEY, rules, {"a": "def", "b": 7, "v": 2}).apply(change for piece in pieces for change in piece)
    assert found == model.rows
    event("native" if native else "staged")
