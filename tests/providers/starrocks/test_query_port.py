"""Session, metadata, inspection and health against the sandbox's query port."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.starrocks.scripted_sql import fields
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import PreflightError, SchemaError, Unavailable
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.backoff import Backoff
from tidegate.providers.starrocks.health import findings
from tidegate.providers.starrocks.inspection import inspect
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.session import Denied, Session
from tidegate.sandbox.starrocks.mysql import QueryPort
from tidegate.sandbox.starrocks.server import StarrocksSandbox
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions

T = TableName("shop", "orders")
PAGE_UV = """
CREATE TABLE `shop`.`page_uv` (`page_id` INT NOT NULL, `visit_date` datetime NOT NULL, `visit_users` BITMAP BITMAP_UNION NOT NULL)
ENGINE=OLAP AGGREGATE KEY(`page_id`, `visit_date`) DISTRIBUTED BY HASH(`page_id`)
"""
EVERY_TYPE = [
    Column("flag", pa.bool_()),
    Column("tiny", pa.int8()),
    Column("small", pa.int16()),
    Column("word", pa.int32()),
    Column("long", pa.int64()),
    Column("utiny", pa.uint8()),
    Column("uword", pa.uint32()),
    Column("ulong", pa.uint64()),
    Column("single", pa.float32()),
    Column("double", pa.float64()),
    Column("money", pa.decimal128(18, 4)),
    Column("short", pa.string(), attributes={"length": "20"}),
    Column("long text", pa.string(), attributes={"length": "4294967295"}),
    Column("document", pa.string(), attributes={"json": "1"}),
    Column("bytes", pa.binary(), attributes={"length": "16"}),
    Column("day", pa.date32()),
    Column("moment", pa.timestamp("us"), attributes={"fsp": "6"}),
    Column("instant", pa.timestamp("us", tz="UTC"), attributes={"fsp": "0"}),
    Column("lasting", pa.duration("us")),
]


@pytest.fixture(scope="module", params=["2.5.18", "3.3.5", "4.0.1"])
def box(request: pytest.FixtureRequest) -> Iterator[StarrocksSandbox]:
    with StarrocksSandbox(request.param) as made:
        yield made


def connect(box: StarrocksSandbox, **more: Any) -> Session:
    values = {"host": box.fe_host, "port": box.fe_query_port, "login": "root", "password": "", "connect_timeout_ms": 5000}
    return Session(fields(**{**values, **more}), "sr")


@pytest.fixture
def session(box: StarrocksSandbox) -> Iterator[Session]:
    made = connect(box)
    made.run("DROP DATABASE IF EXISTS shop")
    made.run("CREATE DATABASE shop")
    yield made
    made.close()


@pytest.fixture
def metadata(session: Session) -> Metadata:
    return Metadata(session)


@pytest.fixture
def guest(session: Session, box: StarrocksSandbox) -> Iterator[Metadata]:
    """An account with no rights but those that a test grants."""
    session.run("DROP USER IF EXISTS 'guest'@'%'")
    session.run("CREATE USER 'guest'@'%' IDENTIFIED BY 'secret'")
    made = connect(box, login="guest", password="secret")
    yield Metadata(made)
    made.close()


def target(*columns: Column, key: tuple[str, ...] = ("id",), **options: Any) -> Target:
    first = Column("id", pa.int64(), nullable=False)
    return Target(T, TableSchema(TableName("src", "orders"), (first, *columns), key), WriteOptions(**options))


def prepare(metadata: Metadata, wanted: Target) -> None:
    found = inspect(wanted, metadata)
    assert [str(problem) for problem in found.problems] == []
    for statement in found.ddl:
        metadata.apply(T, statement)


class TestSession:
    def test_begins_in_the_connection_s_time_zone_and_not_in_the_server_s(self, session: Session, box: StarrocksSandbox) -> None:
        assert session.value("SELECT @@time_zone") == "UTC"
        with_zone = connect(box, time_zone="America/New_York")
        assert with_zone.value("SELECT @@time_zone") == "America/New_York"
        with_zone.close()

    def test_a_wrong_password_and_a_table_that_is_not_there(self, session: Session, box: StarrocksSandbox) -> None:
        wrong = connect(box, password="wrong")
        with pytest.raises(PreflightError):
            wrong.rows("SELECT 1")
        wrong.close()
        with pytest.raises(SchemaError):
            session.rows("SELECT * FROM shop.nothing")
        with pytest.raises(SchemaError):
            session.rows("SELECT * FROM nowhere.nothing")

    def test_the_other_frontend_answers_when_the_first_is_gone(self, box: StarrocksSandbox) -> None:
        nobody = "127.0.0.250"
        session = connect(box, host=f"{nobody},{box.follower_host}")
        assert session.value("SELECT 1") == 1
        assert session.address == f"{box.follower_host}:{box.fe_query_port}"
        session.close()
        alone = connect(box, host=nobody)
        with pytest.raises(Unavailable, match=nobody):
            alone.rows("SELECT 1")

    def test_a_connection_that_the_server_drops_is_made_anew_for_a_question(self, box: StarrocksSandbox) -> None:
        with QueryPort(box.engine, box.users, box.labels, box.config) as port:
            session = connect(box, host="127.0.0.1", port=port.port)
            assert session.value("SELECT 1") == 1
            port.disconnect()
            assert session.value("SELECT @@time_zone") == "UTC"
            port.disconnect()
            with pytest.raises(Unavailable):
                session.run("CREATE DATABASE never")
            assert "never" not in [row[0] for row in session.rows("SHOW DATABASES")]
            session.close()

    def test_rows_in_pieces_over_a_connection_of_their_own(self, session: Session) -> None:
        session.run("CREATE TABLE shop.t (a INT NOT NULL) DUPLICATE KEY (a) DISTRIBUTED BY HASH (a)")
        session.run(f"INSERT INTO shop.t VALUES {', '.join(f'({n})' for n in range(50))}")
        sizes = []
        for rows in session.pieces("SELECT a FROM shop.t", 20):
            sizes.append(len(rows))
            assert session.value("SELECT 1") == 1
        assert sizes == [20, 20, 10]

    def test_a_reader_that_stops_early_leaves_nothing_open(self, session: Session) -> None:
        session.run("CREATE TABLE shop.t (a INT NOT NULL) DUPLICATE KEY (a) DISTRIBUTED BY HASH (a)")
        session.run(f"INSERT INTO shop.t VALUES {', '.join(f'({n})' for n in range(50))}")
        for rows in session.pieces("SELECT a FROM shop.t", 5):
            assert len(rows) == 5
            break


class TestTables:
    def test_the_version_is_starrocks_s_own(self, metadata: Metadata, box: StarrocksSandbox) -> None:
        assert ".".join(map(str, metadata.version())) == box.version

    def test_what_is_created_fits_and_lacks_nothing(self, metadata: Metadata) -> None:
        wanted = target(*EVERY_TYPE)
        prepare(metadata, wanted)
        again = inspect(wanted, metadata)
        assert [str(problem) for problem in again.problems] == []
        assert (again.exists, again.empty, again.ddl) == (True, True, ())
        table = metadata.table(T)
        assert table is not None
        assert (table.model, table.key, table.state) == ("PRIMARY_KEYS", ("id",), "NORMAL")
        assert [column.name for column in table.columns] == ["id", *(column.name for column in EVERY_TYPE)]
        assert [column.nullable for column in table.columns] == [False, *[True] * len(EVERY_TYPE)]
        kinds = {column.name: column.type for column in table.columns}
        assert kinds["flag"] == "boolean"
        assert kinds["ulong"] == "largeint"
        assert kinds["money"] == "decimal(18,4)"
        assert kinds["short"] == "varchar(80)"

    def test_a_log_of_changes_is_created_with_its_events(self, metadata: Metadata) -> None:
        wanted = target(Column("a", pa.int32()), write_mode="append", op_column="op")
        prepare(metadata, wanted)
        table = metadata.table(T)
        assert table is not None
        assert (table.model, table.key) == ("DUP_KEYS", ("id",))
        assert [column.name for column in table.columns][2:] == ["op", "tidegate_file", "tidegate_offset", "tidegate_row"]
        again = inspect(wanted, metadata)
        assert (again.ddl, again.problems, again.warnings) == ((), (), ())

    def test_the_reference_s_page_uv(self, metadata: Metadata, session: Session) -> None:
        session.run(PAGE_UV)
        table = metadata.table(TableName("shop", "page_uv"))
        assert table is not None
        assert (table.model, table.key) == ("AGG_KEYS", ("page_id", "visit_date"))
        assert [(column.type, column.aggregation) for column in table.columns][2] == ("bitmap", "BITMAP_UNION")

    def test_columns_are_added_and_waited_for(self, metadata: Metadata, box: StarrocksSandbox) -> None:
        prepare(metadata, target())
        box.engine.alter_seconds = 0.3
        try:
            prepare(metadata, target(Column("a", pa.int32())))
            table = metadata.table(T)
            assert table is not None
            assert table.column("a") is not None
            assert table.state == "NORMAL"
        finally:
            box.engine.alter_seconds = 0.0

    def test_anothers_alter_is_waited_for(self, metadata: Metadata, session: Session, box: StarrocksSandbox) -> None:
        prepare(metadata, target())
        box.engine.alter_seconds = 3600.0
        end = threading.Timer(0.3, setattr, (box.engine, "alter_seconds", 0.0))
        try:
            session.run("ALTER TABLE shop.orders ADD COLUMN theirs INT")
            assert metadata.alter_under_way(T)
            with pytest.raises(Unavailable, match="still"):
                metadata.add_columns(T, [sql.NewColumn("ours", "INT")], seconds=0)
            end.start()
            metadata.add_columns(T, [sql.NewColumn("ours", "INT")])
            table = metadata.table(T)
            assert table is not None
            assert {column.name for column in table.columns} == {"id", "theirs", "ours"}
        finally:
            end.cancel()
            box.engine.alter_seconds = 0.0

    def test_a_text_is_widened(self, metadata: Metadata) -> None:
        prepare(metadata, target(Column("a", pa.string(), attributes={"length": "5"})))
        prepare(metadata, target(Column("a", pa.string(), attributes={"length": "50"})))
        table = metadata.table(T)
        assert table is not None
        assert [column.type for column in table.columns] == ["bigint", "varchar(200)"]

    def test_tables_are_emptied_swapped_renamed_and_dropped(self, metadata: Metadata, session: Session) -> None:
        prepare(metadata, target())
        other = TableName("shop", "other")
        session.run(sql.create_table(other, [sql.NewColumn("id", "BIGINT", False)], "PRIMARY KEY", ("id",), ("id",), {}))
        session.run("INSERT INTO shop.orders VALUES (1), (2)")
        assert (metadata.empty(T), metadata.rows_estimate(T)) == (False, 2)
        metadata.apply(T, sql.swap(T, "other"))
        assert (metadata.empty(T), metadata.empty(other)) == (True, False)
        metadata.apply(other, sql.truncate(other))
        assert metadata.empty(other)
        metadata.apply(other, sql.rename(other, "third"))
        metadata.apply(other, sql.drop_table(TableName("shop", "third"), force=True))
        assert metadata.table(other) is None
        assert metadata.table(TableName("shop", "third")) is None


class TestRights:
    def test_what_the_account_lacks_is_named(self, metadata: Metadata, guest: Metadata, session: Session) -> None:
        wanted = target()
        prepare(metadata, wanted)
        session.run("GRANT SELECT ON TABLE shop.orders TO USER 'guest'@'%'")
        (problem,) = inspect(wanted, guest).problems
        assert "lacks INSERT" in str(problem)
        session.run("GRANT INSERT ON TABLE shop.orders TO USER 'guest'@'%'")
        assert inspect(wanted, guest).problems == ()
        (problem,) = inspect(target(Column("a", pa.int32())), guest).problems
        assert "GRANT ALTER ON TABLE" in str(problem)

    def test_the_right_to_create_the_table_is_looked_for(self, guest: Metadata, session: Session) -> None:
        session.run("CREATE TABLE shop.t (a INT NOT NULL) DUPLICATE KEY (a) DISTRIBUTED BY HASH (a)")
        session.run("GRANT SELECT ON TABLE shop.t TO USER 'guest'@'%'")
        (problem,) = inspect(target(), guest).problems
        assert "GRANT CREATE TABLE ON DATABASE `shop`" in str(problem)
        session.run("GRANT CREATE TABLE ON DATABASE shop TO USER 'guest'@'%'")
        assert inspect(target(), guest).problems == ()

    def test_administration_is_unknown_to_an_account_that_loads(
        self, metadata: Metadata, guest: Metadata, session: Session
    ) -> None:
        prepare(metadata, target())
        session.run("GRANT SELECT, INSERT ON TABLE shop.orders TO USER 'guest'@'%'")
        assert guest.config("label_keep_max_num") is None
        assert guest.table(T) is not None
        with pytest.raises(Denied):
            guest.session.rows(sql.TRANSACTIONS)


class TestCluster:
    def test_versions_of_tablets_are_seen_and_waited_for(self, metadata: Metadata, session: Session) -> None:
        prepare(metadata, target())
        before = metadata.tablet_versions(T)
        session.run("INSERT INTO shop.orders VALUES (1)")
        after = metadata.tablet_versions(T)
        assert before is not None
        assert after == before + 1
        with pytest.raises(Unavailable, match="versions"):
            Backoff(metadata, after, patience=0.0).wait(T)
        assert Backoff(metadata, after + 1, patience=0.0).wait(T) >= 0

    def test_transactions_that_nobody_ended_are_found_by_their_prefix(self, metadata: Metadata, box: StarrocksSandbox) -> None:
        prepare(metadata, target())
        assert metadata.running_labels("shop", "tidegate-") == []
        box.transactions.begin("shop", ["orders"], "tidegate-1", "transaction", "root")
        box.transactions.begin("shop", ["orders"], "others-1", "transaction", "root")
        assert metadata.running_labels("shop", "tidegate-") == ["tidegate-1"]

    def test_the_statement_that_the_doctor_prints_removes_its_finding(self, metadata: Metadata, session: Session) -> None:
        prepare(metadata, target())
        session.run('ADMIN SET FRONTEND CONFIG ("label_keep_max_second" = "3600")')
        session.run('ADMIN SET FRONTEND CONFIG ("max_running_txn_num_per_db" = "1")')
        found = list(findings(metadata, [T], interval=3600))
        assert len(found) == 2
        for text in found:
            statement = re.search(r"ADMIN SET FRONTEND CONFIG \(.*?\)", text)
            assert statement is not None
            session.run(statement.group())
        assert list(findings(metadata, [T], interval=3600)) == []
