"""Sessions over GaussDB's own login, on a real PostgreSQL: both drivers do the same."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.gaussdb.conftest import Connect, Gates
from tests.scale import examples
from tests.servers import PostgresServer, wait_until
from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError, PreflightError, RowRefused, SchemaError, TidegateError, Unavailable
from tidegate.providers.gaussdb.connection import SYSTEM
from tidegate.providers.gaussdb.session import GaussdbSession, configure
from tidegate.providers.gaussdb.sink import open_sink
from tidegate.providers.postgres.encode import CsvReader
from tidegate.providers.postgres.errors import DuplicateKey

pytestmark = pytest.mark.postgres


@pytest.fixture
def pg8000(gates: Gates, connect: Connect) -> GaussdbSession:
    """A session over SHA256."""
    return connect(gates())


@pytest.fixture(params=["sha256", "md5"], ids=["pg8000", "psycopg2"])
def session(request: pytest.FixtureRequest, gates: Gates, connect: Connect) -> GaussdbSession:
    """A session over each driver."""
    return connect(gates(login=request.param))


def test_both_drivers_read_the_same(gates: Gates, connect: Connect) -> None:
    query = """SELECT 1::int2, 2::int4, 3::int8, 4::oid, 1.5::float8, 'NaN'::numeric::text, 1.50::numeric, true, 'a'::text,
        'b'::name, 'c'::"char", 'd '::char(3), NULL, ARRAY['x', NULL, 'y,z'], ARRAY['n']::name[], ARRAY[1, 2], '1 2'::int2vector,
        '{"k": [1]}'::json,
        '2024-02-29'::date, '2024-02-29 12:00:00.5'::timestamp, '2024-02-29 12:00:00+08'::timestamptz, '12:30'::time,
        interval '1 day 2 hours'"""
    both = [connect(gates(login=login)).rows(query) for login in ("sha256", "md5")]
    assert both[0] == both[1]
    assert [type(value) for value in both[0][0]] == [type(value) for value in both[1][0]]


PARAMETERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.binary(),
    st.dates(),
    st.datetimes(min_value=datetime(1, 1, 1)),
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1),
)


@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(PARAMETERS, min_size=1, max_size=6))
def test_parameters_arrive_as_they_are(pg8000: GaussdbSession, values: list[Any]) -> None:
    assert list(pg8000.rows(f"SELECT {', '.join(['%s'] * len(values))}", values)[0]) == values
    named = {f"p{number}": value for number, value in enumerate(values)}
    assert list(pg8000.rows(f"SELECT {', '.join(f'%({name})s' for name in named)}", named)[0]) == values
    strings = [None if value is None else str(value) for value in values if "\0" not in str(value)]
    if strings:
        assert list(pg8000.rows(f"SELECT {pg8000.literals(strings)}")[0]) == strings
    pg8000.rollback()


def test_parameters_of_more_kinds(session: GaussdbSession) -> None:
    assert session.value("SELECT 5 -%s", (-3,)) == 8
    assert session.rows("SELECT 'x' WHERE 2 IN %s AND '%%' = %s", ((1, 2), "%")) == [("x",)]
    assert session.value("SELECT '%'") == "%"
    for number in (float("inf"), -0.5, 5e-324, 1.7976931348623157e308):
        assert session.value("SELECT %s::float8", (number,)) == number
    assert session.value("SELECT %s::numeric", (Decimal("1E+3"),)) == 1000
    assert session.value("SELECT %s + 1", (date(2024, 2, 28),)) == date(2024, 2, 29)
    assert session.value("SELECT %s", (datetime(2024, 1, 1, tzinfo=UTC),)) == datetime(2024, 1, 1, tzinfo=UTC)
    session.run("SET standard_conforming_strings = off")
    assert session.value("SELECT %s", ("a\\'b",)) == "a\\'b"
    with pytest.raises(ValueError, match=r"NUL|U\+0000"):
        session.value("SELECT %s", ("a\0b",))


def test_counts_are_those_of_the_last_statement(session: GaussdbSession) -> None:
    assert session.run("CREATE TEMP TABLE t (i int)") == -1
    assert session.run("INSERT INTO t SELECT * FROM generate_series(1, 5)") == 5
    assert session.run("DELETE FROM t WHERE i = 1; UPDATE t SET i = i WHERE i < 4") == 2
    assert session.rows("SELECT 1, 2; SELECT i FROM t WHERE i = 3") == [(3,)]
    assert session.rows("SELECT i FROM t WHERE i = 9") == []


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("SELECT * FROM missing", SchemaError, "42P01"),
        ("SELECT 'secret'::integer", RowRefused, "22P02"),
        ("SELEC 1", PermanentError, "42601"),
        ("DO $$ BEGIN RAISE EXCEPTION 'secret'; END $$", RowRefused, "a trigger refused it"),
        ("SET statement_timeout = 1; SELECT pg_sleep(5)", Unavailable, "statement_timeout"),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", Unavailable, "40P01"),
        ("DO $$ BEGIN RAISE SQLSTATE 'YY003'; END $$", Unavailable, r"YY003.*\[lock_timeout\]"),
        ("DO $$ BEGIN RAISE SQLSTATE 'YY015'; END $$", Unavailable, "YY015"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable, "connection was lost|57P01"),
        ("SET TRANSACTION READ ONLY; CREATE TABLE x (i int)", PreflightError, "standby"),
        ("COPY (SELECT 1) TO STDOUT", PermanentError, "copy"),
        ("CREATE TEMP TABLE t (s text); COPY t FROM STDIN", PermanentError, "copy|COPY"),
    ],
)
def test_errors_by_sqlstate(session: GaussdbSession, statement: str, kind: type[TidegateError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        session.run(statement)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    session.rollback()


def test_a_refused_row_names_its_column(session: GaussdbSession) -> None:
    session.run("CREATE TEMP TABLE t (i int NOT NULL UNIQUE, s varchar(3))")
    with pytest.raises(RowRefused) as caught, session.savepoint():
        session.run("INSERT INTO t VALUES (NULL)")
    assert caught.value.column == "i"
    with pytest.raises(RowRefused, match="22001") as caught, session.savepoint():
        session.copy_in("COPY t FROM STDIN WITH (FORMAT csv)", CsvReader(pa.table({"i": [1], "s": ["secret"]})))
    assert caught.value.column == "s"
    assert "secret" not in str(caught.value)
    with pytest.raises(DuplicateKey), session.savepoint():
        session.run("INSERT INTO t VALUES (1), (1)")
    assert session.value("SELECT count(*) FROM t") == 0


def test_transactions_and_savepoints(session: GaussdbSession, warehouse: PostgresServer) -> None:
    session.run("CREATE TABLE t (i int)")
    session.commit()
    session.commit()
    session.run("INSERT INTO t VALUES (1)")
    session.rollback()
    session.rollback()
    session.run("INSERT INTO t VALUES (2)")
    with pytest.raises(RowRefused), session.savepoint():
        session.run("INSERT INTO t VALUES (3); SELECT 1 / 0")
    with session.savepoint():
        session.run("INSERT INTO t VALUES (4)")
    session.commit()
    with warehouse.connect() as other, other.cursor() as cursor:
        cursor.execute("SELECT i FROM t ORDER BY i")
        assert cursor.fetchall() == [(2,), (4,)]
    other.close()


def test_a_commit_after_a_failure_says_that_nothing_was_kept(pg8000: GaussdbSession) -> None:
    with pytest.raises(SchemaError):
        pg8000.run("SELECT * FROM missing")
    with pytest.raises(PermanentError, match="has undone it"):
        pg8000.commit()
    assert pg8000.value("SELECT 1") == 1


class Blocks:
    """A file of so many blocks of lines."""

    def __init__(self, block: bytes, count: int, error: BaseException | None = None) -> None:
        self.block, self.left, self.error, self.reads = block, count, error, 0

    def read(self, size: int) -> bytes:
        self.reads += 1
        if self.left == 0:
            if self.error is not None:
                raise self.error
            return b""
        self.left -= 1
        return self.block


class Collected:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, rows: bytes) -> int:
        self.parts.append(rows)
        return len(rows)


def test_copy_goes_in_and_out_in_whole_rows_without_loss(session: GaussdbSession) -> None:
    table = pa.table({"i": list(range(10_000)), "s": [None, "", 'a,"\n\\.', "ü" * 40, "\\N"] * 2000})
    session.run("CREATE TABLE t (i int, s text)")
    assert session.copy_in("COPY t FROM STDIN WITH (FORMAT csv)", CsvReader(table)) == 10_000
    out = Collected()
    session.copy_out("COPY (SELECT * FROM t ORDER BY i) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE (s))", out)
    reader, expected = CsvReader(table), b""
    while block := reader.read():
        expected += block
    assert b"".join(out.parts) == expected
    assert all(part.endswith(b"\n") for part in out.parts)
    assert session.rows("SELECT s FROM t WHERE i < 5 ORDER BY i") == [(None,), ("",), ('a,"\n\\.',), ("ü" * 40,), ("\\N",)]


def test_a_block_larger_than_a_message_arrives_whole(session: GaussdbSession) -> None:
    session.run("CREATE TABLE t (s text)")
    value = b"x" * (3 << 20)
    assert session.copy_in("COPY t FROM STDIN", Blocks(value + b"\n", 2)) == 2
    out = Collected()
    session.copy_out("COPY t TO STDOUT", out)
    assert b"".join(out.parts) == (value + b"\n") * 2


@pytest.mark.parametrize(
    "error", [RowRefused("no"), OSError("disk"), KeyError("k"), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
def test_an_exception_of_the_file_arrives_as_it_is_and_undoes_the_copy(session: GaussdbSession, error: BaseException) -> None:
    session.run("CREATE TEMP TABLE t (s text)")
    with pytest.raises(type(error)) as caught, session.savepoint():
        session.copy_in("COPY t FROM STDIN", Blocks(b"a\n", 3, error))
    assert caught.value is error
    assert session.value("SELECT count(*) FROM t") == 0


def test_a_copy_that_the_server_refuses_is_not_read_to_its_end(pg8000: GaussdbSession) -> None:
    pg8000.run("CREATE TEMP TABLE t (i int)")
    source = Blocks(b"x\n" * 100_000, 5000)
    with pytest.raises(RowRefused, match="22P02") as caught, pg8000.savepoint():
        pg8000.copy_in("COPY t FROM STDIN", source)
    assert caught.value.column == "i"
    assert source.reads < 4000
    assert pg8000.value("SELECT count(*) FROM t") == 0


def test_a_reader_that_stops_ends_the_session(pg8000: GaussdbSession) -> None:
    class Full:
        def write(self, rows: bytes) -> int:
            raise BrokenPipeError("the reader has stopped")

    with pytest.raises(BrokenPipeError):
        pg8000.copy_out("COPY (SELECT generate_series(1, 1000000)) TO STDOUT", Full())
    assert pg8000.closed


def test_a_lost_connection_is_transient_and_the_session_is_closed(gates: Gates, connect: Connect) -> None:
    for login in ("sha256", "md5"):
        gate = gates(login=login)
        session = connect(gate)
        session.run("CREATE TEMP TABLE t (i int)")
        gate.drop()
        with pytest.raises(Unavailable, match="connection was lost"):
            session.run("SELECT 1")
        assert session.closed
        with pytest.raises(Unavailable):
            session.commit()
        session.rollback()
        session.close()


def test_a_connection_lost_in_the_middle_of_copy_is_transient(gates: Gates, connect: Connect) -> None:
    gate = gates()
    session = connect(gate)
    session.run("CREATE TEMP TABLE t (s text)")

    class Cut(Blocks):
        def read(self, size: int) -> bytes:
            if self.left == 50:
                gate.drop()
            return super().read(size)

    with pytest.raises(Unavailable, match="connection was lost"):
        session.copy_in("COPY t FROM STDIN", Cut(b"x\n" * 50_000, 100))
    assert session.closed


def test_a_session_closed_by_another_thread_ends_what_runs_in_it(pg8000: GaussdbSession, warehouse: PostgresServer) -> None:
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            pg8000.run("SELECT pg_sleep(60)")
        except BaseException as error:
            caught.append(error)

    def sleeping() -> bool:
        with warehouse.connect() as other, other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
            found = cursor.fetchone() is not None
        other.close()
        return found

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(sleeping, "the query")
    pg8000.close()
    thread.join()
    assert isinstance(caught[0], Unavailable)


def test_a_lock_that_does_not_come_is_transient(gates: Gates, connect: Connect) -> None:
    gate = gates()
    holder, waiter = connect(gate), connect(gate, lock_timeout=1)
    holder.run("CREATE TABLE t (i int)")
    holder.commit()
    holder.run("LOCK TABLE t")
    with pytest.raises(Unavailable, match="lock_timeout"):
        waiter.run("INSERT INTO t VALUES (1)")


def test_settings_that_the_server_knows_are_set(gates: Gates, connect: Connect) -> None:
    for login in ("sha256", "md5"):
        session = connect(
            gates(login=login), options="-c search_path=ods -c work_mem=7MB", application_name="gulls", lock_timeout=7
        )
        names = "TimeZone", "search_path", "work_mem", "application_name", "lock_timeout", "client_encoding", "bytea_output"
        found = [session.value(f"SHOW {name}") for name in names]
        assert found == ["UTC", "ods", "7MB", "gulls", "7s", "UTF8", "hex"]
        assert session.value("SHOW idle_in_transaction_session_timeout") == "1h"
        assert session.value("SELECT pg_backend_pid()") > 0


def test_settings_of_gaussdb_are_tried_one_by_one_where_only_some_accounts_may(
    gates: Gates, connect: Connect, warehouse: PostgresServer
) -> None:
    gate = gates()
    wanted = {"log_min_messages": "error", "deadlock_timeout": "5s", "no_such_setting": "1", "shared_buffers": "1MB"}
    warehouse.execute("CREATE ROLE plain LOGIN")
    try:
        for role, expected in (("postgres", ["error", "5s"]), ("plain", ["warning", "1s"])):
            session = connect(gate)
            session.run(f"SET SESSION AUTHORIZATION {role}")
            configure(session, wanted)
            assert [session.value(f"SHOW {name}") for name in ("log_min_messages", "deadlock_timeout")] == expected
    finally:
        warehouse.execute("DROP ROLE plain")


def test_the_sink_connects_with_gaussdbs_login(gates: Gates, warehouse: PostgresServer) -> None:
    gate = gates()
    sink = open_sink(SYSTEM.values(gate.values(database=warehouse.database), "warehouse"), "warehouse")
    warehouse.execute("CREATE TABLE t (i int PRIMARY KEY, s text)", "INSERT INTO t VALUES (1, 'a'), (2, NULL)")
    found = sink.describe(TableName("public", "t"))
    assert found is not None
    assert found.key == ("i",)
    rows = pa.Table.from_batches(list(sink.read(TableName("public", "t"))))
    assert rows.to_pydict() == {"i": [1, 2], "s": ["a", None]}
    sink.close()
    wait_until(lambda: gate.live() == 0, "the end of the connections")


class Lines:
    """CSV lines, a block at a time."""

    def __init__(self, count: int) -> None:
        self.at, self.count = 0, count

    def read(self, size: int) -> bytes:
        first, self.at = self.at, min(self.at + 1000, self.count)
        return b"".join(b"%d,%s\n" % (number, b"x" * 40) for number in range(first, self.at))


def test_warnings_of_a_trigger_do_not_stop_the_rows_that_come_in(warehouse: PostgresServer, gates: Gates, connect: Connect) -> None:
    warehouse.execute(
        "CREATE TABLE t (k bigint PRIMARY KEY, v text)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.k % 1000 = 1 THEN RAISE WARNING 'hello'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    )
    session = connect(gates(), driver="pg8000")
    session.run("SET client_min_messages = 'warning'")
    assert session.copy_in("COPY t (k, v) FROM STDIN WITH (FORMAT csv)", Lines(100_000)) == 100_000
    session.rollback()
    assert session.value("SHOW client_min_messages") == "error"
