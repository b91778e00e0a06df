"""The proxy: what it passes on, what it adds and swallows, and that neither side's failure leaves anything behind."""

from __future__ import annotations

import datetime
import io
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pg8000.dbapi
import psycopg2
import psycopg2.extensions as ext
import pytest

from tests.sandbox.conftest import PASSWORD, Client, Start
from tests.servers import PostgresServer, wait_until
from tidegate.errors import ConfigError
from tidegate.sandbox.authentication import Md5
from tidegate.sandbox.dialect import Lookup, Refused, Rewritten
from tidegate.sandbox.pgwire import Sandbox, Upstream
from tidegate.sandbox.sqltext import code

pytestmark = pytest.mark.postgres


class Toy:
    """A dialect that shows each thing a dialect can do. ``made`` is a table of this bootstrap."""

    server_version = "9.9"

    def bootstrap(self) -> list[str]:
        return ["CREATE TABLE IF NOT EXISTS made (a int PRIMARY KEY, b text)", "CREATE TABLE IF NOT EXISTS log (a text)"]

    def rewrite(self, sql: str, catalog: Lookup) -> Rewritten:
        first = code(sql)[0].name
        if first == "refuse":
            raise Refused("0A000", "no such thing here", detail="why", hint="how")
        if first == "misspell":
            raise Refused("42601", 'syntax error at or near "misspell"')
        if first == "count":
            ((number,),) = catalog.rows("SELECT count(*) FROM made WHERE b IS DISTINCT FROM $1", [None])
            return Rewritten(f"SELECT {number} AS number")
        if first == "logged":
            return Rewritten(
                sql[7:], ("INSERT INTO log VALUES ('before')",), ("INSERT INTO log VALUES ('after'), ('after')", "SELECT 1")
            )
        if first == "staged":
            before = ("CREATE TEMP TABLE stage (LIKE made)",)
            after = ("INSERT INTO made SELECT * FROM stage ON CONFLICT DO NOTHING", "DROP TABLE stage")
            return Rewritten("COPY stage FROM STDIN", before, after, "COPY {rows}")
        if first == "broken":
            raise ZeroDivisionError
        return Rewritten(sql)


@pytest.fixture
def box(start: Start) -> Sandbox:
    return start(Toy())


@pytest.fixture
def client(box: Sandbox, connect: Callable[..., Client]) -> Client:
    return connect(box)


def slow(box: Sandbox, database: str) -> Any:
    """A pg8000 connection: all its statements with parameters go by the extended protocol."""
    return pg8000.dbapi.connect("md5", host="127.0.0.1", port=box.port, password=PASSWORD, database=database)


