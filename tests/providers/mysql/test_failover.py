"""A failover costs nothing where GTIDs show that the new server has what was applied; else the run stops with the evidence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.providers.mysql.reading import Database, changes, events
from tests.servers import next_second, running, start_mariadb, start_mysql56
from tidegate.changes.batch import Chunk
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import PositionLost
from tidegate.providers.mysql.source import MysqlSource
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql

TABLE = TableName("shop", "t")


@dataclass
class Pair:
    """A primary, and a replica of it that keeps its own log."""

    primary: Database
    replica: Database
    mariadb: bool

    def follow(self) -> None:
        using = "MASTER_USE_GTID = slave_pos" if self.mariadb else "MASTER_AUTO_POSITION = 1"
        self.replica.server.execute(
            f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {self.primary.server.port}, MASTER_USER = 'root', {using}",
            "START SLAVE",
        )

    def caught_up(self) -> None:
        """Wait until the replica has all that the primary has."""
        name = "@@GLOBAL.gtid_binlog_pos" if self.mariadb else "@@GLOBAL.gtid_executed"
        wait = "MASTER_GTID_WAIT" if self.mariadb else "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS"
        ((gtids,),) = self.primary.rows(f"SELECT {name}")
        connection = self.replica.server.connect()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {wait}(%s, 60)", (gtids.replace("\n", ""),))
            ((result,),) = cursor.fetchall()
        connection.close()
        assert result is not None
        assert result >= 0

    def stop(self) -> None:
        self.replica.server.execute("STOP SLAVE")

    def purge(self, db: Database) -> None:
        db.execute("FLUSH BINARY LOGS")
        db.server.purge()


@pytest.fixture(scope="module", params=[start_mariadb, start_mysql56], ids=["mariadb", "mysql56"])
def servers(request: pytest.FixtureRequest) -> Iterator[Pair]:
    mariadb = request.param is start_mariadb
    request.getfixturevalue("mariadb" if mariadb else "mysql56")
    with running(request.param) as primary, running(request.param, "--server-id=2", "--log-slave-updates") as replica:
        yield Pair(Database(primary, "shop"), Database(replica, "shop"), mariadb)


@pytest.fixture
def pair(servers: Pair) -> Iterator[Pair]:
    """The two as if they were new, with an empty table."""
    primary, replica = servers.primary.server, servers.replica.server
    replica.execute("STOP SLAVE", "RESET SLAVE ALL")
    for server in (primary, replica):
        server.execute("DROP DATABASE IF EXISTS shop", "RESET MASTER")
    if servers.mariadb:
        replica.execute("SET GLOBAL gtid_slave_pos = ''")
    primary.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (k INT PRIMARY KEY)")
    servers.follow()
    servers.caught_up()
    yield servers
    servers.primary.close()
    servers.replica.close()


def keys(chunks: list[Chunk]) -> list[Any]:
    return [event[1] for event in events(chunks)]


def insert(db: Database, *numbers: int) -> None:
    db.execute(*(f"INSERT INTO t VALUES ({number})" for number in numbers))


def refused(source: MysqlSource, position: BinlogPosition) -> str:
    """What stands in the way, said before reading and when reading."""
    (problem,) = source.preflight({TABLE: position}).problems
    assert isinstance(problem, PositionLost)
    with pytest.raises(PositionLost) as caught:
        list(source.read(Window({TABLE: position}, source.head()), Limits()))
    assert str(caught.value) == str(problem)
    assert "tidegate resync" in str(problem)
    return str(problem)


def test_after_a_failover_every_position_goes_on_with_just_what_is_missing(pair: Pair) -> None:
    old = pair.primary.source()
    begin = old.head()
    for start in range(0, 12, 3):
        insert(pair.primary, *range(start, start + 3))
        (pair.replica if start % 2 else pair.primary).execute("FLUSH BINARY LOGS")
    pair.caught_up()
    # Files and offsets of the two have nothing in common.
    pair.stop()
    insert(pair.replica, 100)
    new = pair.replica.source()
    chunks = list(old.read(Window({TABLE: begin}, old.head()), Limits(rows=1)))
    assert keys(chunks) == list(range(12))
    head = new.head()
    for done, position in [(0, begin), *((place + 1, chunks[place].end) for place in (0, 4, 8, 11))]:
        assert isinstance(position, BinlogPosition)
        assert new.preflight({TABLE: position}).problems == ()
        found = new.current(position, TABLE)
        assert isinstance(found, BinlogPosition)
        assert (found.server, found.gtid, found.skip) == (head.server, position.gtid, "")
        rest = list(new.read(Window({TABLE: position}, head), Limits()))
        assert keys(rest) == [*range(done, 12), 100]
        assert rest[-1].end == head
        # What was moved there is a position like any other.
        assert keys(changes(new, {TABLE: found})) == [*range(done, 12), 100]
    copying = new.current(SnapshotPosition(begin, ("5",), 5), TABLE)
    assert isinstance(copying, SnapshotPosition)
    assert copying == SnapshotPosition(copying.low, ("5",), 5)
    assert copying.low.server == head.server


def test_a_server_that_lacks_what_was_applied_is_not_gone_on_with(pair: Pair) -> None:
    pair.stop()
    insert(pair.primary, 1, 2)
    said = refused(pair.replica.source(), pair.primary.source().head())
    assert "lacks 2 transactions (" in said
    assert "the target is ahead of it" in said


def test_a_server_that_purged_what_is_missing_is_not_gone_on_with(pair: Pair) -> None:
    position = pair.primary.source().head()
    insert(pair.primary, 1, 2, 3)
    pair.caught_up()
    pair.purge(pair.replica)
    said = refused(pair.replica.source(), position)
    assert "begins after 3 transactions (" in said
    assert "binlog_expire_logs_seconds" in said
    # What was purged before the position doesn't matter.
    later = pair.primary.source().head()
    insert(pair.primary, 4)
    pair.caught_up()
    assert keys(changes(pair.replica.source(), {TABLE: later})) == [4]


def test_what_stands_behind_something_new_and_was_applied_is_left_out(pair: Pair) -> None:
    """The replica wrote transactions of its own before it got the rest: they are read, and the rest isn't read again."""
    insert(pair.primary, 1)
    pair.caught_up()
    pair.stop()
    own = "SET SESSION gtid_domain_id = 5" if pair.mariadb else "SET @unused = 1"
    pair.replica.execute(own, "INSERT INTO t VALUES (100)", "CREATE TABLE other (k INT)", "INSERT INTO t VALUES (101)")
    insert(pair.primary, 2, 3)
    pair.primary.execute("ALTER TABLE t COMMENT = 'x'", "UPDATE t SET k = 4 WHERE k = 3")
    position = pair.primary.source().head()
    insert(pair.primary, 5)
    pair.replica.execute("START SLAVE", "FLUSH BINARY LOGS")
    pair.caught_up()
    new = pair.replica.source()
    found = new.current(position, TABLE)
    assert isinstance(found, BinlogPosition)
    assert found.skip
    head = new.head()
    for start in (position, found):
        chunks = list(new.read(Window({TABLE: start}, head), Limits(rows=1)))
        assert keys(chunks) == [100, 101, 5]
        assert chunks[-1].end == head
    # Every end on the way can be gone on from, as long as there is something to leave out and after.
    for done, chunk in enumerate(chunks):
        assert isinstance(chunk.end, BinlogPosition)
        assert keys(changes(new, {TABLE: chunk.end})) == [100, 101, 5][done + 1 :]


