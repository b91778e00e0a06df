"""Changes from the binlog: all of them, once, in order, cut where transactions end."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.mysql.reading import Database, apply, batches, changes, copy_chunks, events, rows
from tests.servers import MySqlServer, running, start_mariadb, wait_until
from tidegate.changes.batch import Chunk, TableEvent
from tidegate.changes.position import BinlogPosition, Position
from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused, PositionLost, SchemaError, Unavailable
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql


def write_more_than_sockets_hold(db: Database) -> None:
    """Else the server has sent everything, and is done, before anybody interferes."""
    db.execute(*(f"INSERT INTO t VALUES ({k}, REPEAT('x', 1000000))" for k in range(20)))


def kinds_and_keys(chunks: list[Chunk], table: TableName | None = None) -> list[tuple[str, Any]]:
    return [event[:2] for event in events(chunks, table)]


def test_all_kinds_arrive_in_order_with_both_images_and_where_they_stand(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(9))")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "UPDATE t SET v = 'c'", "UPDATE t SET k = 9 WHERE k = 2", "DELETE FROM t")
    chunks = changes(source, {db.table("t"): begin})
    assert events(chunks) == [
        ("+I", 1, "a"),
        ("+I", 2, "b"),
        ("-U", 1, "a"),
        ("+U", 1, "c"),
        ("-U", 2, "b"),
        ("+U", 2, "c"),
        ("-U", 2, "c"),
        ("+U", 9, "c"),
        ("-D", 1, "c"),
        ("-D", 9, "c"),
    ]
    hidden = chunks[0].batches[0].data
    assert set(hidden.column("__tidegate_file").to_pylist()) == {begin.file}
    places = list(zip(hidden.column("__tidegate_offset").to_pylist(), hidden.column("__tidegate_row").to_pylist(), strict=True))
    assert places == sorted(set(places))
    assert places[0][0] > begin.offset
    assert hidden.column("__tidegate_time").null_count == 0


def test_the_last_chunk_ends_at_the_head_though_nothing_of_the_table_changed(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "CREATE TABLE other (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO other VALUES (1)")
    head = source.head()
    (chunk,) = source.read(Window({db.table("t"): begin}, head), Limits())
    assert (chunk.batches, chunk.end) == ((), head)
    (again,) = source.read(Window({db.table("t"): head}, head), Limits())
    assert (again.batches, again.end) == ((), head)
    assert source.lag_seconds() == 0.0


def test_changes_after_the_head_wait_for_the_next_window(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source, table = db.source(), db.table("t")
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1)")
    head = source.head()
    db.execute("INSERT INTO t VALUES (2)")
    assert kinds_and_keys(list(source.read(Window({table: begin}, head), Limits()))) == [("+I", 1)]
    lag = source.lag_seconds()
    assert lag is not None
    assert lag > 0
    assert kinds_and_keys(changes(source, {table: head})) == [("+I", 2)]


def test_each_table_gets_what_comes_after_its_own_position(db: Database) -> None:
    one, two = db.table("one"), db.table("two")
    db.execute("CREATE TABLE one (k INT PRIMARY KEY)", "CREATE TABLE two (k INT PRIMARY KEY)")
    source = db.source()
    first = source.head()
    db.execute("INSERT INTO one VALUES (1)", "INSERT INTO two VALUES (1)")
    second = source.head()
    db.execute("INSERT INTO one VALUES (2)", "INSERT INTO two VALUES (2)")
    chunks = changes(source, {one: second, two: first})
    assert kinds_and_keys(chunks, one) == [("+I", 2)]
    assert kinds_and_keys(chunks, two) == [("+I", 1), ("+I", 2)]


@pytest.mark.parametrize("limit", [2, 3, 10])
def test_chunks_end_between_transactions_and_every_end_is_a_place_to_go_on_from(db: Database, limit: int) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)")
    source = db.source()
    begin: Position = source.head()
    connection = db.server.connect(database=db.name, autocommit=False)
    with connection.cursor() as cursor:
        for transaction in range(8):
            for row in range(3):
                cursor.execute("INSERT INTO t VALUES (%s, 0)", (transaction * 3 + row,))
            connection.commit()
    connection.close()
    head = source.head()
    window = Window({table: begin}, head)
    chunks = list(source.read(window, Limits(rows=limit)))
    assert [key for _, key in kinds_and_keys(chunks)] == list(range(24))
    assert all(chunk.num_rows % 3 == 0 for chunk in chunks)
    assert [chunk.num_rows for chunk in chunks] == [chunk.num_rows for chunk in source.read(window, Limits(rows=limit))]
    assert [chunk.end for chunk in chunks] == [chunk.end for chunk in source.read(window, Limits(rows=limit))]
    done = 0
    for chunk in chunks:
        done += chunk.num_rows
        assert chunk.end is not None
        rest = list(source.read(Window({table: chunk.end}, head), Limits()))
        assert [key for _, key in kinds_and_keys(rest)] == list(range(done, 24))


def test_a_transaction_beyond_the_limits_comes_in_chunks_that_nothing_may_be_recorded_at(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(100))")
    source = db.source()
    begin = source.head()
    connection = db.server.connect(database=db.name, autocommit=False)
    with connection.cursor() as cursor:
        for start in range(0, 2000, 100):
            cursor.execute("INSERT INTO t VALUES " + ", ".join(f"({k}, REPEAT('x', 100))" for k in range(start, start + 100)))
    connection.commit()
    connection.close()
    chunks = changes(source, {table: begin}, Limits(rows=100))
    assert [key for _, key in kinds_and_keys(chunks)] == list(range(2000))
    assert len(chunks) > 3
    assert all(chunk.end is None for chunk in chunks[:-1])
    assert max(chunk.num_rows for chunk in chunks) <= 2 * 100 + 200


def test_reading_goes_on_over_files_of_the_log(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    for key in range(3):
        db.execute(f"INSERT INTO t VALUES ({key})", "FLUSH BINARY LOGS")
    head = source.head()
    assert head.sequence == begin.sequence + 3
    assert head.fingerprint != begin.fingerprint or head.file != begin.file
    chunks = list(source.read(Window({db.table("t"): begin}, head), Limits(rows=1)))
    assert kinds_and_keys(chunks) == [("+I", 0), ("+I", 1), ("+I", 2)]
    assert len(chunks) == 4
    for number, chunk in enumerate(chunks[:-1]):
        assert isinstance(chunk.end, BinlogPosition)
        assert chunk.end.fingerprint
        assert [key for _, key in kinds_and_keys(changes(source, {db.table("t"): chunk.end}))] == [0, 1, 2][number + 1 :]


def test_a_table_named_without_database_is_that_of_the_connection(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    source, table = db.source(database=db.name), TableName("", "t")
    chunks = copy_chunks(source, table)
    low = chunks[-1].end
    assert isinstance(low, BinlogPosition)
    db.execute("INSERT INTO t VALUES (2)")
    followed = changes(source, {table: low})
    assert {batch.schema.table for batch in batches([*chunks, *followed])} == {table}
    assert rows([*chunks, *followed]).column("k").to_pylist() == [1, 2]


def test_tables_of_the_same_name_in_other_databases_are_left_alone(db: Database) -> None:
    other = f"{db.name}_other"
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", f"CREATE DATABASE {other}", f"CREATE TABLE {other}.t (x TEXT)")
    source = db.source()
    begin = source.head()
    db.execute(f"INSERT INTO {other}.t VALUES ('x')", f"TRUNCATE {other}.t", f"DROP DATABASE {other}", "INSERT INTO t VALUES (1)")
    assert kinds_and_keys(changes(source, {db.table("t"): begin})) == [("+I", 1)]


def test_savepoints_leave_what_was_committed(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "CREATE TABLE plain (k INT) ENGINE=MyISAM")
    source = db.source()
    begin = source.head()
    connection = db.server.connect(database=db.name, autocommit=False)
    with connection.cursor() as cursor:
        for statement in (
            "INSERT INTO t VALUES (1)",
            "SAVEPOINT s",
            "INSERT INTO t VALUES (2)",
            "ROLLBACK TO s",
            "INSERT INTO t VALUES (3)",
        ):
            cursor.execute(statement)
        connection.commit()
        cursor.execute("INSERT INTO t VALUES (4)")
        connection.rollback()
    connection.close()
    assert kinds_and_keys(changes(source, {db.table("t"): begin})) == [("+I", 1), ("+I", 3)]


def test_tables_without_transactions_are_followed(maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY) ENGINE=MyISAM")
    source = maria.source()
    begin = source.head()
    maria.execute("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    assert kinds_and_keys(changes(source, {maria.table("t"): begin}, Limits(rows=1))) == [("+I", 1), ("+I", 2)]


def test_a_table_without_key_is_followed(db: Database) -> None:
    db.execute("CREATE TABLE t (v INT)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1), (1)", "DELETE FROM t LIMIT 1")
    assert kinds_and_keys(changes(source, {db.table("t"): begin})) == [("+I", 1), ("+I", 1), ("-D", 1)]


HAPPENS: dict[str, tuple[tuple[str, ...], list[tuple[str, str]]]] = {
    "statement format": (
        ("SET SESSION binlog_format = STATEMENT", "INSERT INTO t VALUES (5, 5)"),
        [("broken", "INSERT.*binlog_format=ROW")],
    ),
    "truncate": (("TRUNCATE TABLE t",), [("truncated", "TRUNCATE")]),
    "drop": (("DROP TABLE t", "CREATE TABLE t (k INT PRIMARY KEY, v INT)"), [("broken", "DROP TABLE")]),
    "rename": (("RENAME TABLE t TO t2, t2 TO t",), [("broken", "RENAME TABLE")]),
    "wider": (("ALTER TABLE t MODIFY v BIGINT",), [("altered", "widens v")]),
    "another type": (("ALTER TABLE t MODIFY v VARCHAR(9)",), [("broken", "ALTER TABLE")]),
    "drop column": (("ALTER TABLE t DROP COLUMN v",), [("altered", "drops v")]),
    "rename column": (("ALTER TABLE t CHANGE v w INT",), [("broken", "v is renamed to w")]),
    "default for old rows": (("ALTER TABLE t ADD w INT NOT NULL DEFAULT 5",), [("column_added", "adds w")]),
    "numbers for old rows": (("ALTER TABLE t ADD w SERIAL",), [("broken", "ALTER TABLE")]),
    "a timestamp that is not null unless it says so": (("ALTER TABLE t ADD w TIMESTAMP",), [("broken", "ALTER TABLE")]),
    "an index": (("ALTER TABLE t ADD INDEX (v)",), []),
}


def happened(chunks: Sequence[Chunk]) -> list[TableEvent]:
    return [part for chunk in chunks for part in chunk.parts if isinstance(part, TableEvent)]


@pytest.mark.parametrize("case", HAPPENS)
def test_what_happens_to_a_whole_table_is_told_with_its_place_and_begins_a_chunk(db: Database, case: str) -> None:
    statements, expected = HAPPENS[case]
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    source, table = db.source(), db.table("t")
    begin, schema = source.head(), source.schema(table)
    db.execute("INSERT INTO t VALUES (2, 2)", *statements)
    chunks = list(source.read(Window({table: begin}, source.head(), {table: schema}), Limits()))
    events = happened(chunks)
    assert [event.kind for event in events] == [kind for kind, _ in expected]
    for event, (_, words) in zip(events, expected, strict=True):
        assert event.table == table
        assert re.search(words, event.what)
        assert event.position.startswith(begin.file + ":")
    if events:
        assert [[isinstance(part, TableEvent) for part in chunk.parts] for chunk in chunks[:2]] == [[False], [True]]
        assert chunks[0].end is None
    if [kind for kind, _ in expected] == ["column_added"]:
        assert events[0].value == pa.scalar(5, pa.int32())
    if "broken" not in [event.kind for event in events]:
        assert chunks[-1].schemas[table] == source.schema(table)
    # A table that already stands behind the event isn't disturbed by it.
    assert happened(changes(source, {table: source.head()})) == []


def test_an_image_that_leaves_columns_out_stops_the_run_and_names_table_position_and_setting(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    source, table = db.source(), db.table("t")
    begin = source.head()
    db.execute("SET SESSION binlog_row_image = MINIMAL", "UPDATE t SET v = 2 WHERE k = 1")
    with pytest.raises(EventRefused, match="binlog_row_image=FULL") as caught:
        changes(source, {table: begin})
    assert caught.value.table == str(table)
    assert caught.value.connection == "shop_mysql"
    assert caught.value.position is not None
    assert caught.value.position.startswith(begin.file + ":")


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SET STATEMENT max_statement_time = 5 FOR TRUNCATE TABLE t", "truncated"),
        ("SET STATEMENT lock_wait_timeout = 5, sql_mode = 'ANSI' FOR ALTER TABLE t DROP COLUMN v", "altered"),
        ("ANALYZE FORMAT = JSON DELETE FROM t", "broken"),
    ],
)
def test_what_mariadb_lets_stand_before_a_statement_does_not_hide_it(maria: Database, statement: str, kind: str) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
    source, table = maria.source(), maria.table("t")
    begin, schema = source.head(), source.schema(table)
    maria.execute("SET SESSION binlog_format = STATEMENT", statement)
    chunks = list(source.read(Window({table: begin}, source.head(), {table: schema}), Limits()))
    assert [event.kind for event in happened(chunks)] == [kind]


def test_a_statement_finds_the_table_whose_name_has_a_backtick(db: Database) -> None:
    db.execute("CREATE TABLE `a``b` (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute("TRUNCATE `a``b`")
    assert [event.kind for event in happened(changes(source, {db.table("a`b"): begin}))] == ["truncated"]


@pytest.mark.parametrize("charset", ["binary", "swe7", "hp8"])
def test_a_client_whose_character_set_python_does_not_know_does_not_disturb(db: Database, charset: str) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute(f"SET NAMES {charset}", "CREATE TABLE other (k INT)", "INSERT INTO t VALUES (1)")
    assert kinds_and_keys(changes(source, {db.table("t"): begin})) == [("+I", 1)]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX i ON t (v)",
        "ALTER TABLE t COMMENT = 'TRUNCATE t'",
        "ALTER TABLE t ADD INDEX i (v)",
        "ANALYZE TABLE t",
        "CREATE TABLE t2 LIKE t",
        "CREATE TABLE t_old (k INT)",
        "CREATE OR REPLACE VIEW t_view AS SELECT * FROM t",
    ],
)
def test_statements_that_leave_rows_and_columns_alone_do_not_disturb(db: Database, statement: str) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1, 1)", statement, "DROP TABLE IF EXISTS t_old, t2", "INSERT INTO t VALUES (2, 2)")
    assert kinds_and_keys(changes(source, {db.table("t"): begin})) == [("+I", 1), ("+I", 2)]


def test_a_new_column_begins_a_batch_of_its_own_schema(maria: Database) -> None:
    table = maria.table("t")
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)")
    source = maria.source()
    begin = source.head()
    maria.execute("INSERT INTO t VALUES (1, 1)", "ALTER TABLE t ADD w VARCHAR(5) FIRST", "INSERT INTO t VALUES ('x', 2, 2)")
    first, second = batches(changes(source, {table: begin}))
    assert (first.schema.names, first.rows.to_pylist()) == (("k", "v"), [{"k": 1, "v": 1}])
    assert (second.schema.names, second.rows.to_pylist()) == (("w", "k", "v"), [{"w": "x", "k": 2, "v": 2}])
    assert second.schema == source.schema(table)


def test_columns_that_are_gone_now_are_read_by_what_the_log_says_of_them(maria: Database) -> None:
    """The window ends before the ALTER: what comes after it is no concern of these rows."""
    table = maria.table("t")
    maria.execute(
        "CREATE TABLE t (k INT PRIMARY KEY, a BIGINT UNSIGNED, b ENUM('x', 'y') CHARACTER SET latin1, c VARCHAR(9), d BLOB, e YEAR)"
    )
    source = maria.source()
    begin = source.head()
    maria.execute("INSERT INTO t VALUES (1, 18446744073709551615, 'y', 'é', x'ff', 2024)")
    head = source.head()
    before = source.schema(table)
    maria.execute("ALTER TABLE t DROP a, DROP b, DROP d, MODIFY c VARCHAR(20) CHARACTER SET latin1, DROP e")
    (batch,) = batches(list(source.read(Window({table: begin}, head), Limits())))
    assert batch.rows.to_pylist() == [{"k": 1, "a": 2**64 - 1, "b": "y", "c": "é", "d": b"\xff", "e": 2024}]
    assert [column.type for column in batch.schema.columns] == [column.type for column in before.columns]
    assert dict(batch.schema.column("b").attributes)["labels"] == '["x", "y"]'


def test_without_metadata_rows_are_read_with_the_columns_that_the_ledger_has(old: Database) -> None:
    table = old.table("t")
    old.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)")
    source = old.source()
    begin, schema = source.head(), source.schema(table)
    old.execute("INSERT INTO t VALUES (1, 1)", "ALTER TABLE t ADD w INT FIRST", "INSERT INTO t VALUES (3, 2, 1)")
    chunks = list(source.read(Window({table: begin}, source.head(), {table: schema}), Limits()))
    assert events(chunks) == [("+I", 1, 1), ("+I", 3, 2, 1)]
    assert chunks[-1].schemas[table] == source.schema(table)


def test_without_metadata_and_without_the_columns_of_then_the_run_stops(old: Database) -> None:
    table = old.table("t")
    old.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)")
    source = old.source()
    begin = source.head()
    old.execute("INSERT INTO t VALUES (1, 1)")
    head = source.head()
    old.execute("ALTER TABLE t ADD w INT")
    with pytest.raises(SchemaError, match="2 columns here, the table now has 3") as caught:
        list(source.read(Window({table: begin}, head), Limits()))
    assert caught.value.setting == "binlog_row_metadata=FULL"
    old.execute("INSERT INTO t VALUES (2, 2, 2)")
    assert [event.kind for event in happened(changes(source, {table: head}))] == ["broken", "unreadable"]


def test_without_metadata_a_change_of_type_stops_the_run(old: Database) -> None:
    table = old.table("t")
    old.execute("CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(9))")
    source = old.source()
    begin = source.head()
    old.execute("INSERT INTO t VALUES (1, 'x')")
    head = source.head()
    old.execute("ALTER TABLE t MODIFY v VARCHAR(10)")
    with pytest.raises(SchemaError, match="column v has another type here than now"):
        list(source.read(Window({table: begin}, head), Limits()))


def test_xa_transactions_that_change_the_table_are_refused_when_prepared_and_others_ignored(maria: Database) -> None:
    table = maria.table("t")
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY)", "CREATE TABLE other (k INT PRIMARY KEY)")
    source = maria.source()
    begin = source.head()

    def run(*statements: str) -> None:
        maria.execute(*statements)

    run("XA START 'a'", "INSERT INTO other VALUES (1)", "XA END 'a'", "XA PREPARE 'a'", "XA COMMIT 'a'")
    run("XA START 'b'", "INSERT INTO t VALUES (1)", "XA END 'b'", "XA COMMIT 'b' ONE PHASE")
    assert kinds_and_keys(changes(source, {table: begin})) == [("+I", 1)]
    head = source.head()
    run("XA START 'c'", "INSERT INTO t VALUES (2)", "XA END 'c'", "XA PREPARE 'c'", "XA COMMIT 'c'")
    with pytest.raises(EventRefused, match="XA PREPARE"):
        changes(source, {table: head})


@pytest.mark.parametrize(
    "options",
    [
        ("--log-bin-compress=ON", "--log-bin-compress-min-len=10"),
        ("--binlog-checksum=NONE",),
        ("--binlog-row-metadata=NO_LOG",),
        ("--binlog-row-metadata=MINIMAL",),
        ("--mysql56-temporal-format=OFF", "--binlog-row-metadata=NO_LOG"),
        ("--lower-case-table-names=1",),
    ],
    ids=lambda options: options[0],
)
def test_servers_that_write_their_log_otherwise_give_the_same_rows(options: tuple[str, ...]) -> None:
    with running(start_mariadb, *options) as server:
        server.execute("CREATE DATABASE shop")
        db = Database(server, "shop")
        db.execute(
            "CREATE TABLE t (k INT PRIMARY KEY, v TEXT, u BIGINT UNSIGNED, l VARCHAR(20) CHARACTER SET latin1, d DATETIME, "
            "ts TIMESTAMP, tm TIME, e ENUM('a', 'ü'), s SET('x', 'y'), g POINT, j JSON, b BINARY(3))"
        )
        source = db.source()
        begin = source.head()
        long = "x" * 3000
        db.execute(
            f"INSERT INTO t VALUES (1, '{long}', 18446744073709551615, 'é', '2024-01-02 03:04:05', '2024-01-02 03:04:05', "
            "'-01:02:03', 'ü', 'x,y', POINT(1, 2), '{\"a\": 1}', x'6100')",
            "FLUSH BINARY LOGS",
            f"UPDATE t SET v = '{long}y', tm = '99:00:00'",
        )
        state: dict[tuple[Any, ...], dict[str, Any]] = {}
        apply(state, changes(source, {db.table("t"): begin}))
        assert list(state.values()) == rows(copy_chunks(source, db.table("t"))).to_pylist()
        source.close()


def test_virtual_and_invisible_columns_are_columns_like_others(maria: Database) -> None:
    maria.execute(
        "CREATE TABLE t (k INT PRIMARY KEY, v INT INVISIBLE DEFAULT 3, w INT AS (k + 1) VIRTUAL, x INT AS (k + 2) STORED)"
    )
    source = maria.source()
    begin = source.head()
    maria.execute("INSERT INTO t (k) VALUES (1)", "UPDATE t SET k = 5")
    copied = rows(copy_chunks(source, maria.table("t"))).to_pylist()
    assert copied == [{"k": 5, "v": 3, "w": 6, "x": 7}]
    state: dict[tuple[Any, ...], dict[str, Any]] = {}
    apply(state, changes(source, {maria.table("t"): begin}))
    assert list(state.values()) == copied


def test_a_connection_that_drops_is_never_taken_for_the_end(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v LONGTEXT)")
    source = db.source()
    begin = source.head()
    write_more_than_sockets_hold(db)
    reading = source.read(Window({table: begin}, source.head()), Limits(rows=1))
    assert next(reading).num_rows == 1
    for dump in db.rows("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'"):
        db.execute(f"KILL {dump[0]}")
    with pytest.raises(Unavailable):
        for _ in reading:
            pass


def test_a_log_that_ends_before_the_position_to_reach_is_an_error(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1)")
    head = source.head()
    beyond = BinlogPosition(head.file, head.offset + 1000, head.server, "", head.fingerprint)
    with pytest.raises(Unavailable, match="ended at"):
        list(source.read(Window({table: begin}, beyond), Limits()))


def test_a_position_inside_a_transaction_is_not_where_a_window_ends(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1)")
    head = source.head()
    inside = BinlogPosition(head.file, head.offset - 10, head.server, "", head.fingerprint)
    with pytest.raises(PositionLost, match="inside a transaction"):
        list(source.read(Window({table: begin}, inside), Limits()))


def test_every_event_is_checked_against_its_checksum(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v CHAR(4))")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1, 'good')")
    honest: Callable[..., Any] = Dump.events

    def garbled(dump: Dump, file: str, offset: int) -> Any:
        for event in honest(dump, file, offset):
            yield event.replace(b"good", b"gold")

    monkeypatch.setattr(Dump, "events", garbled)
    with pytest.raises(Unavailable, match="checksum"):
        changes(source, {table: begin})


def dump_threads(db: Database) -> set[int]:
    """The server's threads that send its log to somebody, and have not been told to end."""
    return {number for (number,) in db.rows("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'")}


def test_a_replica_that_is_pushed_out_by_another_of_the_same_id_is_told_so(mariadb: MySqlServer) -> None:
    """It is told from a purged log by what the server still has, not by the number of the error."""
    db = Database(mariadb, "clash")
    mariadb.execute("CREATE DATABASE IF NOT EXISTS clash")
    try:
        db.execute("CREATE TABLE t (k INT PRIMARY KEY, v LONGTEXT)")
        source, table = db.source(server_id=77), db.table("t")
        begin = source.head()
        write_more_than_sockets_hold(db)
        reading = source.read(Window({table: begin}, source.head()), Limits(rows=1))
        next(reading)
        first = dump_threads(db)
        assert first
        other = Dump(source._values, "other", 77)
        # In a thread: the server answers it once the one that it pushes out has ended, which first has to be read from.
        pushing = threading.Thread(target=lambda: next(other.events(begin.file, begin.offset)))
        pushing.start()
        wait_until(lambda: not first & dump_threads(db), "pushing the first replica out")
        with pytest.raises(Unavailable):
            for _ in reading:
                pass
        pushing.join()
        other.close()
    finally:
        db.close()
        mariadb.execute("DROP DATABASE clash")
