"""Queries and changes through the query port: the walkthroughs' numbers, labels, UPDATE, DELETE, privileges, time zones."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

import pytest

from tests.sandbox.starrocks.queryport import HLL_UV, PAGE_UV, SCORE_BOARD, Front, query_port


@pytest.fixture(scope="module")
def server() -> Iterator[Front]:
    with query_port() as started:
        yield started


@pytest.fixture
def front(server: Front) -> Front:
    """With the walkthroughs' tables, empty."""
    for name, statement in (("score_board", SCORE_BOARD), ("page_uv", PAGE_UV), ("hll_uv", HLL_UV)):
        server.count(f"DROP TABLE IF EXISTS {name}")
        server.count(statement)
    return server


VISITS = (
    "(1, CAST('2020-06-23 01:30:30' AS DATETIME), {0}(13)), (1, CAST('2020-06-23 01:30:30' AS DATETIME), {0}(23)), "
    "(1, CAST('2020-06-23 01:30:30' AS DATETIME), {0}(33)), (1, CAST('2020-06-23 02:30:30' AS DATETIME), {0}(13)), "
    "(2, CAST('2020-06-23 01:30:30' AS DATETIME), {0}(23))"
)


@pytest.mark.parametrize(("table", "function"), [("page_uv", "to_bitmap"), ("hll_uv", "hll_hash")])
def test_the_distinct_count_of_a_sketch_is_that_of_its_members(front: Front, table: str, function: str) -> None:
    front.count(f"INSERT INTO {table} VALUES {VISITS.format(function)}")
    assert front.value(f"SELECT COUNT(*) FROM {table}") == 3
    question = f"SELECT page_id, COUNT(DISTINCT visit_users) FROM {table} GROUP BY page_id ORDER BY page_id"
    assert front.rows(question) == [(1, 3), (2, 1)]
    assert front.names(question) == ["page_id", "count(DISTINCT visit_users)"]
    assert front.value(f"SELECT COUNT(DISTINCT u.visit_users) FROM {table} AS u WHERE page_id > 5") == 0
    inner = f"SELECT page_id, visit_users AS v FROM {table}"
    assert front.value(f"SELECT COUNT(DISTINCT x.v) FROM ({inner}) x") == 3
    assert front.value(f"WITH x AS ({inner}) SELECT COUNT(DISTINCT v) FROM x") == 3
    assert front.value(f"SELECT ndv(visit_users) FROM {table}") == 3


def test_the_functions_of_bitmap_and_hll(front: Front) -> None:
    front.count(f"INSERT INTO page_uv VALUES {VISITS.format('to_bitmap')}")
    front.count(f"INSERT INTO hll_uv VALUES {VISITS.format('hll_hash')}")
    assert front.rows(
        "SELECT page_id, bitmap_union_count(visit_users), bitmap_to_string(bitmap_union(visit_users)), "
        "bitmap_count(bitmap_union(visit_users)) FROM page_uv GROUP BY page_id ORDER BY page_id"
    ) == [(1, 3, "13,23,33", 3), (2, 1, "23", 1)]
    assert front.rows("SELECT hll_union_agg(visit_users), hll_cardinality(hll_union(visit_users)) FROM hll_uv") == [(3, 3)]
    assert front.value("SELECT bitmap_to_string(bitmap_or(to_bitmap(1), to_bitmap(2)))") == "1,2"


