"""MySQL's types and CREATE TABLE as MySQL itself writes them, in canonical terms."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers import MySqlServer
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, SchemaError
from tidegate.providers.cdcfiles.statements import effects
from tidegate.providers.cdcfiles.types import ColumnType, Declared, declared, parse_type

EVERY = """
CREATE TABLE `every` (
  `a` tinyint(1) DEFAULT NULL, b SMALLINT UNSIGNED, c MEDIUMINT, d INT ZEROFILL, e BIGINT UNSIGNED NOT NULL, f DECIMAL(65,30),
  g DEC, h NUMERIC(5), i FLOAT, j FLOAT(30), k DOUBLE PRECISION, l REAL, m BIT(12), n DATE, o DATETIME(6), p TIMESTAMP(3) NULL,
  q TIME(2), r YEAR, s CHAR(3) CHARACTER SET latin1 COLLATE latin1_bin, t VARCHAR(20), u MEDIUMTEXT, v ENUM('a','it''s','c,d'),
  w SET('x','y'), x BINARY(3), y VARBINARY(4), z LONGBLOB, aa JSON, bb POINT NOT NULL, cc BOOL, dd NATIONAL VARCHAR(3),
  ee VARCHAR(5) CHARACTER SET binary, `ff``,(` INT COMMENT 'a, ''b'' (c',
  PRIMARY KEY (`e`), UNIQUE KEY `u` (`ff``,(`), KEY (t(5))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='x;y'
"""


def test_every_type_of_a_statement_has_its_canonical_one() -> None:
    (table,) = declared(EVERY, "records")
    schema = table.schema(TableName("shop", "every"), "records")
    assert [str(column.type) for column in schema.columns] == [
        "int8", "uint16", "int32", "uint32", "uint64", "decimal256(65, 30)", "decimal128(10, 0)", "decimal128(5, 0)", "float",
        "double", "double", "double", "uint64", "date32[day]", "timestamp[us]", "timestamp[us, tz=UTC]", "duration[us]", "int16",
        "string", "string", "string", "string", "string", "binary", "binary", "binary", "string", "binary", "int8", "string",
        "binary", "int32",
    ]  # fmt: skip
    assert schema.key == ("e",)
    assert schema.names[-1] == "ff`,("
    assert schema.column("v").attributes["labels"] == '["a", "it\'s", "c,d"]'
    assert not schema.column("e").nullable
    assert schema.column("a").attributes == {"display_width": "1"}


def test_what_the_server_shows_of_a_table_can_be_declared(mariadb: MySqlServer, database: str) -> None:
    mariadb.execute(f"CREATE TABLE {database}.`every`" + EVERY.partition("`every`")[2])
    connection = mariadb.connect(database=database)
    with connection.cursor() as cursor:
        cursor.execute("SHOW CREATE TABLE `every`")
        shown = next(iter(cursor.fetchall()))
    connection.close()
    text = shown["Create Table"] if isinstance(shown, dict) else shown[1]
    (ours,), (theirs,) = declared(EVERY, "records"), declared(str(text), "records")
    name = TableName("shop", "every")
    # MariaDB's JSON is a LONGTEXT.
    for mine, other in zip(ours.schema(name, "").columns, theirs.schema(name, "").columns, strict=True):
        assert (mine.name, mine.type) == (other.name, other.type)
    assert theirs.key == ours.key


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("CREATE TABLE t (a INT PRIMARY KEY, b INT)", ("a",)),
        ("CREATE TABLE t (a INT, b INT, PRIMARY KEY (b, a))", ("b", "a")),
        ("CREATE TABLE t (a INT NOT NULL, b INT, UNIQUE KEY (b), UNIQUE KEY (a))", ("a",)),
        ("CREATE TABLE t (a INT, b INT, CONSTRAINT c PRIMARY KEY USING BTREE (b))", ("b",)),
        ("CREATE TABLE t (a TEXT NOT NULL, UNIQUE KEY (a(5)))", ()),
        ("CREATE TABLE t (a SERIAL, b INT)", ()),
        ("CREATE TABLE t (a INT NOT NULL UNIQUE, b INT)", ("a",)),
    ],
)
def test_the_key_is_the_primary_one_or_the_first_unique_one_without_nulls(sql: str, key: tuple[str, ...]) -> None:
    (table,) = declared(sql, "records")
    assert table.key == key


@pytest.mark.parametrize("sql", ["CREATE TABLE t (a INT", "SELECT 1", "CREATE TABLE t LIKE u", "CREATE TABLE t (a 'INT)"])
def test_a_statement_that_declares_nothing_is_a_mistake(sql: str) -> None:
    with pytest.raises(ConfigError):
        declared(sql, "records")


def test_a_type_without_a_canonical_one_is_refused() -> None:
    (table,) = declared("CREATE TABLE t (a WORMHOLE(3))", "records")
    with pytest.raises(SchemaError, match="column a has the type wormhole"):
        table.schema(TableName("", "t"), "records")


def test_what_statements_told_survives_json() -> None:
    (table,) = declared(EVERY, "records")
    again = Declared.from_json(table.table, table.to_json())
    assert again.schema(table.table, "") == table.schema(table.table, "")
    assert ColumnType.from_json(table.columns[0].to_json()) == table.columns[0]


@pytest.mark.parametrize(
    ("text", "kind"), [("int(11) unsigned", pa.uint32()), ("INTEGER", pa.int32()), ("DECIMAL(10, 2)", pa.decimal128(10, 2))]
)
def test_a_type_s_own_text(text: str, kind: pa.DataType) -> None:
    assert parse_type(text).canonical == kind


@given(st.text(alphabet="alter table add drop colmn() ,`'\";-/*", max_size=40))
def test_any_text_in_place_of_a_statement_breaks_tables_and_nothing_else(sql: str) -> None:
    for effect in effects(f"ALTER TABLE t {sql}", "shop", TableName("shop", "t")):
        assert effect.kind in ("broken", "column_added", "truncated", "created")
