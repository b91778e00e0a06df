"""First copies: every row once, in pages that can be resumed, from a position that loses nothing."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from tests.providers.mysql.reading import Database, apply, changes, copy_chunks, one_route, rows
from tests.servers import running, start_mariadb, wait_until
from tidegate.changes.position import BinlogPosition, SnapshotPosition, from_json, to_json
from tidegate.errors import PositionLost, SchemaError, Unavailable
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.select import KeyRange, page_query
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.types import read_table
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql

KEYS = {
    "TINYINT": "(-128), (0), (127)",
    "BIGINT UNSIGNED": "(0), (9223372036854775808), (18446744073709551615)",
    "DECIMAL(65,30)": "(-1.5), (0.000000000000000000000000000001), (99999999999999999999999999999999999.9)",
    "FLOAT": "(-1.1), (0.1), (0.2), (3.4028234e38)",
    "DOUBLE": "(-1.1), (0.1), (0.30000000000000004), (1e300)",
    "BIT(9)": "(0), (5), (511)",
    "DATE": "('0001-01-01'), ('2024-02-29'), ('9999-12-31')",
    "DATETIME(6)": "('0001-01-01 00:00:00.000001'), ('2024-01-01 00:00:00'), ('2024-01-01 00:00:00.000001')",
    "TIMESTAMP(3) DEFAULT 0": "('1970-01-02'), ('2024-03-31 02:30:00.001'), ('2024-03-31 02:30:00.002')",
    "TIME(3)": "('-838:59:59'), ('-00:00:00.5'), ('00:00:00'), ('00:00:00.001'), ('838:59:59')",
    "YEAR": "('0000'), ('1901'), ('2155')",
    "CHAR(4) CHARACTER SET latin1": "(''), ('a'), ('Ä€'), ('z')",
    "VARCHAR(9) COLLATE utf8mb4_general_ci": "('a'), ('B'), ('c '), ('D'), ('é1'), ('E2'), ('\\'\\\\')",
    "VARCHAR(9) COLLATE utf8mb4_bin": "('a'), ('A'), ('é'), ('😀'), ('中')",
    "VARCHAR(9) CHARACTER SET gbk": "('a'), ('中'), ('文'), ('|')",
    "BINARY(3)": "(x'00'), (x'0001'), (x'ff'), (x'616263')",
    "VARBINARY(3)": "(x''), (x'00'), (x'0000'), (x'ff')",
    "ENUM('z','y','a','b')": "('z'), ('y'), ('a'), ('b')",
    "SET('z','y','a')": "(''), ('z'), ('y'), ('z,a'), ('z,y,a')",
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("route", ["pymysql", "connectorx"])
def test_pages_of_one_row_hold_every_row_once_in_the_servers_order_whatever_the_type_of_the_key(
    db: Database, kind: str, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three connections share a chunk of three rows."""
    if route == "pymysql":
        monkeypatch.setattr("tidegate.providers.mysql.source.fast_route", lambda *_: None)
    db.execute(f"CREATE TABLE t (k {kind} NOT NULL PRIMARY KEY, v INT)", f"INSERT INTO t (k) VALUES {KEYS[kind]}")
    source = db.source(snapshot_connections=3)
    copied = rows(copy_chunks(source, db.table("t"), Limits(rows=3)))
    in_one_page = rows(copy_chunks(source, db.table("t")))
    assert copied.to_pylist() == in_one_page.to_pylist()
    assert len(set(copied.column("k").to_pylist())) == copied.num_rows == db.rows("SELECT COUNT(*) FROM t")[0][0]


@pytest.mark.parametrize("zone", ["+08:00", "-08:00"])
def test_pages_by_an_instant_hold_every_row_once_whatever_the_time_zone_of_the_server(db: Database, zone: str) -> None:
    """Twenty rows: past the first page, which either route reads alike."""
    db.execute("CREATE TABLE t (k TIMESTAMP(6) NOT NULL PRIMARY KEY, v INT)")
    db.execute(
        "SET time_zone = '+00:00'", *(f"INSERT INTO t VALUES ('2026-01-01 {hour:02}:00:00.5', {hour})" for hour in range(20))
    )
    before = db.rows("SELECT @@GLOBAL.time_zone")[0][0]
    db.execute(f"SET GLOBAL time_zone = '{zone}'")
    try:
        copied = rows(copy_chunks(db.source(), db.table("t"), Limits(rows=3))).column("v").to_pylist()
    finally:
        db.execute(f"SET GLOBAL time_zone = '{before}'")
    assert copied == list(range(20))


