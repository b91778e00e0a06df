"""The command line, from a real MariaDB into a real PostgreSQL: what it prints and the codes it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers import MySqlServer, PostgresServer
from tidegate.cli.main import main

Run = Callable[..., int]


@pytest.fixture
def shop(mariadb: MySqlServer, database: str) -> str:
    mariadb.execute(
        f"CREATE TABLE {database}.orders (id int PRIMARY KEY, total int)", f"INSERT INTO {database}.orders VALUES (1, 10), (2, 20)"
    )
    return database


@pytest.fixture
def tidegate(mariadb: MySqlServer, pg_database: PostgresServer, shop: str) -> Run:
    """A subcommand over the sync of ``orders``; more arguments follow."""

    def go(command: str, *more: str) -> int:
        source = f"mysql://{mariadb.user}@{mariadb.host}:{mariadb.port}"
        sink = f"postgres://{pg_database.user}@{pg_database.host}:{pg_database.port}/{pg_database.database}"
        what = ["shop_to_ods", "--source", source, "--sink", sink, "--table", f"{shop}.orders", "--schema", "ods"]
        return main([command, *what, *more])

    return go


def totals(server: PostgresServer) -> Any:
    connection = server.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, total FROM ods.orders ORDER BY 1")
        found = cursor.fetchall()
    connection.close()
    return found


@pytest.mark.mysql
@pytest.mark.postgres
class TestWithServers:
    def test_plan_says_what_would_happen_and_writes_nothing(
        self, tidegate: Run, shop: str, pg_database: PostgresServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert tidegate("plan") == 0
        assert f"{shop}.orders → ods.orders   first copy into an empty table" in capsys.readouterr().out
        connection = pg_database.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname IN ('ods', 'tidegate')")
            assert cursor.fetchone() == (0,)
        connection.close()

    def test_plan_prints_statements_that_another_account_can_run(
        self, tidegate: Run, pg_database: PostgresServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert tidegate("plan", "--ddl") == 0
        pg_database.execute(capsys.readouterr().out)
        assert tidegate("run") == 0
        assert totals(pg_database) == [(1, 10), (2, 20)]

    def test_plan_prints_what_stands_in_the_way_beside_the_statements(
        self, tidegate: Run, mariadb: MySqlServer, shop: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        mariadb.execute(f"ALTER TABLE {shop}.orders DROP PRIMARY KEY")
        assert tidegate("plan", "--ddl") == 1
        said = capsys.readouterr()
        assert "CREATE" in said.out
        assert "orders" in said.err

    def test_resync_of_a_sync_that_never_ran_is_no_success(self, tidegate: Run, capsys: pytest.CaptureFixture[str]) -> None:
        assert tidegate("resync") == 1
        assert "knows no sync shop_to_ods" in capsys.readouterr().err

    def test_plan_as_json(self, tidegate: Run, shop: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert tidegate("plan", "--json") == 0
        (table,) = json.loads(capsys.readouterr().out)["tables"]
        assert (table["source"], table["action"]) == (f"{shop}.orders", "copy")

    def test_run_copies_then_brings_changes(
        self, tidegate: Run, mariadb: MySqlServer, shop: str, pg_database: PostgresServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert tidegate("run") == 0
        mariadb.execute(f"DELETE FROM {shop}.orders WHERE id = 1")
        capsys.readouterr()
        assert tidegate("run", "--json") == 0
        output = capsys.readouterr()
        assert json.loads(output.out)["tables"][f"{shop}.orders"]["write"]["deleted"] == 1
        assert "1 deleted" in output.err
        assert totals(pg_database) == [(2, 20)]

    def test_run_prints_a_table(self, tidegate: Run, capsys: pytest.CaptureFixture[str]) -> None:
        assert tidegate("run") == 0
        head, orders, last = capsys.readouterr().out.splitlines()
        assert head.split() == ["table", "phase", "read", "inserted", "updated", "deleted", "position"]
        assert orders.split()[:6] == ["ods.orders", "snapshot", "2", "2", "0", "0"]
        assert last.startswith("2 changes in ")

    def test_doctor_says_how_long_the_log_is_kept_and_ends_with_its_verdict(
        self, tidegate: Run, mariadb: MySqlServer, shop: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert tidegate("doctor") == 0
        assert "shop_to_ods: ok" in capsys.readouterr().out
        assert tidegate("run") == 0
        mariadb.execute("SET GLOBAL binlog_expire_logs_seconds = 604800")
        try:
            assert tidegate("doctor", "--every", "1d") == 0
            assert tidegate("doctor", "--every", "4d") == 1
            assert "one missed run would lose the place" in capsys.readouterr().out
            assert tidegate("doctor", "--every", "30d", "--json") == 2
        finally:
            mariadb.execute("SET GLOBAL binlog_expire_logs_seconds = 0")
        report = json.loads(capsys.readouterr().out)
        assert (report["verdict"], report["interval"]) == ("critical", 30 * 86_400)
        (kept,) = report["retention"]
        assert kept["table"] == f"{shop}.orders"
        assert 0 < kept["seconds_left"] <= 604_800

    def test_options_reach_the_target(self, tidegate: Run, pg_database: PostgresServer, mariadb: MySqlServer, shop: str) -> None:
        options = ["--set", "conflict_mode=update", "--set", "columns=total", "--set", "batch_rows=1"]
        assert tidegate("run", *options) == 0
        mariadb.execute(f"UPDATE {shop}.orders SET total = 11 WHERE id = 1")
        assert tidegate("run", *options) == 0
        assert totals(pg_database) == [(1, 11), (2, 20)]

    def test_a_table_that_is_in_the_way_is_one_line_and_code_1(
        self, tidegate: Run, pg_database: PostgresServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pg_database.execute("CREATE SCHEMA ods", "CREATE TABLE ods.orders (id int PRIMARY KEY, total int)")
        pg_database.execute("INSERT INTO ods.orders VALUES (9, 9)")
        assert tidegate("run") == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert "initial='replace' or 'merge'" in lines[0]
        assert tidegate("plan") == 1
        assert totals(pg_database) == [(9, 9)]


SUBJECT = ["shop_to_ods", "--table", "shop.orders"]


def test_a_server_that_is_away_is_code_75(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["plan", *SUBJECT, "--source", "mysql://me@127.0.0.1:1", "--sink", "postgres://me@127.0.0.1:1/x"])
    lines = capsys.readouterr().err.splitlines()
    assert (code, len(lines)) == (75, 1)
    assert lines[0].startswith("tidegate: connection ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "mysql://me:s3cret@db", "--sink", "postgres://me@db"], "set TIDEGATE_SOURCE_PASSWORD"),
        (["--source", "mysql://me@db"], "no --sink"),
        (["--source", "mysql://me@db", "--sink", "postgres://me@db", "--set", "write_mod=append"], "did you mean write_mode?"),
        (["--source", "mysql://me@db", "--sink", "postgres://me@db", "--set", "write_mode"], "write --set write_mode=VALUE"),
    ],
)
def test_a_wrong_command_line_is_code_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", *SUBJECT, *arguments])
    assert ended.value.code == 2
    output = capsys.readouterr().err
    assert message in output
    assert "s3cret" not in output


def test_a_span_that_is_none_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *SUBJECT, "--every", "daily"])
    assert ended.value.code == 2
    assert "write 900, 15m, 24h or 7d" in capsys.readouterr().err


def test_systems_lists_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    from tidegate.providers.system import systems

    assert main(["systems"]) == 0
    output = capsys.readouterr().out
    for system in systems().values():
        assert system.label in output
        assert all(field.name in output for field in system.fields)


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = f"{sys.executable} -m tidegate.cli.main systems | head -1"
    path = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path})
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.parametrize("words", [[], ["sandbox"], ["sandbox", "gaussdb"]], ids=" ".join)
def test_help_imports_no_sandbox_and_no_driver(words: list[str]) -> None:
    program = f"""
import sys
from tidegate.cli.main import main
try:
    main({[*words, "--help"]})
finally:
    print(*sys.modules, file=sys.stderr)
"""
    path = str(Path(__file__).parents[2] / "src")
    env = os.environ | {"PYTHONPATH": path}
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert said.stdout.startswith("usage: tidegate")
    drivers = {"pymysql", "psycopg2", "pg8000", "connectorx", "sqlalchemy", "duckdb", "requests", "mysql_mimic", "sqlglot"}
    loaded = said.stderr.split()
    assert "tidegate.cli.sandbox" in loaded
    assert [name for name in loaded if name.startswith("tidegate.sandbox") or name.partition(".")[0] in drivers] == []
