"""What a user gets wrong: each with an error that says what, where and which setting, and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from tests.servers import MySqlServer, PostgresServer, running, start_mariadb
from tests.shop import Shop
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, EventRefused, PositionLost, PreflightError, RowRefused, SchemaError, TidegateError
from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.plan import plan
from tidegate.sync.run import run

pytestmark = [pytest.mark.mysql, pytest.mark.postgres]


@dataclass
class Setup:
    """A shop with a few rows and an empty target; ``source`` and ``sink`` are the connection fields, ``options`` the write's."""

    shop: Shop
    target: PostgresServer
    source: dict[str, Any]
    sink: dict[str, Any]
    options: dict[str, Any]
    table: str

    def run(self) -> None:
        source = systems()["mysql"].open_source(self.source, "shop_mysql")
        sink = systems()["postgres"].open_sink(self.sink, "warehouse")
        with closing(source), closing(sink):
            run(Sync.of("shop", [self.table], schema="ods", options=WriteOptions.of(self.options)), source, sink, owner="test")

    def rows(self) -> int:
        """Rows in all tables of the target but the ledger's, which may say that a copy has begun."""
        connection = self.target.connect()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT format('SELECT count(*) FROM %I.%I', schemaname, tablename) FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'tidegate')"
            )
            total = 0
            for (query,) in cursor.fetchall():
                cursor.execute(query)
                (count,) = cursor.fetchone() or (0,)
                total += int(count)
        connection.close()
        return total


def setup_on(server: MySqlServer, database: str, target: PostgresServer) -> Setup:
    shop = Shop(server, database)
    shop.create()
    shop.fill(5)
    values = server.values()
    return Setup(shop, target, values, target.values(), {"max_retries": 0}, f"{database}.orders")


@pytest.fixture
def case(mariadb: MySqlServer, database: str, pg_database: PostgresServer) -> Setup:
    return setup_on(mariadb, database, pg_database)


def refused(case: Setup, error: type[TidegateError], *says: str) -> None:
    """The run raises this error, whose text has all of these in it and no secret, and the target has no row more."""
    before = case.rows()
    with pytest.raises(error) as caught:
        case.run()
    text = str(caught.value)
    for part in says:
        assert part in text, text
    assert "hunter2" not in text
    assert case.rows() == before


def test_a_wrong_password_of_the_source(case: Setup) -> None:
    case.shop.server.execute(
        "CREATE USER IF NOT EXISTS 'reader'@'%' IDENTIFIED BY 'right'", f"GRANT ALL ON {case.shop.database}.* TO 'reader'@'%'"
    )
    case.source |= {"login": "reader", "password": "hunter2"}
    refused(case, PreflightError, "shop_mysql", "reader")


def test_an_account_without_replication_rights(case: Setup) -> None:
    case.shop.server.execute(
        "CREATE USER IF NOT EXISTS 'plain'@'%' IDENTIFIED BY 'hunter2'", f"GRANT SELECT ON {case.shop.database}.* TO 'plain'@'%'"
    )
    case.source |= {"login": "plain", "password": "hunter2"}
    refused(case, PreflightError, "shop_mysql", "REPLICATION SLAVE", "GRANT")


def test_a_wrong_user_of_the_target(case: Setup) -> None:
    case.sink |= {"login": "nobody_here", "password": "hunter2"}
    refused(case, PreflightError, "warehouse", "nobody_here")


def test_a_missing_source_table(case: Setup) -> None:
    case.table = f"{case.shop.database}.nowhere"
    refused(case, SchemaError, "shop_mysql", f"{case.shop.database}.nowhere")


def test_a_table_without_key_under_upsert(case: Setup) -> None:
    case.shop.server.execute(f"CREATE TABLE {case.shop.database}.keyless (a INT)")
    case.table = f"{case.shop.database}.keyless"
    refused(case, SchemaError, "keyless", "no primary key", "write_mode='append'")


def test_a_target_that_is_not_empty(case: Setup) -> None:
    case.target.execute(
        "CREATE SCHEMA ods", "CREATE TABLE ods.orders (id numeric PRIMARY KEY)", "INSERT INTO ods.orders VALUES (1)"
    )
    refused(case, PreflightError, "warehouse", "ods.orders", "initial=")


def test_a_target_column_that_is_too_narrow(case: Setup) -> None:
    case.target.execute("CREATE SCHEMA ods", "CREATE TABLE ods.orders (id numeric(20) PRIMARY KEY, memo varchar(10))")
    case.options["on_ddl"] = "fail"
    refused(case, SchemaError, "ods.orders", "memo", "varchar(60)")


