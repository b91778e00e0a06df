"""Whatever the log, the options and the cuts: the table equals the model that applies changes one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model import Change, Model, Row
from tests.providers.postgres.conftest import FAMILY, Box
from tests.scale import examples
from tests.servers import PostgresServer
from tests.strategies import KEY, SCHEMA, batch_of, changes, cut, rules
from tidegate.changes.rules import Rules
from tidegate.changes.schema import TableName
from tidegate.providers.postgres.load import PostgresLoad
from tidegate.sync.mapping import Target
from tidegate.sync.options import Method, WriteOptions
from tidegate.sync.results import WriteResult

__all__ = ["FAMILY"]
pytestmark = pytest.mark.postgres
MARK = "gone"


SOURCE_COLUMNS = "id bigint, region varchar(4), a text DEFAULT 'def', b int DEFAULT 7, v bigint DEFAULT 2, PRIMARY KEY (id, region)"
"""The columns of the log's rows, with the defaults that the model knows."""
COLUMNS = f"{SOURCE_COLUMNS}, gone boolean NOT NULL DEFAULT false, kept text DEFAULT 'kept'"
PARTITIONS = {
    "adbpg": [
        f"CREATE TABLE ods.parts ({COLUMNS}) PARTITION BY LIST (region) (PARTITION one VALUES ('x', 'X'), DEFAULT PARTITION rest)"
    ],
    "": [
        f"CREATE TABLE ods.parts ({COLUMNS}) PARTITION BY LIST (region)",
        "CREATE TABLE ods.part1 PARTITION OF ods.parts FOR VALUES IN ('x', 'X')",
        "CREATE TABLE ods.part2 PARTITION OF ods.parts DEFAULT",
    ],
}


def tables(family: str) -> list[str]:
    """Statements that make ``ods.plain`` and ``ods.parts``, which has partitions."""
    return [f"CREATE TABLE ods.plain ({COLUMNS})", *PARTITIONS.get(family, PARTITIONS[""])]


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, family: str) -> Iterator[Box]:
    """One database for all examples: each runs in a transaction that is rolled back."""
    server: PostgresServer = request.getfixturevalue(family)
    name = f"model{os.getpid()}"
    server.execute(f"CREATE DATABASE {name}")
    box = Box(replace(server, database=name), family)
    box.execute("CREATE SCHEMA ods", *tables(family))
    yield box
    box.sink.close()
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'", f"DROP DATABASE {name}")


Step = list[Change] | tuple[str, Any] | None
"""Changes, a column filled with a value, or (None) a TRUNCATE."""


def modelled(rules: Rules, steps: Sequence[Step]) -> Model:
    """The table after these steps."""
    model = Model(SCHEMA.names, KEY, rules, {"a": "def", "b": 7, "v": 2})
    for step in steps:
        if isinstance(step, list):
            model.apply(step)
        elif step is None:
            model.truncate()
        else:
            model.fill(*step)
    return model


def counts(result: WriteResult) -> list[int | None]:
    """What became of the changes, one number a fate."""
    return [result.inserted, result.updated, result.deleted, result.ignored, result.not_found, result.folded]


def fates(log: Sequence[Change], rules: Rules) -> int:
    """What the counts add up to: each change, and twice one that moves its row to another key."""
    moves = sum(
        change.before is not None and change.after is not None and any(change.before[name] != change.after[name] for name in KEY)
        for change in log
    )
    return len(log) + (moves if rules.delete_mode != "ignore" else 0)


def options_of(rules: Rules, **more: Any) -> WriteOptions:
    soft = MARK if rules.delete_mode == "soft" else None
    return WriteOptions(
        conflict_mode=rules.conflict_mode,
        delete_mode=rules.delete_mode,
        columns=rules.columns,
        version_column=rules.version_column,
        ignore_nulls=rules.ignore_nulls,
        soft_delete_column=soft,
        **more,
    )


