"""The verbs, on a real PostgreSQL: what each leaves in the table and what it reports."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from tests.servers import PostgresServer
from tidegate.errors import ConfigError, ConflictError, RowRefused, SchemaError
from tidegate.providers.system import systems
from tidegate.sync.verbs import Verbs

pytestmark = pytest.mark.postgres


@pytest.fixture
def verbs(pg_database: PostgresServer) -> Verbs:
    pg_database.execute(
        "CREATE SCHEMA ods",
        "CREATE TABLE ods.orders (id integer PRIMARY KEY, note text DEFAULT 'none', n smallint)",
        "INSERT INTO ods.orders VALUES (1, 'one', 1), (2, 'two', 2)",
    )
    return Verbs(lambda: systems()["postgres"].open_sink(pg_database.values(), "warehouse"))


def rows(verbs: Verbs, table: str = "ods.orders") -> list[tuple[object, ...]]:
    return sorted(tuple(row.values()) for row in verbs.read(table).to_pylist())


def test_upsert_changes_what_is_there_and_adds_what_is_not(verbs: Verbs) -> None:
    result = verbs.upsert("ods.orders", [{"id": 2, "note": "TWO", "n": 22}, {"id": 3, "note": "three", "n": 3}])
    assert rows(verbs) == [(1, "one", 1), (2, "TWO", 22), (3, "three", 3)]
    assert (result.rows, result.inserted, result.updated) == (2, 1, 1)


def test_a_dict_that_lacks_a_column_keeps_the_old_value_and_a_new_row_takes_the_default(verbs: Verbs) -> None:
    verbs.upsert("ods.orders", [{"id": 2, "n": 22}, {"id": 3, "note": "three"}, {"id": 4, "note": None, "n": None}])
    assert set(rows(verbs)) == {(1, "one", 1), (2, "two", 22), (3, "three", None), (4, None, None)}
    verbs.upsert("ods.orders", [{"id": 5, "n": 5}])
    assert (5, "none", 5) in rows(verbs)


def test_insert_adds_all_rows_or_none(verbs: Verbs) -> None:
    with pytest.raises(ConflictError) as caught:
        verbs.insert("ods.orders", [{"id": 3, "note": "three", "n": 3}, {"id": 1, "note": "again", "n": 1}])
    assert caught.value.keys == [(1,)]
    assert rows(verbs) == [(1, "one", 1), (2, "two", 2)]
    assert verbs.insert("ods.orders", [{"id": 3, "note": "three", "n": 3}]).inserted == 1


def test_update_sets_rows_that_exist_and_counts_the_others(verbs: Verbs) -> None:
    result = verbs.update("ods.orders", [{"id": 1, "note": "ONE"}, {"id": 9, "note": "nine"}])
    assert rows(verbs) == [(1, "ONE", 1), (2, "two", 2)]
    assert (result.updated, result.not_found, result.inserted) == (1, 1, 0)


def test_delete_takes_keys_and_counts_those_that_are_missing(verbs: Verbs) -> None:
    result = verbs.delete("ods.orders", [{"id": 1}, {"id": 9}])
    assert rows(verbs) == [(2, "two", 2)]
    assert (result.deleted, result.not_found) == (1, 1)


def test_append_with_an_idempotency_key_happens_once(verbs: Verbs) -> None:
    new = [{"id": 3, "note": "three", "n": 3}]
    assert verbs.append("ods.orders", new, idempotency_key="load-1").inserted == 1
    assert verbs.append("ods.orders", new, idempotency_key="load-1").inserted == 0
    assert rows(verbs) == [(1, "one", 1), (2, "two", 2), (3, "three", 3)]


def test_overwrite_replaces_the_rows_and_an_empty_table_empties_it(verbs: Verbs) -> None:
    verbs.overwrite("ods.orders", [{"id": 7, "note": "seven", "n": 7}])
    assert rows(verbs) == [(7, "seven", 7)]
    verbs.overwrite("ods.orders", pa.table({"id": pa.array([], pa.int32()), "note": pa.array([], pa.string())}))
    assert rows(verbs) == []


def test_apply_takes_a_changelog_with_deletes_and_key_changes(verbs: Verbs) -> None:
    changes = [
        {"op": "-D", "id": 1, "note": "one", "n": 1},
        {"op": "-U", "id": 2, "note": "two", "n": 2},
        {"op": "+U", "id": 20, "note": "moved", "n": 2},
        {"op": "+I", "id": 3, "note": "three", "n": 3},
    ]
    verbs.apply("ods.orders", changes, kind_column="op")
    assert rows(verbs) == [(3, "three", 3), (20, "moved", 2)]


def test_a_missing_table_is_made_with_its_key(verbs: Verbs) -> None:
    verbs.upsert("ods.fresh", [{"a": 1, "b": "x"}], key=["a"])
    verbs.upsert("ods.fresh", [{"a": 1, "b": "y"}])
    assert rows(verbs, "ods.fresh") == [(1, "y")]


def test_what_cannot_be_done_is_refused_before_anything_is_written(verbs: Verbs) -> None:
    row = [{"id": 3, "note": "three", "n": 3}]
    with pytest.raises(ConfigError, match=r"unknown option batchrows; did you mean batch_rows\?"):
        verbs.upsert("ods.orders", row, batchrows=1)
    with pytest.raises(SchemaError, match="no column colour"):
        verbs.upsert("ods.orders", [{"id": 3, "colour": "red"}])
    with pytest.raises(SchemaError, match="no primary key"):
        verbs.upsert("ods.keyless", row)
    with pytest.raises(SchemaError, match="no such table"):
        verbs.delete("ods.nowhere", row, key=["id"])
    with pytest.raises(RowRefused, match="column n"):
        verbs.upsert("ods.orders", [{"id": 3, "n": 70_000}])
    assert rows(verbs) == [(1, "one", 1), (2, "two", 2)]


def test_a_reader_is_written_in_pieces_and_all_or_nothing(verbs: Verbs) -> None:
    def pieces() -> Iterator[pa.RecordBatch]:
        for start in range(10, 40, 10):
            yield pa.record_batch({"id": pa.array(range(start, start + 10), pa.int32()), "note": ["x"] * 10})

    reader = pa.RecordBatchReader.from_batches(pa.schema([("id", pa.int32()), ("note", pa.string())]), pieces())
    assert verbs.upsert("ods.orders", reader, batch_rows=4).inserted == 30
    assert len(rows(verbs)) == 32
