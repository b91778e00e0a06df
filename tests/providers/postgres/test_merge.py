"""Large batches by MERGE do, and count, what small ones do by ON CONFLICT."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.postgres.conftest import Box, changes, inserts, schema_of
from tests.scale import examples
from tests.servers import wait_until
from tidegate.providers.postgres import merge
from tidegate.providers.postgres.sql import PostgresSql

pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MERGE_ROWS", 1)


@pytest.fixture
def merged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The MERGE statements that were asked for."""
    statements: list[str] = []
    real = PostgresSql.merge

    def spy(self: PostgresSql, put: Any) -> str | None:
        found = real(self, put)
        statements.extend([found] if found is not None else [])
        return found

    monkeypatch.setattr(PostgresSql, "merge", spy)
    return statements


KEYS = st.dictionaries(st.integers(0, 9), st.sampled_from(["a", "", None, "ü"]), max_size=10)


def table_of(rows: dict[int, str | None]) -> pa.Table:
    return pa.table({"id": pa.array(rows, pa.int64()), "v": pa.array(list(rows.values()), pa.string())})


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(KEYS.filter(bool), min_size=1, max_size=3))
def test_merge_brings_and_counts_what_on_conflict_does(light: Box, merged: list[str], batches: list[dict[int, str | None]]) -> None:
    light.execute("DROP SCHEMA IF EXISTS ods CASCADE", "CREATE SCHEMA ods")
    merged.clear()
    expected: dict[int, str | None] = {}
    target = light.target(schema_of(table_of({}), "id"))
    for rows in batches:
        new = rows.keys() - expected.keys()
        result = light.write(target, inserts(table_of(rows), "id"))
        assert (result.inserted, result.updated, result.ignored) == (len(new), len(rows) - len(new), 0)
        expected |= rows
    assert dict(light.query("SELECT id, v FROM ods.t")) == expected
    assert len(merged) == len(batches)


def test_two_batches_of_one_load_are_counted_apart_from_each_other(box: Box, merged: list[str]) -> None:
    first, second = table_of({1: "a", 2: "b"}), table_of({2: "c", 3: "d", 4: "e"})
    result = box.write(
        box.target(schema_of(first, "id")), inserts(first, "id"), inserts(second, "id"), changes(first, "-D -D", "id")
    )
    assert (result.inserted, result.updated, result.deleted, len(merged)) == (4, 1, 2, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER x BEFORE UPDATE ON ods.t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE RULE x AS ON DELETE TO ods.t DO INSTEAD NOTHING",
        "ALTER TABLE ods.t ENABLE ROW LEVEL SECURITY",
        "CREATE TABLE ods.child (t bigint REFERENCES ods.t)",
        "CREATE TABLE ods.heir () INHERITS (ods.t)",
    ],
)
def test_a_table_that_is_not_plain_keeps_on_conflict(box: Box, merged: list[str], statement: str) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY, v text)", statement)
    box.write(box.target(schema_of(table_of({}), "id")), inserts(table_of({1: "a"}), "id"))
    assert not merged


def test_a_key_that_may_be_null_keeps_on_conflict(box: Box, merged: list[str]) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint UNIQUE, v text)")
    box.write(box.target(schema_of(table_of({}), "id")), inserts(table_of({1: "a"}), "id"))
    assert not merged


@pytest.mark.parametrize("options", [{"conflict_mode": "ignore"}, {"delete_mode": "soft", "soft_delete_column": "gone"}])
def test_other_rules_keep_on_conflict(box: Box, merged: list[str], options: dict[str, Any]) -> None:
    box.write(box.target(schema_of(table_of({}), "id"), **options), inserts(table_of({1: "a"}), "id"))
    assert not merged


def test_a_key_that_another_writer_inserts_meanwhile_is_updated(box: Box, merged: list[str]) -> None:
    target = box.target(schema_of(table_of({}), "id"))
    box.prepare(target)
    other = box.server.connect()
    results = []
    with other.cursor() as cursor:
        cursor.execute("INSERT INTO ods.t VALUES (1, 'theirs')")
        writer = threading.Thread(target=lambda: results.append(box.write(target, inserts(table_of({1: "ours", 2: "b"}), "id"))))
        writer.start()
        wait_until(lambda: bool(box.query("SELECT 1 FROM pg_locks WHERE NOT granted")), "a wait for the other's key")
        other.commit()
    writer.join()
    other.close()
    assert box.query("SELECT id, v FROM ods.t ORDER BY id") == [(1, "ours"), (2, "b")]
    assert (results[0].inserted, results[0].updated, len(merged)) == (1, 1, 1)
