"""CREATE and ALTER TABLE: the vendor's statements are taken, and what the server refuses is refused in its words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.starrocks.queryport import HLL_UV, PAGE_UV, SCORE_BOARD, Front, query_port

D = "DISTRIBUTED BY HASH(k)"


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with query_port() as started:
        yield started


def test_the_walkthroughs_tables_are_shown_as_they_were_made(front: Front) -> None:
    for statement in (SCORE_BOARD, PAGE_UV, HLL_UV):
        front.count(statement)
    shown = front.rows("SHOW CREATE TABLE score_board")[0][1]
    assert shown.startswith(
        "CREATE TABLE `score_board` (\n"
        '  `id` int(11) NOT NULL COMMENT "",\n'
        '  `name` varchar(65533) NULL DEFAULT "" COMMENT "",\n'
        '  `score` int(11) NOT NULL DEFAULT "0" COMMENT ""\n'
        ') ENGINE=OLAP \nPRIMARY KEY(`id`)\nCOMMENT "OLAP"\nDISTRIBUTED BY HASH(`id`)\nPROPERTIES (\n'
    )
    assert '`visit_users` bitmap BITMAP_UNION NOT NULL COMMENT "用户ID"' in front.rows("SHOW CREATE TABLE page_uv")[0][1]
    assert "AGGREGATE KEY(`page_id`, `visit_date`)" in front.rows("SHOW CREATE TABLE hll_uv")[0][1]


def test_what_show_create_table_says_makes_the_same_table_again(front: Front) -> None:
    front.count(
        "CREATE TABLE again (k DATE NOT NULL, v DECIMAL(18,4) NULL DEFAULT '1.5', w ARRAY<INT>, m MAP<INT,STRING>, "
        "s STRUCT<a INT, b DATE>, "
        "j JSON, l LARGEINT) DUPLICATE KEY(k) COMMENT 'it' PARTITION BY date_trunc('day', k) DISTRIBUTED BY HASH(k) BUCKETS 3 "
        "PROPERTIES ('replication_num' = '1')"
    )
    shown = front.rows("SHOW CREATE TABLE again")[0][1]
    assert "PARTITION BY date_trunc('day', k)\nDISTRIBUTED BY HASH(`k`) BUCKETS 3" in shown
    front.count("DROP TABLE again")
    front.count(shown)
    assert front.rows("SHOW CREATE TABLE again")[0][1] == shown


def test_a_table_like_another_is_empty_and_shown_as_that_one(front: Front) -> None:
    front.count(
        "CREATE TABLE model (k DATE NOT NULL, a BIGINT SUM DEFAULT '0', b BITMAP BITMAP_UNION) AGGREGATE KEY(k) COMMENT 'it' "
        "DISTRIBUTED BY HASH(k) BUCKETS 3 PROPERTIES ('replication_num' = '1')"
    )
    front.count("INSERT INTO model (k, a) VALUES ('2026-01-01', 1)")
    front.count("CREATE TABLE IF NOT EXISTS copied LIKE model")
    shown = front.rows("SHOW CREATE TABLE model")[0][1]
    assert front.rows("SHOW CREATE TABLE copied")[0][1] == shown.replace("`model`", "`copied`")
    assert front.rows("SELECT * FROM copied") == []
    ids = "SELECT TABLE_NAME, TABLE_ID FROM information_schema.tables_config WHERE TABLE_NAME IN ('model', 'copied')"
    before = dict(front.rows(ids))
    front.count("ALTER TABLE model SWAP WITH copied")
    assert dict(front.rows(ids)) == {"model": before["copied"], "copied": before["model"]}
    assert before["copied"] != before["model"]
    assert front.refusal("CREATE TABLE copied LIKE model")[0] == 1050
    front.count("CREATE TABLE IF NOT EXISTS copied LIKE nowhere")
    assert "Unknown table" in front.refusal("CREATE TABLE other LIKE nowhere")[1]
    assert "Unexpected input 'k'" in front.refusal("CREATE TABLE other LIKE model k")[1]


@pytest.mark.parametrize(
    ("columns", "rest", "words"),
    [
        ("k INT, v FLOAT", f"DUPLICATE KEY(v) {D}", "Key columns should be a ordered prefix of the schema"),
        ("k INT, v INT", f"PRIMARY KEY(x) {D}", "Key column(x) doesn't exist"),
        ("k INT NULL, v INT", f"PRIMARY KEY(k) {D}", "primary key column[k] cannot be nullable"),
        ("k DOUBLE, v INT", f"PRIMARY KEY(k) {D}", "primary key column[k] type not supported: DOUBLE"),
        ("k JSON, v INT", f"PRIMARY KEY(k) {D}", "primary key column[k] type not supported: JSON"),
        ("k FLOAT, v INT", f"DUPLICATE KEY(k) {D}", "Invalid data type of key column 'k': 'FLOAT', use decimal instead"),
        ("k ARRAY<INT>, v INT", f"UNIQUE KEY(k) {D}", "Invalid data type of key column 'k': 'ARRAY<INT>'"),
        ("k INT, v BITMAP", f"DUPLICATE KEY(k) {D}", "No aggregate function specified for 'v'"),
        ("k INT, v BITMAP BITMAP_UNION", f"PRIMARY KEY(k) {D}", "BITMAP_UNION must be used in AGG_KEYS"),
        ("k INT, v HLL HLL_UNION", f"DUPLICATE KEY(k) {D}", "HLL_UNION must be used in AGG_KEYS"),
        ("k INT, v INT", f"AGGREGATE KEY(k) {D}", "AGG_KEYS table should specify aggregate type for non-key column[v]"),
        ("k INT SUM, v INT SUM", f"AGGREGATE KEY(k) {D}", "Key column[k] should not specify aggregate type"),
        ("k INT, v DATE SUM", f"AGGREGATE KEY(k) {D}", "Invalid aggregate function 'SUM' for 'v'"),
        ("k INT, K INT", f"DUPLICATE KEY(k) {D}", "Duplicate column name 'K'"),
        ("k INT, v VARCHAR(1048577)", f"DUPLICATE KEY(k) {D}", "Varchar size must be <= 1048576: 1048577"),
        ("k INT, v CHAR(256)", f"DUPLICATE KEY(k) {D}", "Char size must be <= 255: 256"),
        ("k INT, v DECIMAL(39, 1)", f"DUPLICATE KEY(k) {D}", "DECIMAL's precision should range from 1 to 38"),
        ("k INT, v INT DEFAULT 'x'", f"DUPLICATE KEY(k) {D}", "Invalid default value for 'v'"),
        ("k INT, v INT NOT NULL DEFAULT NULL", f"DUPLICATE KEY(k) {D}", "Invalid default value for 'v'"),
        ("k INT, v BLOB", f"DUPLICATE KEY(k) {D}", "No viable statement for input 'BLOB'"),
        ("k INT, __op INT", f"DUPLICATE KEY(k) {D}", "Incorrect column name '__op'"),
        ("k INT, v INT", "PRIMARY KEY(k) DISTRIBUTED BY HASH(v)", "Distribution column[v] is not key column"),
        ("k INT, v INT", "DUPLICATE KEY(k) DISTRIBUTED BY HASH(x)", "Distribution column(x) doesn't exist"),
        ("k INT, v INT", "PRIMARY KEY(k) DISTRIBUTED BY RANDOM", "PRIMARY_KEYS table must use hash distribution"),
        (
            "k INT",
            f'DUPLICATE KEY(k) {D} PROPERTIES ("replication_num" = "3")',
            "Table replication num should be less than or equal to",
        ),
        ("k INT", f"DUPLICATE KEY(k) {D} WHATEVER", "Unexpected input 'WHATEVER'"),
        ("k INT, v INT AUTO_INCREMENT", f"DUPLICATE KEY(k) {D}", "The AUTO_INCREMENT column must be BIGINT"),
        ("k INT, v BIGINT NULL AUTO_INCREMENT", f"DUPLICATE KEY(k) {D}", "AUTO_INCREMENT column v must be NOT NULL"),
        ("k BIGINT AUTO_INCREMENT, v BIGINT AUTO_INCREMENT", f"PRIMARY KEY(k) {D}", "More than one AUTO_INCREMENT column"),
        ("k INT, v INT AS k + 1, w INT", f"DUPLICATE KEY(k) {D}", "All generated columns must be defined after ordinary columns"),
        ("k INT, v INT AS k + 1, w INT AS (v)", f"DUPLICATE KEY(k) {D}", "Expression can not refers to other generated columns"),
        ("k BIGINT AUTO_INCREMENT, v BIGINT AS k", f"PRIMARY KEY(k) {D}", "Expression can not refers to AUTO_INCREMENT columns"),
        ("k INT, v INT AS x + 1", f"DUPLICATE KEY(k) {D}", "column:x does not exist"),
        ("k INT, v INT AS sum(k)", f"DUPLICATE KEY(k) {D}", "Generated Column don't support aggregation function"),
        ("k INT, v INT SUM AS k", f"AGGREGATE KEY(k) {D}", "Generated Column does not support AGG table"),
    ],
)
def test_a_table_that_the_server_refuses_is_refused(front: Front, columns: str, rest: str, words: str) -> None:
    _, text = front.refusal(f"CREATE TABLE refused ({columns}) {rest}")
    assert words in text
    assert front.rows("SHOW TABLES LIKE 'refused'") == []


def test_a_name_that_is_taken_is_refused_unless_it_may_exist(front: Front) -> None:
    front.count(f"CREATE TABLE taken (k INT) DUPLICATE KEY(k) {D}")
    assert front.refusal(f"CREATE TABLE taken (k INT) DUPLICATE KEY(k) {D}") == (
        1050,
        "Getting analyzing error. Detail message: Table 'taken' already exists.",
    )
    front.count(f"CREATE TABLE IF NOT EXISTS taken (k INT) DUPLICATE KEY(k) {D}")
    assert front.refusal("CREATE DATABASE test")[0] == 1007
    front.count("CREATE DATABASE IF NOT EXISTS test")


def test_primary_key_columns_are_not_null_and_lengths_have_their_defaults(front: Front) -> None:
    front.count("CREATE TABLE lengths (k VARCHAR(10), a STRING, b VARCHAR, c CHAR) PRIMARY KEY(k) DISTRIBUTED BY HASH(k)")
    rows = front.rows("SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE FROM information_schema.columns WHERE TABLE_NAME = 'lengths'")
    assert rows == [
        *(("k", "varchar(10)", "NO"), ("a", "varchar(65533)", "YES"), ("b", "varchar(1)", "YES"), ("c", "char(1)", "YES")),
    ]


def test_a_distribution_had_to_be_named_before_3_1() -> None:
    with query_port("2.5.18") as old:
        assert "Create olap table should contain distribution desc" in old.refusal("CREATE TABLE t (k INT) DUPLICATE KEY(k)")[1]
        assert old.refusal("SELECT * FROM nothing")[0] == 1051
        assert old.value("SELECT version()") == "5.1.0"


COMPUTED = (
    "CREATE TABLE computed (k INT, n BIGINT AUTO_INCREMENT, a INT, b INT AS (a + 1) COMMENT 'it', c STRING AS concat(a, 'x', k)) "
    f"PRIMARY KEY(k) {D}"
)


def test_numbered_and_generated_columns_are_shown_as_they_were_made(front: Front) -> None:
    front.count(COMPUTED)
    shown = front.rows("SHOW CREATE TABLE computed")[0][1]
    assert '  `n` bigint(20) NOT NULL AUTO_INCREMENT COMMENT "",\n' in shown
    assert '  `b` int(11) NULL AS (a + 1) COMMENT "it",\n' in shown
    front.count("DROP TABLE computed")
    front.count(shown)
    assert front.rows("SHOW CREATE TABLE computed")[0][1] == shown
    front.count("DROP TABLE computed")


def test_rows_of_a_table_with_numbered_and_generated_columns_are_inserted_and_updated(front: Front) -> None:
    front.count(COMPUTED)
    front.count("INSERT INTO computed VALUES (1, DEFAULT, 10)")
    front.count("INSERT INTO computed (k) VALUES (2)")
    front.count("UPDATE computed SET a = 20 WHERE k = 2")
    rows = front.rows("SELECT * FROM computed ORDER BY k")
    assert [(row[0], *row[2:]) for row in rows] == [(1, 10, 11, "10x1"), (2, 20, 21, "20x2")]
    assert rows[0][1] < rows[1][1]
    for statement in ("INSERT INTO computed (k, b) VALUES (1, 1)", "UPDATE computed SET b = 1 WHERE k = 1"):
        assert "materialized column 'b' can not be specified" in front.refusal(statement)[1]
    assert front.refusal("INSERT INTO computed VALUES (1, 1, 1, 1, 'x')")[0] == 1058
    front.count("DROP TABLE computed")


def test_a_generated_column_can_be_added_and_stays_behind_the_others(front: Front) -> None:
    front.count(f"CREATE TABLE grown (k INT, a INT) PRIMARY KEY(k) {D}")
    front.count("INSERT INTO grown VALUES (1, 10)")
    front.count("ALTER TABLE grown ADD COLUMN twice INT AS a * 2")
    front.count("ALTER TABLE grown ADD COLUMN b INT DEFAULT '3'")
    front.count("INSERT INTO grown VALUES (2, 20, 4)")
    assert front.names("SELECT * FROM grown") == ["k", "a", "b", "twice"]
    assert front.rows("SELECT * FROM grown ORDER BY k") == [(1, 10, 3, 20), (2, 20, 4, 40)]
    words = "Can not add normal column and Generated Column in the same time"
    assert words in front.refusal("ALTER TABLE grown ADD COLUMN (d INT, e INT AS a)")[1]


def test_numbered_columns_came_with_3_0_and_generated_ones_with_3_1() -> None:
    rest = f"DUPLICATE KEY(k) {D}"
    with query_port("3.0.9") as newer, query_port("2.5.18") as old:
        assert "Unexpected input 'AS'" in newer.refusal(f"CREATE TABLE t (k INT, v INT AS k) {rest}")[1]
        assert "Unexpected input 'AUTO_INCREMENT'" in old.refusal(f"CREATE TABLE t (k INT, v BIGINT AUTO_INCREMENT) {rest}")[1]
        newer.count(f"CREATE TABLE t (k INT, v BIGINT AUTO_INCREMENT) {rest}")


def test_an_alter_is_a_job_that_refuses_a_second_one(front: Front) -> None:
    front.count(f"CREATE TABLE altered (k INT, v INT) PRIMARY KEY(k) {D}")
    front.count("INSERT INTO altered VALUES (1, 10)")
    front.engine.alter_seconds = 3600
    try:
        front.count("ALTER TABLE altered ADD COLUMN a BIGINT NULL, ADD COLUMN b VARCHAR(10) NOT NULL DEFAULT 'x'")
        question = 'SHOW ALTER TABLE COLUMN FROM `test` WHERE TableName = "altered" ORDER BY CreateTime DESC LIMIT 1'
        names = front.names(question)
        assert names[:2] == ["JobId", "TableName"]
        assert front.rows(question)[0][names.index("State")] == "RUNNING"
        for statement in ("ADD COLUMN c INT", "MODIFY COLUMN v BIGINT", "RENAME other"):
            assert "schema change operation is in progress on the table" in front.refusal(f"ALTER TABLE altered {statement}")[1]
        front.count("INSERT INTO altered VALUES (2, 20)")
        assert front.names("SELECT * FROM altered") == ["k", "v"]
    finally:
        front.engine.alter_seconds = 0
    assert front.rows(question)[0][names.index("State")] == "FINISHED"
    assert front.rows("SELECT * FROM altered ORDER BY k") == [(1, 10, None, "x"), (2, 20, None, "x")]


def test_columns_that_cannot_be_added_or_changed_are_refused(front: Front) -> None:
    front.count(f"CREATE TABLE fixed (k INT, v VARCHAR(10)) DUPLICATE KEY(k) {D}")
    assert front.refusal("ALTER TABLE fixed ADD COLUMN v INT")[0] == 1060
    assert "NOT NULL" in front.refusal("ALTER TABLE fixed ADD COLUMN w INT NOT NULL")[1]
    assert "aggregation" in front.refusal("ALTER TABLE fixed ADD COLUMN w INT SUM")[1]
    assert front.refusal("ALTER TABLE fixed MODIFY COLUMN v INT")[1] == "Can not change VARCHAR(10) to INT(11)"
    assert front.refusal("ALTER TABLE fixed MODIFY COLUMN v VARCHAR(5)")[1] == "Can not change VARCHAR(10) to VARCHAR(5)"
    assert front.refusal("ALTER TABLE fixed MODIFY COLUMN x INT")[1] == "Column[x] does not exists"


def test_columns_are_widened_with_their_rows(front: Front) -> None:
    front.count(f"CREATE TABLE wider (k INT, v VARCHAR(5), n INT, d DECIMAL(6,2)) PRIMARY KEY(k) {D}")
    front.count("INSERT INTO wider VALUES (1, 'abcde', 7, 1.25)")
    front.count("ALTER TABLE wider MODIFY COLUMN v VARCHAR(20), MODIFY COLUMN n BIGINT, MODIFY COLUMN d DECIMAL(12,4)")
    front.count("INSERT INTO wider VALUES (2, 'abcdefghij', 5000000000, 12345678.4321)")
    assert [str(value) for value in front.rows("SELECT n, d FROM wider ORDER BY k")[1]] == ["5000000000", "12345678.4321"]
    types = dict(front.rows("SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.columns WHERE TABLE_NAME = 'wider'"))
    assert types == {"k": "int(11)", "v": "varchar(20)", "n": "bigint(20)", "d": "decimal(12,4)"}


def test_tables_are_renamed_swapped_truncated_and_dropped(front: Front) -> None:
    for name in ("one", "two"):
        front.count(f"CREATE TABLE {name} (k INT, v VARCHAR(10)) PRIMARY KEY(k) {D}")
        front.count(f"INSERT INTO {name} VALUES (1, '{name}')")
    front.count("ALTER TABLE one SWAP WITH two")
    assert front.value("SELECT v FROM one") == "two"
    front.count("ALTER TABLE one RENAME three")
    assert front.refusal("SELECT * FROM one")[0] == 5502
    assert front.value("SELECT v FROM three") == "two"
    front.count("TRUNCATE TABLE three")
    assert front.rows("SELECT * FROM three") == []
    front.count("DROP TABLE three FORCE")
    assert front.refusal("DROP TABLE three")[0] == 5502
    front.count("DROP TABLE IF EXISTS three")
