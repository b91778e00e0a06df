"""information_schema and SHOW: what clients and the provider read of tables, tablets, loads and settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.starrocks.queryport import PAGE_UV, SCORE_BOARD, Front, query_port

EVERY = """
CREATE TABLE every (
  k BIGINT NOT NULL, b BOOLEAN, t TINYINT, l LARGEINT, f FLOAT, d DOUBLE, n DECIMAL(18, 4), c CHAR(3), v VARCHAR(20) DEFAULT 'x',
  da DATE, dt DATETIME DEFAULT CURRENT_TIMESTAMP, j JSON, a ARRAY<VARCHAR(5)>, m MAP<INT, DECIMAL(5,2)>, s STRUCT<x INT, y DATE>
) UNIQUE KEY(k) DISTRIBUTED BY HASH(k) BUCKETS 2
"""


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with query_port() as started:
        for statement in (SCORE_BOARD, PAGE_UV, EVERY):
            started.count(statement)
        started.count("INSERT INTO score_board VALUES (1, 'starrocks', 100)")
        started.count("INSERT INTO score_board VALUES (2, 'flink', 100)")
        yield started


def test_columns_says_type_length_precision_and_key(front: Front) -> None:
    rows = front.rows(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, COLUMN_KEY, "
        "COLUMN_DEFAULT "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'test' AND TABLE_NAME = 'every' ORDER BY ORDINAL_POSITION"
    )
    assert rows == [
        ("k", "bigint", "bigint(20)", None, 19, 0, "UNI", None),
        ("b", "tinyint", "tinyint(1)", None, None, None, "", None),
        ("t", "tinyint", "tinyint(4)", None, 3, 0, "", None),
        ("l", "bigint unsigned", "bigint(20) unsigned", None, 20, 0, "", None),
        ("f", "float", "float", None, 7, 7, "", None),
        ("d", "double", "double", None, 15, 15, "", None),
        ("n", "decimal", "decimal(18,4)", None, 18, 4, "", None),
        ("c", "char", "char(3)", 3, None, None, "", None),
        ("v", "varchar", "varchar(20)", 20, None, None, "", "x"),
        ("da", "date", "date", None, None, None, "", None),
        ("dt", "datetime", "datetime", None, None, None, "", "CURRENT_TIMESTAMP"),
        ("j", "json", "json", None, None, None, "", None),
        ("a", "array", "array<varchar(5)>", None, None, None, "", None),
        ("m", "map", "map<int(11),decimal(5, 2)>", None, None, None, "", None),
        ("s", "struct", "struct<x int(11), y date>", None, None, None, "", None),
    ]


def test_the_models_and_keys_of_tables(front: Front) -> None:
    rows = front.rows(
        "SELECT TABLE_NAME, TABLE_MODEL, PRIMARY_KEY, SORT_KEY, DISTRIBUTE_KEY FROM information_schema.tables_config ORDER BY 1"
    )
    assert rows == [
        ("every", "UNIQUE_KEYS", "`k`", "`k`", "`k`"),
        ("page_uv", "AGG_KEYS", "", "`page_id`, `visit_date`", "`page_id`"),
        ("score_board", "PRIMARY_KEYS", "`id`", "`id`", "`id`"),
    ]
    keys = front.rows("SELECT COLUMN_NAME FROM information_schema.columns WHERE TABLE_NAME = 'score_board' AND COLUMN_KEY = 'PRI'")
    assert keys == [("id",)]


def test_show_full_columns_has_the_aggregation(front: Front) -> None:
    assert [(row[0], row[1], row[4], row[6]) for row in front.rows("SHOW FULL COLUMNS FROM page_uv")] == [
        *(("page_id", "int", "YES", ""), ("visit_date", "datetime", "YES", ""), ("visit_users", "bitmap", "NO", "BITMAP_UNION")),
    ]
    assert front.rows("SHOW COLUMNS FROM score_board FROM test LIKE 'sc%'") == [("score", "int", "NO", "NO", "0", "")]
    assert front.rows("DESC test.score_board")[0] == ("id", "int", "NO", "true", None, "")


def test_tables_and_databases_are_listed(front: Front) -> None:
    assert front.rows("SHOW DATABASES") == [("information_schema",), ("test",)]
    assert front.rows("SHOW FULL TABLES FROM test WHERE Tables_in_test = 'every'") == [("every", "BASE TABLE")]
    assert front.rows("SELECT TABLE_TYPE, TABLE_ROWS FROM information_schema.tables WHERE TABLE_NAME = 'every'") == [
        ("BASE TABLE", 0)
    ]
    assert ("test",) in front.rows("SELECT SCHEMA_NAME FROM information_schema.schemata")


def test_every_load_makes_a_version_until_it_is_compacted(front: Front) -> None:
    front.engine.compact("test", "score_board")
    question = (
        "SELECT MAX(NUM_VERSION) FROM information_schema.be_tablets b "
        "JOIN information_schema.tables_config c ON b.TABLE_ID = c.TABLE_ID "
        "WHERE c.TABLE_NAME = 'score_board'"
    )
    assert front.value(question) == 1
    front.count("INSERT INTO score_board VALUES (3, 'x', 1)")
    front.count("INSERT INTO score_board VALUES (4, 'x', 1)")
    assert front.value(question) == 3
    names = front.names("SHOW TABLET FROM score_board")
    assert front.rows("SHOW TABLET FROM test.score_board")[0][names.index("VersionCount")] == "3"
    assert len(front.rows("SHOW TABLET FROM every")) == 2
    assert len(front.rows("SHOW TABLET FROM every WHERE BackendId = 10001 LIMIT 1")) == 1
    assert front.rows("SHOW PARTITIONS FROM score_board")[0][1] == "score_board"
    front.engine.compact("test", "score_board")
    assert front.value(question) == 1


def test_transactions_are_shown_as_running_and_finished(front: Front) -> None:
    open_ = front.labels.add("lingering-1", "test", ["score_board"])
    front.count("INSERT INTO score_board WITH LABEL `done-1` VALUES (5, 'x', 1)")
    ids = {name: number for number, name in front.rows("SHOW PROC '/transactions'")}
    names = front.names(f"SHOW PROC '/transactions/{ids['test']}/running'")
    at = names.index("Label"), names.index("TransactionStatus")
    running = front.rows(f"SHOW PROC '/transactions/{ids['test']}/running'")
    assert [(row[at[0]], row[at[1]]) for row in running] == [("lingering-1", "PREPARE")]
    assert "done-1" in [row[at[0]] for row in front.rows("SHOW PROC '/transactions/test/finished'")]
    assert front.rows(f"SHOW TRANSACTION WHERE id = {open_.id}")[0][at[1]] == "PREPARE"
    assert front.rows("SHOW TRANSACTION FROM test WHERE label = 'done-1'")[0][at[1]] == "VISIBLE"
    assert front.rows("SELECT STATE FROM information_schema.stream_loads WHERE LABEL = 'lingering-1'") == [("LOADING",)]
    assert len(front.rows("SHOW LOAD FROM test WHERE Label = 'done-1'")) == 1
    assert front.refusal("SHOW PROC '/nothing'")[0] == 5001


def test_the_frontends_settings_are_shown_and_set(front: Front) -> None:
    assert front.names("ADMIN SHOW FRONTEND CONFIG LIKE 'run_mode'") == [
        "Key",
        "AliasNames",
        "Value",
        "Type",
        "IsMutable",
        "Comment",
    ]
    assert front.rows("ADMIN SHOW FRONTEND CONFIG LIKE 'run_mode'")[0][2] == "shared_nothing"
    front.count('ADMIN SET FRONTEND CONFIG ("label_keep_max_num" = "5")')
    assert front.rows("ADMIN SHOW FRONTEND CONFIG LIKE '%keep_max_num'")[0][:3] == ("label_keep_max_num", "[]", "5")
    assert front.refusal('ADMIN SET FRONTEND CONFIG ("label_keep_max_num" = "many")')[0] == 5101
    assert front.refusal('ADMIN SET FRONTEND CONFIG ("nothing" = "1")')[0] == 5102


def test_the_nodes_are_shown(front: Front) -> None:
    names = front.names("SHOW BACKENDS")
    assert front.rows("SHOW BACKENDS")[0][names.index("Alive")] == "true"
    assert front.rows("SHOW FRONTENDS")[0][-1] == "3.3.5-6d81f75"
    assert front.rows("SHOW WARNINGS") == []
    assert front.rows("SHOW COLLATION WHERE Charset = 'utf8'")[0][0] == "utf8_general_ci"


@pytest.mark.parametrize(("version", "told"), [("3.3.2", None), ("3.3.3", "a + 1")])
def test_of_generated_columns_newer_servers_tell_the_expression_and_of_numbered_ones_none_tells(version: str, told: str) -> None:
    with query_port(version) as front:
        front.count("CREATE TABLE t (a INT, n BIGINT AUTO_INCREMENT, b INT AS a + 1) PRIMARY KEY(a) DISTRIBUTED BY HASH(a)")
        question = "SELECT COLUMN_NAME, GENERATION_EXPRESSION, COLUMN_DEFAULT, EXTRA FROM information_schema.columns"
        assert front.rows(f"{question} WHERE TABLE_NAME = 't' ORDER BY ORDINAL_POSITION") == [
            *(("a", None, None, ""), ("n", None, None, ""), ("b", told, None, "")),
        ]


def test_loads_came_with_3_1() -> None:
    with query_port("3.0.9") as old:
        assert old.refusal("SELECT * FROM information_schema.loads")[0] == 1051
        assert old.rows("SELECT * FROM information_schema.tables_config") == []