def test_no_right_to_create_the_ledger(case: Setup) -> None:
    case.target.execute(
        "DO $$ BEGIN CREATE ROLE loader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f"REVOKE CREATE ON DATABASE {case.target.database} FROM loader",
    )
    case.sink |= {"login": "loader"}
    refused(case, PreflightError, "warehouse", "CREATE TABLE", "tidegate_ledger")


def test_an_option_that_is_unknown_or_out_of_range(case: Setup) -> None:
    case.options = {"batch_row": 5}
    refused(case, ConfigError, "did you mean batch_rows")
    case.options = {"batch_rows": 0}
    refused(case, ConfigError, "batch_rows")


def test_an_unknown_field_of_a_connection(case: Setup) -> None:
    case.source |= {"hsot": "x"}
    refused(case, ConfigError, "shop_mysql", "did you mean host")


def test_an_option_that_the_target_cannot_do(case: Setup) -> None:
    case.options |= {"parallelism": 4}
    refused(case, ConfigError, "warehouse", "parallelism")


def test_a_character_that_the_target_has_no_place_for(case: Setup) -> None:
    case.shop.server.execute(f"UPDATE {case.table} SET memo = CONCAT('hunter2', CHAR(0)) ORDER BY id LIMIT 1")
    refused(case, RowRefused, "warehouse", "ods.orders", "column memo", "U+0000", "on_error")


def test_a_version_column_that_the_source_lacks(case: Setup) -> None:
    case.options |= {"version_column": "modified"}
    refused(case, ConfigError, "modified", "version_column")


def test_all_problems_are_told_at_once(case: Setup) -> None:
    case.options |= {"version_column": "modified", "parallelism": 4}
    refused(case, ConfigError, "2 problems", "version_column", "parallelism")


# A server of one's own


@pytest.fixture
def own(request: pytest.FixtureRequest, pg_database: PostgresServer) -> Iterator[Setup]:
    with running(start_mariadb, *request.param) as server:
        server.execute("CREATE DATABASE shop")
        yield setup_on(server, "shop", pg_database)


@pytest.mark.parametrize("own", [["--skip-log-bin"]], indirect=True)
def test_a_server_without_binlog(own: Setup) -> None:
    refused(own, PreflightError, "shop_mysql", "log_bin")


@pytest.mark.parametrize("own", [["--binlog-format=STATEMENT"]], indirect=True)
def test_a_server_that_logs_statements(own: Setup) -> None:
    refused(own, PreflightError, "shop_mysql", "binlog_format")


@pytest.mark.parametrize("own", [[]], indirect=True)
def test_what_happens_to_a_stored_position(own: Setup) -> None:
    """Purged, reset, and of another server: each told from the others, before a row is read."""
    own.run()
    own.shop.run(2)
    own.shop.server.execute("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    own.shop.server.purge()
    refused(own, PositionLost, "shop_mysql", "shop.orders", "purged")
    own.shop.server.execute("RESET MASTER")
    own.shop.run(40)
    refused(own, PositionLost, "shop_mysql", "shop.orders", "binlog.000001")
    own.shop.server.execute("RESET MASTER", "SET GLOBAL server_id = 77")
    own.shop.run(40)
    refused(own, PositionLost, "shop_mysql", "shop.orders", "server")


@pytest.mark.parametrize("own", [[]], indirect=True)
def test_what_a_session_may_do_to_the_binlog_is_seen_in_the_event(own: Setup) -> None:
    """No preflight can see these: they are set in a session, so the event itself is refused."""
    own.run()
    connection = own.shop.server.connect(database="shop")
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION binlog_row_image = MINIMAL")
        cursor.execute("UPDATE orders SET memo = 'hunter2' LIMIT 1")
    connection.close()
    refused(own, EventRefused, "shop.orders", "binlog_row_image")


def test_a_truncate_of_a_synced_table_is_not_passed_over(case: Setup) -> None:
    case.run()
    case.shop.server.execute(f"TRUNCATE {case.table}")
    case.options["on_ddl"] = "fail"
    refused(case, EventRefused, case.table, "TRUNCATE", "on_ddl")


def test_plan_tells_what_a_run_would_do_and_writes_nothing(case: Setup) -> None:
    source = systems()["mysql"].open_source(case.source, "shop_mysql")
    sink = systems()["postgres"].open_sink(case.sink, "warehouse")
    with closing(source), closing(sink):
        text = str(made := plan(Sync.of("shop", [case.table], schema="ods"), source, sink))
    assert f"{case.table} → ods.orders   first copy into an empty table, then the changes since it began" in text
    assert 'CREATE TABLE IF NOT EXISTS "ods"."orders"' in text
    assert any("tidegate_ledger" in statement for statement in made.ddl)
    assert made.tables[0].target.table == TableName("ods", "orders")
    connection = case.target.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname IN ('ods', 'tidegate')")
        assert cursor.fetchone() == (0,)
    connection.close()
