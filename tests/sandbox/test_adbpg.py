"""AnalyticDB's dialect, its statements run on a real PostgreSQL as the proxy would run them: before, statement, after, at once."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scale import examples
from tests.servers import PostgresServer
from tidegate.sandbox.adbpg import Adbpg
from tidegate.sandbox.dialect import Refused, Rewritten


class Client:
    """Runs statements through a dialect on one connection."""

    def __init__(self, server: PostgresServer, dialect: Adbpg) -> None:
        self.dialect = dialect
        self.connection = server.connect()

    def rows(self, sql: str, params: Sequence[str | None] = ()) -> list[tuple[str | None, ...]]:
        """The dialect's Lookup: ``$1`` as text, results as text."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql.replace("%", "%%").replace("$1", "%s"), list(params) or None)
            return [tuple(None if value is None else _text(value) for value in row) for row in cursor.fetchall()]

    def rewrite(self, sql: str) -> Rewritten:
        return self.dialect.rewrite(sql, self)

    def run(self, sql: str, copy: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own; its rows, or none."""
        try:
            rewritten = self.rewrite(sql)
            with self.connection.cursor() as cursor:
                for statement in rewritten.before:
                    cursor.execute(statement)
                if copy is None:
                    cursor.execute(rewritten.statement)
                else:
                    cursor.copy_expert(rewritten.statement, io.StringIO(copy))
                rows = cursor.fetchall() if cursor.description and copy is None else []
                for statement in rewritten.after:
                    cursor.execute(statement)
            self.connection.commit()
            return rows
        except BaseException:
            self.connection.rollback()
            raise

    def refused(self, sql: str, copy: str | None = None) -> tuple[str | None, str]:
        """SQLSTATE and message with which a statement is refused, by the dialect or by the server."""
        try:
            self.run(sql, copy)
        except Refused as refused:
            return refused.sqlstate, refused.message
        except psycopg2.Error as error:
            return error.pgcode, error.diag.message_primary or ""
        raise AssertionError(f"not refused: {sql}")


def _text(value: object) -> str:
    import json

    if isinstance(value, bool):
        return "t" if value else "f"
    return json.dumps(value) if isinstance(value, list) else str(value)


REFUSING = (
    "CREATE TABLE made (a int, b int) DISTRIBUTED BY (a)",
    "CREATE TABLE spread (a int) DISTRIBUTED RANDOMLY",
    "CREATE TABLE keyed (a int PRIMARY KEY, b int)",
    "CREATE TABLE wide (a int, b int, c int, PRIMARY KEY (a, b)) DISTRIBUTED BY (a)",
    "CREATE TABLE ao (a int, b int) WITH (appendonly=true, orientation=column)",
    "CREATE VIEW seen AS SELECT * FROM keyed",
)


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer) -> Iterator[Client]:
    """One database for statements that leave nothing behind."""
    postgres.execute("CREATE DATABASE adbpg_shared", database="postgres")
    server = PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database="adbpg_shared")
    client = _client(server, Adbpg())
    for statement in REFUSING:
        client.run(statement)
    yield client
    client.connection.close()
    postgres.execute("DROP DATABASE adbpg_shared WITH (FORCE)", database="postgres")


def _client(server: PostgresServer, dialect: Adbpg) -> Client:
    server.execute(*dialect.bootstrap())
    return Client(server, dialect)


@pytest.fixture
def db(pg_database: PostgresServer) -> Iterator[Client]:
    client = _client(pg_database, Adbpg())
    yield client
    client.connection.close()


@pytest.fixture
def old(pg_database: PostgresServer) -> Iterator[Client]:
    """A kernel from before ON CONFLICT took partitioned tables."""
    client = _client(pg_database, Adbpg("6.3.5.0"))
    yield client
    client.connection.close()


@pytest.fixture
def seven(pg_database: PostgresServer) -> Iterator[Client]:
    client = _client(pg_database, Adbpg("7.0.6.4"))
    yield client
    client.connection.close()


def policy(db: Client, table: str) -> str:
    return str(db.run(f"SELECT pg_get_table_distributedby('{table}'::regclass)")[0][0])


# Versions


def test_version_is_greenplum_6_on_postgresql_9_4(db: Client) -> None:
    assert db.dialect.server_version == "9.4.26"
    text = "PostgreSQL 9.4.26 (Greenplum Database 6.6.0 build dev)"
    assert db.run("SELECT version()")[0][0].startswith(text)
    assert db.run("SELECT pg_catalog.version()")[0][0].startswith(text)
    assert db.run("SHOW adbpg_version") == [("6.3.6.1",)]
    assert db.run("SHOW server_version") == [("9.4.26",)]
    assert db.run("SELECT current_setting('server_version_num')::int") == [(90426,)]
    assert db.rewrite("SHOW optimizer").tag == "SHOW"


def test_version_7_is_greenplum_7_on_postgresql_12(seven: Client) -> None:
    assert seven.dialect.server_version == "12.12"
    assert seven.run("SELECT version()")[0][0].startswith("PostgreSQL 12.12 (Greenplum Database 7.0.0 build dev)")
    assert seven.run("SHOW adbpg_version") == [("7.0.6.4",)]
    seven.run("CREATE TABLE t (a int PRIMARY KEY)")
    assert seven.run("SELECT attidentity, attgenerated FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1") == [
        ("", "")
    ]


def test_a_kernel_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no AnalyticDB PostgreSQL has the kernel 5\\.1"):
        Adbpg("5.1")


def test_optimizer_can_be_set_and_shown(db: Client) -> None:
    assert db.run("SHOW optimizer") == [("on",)]
    db.run("SET optimizer = off")
    assert db.run("SHOW optimizer") == [("off",)]
    assert db.run("SELECT setting FROM pg_settings WHERE name = 'optimizer'") == [("off",)]
    db.run("RESET optimizer")
    assert db.refused("SET adbpg_version = '7'") == ("55P02", 'parameter "adbpg_version" cannot be changed')


def test_bootstrap_does_no_harm_the_second_time(db: Client, pg_database: PostgresServer) -> None:
    db.run("CREATE TABLE t (a int, b int) DISTRIBUTED BY (b)")
    pg_database.execute(*db.dialect.bootstrap())
    assert policy(db, "t") == "DISTRIBUTED BY (b)"


# Distribution


@pytest.mark.parametrize(
    ("create", "told"),
    [
        ("CREATE TABLE t (a int, b int) DISTRIBUTED BY (b, a)", "DISTRIBUTED BY (b, a)"),
        ('create table if not exists t (a int, "B" int) distributed by ("B")', 'DISTRIBUTED BY ("B")'),
        ("CREATE TABLE t (a int) DISTRIBUTED RANDOMLY", "DISTRIBUTED RANDOMLY"),
        ("CREATE TABLE t (a int PRIMARY KEY) DISTRIBUTED REPLICATED", "DISTRIBUTED REPLICATED"),
        ("CREATE TABLE t (a int, b int, c int, PRIMARY KEY (c, b))", "DISTRIBUTED BY (c, b)"),
        ("CREATE TABLE t (a int, b int, c int, PRIMARY KEY (c, b), UNIQUE (a, b))", "DISTRIBUTED BY (b)"),
        ("CREATE TABLE t (a int, b int UNIQUE)", "DISTRIBUTED BY (b)"),
        ("CREATE TABLE t (a json, b int)", "DISTRIBUTED BY (b)"),
        ("CREATE TABLE t (a json)", "DISTRIBUTED RANDOMLY"),
        ("CREATE TEMP TABLE t (a int, b int) ON COMMIT PRESERVE ROWS DISTRIBUTED BY (b)", "DISTRIBUTED BY (b)"),
        ("CREATE TABLE t AS SELECT 1 AS a, 2 AS b DISTRIBUTED BY (b)", "DISTRIBUTED BY (b)"),
        ("CREATE TABLE t AS SELECT 1 AS a, 2 AS b", "DISTRIBUTED BY (a)"),
        ("CREATE TABLE t WITH (appendonly=true, fillfactor=90) AS SELECT 1 AS a DISTRIBUTED RANDOMLY", "DISTRIBUTED RANDOMLY"),
    ],
)
def test_distribution_is_what_the_clause_says_or_what_greenplum_chooses(shared: Client, create: str, told: str) -> None:
    shared.run(create)
    assert policy(shared, "t") == told
    shared.run("DROP TABLE t")


def test_distribution_policy_is_laid_out_as_in_greenplum_6(db: Client) -> None:
    db.run("CREATE TABLE t (a int, b int, c int) DISTRIBUTED BY (c, a)")
    query = "SELECT policytype, numsegments, distkey::text FROM pg_catalog.gp_distribution_policy WHERE localoid = 't'::regclass"
    assert db.run(query) == [("p", 2, "3 1")]
    db.run("ALTER TABLE t DROP COLUMN a")
    assert policy(db, "t") == "DISTRIBUTED RANDOMLY"
    db.run("DROP TABLE t")
    assert db.run("SELECT count(*) FROM gp_distribution_policy") == [(0,)]


def test_a_table_like_another_takes_its_distribution(db: Client) -> None:
    db.run("CREATE TABLE t (a int, b int) DISTRIBUTED BY (b)")
    db.run("CREATE TEMPORARY TABLE s (LIKE t)")
    assert policy(db, "s") == "DISTRIBUTED BY (b)"


def test_alter_table_sets_distribution(db: Client) -> None:
    db.run("CREATE TABLE t (a int, b int)")
    db.run("ALTER TABLE t SET DISTRIBUTED BY (b)")
    assert policy(db, "t") == "DISTRIBUTED BY (b)"
    db.run("ALTER TABLE public.t SET DISTRIBUTED REPLICATED")
    assert policy(db, "t") == "DISTRIBUTED REPLICATED"


@pytest.mark.parametrize(
    ("statement", "state", "message"),
    [
        (
            "CREATE TABLE t (a int PRIMARY KEY, b int) DISTRIBUTED BY (b)",
            "42P16",
            "PRIMARY KEY and DISTRIBUTED BY definitions are incompatible",
        ),
        (
            "CREATE TABLE t (a int UNIQUE, b int) DISTRIBUTED BY (b)",
            "42P16",
            "UNIQUE constraint and DISTRIBUTED BY definitions are incompatible",
        ),
        (
            "CREATE TABLE t (a int PRIMARY KEY) DISTRIBUTED RANDOMLY",
            "42P16",
            "PRIMARY KEY and DISTRIBUTED RANDOMLY are incompatible",
        ),
        ("CREATE TABLE t (a int UNIQUE) DISTRIBUTED RANDOMLY", "42P16", "UNIQUE and DISTRIBUTED RANDOMLY are incompatible"),
        (
            "CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE)",
            "42P16",
            "UNIQUE or PRIMARY KEY definitions are incompatible with each other",
        ),
        ("CREATE TABLE t (a int) DISTRIBUTED BY (x)", "42703", 'column "x" named in DISTRIBUTED BY clause does not exist'),
        ("CREATE TABLE t (a int) DISTRIBUTED BY (a, a)", "42701", 'duplicate column "a" in DISTRIBUTED BY clause'),
        (
            "CREATE UNIQUE INDEX ON made (b)",
            "23505",
            'UNIQUE index must contain all columns in the distribution key of relation "made"',
        ),
        (
            "ALTER TABLE made ADD PRIMARY KEY (b)",
            "23505",
            'PRIMARY KEY must contain all columns in the distribution key of relation "made"',
        ),
        ("CREATE UNIQUE INDEX ON spread (a)", "42P16", "UNIQUE and DISTRIBUTED RANDOMLY are incompatible"),
        ("CREATE UNIQUE INDEX ON ao (a)", "0A000", "append-only tables do not support unique indexes"),
        ("CREATE TABLE t (a int PRIMARY KEY) WITH (appendonly=true)", "0A000", "append-only tables do not support unique indexes"),
        (
            "ALTER TABLE keyed SET DISTRIBUTED RANDOMLY",
            "42P16",
            "cannot set to DISTRIBUTED RANDOMLY because relation has primary Key",
        ),
        ("UPDATE keyed SET a = 2", "0AM01", "Cannot parallelize an UPDATE statement that updates the distribution columns"),
        ("UPDATE ONLY public.keyed AS k SET (b, a) = (1, 2)", "0AM01", None),
        ("WITH w AS (UPDATE keyed SET a = 1 RETURNING b) SELECT * FROM w", "0AM01", None),
        (
            "INSERT INTO keyed VALUES (1, 2) ON CONFLICT (a) DO UPDATE SET b = 1, a = excluded.a",
            "0A000",
            "modification of distribution columns in OnConflictUpdate is not supported",
        ),
        ("INSERT INTO wide VALUES (1, 2, 3) ON CONFLICT (a, b) DO UPDATE SET c = 1, b = 2", "0A000", None),
        ("INSERT INTO keyed VALUES (1, 2) ON CONFLICT (a) DO UPDATE SET b = 1 WHERE keyed.b > (SELECT 1)", "0A000", None),
        (
            "INSERT INTO ao VALUES (1, 2) ON CONFLICT DO NOTHING",
            "0A000",
            "INSERT ON CONFLICT is not supported for appendoptimized relations",
        ),
        ("INSERT INTO seen VALUES (1, 2) ON CONFLICT DO NOTHING", "0A000", None),
        ("INSERT INTO keyed VALUES (1, 1), (1, 2) ON CONFLICT (a) DO UPDATE SET b = excluded.b", "21000", None),
        (
            "WITH a AS (DELETE FROM keyed), b AS (DELETE FROM made) SELECT 1",
            "0A000",
            "only one modifying WITH clause allowed per query",
        ),
        (
            "WITH a AS (DELETE FROM keyed RETURNING *) INSERT INTO made SELECT * FROM a",
            "0A000",
            "writable CTE queries cannot be themselves writable",
        ),
        ("CREATE TRIGGER g BEFORE INSERT ON keyed EXECUTE FUNCTION f()", "0A000", None),
        ("ALTER TABLE keyed ADD COLUMN IF NOT EXISTS c int", "42601", 'syntax error at or near "NOT"'),
        ("CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS a", "42601", 'syntax error at or near "AS"'),
        ("CREATE INDEX IF NOT EXISTS i ON keyed (a)", "42601", 'syntax error at or near "NOT"'),
        ("CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY)", "42601", 'syntax error at or near "GENERATED"'),
        ("CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a) STORED)", "42601", 'syntax error at or near "GENERATED"'),
        ("MERGE INTO keyed USING made ON true WHEN MATCHED THEN DO NOTHING", "42601", 'syntax error at or near "MERGE"'),
        ("SELECT * FROM keyed FOR UPDATE SKIP LOCKED", "42601", 'syntax error at or near "SKIP"'),
        ("WITH a AS MATERIALIZED (SELECT 1) SELECT * FROM a", "42601", 'syntax error at or near "MATERIALIZED"'),
        ("SELECT * FROM keyed, LATERAL (SELECT keyed.a) AS l", "0A000", None),
        ("COPY keyed FROM STDIN WHERE a > 1", "42601", 'syntax error at or near "WHERE"'),
        (
            "SET idle_in_transaction_session_timeout = '1s'",
            "42704",
            'unrecognized configuration parameter "idle_in_transaction_session_timeout"',
        ),
        ("SELECT set_config('jit', 'off', false)", "42704", 'unrecognized configuration parameter "jit"'),
        ("SELECT a.attidentity FROM pg_attribute a", "42703", "column a.attidentity does not exist"),
        ("SELECT attgenerated FROM pg_catalog.pg_attribute", "42703", 'column "attgenerated" does not exist'),
        ("SELECT i.indnkeyatts FROM pg_catalog.pg_index i", "42703", "column i.indnkeyatts does not exist"),
        ("SELECT * FROM pg_catalog.pg_partitioned_table", "42P01", 'relation "pg_catalog.pg_partitioned_table" does not exist'),
        ("CREATE TABLE t (a int) PARTITION BY RANGE (a)", "42P16", "no partitions specified at depth 1"),
    ],
)
def test_refusal_in_the_servers_words(shared: Client, statement: str, state: str, message: str | None) -> None:
    assert shared.refused(statement)[: 1 if message is None else 2] == ((state,) if message is None else (state, message))


def test_what_looks_like_a_refusal_but_is_not(db: Client) -> None:
    db.run("CREATE TABLE keyed (a int PRIMARY KEY, b int)")
    db.run("INSERT INTO keyed VALUES (1, 1) ON CONFLICT (a) DO UPDATE SET b = excluded.b WHERE keyed.a = 1")
    db.run("WITH w AS (INSERT INTO keyed VALUES (1, 7) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING a) SELECT * FROM w")
    db.run("UPDATE keyed AS k SET b = k.a + 1 FROM (SELECT 1 AS a) AS s WHERE k.a = s.a")
    db.run("CREATE TABLE random (a int, b int) DISTRIBUTED RANDOMLY")
    db.run("UPDATE random SET a = 1")
    db.run("CREATE INDEX ON keyed (b)")
    db.run("SELECT 'MERGE' AS generated, 'IF NOT EXISTS' -- SKIP LOCKED")
    assert db.run("SELECT * FROM keyed") == [(1, 2)]


HIDING = ("'{}'", "$x$ {} $x$", '1 AS "{}"', "1 /* {} */", "E'\\'{}'")


@given(
    st.sampled_from(HIDING),
    st.sampled_from(["pg_class", "version()", "IF NOT EXISTS", "DISTRIBUTED BY (a)", "SKIP LOCKED", "LATERAL x"]),
)
def test_nothing_inside_a_string_a_name_or_a_comment_is_rewritten(hiding: str, words: str) -> None:
    sql = f"SELECT {hiding.format(words)} FROM pg_proc"
    assert Adbpg().rewrite(sql, Nobody()) == Rewritten(sql)


class Nobody:
    """A Lookup that finds nothing."""

    def rows(self, sql: str, params: Sequence[str | None] = ()) -> list[tuple[str | None, ...]]:
        return []


# Storage and catalog


def test_append_only_storage_is_told_by_pg_class(db: Client) -> None:
    db.run("CREATE TABLE h (a int) WITH (fillfactor=70)")
    db.run("CREATE TABLE r (a int) WITH (appendonly=true, compresstype=zlib)")
    db.run("CREATE TABLE c (a int) WITH (appendoptimized=true, orientation=column) DISTRIBUTED BY (a)")
    query = "SELECT relname, relstorage, reloptions FROM pg_catalog.pg_class WHERE relname IN ('h', 'r', 'c') ORDER BY 1"
    assert db.run(query) == [
        ("c", "c", ["appendoptimized=true", "orientation=column"]),
        ("h", "h", ["fillfactor=70"]),
        ("r", "a", ["appendonly=true", "compresstype=zlib"]),
    ]
    db.run("ALTER TABLE r SET DISTRIBUTED RANDOMLY")
    assert db.run("SELECT relstorage FROM pg_class c WHERE c.oid = 'r'::regclass") == [("a",)]
    assert db.run("SELECT 1 FROM pg_attribute WHERE attrelid = 'pg_class'::regclass AND attname = 'relstorage'") == [(1,)]


PARTITIONED = (
    "CREATE TABLE p (a int, d date, v text, PRIMARY KEY (a, d)) DISTRIBUTED BY (a) PARTITION BY RANGE (d) "
    "(PARTITION p1 START ('2020-01-01') INCLUSIVE END ('2021-01-01') EXCLUSIVE, DEFAULT PARTITION rest)"
)


def test_partitions_are_tables_with_an_entry_in_pg_partition(db: Client) -> None:
    db.run(PARTITIONED)
    db.run("INSERT INTO p VALUES (1, '2020-05-05', 'x'), (2, '1999-01-01', 'y')")
    assert db.run("SELECT a FROM p_1_prt_p1") == [(1,)]
    assert db.run("SELECT relkind FROM pg_class WHERE relname = 'p'") == [("r",)]
    assert db.run("SELECT parkind FROM pg_partition WHERE parrelid = 'p'::regclass") == [("r",)]
    assert db.run("SELECT partitiontablename FROM pg_partitions ORDER BY 1") == [("p_1_prt_p1",), ("p_1_prt_rest",)]
    assert policy(db, "p_1_prt_p1") == "DISTRIBUTED BY (a)"
    db.run("COPY p FROM STDIN DO ON CONFLICT DO UPDATE", "1\t2020-05-05\tnew\n")
    assert db.run("SELECT v FROM p WHERE a = 1") == [("new",)]


def test_list_partitions_lie_in_the_schema_of_their_table(db: Client) -> None:
    db.run("CREATE SCHEMA s")
    db.run("CREATE TABLE s.p (a int, k text) DISTRIBUTED BY (a) PARTITION BY LIST (k) (PARTITION x VALUES ('a', 'b'))")
    db.run("INSERT INTO s.p VALUES (1, 'b')")
    assert db.run("SELECT * FROM s.p_1_prt_x") == [(1, "b")]


def test_old_kernels_have_no_on_conflict_on_partitioned_tables(old: Client) -> None:
    old.run(PARTITIONED)
    assert old.refused("COPY p FROM STDIN DO ON CONFLICT DO UPDATE", "")[0] == "0A000"
    assert old.refused("INSERT INTO p VALUES (1, '2020-01-01') ON CONFLICT DO NOTHING")[0] == "0A000"


# COPY … DO ON CONFLICT


@pytest.mark.parametrize(
    ("copy", "state", "message"),
    [
        ("COPY keyed FROM stdin DO ON CONFLICT(a) DO UPDATE", "0A000", "COPY ON CONFLICT does NOT support CONFLICT index params"),
        (
            "COPY keyed FROM stdin DO ON CONFLICT DO UPDATE SET a = excluded.a",
            "0A000",
            "COPY ON CONFLICT does NOT support UPDATE SET targets",
        ),
        ("COPY keyed TO stdout DO ON CONFLICT DO UPDATE", "0A000", None),
        ("COPY ao FROM stdin DO ON CONFLICT DO UPDATE", "0A000", None),
        ("COPY seen FROM stdin DO ON CONFLICT DO NOTHING", "0A000", None),
        ("COPY keyed FROM stdin DO ON CONFLICT", "42601", "syntax error at end of input"),
        ("COPY keyed FROM stdin DO ON CONFLICT DO DELETE", "42601", 'syntax error at or near "DELETE"'),
        ("COPY keyed (a, x) FROM stdin DO ON CONFLICT DO UPDATE", "42703", 'column "x" of relation "keyed" does not exist'),
        ("COPY nobody FROM stdin DO ON CONFLICT DO UPDATE", "42P01", 'relation "nobody" does not exist'),
    ],
)
def test_copy_on_conflict_refuses(shared: Client, copy: str, state: str, message: str | None) -> None:
    assert shared.refused(copy, "")[: 1 if message is None else 2] == ((state,) if message is None else (state, message))


@pytest.mark.parametrize("kernel", ["7.0.6.4", "1.0.4.2"])
def test_version_7_and_serverless_have_no_copy_on_conflict(pg_database: PostgresServer, kernel: str) -> None:
    client = _client(pg_database, Adbpg(kernel))
    client.run("CREATE TABLE n (k int PRIMARY KEY, v text)")
    assert client.refused("COPY n FROM STDIN DO ON CONFLICT DO UPDATE", "") == ("42601", 'syntax error at or near "DO"')
    client.connection.close()


def test_copy_on_conflict_of_the_vendors_page(db: Client) -> None:
    db.run(
        "CREATE TABLE nation (n_nationkey int, n_name char(25), n_regionkey int, n_comment varchar(152), PRIMARY KEY (n_nationkey))"
    )
    db.run("COPY nation FROM stdin", "0\tALGERIA\t0\tfinal\n1\tARGENTINA\t1\tal foxes\n")
    assert db.refused("COPY nation FROM stdin", "0\tGERMANY\t3\tx-ray\n") == (
        "23505",
        'duplicate key value violates unique constraint "nation_pkey"',
    )
    db.run("COPY nation FROM stdin DO on conflict DO update", "0\tGERMANY\t3\tx-ray\n")
    db.run("COPY nation FROM stdin DO on conflict DO nothing", "1\tGERMANY\t3\tx-ray\n")
    assert db.run("SELECT n_nationkey, trim(n_name) FROM nation ORDER BY 1") == [(0, "GERMANY"), (1, "ARGENTINA")]


def test_copy_on_conflict_sets_unlisted_columns_to_their_defaults(db: Client) -> None:
    db.run("CREATE TABLE n (k int PRIMARY KEY, v text DEFAULT 'none', w int)")
    db.run("INSERT INTO n VALUES (1, 'old', 5), (2, 'stays', 6)")
    db.run("COPY n (w, k) FROM STDIN WITH (FORMAT csv, NULL '') DO ON CONFLICT DO UPDATE", "7,1\n,3\n")
    assert db.run("SELECT * FROM n ORDER BY k") == [(1, "none", 7), (2, "stays", 6), (3, "none", None)]


def test_copy_on_conflict_into_a_temporary_table_and_under_quoted_names(db: Client) -> None:
    db.run('CREATE TEMPORARY TABLE "Odd ""t""" ("A" int PRIMARY KEY, "order" text)')
    db.run('COPY "Odd ""t""" ("order", "A") FROM STDIN CSV DO ON CONFLICT DO UPDATE', "x,1\ny,1\n")
    assert db.run('SELECT * FROM "Odd ""t"""') == [(1, "y")]


def test_a_row_that_the_table_refuses_fails_the_whole_copy(db: Client) -> None:
    db.run("CREATE TABLE n (k int PRIMARY KEY, v text NOT NULL)")
    state, message = db.refused("COPY n FROM STDIN CSV DO ON CONFLICT DO UPDATE", "1,a\n2,\n")
    assert (state, message) == ("23502", 'null value in column "v" of relation "n" violates not-null constraint')
    assert db.run("SELECT * FROM n") == []


Row = tuple[int, int, int]
ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 99)), max_size=12)