class TestPassingOn:
    def test_the_version_is_the_dialects(self, client: Client) -> None:
        assert client.connection.server_version == 90900

    def test_rows_of_every_size_arrive(self, client: Client) -> None:
        assert client.rows("SELECT n, repeat('x', n * 50) FROM generate_series(1, 900) AS n") == [
            (n, "x" * n * 50) for n in range(1, 901)
        ]

    def test_copy_in_both_directions(self, client: Client) -> None:
        rows = "".join(f"{n}\t{'é' * (n % 50)}\n" for n in range(50_000))
        with client.connection.cursor() as cursor:
            cursor.copy_expert("COPY made FROM STDIN", io.StringIO(rows))
            assert cursor.rowcount == 50_000
            out = io.StringIO()
            cursor.copy_expert("COPY (SELECT * FROM made ORDER BY a) TO STDOUT", out)
        assert out.getvalue() == rows

    def test_a_copy_that_fails_midway_leaves_a_connection_that_works(self, client: Client) -> None:
        with client.connection.cursor() as cursor, pytest.raises(psycopg2.DataError):
            cursor.copy_expert("COPY made FROM STDIN", io.StringIO("1\ta\n" * 3 + "x\tb\n" * 100_000))
        assert client.rows("SELECT count(*) FROM made") == [(0,)]

    def test_a_copy_that_the_client_breaks_off_leaves_a_connection_that_works(self, client: Client) -> None:
        class Breaks(io.StringIO):
            def read(self, size: int | None = -1) -> str:
                raise ValueError("no more")

        with client.connection.cursor() as cursor, pytest.raises(psycopg2.Error):
            cursor.copy_expert("COPY made FROM STDIN", Breaks())
        assert client.rows("SELECT count(*) FROM made") == [(0,)]

    def test_several_statements_are_one_implicit_transaction(self, client: Client) -> None:
        assert client.rows("SET application_name = 'x'; INSERT INTO made VALUES (1); SELECT a FROM made -- done") == [(1,)]
        assert client.refusal("INSERT INTO made VALUES (2); SELECT 1 / 0; INSERT INTO made VALUES (3)")[0] == "22012"
        assert client.rows("SELECT a FROM made") == [(1,)]

    def test_an_empty_statement_is_answered(self, client: Client) -> None:
        for empty in ("", " ; -- nothing"):
            with pytest.raises(psycopg2.ProgrammingError, match="can't execute an empty query"):
                client.run(empty)
        assert client.rows("SELECT 1;;") == [(1,)]

    def test_notices_and_notifications_arrive(self, client: Client, box: Sandbox, connect: Callable[..., Client]) -> None:
        client.run("DO $$ BEGIN RAISE NOTICE 'hear; hear'; END $$")
        assert any("hear; hear" in notice for notice in client.connection.notices)
        client.run("LISTEN news")
        connect(box).run("NOTIFY news, 'today'")

        def heard() -> bool:
            client.connection.poll()
            return [notify.payload for notify in client.connection.notifies] == ["today"]

        wait_until(heard, "the notification")

    def test_a_cancel_request_reaches_the_server(self, box: Sandbox, pg_database: PostgresServer) -> None:
        looker = pg_database.connect()

        def asleep() -> bool:
            with looker, looker.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(601)' AND state = 'active'")
                return bool(cursor.fetchone()[0] == 1)

        with _raw(box, pg_database.database) as talk:
            talk.send(_message(b"Q", b"SELECT pg_sleep(601)\0"))
            wait_until(asleep, "the start of the statement")
            with socket.create_connection(("127.0.0.1", box.port)) as other:
                other.sendall(struct.pack("!ii", 16, 80877102) + talk.key)
                assert other.recv(1) == b""
            found = talk.until(b"Z")
        assert [kind for kind, _ in found] == [b"T", b"E", b"Z"]
        assert b"C57014\0" in found[1][1]
        looker.close()

    def test_the_extended_protocol_with_parameters(self, box: Sandbox, pg_database: PostgresServer) -> None:
        connection = slow(box, pg_database.database)
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO made VALUES (%s, %s)", [(1, "a"), (2, None)])
        cursor.execute("SELECT a, b, %s::date FROM made ORDER BY a", (datetime.date(2026, 1, 2),))
        assert [list(row) for row in cursor.fetchall()] == [
            [1, "a", datetime.date(2026, 1, 2)],
            [2, None, datetime.date(2026, 1, 2)],
        ]
        cursor.execute("COPY made FROM STDIN", stream=io.BytesIO(b"3\tc\n"))
        cursor.execute("SELECT count(*) FROM made")
        assert cursor.fetchone()[0] == 3
        connection.close()


