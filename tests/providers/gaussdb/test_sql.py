"""The statements are those of openGauss's SQL reference, to the letter."""

from __future__ import annotations

from dataclasses import replace

from tidegate.changes.rules import Rules
from tidegate.changes.schema import TableName
from tidegate.providers.gaussdb.sql import GaussdbPut, GaussdbSql

SQL = GaussdbSql()
PUT = GaussdbPut(TableName("ods", "orders"), '"s1" AS s', ("id",), ("id", "Day", "v"), (), Rules())
INSERT = 'INSERT INTO "ods"."orders" ("id", "Day", "v") SELECT s."id", s."Day", s."v" FROM "s1" AS s'


def test_an_upsert_sets_what_is_neither_key_nor_partition_key() -> None:
    assert SQL.upsert(PUT) == f'{INSERT} ON DUPLICATE KEY UPDATE "Day" = EXCLUDED."Day", "v" = EXCLUDED."v"'
    assert SQL.upsert(replace(PUT, fixed=frozenset(("Day",)))) == f'{INSERT} ON DUPLICATE KEY UPDATE "v" = EXCLUDED."v"'


def test_an_older_version_is_kept_by_a_where_that_names_the_target_without_its_schema() -> None:
    assert SQL.upsert(replace(PUT, rules=Rules(version_column="v"))).endswith(
        ' WHERE ("orders"."v" IS NULL OR EXCLUDED."v" >= "orders"."v")'
    )


def test_a_table_of_key_columns_alone_updates_nothing() -> None:
    put = replace(PUT, columns=("id",))
    assert SQL.upsert(put) == ('INSERT INTO "ods"."orders" ("id") SELECT s."id" FROM "s1" AS s ON DUPLICATE KEY UPDATE NOTHING')
    assert SQL.upsert(replace(PUT, rules=Rules("ignore"))) == f"{INSERT} ON DUPLICATE KEY UPDATE NOTHING"
    assert "WHEN MATCHED" not in SQL.merge(put)
    assert SQL.update_live(put) is None


def test_merge_has_its_condition_in_the_branch() -> None:
    assert SQL.merge(replace(PUT, rules=Rules(version_column="v"), fixed=frozenset(("Day",)))) == (
        'MERGE INTO "ods"."orders" AS t USING "s1" AS s ON (t."id" = s."id") '
        'WHEN MATCHED THEN UPDATE SET "v" = s."v" WHERE (t."v" IS NULL OR s."v" >= t."v") '
        'WHEN NOT MATCHED THEN INSERT ("id", "Day", "v") VALUES (s."id", s."Day", s."v")'
    )


def test_nothing_that_came_after_9_2_is_said() -> None:
    columns = [("a", "varchar(40) NOT NULL"), ("b", "text")]
    table = TableName("ods", "t")
    assert SQL.create_schema("ods") == 'CREATE SCHEMA "ods"'
    assert SQL.add_columns(table, columns) == 'ALTER TABLE "ods"."t" ADD COLUMN "a" varchar(40) NOT NULL, ADD COLUMN "b" text'
    assert "IF NOT EXISTS" not in SQL.create_seen(table, table, ["id"])
    assert "ON COMMIT DELETE ROWS" in SQL.create_staging("s", table, ["id"])


def test_lengths_grow_where_they_count_bytes() -> None:
    sql = GaussdbSql(counts_bytes=True)
    table = TableName("ods", "t")
    columns = [("a", "varchar(40) NOT NULL"), ("b", "numeric(20,0)"), ("c", "varchar(9000000)")]
    assert '"a" varchar(160) NOT NULL, "b" numeric(20,0), "c" text' in sql.create_table(table, columns, ["a"])
    assert sql.alter_types(table, [("a", "varchar(80)")]) == 'ALTER TABLE "ods"."t" ALTER COLUMN "a" TYPE varchar(320)'


def test_a_date_is_declared_as_what_a_compatibility_makes_of_it() -> None:
    columns = [("d", "date"), ("at", "timestamp(6)"), ("update_date", "varchar(4)")]
    statement = GaussdbSql(dates_have_times=True).create_table(TableName("ods", "t"), columns, ())
    assert '"d" timestamp(0), "at" timestamp(6), "update_date" varchar(4)' in statement
    assert '"d" date' in GaussdbSql().create_table(TableName("ods", "t"), columns, ())
