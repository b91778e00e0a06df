"""What each option of a write does to a table, and what the counts say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.postgres.conftest import FAMILY, Box, Told, changes, inserts, schema_of
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, ConflictError, EventRefused, RowRefused, SchemaError
from tidegate.sync.protocols import Window
from tidegate.sync.results import WriteResult

__all__ = ["FAMILY"]
pytestmark = pytest.mark.postgres


def people(*rows: tuple[int, str | None]) -> pa.Table:
    return pa.table({"id": pa.array([row[0] for row in rows], pa.int64()), "name": pa.array([row[1] for row in rows], pa.string())})


FIRST = people((1, "ann"), (2, "bob"))
SCHEMA = schema_of(FIRST, "id")


def counts(result: WriteResult) -> Told:
    return Told(result)


def rows(box: Box, table: str = "ods.t", order: str = "id") -> list[tuple[Any, ...]]:
    return box.query(f"SELECT * FROM {table} ORDER BY {order}")


@pytest.fixture(params=["copy", "insert", "upsert"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_upsert_inserts_updates_and_deletes(box: Box, method: str) -> None:
    target = box.target(SCHEMA, method=method)
    assert counts(box.write(target, inserts(FIRST, "id"))) == {"inserted": 2}
    log = people((1, "ann"), (1, "Ann"), (2, "bob"), (3, "cid"), (3, "cid"), (9, "x"))
    result = box.write(target, changes(log, "-U +U -D +I +I -D", "id"))
    assert rows(box) == [(1, "Ann"), (3, "cid")]
    assert counts(result) == {"inserted": 1, "updated": 1, "deleted": 1, "not_found": 1, "folded": 1}
    assert result.rows == 5
    assert result.bytes > 0
    assert result.loads > 0
    assert result.seconds > 0


def test_a_key_change_removes_the_old_key_and_keys_may_swap(box: Box, method: str) -> None:
    target = box.target(SCHEMA, method=method)
    box.write(target, inserts(FIRST, "id"))
    swap = people((1, "ann"), (0, "ann"), (2, "bob"), (1, "bob"), (0, "ann"), (2, "ann"))
    box.write(target, changes(swap, "-U +U -U +U -U +U", "id"))
    assert rows(box) == [(1, "bob"), (2, "ann")]


def test_more_rows_than_a_page_of_values_are_all_written_once(box: Box, method: str) -> None:
    many = people(*((n, f"n{n}") for n in range(2500)))
    target = box.target(SCHEMA, method=method)
    assert counts(box.write(target, inserts(many, "id"))) == {"inserted": 2500}
    gone = changes(many.slice(0, 2400), " ".join(["-D"] * 2400), "id")
    assert counts(box.write(target, gone)) == {"deleted": 2400}
    assert box.query("SELECT count(*), min(id) FROM ods.t") == [(100, 2400)]


def test_columns_that_only_the_target_has_keep_their_values(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name text, note text DEFAULT 'new')")
    box.execute("INSERT INTO ods.t VALUES (1, 'ann', 'mine')")
    box.write(box.target(SCHEMA), inserts(people((1, "Ann"), (2, "bob")), "id"))
    assert rows(box) == [(1, "Ann", "mine"), (2, "bob", "new")]


def test_update_mode_sets_only_the_listed_columns_of_rows_that_are_there(box: Box, method: str) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, a text, b text)")
    box.execute("INSERT INTO ods.t VALUES (1, 'old', 'old')")
    table = pa.table({"id": [1, 2], "a": ["new", "new"], "b": ["new", "new"]})
    target = box.target(schema_of(table, "id"), conflict_mode="update", columns=("b",), method=method)
    assert counts(box.write(target, inserts(table, "id"))) == {"inserted": 1, "updated": 1}
    assert rows(box) == [(1, "old", "new"), (2, "new", "new")]


def test_ignore_mode_keeps_rows_that_are_there_and_counts_them(box: Box, method: str) -> None:
    target = box.target(SCHEMA, conflict_mode="ignore", method=method)
    box.write(target, inserts(FIRST, "id"))
    result = box.write(target, inserts(people((1, "other"), (3, "cid")), "id"))
    assert counts(result) == {"inserted": 1, "ignored": 1}
    assert rows(box) == [(1, "ann"), (2, "bob"), (3, "cid")]


def test_strict_mode_refuses_a_key_that_is_there_and_writes_nothing(box: Box, method: str) -> None:
    target = box.target(SCHEMA, conflict_mode="strict", method=method)
    assert counts(box.write(target, inserts(FIRST, "id"))) == {"inserted": 2}
    with pytest.raises(ConflictError, match=r"1 keys exist.*conflict_mode") as caught:
        box.write(target, inserts(people((3, "cid"), (2, "secret")), "id"))
    assert caught.value.keys == [(2,)]
    assert "secret" not in str(caught.value)
    assert rows(box) == [(1, "ann"), (2, "bob")]


@pytest.mark.parametrize("copy", ["fresh", "merge"])
def test_strict_mode_refuses_a_key_in_a_first_copy_too(box: Box, copy: Any) -> None:
    target = box.target(SCHEMA, conflict_mode="strict")
    box.write(target, inserts(FIRST, "id"))
    with pytest.raises(ConflictError):
        box.write(target, inserts(FIRST, "id"), copy=copy)


def test_an_older_version_is_ignored_an_equal_or_newer_one_written_and_null_is_the_lowest(box: Box, method: str) -> None:
    table = pa.table({"id": [1, 2, 3, 4, 5], "v": pa.array([5, 5, 5, None, None], pa.int64()), "s": ["old"] * 5})
    target = box.target(schema_of(table, "id"), version_column="v", method=method)
    box.write(target, inserts(table, "id"))
    later = pa.table({"id": [1, 2, 3, 4, 5], "v": pa.array([4, 5, None, None, 1], pa.int64()), "s": ["new"] * 5})
    assert counts(box.write(target, inserts(later, "id"))) == {"updated": 3, "ignored": 2}
    assert [row[2] for row in rows(box)] == ["old", "new", "old", "new", "new"]


def test_ignore_nulls_leaves_what_is_there(box: Box, method: str) -> None:
    target = box.target(SCHEMA, ignore_nulls=True, method=method)
    box.write(target, inserts(FIRST, "id"), copy="fresh")
    box.write(target, inserts(people((1, None), (2, "Bob"), (3, None)), "id"))
    assert rows(box) == [(1, "ann"), (2, "Bob"), (3, None)]


def test_a_partial_row_keeps_the_rest_of_an_old_row_and_takes_defaults_in_a_new_one(box: Box, method: str) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, a text DEFAULT 'x', b text NOT NULL DEFAULT 'y')")
    box.execute("INSERT INTO ods.t VALUES (1, 'a', 'b')")
    table = pa.table({"id": [1, 2, 3], "a": ["A", None, "C"], "b": [None, "B", "C"]})
    present = {"a": pa.array([True, False, True]), "b": pa.array([False, True, True])}
    schema = schema_of(table, "id")
    target = box.target(schema, method=method)
    result = box.write(target, ChangeBatch.of(schema, table, RowKind.INSERT, present=present), copy="fresh")
    assert counts(result) == {"inserted": 2, "updated": 1}
    assert rows(box) == [(1, "A", "b"), (2, "x", "B"), (3, "C", "C")]


def test_a_table_of_nothing_but_its_key_is_merged(box: Box, method: str) -> None:
    table = pa.table({"a": [1, 1], "b": [1, 2]})
    target = box.target(schema_of(table, "a", "b"), method=method)
    box.write(target, inserts(table, "a", "b"))
    result = box.write(target, changes(pa.table({"a": [1, 1, 2], "b": [1, 2, 2]}), "+I -D +I", "a", "b"))
    assert counts(result) == {"inserted": 1, "ignored": 1, "deleted": 1}
    assert rows(box, order="a") == [(1, 1), (2, 2)]


def test_soft_deletes_mark_and_a_later_insert_is_a_new_life(box: Box, method: str) -> None:
    table = pa.table({"id": [1, 2], "v": [9, 9], "s": ["a", "b"]})
    schema = schema_of(table, "id")
    target = box.target(schema, delete_mode="soft", soft_delete_column="gone", version_column="v", method=method)
    box.write(target, inserts(table, "id"), copy="fresh")
    assert rows(box) == [(1, 9, "a", False), (2, 9, "b", False)]
    gone = changes(table, "-D -D", "id")
    assert counts(box.write(target, gone)) == {"deleted": 2}
    assert counts(box.write(target, gone)) == {"not_found": 2}
    back = ChangeBatch.of(schema, pa.table({"id": [1], "v": [1], "s": [None]}, schema=schema.arrow()), RowKind.INSERT)
    box.write(target, back)
    assert rows(box) == [(1, 1, None, False), (2, 9, "b", True)]


def test_deletes_can_be_ignored_and_key_changes_then_leave_the_old_row(box: Box, method: str) -> None:
    target = box.target(SCHEMA, delete_mode="ignore", method=method)
    box.write(target, inserts(FIRST, "id"))
    result = box.write(target, changes(people((1, "ann"), (2, "bob"), (7, "bob")), "-D -U +U", "id"))
    assert counts(result) == {"inserted": 1, "ignored": 1}
    assert rows(box) == [(1, "ann"), (2, "bob"), (7, "bob")]


def test_existing_only_updates_and_counts_what_is_not_there(box: Box, method: str) -> None:
    box.write(box.target(SCHEMA), inserts(FIRST, "id"))
    target = box.target(SCHEMA, existing_only=True, method=method)
    result = box.write(target, inserts(people((1, "Ann"), (8, "x")), "id"))
    assert counts(result) == {"updated": 1, "not_found": 1}
    assert rows(box) == [(1, "Ann"), (2, "bob")]


def test_existing_only_respects_the_version_and_the_mark(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, v bigint, gone boolean)")
    box.execute("INSERT INTO ods.t VALUES (1, 5, NULL), (2, 5, false), (3, 5, true)")
    table = pa.table({"id": [1, 2, 3], "v": [4, 6, 6]})
    target = box.target(
        schema_of(table, "id"), existing_only=True, version_column="v", delete_mode="soft", soft_delete_column="gone"
    )
    assert counts(box.write(target, inserts(table, "id"))) == {"updated": 1, "ignored": 1, "not_found": 1}
    assert rows(box) == [(1, 5, None), (2, 6, False), (3, 5, True)]


def test_append_stores_every_change_with_its_kind(box: Box, method: str) -> None:
    target = box.target(SCHEMA, write_mode="append", op_column="op", method=method)
    log = changes(people((1, "a"), (1, "a"), (1, "b"), (1, "b")), "+I -U +U -D", "id")
    result = box.write(target, log, log)
    assert (result.rows, result.inserted) == (6, 8)
    kinds = ["INSERT", "UPDATE_BEFORE", "UPDATE_AFTER", "DELETE"]
    assert [row[2] for row in box.query("SELECT * FROM ods.t")] == kinds * 2


def test_append_without_op_column_takes_inserts_alone(box: Box) -> None:
    target = box.target(SCHEMA, write_mode="append")
    assert box.write(target, inserts(FIRST), inserts(FIRST)).inserted == 4
    with pytest.raises(EventRefused, match=r"DELETE under write_mode='append' without op_column.*\[op_column\]"):
        box.write(target, changes(FIRST, "+I -D", "id"))
    kept = box.target(SCHEMA, write_mode="append", delete_mode="ignore")
    assert counts(box.write(kept, changes(FIRST, "+I -D", "id"))) == {"inserted": 1, "ignored": 1}
    assert box.query("SELECT count(*) FROM ods.t") == [(5,)]


def test_append_takes_a_table_without_a_key_and_partial_rows_get_the_default(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint, name text DEFAULT 'none', op text)")
    schema = schema_of(FIRST)
    flags = {"name": pa.array([True, False])}
    target = box.target(schema, write_mode="append", op_column="op")
    box.write(target, ChangeBatch.of(schema, FIRST, RowKind.INSERT, present=flags))
    assert rows(box) == [(1, "ann", "INSERT"), (2, "none", "INSERT")]


def test_overwrite_replaces_the_whole_table_in_one_piece(box: Box, method: str) -> None:
    box.write(box.target(SCHEMA), inserts(FIRST, "id"))
    target = box.target(SCHEMA, write_mode="overwrite", method=method)
    result = box.write(target, inserts(people((5, "eve")), "id"), inserts(people((6, "flo"), (5, "Eve")), "id"))
    assert rows(box) == [(5, "Eve"), (6, "flo")]
    assert counts(result) == {"deleted": 2, "inserted": 2, "updated": 1}
    with pytest.raises(SchemaError, match="NULL in the key"):
        box.write(target, inserts(pa.table({"id": pa.array([None], pa.int64()), "name": ["x"]}), "id"))
    assert rows(box) == [(5, "Eve"), (6, "flo")]
    box.write(target, inserts(FIRST.slice(0, 0), "id"))
    assert rows(box) == []


def test_overwrite_takes_a_table_without_a_key(box: Box) -> None:
    target = box.target(schema_of(FIRST), write_mode="overwrite")
    box.write(target, inserts(FIRST))
    box.write(target, inserts(FIRST), inserts(FIRST))
    assert rows(box) == [(1, "ann"), (1, "ann"), (2, "bob"), (2, "bob")]


@pytest.mark.parametrize("soft", [False, True])
def test_a_replacing_copy_over_several_loads_removes_what_the_source_does_not_have(box: Box, soft: bool) -> None:
    options: dict[str, Any] = {"delete_mode": "soft", "soft_delete_column": "gone"} if soft else {}
    target = box.target(SCHEMA, **options)
    box.write(target, inserts(people((1, "old"), (2, "old"), (3, "old")), "id"))
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    low = BinlogPosition("b.000001", 4, "1")
    source = TableName("shop", "t")

    def page(after: tuple[str, ...] | None, batch: ChangeBatch, *, last: bool = False) -> int | None:
        load = box.sink.begin([target], lease, Window({source: SnapshotPosition(low, after)}, None))
        load.write(target, batch, "replace")
        removed = load.finish_copy(target) if last else None
        load.commit([])
        return removed

    page(None, inserts(people((3, "gone meanwhile")), "id"))  # a copy that was given up
    page(None, inserts(people((1, "new")), "id"))
    assert len(rows(box)) == 3
    assert page(("1",), inserts(people((4, "new")), "id"), last=True) == 2
    live = [row[0] for row in rows(box) if not (soft and row[2])]
    assert live == [1, 4]
    assert len(rows(box)) == (4 if soft else 2)
    assert box.query("SELECT relname FROM pg_class WHERE relname LIKE 'tidegate_seen%'") == []


def test_a_replacing_copy_of_an_empty_source_empties_the_table(box: Box) -> None:
    target = box.target(SCHEMA)
    box.write(target, inserts(FIRST, "id"))
    box.sink.ledger.setup()
    load = box.sink.begin([target], None)
    assert load.finish_copy(target) == 2
    load.commit([])
    assert rows(box) == []


def test_a_replacing_copy_into_a_log_begins_with_an_empty_table(box: Box) -> None:
    target = box.target(SCHEMA, write_mode="append")
    box.write(target, inserts(FIRST))
    load = box.sink.begin([target], None)
    load.write(target, inserts(people((3, "c"))), "replace")
    load.write(target, inserts(people((4, "d"))), "replace")
    assert load.finish_copy(target) == 0
    load.commit([])
    assert [row[0] for row in rows(box)] == [3, 4]


def test_a_table_without_a_unique_index_on_the_key_is_kept_by_delete_and_insert(box: Box, method: str) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint, name text)")
    target = box.target(SCHEMA, method=method)
    assert "DELETE and INSERT" in box.sink.inspect(target).strategy
    box.write(target, inserts(FIRST, "id"))
    result = box.write(target, changes(people((1, "ann"), (1, "Ann"), (2, "bob"), (3, "cid")), "-U +U -D +I", "id"))
    assert counts(result) == {"inserted": 1, "updated": 1, "deleted": 1}
    assert rows(box) == [(1, "Ann"), (3, "cid")]


def test_a_value_may_move_between_rows_under_another_unique_index(box: Box, method: str) -> None:
    box.only("postgres", "gaussdb", because="its unique constraints share the distribution key")
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name text UNIQUE)")
    target = box.target(SCHEMA, method=method)
    assert box.sink.inspect(target).needs_consistent
    box.write(target, inserts(FIRST, "id"))
    box.write(target, changes(people((1, "ann"), (1, "bob"), (2, "bob"), (2, "ann")), "-U +U -U +U", "id"))
    assert rows(box) == [(1, "bob"), (2, "ann")]


@pytest.mark.parametrize(
    "options",
    [
        {"conflict_mode": "ignore"},
        {"conflict_mode": "update"},
        {"version_column": "name"},
        {"ignore_nulls": True},
        {"delete_mode": "soft", "soft_delete_column": "gone"},
        {"on_error": "skip"},
    ],
)
def test_what_delete_and_insert_cannot_do_is_refused_with_the_way_out(box: Box, options: dict[str, Any]) -> None:
    box.only("postgres", "gaussdb", because="its unique constraints share the distribution key")
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name text UNIQUE)")
    target = box.target(SCHEMA, **options)
    assert any("t_name_key" in str(problem) and "drop them" in str(problem) for problem in box.sink.inspect(target).problems)
    load = box.sink.begin([target], None)
    with pytest.raises(ConfigError, match="t_name_key"):
        load.write(target, inserts(FIRST, "id"))
    load.abort()


def test_a_refused_value_names_column_and_table_but_not_the_value(box: Box, method: str) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name varchar(3) CHECK (name <> 'bad'))")
    target = box.target(SCHEMA, method=method)
    for value in ("toolong", "bad"):
        with pytest.raises(RowRefused, match=r"connection warehouse, table ods\.t: ") as caught:
            box.write(target, inserts(people((1, "ok"), (2, value)), "id"))
        assert value not in str(caught.value)
        assert caught.value.__cause__ is None
        if method == "copy" and value == "toolong":
            assert caught.value.column == "name"
    assert rows(box) == []


def test_a_foreign_key_refuses_a_row_and_nothing_of_the_load_stays(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.p (id bigint PRIMARY KEY)")
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY, name text, CHECK (id < 3))")
    target = box.target(SCHEMA)
    load = box.sink.begin([target], None)
    load.write(target, inserts(FIRST, "id"))
    with pytest.raises(RowRefused, match="t_id_check"):
        load.write(target, inserts(people((5, "x")), "id"))
    load.abort()
    assert rows(box) == []


def test_names_with_quotes_capitals_blanks_and_percent_signs_are_taken_as_they_are(box: Box, method: str) -> None:
    if box.family == "adbpg":
        box.sink.close()
        box.sink = box.open(case_sensitive=True)
    table = pa.table({"Key": [1, 2], 'a "b" %s': ["x", "%s"], "select": [1, 2], "ünï c:ö": ["p", "q"]})
    schema = schema_of(table, "Key")
    box.execute('CREATE SCHEMA "My Schema"')
    target = box.target(schema, method=method)
    target = replace(target, table=TableName("My Schema", 'T "1" %s'))
    box.write(target, inserts(table, "Key"))
    box.write(target, changes(table, "+I -D", "Key"))
    assert box.query('SELECT * FROM "My Schema"."T ""1"" %s"') == [(1, "x", 1, "p")]


def test_a_table_without_a_schema_goes_to_the_first_of_the_search_path(box: Box) -> None:
    box.only("postgres", "gaussdb", because="default_schema names it")
    box.execute("CREATE SCHEMA mine")
    box.sink.close()
    box.sink = box.open(options="-c search_path=mine")
    box.write(box.target(SCHEMA, "t"), inserts(FIRST, "id"))
    assert rows(box, "mine.t") == [(1, "ann"), (2, "bob")]


def test_tables_of_a_load_may_come_by_different_methods(box: Box) -> None:
    for methods in (("copy", "insert", "upsert"), ("insert", "copy")):
        targets = [box.target(SCHEMA, f"ods.t{number}", method=method) for number, method in enumerate(methods)]
        for target in targets:
            box.prepare(target)
        load = box.sink.begin(targets, None)
        for target in targets:
            load.write(target, changes(people((1, "ann"), (2, "bob"), (2, "bob")), "+I +I -D", "id"))
        load.commit([])
        assert [rows(box, str(target.table)) for target in targets] == [[(1, "ann")]] * len(targets)


def test_two_tables_of_a_load_are_written_together_or_not_at_all(box: Box) -> None:
    one, two = box.target(SCHEMA, "ods.one"), box.target(SCHEMA, "ods.two")
    box.prepare(one)
    box.prepare(two)
    load = box.sink.begin([one, two], None)
    load.write(one, inserts(FIRST, "id"))
    load.write(two, inserts(FIRST, "id"))
    load.write(one, changes(FIRST, "-D +I", "id"))
    load.abort()
    assert rows(box, "ods.one") == rows(box, "ods.two") == []


def test_batches_with_fewer_columns_than_the_table_are_merged_beside_full_ones(box: Box) -> None:
    """A schema change ends a batch: older changes of the same window have fewer columns."""
    wide = pa.table({"id": [1, 2], "name": ["a", "b"], "extra": ["x", "y"]})
    target = box.target(schema_of(wide, "id"))
    box.write(target, inserts(wide, "id"), inserts(people((1, "A"), (3, "c")), "id"), inserts(wide.slice(1), "id"))
    assert rows(box) == [(1, "A", "x"), (2, "b", "y"), (3, "c", None)]


def test_a_partitioned_table_is_merged_with_the_same_counts(box: Box, method: str) -> None:
    box.only("postgres", "gaussdb", because="its partitions are declared otherwise")
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, v bigint, gone boolean) PARTITION BY RANGE (id)")
    box.execute("CREATE TABLE ods.p PARTITION OF ods.t FOR VALUES FROM (0) TO (100)")
    box.execute("INSERT INTO ods.t VALUES (1, 5, NULL), (2, 5, false), (3, 5, true)")
    table = pa.table({"id": [1, 2, 3, 4], "v": [4, 6, 1, 1]})
    options: dict[str, Any] = {"version_column": "v", "delete_mode": "soft", "soft_delete_column": "gone"}
    target = box.target(schema_of(table, "id"), method=method, **options)
    assert counts(box.write(target, inserts(table, "id"))) == {"inserted": 1, "updated": 2, "ignored": 1}
    assert rows(box) == [(1, 5, None), (2, 6, False), (3, 1, False), (4, 1, False)]
    with pytest.raises(RowRefused, match=r"no partition of relation"):
        box.write(target, inserts(pa.table({"id": [200], "v": [1]}), "id"))


def test_columns_that_the_table_lacks_are_said_before_anything_is_sent(box: Box, method: str) -> None:
    box.write(box.target(SCHEMA, method=method), inserts(FIRST, "id"))
    wider = FIRST.append_column("age", pa.array([1, 2]))
    target = box.target(schema_of(wider, "id"), method=method)
    load = box.sink.begin([target], None)
    with pytest.raises(SchemaError, match="the table lacks age"):
        load.write(target, inserts(wider, "id"))
    load.abort()


def test_looking_at_a_table_in_the_middle_of_a_load_takes_nothing_from_it(box: Box) -> None:
    target = box.target(SCHEMA)
    box.prepare(target)
    load = box.sink.begin([target], None)
    load.write(target, inserts(FIRST, "id"))
    assert box.sink.inspect(target).empty
    other = box.sink.begin([target], None)
    other.abort()
    load.write(target, inserts(people((3, "cid")), "id"))
    load.commit([])
    load.abort()
    assert len(rows(box)) == 3


def test_loads_one_after_the_other_share_a_connection(box: Box) -> None:
    target = box.target(SCHEMA)
    for _ in range(3):
        box.write(target, inserts(FIRST, "id"))
    assert box.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidegate'") == [(1,)]


def test_loads_of_one_sink_follow_what_a_new_inspection_finds(box: Box) -> None:
    target = box.target(SCHEMA)
    box.write(target, inserts(FIRST, "id"))
    box.execute("ALTER TABLE ods.t DROP COLUMN name", "ALTER TABLE ods.t ADD COLUMN name varchar(10)")
    box.write(target, changes(people((1, "ann"), (2, "bob")), "+U +U", "id"))
    assert rows(box) == [(1, "ann"), (2, "bob")]


def test_after_a_failed_load_the_next_one_sees_the_table_as_it_is(box: Box) -> None:
    target = box.target(SCHEMA)
    box.write(target, inserts(FIRST, "id"))
    box.execute("ALTER TABLE ods.t ALTER COLUMN name TYPE varchar(3)")
    load = box.sink.begin([target], None)
    with pytest.raises(RowRefused):
        load.write(target, changes(people((1, "toolong")), "+U", "id"))
    load.abort()
    load = box.sink.begin([target], None)
    load.write(target, changes(people((1, "new")), "+U", "id"))
    load.commit([])
    assert rows(box) == [(1, "new"), (2, "bob")]


def test_a_key_that_is_there_more_than_once_is_counted_once(box: Box, method: str) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint, name text)")
    box.execute("INSERT INTO ods.t VALUES (1, 'a'), (1, 'b'), (1, 'c'), (2, 'd'), (2, 'e')")
    target = box.target(SCHEMA, method=method)
    log = people((1, "new"), (5, "five"), (2, "d"), (7, "x"))
    assert counts(box.write(target, changes(log, "+U +U -D -D", "id"))) == {
        "inserted": 1,
        "updated": 1,
        "deleted": 2,
        "not_found": 1,
    }
    assert rows(box) == [(1, "new"), (5, "five")]
