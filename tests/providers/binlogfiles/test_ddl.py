"""Tables from CREATE TABLE statements are those that the server describes."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from tests.servers import MySqlServer
from tidegate.changes.schema import Column, TableName
from tidegate.errors import ConfigError
from tidegate.providers.binlogfiles.charsets import OfflineCharsets
from tidegate.providers.binlogfiles.ddl import tables_of
from tidegate.providers.mysql import connection as mysql
from tidegate.providers.mysql.policy import ZERO_IS_NULL
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.types import MySqlColumn, MySqlTable, read_table

PLAIN = [
    "k INT PRIMARY KEY, a TINYINT(1), b TINYINT UNSIGNED, c SMALLINT, d MEDIUMINT UNSIGNED, e BIGINT UNSIGNED NOT NULL",
    "k INT, a DECIMAL(65,30), b DECIMAL(5), c NUMERIC(7,2) UNSIGNED, d FLOAT, e DOUBLE, f BIT, g BIT(64), h YEAR, UNIQUE KEY (k)",
    "k INT NOT NULL, d DATE NOT NULL, t TIME(3), a DATETIME(6), b TIMESTAMP(2) NULL, c TIME, UNIQUE KEY z (k), UNIQUE KEY b (k, d)",
    "a CHAR(3) CHARACTER SET latin1, b VARCHAR(9), c VARCHAR(7) COLLATE utf8_bin, d CHAR, e TEXT, PRIMARY KEY (a, b(2))",
    "a BINARY(3), b VARBINARY(20), c TINYBLOB, d BLOB, e MEDIUMBLOB, f LONGBLOB, g TINYTEXT, h LONGTEXT CHARACTER SET ucs2",
    "a ENUM('a','it''s','b,c'), b SET('x','y') NOT NULL, c ENUM('é') CHARACTER SET latin1, d GEOMETRY, `from` INT, `a``b` INT",
]


def essential(table: MySqlTable) -> object:
    """What rows are read by: all but collations, the spelling of utf8, and sizes that no row depends on."""

    def sized(column: MySqlColumn) -> MySqlColumn:
        return replace(column, length=0, octets=0) if column.data_type in ("enum", "set", "json") else column

    def spelled(name: str) -> str:
        return "utf8mb3" if name == "utf8" else name

    bare = Column("", pa.null())
    columns = [
        (
            item.name,
            item.column.type,
            item.column.nullable or item.name in table.schema.key,
            replace(
                sized(item),
                column=bare,
                charset=spelled(item.charset),
                zero=ZERO_IS_NULL,
                required=False,
                auto_increment=False,
                generated=False,
            ),
        )
        for item in table.columns
    ]
    return table.schema.key, table.index, columns


@pytest.mark.mysql
@pytest.mark.parametrize("which", ["mariadb", "mysql56"])
@pytest.mark.parametrize("columns", [*PLAIN, "j JSON, k INT AS (1) PERSISTENT"])
def test_what_show_create_table_writes_is_understood(
    which: str, columns: str, request: pytest.FixtureRequest, database: str
) -> None:
    if "JSON" in columns and which == "mysql56":
        pytest.skip("MySQL 5.6 has no JSON")
    server: MySqlServer = request.getfixturevalue(which)
    server.execute(f"CREATE DATABASE IF NOT EXISTS {database}", f"CREATE TABLE {database}.t ({columns}) DEFAULT CHARSET=utf8mb4")
    connection = server.connect(database=database)
    with connection.cursor() as cursor:
        cursor.execute("SHOW CREATE TABLE t")
        statement = cursor.fetchone()[1]
    connection.close()
    name = TableName(database, "t")
    values = mysql.SYSTEM.values(server.values(), "c")
    session = Session(values, "c")
    expected = read_table(session, name)
    session.close()
    if which == "mysql56":
        server.execute(f"DROP DATABASE {database}")
    found = tables_of(f"USE {database}; {statement}", OfflineCharsets("c"), "c")
    assert essential(found[name]) == essential(expected)


def test_a_dump_without_rows_will_do() -> None:
    dump = """
        -- MariaDB dump 10.19
        /*!40101 SET NAMES utf8mb4 */;
        DROP TABLE IF EXISTS `orders`;
        USE `shop`;
        CREATE TABLE `orders` (`id` int(11) NOT NULL AUTO_INCREMENT, `x` varchar(10) DEFAULT NULL, PRIMARY KEY (`id`))
            ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
        CREATE TABLE other.items (id int);
    """
    assert sorted(map(str, tables_of(dump, OfflineCharsets("c"), "c"))) == ["other.items", "shop.orders"]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE t (k int)", "its database is not named"),
        ("CREATE TABLE s.t (k int,", "not understood"),
        ("SELECT 1", "no CREATE TABLE statement"),
        ("CREATE TABLE s.t (v varchar(3))", "column v: its character set is not said"),
        ("CREATE TABLE s.t (v text(30)) CHARSET utf8", "column v: a text or blob with a length"),
        ("CREATE TABLE s.t (v uuid)", "column v: the type UUID has no canonical type"),
        ("CREATE TABLE s.t (v varchar(3)) CHARSET sjis", "column v: the character set sjis can't be converted"),
        ("CREATE TABLE s.t (k int, PRIMARY KEY (j))", "its key has no column j"),
    ],
)
def test_what_can_not_be_understood_is_named(statement: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tables_of(statement, OfflineCharsets("c"), "c")
    assert words in str(caught.value)
    assert caught.value.setting == "ddl"