def test_tables_that_stood_apart_are_not_gone_on_with_in_another_order(pair: Pair) -> None:
    pair.stop()
    own = "SET SESSION gtid_domain_id = 5" if pair.mariadb else "SET @unused = 1"
    pair.replica.execute(own, "INSERT INTO t VALUES (100)")
    insert(pair.primary, 1)
    one = pair.primary.source().head()
    pair.primary.execute("CREATE TABLE u (k INT PRIMARY KEY)")
    two = pair.primary.source().head()
    pair.replica.execute("START SLAVE")
    pair.caught_up()
    new = pair.replica.source()
    other = TableName("shop", "u")
    for positions in ({TABLE: one, other: two}, {TABLE: two, other: one}):
        with pytest.raises(PositionLost, match="different points"):
            list(new.read(Window(positions, new.head()), Limits()))
    # One that is copied from the new server stands behind all that is left out.
    head = new.head()
    insert(pair.replica, 101)
    assert keys(changes(new, {TABLE: one, other: head})) == [100, 101]


def test_servers_of_mariadb_whose_domain_went_apart_are_told(pair: Pair) -> None:
    if not pair.mariadb:
        pytest.skip("MySQL numbers per server")
    pair.stop()
    insert(pair.replica, 100, 101)
    insert(pair.primary, 1)
    said = refused(pair.replica.source(), pair.primary.source().head())
    assert "they went apart" in said
    assert "0-2-" in said