@pytest.mark.parametrize("route", ["pymysql", "connectorx"])
def test_a_char_is_not_padded_whatever_the_sql_mode_of_the_server(
    db: Database, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if route == "pymysql":
        monkeypatch.setattr("tidegate.providers.mysql.source.fast_route", lambda *_: None)
    db.execute("CREATE TABLE t (k CHAR(9) PRIMARY KEY)", "INSERT INTO t VALUES ('a')")
    before = db.rows("SELECT @@GLOBAL.sql_mode")[0][0]
    db.execute("SET GLOBAL sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'")
    try:
        assert rows(copy_chunks(db.source(), db.table("t"))).column("k").to_pylist() == ["a"]
    finally:
        db.execute(f"SET GLOBAL sql_mode = '{before}'")


def test_a_consistent_copy_of_a_table_without_transactions_is_refused(db: Database) -> None:
    """Rows that are written while it is read would be in the copy and in the changes after it."""
    db.execute("CREATE TABLE t (k INT PRIMARY KEY) ENGINE = MyISAM")
    source = db.source()
    with pytest.raises(SchemaError, match="no transactions"):
        source.start([db.table("t")], consistent=True)
    source.start([db.table("t")], consistent=False)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pages_of_a_composite_key_hold_every_row_once(db: Database, limit: int) -> None:
    db.execute("CREATE TABLE t (a VARCHAR(5), b INT, c BINARY(2), v INT, PRIMARY KEY (a, b, c))")
    written = [(a, b, c) for a in ("a", "B", "é", "z ") for b in (-1, 2**31 - 1) for c in ("00", "61")]
    db.execute("INSERT INTO t (a, b, c) VALUES " + ", ".join(f"('{a}', {b}, x'{c}')" for a, b, c in written))
    copied = rows(copy_chunks(db.source(), db.table("t"), Limits(rows=limit)))
    found = [(row["a"], row["b"], row["c"].hex()) for row in copied.to_pylist()]
    assert sorted(found) == sorted((a, b, c.ljust(4, "0")) for a, b, c in written)


def test_pages_follow_the_order_of_a_case_insensitive_collation(db: Database) -> None:
    words = ["a", "B", "c", "D", "é", "F", "g", "Ä1", "ä2"]
    db.execute("CREATE TABLE t (k VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY)")
    db.execute("INSERT INTO t VALUES " + ", ".join(f"('{word}')" for word in words))
    copied = rows(copy_chunks(db.source(), db.table("t"), Limits(rows=2))).column("k").to_pylist()
    assert copied == [word for (word,) in db.rows("SELECT k FROM t ORDER BY k")]
    assert set(copied) == set(words)


def test_a_page_reads_a_range_of_the_index(db: Database) -> None:
    db.execute("CREATE TABLE t (a INT, b INT, v INT, PRIMARY KEY (a, b))")
    db.execute("INSERT INTO t (a, b) VALUES " + ", ".join(f"({i // 40}, {i % 40})" for i in range(2000)))
    session = Session(db.source()._values, "shop_mysql")
    query = page_query(read_table(session, db.table("t")), KeyRange(("25", "7")), 50)
    session.execute("FLUSH STATUS")
    assert len(session.rows(query)) == 50
    reads = {name: int(value or 0) for name, value in session.rows("SHOW SESSION STATUS LIKE 'Handler_read%'")}
    session.close()
    assert reads["Handler_read_next"] <= 60
    assert reads["Handler_read_rnd_next"] == reads.get("Handler_read_first", 0) == 0


def test_the_last_chunk_ends_where_the_changes_begin_and_the_others_where_a_copy_can_go_on(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3), (4), (5)")
    source = db.source()
    start = source.start([db.table("t")], consistent=False)[db.table("t")]
    assert isinstance(start, SnapshotPosition)
    chunks = list(source.read(Window({db.table("t"): start}, None), Limits(rows=2)))
    ends = [chunk.end for chunk in chunks]
    assert ends == [SnapshotPosition(start.low, ("2",), 2), SnapshotPosition(start.low, ("4",), 4), start.low]
    middle = ends[0]
    assert middle is not None
    rest = copy_chunks(source, db.table("t"), start=from_json(to_json(middle)))
    assert rows(rest).column("k").to_pylist() == [3, 4, 5]
    assert rest[-1].end == start.low


def test_an_empty_table_is_one_chunk_without_rows(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    (chunk,) = copy_chunks(db.source(), db.table("t"))
    assert chunk.num_rows == 0
    assert isinstance(chunk.end, BinlogPosition)


@pytest.mark.parametrize("route", ["pymysql", "connectorx"])
def test_chunks_are_bounded_by_bytes(db: Database, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if route == "pymysql":
        monkeypatch.setattr("tidegate.providers.mysql.source.fast_route", lambda *_: None)
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v LONGTEXT)")
    db.execute(*(f"INSERT INTO t VALUES ({k}, REPEAT('x', 20000))" for k in range(300)))
    chunks = copy_chunks(db.source(), db.table("t"), Limits(bytes=1_000_000))
    assert sum(chunk.num_rows for chunk in chunks) == 300
    largest = max(chunk.nbytes for chunk in chunks[1:])
    assert largest < 2_000_000
    assert len(chunks) >= 4


def test_a_unique_key_without_nulls_is_the_key_of_a_table_without_primary_key(db: Database) -> None:
    db.execute(
        "CREATE TABLE t (a INT, b INT NOT NULL, c INT NOT NULL, d VARCHAR(50) NOT NULL, "
        "UNIQUE KEY u1 (a), UNIQUE KEY u2 (d(10)), UNIQUE KEY u3 (c, b))"
    )
    assert db.source().schema(db.table("t")).key == ("c", "b")


def test_a_table_without_key_is_copied_in_one_piece_only(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (v INT)", "INSERT INTO t VALUES (1), (1), (NULL)")
    source = db.source()
    with pytest.raises(SchemaError, match="consistent view"):
        source.start([table], consistent=False)
    chunks = copy_chunks(source, table, Limits(rows=2), consistent=True)
    assert sorted(rows(chunks).column("v").to_pylist(), key=str) == [1, 1, None]
    assert isinstance(chunks[0].end, SnapshotPosition)
    assert isinstance(chunks[-1].end, BinlogPosition)
    with pytest.raises(PositionLost, match="can't be resumed"):
        copy_chunks(db.source(), table, start=chunks[0].end)


def test_a_consistent_copy_sees_all_tables_at_the_position_it_ends_at(db: Database) -> None:
    one, two = db.table("one"), db.table("two")
    db.execute("CREATE TABLE one (k INT PRIMARY KEY)", "CREATE TABLE two (k INT PRIMARY KEY)")
    db.execute("INSERT INTO one VALUES (1), (2)", "INSERT INTO two VALUES (1)")
    source = db.source()
    starts = source.start([one, two], consistent=True)
    assert starts[one] == starts[two]
    db.execute("INSERT INTO one VALUES (3)", "INSERT INTO two VALUES (3)", "DELETE FROM one WHERE k = 1")
    first, second = (copy_chunks(source, table, Limits(rows=1), start=starts[table]) for table in (one, two))
    assert rows(first).column("k").to_pylist() == [1, 2]
    assert rows(second).column("k").to_pylist() == [1]
    low = first[-1].end
    assert isinstance(low, BinlogPosition)
    assert low == second[-1].end
    followed = changes(source, {one: low, two: low})
    assert [batch.counts() for batch in followed[0].batches] == [{0: 1, 1: 0, 2: 0, 3: 1}, {0: 1, 1: 0, 2: 0, 3: 0}]


def test_dates_that_no_calendar_has_are_null_in_copy_and_changes(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, d DATE, dt DATETIME(2), ts TIMESTAMP NULL)")
    source = db.source()
    begin = source.head()
    db.execute(
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
        "INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00')",
        "INSERT INTO t VALUES (2, '2024-02-30', '2024-02-30 01:02:03', NULL), (3, '2024-00-01', '2024-01-00 00:00:00', NULL)",
        "INSERT INTO t VALUES (4, '2024-02-29', '2024-02-29 23:59:59.99', '2024-02-29 00:00:01')",
    )
    copied = rows(copy_chunks(source, db.table("t")))
    followed = rows(changes(source, {db.table("t"): begin}))
    assert followed.equals(copied)
    assert [[value is None for value in row.values()] for row in copied.to_pylist()] == [[False, True, True, True]] * 3 + [
        [False] * 4
    ]


def test_a_copy_under_writes_and_the_changes_after_it_give_what_the_source_holds(db: Database) -> None:
    """Rows are inserted, deleted, and moved across page bounds by changes of their keys, all the while."""
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT NOT NULL)")
    db.execute("INSERT INTO t VALUES " + ", ".join(f"({k}, 0)" for k in range(0, 600, 2)))
    done = threading.Event()
    written = [0]

    def write() -> None:
        chance = random.Random(5)
        connection = db.server.connect(database=db.name)
        with connection.cursor() as cursor:
            while not done.is_set():
                key, other = chance.randrange(600), chance.randrange(600)
                statement = chance.choice(
                    (
                        f"INSERT IGNORE INTO t VALUES ({key}, {written[0]})",
                        f"DELETE FROM t WHERE k = {key}",
                        f"UPDATE IGNORE t SET k = {other}, v = v + 1 WHERE k = {key}",
                        f"UPDATE t SET v = {written[0]} WHERE k BETWEEN {key} AND {key + 5}",
                    )
                )
                cursor.execute(statement)
                written[0] += 1
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: written[0] > 20, "the first writes")
        source = db.source()
        state: dict[tuple[Any, ...], dict[str, Any]] = {}
        position: Any = source.start([table], consistent=False)[table]
        for chunk in source.read(Window({table: position}, None), Limits(rows=25)):
            seen = written[0]
            apply(state, [chunk])
            position = chunk.end
            wait_until(lambda: written[0] > seen + 5, "writes between two pages")  # noqa: B023
        for _ in range(3):
            head = source.head()
            for chunk in source.read(Window({table: position}, head), Limits(rows=40)):
                apply(state, [chunk])
            position = head
    finally:
        done.set()
        writer.join()
    for chunk in changes(source, {table: position}):
        apply(state, [chunk])
    assert sorted((row["k"], row["v"]) for row in state.values()) == db.rows("SELECT k, v FROM t ORDER BY k")


def test_a_commit_that_is_in_the_log_but_not_yet_visible_is_in_the_changes_after_the_copy() -> None:
    """Semi-synchronous MariaDB shows a commit only when a replica has it, and here there is none."""
    options = (
        "--rpl-semi-sync-master-enabled=ON",
        "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
        "--rpl-semi-sync-master-timeout=4000",
        "--rpl-semi-sync-master-wait-no-slave=ON",
    )
    with running(start_mariadb, *options) as server:
        server.execute(
            "SET GLOBAL rpl_semi_sync_master_enabled = OFF", "CREATE DATABASE shop", "CREATE TABLE shop.t (k INT PRIMARY KEY)"
        )
        server.execute("INSERT INTO shop.t VALUES (1)", "SET GLOBAL rpl_semi_sync_master_enabled = ON")
        db = Database(server, "shop")
        table = db.table("t")
        source = db.source()
        before = source.head()
        writer = threading.Thread(target=lambda: db.execute("INSERT INTO t VALUES (2)"))
        writer.start()
        wait_until(lambda: source.head() != before, "the commit in the log")
        shown = source.head()
        chunks = copy_chunks(source, table)
        low = chunks[-1].end
        assert isinstance(low, BinlogPosition)
        assert rows(chunks).column("k").to_pylist() == [1], "the commit was to be invisible still"
        writer.join()

        state: dict[tuple[Any, ...], dict[str, Any]] = {}
        apply(state, [*chunks, *changes(source, {table: low})])
        assert sorted(state) == [(1,), (2,)]
        # What SHOW MASTER STATUS said when the copy was made lies behind the commit: from there it would have been lost.
        assert low.compare(shown) == "before"
        assert all(chunk.num_rows == 0 for chunk in changes(source, {table: shown}))
        source.close()


def test_a_copy_does_not_begin_while_an_xa_transaction_is_prepared(maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    connection = maria.server.connect(database=maria.name)
    with connection.cursor() as cursor:
        for statement in ("XA START 'x1'", "INSERT INTO t VALUES (1)", "XA END 'x1'", "XA PREPARE 'x1'"):
            cursor.execute(statement)
        try:
            with pytest.raises(Unavailable, match="XA transactions are prepared"):
                maria.source().start([maria.table("t")], consistent=False)
        finally:
            cursor.execute("XA ROLLBACK 'x1'")
    connection.close()


def test_a_page_that_connectorx_cannot_read_is_read_by_pymysql(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A geometry stands in for whatever it may stumble over: the route is forced on a table that it would not be chosen for."""
    from tidegate.providers.mysql.fast import ConnectorxRoute

    db.execute("CREATE TABLE t (k INT PRIMARY KEY, g POINT)", "INSERT INTO t VALUES (1, POINT(1, 2)), (2, NULL)")
    source = db.source()
    session = Session(source._values, "shop_mysql")
    table = read_table(session, db.table("t"))
    route = ConnectorxRoute(session)
    position = SnapshotPosition(source.head())
    fast = rows(list(copy(one_route(session, route), table, position, Limits(rows=1))))
    assert route.gave_up
    assert fast.equals(rows(list(copy(one_route(session, PyMySqlRoute(session)), table, position, Limits()))))
    assert fast.num_rows == 2
    assert "reading it with PyMySQL" in caplog.text
    assert "mysql://" not in caplog.text
    session.close()
