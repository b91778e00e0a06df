"""GaussDB's stand-in: each refusal in the server's words, and what it accepts with the server's results."""

from __future__ import annotations

import hashlib
import hmac
import io
import struct
from collections.abc import Callable
from typing import Any
from unittest import mock

import pg8000.core
import pg8000.dbapi
import psycopg2
import psycopg2.extensions as ext
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.conftest import PASSWORD, Client, Start
from tests.scale import examples
from tests.servers import PostgresServer
from tidegate.sandbox.gaussdb import GaussdbDialect
from tidegate.sandbox.pgwire import Sandbox

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE t (a int PRIMARY KEY, b text, c varchar(9) NOT NULL DEFAULT '-')"


@pytest.fixture
def client(start: Start, connect: Callable[..., Client]) -> Client:
    client = connect(start(GaussdbDialect()))
    client.run(TABLE)
    return client


class Sha256(pg8000.core.CoreConnection):  # type: ignore[misc]
    """pg8000 with GaussDB's exchange, written from its description."""

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Any) -> None:
        if struct.unpack("!i", data[:4])[0] != 10:
            super().handle_AUTHENTICATION_REQUEST(data, context)
            return
        salt, token, rounds = (
            bytes.fromhex(data[8:72].decode()),
            bytes.fromhex(data[72:80].decode()),
            struct.unpack("!i", data[80:84])[0],
        )
        salted = hashlib.pbkdf2_hmac("sha1", self.password, salt, rounds, 32)
        key = hmac.digest(salted, b"Client Key", "sha256")
        mask = hmac.digest(hashlib.sha256(key).digest(), token, "sha256")
        self._send_message(b"p", bytes(a ^ b for a, b in zip(mask, key, strict=True)).hex().encode() + b"\0")
        pg8000.core._flush(self._sock)


def sha256(box: Sandbox, database: str, password: str) -> Any:
    plain = pg8000.core._write

    def write(sock: Any, data: bytes) -> None:
        # The startup message with GaussDB's protocol version, 3.51: only then does the server say how many rounds.
        plain(sock, struct.pack("!i", 0x30033) + data[4:] if data[:4] == struct.pack("!i", 0x30000) else data)

    with mock.patch.object(pg8000.core, "_write", write):
        return Sha256("sha", host="127.0.0.1", port=box.port, password=password, database=database)


class TestIdentity:
    def test_version_and_compatibility(self, client: Client) -> None:
        assert client.connection.server_version == 90204
        ((version,),) = client.rows("SELECT version()")
        assert version.startswith("gaussdb (GaussDB Kernel 505.2.0 build ")
        assert client.rows("SELECT datcompatibility FROM pg_catalog.pg_database WHERE datname = current_database()") == [("A",)]
        assert client.rows("SHOW server_version") == [("9.2.4",)]
        client.run("SET lockwait_timeout = '5s'")
        assert client.rows("SHOW lockwait_timeout") == [("5s",)]

    def test_a_stock_driver_cant_log_in_with_sha256(self, client: Client, start: Start, connect: Callable[..., Client]) -> None:
        with pytest.raises(psycopg2.OperationalError, match="SASL"):
            connect(start(GaussdbDialect()), user="sha")

    def test_sha256_with_the_right_and_a_wrong_password(self, start: Start, pg_database: PostgresServer) -> None:
        box = start(GaussdbDialect("opengauss"))
        connection = sha256(box, pg_database.database, PASSWORD)
        found = connection.execute_simple("SELECT version()")
        assert found.rows[0][0].startswith("(openGauss 6.0.0 build aee4abd5)")
        connection.close()
        with pytest.raises(pg8000.dbapi.DatabaseError) as caught:
            sha256(box, pg_database.database, "wrong")
        said = caught.value.args[0]
        assert (said["S"], said["C"], said["M"]) == ("FATAL", "28P01", "Invalid username/password,login denied.")


