"""The query port's protocol: who gets in, what a client reads, with PyMySQL, SQLAlchemy and Debian's mariadb client."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import subprocess
from collections.abc import Iterator
from decimal import Decimal

import pymysql
import pytest
import sqlalchemy
from pymysql.constants import FIELD_TYPE

from tests.sandbox.starrocks.queryport import PAGE_UV, SCORE_BOARD, Front, query_port


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with query_port() as started:
        started.users.add("reader", "s3cret")
        started.count(SCORE_BOARD)
        started.count(PAGE_UV)
        started.count("INSERT INTO score_board VALUES (1, 'starrocks', 100), (2, 'flink', 100)")
        yield started


def test_a_user_logs_in_with_the_right_password_only(front: Front) -> None:
    with front.connect("reader", "s3cret") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER(), CONNECTION_ID() > 0")
        assert cursor.fetchone() == ("'reader'@'%'", 1)
    for user, password, used in (
        ("reader", "wrong", "YES"),
        ("reader", "", "NO"),
        ("nobody", "s3cret", "YES"),
        ("nobody", "", "NO"),
    ):
        with pytest.raises(pymysql.err.OperationalError) as refused:
            front.connect(user, password)
        assert refused.value.args == (1045, f"Access denied for user '{user}' (using password: {used})")


def test_an_unknown_database_is_refused_at_login_and_by_use(front: Front) -> None:
    with pytest.raises(pymysql.err.OperationalError) as refused:
        front.connect(database="nope")
    assert refused.value.args[0] == 5501
    assert front.refusal("USE nope")[1] == "Getting analyzing error. Detail message: Unknown database 'nope'."
    with front.connect() as connection:
        assert front.refusal("SELECT * FROM score_board", connection) == (
            1046,
            "Getting analyzing error. Detail message: No database selected.",
        )
        connection.select_db("test")
        with connection.cursor() as cursor:
            assert cursor.execute("SELECT * FROM score_board") == 2


def test_the_versions_are_starrocks_and_mysqls(front: Front) -> None:
    assert front.rows("SELECT CURRENT_VERSION(), version(), @@version") == [("3.3.5-6d81f75", "8.0.33", "8.0.33")]
    assert front.names("SELECT current_version(), version(), count(*)") == ["current_version()", "version()", "count(*)"]


def test_values_arrive_with_their_types(front: Front) -> None:
    with front.root.cursor() as cursor:
        cursor.execute(
            "SELECT CAST(1 AS TINYINT), CAST(2 AS SMALLINT), 3, CAST(4 AS BIGINT), CAST(5 AS LARGEINT), "
            "CAST('6.50' AS DECIMAL(10,2)), "
            "CAST(1.1 AS FLOAT), CAST(2.5 AS DOUBLE), CAST('2024-02-29' AS DATE), CAST('2024-02-29 01:02:03' AS DATETIME), 'ä', "
            "NULL, "
            "CAST(true AS BOOLEAN), CAST(100 AS DOUBLE)"
        )
        row = cursor.fetchone()
        types = [int(str(column[1])) for column in cursor.description or ()]
    assert row == (
        *(1, 2, 3, 4, "5", Decimal("6.50"), 1.1, 2.5, dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 1, 2, 3), "ä", None, 1, 100.0),
    )
    assert types[:6] == [
        *(FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.STRING, FIELD_TYPE.NEWDECIMAL),
    ]


def test_nested_values_are_printed_as_text(front: Front) -> None:
    assert front.rows("SELECT [1, 2], ['a', 'b\"c'], map{'k': 1}, [NULL, 3]") == [("[1,2]", '["a","b\\"c"]', '{"k":1}', "[null,3]")]


def test_a_bitmap_itself_is_null_in_an_answer(front: Front) -> None:
    front.count("INSERT INTO page_uv VALUES (9, '2020-06-23 01:30:30', to_bitmap(13))")
    assert front.rows("SELECT page_id, visit_users FROM page_uv") == [(9, None)]


def test_statements_and_answers_may_be_longer_than_a_packet(front: Front) -> None:
    text = "x" * (17 << 20)
    with front.connect(max_allowed_packet=64 << 20) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET @long = '{text}'")
        cursor.execute("SELECT @long")
        assert cursor.fetchone() == (text,)


def test_an_error_leaves_the_connection_usable(front: Front) -> None:
    number, text = front.refusal("SELEC 1")
    assert number == 1064
    assert text.startswith("Getting syntax error at line 1")
    assert front.rows("SELECT 1") == [(1,)]


def test_parameters_come_as_text(front: Front) -> None:
    assert front.rows("SELECT name FROM score_board WHERE id = %s AND name = %s", (1, "starrocks")) == [("starrocks",)]
    hostile = "a'b\\c\"d\n`e"
    assert front.value("SELECT %s", (hostile,)) == hostile


@pytest.mark.filterwarnings("ignore:open_text is deprecated:DeprecationWarning")  # in the dialect's own code
def test_sqlalchemy_reflects_a_table(front: Front) -> None:
    engine = sqlalchemy.create_engine(f"starrocks://root@127.0.0.1:{front.port}/test")
    try:
        inspector = sqlalchemy.inspect(engine)
        assert inspector.has_table("score_board")
        assert not inspector.has_table("nope")
        columns = {column["name"]: column for column in inspector.get_columns("score_board")}
        assert list(columns) == ["id", "name", "score"]
        assert [column["nullable"] for column in columns.values()] == [False, True, False]
        assert str(columns["name"]["type"]) == "VARCHAR(65533)"
        assert inspector.get_pk_constraint("score_board")["constrained_columns"] == ["id"]
        table = sqlalchemy.Table("score_board", sqlalchemy.MetaData(), autoload_with=engine)
        assert table.dialect_kwargs["starrocks_primary_key"] == "id"
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.select(table).where(table.c.id == 2)).fetchall() == [(2, "flink", 100)]
        bitmap = {column["name"]: column for column in inspector.get_columns("page_uv")}
        assert str(bitmap["visit_users"]["type"]) == "BITMAP"
    finally:
        engine.dispose()


def test_sqlalchemy_creates_a_table(front: Front) -> None:
    engine = sqlalchemy.create_engine(f"starrocks://root@127.0.0.1:{front.port}/test")
    try:
        made = sqlalchemy.Table(
            "made",
            sqlalchemy.MetaData(),
            sqlalchemy.Column("id", sqlalchemy.Integer),
            sqlalchemy.Column("label", sqlalchemy.String(20)),
            starrocks_primary_key="id",
            starrocks_distributed_by="HASH(id)",
            starrocks_properties={"replication_num": "1"},
        )
        made.create(engine)
        with engine.begin() as connection:
            connection.execute(made.insert(), [{"id": 1, "label": "a"}, {"id": 1, "label": "b"}])
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.select(made)).fetchall() == [(1, "b")]
        made.drop(engine)
        assert not sqlalchemy.inspect(engine).has_table("made")
    finally:
        engine.dispose()


@pytest.mark.skipif(shutil.which("mariadb") is None, reason="needs the mariadb client")
def test_the_mariadb_client_of_debian_works(front: Front) -> None:
    done = subprocess.run(
        [
            "mariadb",
            "-h127.0.0.1",
            f"-P{front.port}",
            "-uroot",
            "--skip-ssl",
            "-B",
            "test",
            "-e",
            "SELECT * FROM score_board ORDER BY id",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "id\tname\tscore\n1\tstarrocks\t100\n2\tflink\t100\n"


def test_what_is_no_mysql_is_hung_up_on(front: Front) -> None:
    with socket.create_connection(("127.0.0.1", front.port), 20) as peer:
        assert peer.recv(4096)[5:].startswith(b"8.0.33\0")
        peer.sendall(b"\x05\0\0\x01hello")
        assert peer.recv(4096) == b""
    assert front.rows("SELECT 1") == [(1,)]


def test_connections_end_when_the_port_stops() -> None:
    with query_port() as started:
        other = started.connect()
        started.rows("SELECT 1")
    with pytest.raises(pymysql.err.MySQLError), other.cursor() as cursor:
        cursor.execute("SELECT 1")
    other.close()
