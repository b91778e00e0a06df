"""Where tables begin that are not copied: the end of the log, a place in it, a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.providers.mysql.reading import NAME, Database, changes, events
from tests.servers import MySqlServer, running, start_mariadb, start_mysql56, wait_until
from tidegate.errors import ConfigError
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.stream import FIRST_EVENT, Dump
from tidegate.providers.mysql.source import MysqlSource

pytestmark = pytest.mark.mysql


@pytest.fixture
def own(db: Database) -> Database:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT) ENGINE = InnoDB")
    return db


def ends(source: MysqlSource, file: str, start: int, until: int) -> list[tuple[int, int]]:
    """Kind and end of each event of a file behind ``start``, as far as ``until``."""
    dump = Dump(source._values, NAME, source._replica_id())
    found = []
    for event in dump.events(file, FIRST_EVENT):
        _, kind, _, _, end, _ = ev.HEADER.unpack_from(event)
        if end > until:
            break
        if end > start:
            found.append((kind, end))
    dump.close()
    return found


def test_latest_is_the_end_of_the_log(own: Database) -> None:
    source = own.source()
    assert source.locate("latest") == source.head()


def test_every_place_outside_of_transactions_is_taken_and_all_others_are_refused(own: Database) -> None:
    """Bounds are those at which a reader's chunks of one row end: the reader follows transactions by other code."""
    source = own.source()
    begin = source.head()
    connection = own.server.connect(database=own.name)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1, 1)")
        cursor.execute("CREATE TABLE other (k INT)")
        cursor.execute("START TRANSACTION")
        cursor.execute("INSERT INTO t VALUES (2, 1)")
        cursor.execute("SAVEPOINT a")
        cursor.execute("INSERT INTO t VALUES (3, 1)")
        cursor.execute("ROLLBACK TO a")
        cursor.execute("UPDATE t SET v = 2")
        cursor.execute("COMMIT")
        cursor.execute("SET binlog_format = STATEMENT")
        cursor.execute("INSERT INTO other VALUES (RAND()), (LAST_INSERT_ID())")
        cursor.execute("SET binlog_format = ROW")
        cursor.execute("DELETE FROM t WHERE k = 1")
    connection.close()
    head = source.head()
    whole = events(changes(source, {own.table("t"): begin}))
    assert len(whole) == 7
    places = ends(source, begin.file, begin.offset, head.offset)
    taken, refused = [], []
    for _, end in places:
        try:
            position = source.locate(f"{begin.file}:{end}")
        except ConfigError as error:
            refused.append(str(error))
            continue
        assert position.compare(head) in ("before", "equal")
        assert (position.server, position.fingerprint) == (head.server, head.fingerprint)
        taken.append((end, events(changes(source, {own.table("t"): position}))))
    assert all("lies inside a transaction" in reason for reason in refused)
    kinds = {end: kind for kind, end in places}
    assert [kinds[end] for end, _ in taken] == [ev.XID, ev.QUERY, ev.XID, ev.XID, ev.XID]
    # From each a whole number of transactions follows.
    assert [len(found) for _, found in taken] == [6, 6, 1, 1, 0]
    assert all(found == whole[len(whole) - len(found) :] for _, found in taken)
    with pytest.raises(ConfigError, match=f"no event ends at .*; the nearest place before it is {begin.file}:{begin.offset}"):
        source.locate(f"{begin.file}:{begin.offset + 3}")


def test_a_place_that_the_log_does_not_have_is_refused_with_what_it_has(own: Database) -> None:
    source = own.source()
    head = source.head()
    base = head.file.rpartition(".")[0]
    with pytest.raises(ConfigError, match=f"has no file {base}.999998: its log goes from {base}.* to {head.file}"):
        source.locate(f"{base}.999998:4")
    with pytest.raises(ConfigError, match="it has no 3"):
        source.locate(f"{head.file}:3")
    with pytest.raises(ConfigError, match="it has no 4000000000"):
        source.locate(f"{head.file}:4000000000")
    with pytest.raises(ConfigError, match=r"write snapshot, latest, a place .* \[start\]"):
        source.locate("yesterday")
    assert source.locate(f"{head.file}:4").offset == 4