IT = "INSERT ON DUPLICATE KEY UPDATE"
WHITHIN = f"clause is not yet supported whithin {IT} statement."
IDLE = "idle_in_transaction_session_timeout"
REFUSALS = [
    ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "42601", 'syntax error at or near "CONFLICT"'),
    ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 2", "0A000", f"{IT} don't allow update on primary key or unique key."),
    ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE b = 'x' RETURNING a", "0A000", f"RETURNING {WHITHIN}"),
    ("WITH w AS (SELECT 1) INSERT INTO t SELECT * FROM w ON DUPLICATE KEY UPDATE NOTHING", "0A000", f"WITH {WHITHIN}"),
    ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE b = VALUES(1)", "42601", "only allow column name within VALUES"),
    ("MERGE INTO t USING t s ON (t.a = s.a) WHEN MATCHED THEN DELETE", "42601", 'syntax error at or near "DELETE"'),
    ("MERGE INTO t USING t s ON (t.a = s.a) WHEN MATCHED AND true THEN DELETE", "42601", 'syntax error at or near "AND"'),
    ("SELECT count(*) FILTER (WHERE a > 1) FROM t", "42601", 'syntax error at or near "("'),
    ("ALTER TABLE t ADD COLUMN IF NOT EXISTS d int", "42601", 'syntax error at or near "NOT"'),
    ("SELECT a.attgenerated FROM pg_attribute a", "42703", "column a.attgenerated does not exist"),
    ("SELECT attidentity FROM pg_attribute", "42703", 'column "attidentity" does not exist'),
    ("SET lock_timeout = 1", "42704", 'unrecognized configuration parameter "lock_timeout"'),
    (f"SELECT set_config('{IDLE}', '1', false)", "42704", f'unrecognized configuration parameter "{IDLE}"'),
    ("CREATE TEMP TABLE x (a int) ON COMMIT DROP", "42P16", "ON COMMIT only support PRESERVE ROWS or DELETE ROWS option"),
    ("CREATE TABLE x (a int) DISTRIBUTE BY HASH (a)", "0A000", "Un-support feature"),
]  # fmt: skip


def test_what_the_server_lacks_is_refused_in_its_words(client: Client) -> None:
    assert [(sql, *client.refusal(sql)) for sql, _, _ in REFUSALS] == REFUSALS


def test_a_refusal_fails_the_transaction(client: Client) -> None:
    client.run("BEGIN")
    client.run("INSERT INTO t VALUES (1)")
    client.refusal("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 2")
    assert client.status == ext.TRANSACTION_STATUS_INERROR
    assert client.run("COMMIT") == "ROLLBACK"
    assert client.rows("SELECT * FROM t") == []


class TestUpsert:
    @settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.dictionaries(st.integers(1, 6), st.sampled_from("xyz"), min_size=1), max_size=4))
    def test_results_are_those_of_a_dictionary(self, client: Client, batches: list[dict[int, str]]) -> None:
        client.run("DELETE FROM t")
        model: dict[int, str] = {}
        for batch in batches:
            rows = ", ".join(f"({a}, '{b}')" for a, b in batch.items())
            client.run(f"INSERT INTO t (a, b) VALUES {rows} ON DUPLICATE KEY UPDATE b = VALUES(b), c = EXCLUDED.c")
            model |= batch
        assert dict(client.rows("SELECT a, b FROM t")) == model

    def test_nothing_and_where(self, client: Client) -> None:
        client.run("INSERT INTO t VALUES (1, 'old'), (2, 'old')")
        client.run("INSERT INTO t VALUES (1, 'new'), (3, 'new') ON DUPLICATE KEY UPDATE NOTHING")
        client.run("INSERT INTO t VALUES (1, 'new'), (2, 'new') ON DUPLICATE KEY UPDATE b = EXCLUDED.b WHERE t.a > 1")
        assert client.rows("SELECT a, b FROM t ORDER BY a") == [(1, "old"), (2, "new"), (3, "new")]

    def test_a_table_without_a_key_and_a_temporary_one(self, client: Client) -> None:
        client.run("CREATE TEMP TABLE t (a int, b text)")
        for _ in range(2):
            client.run("INSERT INTO t VALUES (1, 'x') ON DUPLICATE KEY UPDATE a = 2")
        assert client.rows("SELECT a FROM t") == [(1,), (1,)]

    def test_deferrable_and_several_unique_constraints_are_refused(self, client: Client) -> None:
        client.run("CREATE TABLE d (a int PRIMARY KEY DEFERRABLE, b int)")
        words = "INSERT ON DUPLICATE KEY UPDATE does not support deferrable unique constraints/exclusion constraints."
        assert client.refusal("INSERT INTO d VALUES (1) ON DUPLICATE KEY UPDATE b = 1") == ("55000", words)
        client.run("ALTER TABLE t ADD UNIQUE (c)")
        assert client.refusal("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE c = 'x'")[0] == "0A000"
        assert client.refusal("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE b = 'x'")[0] == "0A000"