def expected(before: list[Row], rows: list[Row], keys: list[tuple[int, ...]], update: bool) -> list[Row] | None:
    """The table after each row in turn takes the place of the row whose key it has, or is left out; None: it can't."""
    table = list(before)
    for row in rows:
        same = [there for there in table if any(all(there[i] == row[i] for i in key) for key in keys)]
        if len(same) > 1 and update:
            return None
        if not same:
            table.append(row)
        elif update:
            table[table.index(same[0])] = row
    return sorted(table)


@pytest.mark.parametrize("uniques", [["a"], ["a, b"], ["a, b", "a, c"]])
def test_copy_on_conflict_equals_row_by_row(db: Client, uniques: list[str]) -> None:
    constraints = ", ".join(f"UNIQUE ({unique})" for unique in uniques)
    db.run(f"CREATE TABLE m (a int, b int, c int, {constraints})")
    keys = [tuple("abc".index(column) for column in unique.split(", ")) for unique in uniques]

    @settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(before=ROWS, rows=ROWS, update=st.booleans())
    def check(before: list[Row], rows: list[Row], update: bool) -> None:
        db.run("TRUNCATE m")
        there = expected([], before, keys, False) or []
        db.run("COPY m FROM STDIN", "".join(f"{a}\t{b}\t{c}\n" for a, b, c in there))
        wanted = expected(there, rows, keys, update)
        copy = f"COPY m FROM STDIN DO ON CONFLICT DO {'UPDATE' if update else 'NOTHING'}"
        text = "".join(f"{a}\t{b}\t{c}\n" for a, b, c in rows)
        if wanted is None:
            assert db.refused(copy, text)[0] == "23505"
            wanted = there
        else:
            db.run(copy, text)
        assert sorted(db.run("SELECT * FROM m")) == wanted

    check()
