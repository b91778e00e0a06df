"""Statements for the query port."""

from __future__ import annotations

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from tidegate.changes.schema import TableName
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.created import parse_create, parse_key
from tidegate.providers.starrocks.sql import NewColumn

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
T = TableName("shop", "orders")


class TestCreateTable:
    def test_a_primary_key_table_has_its_key_in_front(self) -> None:
        statement = sql.create_table(
            T,
            [NewColumn("note", "varchar(20)", default="'a b'"), NewColumn("b", "int", False), NewColumn("a", "bigint", False)],
            "PRIMARY KEY",
            ("a", "b"),
            ("a",),
            {"replication_num": "1"},
        )
        assert statement == (
            "CREATE TABLE `shop`.`orders` (`a` bigint NOT NULL, `b` int NOT NULL, `note` varchar(20) DEFAULT 'a b') "
            'PRIMARY KEY (`a`, `b`) DISTRIBUTED BY HASH(`a`) PROPERTIES("replication_num"="1")'
        )

    def test_a_duplicate_key_table_without_replicas_leaves_them_to_the_cluster(self) -> None:
        statement = sql.create_table(T, [NewColumn("a", "bigint")], "DUPLICATE KEY", ("a",), (), {})
        assert statement == "CREATE TABLE `shop`.`orders` (`a` bigint) DUPLICATE KEY (`a`) DISTRIBUTED BY RANDOM"

    @settings(deadline=None)  # the first one imports the dialect
    @given(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower), NAMES)
    def test_any_names_come_out_as_they_went_in(self, names: list[str], table: str) -> None:
        columns = [NewColumn(name, "int", False) for name in names]
        key = tuple(reversed(names))
        statement = sql.create_table(TableName("db", table), columns, "PRIMARY KEY", key, key, {})
        declared, _, rest = statement.partition(") PRIMARY KEY ")
        assert [item.name for item in sqlglot.parse_one(f"{declared})", dialect="starrocks").find_all(exp.ColumnDef)] == list(key)
        created = parse_create(f") PRIMARY KEY {rest.partition(' DISTRIBUTED')[0]}\n", "sr", T)
        assert (created.model, created.key) == ("PRIMARY_KEYS", key)


class TestNames:
    @settings(deadline=None)
    @given(st.lists(NAMES, min_size=1, max_size=5))
    def test_a_key_clause_is_read_as_it_is_written(self, names: list[str]) -> None:
        assert parse_key(sql.names(names)) == tuple(names)

    @settings(deadline=None)
    @given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20))
    def test_a_literal_is_one_string(self, text: str) -> None:
        parsed = sqlglot.parse_one(f"SELECT {sql.literal(text)}", dialect="starrocks")
        (found,) = parsed.find_all(exp.Literal)
        assert found.name == text


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            sql.add_columns(T, [NewColumn("a", "int"), NewColumn("b", "boolean", default="'0'")]),
            "ALTER TABLE `shop`.`orders` ADD COLUMN `a` int NULL, ADD COLUMN `b` boolean NULL DEFAULT '0'",
        ),
        (
            sql.modify_column(T, NewColumn("a", "varchar(80)", False, "'x'")),
            "ALTER TABLE `shop`.`orders` MODIFY COLUMN `a` varchar(80) NOT NULL DEFAULT 'x'",
        ),
        (
            sql.modify_column(T, NewColumn("a", "varchar(80)"), "REPLACE"),
            "ALTER TABLE `shop`.`orders` MODIFY COLUMN `a` varchar(80) REPLACE NULL",
        ),
        (sql.swap(T, "other"), "ALTER TABLE `shop`.`orders` SWAP WITH `other`"),
        (sql.rename(T, "n`w"), "ALTER TABLE `shop`.`orders` RENAME `n``w`"),
        (sql.drop_table(T), "DROP TABLE IF EXISTS `shop`.`orders`"),
        (sql.drop_table(T, force=True), "DROP TABLE IF EXISTS `shop`.`orders` FORCE"),
        (sql.truncate(T), "TRUNCATE TABLE `shop`.`orders`"),
        (sql.transactions(10101, "running"), "SHOW PROC '/transactions/10101/running'"),
        (sql.set_frontend_config("label_keep_max_num", 5), 'ADMIN SET FRONTEND CONFIG ("label_keep_max_num" = "5")'),
    ],
)
def test_statements(made: str, expected: str) -> None:
    assert made == expected