def test_merge_with_its_conditions_in_where(client: Client) -> None:
    client.run("INSERT INTO t VALUES (1, 'old'), (2, 'old')")
    client.run(
        "MERGE INTO t USING (SELECT n AS a FROM generate_series(1, 4) AS n) s ON (t.a = s.a) "
        "WHEN MATCHED THEN UPDATE SET t.b = 'new' WHERE s.a > 1 "
        "WHEN NOT MATCHED THEN INSERT (a, b) VALUES (s.a, 'in') WHERE s.a < 4"
    )
    assert client.rows("SELECT a, b FROM t ORDER BY a") == [(1, "old"), (2, "new"), (3, "in")]


class TestEmptyText:
    ROUTES = ("literal", "parameter", "update", "copy text", "copy csv", "temporary")

    def _by(self, route: str, client: Client) -> Any:
        table = "t"
        if route == "literal":
            client.run("INSERT INTO t VALUES (1, '')")
        elif route == "parameter":
            client.run("INSERT INTO t VALUES (1, %s)", ("",))
        elif route == "update":
            client.run("INSERT INTO t VALUES (1, 'x')")
            client.run("UPDATE t SET b = trim(' ')")
        else:
            if route == "temporary":
                client.run("CREATE TEMP TABLE tt (a int, b text)")
                table = "tt"
            rows = '1,""\n' if route == "copy csv" else "1\t\n"
            with client.connection.cursor() as cursor:
                cursor.copy_expert(f"COPY {table} (a, b) FROM STDIN" + (" CSV" if route == "copy csv" else ""), io.StringIO(rows))
        return client.rows(f"SELECT b FROM {table}")[0][0]

    @pytest.mark.parametrize("route", ROUTES)
    def test_it_is_null_in_mode_a(self, client: Client, route: str) -> None:
        assert self._by(route, client) is None

    @pytest.mark.parametrize("route", ROUTES)
    def test_it_is_kept_in_mode_pg(self, start: Start, connect: Callable[..., Client], route: str) -> None:
        client = connect(start(GaussdbDialect(compatibility="PG")))
        client.run(TABLE)
        assert self._by(route, client) == ""

    def test_not_null_refuses_it_and_no_condition_finds_it(self, client: Client) -> None:
        assert client.refusal("INSERT INTO t VALUES (1, 'x', %s)", ("",))[0] == "23502"
        client.run("INSERT INTO t VALUES (1, '')")
        assert client.rows("SELECT a FROM t WHERE b = ''") == []
        client.run("ALTER TABLE t ADD COLUMN d text")
        client.run("UPDATE t SET d = trim(' ')")
        assert client.rows("SELECT d FROM t") == [(None,)]


def test_a_distribution_key_is_known_and_not_updated(start: Start, connect: Callable[..., Client]) -> None:
    client = connect(start(GaussdbDialect(compatibility="PG", distributed=True)))
    client.run("CREATE TABLE h (a int, b int, c int) DISTRIBUTE BY HASH (b)")
    client.run("CREATE TABLE r (a int) DISTRIBUTE BY REPLICATION")
    client.run("CREATE TABLE k (x int, a int PRIMARY KEY)")
    found = client.rows("SELECT pcrelid::regclass::text, pclocatortype, pcattnum::text FROM pgxc_class ORDER BY 1")
    assert found == [("h", "H", "2"), ("k", "H", "2"), ("r", "R", "")]
    assert client.refusal("UPDATE h SET a = 1, b = 2")[1] == "Distributed key column can't be updated in current version"
    merging = "MERGE INTO h USING r ON (h.a = r.a) WHEN MATCHED THEN UPDATE SET b = 1"
    assert client.refusal(merging) == ("42P10", "Distributed key column can't be updated in current version")
    client.run("UPDATE h SET a = 1, c = b")
