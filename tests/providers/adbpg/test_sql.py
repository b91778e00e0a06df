"""The words that differ: DISTRIBUTED, COPY … ON CONFLICT, and what PostgreSQL 9.4 lacks."""

from __future__ import annotations

import pytest

from tidegate.changes.schema import TableName
from tidegate.providers.adbpg.probe import Server
from tidegate.providers.adbpg.sql import AdbpgSql

SIX = AdbpgSql(lambda: Server((9, 4), greenplum=True, kernel=(6, 6, 1, 0)))
SEVEN = AdbpgSql(lambda: Server((12, 12), greenplum=True, kernel=(7, 0, 4)))
PLAIN = AdbpgSql(lambda: Server((15, 0)))
TABLE = TableName("ods", "t")


@pytest.mark.parametrize("sql", [SIX, SEVEN])
def test_tables_are_distributed_by_their_key_and_at_random_without_one(sql: AdbpgSql) -> None:
    columns = [("id", "bigint NOT NULL"), ("Big", "text")]
    assert sql.create_table(TABLE, columns, ("id", "Big")).endswith('PRIMARY KEY ("id", "Big")) DISTRIBUTED BY ("id", "Big")')
    assert sql.create_table(TABLE, columns, ()).endswith(" DISTRIBUTED RANDOMLY")
    assert sql.create_staging_by("s", TABLE, ("id",), ("id",)).endswith('WHERE false DISTRIBUTED BY ("id")')
    assert sql.create_staging_by("s", TABLE, ("id",), ()).endswith("WHERE false DISTRIBUTED RANDOMLY")
    assert sql.create_seen(TableName("tidegate", "seen"), TABLE, ("id",)).endswith('DISTRIBUTED BY ("id")')


def test_plain_postgresql_gets_no_such_clause() -> None:
    statements = (
        PLAIN.create_table(TABLE, [("id", "bigint")], ()),
        PLAIN.create_staging_by("s", TABLE, ("id",), ()),
        PLAIN.create_probe(),
    )
    assert not any("DISTRIBUTED" in statement for statement in statements)


def test_columns_are_added_in_words_that_the_kernel_has() -> None:
    columns = [("a", "text"), ("b", "integer")]
    assert SIX.add_columns(TABLE, columns) == 'ALTER TABLE "ods"."t" ADD COLUMN "a" text, ADD COLUMN "b" integer'
    assert "ADD COLUMN IF NOT EXISTS" in SEVEN.add_columns(TABLE, columns)


@pytest.mark.parametrize(("update", "action"), [(True, "UPDATE"), (False, "NOTHING")])
def test_copy_on_conflict_names_columns_and_nothing_more(update: bool, action: str) -> None:
    statement = SIX.copy_upsert(TABLE, ("id", "a"), update=update)
    assert statement == f'COPY "ods"."t" ("id", "a") FROM STDIN WITH CSV DO ON CONFLICT DO {action}'