class TestRewriting:
    def test_a_refusal_has_the_dialects_words(self, client: Client) -> None:
        with pytest.raises(psycopg2.NotSupportedError) as caught:
            client.run("REFUSE this")
        diag = caught.value.diag
        assert (diag.severity, diag.message_primary, diag.message_detail, diag.message_hint) == (
            "ERROR",
            "no such thing here",
            "why",
            "how",
        )
        assert client.rows("SELECT 1") == [(1,)]

    @pytest.mark.parametrize("word", ["refuse", "misspell"])
    def test_a_refused_statement_fails_its_transaction(self, client: Client, word: str) -> None:
        client.run("BEGIN")
        client.run("INSERT INTO made VALUES (1)")
        client.refusal(word)
        assert client.status == ext.TRANSACTION_STATUS_INERROR
        assert client.refusal("SELECT 1")[0] == "25P02"
        assert client.run("COMMIT") == "ROLLBACK"
        assert client.status == ext.TRANSACTION_STATUS_IDLE
        assert client.rows("SELECT * FROM made") == []

    def test_a_savepoint_undoes_a_refusal(self, client: Client) -> None:
        client.run("BEGIN")
        client.run("SAVEPOINT s")
        client.refusal("REFUSE")
        client.run("ROLLBACK TO s")
        assert client.rows("COUNT") == [(0,)]
        assert client.status == ext.TRANSACTION_STATUS_INTRANS

    def test_in_a_failed_transaction_the_parser_still_speaks_first(self, client: Client) -> None:
        client.run("BEGIN")
        client.refusal("SELECT 1 / 0")
        assert client.refusal("MISSPELL")[0] == "42601"
        assert client.refusal("REFUSE")[0] == "25P02"
        assert client.refusal("COUNT")[0] == "25P02"

    def test_of_a_string_with_a_syntax_error_nothing_runs(self, client: Client) -> None:
        assert client.refusal("COMMIT; INSERT INTO made VALUES (1); MISSPELL")[0] == "42601"
        assert client.refusal("INSERT INTO made VALUES (2); REFUSE")[0] == "0A000"
        assert client.rows("SELECT * FROM made") == []

    def test_a_lookup_sees_what_the_clients_transaction_sees(self, client: Client) -> None:
        client.run("BEGIN")
        client.run("INSERT INTO made VALUES (1, 'x')")
        assert client.rows("COUNT") == [(1,)]
        client.run("ROLLBACK")
        assert client.rows("COUNT") == [(0,)]

    def test_what_runs_around_a_statement_is_not_seen(self, client: Client) -> None:
        assert client.rows("LOGGED SELECT 7; SELECT 8") == [(8,)]
        assert client.run("LOGGED INSERT INTO made VALUES (1), (2), (3)") == "INSERT 0 3"
        assert client.rows("SELECT a, count(*) FROM log GROUP BY a ORDER BY a") == [("after", 4), ("before", 2)]

    def test_what_runs_around_a_statement_is_undone_with_it(self, client: Client) -> None:
        client.refusal("LOGGED SELECT 1 / 0")
        assert client.rows("SELECT * FROM log") == []

    def test_a_staged_copy_counts_what_came_in(self, client: Client) -> None:
        client.run("INSERT INTO made VALUES (1, 'old')")
        with client.connection.cursor() as cursor:
            cursor.copy_expert("STAGED", io.StringIO("1\tnew\n2\tnew\n"))
            assert cursor.rowcount == 1
        assert client.rows("SELECT * FROM made ORDER BY a") == [(1, "old"), (2, "new")]

    def test_an_error_after_the_rows_are_in_undoes_the_copy(self, client: Client) -> None:
        client.run("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$")
        client.run("CREATE TRIGGER no BEFORE INSERT ON made FOR EACH ROW EXECUTE FUNCTION no()")
        with client.connection.cursor() as cursor, pytest.raises(psycopg2.Error, match="never"):
            cursor.copy_expert("STAGED", io.StringIO("1\tnew\n"))
        assert client.rows("SELECT to_regclass('pg_temp.stage')") == [(None,)]

    def test_a_defect_of_the_dialect_is_an_error_of_the_statement(self, client: Client) -> None:
        assert client.refusal("BROKEN") == ("XX000", "the sandbox failed on this statement: ZeroDivisionError()")
        assert client.rows("SELECT 1") == [(1,)]

    def test_the_extended_protocol_is_rewritten_too(self, box: Sandbox, pg_database: PostgresServer) -> None:
        connection = slow(box, pg_database.database)
        cursor = connection.cursor()
        cursor.execute("LOGGED INSERT INTO made VALUES (%s, %s)", (1, "a"))
        assert cursor.rowcount == 1
        cursor.execute("SELECT a FROM log WHERE a <> %s", ("x",))
        assert [row[0] for row in cursor.fetchall()] == ["before", "after", "after"]
        with pytest.raises(pg8000.dbapi.Error, match="no such thing here"):
            cursor.execute("REFUSE %s", (1,))
        with pytest.raises(pg8000.dbapi.Error, match="25P02"):
            cursor.execute("SELECT %s::int", (1,))
        connection.rollback()
        cursor.execute("SELECT count(*) FROM made WHERE a > %s", (0,))
        assert cursor.fetchone()[0] == 0
        connection.close()

    def test_a_lookup_within_a_pipeline(self, box: Sandbox, pg_database: PostgresServer) -> None:
        """JDBC sends several Parse, Bind and Execute before one Sync; a lookup for the second sees the first one's row."""
        with _raw(box, pg_database.database) as talk:
            talk.send(_parse("INSERT INTO made VALUES (1, 'x')") + _bind_execute() + _parse("COUNT") + _bind_execute() + SYNC)
            kinds = talk.until(b"Z")
        assert [kind for kind, _ in kinds] == [b"1", b"2", b"C", b"1", b"2", b"D", b"C", b"Z"]
        assert kinds[5][1].endswith(b"1")

    def test_a_refusal_within_a_pipeline_skips_to_its_sync(self, box: Sandbox, pg_database: PostgresServer) -> None:
        insert = _parse("INSERT INTO made VALUES (1, 'x')") + _bind_execute()
        with _raw(box, pg_database.database) as talk:
            talk.send(
                insert + _parse("REFUSE") + _bind_execute() + _parse("COUNT") + SYNC + _parse("COUNT") + _bind_execute() + SYNC
            )
            first, second = talk.until(b"Z"), talk.until(b"Z")
        assert [kind for kind, _ in first] == [b"1", b"2", b"C", b"E", b"Z"]
        assert [kind for kind, _ in second] == [b"1", b"2", b"D", b"C", b"Z"]
        assert second[2][1].endswith(b"0")

    def test_a_staged_copy_by_the_extended_protocol(self, box: Sandbox, pg_database: PostgresServer) -> None:
        with _raw(box, pg_database.database) as talk:
            # Some clients send the Sync along; the server ignores it while it copies.
            talk.send(_parse("STAGED") + _bind_execute() + SYNC)
            assert [kind for kind, _ in talk.until(b"G")] == [b"1", b"2", b"G"]
            talk.send(_message(b"d", b"5\tx\n") + _message(b"c") + SYNC)
            assert talk.until(b"Z") == [(b"C", b"COPY 1\0"), (b"Z", b"I")]
            talk.send(_message(b"Q", b"SELECT a FROM made\0"))
            assert [kind for kind, _ in talk.until(b"Z")] == [b"T", b"D", b"C", b"Z"]


