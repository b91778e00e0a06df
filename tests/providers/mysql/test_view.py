"""Copies in one consistent view: several sessions, one state, one position, whatever is written meanwhile."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.providers.mysql.reading import Database, changes, copy_chunks, events, rows
from tests.servers import wait_until
from tidegate.changes.batch import Chunk
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import PreflightError
from tidegate.providers.mysql import view
from tidegate.providers.mysql.session import Session
from tidegate.sync.protocols import Limits

pytestmark = pytest.mark.mysql


@contextlib.contextmanager
def transfers(db: Database) -> Iterator[None]:
    """Within the block amounts are moved between two tables, in transactions, as fast as the server takes it."""
    db.execute("CREATE TABLE one (k INT PRIMARY KEY, v INT)", "CREATE TABLE two (k INT PRIMARY KEY, v INT)")
    values = ", ".join(f"({k}, 100)" for k in range(40))
    db.execute(f"INSERT INTO one VALUES {values}", f"INSERT INTO two VALUES {values}")
    done, written = threading.Event(), [0]

    def write() -> None:
        chance = random.Random(3)
        connection = db.server.connect(database=db.name)
        with connection.cursor() as cursor:
            while not done.is_set():
                amount, key, other = chance.randrange(5), chance.randrange(40), 1000 + written[0]
                cursor.execute("BEGIN")
                cursor.execute(f"UPDATE one SET v = v - {amount} WHERE k = {key}")
                cursor.execute(f"INSERT INTO two VALUES ({other}, {amount})")
                cursor.execute("COMMIT")
                written[0] += 1
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: written[0] > 5 or not writer.is_alive(), "the first writes")
        yield
    finally:
        done.set()
        writer.join()


def follow(state: dict[int, int], chunks: Sequence[Chunk]) -> None:
    """Apply changes as a target does that takes none of them twice."""
    for kind, key, value in events(chunks):
        if kind == "+I":
            assert key not in state
            state[key] = value
        elif kind == "+U":
            assert key in state
            state[key] = value
        else:
            assert state[key] == value


@pytest.mark.parametrize("connections", [1, 4])
def test_all_sessions_of_a_view_see_the_position_that_the_copy_ends_at_under_writes(db: Database, connections: int) -> None:
    one, two = db.table("one"), db.table("two")
    source = db.source(snapshot_connections=connections)
    with transfers(db):
        starts = source.start([one, two], consistent=True)
        copied = {table: copy_chunks(source, table, Limits(rows=8), start=starts[table]) for table in (one, two)}
    states: dict[TableName, dict[int, int]] = {}
    lows = set()
    for table, chunks in copied.items():
        low = chunks[-1].end
        assert isinstance(low, BinlogPosition)
        lows.add(low)
        found = [(row["k"], row["v"]) for row in rows(chunks).to_pylist()]
        assert [key for key, _ in found] == sorted({key for key, _ in found})
        states[table] = dict(found)
    assert sum(sum(state.values()) for state in states.values()) == 8000
    (low,) = lows
    for table, state in states.items():
        follow(state, changes(source, {table: low}))
        assert sorted(state.items()) == db.rows(f"SELECT k, v FROM {table.name} ORDER BY k")


def test_a_server_that_is_never_quiet_is_locked_for_a_moment_and_the_views_are_equal(
    maria: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tries stands for tries that all failed."""
    monkeypatch.setattr(view, "_TRIES", 0)
    one, two = maria.table("one"), maria.table("two")
    source = maria.source(snapshot_connections=3)
    with transfers(maria):
        starts = source.start([one, two], consistent=True)
        assert source._view is not None
        assert len(source._view.sessions) == 4
        places = {view._mariadb_place(session) for session in source._view.sessions}
        assert len(places) == 1
        total = sum(
            sum(rows(copy_chunks(source, table, Limits(rows=5), start=starts[table])).column("v").to_pylist())
            for table in (one, two)
        )
    assert total == 8000


def test_an_account_that_may_not_lock_reads_over_one_connection_if_the_server_is_never_quiet(
    maria: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(view, "_TRIES", 0)
    user = f"plain_{maria.name}"
    maria.execute(
        f"CREATE USER {user} IDENTIFIED BY 'p'",
        f"GRANT SELECT ON {maria.name}.* TO {user}",
        f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {user}",
    )
    try:
        source = maria.source(snapshot_connections=3, login=user, password="p")
        one, two = maria.table("one"), maria.table("two")
        with transfers(maria), caplog.at_level(logging.WARNING):
            starts = source.start([one, two], consistent=True)
            copied = [copy_chunks(source, table, Limits(rows=5), start=starts[table]) for table in (one, two)]
        assert sum(sum(rows(chunks).column("v").to_pylist()) for chunks in copied) == 8000
        assert "one connection makes the copy" in caplog.text
        source.close()
    finally:
        maria.execute(f"DROP USER {user}")


def test_a_lock_on_the_tables_alone_makes_equal_views_of_them(maria: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tables are written all the while: positions differ, and the lowest is taken."""
    monkeypatch.setattr(view, "_TRIES", 0)
    whole = Session.execute

    def execute(self: Session, sql: str, **options: Any) -> None:
        if sql.startswith("FLUSH TABLES WITH"):
            raise PreflightError("no RELOAD")
        whole(self, sql, **options)

    monkeypatch.setattr(Session, "execute", execute)
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)")
    source = maria.source(snapshot_connections=3)
    with transfers(maria):
        start = source.start([maria.table("t")], consistent=True)[maria.table("t")]
        chunks = copy_chunks(source, maria.table("t"), Limits(rows=3), start=start)
    assert rows(chunks).column("k").to_pylist() == [1, 2, 3]
    assert isinstance(start, SnapshotPosition)
    assert source._view is not None
    assert all((start.low.file, start.low.offset) <= view._mariadb_place(session) for session in source._view.sessions)


def test_writers_wait_only_until_the_views_are_open(db: Database) -> None:
    """The lock is given back before the first row is read."""
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    source, table = db.source(snapshot_connections=2), db.table("t")
    start = source.start([table], consistent=True)[table]
    db.execute("INSERT INTO t VALUES (3)")
    assert rows(copy_chunks(source, table, start=start)).column("k").to_pylist() == [1, 2]


def test_a_view_reads_the_rows_that_have_left_the_end_of_the_table_since(db: Database) -> None:
    """The end of the last range is asked for in the view too."""
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES " + ", ".join(f"({k})" for k in range(50)))
    source, table = db.source(snapshot_connections=3), db.table("t")
    start = source.start([table], consistent=True)[table]
    db.execute("DELETE FROM t WHERE k > 10")
    assert rows(copy_chunks(source, table, Limits(rows=6), start=start)).num_rows == 50
