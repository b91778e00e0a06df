"""DDL at the source, followed into PostgreSQL: what is known is followed, what isn't stops or is copied anew, nothing is silent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scale import examples
from tests.servers import MySqlServer, PostgresServer
from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused, SchemaError
from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Limits, Window
from tidegate.sync.results import SyncResult
from tidegate.sync.run import run
from tidegate.verify.compare import compare

pytestmark = [pytest.mark.mysql, pytest.mark.postgres]


class Pair:
    """Two tables on a MySQL or MariaDB, ``items`` and ``others``, and their copies in PostgreSQL."""

    def __init__(self, server: MySqlServer, database: str, target: PostgresServer) -> None:
        self.server, self.database, self.target = server, database, target

    def create(self) -> None:
        self.execute(
            "CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, amount INT)",
            "CREATE TABLE others (id INT PRIMARY KEY, name VARCHAR(20))",
            "INSERT INTO items VALUES (1, 'one', 1), (2, 'two', NULL), (3, 'three', 3)",
            "INSERT INTO others VALUES (1, 'one')",
        )

    def execute(self, *statements: str) -> None:
        connection = self.server.connect(database=self.database)
        with closing(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def sync(self, start: str = "snapshot", **options: Any) -> SyncResult:
        source = systems()["mysql"].open_source(self.server.values(), "shop_mysql")
        sink = systems()["postgres"].open_sink(self.target.values(), "warehouse")
        names = [f"{self.database}.items", f"{self.database}.others"]
        with closing(source), closing(sink):
            sync = Sync.of("shop", names, schema="ods", options=WriteOptions.of(options), start=start)
            return run(sync, source, sink, owner="test")

    def assert_equal(self) -> None:
        """The columns that the source has hold the same in the target."""
        with (
            closing(systems()["mysql"].open_source(self.server.values(), "shop_mysql")) as source,
            closing(systems()["postgres"].open_sink(self.target.values(), "warehouse")) as sink,
        ):
            for name in ("items", "others"):
                table = TableName(self.database, name)
                window = Window(source.start([table], consistent=False), None)
                schema = source.schema(table)
                chunks = list(source.read(window, Limits()))
                rows = [batch.rows for chunk in chunks for batch in chunk.batches]
                expected = pa.concat_tables([schema.arrow().empty_table(), *rows])
                actual = pa.Table.from_batches(list(sink.read(TableName("ods", name))))
                assert str(compare(expected, actual.select(expected.column_names), schema.key)) == "equal", name

    def column(self, name: str) -> list[Any]:
        connection = self.target.connect()
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(f"SELECT {name} FROM ods.items ORDER BY id")
            return [value for (value,) in cursor.fetchall()]


@pytest.fixture(params=["mariadb", pytest.param("mysql56", marks=pytest.mark.soak)])
def pair(request: pytest.FixtureRequest, pg_database: PostgresServer) -> Any:
    server = request.getfixturevalue(request.param)
    name = f"ddl_{request.param}_{pg_database.database}"
    server.execute(f"CREATE DATABASE {name}")
    made = Pair(server, name, pg_database)
    made.create()
    yield made
    server.execute(f"DROP DATABASE {name}")


def test_an_added_columns_constant_default_reaches_the_rows_that_were_there(pair: Pair) -> None:
    pair.sync()
    pair.execute(
        "UPDATE items SET amount = 10 WHERE id = 1",
        "ALTER TABLE items ADD COLUMN state VARCHAR(5) NOT NULL DEFAULT 'new', ADD COLUMN rank1 INT FIRST",
        "INSERT INTO items (id, name, state) VALUES (4, 'four', 'old')",
        "UPDATE items SET state = 'seen' WHERE id = 2",
    )
    pair.sync()
    pair.assert_equal()
    assert pair.column("state") == ["new", "seen", "new", "old"]


def test_columns_that_swap_their_places_are_told_apart_in_rows_of_before_and_after(pair: Pair) -> None:
    pair.sync()
    pair.execute(
        "ALTER TABLE items ADD COLUMN a INT, ADD COLUMN b INT",
        "INSERT INTO items (id, name, a, b) VALUES (5, 'five', 1, 2)",
        "ALTER TABLE items MODIFY COLUMN b INT AFTER id",
        "INSERT INTO items (id, name, a, b) VALUES (6, 'six', 3, 4)",
    )
    pair.sync()
    pair.assert_equal()


def test_a_column_that_was_dropped_again_before_the_run_leaves_no_trace(pair: Pair) -> None:
    pair.sync()
    pair.execute(
        "ALTER TABLE items ADD COLUMN brief INT DEFAULT 7",
        "INSERT INTO items VALUES (4, 'four', 4, 8)",
        "ALTER TABLE items DROP COLUMN brief",
        "INSERT INTO items VALUES (5, 'five', 5)",
    )
    pair.sync()
    pair.assert_equal()


def test_a_dropped_column_stays_in_the_target_and_a_new_one_of_its_name_starts_anew(pair: Pair) -> None:
    pair.sync()
    pair.execute("ALTER TABLE items DROP COLUMN amount", "INSERT INTO items VALUES (4, 'four')")
    result = pair.sync()
    assert pair.column("amount") == [1, None, 3, None]
    assert any("amount" in text for table in result.tables for text in table.warnings)
    pair.execute("ALTER TABLE items ADD COLUMN amount INT NOT NULL DEFAULT 9")
    pair.sync()
    assert pair.column("amount") == [9, 9, 9, 9]
    pair.assert_equal()


def test_a_default_that_the_same_statement_changes_stops_rather_than_being_guessed(pair: Pair) -> None:
    if "mysql56" in pair.database:
        pytest.skip("MySQL 5.6 refuses the statement")
    pair.sync()
    pair.execute("ALTER TABLE items ADD c INT DEFAULT 1, ALTER c SET DEFAULT 7")
    with pytest.raises(EventRefused, match=r"copy it again|resync"):
        pair.sync()
    pair.sync(on_ddl="resync")
    pair.sync(on_ddl="resync")
    pair.assert_equal()


def test_a_capture_keeps_the_events_of_whole_tables_for_those_who_replay_it(pair: Pair, tmp_path: Path) -> None:
    def into(system: str, values: dict[str, Any], source: Any, schema: str, **options: Any) -> None:
        with closing(source), closing(systems()[system].open_sink(values, system)) as sink:
            tables = [f"{pair.database}.items", f"{pair.database}.others"]
            run(Sync.of(system, tables, schema=schema, options=WriteOptions.of(options)), source, sink, owner="test")

    def capture() -> None:
        source = systems()["mysql"].open_source(pair.server.values(), "shop_mysql")
        into("changefiles", {"url": str(tmp_path)}, source, pair.database, write_mode="append")

    capture()
    pair.execute("INSERT INTO others VALUES (2, 'two')", "TRUNCATE others", "INSERT INTO others VALUES (3, 'three')")
    pair.execute("ALTER TABLE items ADD c INT NOT NULL DEFAULT 7", "INSERT INTO items VALUES (4, 'four', 4, 8)")
    capture()
    into("postgres", pair.target.values(), systems()["changefiles"].open_source({"url": str(tmp_path)}, "capture"), "ods")
    pair.assert_equal()
    assert pair.column("c") == [7, 7, 7, 8]


def test_truncate_empties_the_target_at_its_place_in_the_log(pair: Pair) -> None:
    pair.sync()
    pair.execute(
        "INSERT INTO items VALUES (4, 'four', 4)",
        "TRUNCATE TABLE items",
        "INSERT INTO items VALUES (1, 'again', 1), (5, 'five', 5)",
    )
    pair.sync()
    pair.assert_equal()
    assert pair.column("id") == [1, 5]


def test_a_wider_type_goes_on_with_values_that_need_it(pair: Pair) -> None:
    pair.sync()
    pair.execute(
        "ALTER TABLE items MODIFY COLUMN amount BIGINT, MODIFY COLUMN name VARCHAR(40) NOT NULL",
        f"INSERT INTO items VALUES (4, '{'x' * 40}', 5000000000)",
    )
    pair.sync()
    pair.assert_equal()


STOPS = {
    "another type": "ALTER TABLE items MODIFY COLUMN amount VARCHAR(20)",
    "a default that is no constant": "ALTER TABLE items ADD COLUMN seen TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
    "a renamed table": "RENAME TABLE items TO gone",
    "a table that is made anew": "DROP TABLE items",
    "a changed key": "ALTER TABLE items DROP PRIMARY KEY, ADD PRIMARY KEY (id, name)",
}


@pytest.mark.parametrize("statement", STOPS.values(), ids=STOPS.keys())
def test_what_cannot_be_followed_stops_with_the_place_and_the_choices(pair: Pair, statement: str) -> None:
    pair.sync()
    back = []
    if statement.startswith(("RENAME", "DROP")):
        back = ["CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, amount INT)"]
    pair.execute("INSERT INTO items VALUES (4, 'four', 4)", statement, *back)
    with pytest.raises(Exception, match=r"items") as caught:
        pair.sync()
    assert "resync" in str(caught.value)
    assert pair.column("id") == [1, 2, 3]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE items MODIFY COLUMN amount VARCHAR(20)",
        "UPDATE items SET amount = 77",
        "ALTER TABLE items ADD COLUMN seen TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "ALTER TABLE items MODIFY COLUMN amount DOUBLE",
        "ALTER TABLE items DROP PRIMARY KEY, ADD PRIMARY KEY (id, name)",
        "ALTER TABLE items CHANGE COLUMN amount total INT",
    ],
)
def test_resync_copies_the_broken_table_anew_while_the_others_go_on(pair: Pair, statement: str) -> None:
    pair.sync(on_ddl="resync")
    in_text = ["SET SESSION binlog_format = STATEMENT"] if statement.startswith("UPDATE") else []
    pair.execute(
        "INSERT INTO items VALUES (4, 'four', 4)",
        "INSERT INTO others VALUES (2, 'two')",
        *in_text,
        statement,
        *(["SET SESSION binlog_format = ROW"] if in_text else []),
        "DELETE FROM items WHERE id = 1",
        "INSERT INTO others VALUES (3, 'three')",
    )
    result = pair.sync(on_ddl="resync")
    pair.assert_equal()
    assert result.tables[1].phase == "changes"
    pair.execute("DELETE FROM items WHERE id = 2")
    assert pair.sync(on_ddl="resync").rows == 1
    pair.assert_equal()


def test_a_number_that_became_text_keeps_the_text(pair: Pair) -> None:
    pair.sync(on_ddl="resync")
    pair.execute("ALTER TABLE items MODIFY COLUMN amount VARCHAR(20)", "UPDATE items SET amount = '00007' WHERE id = 1")
    with pytest.raises(SchemaError, match=r"amount became text.*on_ddl='resync'"):
        pair.sync()
    pair.sync(on_ddl="resync")
    pair.assert_equal()
    assert pair.column("amount") == ["00007", None, "3"]


def test_statements_on_a_temporary_table_of_the_name_are_none_on_the_table(pair: Pair) -> None:
    pair.sync()
    pair.execute(
        "SET SESSION binlog_format = MIXED",
        "CREATE TEMPORARY TABLE items (id INT, amount INT, name VARCHAR(20))",
        "ALTER TABLE items MODIFY COLUMN amount VARCHAR(9) FIRST",
        "TRUNCATE TABLE items",
        "DROP TEMPORARY TABLE items",
        "SET SESSION binlog_format = ROW",
        "INSERT INTO items VALUES (4, 'four', 4)",
    )
    pair.sync()
    pair.assert_equal()
    assert pair.column("id") == [1, 2, 3, 4]


def test_a_start_in_the_past_reads_rows_by_their_names_or_not_at_all(pair: Pair) -> None:
    named = "mariadb" in pair.database
    pair.execute("ALTER TABLE items ADD COLUMN b INT")
    with closing(systems()["mysql"].open_source(pair.server.values(), "shop_mysql")) as source:
        place = str(source.head())
    pair.execute("INSERT INTO items VALUES (4, 'four', 1, 2)", "ALTER TABLE items MODIFY COLUMN b INT AFTER name")
    if named:
        pair.sync(start=place)
        assert (pair.column("amount"), pair.column("b")) == ([1], [2])
    else:
        with pytest.raises(EventRefused, match=r"columns.*known"):
            pair.sync(start=place)


def test_ignore_goes_on_as_if_the_statement_had_not_been(pair: Pair) -> None:
    pair.sync(on_ddl="ignore")
    pair.execute(
        "TRUNCATE TABLE items",
        "ALTER TABLE items ADD COLUMN extra INT DEFAULT 1",
        "INSERT INTO items VALUES (4, 'four', 4, 5)",
    )
    pair.sync(on_ddl="ignore")
    assert pair.column("id") == [1, 2, 3, 4]


def test_under_fail_even_a_null_column_stops(pair: Pair) -> None:
    pair.sync(on_ddl="fail")
    pair.execute("ALTER TABLE items ADD COLUMN extra INT")
    with pytest.raises(EventRefused, match="on_ddl"):
        pair.sync(on_ddl="fail")


GHOST = (
    "CREATE TABLE _items_gho LIKE items",
    "ALTER TABLE _items_gho ADD COLUMN extra INT NOT NULL DEFAULT 5",
    "INSERT INTO _items_gho (id, name, amount) SELECT * FROM items",
)
PERCONA = (
    "CREATE TABLE _items_new LIKE items",
    "ALTER TABLE _items_new ADD COLUMN extra INT NOT NULL DEFAULT 5",
    "INSERT LOW_PRIORITY IGNORE INTO _items_new (id, name, amount) SELECT * FROM items",
)
SWAPS = {
    "gh-ost": (GHOST, "RENAME TABLE items TO _items_del, _items_gho TO items", "DROP TABLE _items_del"),
    "pt-online-schema-change": (PERCONA, "RENAME TABLE items TO _items_old, _items_new TO items", "DROP TABLE _items_old"),
}


@pytest.mark.parametrize("seen", ["in one window", "begun before"])
@pytest.mark.parametrize("tool", SWAPS)
def test_the_swap_of_an_online_change_keeps_the_data(pair: Pair, tool: str, seen: str) -> None:
    pair.sync()
    before, swap, after = SWAPS[tool]
    pair.execute(*before)
    if seen == "begun before":
        pair.sync()
    pair.execute("SET SESSION lock_wait_timeout = 5", swap, after, "INSERT INTO items VALUES (9, 'nine', 9, 6)")
    pair.sync()
    pair.assert_equal()
    assert pair.column("extra") == [5, 5, 5, 6]


def test_a_table_copied_anew_beside_a_running_writer_ends_equal(pair: Pair) -> None:
    pair.execute("INSERT INTO items SELECT 100 + a.id * 9 + b.id * 3 + c.id, 'x', 1 FROM items a, items b, items c")
    pair.sync(on_ddl="resync", batch_rows=5)
    stop = threading.Event()

    def write() -> None:
        connection = pair.server.connect(database=pair.database)
        connection.autocommit(True)
        number = 1000
        with closing(connection), connection.cursor() as cursor:
            while not stop.wait(0.01):  # else it outruns the runs
                number += 1
                cursor.execute(f"INSERT INTO items (id, name) VALUES ({number}, 'w')")
                cursor.execute(f"DELETE FROM items WHERE id = {number - 7}")
                cursor.execute(f"REPLACE INTO others VALUES ({number % 50}, 'w{number}')")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        pair.execute("ALTER TABLE items MODIFY COLUMN amount VARCHAR(20)")
        for _ in range(3):
            pair.sync(on_ddl="resync", batch_rows=5)
    finally:
        stop.set()
        writer.join()
    pair.sync(on_ddl="resync")
    pair.assert_equal()


def _steps() -> st.SearchStrategy[list[str]]:
    ids = st.integers(1, 6)
    row: list[Callable[[int], str]] = [
        lambda n: f"REPLACE INTO items (id, name, amount) VALUES ({n}, 'n{n}', {n * 3})",
        lambda n: f"DELETE FROM items WHERE id = {n}",
        lambda n: f"UPDATE items SET amount = {n} WHERE id <= {n}",
        lambda n: f"REPLACE INTO others VALUES ({n}, 'o{n}')",
    ]
    whole = [
        "TRUNCATE TABLE items",
        "ALTER TABLE items ADD COLUMN extra INT NOT NULL DEFAULT 4",
        "ALTER TABLE items ADD COLUMN extra VARCHAR(9) DEFAULT 'v' AFTER id",
        "ALTER TABLE items ADD COLUMN extra INT",
        "ALTER TABLE items DROP COLUMN extra",
        "ALTER TABLE items MODIFY COLUMN extra BIGINT",
        "ALTER TABLE items MODIFY COLUMN name VARCHAR(30) NOT NULL FIRST",
        "ALTER TABLE items CHANGE COLUMN extra extra2 INT",
        "ALTER TABLE items DROP COLUMN extra2",
        "ALTER TABLE items ADD INDEX by_name (name)",
        "UPDATE items SET amount = amount + 1",
    ]
    return st.lists(st.one_of(st.builds(lambda make, n: make(n), st.sampled_from(row), ids), st.sampled_from(whole)), max_size=8)


WINDOWS = st.lists(_steps(), min_size=1, max_size=3)


@pytest.mark.parametrize("flavour", ["mariadb", "mysql56"])
@settings(max_examples=examples(6), deadline=None, suppress_health_check=list(HealthCheck))
@given(windows=WINDOWS)
def test_random_statements_between_runs_end_equal_to_the_source(
    request: pytest.FixtureRequest, postgres: PostgresServer, flavour: str, windows: list[list[str]]
) -> None:
    _follow(request, postgres, flavour, windows)


def test_a_text_that_takes_the_name_of_a_number_that_was_renamed_is_copied_anew(
    request: pytest.FixtureRequest, postgres: PostgresServer
) -> None:
    """The target keeps the old column, which no text fits."""
    windows = [
        ["ALTER TABLE items ADD COLUMN extra INT NOT NULL DEFAULT 4"],
        ["ALTER TABLE items CHANGE COLUMN extra extra2 INT"],
        ["ALTER TABLE items ADD COLUMN extra VARCHAR(9) DEFAULT 'v' AFTER id"],
    ]
    _follow(request, postgres, "mariadb", windows)


@pytest.mark.soak
@pytest.mark.parametrize("flavour", ["mariadb", "mysql56"])
@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(windows=WINDOWS)
def test_many_random_statements_between_runs_end_equal_to_the_source(
    request: pytest.FixtureRequest, postgres: PostgresServer, flavour: str, windows: list[list[str]]
) -> None:
    _follow(request, postgres, flavour, windows)


def _follow(request: pytest.FixtureRequest, postgres: PostgresServer, flavour: str, windows: list[list[str]]) -> None:
    server = request.getfixturevalue(flavour)
    name = f"ddlrandom_{flavour}"
    server.execute(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")
    postgres.execute(f"CREATE DATABASE {name}", database="postgres")
    pair = Pair(server, name, PostgresServer(postgres.process, postgres.folder, postgres.port, postgres.user, database=name))
    pair.create()
    pair.sync(on_ddl="resync")
    for statements in windows:
        for statement in statements:
            _try(pair, statement)
        pair.sync(on_ddl="resync")
        pair.assert_equal()


def _try(pair: Pair, statement: str) -> None:
    """Some don't fit the table as it has become."""
    import pymysql

    try:
        pair.execute(statement)
    except pymysql.err.Error as error:
        if error.args[0] not in (1054, 1060, 1061, 1091, 1136, 1265, 1292, 1366):
            raise
