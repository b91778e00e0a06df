"""What stands in the way is found before anything is read, and named with what would change it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.providers.mysql.reading import NAME, Database, changes
from tests.servers import MySqlServer, free_port, next_second, running, start_mariadb, start_mysql56
from tidegate.changes.position import BinlogPosition, Position, SegmentPosition, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import PositionLost, PreflightError, SchemaError, TidegateError, Unavailable
from tidegate.providers.mysql.source import MysqlSource
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql


@pytest.fixture
def t(db: Database) -> TableName:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    return db.table("t")


def problems(source: MysqlSource, table: TableName, position: Position | None = None) -> tuple[TidegateError, ...]:
    return source.preflight({table: position}).problems


def only(source: MysqlSource, table: TableName, position: Position | None = None) -> TidegateError:
    (problem,) = problems(source, table, position)
    assert problem.connection == NAME
    return problem


@pytest.fixture(scope="module", params=[start_mariadb, start_mysql56], ids=["mariadb", "mysql56"])
def own_server(request: pytest.FixtureRequest) -> Iterator[MySqlServer]:
    """A server whose log may be purged and reset."""
    request.getfixturevalue("mariadb" if request.param is start_mariadb else "mysql56")
    with running(request.param) as server:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (k INT PRIMARY KEY)")
        yield server


def test_a_server_as_it_should_be_has_no_problems(db: Database, t: TableName) -> None:
    source = db.source()
    findings = source.preflight({t: None})
    assert findings.problems == ()
    warned = "\n".join(findings.warnings)
    if source._flavour().mariadb:
        assert warned == ""
    else:
        assert "can't write columns' names" in warned


def test_the_lock_of_a_first_copy_on_mysql_is_said_while_a_copy_is_to_come(db: Database, t: TableName) -> None:
    source = db.source()
    lock = "a first copy on MySQL begins with a brief lock"
    assert any(lock in warning for warning in source.preflight({t: None}).warnings) != source._flavour().mariadb
    assert not any(lock in warning for warning in source.preflight({t: source.head()}).warnings)


def test_less_than_full_metadata_is_worth_a_warning(mariadb: MySqlServer, maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    mariadb.execute("SET GLOBAL binlog_row_metadata = MINIMAL", "SET GLOBAL binlog_expire_logs_seconds = 7200")
    try:
        findings = maria.source().preflight({maria.table("t"): None})
    finally:
        mariadb.execute("SET GLOBAL binlog_row_metadata = FULL", "SET GLOBAL binlog_expire_logs_seconds = 0")
    assert findings.problems == ()
    assert "[binlog_row_metadata=FULL]" in findings.warnings[0]
    assert "2.0 hours" in findings.warnings[1]


def test_a_wrong_password_is_permanent_and_not_shown(db: Database, t: TableName) -> None:
    with pytest.raises(PreflightError, match="Access denied") as caught:
        db.source(login="nobody_here", password="s3cret-s3cret").preflight({t: None})
    assert caught.value.connection == NAME
    assert "s3cret" not in str(caught.value)


def test_a_server_that_can_not_be_reached_is_worth_a_retry(db: Database, t: TableName) -> None:
    with pytest.raises(Unavailable, match=NAME):
        db.source(port=free_port()).preflight({t: None})


def test_a_missing_table_is_named(db: Database) -> None:
    problem = only(db.source(), db.table("no_such"))
    assert isinstance(problem, SchemaError)
    assert problem.table == str(db.table("no_such"))


def test_a_table_spelled_unlike_the_server_does_is_refused(maria: Database) -> None:
    with running(start_mariadb, "--lower-case-table-names=1") as server:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (k INT PRIMARY KEY)")
        db = Database(server, "shop")
        problem = only(db.source(), TableName("Shop", "T"))
        assert "spells the table shop.t" in str(problem)
        db.close()


def test_a_table_with_a_column_of_no_canonical_type_is_named(maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY, v INET6)")
    problem = only(maria.source(), maria.table("t"))
    assert isinstance(problem, SchemaError)
    assert "column v has the type inet6" in str(problem)


@pytest.mark.parametrize(
    ("grants", "setting"),
    [
        ((), "REPLICATION CLIENT"),
        (("REPLICATION CLIENT",), "GRANT REPLICATION SLAVE"),
    ],
)
def test_missing_privileges_are_named(db: Database, t: TableName, grants: tuple[str, ...], setting: str) -> None:
    user = f"{db.name}_{len(grants)}"
    db.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'pw'", f"GRANT SELECT ON {db.name}.* TO {user}@'%'")
    db.execute(*(f"GRANT {grant} ON *.* TO {user}@'%'" for grant in grants))
    try:
        problem = only(db.source(login=user, password="pw"), t)
        assert isinstance(problem, PreflightError)
        assert problem.setting is not None
        assert setting in problem.setting
    finally:
        db.execute(f"DROP USER {user}@'%'")


def test_a_table_that_may_not_be_read_is_named(db: Database, t: TableName) -> None:
    user = f"{db.name}_r"
    db.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'pw'", f"GRANT REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO {user}@'%'")
    db.execute(f"GRANT INSERT ON {db.name}.t TO {user}@'%'")
    try:
        problem = only(db.source(login=user, password="pw"), t)
        assert problem.table == str(t)
        assert problem.setting == "GRANT"
    finally:
        db.execute(f"DROP USER {user}@'%'")


def test_the_privileges_that_the_messages_name_are_enough(db: Database, t: TableName) -> None:
    """On MySQL, without RELOAD, the tables of the copy are locked for a moment instead of all."""
    user = f"{db.name}_e"
    db.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'pw'", f"GRANT REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO {user}@'%'")
    db.execute(f"GRANT SELECT, LOCK TABLES ON {db.name}.* TO {user}@'%'", "REPLACE INTO t VALUES (1)")
    try:
        source = db.source(login=user, password="pw")
        assert source.preflight({t: None}).problems == ()
        start = source.start([t], consistent=False)
        (chunk,) = source.read(Window(start, None), Limits())
        assert chunk.num_rows == 1
        assert isinstance(chunk.end, BinlogPosition)
        assert changes(source, {t: chunk.end})[-1].num_rows == 0
    finally:
        db.execute(f"DROP USER {user}@'%'")


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--skip-log-bin", "log_bin=ON"),
        ("--binlog-format=STATEMENT", "binlog_format=ROW"),
        ("--binlog-format=MIXED", "binlog_format=ROW"),
        ("--binlog-row-image=MINIMAL", "binlog_row_image=FULL"),
    ],
)
def test_a_log_that_does_not_hold_all_rows_is_refused(option: str, setting: str) -> None:
    with running(start_mariadb, option) as server:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (k INT PRIMARY KEY)")
        db = Database(server, "shop")
        problem = only(db.source(), db.table("t"))
        assert isinstance(problem, PreflightError)
        assert problem.setting == setting
        db.close()


def test_the_servers_own_id_is_refused_for_the_replica(db: Database, t: TableName) -> None:
    problem = only(db.source(server_id=1), t)
    assert problem.setting == "server_id of the connection"


def test_a_purged_position_names_the_oldest_file_and_the_way_out(own_server: MySqlServer) -> None:
    db = Database(own_server, "shop")
    source, table = db.source(), db.table("t")
    begin = source.head()
    db.execute("DELETE FROM t", "INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    head = source.head()
    assert problems(source, table, begin) == ()

    assert own_server.purge() == head.file
    for position in (begin, SnapshotPosition(begin, None, 0)):
        problem = only(source, table, position)
        assert isinstance(problem, PositionLost)
        assert f"{begin.file} was purged, the oldest file is {head.file}" in str(problem)
        assert "tidegate resync" in str(problem)
        assert problem.table == "shop.t"
        assert problem.setting == "binlog_expire_logs_seconds, expire_logs_days"
    with pytest.raises(PositionLost, match="was purged"):
        list(source.read(Window({table: begin}, head), Limits()))
    db.close()


def test_a_log_that_was_reset_is_told_from_the_one_that_was_read(own_server: MySqlServer) -> None:
    db = Database(own_server, "shop")
    table = db.table("t")
    own_server.execute("RESET MASTER")
    db.execute("REPLACE INTO t VALUES (1)")
    early, late = db.source().head(), db.source().head()
    db.execute("REPLACE INTO t VALUES (2)", "REPLACE INTO t VALUES (3)", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    newest = db.source().head()
    next_second()
    own_server.execute("RESET MASTER")
    source = db.source()
    assert "has no file" in str(only(source, table, newest))
    assert "ends at" in str(only(source, table, replace(late, offset=10_000_000)))
    db.execute("REPLACE INTO t VALUES (4)", "REPLACE INTO t VALUES (5)", "REPLACE INTO t VALUES (6)")
    problem = only(source, table, early)
    assert isinstance(problem, PositionLost)
    assert "another file than the one that was read" in str(problem)
    for position in (early, newest):
        with pytest.raises(PositionLost):
            list(source.read(Window({table: position}, source.head()), Limits()))
    db.close()


def test_a_position_of_another_server_or_kind_is_refused(db: Database, t: TableName) -> None:
    source = db.source()
    foreign = replace(source.head(), server="mariadb-77", gtid="")
    problem = only(source, t, foreign)
    assert isinstance(problem, PositionLost)
    assert "of the server mariadb-77" in str(problem)
    with pytest.raises(PositionLost):
        list(source.read(Window({t: foreign}, source.head()), Limits()))
    assert "another source" in str(only(source, t, SegmentPosition("s")))


@pytest.mark.parametrize(
    "statement",
    ["CREATE VIEW t AS SELECT 1 AS k", "CREATE TABLE t (k INT PRIMARY KEY) WITH SYSTEM VERSIONING", "CREATE SEQUENCE t"],
)
def test_what_is_no_plain_table_is_refused(maria: Database, statement: str) -> None:
    """A view has no rows in the log; of a versioned table the log has those of its history too."""
    maria.execute(statement)
    (problem,) = maria.source().preflight({maria.table("t"): None}).problems
    assert isinstance(problem, SchemaError)
    assert "is of the kind" in str(problem)


def test_a_foreign_key_that_changes_rows_without_a_word_in_the_log_is_warned_of(db: Database) -> None:
    db.execute(
        "CREATE TABLE p (k INT PRIMARY KEY)",
        "CREATE TABLE t (k INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (k) ON DELETE CASCADE)",
        "CREATE TABLE u (k INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (k))",
    )
    warnings = db.source().preflight({db.table(name): None for name in "ptu"}).warnings
    (found,) = [text for text in warnings if "foreign key" in text]
    assert f"{db.table('t')} with those of p (ON DELETE CASCADE)" in found


@pytest.mark.parametrize("option", ["--binlog-ignore-db=away", "--binlog-do-db=other"])
def test_a_database_that_the_server_leaves_out_of_its_log_is_refused(option: str) -> None:
    with running(start_mariadb, option) as server:
        server.execute("CREATE DATABASE away", "CREATE TABLE away.t (k INT PRIMARY KEY)")
        database = Database(server, "away")
        (problem,) = database.source().preflight({database.table("t"): None}).problems
        assert "leaves changes in the database away out of its log" in str(problem)
        database.close()