def test_a_server_that_does_not_log_what_it_replicates_is_not_gone_on_with(pair: Pair) -> None:
    if not pair.mariadb:
        pytest.skip("MySQL 5.6 with GTIDs always does")
    with running(start_mariadb, "--server-id=3") as server:
        silent = Pair(pair.primary, Database(server, "shop"), True)
        silent.follow()
        silent.caught_up()
        insert(pair.primary, 1)
        silent.caught_up()
        position = pair.primary.source().head()
        silent.stop()
        for key in (100, 101):
            said = refused(silent.replica.source(), position)
            assert "has not written them to its log" in said
            assert "log_slave_updates=ON" in said
            # Nor if there is something of its own in the log.
            silent.replica.execute("SET SESSION gtid_domain_id = 5", f"INSERT INTO t VALUES ({key})")
        silent.replica.close()


def test_without_gtids_another_server_is_refused(pair: Pair) -> None:
    position = replace(pair.primary.source().head(), gtid="")
    assert "no GTIDs" in refused(pair.replica.source(), position)
    other = replace(position, gtid="0-1-5" if not pair.mariadb else "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")
    assert "are not those of a M" in refused(pair.replica.source(), other)


def test_a_purge_that_took_nothing_new_costs_nothing(pair: Pair) -> None:
    db = pair.primary
    insert(db, 1)
    position = db.source().head()
    pair.stop()
    db.execute("FLUSH BINARY LOGS")
    pair.purge(db)
    insert(db, 2)
    source = db.source()
    assert source.preflight({TABLE: position}).problems == ()
    assert keys(changes(source, {TABLE: position})) == [2]
    pair.purge(db)
    assert "was purged, the oldest file is" in (said := refused(source, position))
    assert "begins after 1 transaction (" in said


def test_a_reset_log_is_told_by_its_beginning(pair: Pair) -> None:
    pair.stop()
    insert(pair.primary, 1)
    position = pair.primary.source().head()
    next_second()
    pair.primary.server.execute("RESET MASTER")
    insert(pair.primary, *range(2, 9))
    said = refused(pair.primary.source(), position)
    assert "another file than the one" in said
    assert "the log was reset, or the server set up anew" in said


def test_a_server_restored_from_a_backup_is_told_by_what_it_lacks(pair: Pair) -> None:
    db = pair.primary
    pair.stop()
    db.execute("FLUSH BINARY LOGS", "FLUSH TABLES")
    insert(db, 1)
    db.server.kill()
    data, backup = db.server.folder / "data", db.server.folder / "backup"
    shutil.copytree(data, backup)
    for path in [backup, *backup.rglob("*")]:
        shutil.chown(path, (data / path.relative_to(backup)).owner())
    db.server.restart()
    insert(db, 2, 3)
    position = db.source().head()
    next_second()
    db.server.kill()
    shutil.rmtree(data)
    backup.rename(data)
    db.server.restart()
    insert(db, *range(4, 5))
    said = refused(db.source(), position)
    assert "restored to an earlier state, or its log reset, and lacks 1 transaction" in said


def test_a_log_that_lost_its_end_is_told(pair: Pair) -> None:
    db = pair.primary
    pair.stop()
    insert(db, 1)
    kept = db.source().head()
    insert(db, 2, 3)
    position = db.source().head()
    db.server.kill()
    with (db.server.folder / "data" / kept.file).open("r+b") as file:
        file.truncate(kept.offset)
    db.server.restart()
    insert(db, 4)
    said = refused(db.source(), position)
    assert "ends at" in said
    assert "lost the end of its log in a crash" in said
    assert "sync_binlog=1" in said
