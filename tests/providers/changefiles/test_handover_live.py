"""A table that was followed in MariaDB's log goes on from captured segments, and holds what it would have held otherwise."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.servers import MySqlServer, PostgresServer
from tests.shop import TABLES, Shop
from tidegate.changes.schema import TableName
from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync, TableMapping
from tidegate.sync.options import WriteOptions
from tidegate.sync.results import SyncResult
from tidegate.sync.run import run

pytestmark = [pytest.mark.mysql, pytest.mark.postgres]


def test_the_change_log_is_the_same_whether_or_not_its_source_was_changed(
    mariadb: MySqlServer, database: str, pg_database: PostgresServer, tmp_path: Path
) -> None:
    shop = Shop(mariadb, database)
    shop.create()
    shop.fill(5)
    names = [f"{database}.{table}" for table in TABLES]
    captured = systems()["changefiles"], {"url": str(tmp_path)}
    live, warehouse = (systems()["mysql"], mariadb.values()), (systems()["postgres"], pg_database.values())
    logged = WriteOptions(write_mode="append", op_column="op")
    # The stream's tables go by the names that they have in the log.
    mappings = [TableMapping(table, table, options=WriteOptions(write_mode="append")) for table in map(TableName.parse, names)]
    capture = Sync("capture", tuple(mappings))

    def follow(sync: Sync, source: tuple[Any, dict[str, Any]], sink: tuple[Any, dict[str, Any]]) -> SyncResult:
        with closing(source[0].open_source(source[1], "source")) as opened, closing(sink[0].open_sink(sink[1], "sink")) as target:
            return run(sync, opened, target, owner="test")

    switching = Sync.of("switching", names, schema="a", options=logged)
    staying = Sync.of("staying", names, schema="b", options=logged)
    follow(capture, live, captured)
    follow(switching, live, warehouse)
    follow(staying, live, warehouse)
    for part in range(3):
        shop.run(5)
        if part == 1:
            follow(switching, live, warehouse)
        if part != 0:
            shop.run(5)
        follow(capture, live, captured)
    result = follow(switching, captured, warehouse)
    assert result.rows > 0
    follow(staying, live, warehouse)
    for table in TABLES:
        assert contents(pg_database, f"a.{table}") == contents(pg_database, f"b.{table}")
    # And back: all tables of the stream stand at one position of the log, so nothing comes twice.
    shop.run(5)
    assert follow(switching, live, warehouse).rows > 0
    follow(staying, live, warehouse)
    for table in TABLES:
        assert contents(pg_database, f"a.{table}") == contents(pg_database, f"b.{table}")


def contents(server: PostgresServer, table: str) -> list[str]:
    connection = server.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()
