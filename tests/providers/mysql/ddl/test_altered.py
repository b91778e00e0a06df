"""What statements make of a table, held against what MariaDB and MySQL make of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.mysql.ddl.altering import Followed
from tests.providers.mysql.reading import Database
from tests.scale import examples
from tidegate.providers.mysql.ddl.altered import Altered, swapped
from tidegate.providers.mysql.ddl.history import Away, Broken, Effect, Swapped, Truncated
from tidegate.providers.mysql.types import read_table

pytestmark = pytest.mark.mysql

ADDED = """
INT
INT DEFAULT 5
INT NOT NULL
INT(11) UNSIGNED ZEROFILL DEFAULT '7'
TINYINT(1) NOT NULL DEFAULT 1
BOOL DEFAULT TRUE
SMALLINT DEFAULT -5
SMALLINT UNSIGNED DEFAULT +5
MEDIUMINT DEFAULT 0x10
BIGINT UNSIGNED DEFAULT 18446744073709551615
INT1
INT8 DEFAULT b'101'
INTEGER SIGNED
DECIMAL
DECIMAL(10,2) NOT NULL DEFAULT 1.5
NUMERIC(40,10) DEFAULT '-12.25'
DEC(5) NOT NULL
FIXED(6,2) UNSIGNED NOT NULL DEFAULT 0
FLOAT DEFAULT 0.1
FLOAT(7,3) DEFAULT 1.5
FLOAT(30) DEFAULT 0.1
DOUBLE DEFAULT 1e10
DOUBLE PRECISION NOT NULL
REAL DEFAULT -2.5
BIT
BIT(5) DEFAULT b'101'
BIT(9) NOT NULL
BIT(20) DEFAULT 0xff
DATE
DATE NOT NULL
DATE DEFAULT '2020-02-29'
DATETIME DEFAULT '2020-01-01 10:11:12'
DATETIME(3) DEFAULT '2020-01-01 10:11:12.5'
DATETIME(6) NOT NULL
DATETIME DEFAULT '2020-01-01'
DATETIME NULL ON UPDATE CURRENT_TIMESTAMP
TIMESTAMP NULL
TIMESTAMP(3) NOT NULL DEFAULT '0000-00-00 00:00:00'
TIME
TIME NOT NULL
TIME(2) DEFAULT '-100:10:10.25'
YEAR
YEAR NOT NULL
YEAR(4) DEFAULT 2020
CHAR
CHAR(5) DEFAULT 'ab  '
CHAR(5) BINARY DEFAULT 'x'
CHARACTER VARYING(10) DEFAULT 'x'
VARCHAR(10) DEFAULT 'ab  '
VARCHAR(20) DEFAULT 'it''s \\'q\\' \\n'
VARCHAR(10) DEFAULT "dq"
VARCHAR(10) DEFAULT 'a' 'b'
VARCHAR(10) DEFAULT 5
VARCHAR(10) DEFAULT x'4142'
VARCHAR(10) DEFAULT 'é€'
VARCHAR(10) CHARACTER SET latin1 DEFAULT 'x'
VARCHAR(10) CHARSET utf8 COLLATE utf8_bin DEFAULT 'ü'
VARCHAR(10) COLLATE latin1_bin NOT NULL
VARCHAR(10) CHARACTER SET binary DEFAULT 'x'
VARCHAR(10) UNICODE
CHAR(4) BYTE
NATIONAL VARCHAR(10) DEFAULT 'n'
NCHAR(3)
TINYTEXT
TEXT NOT NULL
TEXT(50)
TEXT(300) CHARACTER SET latin1
LONG VARCHAR
BINARY
BINARY(4) DEFAULT 'ab'
BINARY(4) NOT NULL
VARBINARY(8) DEFAULT x'00ff'
BLOB NOT NULL
BLOB(70000)
ENUM('a','b') NOT NULL
ENUM('a','b  ','it''s') DEFAULT 'b'
ENUM('x','y') CHARACTER SET latin1 DEFAULT 'y'
SET('a','b','c') NOT NULL
SET('a','b','c') DEFAULT 'c,a'
GEOMETRY
POINT NULL
INT COMMENT 'DROP TABLE t, and more'
INT DEFAULT 1 AFTER k
INT DEFAULT 1 FIRST
INT NULL UNIQUE
""".strip().splitlines()
"""Definitions that every server takes, and that have to be followed."""

ADDED_ON_MARIADB = ("TEXT DEFAULT 'x'", "JSON", "JSON DEFAULT '{}'", "INT INVISIBLE", "INT CHECK (k > 0)", "BLOB DEFAULT x'00ff'")

CREATE = """CREATE TABLE t (
    k INT NOT NULL, tiny TINYINT UNSIGNED NOT NULL, n DECIMAL(6,2), f FLOAT, e ENUM('x','y'), s SET('p','q'), c CHAR(5),
    v VARCHAR(10) CHARACTER SET latin1, x TEXT CHARACTER SET latin1, b BINARY(3), w VARBINARY(3), d DATETIME, h TIME(2), z BIT(3),
    PRIMARY KEY (k), KEY i (n)
) DEFAULT CHARSET=utf8mb4"""
ROWS = """INSERT INTO t VALUES
    (1, 255, -1234.56, 0.1, 'x', 'p,q', 'a ', 'é ', 'ÿ', x'000100', x'ff', '2020-02-29 10:11:12', '-100:00:00.25', b'101'),
    (2, 0, 0, NULL, 'y', '', '', '', '', '', '', '0000-00-00 00:00:00', '00:00:00', b'0'),
    (3, 7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"""

FOLLOWED = """
DROP COLUMN n
DROP n, DROP COLUMN f, ADD n VARCHAR(5) DEFAULT 'new'
CHANGE n amount DECIMAL(6,2) COMMENT 'renamed'
CHANGE COLUMN k id BIGINT NOT NULL FIRST
MODIFY k BIGINT
MODIFY tiny SMALLINT NOT NULL
MODIFY tiny INT UNSIGNED NOT NULL DEFAULT 5
MODIFY COLUMN tiny TINYINT UNSIGNED NULL
MODIFY n DECIMAL(10,4) AFTER k
MODIFY f DOUBLE
MODIFY e ENUM('x','new','y')
MODIFY e VARCHAR(20)
MODIFY s SET('p','o','q','r')
MODIFY c VARCHAR(5)
MODIFY c CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
MODIFY v VARCHAR(10)
MODIFY v VARCHAR(11) CHARACTER SET latin1
MODIFY v TEXT CHARACTER SET utf8
MODIFY x LONGTEXT
MODIFY x MEDIUMTEXT CHARACTER SET latin1
MODIFY b VARBINARY(3)
MODIFY w BLOB
MODIFY d DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)
MODIFY h TIME(6)
MODIFY z BIT(40)
MODIFY z BIT(3) FIRST, MODIFY k INT NOT NULL AFTER h, ADD q INT AFTER k, ADD r INT FIRST
ADD (q INT, r VARCHAR(5) NOT NULL, INDEX j (q))
ADD q VARCHAR(3), ADD UNIQUE KEY u (q), ADD CONSTRAINT fk CHECK (q IS NULL OR 1 = 1), DROP INDEX i, ALTER tiny SET DEFAULT 5
ADD q VARCHAR(3) DEFAULT 'x', DEFAULT CHARACTER SET latin1
DEFAULT CHARSET latin1 COLLATE latin1_bin
CONVERT TO CHARACTER SET utf8mb4
CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, ADD q CHAR(3)
ENGINE=InnoDB, ROW_FORMAT=DYNAMIC COMMENT='t', ADD q INT
ADD q INT PARTITION BY HASH (k) PARTITIONS 3
PARTITION BY RANGE (k) (PARTITION p0 VALUES LESS THAN (5), PARTITION p1 VALUES LESS THAN MAXVALUE)
ORDER BY n, f DESC
""".strip().splitlines()
"""Alterations of the table above that have to be followed."""


@pytest.fixture
def followed(db: Database) -> Iterator[Followed]:
    table = Followed(db, CREATE, ROWS)
    yield table
    table.close()


def test_added_columns_are_what_the_server_makes_of_them_and_old_rows_hold_what_is_said(db: Database) -> None:
    table = Followed(db, "CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    definitions = [*ADDED, *(ADDED_ON_MARIADB if table.server.mariadb else ())]
    # A row has room for so many columns that few statements do.
    for start in range(0, len(definitions), 40):
        text = "ALTER TABLE t " + ", ".join(f"ADD c{start + i} {item}" for i, item in enumerate(definitions[start : start + 40]))
        # Of two rows, a unique column can hold no more than NULL.
        effects = table.run(text)
        assert effects is not None, text
        assert isinstance(effects[0], Altered), effects
        table.check(text, effects)
    table.close()


@pytest.mark.parametrize("part", range(4))
def test_statements_that_leave_each_value_what_it_is_are_followed(followed: Followed, part: int) -> None:
    for clauses in FOLLOWED[part::4]:
        text = f"ALTER TABLE t {clauses}"
        effects = followed.run(text)
        if effects is None and "CHECK" in clauses:
            continue
        assert effects is not None, f"the server refused {text}"
        assert not any(isinstance(effect, Broken) for effect in effects), (text, effects)
        followed.check(text, effects)
        followed.again(CREATE, ROWS)


# fmt: off
TYPES = [
    "TINYINT",
    "SMALLINT",
    "SMALLINT UNSIGNED",
    "MEDIUMINT",
    "INT",
    "INT UNSIGNED",
    "BIGINT",
    "BIGINT UNSIGNED",
    "DECIMAL(6,2)",
    "DECIMAL(8,4)",
    "DECIMAL(10,4)",
    "DECIMAL(8,2) UNSIGNED",
    "FLOAT",
    "DOUBLE",
    "BIT(3)",
    "BIT(9)",
    "YEAR",
    "DATE",
    "DATETIME",
    "DATETIME(3)",
    "TIME",
    "TIME(3)",
    "TIMESTAMP(3) NULL",
    "TIMESTAMP NULL",
    "CHAR(4)",
    "CHAR(8)",
    "VARCHAR(4)",
    "VARCHAR(300)",
    "LONGTEXT",
    "MEDIUMTEXT",
    "TINYTEXT",
    "TEXT",
    "VARCHAR(8) CHARACTER SET latin1",
    "CHAR(4) CHARACTER SET ucs2",
    "TEXT CHARACTER SET latin1",
    "BINARY(3)",
    "BINARY(5)",
    "VARBINARY(3)",
    "VARBINARY(9)",
    "TINYBLOB",
    "BLOB",
    "ENUM('a','b') CHARACTER SET latin1",
    "ENUM('a','b','c')",
    "ENUM('a','b')",
    "ENUM('b','a','c')",
    "SET('a','b')",
    "SET('a','x','b')",
    "SET('b','a')",
]
# fmt: on
COLUMN_TYPES = st.sampled_from(TYPES)
VALUES = st.sampled_from(
    ["NULL", "0", "1", "-1", "'a'", "'b'", "'a '", "'é'", "'12'", "'2020-02-29'", "'0000-00-00'", "'2020-01-01 10:11:12.5'", "''",
     "'300'", "'1.5'", "'-100:00:01'", "255", "70000", "1.25"]
)  # fmt: skip
NAMES = st.sampled_from(["a", "b"])
PLACES = st.sampled_from(["", "", " FIRST", " AFTER b", " AFTER k"])
EXTRA = st.sampled_from(
    ["", "", " NULL", " NOT NULL", " DEFAULT 0", " DEFAULT 1", " DEFAULT 'a'", " NOT NULL DEFAULT '1'", " COMMENT 'x'"]
)
CLAUSES = st.one_of(
    st.builds("ADD {} {}{}{}".format, st.sampled_from(["d", "e"]), COLUMN_TYPES, EXTRA, PLACES),
    st.builds("MODIFY {} {}{}{}".format, NAMES, COLUMN_TYPES, EXTRA, PLACES),
    st.builds("CHANGE {} {} {}{}{}".format, NAMES, st.sampled_from(["a", "b", "f"]), COLUMN_TYPES, EXTRA, PLACES),
    st.builds("DROP {}".format, NAMES),
    st.sampled_from(
        ["CONVERT TO CHARACTER SET utf8mb4", "CONVERT TO CHARACTER SET latin1", "DEFAULT CHARSET latin1", "DROP PRIMARY KEY"]
    ),
    st.builds("ADD INDEX ({})".format, NAMES),
)


HELD = (
    "'a'", "'b'", "'a,b'", "'é'", "'ä  '", "''", "0", "-1", "255", "-128", "70000", "-99999999999", "18446744073709551615", "1.25",
    "-9999.99", "0.1", "1e30", "'2020-02-29'", "'0000-00-00'", "'2020-01-01 10:11:12.5'", "'-838:59:59'", "'zzzzzzzzzzzz'", "'12'",
    "NULL", "REPEAT('é', 300)", "REPEAT('a', 300)", "x'000000'", "x'ff00'",
)  # fmt: skip


@pytest.mark.parametrize("old", TYPES)
def test_every_change_of_type_that_is_said_to_keep_the_values_does(pair: Followed, old: str) -> None:
    """All the types that ``old`` can turn into, each in a column of its own, in one statement."""
    columns = ", ".join(f"c{i} {old}" for i in range(len(TYPES)))
    inserts = [f"INSERT IGNORE INTO t VALUES ({k}, {', '.join([value] * len(TYPES))})" for k, value in enumerate(HELD)]
    pair.again(f"CREATE TABLE t (k INT PRIMARY KEY, {columns}) ENGINE=MyISAM", *inserts)
    taken = [f"MODIFY c{i} {new}" for i, new in enumerate(TYPES) if not broken(pair.effects(f"ALTER TABLE t MODIFY c{i} {new}"))]
    assert f"MODIFY c{TYPES.index(old)} {old}" in taken
    text = f"ALTER TABLE t {', '.join(taken)}"
    effects = pair.run(text)
    assert effects is not None, text
    pair.check(text, effects)


def broken(effects: list[Effect]) -> bool:
    return any(isinstance(effect, Broken) for effect in effects)


@pytest.fixture(scope="module", params=["mariadb", pytest.param("mysql56", marks=pytest.mark.soak)])
def pair(request: pytest.FixtureRequest) -> Iterator[Followed]:
    """A table on either server, made anew by each test."""
    server = request.getfixturevalue(request.param)
    server.execute("CREATE DATABASE altered CHARACTER SET utf8mb4")
    database = Database(server, "altered")
    table = Followed(database, "CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    yield table
    table.close()
    database.close()
    server.execute("DROP DATABASE altered")


@pytest.mark.parametrize("flavour", ["mariadb", "mysql56"])
@pytest.mark.soak
def test_whatever_is_said_to_be_followed_is_what_the_server_made_of_it(flavour: str, request: pytest.FixtureRequest) -> None:
    db: Database = request.getfixturevalue("maria" if flavour == "mariadb" else "old")
    followed = Followed(db, "CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    seen = {"followed": 0, "broken": 0}

    @settings(max_examples=examples(12), deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        columns=st.lists(COLUMN_TYPES, min_size=2, max_size=3),
        rows=st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=4),
        statements=st.lists(st.lists(CLAUSES, min_size=1, max_size=2), min_size=1, max_size=4),
    )
    def run(columns: list[str], rows: list[tuple[str, str, str]], statements: list[list[str]]) -> None:
        defined = ", ".join(f"{name} {kind}" for name, kind in zip("abc", columns, strict=False))
        inserts = [f"INSERT IGNORE INTO t VALUES ({k}, {', '.join(row[: len(columns)])})" for k, row in enumerate(rows)]
        followed.again(f"CREATE TABLE t (k INT PRIMARY KEY, {defined})", *inserts)
        for clauses in statements:
            text = f"ALTER TABLE t {', '.join(clauses)}"
            effects = followed.run(text)
            if effects is None:
                continue
            broken = any(isinstance(effect, Broken) for effect in effects)
            seen["broken" if broken else "followed"] += 1
            followed.check(text, effects)
            if broken:
                return

    run()
    followed.close()
    assert seen["followed"] > 1, seen
    assert seen["broken"] > 1, seen


def test_a_swap_by_gh_ost_keeps_the_data(followed: Followed) -> None:
    for text in (
        "CREATE /* gh-ost */ TABLE _t_gho LIKE t",
        "CREATE /* gh-ost */ TABLE _t_ghc (id BIGINT AUTO_INCREMENT, PRIMARY KEY (id))",
        "ALTER /* gh-ost */ TABLE _t_gho ADD COLUMN note VARCHAR(20) NOT NULL DEFAULT 'none' AFTER k, MODIFY n DECIMAL(12,4)",
        "INSERT INTO _t_gho (k, tiny, n, f, e, s, c, v, x, b, w, d, h, z) SELECT * FROM t",
        "CREATE /* gh-ost */ TABLE _t_del (id INT AUTO_INCREMENT PRIMARY KEY) COMMENT='ghost-cut-over-sentry'",
        "DROP /* gh-ost */ TABLE IF EXISTS _t_del",
    ):
        effects = followed.run(text)
        assert effects == [] or text.startswith("INSERT")
    swap = "RENAME /* gh-ost */ TABLE t TO _t_del, _t_gho TO t"
    effects = followed.run(swap)
    assert effects is not None
    (effect,) = effects
    assert isinstance(effect, Altered)
    assert [(item.column.name, item.value.as_py()) for item in effect.added] == [("note", "none")]
    followed.check(swap, effects)
    assert followed.run("DROP TABLE _t_del, _t_ghc") == []


def test_a_swap_in_two_steps_is_announced_and_then_followed(followed: Followed) -> None:
    assert followed.run("CREATE TABLE _t_gho LIKE t") == []
    assert followed.run("ALTER TABLE _t_gho ADD COLUMN q INT") == []
    followed.db.execute("INSERT INTO _t_gho SELECT t.*, NULL FROM t")
    assert followed.run("ALTER /* gh-ost */ TABLE t RENAME _t_del") == [Away(followed.table)]
    effects = followed.run("ALTER /* gh-ost */ TABLE _t_gho RENAME t")
    assert effects is not None
    followed.check("ALTER TABLE _t_gho RENAME t", effects)


def test_a_swap_by_pt_online_schema_change_keeps_the_data(followed: Followed) -> None:
    (written,) = followed.db.rows("SHOW CREATE TABLE t")
    for text in (
        written[1].replace("CREATE TABLE `t`", f"CREATE TABLE `{followed.db.name}`.`_t_new`"),
        f"ALTER TABLE `{followed.db.name}`.`_t_new` ADD COLUMN q INT DEFAULT 5, DROP COLUMN f",
    ):
        assert followed.run(text) == []
    shared = ", ".join(name for name in followed.table.schema.names if name != "f")
    followed.db.execute(f"INSERT LOW_PRIORITY IGNORE INTO _t_new ({shared}) SELECT {shared} FROM t")
    name = followed.db.name
    swap = f"RENAME TABLE `{name}`.`t` TO `{name}`.`_t_old`, `{name}`.`_t_new` TO `{name}`.`t`"
    effects = followed.run(swap)
    assert effects is not None
    assert isinstance(effects[0], Altered)
    followed.check(swap, effects)


def test_a_swap_whose_making_was_not_seen_is_read_from_the_table_as_it_is_now(followed: Followed) -> None:
    before = followed.table
    followed.db.execute("CREATE TABLE _t_gho LIKE t", "ALTER TABLE _t_gho ADD q INT DEFAULT 5, ADD r VARCHAR(5) NOT NULL, DROP z")
    columns = ", ".join(name for name in before.schema.names if name != "z")
    followed.db.execute(f"INSERT IGNORE INTO _t_gho ({columns}) SELECT {columns} FROM t")
    swap = "RENAME TABLE t TO _t_del, _t_gho TO t"
    assert followed.run(swap) == [Swapped(before)]
    now = read_table(followed.session, followed.name)
    (created,) = followed.db.rows("SHOW CREATE TABLE t")
    followed.check(swap, [swapped(before, now, created[1], followed.server)])


def test_truncate_empties_the_table(followed: Followed) -> None:
    assert followed.run("TRUNCATE TABLE t") == [Truncated(followed.table)]


def test_columns_that_the_server_computes_from_others_are_not_taken_for_unchanged(maria: Database) -> None:
    """With two more decimals, the text that is computed from the number is another, and no row event says so."""
    table = Followed(
        maria,
        "CREATE TABLE t (k INT PRIMARY KEY, n DECIMAL(4,2), g VARCHAR(9) AS (CONCAT(n)) STORED)",
        "INSERT INTO t (k) VALUES (1)",
    )
    assert [column.generated for column in table.table.columns] == [False, False, True]
    effects = table.run("ALTER TABLE t MODIFY n DECIMAL(6,4)")
    assert effects is not None
    assert broken(effects)
    table.close()
