"""The statements as text, where the text itself is what matters."""

from __future__ import annotations

import pytest

from tidegate.changes.rules import Rules
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.providers.postgres.sql import PostgresSql, Put

SQL = PostgresSql()
TABLE = TableName("ods", "t")


def put(rules: Rules, *, columns: tuple[str, ...] = ("id", "a", "v"), absent: tuple[str, ...] = (), mark: str | None = None) -> Put:
    return Put(TABLE, '"stage" AS s', ("id",), columns, absent, rules, mark)


def action(wanted: Put) -> str:
    return SQL.upsert(wanted).partition(" ON CONFLICT ")[2]


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("select", '"select"'), ("Mixed", '"Mixed"'), ('a"b', '"a""b"'), ("x" * 63, f'"{"x" * 63}"'), ("%s", '"%s"')],
)
def test_every_identifier_is_quoted(name: str, quoted: str) -> None:
    assert SQL.name(name) == quoted


@pytest.mark.parametrize("name", ["x" * 64, "é" * 32, "", "a\0b"])
def test_names_that_the_server_would_cut_or_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        SQL.name(name)


def test_an_upsert_inserts_or_replaces_all_but_the_key() -> None:
    assert SQL.upsert(put(Rules())) == (
        'INSERT INTO "ods"."t" AS t ("id", "a", "v") SELECT s."id", s."a", s."v" FROM "stage" AS s '
        'ON CONFLICT ("id") DO UPDATE SET "a" = excluded."a", "v" = excluded."v"'
    )


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules("update", columns=("v",)), '("id") DO UPDATE SET "v" = excluded."v"'),
        (Rules("ignore"), '("id") DO NOTHING'),
        (
            Rules(version_column="v"),
            '("id") DO UPDATE SET "a" = excluded."a", "v" = excluded."v" WHERE t."v" IS NULL OR excluded."v" >= t."v"',
        ),
    ],
)
def test_what_a_conflict_does_follows_the_rules(rules: Rules, expected: str) -> None:
    assert action(put(rules)) == expected


def test_rows_without_a_version_replace_only_rows_without_one() -> None:
    rules = Rules(version_column="v")
    assert action(put(rules, columns=("id", "a"), absent=("v",))) == '("id") DO UPDATE SET "a" = excluded."a" WHERE t."v" IS NULL'


def test_a_table_of_nothing_but_its_key_does_nothing_on_conflict() -> None:
    assert action(put(Rules(), columns=("id",))) == '("id") DO NOTHING'


def test_a_marked_row_takes_every_column_whatever_the_rules() -> None:
    assert action(put(Rules("ignore", "soft"), columns=("id", "a"), absent=("v",), mark="gone")) == (
        '("id") DO UPDATE SET "a" = CASE WHEN t."gone" IS TRUE THEN excluded."a" ELSE t."a" END, '
        '"v" = CASE WHEN t."gone" IS TRUE THEN excluded."v" ELSE t."v" END, "gone" = false WHERE t."gone" IS TRUE'
    )
    assert action(put(Rules("update", "soft", ("v",), "v"), mark="gone")) == (
        '("id") DO UPDATE SET "v" = excluded."v", "a" = CASE WHEN t."gone" IS TRUE THEN excluded."a" ELSE t."a" END, '
        '"gone" = false WHERE t."gone" IS TRUE OR t."v" IS NULL OR excluded."v" >= t."v"'
    )


def test_an_update_of_existing_rows_without_a_column_to_set_is_none() -> None:
    assert SQL.update_existing(put(Rules(), columns=("id",))) is None
