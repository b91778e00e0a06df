"""What arrives in the table, by each way of merging."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.providers.gaussdb.boxes import GaussdbBox, server
from tests.providers.postgres.conftest import changes, inserts, schema_of
from tests.servers import PostgresServer
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.position import BinlogPosition
from tidegate.changes.schema import Column, TableName
from tidegate.errors import ConfigError, RowRefused
from tidegate.sync.protocols import Entry

pytestmark = pytest.mark.postgres
ROWS = pa.table({"id": [1, 2], "a": ["x", "y"]})


def test_rows_are_counted_by_what_became_of_them(box: GaussdbBox) -> None:
    target = box.target(schema_of(ROWS, "id"), conflict_mode="ignore")
    first = box.write(target, inserts(ROWS, "id"))
    assert (first.inserted, first.updated, first.ignored) == (2, 0, 0)
    second = box.write(target, inserts(pa.table({"id": [2, 3], "a": ["no", "z"]}), "id"))
    assert (second.inserted, second.updated, second.ignored) == (1, 0, 1)
    upsert = box.target(schema_of(ROWS, "id"))
    third = box.write(upsert, inserts(pa.table({"id": [2, 4], "a": ["yes", "z"]}), "id"))
    assert (third.inserted, third.updated, third.ignored) == (1, 1, 0)
    assert box.query("SELECT id, a FROM ods.t ORDER BY id") == [(1, "x"), (2, "yes"), (3, "z"), (4, "z")]


def test_a_table_of_key_columns_alone_takes_the_same_keys_again(box: GaussdbBox) -> None:
    keys = pa.table({"id": [1, 2]})
    target = box.target(schema_of(keys, "id"))
    box.write(target, inserts(keys, "id"))
    again = box.write(target, inserts(pa.table({"id": [2, 3]}), "id"))
    assert (again.inserted, again.ignored) == (1, 1)
    assert box.query("SELECT id FROM ods.t ORDER BY id") == [(1,), (2,), (3,)]


def test_names_with_capitals_blanks_and_quotes_are_kept(box: GaussdbBox) -> None:
    rows = pa.table({"Id": [1], 'a "b"': ["x"], "order": [5]})
    target = box.target(schema_of(rows, "Id"), "ods.My Table")
    for value in (5, 6):
        box.write(target, inserts(rows.set_column(2, "order", pa.array([value])), "Id"))
    assert box.query('SELECT * FROM ods."My Table"') == [(1, "x", 6)]


def test_values_that_swap_under_a_second_unique_index_arrive(box: GaussdbBox) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY, a text UNIQUE)")
    target = box.target(schema_of(ROWS, "id"))
    box.write(target, inserts(ROWS, "id"))
    swapped = pa.table({"id": [1, 1, 2, 2], "a": ["x", "y", "y", "x"]})
    box.write(target, changes(swapped, "-U +U -U +U", "id"))
    assert box.query("SELECT id, a FROM ods.t ORDER BY id") == [(1, "y"), (2, "x")]


def test_a_row_that_changes_its_partition_keeps_what_only_the_target_has(box: GaussdbBox) -> None:
    box.execute(
        "CREATE SCHEMA ods",
        "CREATE TABLE ods.fixed (id bigint PRIMARY KEY, b int, a text, own text, twice bigint GENERATED ALWAYS AS (id * 2) STORED)",
        "INSERT INTO ods.fixed VALUES (1, 1, 'x', 'mine'), (2, 1, 'y', 'mine')",
        "CREATE FUNCTION ods.stays() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'set'; END$$",
        "CREATE TRIGGER stays BEFORE UPDATE OF b ON ods.fixed FOR EACH ROW EXECUTE FUNCTION ods.stays()",
    )
    rows = pa.table({"id": [1, 2, 3], "b": pa.array([1, 5, 5], pa.int32()), "a": ["x2", "y2", "z"]})
    target = box.target(schema_of(rows, "id"), "ods.fixed")
    result = box.write(target, inserts(rows, "id"))
    assert (result.inserted, result.updated) == (1, 2)
    # Without the column, and with a lower version of it, nothing moves.
    part = ChangeBatch.of(
        schema_of(rows, "id"),
        pa.table({"id": [2], "b": pa.array([None], pa.int32()), "a": ["y3"]}),
        RowKind.INSERT,
        present={"b": pa.array([False])},
    )
    box.write(target, part)
    versioned = box.target(schema_of(rows, "id"), "ods.fixed", version_column="b")
    late = box.write(versioned, inserts(pa.table({"id": [3], "b": pa.array([4], pa.int32()), "a": ["old"]}), "id"))
    assert (late.updated, late.ignored) == (0, 1)
    assert box.query("SELECT * FROM ods.fixed ORDER BY id") == [
        (1, 1, "x2", "mine", 2),
        (2, 5, "y3", "mine", 4),
        (3, 5, "z", None, 6),
    ]
    existing = box.target(schema_of(rows, "id"), "ods.fixed", existing_only=True)
    found = box.write(existing, inserts(pa.table({"id": [1, 9], "b": pa.array([7, 7], pa.int32()), "a": ["m", "n"]}), "id"))
    assert (found.updated, found.not_found) == (1, 1)
    assert box.query("SELECT b, a, own FROM ods.fixed WHERE id IN (1, 9)") == [(7, "m", "mine")]


def test_a_table_with_triggers_is_written_so_that_they_fire(box: GaussdbBox) -> None:
    box.execute(
        "CREATE SCHEMA ods",
        "CREATE TABLE ods.t (id bigint PRIMARY KEY, a text)",
        "CREATE TABLE ods.seen (what text)",
        "CREATE FUNCTION ods.note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO ods.seen VALUES (lower(TG_OP)); RETURN NULL; END$$",
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON ods.t FOR EACH ROW EXECUTE FUNCTION ods.note()",
    )
    target = box.target(schema_of(ROWS, "id"))
    assert box.sink.inspect(target).strategy.startswith("UPDATE, then INSERT … WHERE NOT EXISTS")
    box.write(target, inserts(ROWS, "id"))
    box.write(target, inserts(ROWS.slice(0, 1), "id"))
    assert box.query("SELECT what, count(*) FROM ods.seen GROUP BY what ORDER BY what") == [("insert", 2), ("update", 1)]


def test_a_session_takes_load_after_load_and_keeps_no_staged_rows(box: GaussdbBox) -> None:
    target = box.target(schema_of(ROWS, "id"))
    for number in range(4):
        box.write(target, inserts(pa.table({"id": [1], "a": [str(number)]}), "id"))
    assert box.query("SELECT a FROM ods.t") == [("3",)]
    left = box.query("SELECT reltuples FROM pg_class WHERE relname LIKE 'tidegate_stage%' AND relkind = 'r'")
    assert len(left) <= 1  # of the last load, emptied by its commit; the next one drops it


def test_a_copy_that_replaces_goes_on_over_several_loads(box: GaussdbBox) -> None:
    target = box.target(schema_of(ROWS, "id"))
    box.write(target, inserts(pa.table({"id": [1, 2, 3], "a": ["o", "o", "o"]}), "id"))
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("shop", "me", 60)
    for at, start in ((1, True), (2, False)):
        load = box.sink.begin([target], lease)
        load._copy_starts = start
        load.write(target, inserts(pa.table({"id": [at], "a": ["new"]}), "id"), "replace")
        if at == 2:
            assert load.finish_copy(target) == 1
        load.commit([])
    assert box.query("SELECT id, a FROM ods.t ORDER BY id") == [(1, "new"), (2, "new")]


@pytest.fixture
def empties(pg_database: PostgresServer) -> PostgresServer:
    """A table that refuses what would have become NULL, as a stand-in for a database that makes it so."""
    pg_database.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY, a text CHECK (a <> ''))")
    return pg_database


EMPTY = pa.table({"id": [1, 2, 3], "a": ["x", "", None]})


def test_a_row_with_an_empty_text_is_refused_before_it_is_sent(empties: PostgresServer) -> None:
    box = GaussdbBox(empties, server(empty_is_null=True), empty_string="refuse")
    with pytest.raises(
        RowRefused, match=r"column a: '', which this database would store as NULL \[empty_string, on_error\]"
    ) as caught:
        box.write(box.target(schema_of(EMPTY, "id")), inserts(EMPTY, "id"))
    assert caught.value.rows.to_pylist() == [{"id": 2, "a": ""}]
    result = box.write(box.target(schema_of(EMPTY, "id"), on_error="quarantine"), inserts(EMPTY, "id"))
    assert (result.inserted, result.quarantined) == (2, 1)
    assert box.query("SELECT id FROM ods.t ORDER BY id") == [(1,), (3,)]
    # A delete says nothing that could be stored.
    gone = box.write(box.target(schema_of(EMPTY, "id")), changes(pa.table({"id": [1], "a": [""]}), "-D", "id"))
    assert gone.deleted == 1
    box.sink.close()


def test_an_empty_text_is_written_as_one_blank(empties: PostgresServer) -> None:
    box = GaussdbBox(empties, server(empty_is_null=True), empty_string="space")
    target = box.target(schema_of(EMPTY, "id"))
    box.write(target, inserts(EMPTY, "id"))
    assert box.query("SELECT id, a FROM ods.t ORDER BY id") == [(1, "x"), (2, " "), (3, None)]
    load = box.sink.begin([target], None)
    load.fill(target, Column("a", pa.string()), pa.scalar(""))
    load.commit([])
    assert box.query("SELECT DISTINCT a FROM ods.t") == [(" ",)]
    box.sink.close()


def test_a_soft_delete_that_lacks_a_partition_key_is_refused(box: GaussdbBox) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.fixed (id bigint PRIMARY KEY, b int, gone boolean NOT NULL DEFAULT false)")
    rows = pa.table({"id": [1], "b": pa.array([1], pa.int32())})
    target = box.target(schema_of(rows, "id"), "ods.fixed", delete_mode="soft", soft_delete_column="gone")
    box.write(target, inserts(rows, "id"))
    box.write(target, changes(rows, "-D", "id"))
    back = box.write(target, inserts(pa.table({"id": [1], "b": pa.array([2], pa.int32())}), "id"))
    assert back.updated == 1
    assert box.query("SELECT * FROM ods.fixed") == [(1, 2, False)]
    part = ChangeBatch.of(schema_of(rows, "id"), rows, RowKind.INSERT, present={"b": pa.array([False])})
    with pytest.raises(ConfigError, match="needs rows that bring b"):
        box.write(target, part)


def test_the_ledger_holds_no_empty_text(box: GaussdbBox) -> None:
    ledger = box.sink.ledger
    ledger.setup()
    lease = ledger.acquire("shop", "me", 60)
    source, position = TableName("", "orders"), BinlogPosition("binlog.000001", 4, "s1")
    for _ in range(2):
        ledger.record(lease, [Entry("shop", source, TableName("ods", "orders"), position)])
    assert ledger.last("shop")[source].table == source
    ledger.release(lease)
    assert ledger.acquire("shop", "another", 60).fence == lease.fence + 1
    ledger.release(ledger.acquire("shop", "another", 60))
    schema = ledger.schema
    assert box.query(f"SELECT source_schema, run, seq FROM {schema}.tidegate_ledger ORDER BY seq") == [(" ", " ", 1), (" ", " ", 2)]
    assert box.query(f"SELECT owner FROM {schema}.tidegate_lease") == [(" ",)]