class TestConnecting:
    def test_it_listens_on_loopback_only(self) -> None:
        with pytest.raises(ConfigError, match=r"loopback only, not on 0\.0\.0\.0"):
            Sandbox(Toy(), Upstream("127.0.0.1", 1), {}, host="0.0.0.0")

    def test_a_wrong_password_and_an_unknown_user_hear_the_same(self, box: Sandbox, pg_database: PostgresServer) -> None:
        def words(user: str, password: str) -> str:
            with pytest.raises(psycopg2.OperationalError) as caught:
                psycopg2.connect(host="127.0.0.1", port=box.port, user=user, password=password, dbname=pg_database.database)
            return str(caught.value).partition("failed: ")[2].strip()

        assert words("md5", "wrong") == "FATAL:  Invalid username/password,login denied."
        other = Sandbox(Toy(), box.upstream, {"one": PASSWORD}, Md5())
        with other:
            box = other
            assert words("one", "wrong") == 'FATAL:  password authentication failed for user "one"'
            assert words("two", PASSWORD) == 'FATAL:  password authentication failed for user "two"'

    def test_a_database_that_is_not_there(self, box: Sandbox) -> None:
        with pytest.raises(psycopg2.OperationalError, match='database "nowhere" does not exist'):
            Client(box, "nowhere")

    def test_tls_is_refused_without_a_certificate_and_works_with_one(
        self, box: Sandbox, start: Start, connect: Callable[..., Client], tmp_path: Path
    ) -> None:
        with pytest.raises(psycopg2.OperationalError, match="server does not support SSL"):
            connect(box, sslmode="require")
        certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
        subprocess.run(make, check=True, capture_output=True)
        secure = start(Toy(), certificate=(certificate, key))
        client = connect(secure, sslmode="verify-full", sslrootcert=certificate)
        assert client.connection.info.ssl_in_use
        assert client.rows("SELECT sum(length(repeat('x', n))) FROM generate_series(1, 2000) AS n") == [(2_001_000,)]

    def test_a_client_that_goes_ends_its_session_upstream(self, box: Sandbox, client: Client, pg_database: PostgresServer) -> None:
        ((pid,),) = client.rows("SELECT pg_backend_pid()")
        client.connection.close()
        wait_until(lambda: box.connections == 0, "the end of the connection")
        looker = pg_database.connect()

        def gone() -> bool:
            with looker, looker.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (pid,))
                return bool(cursor.fetchone()[0] == 0)

        wait_until(gone, "the end of the session upstream")
        looker.close()

    def test_a_client_that_goes_while_it_waits_is_noticed(self, box: Sandbox, pg_database: PostgresServer) -> None:
        with _raw(box, pg_database.database) as talk:
            talk.send(_message(b"Q", b"SELECT pg_sleep(600)\0"))
        wait_until(lambda: box.connections == 0, "the end of the connection")

    def test_a_client_that_goes_within_a_copy_leaves_no_rows(self, box: Sandbox, pg_database: PostgresServer) -> None:
        with _raw(box, pg_database.database) as talk:
            talk.send(_message(b"Q", b"COPY made FROM STDIN\0"))
            talk.until(b"G")
            talk.send(_message(b"d", b"1\tx\n"))
        wait_until(lambda: box.connections == 0, "the end of the connection")
        client = Client(box, pg_database.database)
        assert client.rows("SELECT count(*) FROM made") == [(0,)]
        client.connection.close()

    @pytest.mark.parametrize(
        "bytes_sent", [b"", b"GET / HTTP/1.1\r\n\r\n", struct.pack("!ii", 8, 80877103), b"\0\0\0\4", b"\xff" * 64]
    )
    def test_a_client_that_speaks_nonsense_is_dropped(self, box: Sandbox, bytes_sent: bytes) -> None:
        with socket.create_connection(("127.0.0.1", box.port)) as sock:
            sock.sendall(bytes_sent)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(20)
            while sock.recv(1000):
                pass
        wait_until(lambda: box.connections == 0, "the end of the connection")

    def test_a_session_that_is_ended_upstream_hears_why(self, box: Sandbox, pg_database: PostgresServer) -> None:
        with _raw(box, pg_database.database) as talk:
            pg_database.execute(f"SELECT pg_terminate_backend({struct.unpack('!i', talk.key[:4])[0]})")
            ((_, said),) = talk.until(b"E")
        assert b"C57P01\0" in said
        wait_until(lambda: box.connections == 0, "the end of the connection")

    def test_stopping_ends_all_connections(self, client: Client, box: Sandbox) -> None:
        box.stop()
        assert box.connections == 0
        with pytest.raises(psycopg2.OperationalError):
            client.run("SELECT 1")