def test_queries_of_many_kinds_are_understood(front: Front) -> None:
    front.count("INSERT INTO score_board VALUES (1, 'starrocks', 100), (2, 'flink', 50), (3, NULL, 7)")
    asked = {
        "SELECT `s`.`name`, s.score + 1 FROM `test`.`score_board` AS s WHERE s.id IN (1, 2) ORDER BY id DESC": [
            ("flink", 51),
            ("starrocks", 101),
        ],
        "SELECT test.score_board.id FROM test.score_board ORDER BY 1 LIMIT 1": [(1,)],
        "SELECT sb.id FROM default_catalog.test.score_board sb ORDER BY id LIMIT 1, 1": [(2,)],
        "SELECT IF(score > 60, 'high', \"low\") AS h, count(*) FROM score_board GROUP BY h ORDER BY h": [("high", 1), ("low", 2)],
        "SELECT a.id, b.score FROM score_board a JOIN score_board b ON a.id = b.id + 1 ORDER BY 1": [(2, 100), (3, 50)],
        "WITH x AS (SELECT max(score) m FROM score_board) SELECT name FROM score_board, x WHERE score = m": [("starrocks",)],
        "SELECT id FROM score_board WHERE name IS NULL UNION ALL SELECT 9": [(3,), (9,)],
        "SELECT group_concat(name) FROM score_board WHERE id = 1": [("starrocks",)],
        "SELECT count(*), sum(score), avg(score) FROM score_board": [(3, 157, pytest.approx(52.333, abs=0.01))],
        "SELECT date_format('2024-02-29 01:02:03', '%Y/%m'), ifnull(NULL, 'x'), concat('a', 1), upper('b')": [
            ("2024/02", "x", "a1", "B")
        ],
        "SELECT 1 FROM dual": [(1,)],
        "SELECT COUNT(DISTINCT score) FROM score_board": [(3,)],
        "SELECT EXISTS (SELECT 1 FROM score_board WHERE id = 2)": [(1,)],
        "SELECT DISTINCT length(name) FROM score_board WHERE name LIKE 'star%'": [(9,)],
        "/* a comment */ SELECT /*+ SET_VAR(query_timeout=1) */ 1 -- more\n": [(1,)],
    }
    for sql, rows in asked.items():
        assert front.rows(sql) == rows, sql


def test_an_insert_takes_columns_defaults_expressions_and_queries(front: Front) -> None:
    front.count("INSERT INTO score_board (id) VALUES (1)")
    front.count("INSERT INTO score_board (score, id, name) VALUES (DEFAULT, 1 + 1, concat('a', 'b')), (-5, 3, NULL)")
    front.count("INSERT INTO score_board SELECT id + 10, upper(name), score FROM score_board WHERE id = 2")
    assert front.rows("SELECT * FROM score_board ORDER BY id") == [(1, "", 0), (2, "ab", 0), (3, None, -5), (12, "AB", 0)]
    assert front.refusal("INSERT INTO score_board (name) VALUES ('x')") == (
        5002,
        "Getting analyzing error. Detail message: 'id' must be explicitly mentioned in column permutation.",
    )
    assert front.refusal("INSERT INTO score_board VALUES (1, 'x')")[0] == 1058
    assert "cannot be resolved" in front.refusal("INSERT INTO score_board (nope) VALUES (1)")[1]
    assert "filtered" in front.refusal("INSERT INTO score_board VALUES (NULL, 'x', 1)")[1]


def test_nested_and_json_values_are_inserted_and_printed(front: Front) -> None:
    front.count(
        "CREATE TABLE nested (k INT, j JSON, a ARRAY<STRING>, m MAP<INT, DECIMAL(5,2)>, s STRUCT<x INT, y DATE>, l LARGEINT) "
        "PRIMARY KEY(k) DISTRIBUTED BY HASH(k)"
    )
    big = 2**127 - 1
    front.count(f"""INSERT INTO nested VALUES (1, '{{"a": [1]}}', ['a', 'b'], map{{1: 2.5}}, row(1, '2020-01-01'), {big})""")
    assert front.rows("SELECT a, m, s, l, get_json_string(j, '$.a') FROM nested") == [
        ('["a","b"]', "{1:2.50}", '{"x":1,"y":"2020-01-01"}', str(big), "[1]"),
    ]
    front.count("DROP TABLE nested")


def test_parse_json_and_negative_zeros_are_printed_as_the_server_does(front: Front) -> None:
    question = "SELECT parse_json('null'), parse_json('1'), parse_json('{star: 1}'), json_query(parse_json('[null]'), '$[0]')"
    assert front.rows(question) == [('"null"', '"1"', None, "null")]
    assert front.value("SELECT json_query(parse_json('[null]'), '$[0]') IS NULL") == 0
    assert front.names("SELECT parse_json('null')") == ["parse_json('null')"]
    front.count("CREATE TABLE IF NOT EXISTS zeros (k INT, f FLOAT, d DOUBLE) DUPLICATE KEY(k) DISTRIBUTED BY HASH(k)")
    front.engine.publish([front.engine.stage("test", "zeros", {}, b"1\t-0.0\t-0.0\n")])
    assert front.rows("SELECT concat('', k), f, d FROM zeros") == [("1", -0.0, -0.0)]
    assert [math.copysign(1, value) for value in front.rows("SELECT f, d FROM zeros")[0]] == [-1, -1]