@pytest.fixture(scope="module", params=[start_mariadb, start_mysql56], ids=["mariadb", "mysql56"])
def own_server(request: pytest.FixtureRequest) -> Iterator[MySqlServer]:
    """A server whose log may be rotated, purged and reset."""
    request.getfixturevalue("mariadb" if request.param is start_mariadb else "mysql56")
    with running(request.param) as server:
        server.execute("CREATE DATABASE shop")
        yield server


@pytest.fixture
def shop(own_server: MySqlServer) -> Iterator[Database]:
    """A database on a server whose log begins now, and holds what the test writes alone."""
    own_server.execute("DROP TABLE IF EXISTS shop.t", "CREATE TABLE shop.t (k INT PRIMARY KEY, v INT)", "RESET MASTER")
    database = Database(own_server, "shop")
    yield database
    database.close()


def commit(server: MySqlServer, seconds: int, key: int) -> None:
    """A transaction whose time in the log is that one."""
    server.execute(f"SET timestamp = {seconds}", f"INSERT INTO shop.t VALUES ({key}, 0)")


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def test_a_time_is_the_first_transaction_not_older_whatever_file_it_is_in(shop: Database) -> None:
    source, table = shop.source(), shop.table("t")
    # Files are begun by the clock, so the times of what is in them have to lie about there.
    written: list[tuple[int, int]] = []
    for key in range(1, 5):
        wait_until(lambda: not written or int(time.time()) > written[-1][1], "the next second")
        now = int(time.time())
        commit(shop.server, now, key)
        written.append((key, now))
        if key in (1, 3):
            shop.server.execute("FLUSH BINARY LOGS")
    assert len({file for (file, *_) in shop.rows("SHOW BINARY LOGS")}) >= 3
    for key, seconds in written:
        for text in (iso(seconds), iso(seconds).replace("+00:00", ""), iso(seconds + 0.5)):
            found = [row[1] for row in events(changes(source, {table: source.locate(text)}))]
            assert found == [other for other, at in written if at >= seconds], (key, text)
    shifted = datetime.fromtimestamp(written[3][1], timezone(timedelta(hours=8))).isoformat()
    assert [row[1] for row in events(changes(source, {table: source.locate(shifted)}))] == [4]


def test_times_in_the_log_that_go_back_do_not_hide_the_first_that_is_new_enough(shop: Database) -> None:
    """Sessions can set the time of what they write."""
    source, table = shop.source(), shop.table("t")
    wait_until(lambda: int(time.time()) > _begun(source) + 1, "a second after the start of the log")
    now = int(time.time())
    commit(shop.server, now - 500, 1)
    commit(shop.server, now, 2)
    commit(shop.server, now - 500, 3)
    wait_until(lambda: int(time.time()) > now, "the next second")
    assert [row[1] for row in events(changes(source, {table: source.locate(iso(now))}))] == [2, 3]


def _begun(source: MysqlSource) -> int:
    file = str(source._session().rows("SHOW BINARY LOGS")[-1][0])
    dump = Dump(source._values, NAME, source._replica_id())
    for event in dump.events(file, FIRST_EVENT):
        if event[4] == ev.FORMAT:
            dump.close()
            return int(ev.HEADER.unpack_from(event)[0])
    raise AssertionError("no format event")


def test_a_time_after_the_last_transaction_is_the_end_of_the_log(shop: Database) -> None:
    source = shop.source()
    wait_until(lambda: int(time.time()) > _begun(source), "the next second")
    now = int(time.time())
    commit(shop.server, now, 1)
    wait_until(lambda: int(time.time()) > now, "the next second")
    assert source.locate(iso(now + 1)).compare(source.head()) == "equal"


def test_a_time_that_the_log_does_not_hold_is_refused_with_the_oldest_file(shop: Database) -> None:
    source = shop.source()
    with pytest.raises(ConfigError, match=r"the log doesn't reach back to .*: its oldest file, \w+.000001, begins at "):
        source.locate("2001-01-31T12:00:00Z")
    with pytest.raises(ConfigError, match="is still to come: the server's clock shows"):
        source.locate(iso(time.time() + 1000))


def test_a_place_in_a_purged_file_is_refused_with_the_oldest_file(shop: Database) -> None:
    source = shop.source()
    begin = source.head()
    shop.server.execute("FLUSH BINARY LOGS")
    newest = shop.server.purge()
    with pytest.raises(ConfigError, match=f"{begin.file} was purged: its log goes from {newest}"):
        source.locate(str(begin))
