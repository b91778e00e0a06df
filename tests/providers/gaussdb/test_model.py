"""Whatever the log, the options, the cuts and the way of merging: the table equals the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.model import Change
from tests.providers.gaussdb.boxes import GaussdbBox, server
from tests.providers.postgres.test_model import (
    COLUMNS,
    Step,
    counts,
    dense_logs,
    fates,
    fills,
    modelled,
    options_of,
    outcome,
)
from tests.scale import examples
from tests.servers import PostgresServer
from tests.strategies import SCHEMA, rules
from tidegate.changes.rules import Rules
from tidegate.changes.schema import TableName
from tidegate.providers.gaussdb.strategy import Way
from tidegate.sync.mapping import Target
from tidegate.sync.options import Method

pytestmark = pytest.mark.postgres
WAYS: tuple[Way, ...] = ("odku", "merge", "two")


@pytest.fixture(scope="module")
def boxes(postgres: PostgresServer) -> Iterator[dict[Way, GaussdbBox]]:
    """One database for all examples and ways: each runs in a transaction that is rolled back."""
    postgres.execute("CREATE DATABASE gaussmodel", database="postgres")
    database = PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database="gaussmodel")
    boxes: dict[Way, GaussdbBox] = {way: GaussdbBox(database, server(way)) for way in WAYS}
    boxes["two"].execute(
        "CREATE SCHEMA ods",
        f"CREATE TABLE ods.plain ({COLUMNS})",
        "CREATE TABLE ods.fixed (LIKE ods.plain INCLUDING ALL)",
        "CREATE FUNCTION ods.stays() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'a partition key may not be set' USING ERRCODE = '0A000'; END$$",
        # Fires when the column stands in a SET list, whatever value it is given.
        "CREATE TRIGGER stays BEFORE UPDATE OF region, b ON ods.fixed FOR EACH ROW EXECUTE FUNCTION ods.stays()",
    )
    yield boxes
    for box in boxes.values():
        box.sink.close()
    postgres.execute("DROP DATABASE gaussmodel WITH (FORCE)", database="postgres")


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=dense_logs(),
    rules=rules(),
    method=st.sampled_from(["copy", "insert", "upsert"]),
    way=st.sampled_from(WAYS),
    on_error=st.sampled_from(["fail", "skip"]),
)
def test_any_log_under_any_rules_by_any_way_equals_the_model(
    boxes: dict[Way, GaussdbBox], pieces: list[list[Change]], rules: Rules, method: Method, way: Way, on_error: str
) -> None:
    target = Target(TableName("ods", "plain"), SCHEMA, options_of(rules, method=method, on_error=on_error))
    log = [change for piece in pieces for change in piece]
    found, marked, result = outcome(boxes[way], target, pieces)
    model = modelled(rules, pieces)
    assert found == model.rows
    assert marked == model.marked
    assert result.rows == len(log)
    assert sum(count or 0 for count in counts(result)) == fates(log, rules)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=dense_logs(), rules=rules(), method=st.sampled_from(["copy", "upsert"]), way=st.sampled_from(WAYS))
def test_a_partition_key_is_never_set_and_its_change_moves_the_row(
    boxes: dict[Way, GaussdbBox], pieces: list[list[Change]], rules: Rules, method: Method, way: Way
) -> None:
    assume(rules.delete_mode != "soft")
    target = Target(TableName("ods", "fixed"), SCHEMA, options_of(rules, method=method))
    found, _, _ = outcome(boxes[way], target, pieces)
    assert found == modelled(rules, pieces).rows


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=dense_logs(),
    events=st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), fills)), min_size=1, max_size=4),
    rules=rules(),
    way=st.sampled_from(WAYS),
)
def test_truncates_and_fills_among_the_pieces_equal_the_model(
    boxes: dict[Way, GaussdbBox], pieces: list[list[Change]], events: list[tuple[int, Any]], rules: Rules, way: Way
) -> None:
    steps: list[Step] = list(pieces)
    for at, event in events:
        steps.insert(at % (len(steps) + 1), event)
    found, marked, _ = outcome(boxes[way], Target(TableName("ods", "plain"), SCHEMA, options_of(rules, method="copy")), steps)
    model = modelled(rules, steps)
    assert found == model.rows
    assert marked == model.marked
