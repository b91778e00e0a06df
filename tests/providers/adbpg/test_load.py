"""Rows into AnalyticDB PostgreSQL: the statements it is sent, and what they leave in the table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.providers.adbpg.conftest import AdbpgBox, GreenplumBox
from tests.providers.postgres.conftest import changes, inserts, schema_of
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.providers.adbpg.catalog import AdbpgCatalog, AdbpgTable
from tidegate.providers.adbpg.probe import Server
from tidegate.sandbox.adbpg import Adbpg
from tidegate.sync.protocols import Window

pytestmark = pytest.mark.postgres

SHOP = ("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY, name text, extra text DEFAULT 'def')")


def people(*rows: tuple[Any, ...], names: tuple[str, ...] = ("id", "name", "extra")) -> pa.Table:
    return pa.table({name: [row[at] for row in rows] for at, name in enumerate(names)})


def rows(box: AdbpgBox) -> list[tuple[Any, ...]]:
    return box.query("SELECT * FROM ods.t ORDER BY id")


def sent(box: GreenplumBox, *words: str) -> list[str]:
    """What went to the server besides the probe, and mentions one of the words."""
    return [text for text in box.sent if "tidegate_probe" not in text and any(word in text for word in words)]


def test_whole_rows_are_written_by_one_copy_that_meets_rows(box: GreenplumBox) -> None:
    box.execute(*SHOP, "INSERT INTO ods.t VALUES (1, 'old', 'x')")
    batch = inserts(people((1, "new", None), (2, "b", "c")), "id")
    result = box.write(box.target(batch.schema), batch)
    assert rows(box) == [(1, "new", None), (2, "b", "c")]
    assert sent(box, "COPY", "INSERT") == ['COPY "ods"."t" ("id", "name", "extra") FROM STDIN WITH CSV DO ON CONFLICT DO UPDATE']
    assert (result.rows, result.inserted, result.updated, result.ignored, result.loads) == (2, None, None, 0, 1)


def test_rows_that_are_there_are_kept_by_one_copy(box: GreenplumBox) -> None:
    box.execute(*SHOP, "INSERT INTO ods.t VALUES (1, 'old', 'x')")
    batch = inserts(people((1, "new", None), (2, "b", "c")), "id")
    result = box.write(box.target(batch.schema, conflict_mode="ignore"), batch)
    assert rows(box) == [(1, "old", "x"), (2, "b", "c")]
    assert sent(box, "COPY", "INSERT")[0].endswith("DO ON CONFLICT DO NOTHING")
    assert (result.inserted, result.updated, result.ignored) == (None, 0, None)


def test_a_column_that_the_source_lacks_is_never_overwritten(box: GreenplumBox) -> None:
    box.execute(*SHOP, "INSERT INTO ods.t VALUES (1, 'old', 'keep')")
    batch = inserts(people((1, "new"), (2, "b"), names=("id", "name")), "id")
    result = box.write(box.target(batch.schema), batch)
    assert rows(box) == [(1, "new", "keep"), (2, "b", "def")]
    assert not sent(box, "DO ON CONFLICT")
    assert (result.inserted, result.updated) == (1, 1)


def test_rows_that_leave_out_columns_are_staged_beside_whole_ones(box: GreenplumBox) -> None:
    box.execute(*SHOP, "INSERT INTO ods.t VALUES (1, 'old', 'keep')")
    table = people((1, "new", None), (2, "b", "c"))
    schema = schema_of(table, "id")
    batch = ChangeBatch.of(schema, table, RowKind.INSERT, present={"extra": pa.array([False, True])})
    box.write(box.target(schema), batch)
    assert rows(box) == [(1, "new", "keep"), (2, "b", "c")]
    assert len(sent(box, "DO ON CONFLICT")) == 1
    assert any("INSERT INTO" in text and "ON CONFLICT" in text for text in box.sent)


def test_deletes_go_by_a_staged_key_table_distributed_as_the_target(box: GreenplumBox) -> None:
    box.execute(*SHOP, "INSERT INTO ods.t VALUES (1, 'a', 'b'), (2, 'a', 'b'), (3, 'a', 'b')")
    batch = changes(people((1, None, None), (3, None, None), (7, None, None)), "-D -D -D", "id")
    result = box.write(box.target(batch.schema), batch)
    assert rows(box) == [(2, "a", "b")]
    assert (result.deleted, result.not_found) == (2, 1)
    (stage,) = sent(box, 'tidegate_stage_1" ON COMMIT')
    assert stage.endswith('DISTRIBUTED BY ("id")')
    assert len(sent(box, "DELETE")) == 1


def test_a_changed_distribution_key_outside_the_key_is_deleted_and_inserted(box: GreenplumBox) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint, name text, extra text) DISTRIBUTED BY (name)")
    box.execute("INSERT INTO ods.t VALUES (1, 'here', 'x'), (2, 'stays', 'y')")
    batch = changes(people((1, "here", "x"), (1, "there", "x"), (3, "new", "z")), "-U +U +I", "id")
    result = box.write(box.target(batch.schema), batch)
    assert rows(box) == [(1, "there", "x"), (2, "stays", "y"), (3, "new", "z")]
    assert not sent(box, 'SET "name"', "DO UPDATE")
    assert (result.inserted, result.updated) == (1, 1)


def test_the_distribution_key_is_read_in_its_order_and_keeps_its_type(box: GreenplumBox) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint, name text, extra text) DISTRIBUTED BY (extra, id)")
    session = box.sink.connect()
    catalog = box.sink.dialect(session).catalog
    table = catalog.table(session, TableName("ods", "t"))
    assert isinstance(table, AdbpgTable)
    assert (table.distribution, table.heap) == (("extra", "id"), True)
    assert catalog.users(session, table.name, "extra") == ("its place in the distribution key",)
    assert catalog.users(session, table.name, "name") == ()
    session.close()


def test_tables_of_all_kinds_say_where_their_rows_lie(box: GreenplumBox) -> None:
    box.sink.ledger.setup()
    table = people((1, "a", "b"))
    for target in (box.target(schema_of(table, "id"), "new.keyed"), box.target(schema_of(table), "new.log", write_mode="append")):
        box.write(target, inserts(table, *target.key))
    created = {
        text.split("(")[0].split('"')[-2]: text.rpartition(")")[2] or text[text.rindex(" DIS") :]
        for text in sent(box, "CREATE TABLE")
    }
    assert created["log"] == " DISTRIBUTED RANDOMLY"
    assert created["keyed"] == ' DISTRIBUTED BY ("id")'
    assert created["tidegate_lease"] == ' DISTRIBUTED BY ("name")'
    assert created["tidegate_ledger"] == ' DISTRIBUTED BY ("sync", "source_schema", "source_table", "seq")'
    assert all("DISTRIBUTED" in text for text in box.sink.ledger.ddl() if text.startswith("CREATE TABLE"))


def test_a_missing_column_is_added_in_words_of_the_kernel(box: GreenplumBox) -> None:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY)")
    batch = inserts(people((1, "a", "b")), "id")
    box.write(box.target(batch.schema), batch)
    assert rows(box) == [(1, "a", "b")]


def test_a_replacing_copy_over_several_loads_removes_what_the_source_lacks(box: GreenplumBox) -> None:
    box.execute(*SHOP, "INSERT INTO ods.t VALUES (1, 'a', 'b'), (2, 'gone', 'b'), (3, 'a', 'b')")
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    table = people((1, "n", "n"), (3, "n", "n"))
    target = box.target(schema_of(table, "id"))
    for at, after in enumerate((None, ("1",))):
        window = Window({TableName("shop", "t"): SnapshotPosition(BinlogPosition("b.000001", 4, "1"), after)}, None)
        load = box.sink.begin([target], lease, window)
        load.write(target, inserts(table.slice(at, 1), "id"), "replace")
        if at == 1:
            assert load.finish_copy(target) == 1
        load.commit([])
    assert rows(box) == [(1, "n", "n"), (3, "n", "n")]
    assert sum("tidegate_seen" in text for text in sent(box, "CREATE TABLE")) == 1


def test_the_plan_says_the_way_and_what_the_vendor_excludes(box: GreenplumBox) -> None:
    box.execute(*SHOP)
    target = box.target(schema_of(people((1, "a", "b")), "id"))
    assert "COPY … DO ON CONFLICT DO UPDATE" in box.sink.inspect(target).strategy
    box.becomes(Adbpg("7.0.4.0"))
    found = box.sink.inspect(target)
    assert found.strategy == "INSERT … ON CONFLICT"
    assert any("7.0.4.0" in warning for warning in found.warnings)
    assert found.problems == ()


def test_the_catalog_reads_the_same_in_the_words_of_9_4(plain: AdbpgBox) -> None:
    plain.execute(
        "CREATE SCHEMA ods",
        "CREATE TABLE ods.t (id bigint, code char(3) NOT NULL DEFAULT 'x', n numeric(9,2), gone int, PRIMARY KEY (id, code))",
        "ALTER TABLE ods.t DROP COLUMN gone",
        "CREATE UNIQUE INDEX one ON ods.t (n)",
        "CREATE UNIQUE INDEX half ON ods.t (n) WHERE n > 0",
        "CREATE VIEW ods.v AS SELECT n FROM ods.t",
    )
    session = plain.sink.connect()
    name = TableName("ods", "t")
    old, new = AdbpgCatalog(Server((9, 4))), AdbpgCatalog(Server((15, 0)))
    assert old.table(session, name) == new.table(session, name)
    assert old.users(session, name, "n") == new.users(session, name, "n") != ()
    assert old.table(session, TableName("ods", "none")) is None
    session.close()


def test_a_sink_on_plain_postgresql_counts_without_xmax(plain: AdbpgBox) -> None:
    plain.execute(*SHOP, "INSERT INTO ods.t VALUES (1, 'old', 'x')")
    batch = inserts(people((1, "new", "x"), (2, "b", "c")), "id")
    result = plain.write(plain.target(batch.schema), batch)
    assert (result.inserted, result.updated) == (1, 1)
