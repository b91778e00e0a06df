"""The test servers themselves: they answer, and they survive being killed and started again."""

from __future__ import annotations

import pytest

from tests.servers import MySqlServer, PostgresServer, start_postgres


@pytest.mark.mysql
def test_mariadb_writes_a_full_row_binlog(mariadb: MySqlServer) -> None:
    with mariadb.connect().cursor() as cursor:
        cursor.execute("SELECT @@log_bin, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata")
        assert cursor.fetchone() == (1, "ROW", "FULL", "FULL")


@pytest.mark.mysql
def test_mysql56_writes_a_full_row_binlog(mysql56: MySqlServer) -> None:
    with mysql56.connect().cursor() as cursor:
        cursor.execute("SELECT @@version, @@binlog_format, @@binlog_row_image, @@gtid_mode")
        version, *settings = cursor.fetchone()
    assert version.startswith("5.6.")
    assert settings == ["ROW", "FULL", "ON"]


@pytest.mark.postgres
def test_postgres_comes_back_with_its_data_after_a_kill() -> None:
    server: PostgresServer = start_postgres()
    try:
        server.execute("CREATE TABLE t AS SELECT 1 AS a")
        server.restart()
        connection = server.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT a FROM t")
            assert cursor.fetchall() == [(1,)]
        connection.close()
    finally:
        server.stop()
