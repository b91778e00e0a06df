"""Every position that is reported has the GTIDs that the server itself has at that place of its log."""

from __future__ import annotations

import threading

import pytest

from tests.providers.mysql.reading import Database, changes
from tests.servers import MySqlServer
from tidegate.changes.batch import Chunk
from tidegate.changes.position import BinlogPosition
from tidegate.providers.mysql.binlog.gtid import MariadbGtids, MysqlGtids
from tidegate.providers.mysql.source import MysqlSource
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql


def gtids_at(db: Database, begin: BinlogPosition, place: BinlogPosition) -> str:
    """What the server has at ``place``: MariaDB tells; of MySQL it is what was there at ``begin`` and the events since."""
    if begin.server.startswith("mariadb-"):
        return str(MariadbGtids.parse(db.rows("SELECT BINLOG_GTID_POS(%s, %s)", (place.file, place.offset))[0][0]))
    found = MysqlGtids.parse(begin.gtid)
    for number in range(begin.sequence, place.sequence + 1):
        file = f"{begin.file.rpartition('.')[0]}.{number:06d}"
        for _, start, kind, _, end, info in db.rows(f"SHOW BINLOG EVENTS IN '{file}'"):
            passed = number < place.sequence or end <= place.offset
            if kind == "Gtid" and passed and (number > begin.sequence or start >= begin.offset):
                found = found | MysqlGtids.parse(info.split("'")[1])
    return str(found)


def ends(source: MysqlSource, window: Window, limits: Limits) -> list[BinlogPosition]:
    chunks: list[Chunk] = list(source.read(window, limits))
    return [chunk.end for chunk in chunks if isinstance(chunk.end, BinlogPosition)]


@pytest.mark.parametrize("limit", [1, 4, 1000])
def test_the_end_of_every_chunk_has_the_gtids_of_its_place(db: Database, limit: int) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "CREATE TABLE plain (k INT) ENGINE=MyISAM")
    source = db.source()
    begin = source.head()
    for key in range(6):
        db.execute(f"INSERT INTO t VALUES ({key})", f"INSERT INTO plain VALUES ({key})", f"CREATE TABLE t{key} (k INT)")
        if key % 3 == 2:
            db.execute("FLUSH BINARY LOGS")
    found = ends(source, Window({db.table("t"): begin}, source.head()), Limits(rows=limit))
    assert len(found) >= 6 // limit
    for end in found:
        assert end.gtid == gtids_at(db, begin, end)
    assert found[-1] == source.head()


def test_domains_of_mariadb_are_kept_apart(maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = maria.source()
    begin = source.head()
    for key in range(8):
        maria.execute(f"SET SESSION gtid_domain_id = {10 + key % 3}", f"INSERT INTO t VALUES ({key})")
    found = ends(source, Window({maria.table("t"): begin}, source.head()), Limits(rows=1))
    assert len(found) == 8
    for end in found:
        assert end.gtid == gtids_at(maria, begin, end)
    assert len(found[-1].gtid.split(",")) >= 4


def test_a_position_without_gtids_gets_them_with_the_next_file(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source, table = db.source(), db.table("t")
    begin = source.head()
    bare = BinlogPosition(begin.file, begin.offset, begin.server, "", begin.fingerprint)
    db.execute("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (3)")
    found = ends(source, Window({table: bare}, source.head()), Limits(rows=1))
    assert [end.gtid == "" for end in found] == [True, True, False]
    assert found[2].gtid == gtids_at(db, begin, found[2])


def test_the_end_of_a_log_that_grows_has_the_gtids_of_its_place(mariadb: MySqlServer, maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT AUTO_INCREMENT PRIMARY KEY)")
    source, stop = maria.source(), threading.Event()

    def write() -> None:
        connection = mariadb.connect(database=maria.name)
        with connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("INSERT INTO t VALUES ()")
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        heads = [source.head() for _ in range(30)]
    finally:
        stop.set()
        writer.join()
    assert len({head.offset for head in heads}) > 1
    for head in heads:
        assert head.gtid == gtids_at(maria, head, head)


def test_an_idle_source_moves_the_position_and_its_gtids(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "CREATE TABLE other (k INT PRIMARY KEY)")
    source, table = db.source(), db.table("t")
    begin = source.head()
    db.execute("INSERT INTO other VALUES (1)", "FLUSH BINARY LOGS")
    (chunk,) = changes(source, {table: begin})
    assert chunk.batches == ()
    assert chunk.end == source.head()
    assert isinstance(chunk.end, BinlogPosition)
    assert chunk.end.gtid != begin.gtid
