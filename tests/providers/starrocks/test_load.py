"""What each option of a write does to a primary key table, in loads that stand alone (V1) and in prepared ones (V2)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.providers.starrocks.conftest import FIRST, SCHEMA, Box, changes, counts, inserts, people, rows, schema_of
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.errors import ConfigError, ConflictError, RowRefused, SchemaError


@pytest.mark.parametrize("format", ["json", "csv"])
def test_upsert_inserts_updates_and_deletes(either: Box, format: str) -> None:
    either.reopen(format=format)
    target = either.target(SCHEMA)
    either.write(target, inserts(FIRST, "id"))
    assert rows(either) == [(1, "ann"), (2, "bob")]
    name = 'A"\n\t\\n' if format == "json" else 'A",'
    log = people((1, "ann"), (1, name), (2, "bob"), (3, None), (3, ""), (9, "x"))
    result = either.write(target, changes(log, "-U +U -D +I +I -D", "id"))
    assert rows(either) == [(1, name), (3, "")]
    assert (result.rows, result.folded) == (5, None)
    assert (result.loads, result.failed_loads) == (1, 0)
    assert result.bytes > 0


@pytest.mark.parametrize("format", ["json", "csv"])
def test_any_json_value_arrives_as_it_is(either: Box, format: str) -> None:
    either.reopen(format=format)
    either.table("id BIGINT, doc JSON")
    texts = ["null", '{"a":null}', "7", '"null"', "true", "[]", None]
    plain = pa.table({"id": pa.array([8, 9]), "doc": pa.array(["{}", None], pa.string())})
    batch = inserts(pa.table({"id": pa.array(range(7)), "doc": pa.array(texts, pa.string())}), "id")
    either.write(either.target(batch.schema), batch, inserts(plain, "id"))
    found = either.query("SELECT id, CAST(doc AS VARCHAR), doc IS NULL FROM t ORDER BY id")
    assert [(text and text.replace(" ", ""), is_null) for _, text, is_null in found] == [
        (text, int(text is None)) for text in [*texts, "{}", None]
    ]


def test_a_key_change_removes_the_old_key_and_keys_may_swap(either: Box) -> None:
    target = either.target(SCHEMA)
    either.write(target, inserts(FIRST, "id"))
    swap = people((1, "ann"), (0, "ann"), (2, "bob"), (1, "bob"), (0, "ann"), (2, "ann"))
    either.write(target, changes(swap, "-U +U -U +U -U +U", "id"))
    assert rows(either) == [(1, "bob"), (2, "ann")]


def test_nothing_of_a_load_is_seen_before_its_commit_and_nothing_stays_of_one_that_is_given_up(box: Box) -> None:
    target = box.target(SCHEMA)
    box.prepare(target)
    load = box.begin(target)
    load.write(target, inserts(FIRST, "id"))
    load.write(target, inserts(people((3, "cid")), "id"))
    assert rows(box) == []
    load.abort()
    assert rows(box) == []
    if box.server.control_port:
        assert set(box.states().values()) == {"ABORTED"}
    assert box.write(target, inserts(FIRST, "id"), inserts(people((1, "Ann")), "id")).loads == 2
    assert rows(box) == [(1, "Ann"), (2, "bob")]


def test_columns_that_only_the_target_has_keep_their_values(either: Box) -> None:
    either.table("id BIGINT, name VARCHAR(20), note VARCHAR(20) DEFAULT 'new'")
    either.execute("INSERT INTO t VALUES (1, 'ann', 'mine'), (2, 'bob', 'gone')")
    log = changes(people((1, "ann"), (1, "Ann"), (2, "bob"), (3, "cid")), "-U +U -D +I", "id")
    either.write(either.target(SCHEMA), log)
    assert rows(either) == [(1, "Ann", "mine"), (3, "cid", "new")]


def test_a_deleted_key_that_comes_back_takes_nothing_of_the_old_row(either: Box) -> None:
    either.table("id BIGINT, name VARCHAR(20), note VARCHAR(20) DEFAULT 'new'")
    either.execute("INSERT INTO t VALUES (1, 'ann', 'mine')")
    either.write(either.target(SCHEMA), changes(people((1, "ann"), (1, "again")), "-D +I", "id"))
    assert rows(either) == [(1, "again", "new")]


def test_columns_are_found_whatever_their_case(either: Box) -> None:
    either.table("ID BIGINT, Name VARCHAR(20)", "PRIMARY KEY(ID) DISTRIBUTED BY HASH(ID)")
    either.write(either.target(SCHEMA), changes(people((1, "ann"), (2, "bob"), (2, "bob")), "+I +I -D", "id"))
    assert rows(either) == [(1, "ann")]


def test_partial_rows_keep_the_rest_of_an_old_row_and_take_defaults_in_a_new_one(either: Box) -> None:
    either.table("id BIGINT, a VARCHAR(5) DEFAULT 'x', b VARCHAR(5) NOT NULL DEFAULT 'y'")
    either.execute("INSERT INTO t VALUES (1, 'a', 'b')")
    table = pa.table({"id": [1, 2, 3], "a": ["A", None, "C"], "b": [None, "B", "C"]})
    present = {"a": pa.array([True, False, True]), "b": pa.array([False, True, True])}
    target = either.target(schema_of(table, "id"))
    result = either.write(target, changes(table, "+U +I +I", "id", present=present))
    assert rows(either) == [(1, "A", "b"), (2, "x", "B"), (3, "C", "C")]
    assert (result.rows, result.loads) == (3, 3)


def test_a_partial_row_after_a_delete_of_its_key_begins_a_new_life(either: Box) -> None:
    either.table("id BIGINT, a VARCHAR(5) DEFAULT 'x', b VARCHAR(5) DEFAULT 'y'")
    either.execute("INSERT INTO t VALUES (1, 'a', 'b'), (2, 'a', 'b')")
    table = pa.table({"id": [1, 1, 2], "a": ["a", "A", None], "b": ["b", None, None]})
    present = {"a": pa.array([True, True, True]), "b": pa.array([True, False, False])}
    either.write(either.target(schema_of(table, "id")), changes(table, "-D +I +U", "id", present=present))
    assert rows(either) == [(1, "A", "y"), (2, None, "b")]


def test_ignore_nulls_leaves_what_is_there(either: Box) -> None:
    target = either.target(SCHEMA, ignore_nulls=True)
    either.write(target, inserts(FIRST, "id"))
    either.write(target, inserts(people((1, None), (2, "Bob"), (3, None)), "id"))
    assert rows(either) == [(1, "ann"), (2, "Bob"), (3, None)]


def test_a_table_of_nothing_but_its_key_is_merged(either: Box) -> None:
    table = pa.table({"a": [1, 1], "b": [1, 2]})
    target = either.target(schema_of(table, "a", "b"))
    either.write(target, inserts(table, "a", "b"))
    either.write(target, changes(pa.table({"a": [1, 1, 2], "b": [1, 2, 2]}), "+I -D +I", "a", "b"))
    assert rows(either, order="a") == [(1, 1), (2, 2)]


# What StarRocks can't decide itself: the keys are looked up first


def test_update_mode_sets_only_the_listed_columns_of_rows_that_are_there(box: Box) -> None:
    box.table("id BIGINT, a VARCHAR(5), b VARCHAR(5)")
    box.execute("INSERT INTO t VALUES (1, 'old', 'old')")
    table = pa.table({"id": [1, 2], "a": ["new", "new"], "b": ["new", "new"]})
    target = box.target(schema_of(table, "id"), conflict_mode="update", columns=("b",))
    assert counts(box.write(target, inserts(table, "id"))) == {"inserted": 1, "updated": 1}
    assert rows(box) == [(1, "old", "new"), (2, "new", "new")]


def test_ignore_mode_keeps_rows_that_are_there_and_counts_them(box: Box) -> None:
    target = box.target(SCHEMA, conflict_mode="ignore")
    box.write(target, inserts(FIRST, "id"))
    result = box.write(target, inserts(people((1, "other"), (3, "cid")), "id"))
    assert (counts(result), result.rows) == ({"inserted": 1, "ignored": 1}, 2)
    assert rows(box) == [(1, "ann"), (2, "bob"), (3, "cid")]


def test_strict_mode_refuses_a_key_that_is_there_and_writes_nothing(box: Box) -> None:
    target = box.target(SCHEMA, conflict_mode="strict")
    assert counts(box.write(target, inserts(FIRST, "id"))) == {"inserted": 2}
    with pytest.raises(ConflictError, match=r"1 keys exist.*conflict_mode") as caught:
        box.write(target, inserts(people((3, "cid"), (2, "secret")), "id"))
    assert caught.value.keys == [(2,)]
    assert "secret" not in str(caught.value)
    assert rows(box) == [(1, "ann"), (2, "bob")]


def test_existing_only_updates_and_counts_what_is_not_there(box: Box) -> None:
    box.write(box.target(SCHEMA), inserts(FIRST, "id"))
    target = box.target(SCHEMA, existing_only=True)
    result = box.write(target, inserts(people((1, "Ann"), (8, "x")), "id"))
    assert (counts(result), result.rows) == ({"updated": 1, "not_found": 1}, 2)
    assert rows(box) == [(1, "Ann"), (2, "bob")]


def test_keys_of_every_type_that_a_key_may_have_are_found(box: Box) -> None:
    import datetime
    from decimal import Decimal

    table = pa.table(
        {
            "n": pa.array([2**64 - 1, 0], pa.uint64()),
            "s": pa.array(['it\'s \\ "x"', "ü%s"], pa.string()),
            "d": pa.array([datetime.date(2026, 1, 2)] * 2, pa.date32()),
            "w": pa.array([datetime.datetime(2026, 1, 2, 3, 4, 5, 600), datetime.datetime(1, 1, 1)], pa.timestamp("us")),
            "b": pa.array([True, False]),
            "i": pa.array([-128, 127], pa.int8()),
            "v": pa.array([Decimal("1.50"), Decimal("-0.01")], pa.decimal128(10, 2)),
        }
    )
    key = ("n", "s", "d", "w", "b", "i")
    target = box.target(schema_of(table, *key), conflict_mode="ignore")
    assert counts(box.write(target, inserts(table, *key))) == {"inserted": 2}
    assert counts(box.write(target, inserts(table, *key))) == {"ignored": 2}
    assert len(rows(box, order="n")) == 2


def test_soft_deletes_mark_and_a_later_insert_is_a_new_life(box: Box) -> None:
    table = pa.table({"id": [1, 2], "s": ["a", "b"]})
    schema = schema_of(table, "id")
    target = box.target(schema, delete_mode="soft", soft_delete_column="gone")
    box.write(target, inserts(table, "id"))
    assert rows(box) == [(1, "a", 0), (2, "b", 0)]
    gone = changes(table, "-D -D", "id")
    assert counts(box.write(target, gone)) == {"deleted": 2}
    assert counts(box.write(target, gone)) == {"not_found": 2}
    back = ChangeBatch.of(schema, pa.table({"id": [1], "s": [None]}, schema=schema.arrow()), RowKind.INSERT)
    box.write(target, back)
    assert rows(box) == [(1, None, 0), (2, "b", 1)]


def test_the_rebirth_of_a_marked_row_takes_nothing_of_the_old_one(box: Box) -> None:
    box.table("id BIGINT, a VARCHAR(5) DEFAULT 'x', b VARCHAR(5) DEFAULT 'y', gone BOOLEAN, mine VARCHAR(5) DEFAULT 'z'")
    box.execute("INSERT INTO t VALUES (1, 'a', 'b', true, 'm'), (2, 'a', 'b', false, 'm')")
    table = pa.table({"id": [1, 2, 3], "a": ["A", "A", "A"], "b": pa.array([None] * 3, pa.string())})
    present = {"b": pa.array([False] * 3)}
    target = box.target(schema_of(table, "id"), delete_mode="soft", soft_delete_column="gone")
    box.write(target, changes(table, "+U +U +U", "id", present=present))
    assert rows(box) == [(1, "A", "y", 0, "z"), (2, "A", "b", 0, "m"), (3, "A", "y", 0, "z")]


def test_a_marked_row_of_columns_that_must_be_filled_can_come_back(box: Box) -> None:
    box.table("id BIGINT, a VARCHAR(5) NOT NULL, gone BOOLEAN NOT NULL, mine VARCHAR(5) DEFAULT 'z'")
    box.execute("INSERT INTO t VALUES (1, 'a', true, 'm')")
    table = pa.table({"id": [1], "a": ["A"]})
    box.write(box.target(schema_of(table, "id"), delete_mode="soft", soft_delete_column="gone"), inserts(table, "id"))
    assert rows(box) == [(1, "A", 0, "z")]


def test_a_marked_row_is_not_there_for_ignore_update_and_existing_only(box: Box) -> None:
    box.table("id BIGINT, a VARCHAR(5), b VARCHAR(5), gone BOOLEAN")
    soft: dict[str, Any] = {"delete_mode": "soft", "soft_delete_column": "gone"}
    table = pa.table({"id": [1, 2], "a": ["A", "A"], "b": ["B", "B"]})
    schema = schema_of(table, "id")
    for options, existing_only, expected in (
        ({"conflict_mode": "ignore"}, False, [(1, "A", "B", 0), (2, "a", "b", 0)]),
        ({"conflict_mode": "update", "columns": ("a",)}, False, [(1, "A", "B", 0), (2, "A", "b", 0)]),
        ({}, True, [(1, "a", "b", 1), (2, "A", "B", 0)]),
    ):
        box.execute("TRUNCATE TABLE t", "INSERT INTO t VALUES (1, 'a', 'b', true), (2, 'a', 'b', false)")
        target = box.target(schema, existing_only=existing_only, **soft, **options)
        box.write(target, inserts(table, "id"))
        assert rows(box) == expected, options


def test_deletes_can_be_ignored_and_key_changes_then_leave_the_old_row(either: Box) -> None:
    target = either.target(SCHEMA, delete_mode="ignore")
    either.write(target, inserts(FIRST, "id"))
    either.write(target, changes(people((1, "ann"), (2, "bob"), (7, "bob")), "-D -U +U", "id"))
    assert rows(either) == [(1, "ann"), (2, "bob"), (7, "bob")]


# Versions


def versioned(*rows: tuple[int, int, str]) -> pa.Table:
    return pa.table({name: [row[at] for row in rows] for at, name in enumerate(("id", "v", "s"))})


def test_an_older_version_is_passed_over_an_equal_or_newer_one_written_and_deletes_ask_none(box: Box) -> None:
    first = versioned((1, 5, "old"), (2, 5, "old"), (3, 5, "old"), (4, 5, "old"), (5, 5, "old"))
    target = box.target(schema_of(first, "id"), version_column="v")
    box.write(target, inserts(first, "id"))
    later = versioned((1, 4, "new"), (2, 5, "new"), (3, 6, "new"), (4, 1, "gone"), (5, 5, "old"), (5, 1, "reborn"))
    result = box.write(target, changes(later, "+U +U +U -D -D +I", "id"))
    assert rows(box) == [(1, 5, "old"), (2, 5, "new"), (3, 6, "new"), (5, 1, "reborn")]
    assert result.ignored is None, "StarRocks doesn't tell which rows it passed over"


def test_a_version_column_goes_by_v1_and_is_refused_where_v2_is_demanded(box: Box) -> None:
    table = versioned((1, 5, "x"))
    box.prepare(box.target(schema_of(table, "id")))
    target = box.target(schema_of(table, "id"), version_column="v")
    assert "each chunk a load of its own" in box.sink.inspect(target).strategy
    box.reopen(sink_version="V2")
    with pytest.raises(ConfigError, match=r"conditional update.*\(V1\).*sink_version='AUTO'"):
        box.prepare(target)
    soft = box.target(schema_of(table, "id"), version_column="v", delete_mode="soft", soft_delete_column="gone")
    box.reopen()
    with pytest.raises(ConfigError, match="marked as deleted"):
        box.prepare(soft)


# The two interfaces, formats, compression


def test_csv_with_enclose_goes_by_v1_and_is_refused_where_v2_is_demanded(box: Box) -> None:
    properties = {"format": "csv", "enclose": '"', "escape": "\\", "column_separator": ","}
    target = box.target(SCHEMA, properties=properties)
    box.prepare(target)
    tricky = people((1, 'a,"b"\n\\'), (2, None), (3, ""))
    box.write(target, inserts(tricky, "id"))
    assert rows(box) == [(1, 'a,"b"\n\\'), (2, None), (3, "")]
    box.reopen(sink_version="V2")
    with pytest.raises(ConfigError, match=r"doesn't read enclose, escape.*sink_version='AUTO'"):
        box.prepare(target)


@pytest.mark.parametrize("separators", [("\\x01", "\\x02"), ("0x01", "\\n"), ("||", "\\r\\n")])
def test_csv_takes_any_separators(either: Box, separators: tuple[str, str]) -> None:
    either.reopen(format="csv", column_separator=separators[0], row_delimiter=separators[1])
    target = either.target(SCHEMA)
    either.write(target, inserts(people((1, "a,b"), (2, None), (3, "")), "id"))
    assert rows(either) == [(1, "a,b"), (2, None), (3, "")]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "lz4_frame", "auto"])
@pytest.mark.parametrize("format", ["json", "csv"])
def test_bodies_are_compressed(box: Box, compression: str, format: str) -> None:
    box.reopen(compression=compression, format=format)
    many = people(*((number, "x" * 50) for number in range(500)))
    result = box.write(box.target(SCHEMA), inserts(many, "id"))
    assert box.query("SELECT COUNT(*), MIN(name) FROM t") == [(500, "x" * 50)]
    assert result.bytes < 500 * 30


def test_v2_on_demand_loads_alone_what_has_to_be_seen_by_the_next(box: Box) -> None:
    box.reopen(sink_version="V2")
    target = box.target(SCHEMA, conflict_mode="ignore")
    box.write(target, inserts(FIRST, "id"), inserts(people((1, "other"), (3, "cid")), "id"))
    assert rows(box) == [(1, "ann"), (2, "bob"), (3, "cid")]


def test_strategy_tells_how_the_window_goes_in(box: Box, multi: Box) -> None:
    target = box.target(SCHEMA)
    assert "a transaction for each table, committed together" in box.sink.inspect(target).strategy
    assert "one transaction for all tables" in multi.sink.inspect(target).strategy
    assert "each chunk a load of its own" in box.open(sink_version="V1").inspect(target).strategy
    with pytest.raises(ConfigError, match=r"StarRocks 4\.0.*multi_table='auto'"):
        box.open(multi_table="on").inspect(target)


@pytest.mark.parametrize("database", ["box", "multi"])
def test_two_tables_of_a_load_are_written_together_or_not_at_all(request: pytest.FixtureRequest, database: str) -> None:
    box: Box = request.getfixturevalue(database)
    one, two = box.target(SCHEMA, "one"), box.target(SCHEMA, "two")
    box.prepare(one)
    box.prepare(two)
    for give_up in (True, False):
        load = box.begin(one, two)
        load.write(one, inserts(FIRST, "id"))
        load.write(two, inserts(FIRST, "id"))
        load.write(one, changes(FIRST, "-D +U", "id"))
        assert rows(box, "one") == rows(box, "two") == []
        if give_up:
            load.abort()
        else:
            load.commit([])
    assert (rows(box, "one"), rows(box, "two")) == ([(2, "bob")], [(1, "ann"), (2, "bob")])
    assert len(box.states()) == (4 if database == "box" else 2)


def test_batches_with_fewer_columns_are_merged_beside_full_ones(either: Box) -> None:
    """A schema change ends a batch: older changes of the same window have fewer columns."""
    wide = pa.table({"id": [1, 2], "name": ["a", "b"], "extra": ["x", "y"]})
    target = either.target(schema_of(wide, "id"))
    either.write(target, inserts(wide, "id"), inserts(people((1, "A"), (3, "c")), "id"), inserts(wide.slice(1), "id"))
    assert rows(either) == [(1, "A", "x"), (2, "b", "y"), (3, "c", None)]


def test_loads_of_one_sink_follow_what_the_table_has_become(either: Box) -> None:
    target = either.target(SCHEMA)
    either.table("id BIGINT, name VARCHAR(20)")
    either.write(target, inserts(FIRST, "id"))
    either.execute("ALTER TABLE t MODIFY COLUMN name VARCHAR(2000)")
    long = "x" * 1500
    either.write(target, changes(people((1, long)), "+U", "id"))
    assert rows(either)[0] == (1, long)


def test_columns_that_the_table_lacks_are_said_before_anything_is_sent(either: Box) -> None:
    either.write(either.target(SCHEMA), inserts(FIRST, "id"))
    wider = FIRST.append_column("age", pa.array([1, 2]))
    target = either.target(schema_of(wider, "id"))
    load = either.begin(target)
    with pytest.raises(SchemaError, match="age"):
        load.write(target, inserts(wider, "id"))
    load.abort()
    assert rows(either) == [(1, "ann"), (2, "bob")]


def test_a_refused_value_names_column_and_table_but_not_the_value_and_nothing_of_the_window_stays(either: Box) -> None:
    either.table("id BIGINT, name VARCHAR(3)")
    target = either.target(SCHEMA)
    load = either.begin(target)
    with pytest.raises(RowRefused, match=r"warehouse.*table .*t\b.*name") as caught:
        load.write(target, inserts(people((1, "ok"), (2, "geheim")), "id"))
    load.abort()
    assert caught.value.column == "name"
    assert "geheim" not in str(caught.value)
    assert rows(either) == []


# Other models


@pytest.mark.parametrize("model", ["DUPLICATE", "UNIQUE", "AGGREGATE"])
@pytest.mark.parametrize("delete_mode", ["apply", "ignore"])
def test_updates_and_deletes_of_other_models_are_refused_at_plan_time(box: Box, model: str, delete_mode: str) -> None:
    value = "name VARCHAR(20) REPLACE" if model == "AGGREGATE" else "name VARCHAR(20)"
    box.table(f"id BIGINT, {value}", f"{model} KEY(id) DISTRIBUTED BY HASH(id)")
    with pytest.raises(ConfigError, match=r"no deletes.*write_mode='append'"):
        box.prepare(box.target(SCHEMA, delete_mode=delete_mode))
    if delete_mode == "apply":
        target = box.target(SCHEMA, write_mode="append")
        box.prepare(target)
        load = box.begin(target)
        with pytest.raises(Exception, match="other than inserts"):
            load.write(target, changes(FIRST, "+I -D", "id"))
        load.abort()
        assert rows(box) == []


def test_append_keeps_what_each_model_keeps(either: Box) -> None:
    either.table("id BIGINT, name VARCHAR(20)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "dup")
    either.table("id BIGINT, name VARCHAR(20)", "UNIQUE KEY(id) DISTRIBUTED BY HASH(id)", "uniq")
    either.table("id BIGINT, n BIGINT SUM DEFAULT '0'", "AGGREGATE KEY(id) DISTRIBUTED BY HASH(id)", "agg")
    twice = people((1, "a"), (1, "b"), (1, "a"), (2, "c"))
    for table in ("dup", "uniq"):
        either.write(either.target(schema_of(twice), table, write_mode="append"), inserts(twice))
    numbers = pa.table({"id": [1, 1, 1, 2], "n": [5, 5, 5, 1]})
    either.write(either.target(schema_of(numbers), "agg", write_mode="append"), inserts(numbers))
    assert rows(either, "dup", "id, name") == [(1, "a"), (1, "a"), (1, "b"), (2, "c")]
    assert rows(either, "uniq") == [(1, "a"), (2, "c")]
    assert rows(either, "agg") == [(1, 15), (2, 1)]


def test_append_stores_every_change_with_its_kind_and_deletes_can_be_left_out(either: Box) -> None:
    target = either.target(SCHEMA, write_mode="append", op_column="op")
    log = changes(people((1, "a"), (1, "a"), (1, "b"), (1, "b")), "+I -U +U -D", "id")
    result = either.write(target, log, log)
    assert result.rows == 6, "an update is one change"
    kinds = ["DELETE", "INSERT", "UPDATE_AFTER", "UPDATE_BEFORE"]
    assert [row[0] for row in either.query("SELECT op FROM t ORDER BY op")] == [kind for kind in kinds for _ in range(2)]
    kept = either.target(SCHEMA, write_mode="append", op_column="op", delete_mode="ignore")
    assert either.write(kept, log).ignored == 1


# Filtered rows


def test_rows_that_the_server_may_leave_out_are_counted_and_part_of_rows(box: Box) -> None:
    box.table("id BIGINT, n TINYINT NOT NULL")
    table = pa.table({"id": [1, 2, 3, 4], "m": [1, 1000, 3, 4]})
    properties = {"max_filter_ratio": "0.5", "columns": "id,m,n=m"}
    target = box.target(schema_of(table, "id"), properties=properties)
    result = box.write(target, inserts(table, "id"))
    assert (result.rows, result.filtered, result.loads) == (4, 1, 1)
    assert [row[0] for row in rows(box)] == [1, 3, 4]
    with pytest.raises(RowRefused, match=r"3 of 4 rows|filtered"):
        box.write(target, inserts(pa.table({"id": [5, 6, 7, 8], "m": [1, 1000, 1000, 1000]}), "id"))
    assert len(rows(box)) == 3
