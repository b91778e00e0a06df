"""Copies of tables whose key the user named: paged by a key that the table has, or else in one piece."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.providers.mysql.reading import NAME, Database
from tests.servers import PostgresServer
from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync
from tidegate.sync.plan import plan
from tidegate.sync.run import run

pytestmark = [pytest.mark.mysql, pytest.mark.postgres]


def target_rows(target: PostgresServer) -> list[tuple[Any, ...]]:
    connection = target.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM ods.t ORDER BY 1")
            return list(cursor.fetchall())
    finally:
        connection.close()


def test_a_table_without_key_is_copied_by_the_key_that_the_user_named(maria: Database, pg_database: PostgresServer) -> None:
    maria.execute("CREATE TABLE t (a INT NOT NULL, b INT)", "INSERT INTO t SELECT seq, seq FROM seq_1_to_500")
    sync = Sync.of("keyed", [maria.table("t")], schema="ods", overrides={str(maria.table("t")): {"key": ["a"], "batch_rows": 100}})
    source = maria.source(snapshot_connections=2)
    with closing(systems()["postgres"].open_sink(pg_database.values(), "warehouse")) as sink:
        assert plan(sync, source, sink).tables[0].consistent
        run(sync, source, sink, owner="test")
        assert target_rows(pg_database) == [(number, number) for number in range(1, 501)]
        maria.execute("UPDATE t SET b = -b WHERE a < 3", "DELETE FROM t WHERE a > 3")
        run(sync, source, sink, owner="test")
        assert target_rows(pg_database) == [(1, -1), (2, -2), (3, 3)]


def test_a_key_of_the_user_that_moves_between_two_pages_comes_twice_and_ends_once(
    maria: Database, pg_database: PostgresServer
) -> None:
    maria.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, u INT NOT NULL, UNIQUE (u))", "INSERT INTO t SELECT seq, seq FROM seq_1_to_40"
    )
    sync = Sync.of("keyed", [maria.table("t")], schema="ods", overrides={str(maria.table("t")): {"key": ["u"], "batch_rows": 1}})
    source = maria.source(snapshot_connections=1)
    moved: list[bool] = []

    def move(_: str) -> None:
        if not moved:
            moved.append(True)
            maria.execute("DELETE FROM t WHERE id = 1", "UPDATE t SET u = 1 WHERE id = 39")

    with closing(systems()["postgres"].open_sink(pg_database.values(), "warehouse")) as sink:
        assert plan(sync, source, sink).tables[0].copy == "merge"
        run(sync, source, sink, owner="test", progress=move)
    assert moved
    assert sorted(target_rows(pg_database)) == maria.rows("SELECT id, u FROM t ORDER BY id")


def test_the_plan_says_that_a_copy_on_mysql_takes_a_lock(db: Database, pg_database: PostgresServer) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    with closing(systems()["postgres"].open_sink(pg_database.values(), "warehouse")) as sink:
        told = str(plan(Sync.of("locked", [db.table("t")], schema="ods"), source, sink))
    assert (f"note: {NAME}: a first copy on MySQL begins with a brief lock" in told) != source._flavour().mariadb
