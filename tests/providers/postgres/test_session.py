"""Errors of the server in our own classes: what is worth a retry, and what isn't."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.providers.postgres.conftest import Box
from tests.servers import free_port
from tidegate.errors import PermanentError, PreflightError, RowRefused, SchemaError, TidegateError, Unavailable
from tidegate.providers.postgres.encode import CsvReader

pytestmark = pytest.mark.postgres


def test_a_server_that_is_not_there_is_transient(box: Box) -> None:
    with pytest.raises(Unavailable, match="connection warehouse"):
        box.open(port=free_port()).connect()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"login": "nobody"}, 'role "nobody" does not exist'),
        ({"database": "nothing"}, 'database "nothing" does not exist'),
        ({"sslmode": "require"}, "does not support SSL"),
    ],
)
def test_what_somebody_has_to_change_is_permanent(box: Box, values: dict[str, str], said: str) -> None:
    with pytest.raises(PreflightError, match=said):
        box.open(**values).connect()


def test_a_wrong_password_is_permanent_and_not_shown(box: Box) -> None:
    hba = box.query("SHOW hba_file")[0][0]
    with open(hba) as file:
        before = file.read()
    box.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    try:
        with open(hba, "w") as file:
            file.write("host all guarded all scram-sha-256\n" + before)
        box.query("SELECT pg_reload_conf()")
        with pytest.raises(PreflightError, match="password authentication failed") as caught:
            box.open(login="guarded", password="wrong secret").connect()
        assert "wrong secret" not in str(caught.value)
        box.open(login="guarded", password="right").connect().close()
    finally:
        with open(hba, "w") as file:
            file.write(before)
        box.query("SELECT pg_reload_conf()")
        box.execute("DROP ROLE guarded")


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("SELECT * FROM missing", SchemaError, "42P01"),
        ("SELECT missing FROM pg_class", SchemaError, "42703"),
        ("SELECT 'secret'::integer", RowRefused, "22P02"),
        ("SELECT 'secret,1'::json", RowRefused, "22P02"),
        ("SELECT '2020-99-99'::date", RowRefused, "22008"),
        ("SELEC 1", PermanentError, "42601"),
        ("DO $$ BEGIN RAISE EXCEPTION 'secret'; END $$", RowRefused, "a trigger refused it"),
        ("SET statement_timeout = 1; SELECT pg_sleep(5)", Unavailable, "statement_timeout"),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", Unavailable, "40001"),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", Unavailable, "40P01"),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", Unavailable, "53100"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable, "connection was lost"),
        ("SET TRANSACTION READ ONLY; CREATE TABLE x (i int)", PreflightError, "standby"),
    ],
)
def test_errors_by_sqlstate(box: Box, statement: str, kind: type[TidegateError], said: str) -> None:
    session = box.sink.connect()
    with pytest.raises(kind, match=said) as caught:
        session.rows(statement)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    session.rollback()
    session.close()


def test_a_missing_right_names_the_grant(box: Box) -> None:
    box.execute("CREATE ROLE poor LOGIN", "CREATE TABLE private (i int)")
    try:
        session = box.open(login="poor").connect()
        with pytest.raises(PreflightError, match=r"GRANT SELECT, INSERT, UPDATE, DELETE ON private"):
            session.rows("SELECT * FROM private")
        session.close()
    finally:
        box.execute("DROP ROLE poor")


def test_a_lock_that_does_not_come_is_transient(box: Box) -> None:
    box.execute("CREATE TABLE t (i int)")
    holder, waiter = box.sink.connect(), box.open(lock_timeout=1).connect()
    holder.run("LOCK TABLE t")
    with pytest.raises(Unavailable, match="lock_timeout"):
        waiter.run("INSERT INTO t VALUES (1)")
    for session in (holder, waiter):
        session.rollback()
        session.close()


def test_the_session_is_in_utc_and_reads_committed(box: Box) -> None:
    box.execute(f"ALTER DATABASE {box.server.database} SET timezone = 'Asia/Shanghai'")
    box.execute(f"ALTER DATABASE {box.server.database} SET default_transaction_isolation = 'repeatable read'")
    session = box.sink.connect()
    assert session.value("SHOW timezone") == "UTC"
    assert session.value("SHOW transaction_isolation") == "read committed"
    assert session.value("SHOW application_name") == "tidegate"
    session.close()


def test_an_exception_of_the_file_that_copy_reads_arrives_as_it_is(box: Box) -> None:
    session = box.sink.connect()
    session.run("CREATE TEMP TABLE t (s text)")
    with session.savepoint():
        session.copy_in("COPY t FROM STDIN WITH (FORMAT csv)", CsvReader(pa.table({"s": ["fine"]})))
    with pytest.raises(RowRefused, match=r"column s: U\+0000"), session.savepoint():
        session.copy_in("COPY t FROM STDIN WITH (FORMAT csv)", CsvReader(pa.table({"s": ["a\0b"]})))
    assert session.rows("SELECT * FROM t") == [("fine",)]
    session.rollback()
    session.close()