# A client that says exactly what it is told.

SYNC = b"S\0\0\0\4"


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _parse(sql: str) -> bytes:
    return _message(b"P", b"\0" + sql.encode() + b"\0\0\0")


def _bind_execute() -> bytes:
    return _message(b"B", b"\0\0" + bytes(6)) + _message(b"E", b"\0" + bytes(4))


class _raw:
    """A connection without a driver; user ``md5``."""

    def __init__(self, box: Sandbox, database: str) -> None:
        import hashlib

        self.sock = socket.create_connection(("127.0.0.1", box.port))
        self.sock.settimeout(20)
        body = struct.pack("!i", 3 << 16) + f"user\0md5\0database\0{database}\0\0".encode()
        self.send(struct.pack("!i", len(body) + 4) + body)
        ((_, asked),) = self.until(b"R")
        inner = hashlib.md5((PASSWORD + "md5").encode()).hexdigest().encode()
        self.send(_message(b"p", b"md5" + hashlib.md5(inner + asked[4:]).hexdigest().encode() + b"\0"))
        self.key = dict(self.until(b"Z"))[b"K"]

    def __enter__(self) -> _raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def until(self, last: bytes) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        while not found or found[-1][0] != last:
            head = self._exactly(5)
            found.append((head[:1], self._exactly(struct.unpack("!i", head[1:])[0] - 4)))
        return found

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            assert piece, "the connection was closed"
            data += piece
        return data