def outcome(box: Box, target: Target, pieces: Sequence[Step]) -> tuple[dict[Any, Any], set[Any], WriteResult]:
    """Write the pieces in one load and look at the table from within, then forget it all."""
    load = box.sink.begin([target], None)
    assert isinstance(load, PostgresLoad)
    try:
        result = WriteResult()
        for piece in pieces:
            if isinstance(piece, list):
                result += load.write(target, batch_of(piece))
            elif piece is None:
                load.truncate(target)
            else:
                column = SCHEMA.column(piece[0])
                load.fill(target, column, None if piece[1] is None else pa.scalar(piece[1], column.type))
        rows = load._session.rows(f"SELECT id, region, a, b, v, gone, kept FROM {target.table}")
    finally:
        load.abort()
    found = {row[:2]: dict(zip(SCHEMA.names, row, strict=False)) for row in rows}
    assert all(row[6] == "kept" for row in rows)
    return found, {row[:2] for row in rows if row[5]}, result


@st.composite
def dense_logs(draw: st.DrawFn) -> list[list[Change]]:
    """A log in pieces over few keys, so that most changes meet a row that an earlier piece left."""
    log = draw(st.lists(changes(partial=draw(st.booleans())), min_size=draw(st.sampled_from([0, 8, 16])), max_size=24))
    if draw(st.integers(0, 3)):
        log = [Change(_narrow(change.before), _narrow(change.after)) for change in log]
    most = draw(st.sampled_from([0, 3, len(log)]))
    return cut(log, draw(st.lists(st.integers(0, 100), min_size=most, max_size=most)))


def _filled(box: Box, row: Row | None) -> Row | None:
    """GaussDB takes '' for NULL; what that does to a row is stated elsewhere."""
    if row is None or box.family != "gaussdb":
        return row
    return {name: "e" if value == "" else value for name, value in row.items()}


def _without_empty(box: Box, pieces: list[list[Change]]) -> list[list[Change]]:
    return [[Change(_filled(box, change.before), _filled(box, change.after)) for change in piece] for piece in pieces]


def _narrow(row: Row | None) -> Row | None:
    return None if row is None else row | {"id": row["id"] % 2, "region": "x"}


LOADS: dict[str, st.SearchStrategy[Any]] = {
    "pieces": dense_logs(),
    "rules": rules(),
    "method": st.sampled_from(["copy", "insert", "upsert"]),
    "table": st.sampled_from(["plain", "parts"]),
    "on_error": st.sampled_from(["fail", "skip"]),
}
"""A log, and all that may be said of how it is written."""


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**LOADS)
def test_any_log_under_any_rules_in_any_pieces_equals_the_model(
    shared: Box, pieces: list[list[Change]], rules: Rules, method: Method, table: str, on_error: str
) -> None:
    pieces = _without_empty(shared, pieces)
    target = Target(TableName("ods", table), SCHEMA, options_of(rules, method=method, on_error=on_error))
    log = [change for piece in pieces for change in piece]
    found, marked, result = outcome(shared, target, pieces)
    model = modelled(rules, pieces)
    assert found == model.rows
    assert marked == model.marked
    assert result.rows == len(log)
    assert None in counts(result) or sum(count or 0 for count in counts(result)) == fates(log, rules)


fills = st.one_of(
    st.tuples(st.just("a"), st.sampled_from([None, "", "n"])),
    st.tuples(st.just("b"), st.sampled_from([None, 0, -2])),
    st.tuples(st.just("v"), st.sampled_from([None, 0, 3])),
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=dense_logs(),
    events=st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), fills)), min_size=1, max_size=4),
    rules=rules(),
    method=st.sampled_from(["copy", "insert", "upsert"]),
    table=st.sampled_from(["plain", "parts"]),
)
def test_truncates_and_fills_among_the_pieces_of_any_log_equal_the_model(
    shared: Box, pieces: list[list[Change]], events: list[tuple[int, Any]], rules: Rules, method: Method, table: str
) -> None:
    steps: list[Step] = list(_without_empty(shared, pieces))
    for at, event in events:
        if event is not None:
            column, value = event
            event = column, (_filled(shared, {column: value}) or {})[column]
        steps.insert(at % (len(steps) + 1), event)
    target = Target(TableName("ods", table), SCHEMA, options_of(rules, method=method))
    found, marked, _ = outcome(shared, target, steps)
    model = modelled(rules, steps)
    assert found == model.rows
    assert marked == model.marked
