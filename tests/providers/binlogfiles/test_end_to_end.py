"""A sync that goes from the server to its files and back, into PostgreSQL."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.servers import MySqlServer, PostgresServer, running, start_mariadb, start_mysql56
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.providers.binlogfiles import connection as binlogfiles
from tidegate.providers.mysql import connection as mysql
from tidegate.providers.postgres import connection as postgres
from tidegate.sync.mapping import Sync
from tidegate.sync.protocols import Entry
from tidegate.sync.results import SyncResult
from tidegate.sync.run import run

pytestmark = [pytest.mark.mysql, pytest.mark.postgres]

ORDERS = TableName("shop", "orders")
SYNC = Sync.of("shop_to_ods", [ORDERS], schema="ods")


def go(pg: PostgresServer, source: Any) -> SyncResult:
    with closing(postgres.SYSTEM.open_sink(pg.values(), "warehouse")) as sink, closing(source):
        return run(SYNC, source, sink, owner="test")


def rows(pg: PostgresServer) -> list[tuple[Any, ...]]:
    connection = pg.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, name, total::text FROM ods.orders ORDER BY id")
        found: list[tuple[Any, ...]] = cursor.fetchall()
    connection.close()
    return found


def fetch(server: MySqlServer) -> list[tuple[Any, ...]]:
    connection = server.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, name, CAST(total AS CHAR) FROM shop.orders ORDER BY id")
        found = list(cursor.fetchall())
    connection.close()
    return found


def archive(server: MySqlServer, folder: Path) -> Path:
    server.execute("FLUSH BINARY LOGS")
    folder.mkdir(exist_ok=True)
    for path in (server.folder / "data").glob("binlog.0*"):
        shutil.copy(path, folder / path.name)
    return folder


def busy(server: MySqlServer, first: int) -> None:
    for number in range(first, first + 20):
        server.execute(f"INSERT INTO shop.orders VALUES ({number}, 'ä€{number}', {number}.5)")
    server.execute(f"UPDATE shop.orders SET id = id + 1000 WHERE id % 5 = 0 AND id > {first}", "FLUSH BINARY LOGS")
    server.execute(f"DELETE FROM shop.orders WHERE id % 7 = 0 AND id > {first}", "UPDATE shop.orders SET total = total + 1")


CREATE = "CREATE TABLE shop.orders (id INT PRIMARY KEY, name VARCHAR(20) CHARACTER SET utf8, total DECIMAL(9,2))"


def test_live_and_files_go_on_from_each_other(mariadb: MySqlServer, pg_database: PostgresServer, tmp_path: Path) -> None:
    with running(start_mariadb) as server:
        server.execute("CREATE DATABASE shop", CREATE)
        busy(server, 1)
        assert go(pg_database, mysql.SYSTEM.open_source(server.values(), "live")).tables[0].phase == "snapshot"
        busy(server, 100)
        folder = archive(server, tmp_path / "log")
        result = go(pg_database, binlogfiles.SYSTEM.open_source({"url": str(folder)}, "archive"))
        assert result.tables[0].phase == "changes"
        assert rows(pg_database) == fetch(server)
        assert go(pg_database, binlogfiles.SYSTEM.open_source({"url": str(folder)}, "archive")).tables[0].phase == "idle"
        busy(server, 200)
        assert go(pg_database, mysql.SYSTEM.open_source(server.values(), "live")).tables[0].phase == "changes"
        assert rows(pg_database) == fetch(server)


def test_the_whole_history_without_metadata_from_a_given_begin(
    mysql56: MySqlServer, pg_database: PostgresServer, tmp_path: Path
) -> None:
    with running(start_mysql56) as server:
        server.execute("CREATE DATABASE shop", CREATE)
        for round_ in range(3):
            busy(server, 1 + 100 * round_)
        folder = archive(server, tmp_path / "log")
        expected = fetch(server)
    given = {"url": str(folder), "ddl": f"{CREATE} DEFAULT CHARSET=utf8"}
    with pytest.raises(ConfigError, match="no rows to copy"):
        go(pg_database, binlogfiles.SYSTEM.open_source(given, "archive"))
    with (
        closing(postgres.SYSTEM.open_sink(pg_database.values(), "warehouse")) as sink,
        closing(binlogfiles.SYSTEM.open_source(given, "archive")) as source,
    ):
        begin = source.locate("earliest")
        lease = sink.ledger.acquire(SYNC.name, "test", 60)
        sink.ledger.record(lease, [Entry(SYNC.name, ORDERS, TableName("ods", "orders"), begin)])
        sink.ledger.release(lease)
    result = go(pg_database, binlogfiles.SYSTEM.open_source(given, "archive"))
    assert result.tables[0].phase == "changes"
    assert rows(pg_database) == expected