def test_the_label_of_an_insert_can_be_used_once(front: Front) -> None:
    front.count("INSERT INTO score_board WITH LABEL intent_1 VALUES (1, 'a', 1)")
    assert front.refusal("INSERT INTO score_board WITH LABEL intent_1 VALUES (2, 'b', 1)") == (
        1064,
        "Label [intent_1] has already been used.",
    )
    assert front.rows("SELECT id FROM score_board") == [(1,)]
    assert "filtered" in front.refusal("INSERT INTO score_board WITH LABEL failed_1 VALUES (NULL, 'b', 1)")[1]
    assert front.count("INSERT INTO score_board WITH LABEL failed_1 VALUES (2, 'b', 1)") == 1
    states = front.rows("SELECT LABEL, STATE, TYPE FROM information_schema.loads WHERE LABEL LIKE '%\\_1' ORDER BY ID")
    assert states == [("intent_1", "FINISHED", "INSERT"), ("failed_1", "CANCELLED", "INSERT"), ("failed_1", "FINISHED", "INSERT")]


def test_primary_key_tables_are_updated_and_deleted_from(front: Front) -> None:
    front.count("INSERT INTO score_board VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    assert front.count("UPDATE score_board SET score = score * 10, name = 'x' WHERE id > 1") == 2
    assert front.count("DELETE FROM score_board WHERE score = 30 OR id IN (SELECT 1)") == 2
    assert front.rows("SELECT * FROM score_board") == [(2, "x", 20)]
    assert front.refusal("UPDATE score_board SET id = 5 WHERE id = 2")[1].endswith("primary key column cannot be updated: id.")
    assert "must specify where clause" in front.refusal("UPDATE score_board SET score = 5")[1]
    assert "must specify where clause" in front.refusal("DELETE FROM score_board")[1]


def test_other_models_are_deleted_from_by_simple_conditions_alone(front: Front) -> None:
    front.count("CREATE TABLE IF NOT EXISTS dup (k INT, v INT) DUPLICATE KEY(k) DISTRIBUTED BY HASH(k)")
    front.count("INSERT INTO dup VALUES (1, 1), (1, 1), (2, 5)")
    front.count("DELETE FROM dup WHERE k = 1 AND v < 3")
    assert front.rows("SELECT * FROM dup") == [(2, 5)]
    assert "Where clause only supports" in front.refusal("DELETE FROM dup WHERE k = 1 OR v = 2")[1]
    assert "is not key column" in front.refusal("DELETE FROM page_uv WHERE visit_users = 1")[1]
    assert front.refusal("UPDATE dup SET v = 1 WHERE k = 1")[1].endswith("table dup does not support update.")
    front.count("DROP TABLE dup")


def test_a_user_may_do_what_was_granted(front: Front) -> None:
    front.count("INSERT INTO score_board VALUES (1, 'a', 1)")
    front.count("CREATE USER 'loader'@'%' IDENTIFIED BY 'pw'")
    try:
        with front.connect("loader", "pw", database="test") as connection:
            number, text = front.refusal("SELECT * FROM score_board", connection)
            assert number == 5203
            assert text.startswith("Access denied; you need (at least one of) the SELECT privilege(s) on TABLE score_board")
            with connection.cursor() as cursor:
                assert cursor.execute("SHOW TABLES") == 0
                assert cursor.execute("SELECT * FROM information_schema.columns WHERE TABLE_SCHEMA = 'test'") == 0
                front.count("GRANT SELECT ON TABLE test.score_board TO USER 'loader'@'%'")
                assert cursor.execute("SELECT * FROM score_board") == 1
                assert front.refusal("INSERT INTO score_board VALUES (2, 'b', 1)", connection)[0] == 5203
                assert front.refusal("EXPLAIN INSERT INTO score_board (id) SELECT id FROM score_board", connection)[0] == 5203
                front.count("GRANT INSERT ON test.score_board TO 'loader'@'%'")
                assert cursor.execute("EXPLAIN INSERT INTO score_board (id) SELECT id FROM score_board") == 1
                assert cursor.execute("INSERT INTO score_board VALUES (2, 'b', 1)") == 1
                cursor.execute("SHOW GRANTS")
                assert [row[2] for row in cursor.fetchall()] == [
                    "GRANT INSERT, SELECT ON TABLE test.score_board TO USER 'loader'@'%'"
                ]
                assert cursor.execute("SHOW GRANTS FOR ROLE public") == 0
                for statement in (
                    "DROP TABLE score_board",
                    "ALTER TABLE score_board ADD COLUMN x INT",
                    "TRUNCATE TABLE score_board",
                    "UPDATE score_board SET score = 1 WHERE id = 1",
                    "DELETE FROM score_board WHERE id = 1",
                    "CREATE TABLE mine (k INT) DUPLICATE KEY(k) DISTRIBUTED BY HASH(k)",
                    "ADMIN SHOW FRONTEND CONFIG LIKE 'x'",
                    "SHOW PROC '/transactions'",
                    "CREATE USER other",
                    "GRANT INSERT ON test.score_board TO USER loader",
                ):
                    assert front.refusal(statement, connection)[0] == 5203, statement
                front.count("REVOKE SELECT ON test.score_board FROM USER 'loader'@'%'")
                assert front.refusal("SELECT * FROM score_board", connection)[0] == 5203
    finally:
        front.count("DROP USER 'loader'@'%'")


def test_before_3_1_a_refusal_is_mysqls() -> None:
    with query_port("3.0.9") as old:
        old.count(SCORE_BOARD)
        old.users.add("loader", "pw")
        with old.connect("loader", "pw", database="test") as connection:
            assert old.refusal("SELECT * FROM score_board", connection)[0] == 1142


def test_now_is_in_the_time_zone_of_the_session(front: Front) -> None:
    zones = {}
    with front.connect() as connection, connection.cursor() as cursor:
        for zone in ("Asia/Shanghai", "UTC", "+08:00", "America/New_York"):
            cursor.execute("SET time_zone = %s", (zone,))
            cursor.execute("SELECT NOW(), UTC_TIMESTAMP(), UNIX_TIMESTAMP(), @@time_zone, CURDATE()")
            row = cursor.fetchone()
            assert row is not None
            now, utc, unix, said, today = row
            assert said == zone
            assert abs(dt.datetime.fromtimestamp(unix, dt.UTC).replace(tzinfo=None) - utc) < dt.timedelta(seconds=60)
            assert today == now.date() or now.hour == 0
            zones[zone] = round((now - utc).total_seconds() / 3600)
    assert zones["Asia/Shanghai"] == zones["+08:00"] == 8
    assert zones["UTC"] == 0
    assert zones["America/New_York"] in (-4, -5)
    assert front.refusal("SET time_zone = 'Mars/Base'") == (1298, "Unknown or incorrect time zone: 'Mars/Base'")


def test_variables_are_set_for_a_session_or_for_new_ones() -> None:
    with query_port(time_zone="UTC") as front:
        assert front.rows("SELECT @@time_zone, @@system_time_zone, @@session.autocommit, @@query_timeout") == [
            ("UTC", "UTC", 1, 300)
        ]
        front.count("SET GLOBAL time_zone = 'Asia/Tokyo', @mine = 5")
        with front.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW VARIABLES LIKE 'time_zone'")
            assert cursor.fetchall() == (("time_zone", "Asia/Tokyo"),)
            cursor.execute("SELECT @mine, @@max_allowed_packet")
            assert cursor.fetchone() == (None, 33554432)
        assert front.rows("SELECT @mine") == [(5,)]
        assert front.refusal("SET nothing_of_this_name = 1") == (1193, "Unknown system variable 'nothing_of_this_name'")
        assert front.refusal("SELECT @@nothing_of_this_name")[0] == 1193
        assert front.refusal("SET version = '9'")[0] == 1621


@pytest.mark.parametrize(
    ("sql", "number", "words"),
    [
        ("SELECT * FROM nothing", 5502, "Unknown table 'test.nothing'"),
        ("SELECT * FROM nowhere.nothing", 5501, "Unknown database 'nowhere'"),
        ("SELECT * FROM information_schema.nothing", 5502, "Unknown table 'information_schema.nothing'"),
        ("SELECT nope FROM score_board", 1064, "Column 'nope' cannot be resolved"),
        ("SELECT nofunction(1)", 1064, "No matching function with signature: nofunction"),
        ("SELECT 'open", 1064, "Getting syntax error"),
        ("SELECT 1 FROM", 1064, "Getting syntax error"),
        ("CREATE VIEW v AS SELECT 1", 1064, "Getting syntax error"),
    ],
)
def test_what_is_wrong_is_said_in_the_frontends_words(front: Front, sql: str, number: int, words: str) -> None:
    found, text = front.refusal(sql)
    assert (found, words in text) == (number, True), text
