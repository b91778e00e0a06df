"""The verbs on StarRocks: what each leaves in the table and what it reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.starrocks.conftest import Box, Killed, kill
from tidegate.errors import ConfigError, ConflictError, PermanentError, RowRefused, SchemaError
from tidegate.sync.verbs import Verbs


@pytest.fixture
def verbs(box: Box) -> Verbs:
    box.table("id INT, note VARCHAR(10) DEFAULT 'none', n SMALLINT", name="orders")
    box.execute("INSERT INTO orders VALUES (1, 'one', 1), (2, 'two', 2)")
    return box.verbs()


def rows(verbs: Verbs, table: str = "orders") -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in verbs.read(table).to_pylist())


def test_upsert_changes_what_is_there_and_adds_what_is_not(verbs: Verbs) -> None:
    result = verbs.upsert("orders", [{"id": 2, "note": "TWO", "n": 22}, {"id": 3, "note": "three", "n": 3}])
    assert rows(verbs) == [(1, "one", 1), (2, "TWO", 22), (3, "three", 3)]
    assert (result.rows, result.inserted, result.updated) == (2, None, None), "StarRocks doesn't tell which"


def test_a_dict_that_lacks_a_column_keeps_the_old_value_and_a_new_row_takes_the_default(verbs: Verbs) -> None:
    verbs.upsert("orders", [{"id": 2, "n": 22}, {"id": 3, "note": "three"}, {"id": 4, "note": None, "n": None}])
    assert set(rows(verbs)) == {(1, "one", 1), (2, "two", 22), (3, "three", None), (4, None, None)}
    verbs.upsert("orders", [{"id": 5, "n": 5}])
    assert (5, "none", 5) in rows(verbs)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"conflict_mode": "ignore"}, [(1, "one", 1), (2, "two", 2), (3, "new", 9)]),
        ({"conflict_mode": "update", "columns": ["note"]}, [(1, "one", 1), (2, "new", 2), (3, "new", 9)]),
        ({"conflict_mode": "upsert"}, [(1, "one", 1), (2, "new", 9), (3, "new", 9)]),
    ],
)
def test_upsert_meets_a_row_as_conflict_mode_says(verbs: Verbs, options: dict[str, Any], expected: Any) -> None:
    result = verbs.upsert("orders", [{"id": 2, "note": "new", "n": 9}, {"id": 3, "note": "new", "n": 9}], **options)
    assert rows(verbs) == expected
    if options["conflict_mode"] != "upsert":
        assert (result.inserted, (result.ignored or 0) + (result.updated or 0)) == (1, 1)


def test_insert_adds_all_rows_or_none(verbs: Verbs) -> None:
    with pytest.raises(ConflictError) as caught:
        verbs.insert("orders", [{"id": 3, "note": "three", "n": 3}, {"id": 1, "note": "again", "n": 1}])
    assert caught.value.keys == [(1,)]
    assert rows(verbs) == [(1, "one", 1), (2, "two", 2)]
    assert verbs.insert("orders", [{"id": 3, "note": "three", "n": 3}]).inserted == 1
    assert len(rows(verbs)) == 3


def test_insert_of_more_rows_than_one_load_takes_is_refused_before_any_is_added(verbs: Verbs) -> None:
    pieces = [{"id": number, "note": "new", "n": 1} for number in (7, 8, 9, 1)]
    with pytest.raises(ConfigError, match=r"more than 2 rows can't be inserted here all or none.*batch_rows"):
        verbs.insert("orders", pieces, batch_rows=2)
    assert rows(verbs) == [(1, "one", 1), (2, "two", 2)]


def test_update_sets_rows_that_exist_and_counts_the_others(verbs: Verbs) -> None:
    result = verbs.update("orders", [{"id": 1, "note": "ONE"}, {"id": 9, "note": "nine"}])
    assert rows(verbs) == [(1, "ONE", 1), (2, "two", 2)]
    assert (result.updated, result.not_found, result.inserted) == (1, 1, 0)


def test_delete_takes_keys_and_those_that_are_missing(verbs: Verbs) -> None:
    assert verbs.delete("orders", [{"id": 1}, {"id": 9}]).rows == 2
    assert rows(verbs) == [(2, "two", 2)]


def test_delete_takes_keys_where_other_columns_are_not_null(box: Box) -> None:
    box.table("id INT, a VARCHAR(5) NOT NULL, d DATE NOT NULL, m DECIMAL(10, 2) NOT NULL, b BOOLEAN NOT NULL", name="tight")
    box.execute("INSERT INTO tight VALUES (1, 'a', '2026-01-01', 1.5, true), (2, 'b', '2026-01-01', 1.5, true)")
    verbs = box.verbs()
    verbs.delete("tight", [{"id": 1}])
    assert [row[0] for row in rows(verbs, "tight")] == [2]


@pytest.mark.parametrize("version", ["V1", "AUTO"])
def test_append_with_an_idempotency_key_happens_once(box: Box, version: str) -> None:
    box.table("id INT, note VARCHAR(10)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "log")
    verbs = box.verbs(sink_version=version)
    new = [{"id": 3, "note": "three"}, {"id": 3, "note": "three"}]
    for _ in range(2):
        verbs.append("log", new, idempotency_key="load-1")
    assert rows(verbs, "log") == [(3, "three")] * 2
    verbs.append("log", new, idempotency_key="load-2")
    verbs.append("log", new)
    assert len(rows(verbs, "log")) == 6


@pytest.mark.parametrize(
    ("version", "method", "ledger", "nth", "after"),
    [
        ("V1", "load", False, 1, True),  # the rows are in, and nobody wrote it down
        ("V1", "load", False, 2, False),  # half of them are
        ("AUTO", "send", False, 1, True),
        ("AUTO", "prepare", False, 1, True),
        ("AUTO", "commit", False, 1, False),  # decided
        ("AUTO", "commit", False, 1, True),
    ],
)
def test_append_with_an_idempotency_key_happens_once_though_the_first_was_killed(
    box: Box, version: str, method: str, ledger: bool, nth: int, after: bool
) -> None:
    box.table("id INT, note VARCHAR(10)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "log")
    sink = box.open(sink_version=version)
    kill(sink, method, nth=nth, after=after, ledger=ledger)
    new = [{"id": number, "note": "x"} for number in range(4)]
    sink.ledger.release = lambda lease: None  # type: ignore[method-assign]
    with pytest.raises(Killed):
        Verbs(lambda: sink).append("log", new, idempotency_key="k", batch_rows=2)
    verbs = box.verbs(sink_version=version)
    for _ in range(2):
        verbs.append("log", new, idempotency_key="k", batch_rows=2)
        assert [row[0] for row in rows(verbs, "log")] == [0, 1, 2, 3]


def test_overwrite_replaces_the_rows_and_an_empty_table_empties_it(verbs: Verbs, box: Box) -> None:
    verbs.overwrite("orders", [{"id": 7, "note": "seven", "n": 7}])
    assert rows(verbs) == [(7, "seven", 7)]
    with pytest.raises(RowRefused):
        verbs.overwrite("orders", [{"id": 8, "note": "x" * 11, "n": 7}])
    assert rows(verbs) == [(7, "seven", 7)]
    verbs.overwrite("orders", pa.table({"id": pa.array([], pa.int32()), "note": pa.array([], pa.string())}))
    assert rows(verbs) == []
    verbs.overwrite("orders", [])
    assert box.query("SHOW TABLES") == [("orders",)]


def test_overwrite_takes_a_table_without_a_key_and_one_that_is_not_there(box: Box) -> None:
    box.table("id INT, note VARCHAR(10)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "log")
    verbs = box.verbs()
    twice = [{"id": 1, "note": "a"}, {"id": 1, "note": "a"}]
    verbs.append("log", twice)
    verbs.overwrite("log", twice)
    assert rows(verbs, "log") == [(1, "a"), (1, "a")]
    verbs.overwrite("fresh", [{"id": 1, "note": "a"}], key=["id"])
    assert rows(verbs, "fresh") == [(1, "a")]
    assert sorted(box.query("SHOW TABLES")) == [("fresh",), ("log",)]


def test_apply_takes_a_changelog_with_deletes_and_key_changes(verbs: Verbs) -> None:
    changes = [
        {"op": "-D", "id": 1, "note": "one", "n": 1},
        {"op": "-U", "id": 2, "note": "two", "n": 2},
        {"op": "+U", "id": 20, "note": "moved", "n": 2},
        {"op": "+I", "id": 3, "note": "three", "n": 3},
    ]
    assert verbs.apply("orders", changes, kind_column="op").rows == 3
    assert rows(verbs) == [(3, "three", 3), (20, "moved", 2)]


def test_a_missing_table_is_made_with_its_key(verbs: Verbs) -> None:
    verbs.upsert("fresh", [{"a": 1, "b": "x"}], key=["a"])
    verbs.upsert("fresh", [{"a": 1, "b": "y"}])
    assert rows(verbs, "fresh") == [(1, "y")]
    verbs.insert("fresher", [{"a": 1, "b": "x"}], key=["a"])
    with pytest.raises(ConflictError):
        verbs.insert("fresher", [{"a": 1, "b": "x"}])


def test_expressions_make_bitmaps_and_hlls_and_no_user_is_lost(box: Box) -> None:
    for name, kind in (("page_uv", "BITMAP BITMAP_UNION"), ("hll_uv", "HLL HLL_UNION")):
        box.table(
            f"page_id INT, visit_date DATETIME, visit_users {kind}",
            "AGGREGATE KEY(page_id, visit_date) DISTRIBUTED BY HASH(page_id)",
            name,
        )
    verbs = box.verbs()
    visits = [
        {"page_id": page, "visit_date": "2020-06-23 01:30:30", "visit_user_id": user}
        for page, user in ((1, 13), (1, 23), (1, 33), (1, 13), (2, 13))
    ]
    for name, made in (("page_uv", "to_bitmap"), ("hll_uv", "hll_hash")):
        properties = {"columns": f"page_id,visit_date,visit_user_id,visit_users={made}(visit_user_id)"}
        result = verbs.append(name, visits, properties=properties)
        assert result.rows == 5
        assert box.query(f"SELECT page_id, COUNT(DISTINCT visit_users) FROM {name} GROUP BY page_id ORDER BY page_id") == [
            (1, 3),
            (2, 1),
        ]
    assert verbs.read("page_uv").column_names == ["page_id", "visit_date"]
    with pytest.raises(SchemaError, match="visit_users"):
        verbs.append("page_uv", [{"page_id": 1, "visit_date": "2020-06-23 01:30:30"}])


@pytest.mark.parametrize("verb", ["upsert", "delete", "insert", "update"])
def test_what_needs_a_primary_key_is_refused_on_other_models(box: Box, verb: str) -> None:
    box.table("id INT, note VARCHAR(10)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "log")
    with pytest.raises(ConfigError, match=r"primary key tables alone.*write_mode='append'"):
        getattr(box.verbs(), verb)("log", [{"id": 1, "note": "x"}], key=["id"])


def test_what_cannot_be_done_is_refused_before_anything_is_written(verbs: Verbs) -> None:
    row = [{"id": 3, "note": "three", "n": 3}]
    with pytest.raises(ConfigError, match=r"unknown option batchrows; did you mean batch_rows\?"):
        verbs.upsert("orders", row, batchrows=1)
    with pytest.raises(SchemaError, match="no column colour"):
        verbs.upsert("orders", [{"id": 3, "colour": "red"}])
    with pytest.raises(SchemaError, match="no primary key"):
        verbs.upsert("keyless", row)
    with pytest.raises(SchemaError, match="no such table"):
        verbs.delete("nowhere", row, key=["id"])
    with pytest.raises(PermanentError, match="n: "):
        verbs.upsert("orders", [{"id": 3, "n": 70_000}])
    with pytest.raises(ConfigError, match="method"):
        verbs.upsert("orders", row, method="copy")
    assert rows(verbs) == [(1, "one", 1), (2, "two", 2)]


def test_a_reader_is_written_in_pieces_and_all_or_nothing(verbs: Verbs) -> None:
    def pieces(bad: bool) -> Iterator[pa.RecordBatch]:
        for start in range(10, 40, 10):
            note = "x" * (11 if bad and start == 30 else 1)
            yield pa.record_batch({"id": pa.array(range(start, start + 10), pa.int32()), "note": [note] * 10})

    schema = pa.schema([("id", pa.int32()), ("note", pa.string())])
    with pytest.raises(RowRefused):
        verbs.upsert("orders", pa.RecordBatchReader.from_batches(schema, pieces(True)), batch_rows=4)
    assert len(rows(verbs)) == 2
    result = verbs.upsert("orders", pa.RecordBatchReader.from_batches(schema, pieces(False)), batch_rows=4)
    assert (result.rows, result.loads) == (30, 9)
    assert len(rows(verbs)) == 32


def test_a_verb_is_tried_again_and_what_failed_is_counted(box: Box) -> None:
    box.table("id INT, note VARCHAR(10)")
    box.server.fault("dead", on="stream_load", at="be")
    result = box.verbs(sink_version="V1").upsert("t", [{"id": 1, "note": "x"}], retry_wait=0.0)
    assert (result.loads, result.failed_loads) == (1, 1)
    box.server.fault("dead", on="load", at="be")
    result = box.verbs().upsert("t", [{"id": 2, "note": "y"}], retry_wait=0.0)
    assert (result.loads, result.retries) == (1, 1)
    assert box.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
