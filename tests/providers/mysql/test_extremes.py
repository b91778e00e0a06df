"""What random tables don't reach: zones, sizes, labels that move, columns that servers make themselves."""

from __future__ import annotations

import datetime
import hashlib

import pytest

from tests.providers.mysql.reading import NAME, Database, changes, copy_chunks, one_route, rows
from tests.servers import MySqlServer, running, start_mariadb, start_mysql56
from tidegate.changes.position import SnapshotPosition
from tidegate.errors import SchemaError
from tidegate.providers.mysql.fast import ConnectorxRoute
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.types import read_table
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql

INSTANTS = (
    "1970-01-01 00:00:01",
    "2024-03-31 00:59:59",  # Berlin: the last second before the hour that is left out
    "2024-03-31 01:00:00",
    "2024-10-27 00:30:00",  # Berlin: 02:30 for the first time
    "2024-10-27 01:30:00",  # Berlin: 02:30 again
    "2038-01-19 03:14:07",
)


@pytest.mark.parametrize("start", [start_mariadb, start_mysql56])
def test_timestamps_are_instants_whatever_the_zones_of_server_and_session(
    start: object, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server lives in a zone with summer time, whose doubled hour local time can't tell."""
    if start is start_mysql56:
        request.getfixturevalue("mysql56")  # skips where there is none
    monkeypatch.setenv("TZ", "Europe/Berlin")
    with running(start) as server:  # type: ignore[arg-type]
        assert isinstance(server, MySqlServer)
        server.execute("CREATE DATABASE z")
        db = Database(server, "z")
        table = db.table("t")
        db.execute("CREATE TABLE t (k INT PRIMARY KEY, s TIMESTAMP(3) NULL, d DATETIME)")
        source = db.source()
        begin = source.head()
        assert db.rows("SELECT @@global.time_zone, FROM_UNIXTIME(1729989000)")[0][1].hour == 2
        db.execute(
            "SET SESSION time_zone = '+00:00'",
            *(f"INSERT INTO t VALUES ({k}, '{instant}.125', '{instant}')" for k, instant in enumerate(INSTANTS)),
        )
        db.execute("SET SESSION time_zone = '-11:30'", "INSERT INTO t VALUES (90, '2024-06-30 23:00:00', '2024-06-30 23:00:00')")
        db.execute("SET GLOBAL time_zone = '+05:45'")
        db.execute("INSERT INTO t VALUES (91, '2024-07-01 16:15:00', '2024-07-01 16:15:00')")
        wall = [datetime.datetime.fromisoformat(instant) for instant in INSTANTS]
        at = [moment.replace(tzinfo=datetime.UTC, microsecond=125_000) for moment in wall]
        at += [datetime.datetime(2024, 7, 1, 10, 30, tzinfo=datetime.UTC)] * 2
        wall += [datetime.datetime(2024, 6, 30, 23), datetime.datetime(2024, 7, 1, 16, 15)]
        session = Session(source._values, NAME)
        described = read_table(session, table)
        position = SnapshotPosition(begin)
        fast = ConnectorxRoute(session)
        copies = [
            rows(list(copy(one_route(session, route), described, position, Limits(3)))) for route in (PyMySqlRoute(session), fast)
        ]
        assert not fast.gave_up
        for found in (*copies, rows(changes(source, {table: begin}))):
            assert found.column("s").to_pylist() == at
            assert found.column("d").to_pylist() == wall
        session.close()
        db.close()


def test_values_past_16_mib_arrive_whole_in_copy_and_log(maria: Database) -> None:
    """Past the size of a packet of the protocol, and of a part of a message of it."""
    size = 2**24 + 12_345
    maria.server.execute("SET GLOBAL max_allowed_packet = 67108864")
    table = maria.table("t")
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY, b LONGBLOB, c LONGTEXT)")
    source = maria.source()
    begin = source.head()
    data = (hashlib.sha256(b"x").digest() * (size // 32 + 1))[:size]
    connection = maria.server.connect(database=maria.name)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1, %s, NULL)", (data,))
        cursor.execute("INSERT INTO t VALUES (2, NULL, REPEAT('é', 9000000))")
    connection.close()
    for found in (rows(copy_chunks(source, table)), rows(changes(source, {table: begin}))):
        first, second = found.to_pylist()
        assert first["b"] == data
        assert second["c"] == "é" * 9_000_000


def test_labels_put_in_the_middle_change_no_value_that_was_written_before(maria: Database) -> None:
    """The numbers of the later labels move; events of before carry the labels that they were written under."""
    table = maria.table("t")
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY, e ENUM('red', 'blue'), s SET('a', 'c'))")
    source = maria.source()
    begin = source.head()
    maria.execute("SET SESSION sql_mode = ''", "INSERT INTO t VALUES (1, 'blue', 'a,c'), (2, 'red', 'c'), (3, 'no such', '')")
    before = source.head()
    maria.execute("ALTER TABLE t MODIFY e ENUM('red', 'green', 'blue'), MODIFY s SET('a', 'b', 'c')")
    after = source.head()
    maria.execute("INSERT INTO t VALUES (4, 'blue', 'b,c')")
    old = rows(list(source.read(Window({table: begin}, before), Limits()))).to_pylist()
    assert old == [{"k": 1, "e": "blue", "s": "a,c"}, {"k": 2, "e": "red", "s": "c"}, {"k": 3, "e": "", "s": ""}]
    new = [{"k": 4, "e": "blue", "s": "b,c"}]
    assert rows(changes(source, {table: after})).to_pylist() == new
    assert rows(copy_chunks(source, table)).to_pylist() == old + new


def test_generated_and_invisible_columns_are_columns_like_others(maria: Database) -> None:
    table = maria.table("t")
    maria.execute(
        "CREATE TABLE t (k INT PRIMARY KEY, a INT, v INT AS (a + 1) VIRTUAL, p VARCHAR(9) AS (CONCAT('é', a)) PERSISTENT, "
        "h VARCHAR(5) INVISIBLE DEFAULT 'x', KEY (v))"
    )
    source = maria.source()
    begin = source.head()
    maria.execute("INSERT INTO t (k, a, h) VALUES (1, 5, 'y'), (2, NULL, NULL)", "INSERT INTO t (k, a) VALUES (3, -1)")
    expected = [(1, 5, 6, "é5", "y"), (2, None, None, None, None), (3, -1, 0, "é-1", "x")]
    for found in (rows(copy_chunks(source, table)), rows(changes(source, {table: begin}))):
        assert [tuple(row.values()) for row in found.to_pylist()] == expected


@pytest.mark.parametrize("kind", ["UUID", "INET6", "VARCHAR(50) COMPRESSED", "BLOB COMPRESSED"])
def test_types_of_mariadb_that_have_no_canonical_one_are_named_before_anything_is_read(maria: Database, kind: str) -> None:
    maria.execute(f"CREATE TABLE t (k INT PRIMARY KEY, c {kind})")
    with pytest.raises(SchemaError, match=r"column c has the type .* no canonical type"):
        maria.source().schema(maria.table("t"))
