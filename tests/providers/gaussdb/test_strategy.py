"""The plan says which way is taken and why, and what becomes of ''."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.gaussdb.boxes import server
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.providers.gaussdb.catalog import GaussdbTable
from tidegate.providers.gaussdb.strategy import GaussdbStrategy, Way, strategy_for
from tidegate.providers.postgres.catalog import Unique
from tidegate.providers.postgres.types import PgColumn
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions

NAME = TableName("ods", "t")
SCHEMA = TableSchema(
    TableName("shop", "t"),
    (
        Column("id", pa.string(), nullable=False, attributes={"length": "10"}),
        Column("a", pa.string(), attributes={"length": "10"}),
        Column("day", pa.date32()),
        Column("doc", pa.string(), attributes={"json": "1"}),
    ),
    ("id",),
)


def table(*uniques: Unique, **more: Any) -> GaussdbTable:
    columns = (
        PgColumn("id", "varchar", "character varying(10)", "character varying", 14, not_null=True),
        PgColumn("a", "varchar", "character varying(40)", "character varying", 44),
        PgColumn("day", "date", "date", "date"),
        PgColumn("doc", "json", "json", "json"),
    )
    rights = frozenset(("SELECT", "INSERT", "UPDATE", "DELETE"))
    key = Unique("t_pkey", frozenset(("id",)), True, True)
    return GaussdbTable(NAME, False, 0, True, rights, columns, (key, *uniques), **more)


def chosen(way: Way = "odku", there: GaussdbTable | None = None, empty: str = "null", **options: Any) -> GaussdbStrategy:
    known = server(way, empty_is_null=empty != "kept")
    target = Target(NAME, SCHEMA, WriteOptions(**options))
    return strategy_for(known, empty)(target, there if there is not None else table(), "warehouse")


def test_the_best_way_that_the_server_has_is_taken_and_named() -> None:
    assert chosen("odku").text.startswith("INSERT … ON DUPLICATE KEY UPDATE: openGauss 6.0.0, PG compatibility")
    assert chosen("merge").text.startswith("MERGE INTO: openGauss 6.0.0, PG compatibility, which lacks ON DUPLICATE KEY UPDATE")
    assert chosen("two").text.startswith("UPDATE, then INSERT … WHERE NOT EXISTS: openGauss 6.0.0")
    assert [chosen(way).way for way in ("odku", "merge", "two")] == ["odku", "merge", "two"]


def test_on_duplicate_key_update_is_not_used_where_it_is_refused() -> None:
    assert chosen(there=table(distribution_key=frozenset(("day",)))).way == "merge"
    assert chosen(there=table(distribution_key=frozenset(("id",)))).way == "odku"
    assert chosen(there=table(columnar=True)).way == "two"
    assert chosen(there=table(Unique("t_wide", frozenset(("id", "a")), True, False))).way == "merge"
    assert chosen(there=table(triggers=("audit",))).way == "two"


def test_a_second_unique_index_means_delete_and_insert() -> None:
    found = chosen(there=table(Unique("t_a", frozenset(("a",)), True, False)))
    assert not found.in_place
    assert found.needs_consistent
    assert "t_a" in found.text


def test_a_partition_key_outside_the_key_is_fixed_and_the_plan_says_so() -> None:
    found = chosen(there=table(partition_key=frozenset(("id", "day"))))
    assert found.fixed == {"day"}
    assert "a row whose day changes is deleted and inserted" in found.text
    poor = replace(table(partition_key=frozenset(("day",))), rights=frozenset(("SELECT", "INSERT", "UPDATE")))
    assert ["lacks DELETE" in str(problem) for problem in chosen(there=poor).problems] == [True]
    soft: dict[str, Any] = {"delete_mode": "soft", "soft_delete_column": "gone"}
    assert not chosen(there=table(partition_key=frozenset(("day",))), **soft).problems
    (problem,) = chosen(there=table(partition_key=frozenset(("day",))), conflict_mode="ignore", **soft).problems
    assert "delete_mode='soft'" in str(problem)


@pytest.mark.parametrize(
    ("empty", "says"),
    [
        ("null", ["'' in id, a becomes NULL", "'' in id (key or NOT NULL) is refused by the server"]),
        ("refuse", ["a row with '' in id, a goes the way of on_error"]),
        ("space", ["'' in id, a is written as one blank"]),
        ("kept", []),
    ],
)
def test_the_plan_says_what_becomes_of_empty_texts(empty: str, says: list[str]) -> None:
    warnings = [text for text in chosen(empty=empty).warnings if "''" in text]
    assert len(warnings) == len(says)
    assert all(part in text for part, text in zip(says, warnings, strict=True))


def test_a_length_in_bytes_that_is_too_short_for_as_many_characters_is_a_warning() -> None:
    def warned(compatibility: str) -> list[str]:
        known = server(compatibility=compatibility)
        found = strategy_for(known, "null")(Target(NAME, SCHEMA, WriteOptions()), table(), "warehouse")
        return [text for text in found.warnings if "bytes" in text]

    assert warned("PG") == []
    (text,) = warned("B")
    assert "a text in id with" in text


def test_a_condition_is_not_left_to_on_duplicate_key_update() -> None:
    assert chosen("odku", version_column="a").way == "merge"
    assert "enable_upsert_to_merge" in chosen("odku", version_column="a").text
    there = replace(table(), name=TableName("ods", "excluded"))
    target = Target(there.name, SCHEMA, WriteOptions())
    assert strategy_for(server("odku"), "null")(target, there, "warehouse").way == "merge"


@pytest.mark.parametrize(("empty", "problems"), [("null", 1), ("space", 0), ("refuse", 0), ("kept", 0)])
def test_a_key_column_that_takes_null_is_a_problem_where_empty_strings_become_it(empty: str, problems: int) -> None:
    there = table()
    nullable = replace(there, columns=(replace(there.columns[0], not_null=False), *there.columns[1:]))
    found = chosen(there=nullable, empty=empty).problems
    assert len(found) == problems
    assert all("key column id" in str(problem) and problem.setting == "empty_string" for problem in found)
