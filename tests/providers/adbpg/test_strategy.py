"""Which way rows take, by the server, the table and the options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from tidegate.changes.schema import TableName, TableSchema
from tidegate.providers.adbpg.catalog import AdbpgTable
from tidegate.providers.adbpg.probe import Features, Server
from tidegate.providers.adbpg.sink import CAPABILITIES
from tidegate.providers.adbpg.staging import staging_key
from tidegate.providers.adbpg.strategy import AdbpgStrategy, Chooser
from tidegate.providers.postgres.catalog import Unique
from tidegate.providers.postgres.types import PgColumn
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import resolve

SERVER = Server((9, 4), greenplum=True, kernel=(6, 6, 1, 0), policies=True)
BOTH = Features(insert_conflict=True, copy_conflict=True)
SCHEMA = TableSchema.of_arrow(
    TableName("shop", "t"), pa.schema([("id", pa.int64()), ("a", pa.string()), ("v", pa.int64())]), ("id",)
)
COLUMNS = tuple(PgColumn(name, "int8", "bigint", "bigint", -1, name == "id", False, False) for name in ("id", "a", "v"))
KEY = Unique("t_pkey", frozenset({"id"}), whole=True, primary=True)
TABLE = AdbpgTable(TableName("ods", "t"), False, 0, True, frozenset(), COLUMNS, (KEY,), distribution=("id",))


def way(
    table: AdbpgTable | None = TABLE,
    server: Server = SERVER,
    features: Features = BOTH,
    *,
    existing_only: bool = False,
    **options: Any,
) -> AdbpgStrategy:
    target = Target(TableName("ods", "t"), SCHEMA, resolve(WriteOptions(**options), CAPABILITIES), existing_only)
    return Chooser(server, features)(target, table, "warehouse")


@pytest.mark.parametrize("mode", ["upsert", "update", "ignore"])
@pytest.mark.parametrize("table", [TABLE, None])
def test_plain_upserts_into_a_heap_table_with_one_unique_index_are_native(mode: str, table: AdbpgTable | None) -> None:
    plan = way(table, conflict_mode=mode)
    assert plan.native
    assert f"DO {'NOTHING' if mode == 'ignore' else 'UPDATE'}" in plan.text
    assert not plan.warnings
    assert not plan.problems


@pytest.mark.parametrize(
    "options",
    [
        {"method": "insert"},
        {"method": "upsert"},
        {"parallelism": 2},
        {"conflict_mode": "strict"},
        {"conflict_mode": "update", "columns": ("a",)},
        {"version_column": "v"},
        {"ignore_nulls": True},
        {"delete_mode": "soft", "soft_delete_column": "gone"},
        {"write_mode": "append"},
        {"existing_only": True},
    ],
)
def test_rules_that_a_whole_row_overwritten_would_break_are_staged(options: dict[str, Any]) -> None:
    plan = way(**options)
    assert not plan.native
    assert plan.in_place
    assert plan.problems == ()


def test_a_server_without_the_copy_stages() -> None:
    assert way(features=Features(insert_conflict=True, copy_conflict=False)).text == "INSERT … ON CONFLICT"


@pytest.mark.parametrize(
    "more", [Unique("other", frozenset({"a"}), True, False), Unique("wide", frozenset({"id", "a"}), True, False)]
)
def test_a_further_unique_index_rules_out_the_copy_which_would_check_it_too(more: Unique) -> None:
    assert not way(replace(TABLE, uniques=(KEY, more))).native


def test_other_storage_with_a_unique_index_is_merged_by_insert_on_conflict() -> None:
    plan = way(replace(TABLE, heap=False))
    assert not plan.native
    assert plan.in_place


def test_append_optimized_tables_are_merged_by_delete_and_insert() -> None:
    table = replace(TABLE, heap=False, uniques=())
    plan = way(table)
    assert not plan.native
    assert not plan.in_place
    assert "append-optimized" in plan.text
    (problem,) = way(table, conflict_mode="ignore").problems
    assert "heap table" in str(problem)


@pytest.mark.parametrize(("kernel", "native"), [((6, 3, 6, 0), False), ((6, 3, 6, 1), True), ((), False)])
def test_partitioned_tables_meet_on_conflict_from_6_3_6_1_on(kernel: tuple[int, ...], native: bool) -> None:
    plan = way(replace(TABLE, partitioned=True), replace(SERVER, kernel=kernel))
    assert plan.native is plan.in_place is native
    assert native or "6.3.6.1" in plan.text


def test_without_insert_on_conflict_rows_are_deleted_and_inserted() -> None:
    features = Features(insert_conflict=False, copy_conflict=False)
    for table in (TABLE, None):
        assert not way(table, features=features).in_place
        assert not way(table, features=features).problems
        assert way(table, features=features, conflict_mode="ignore").problems
    assert way(features=features, conflict_mode="strict").in_place


def test_a_distribution_key_outside_the_key_is_replaced_never_set() -> None:
    table = replace(TABLE, uniques=(), distribution=("v",))
    assert not way(table).in_place
    (problem,) = way(table, existing_only=True).problems
    assert "v is in the distribution key" in str(problem)
    assert not way(table, existing_only=True, conflict_mode="update", columns=("a",)).problems


def test_what_the_vendor_excludes_is_said_in_the_plan() -> None:
    for server in (replace(SERVER, kernel=(7, 0, 4)), replace(SERVER, serverless=True)):
        (warning,) = way(server=server, features=Features(insert_conflict=True, copy_conflict=False)).warnings
        assert "excludes" in warning


def test_staging_tables_lie_where_the_target_does_if_they_have_its_key() -> None:
    table = replace(TABLE, distribution=("v", "id"))
    assert staging_key(table, ("id", "a", "v")) == ("v", "id")
    assert staging_key(table, ("id", "a")) == ()
    assert staging_key(replace(TABLE, distribution=()), ("id",)) == ()


def test_the_vendors_defaults_hold_but_for_rows_that_are_refused() -> None:
    options = resolve(WriteOptions(), CAPABILITIES)
    assert (options.batch_rows, options.flush_interval, options.max_retries, options.retry_wait) == (50_000, 50.0, 3, 0.1)
    assert (options.method, options.conflict_mode, options.on_error) == ("copy", "upsert", "fail")
    assert not CAPABILITIES.shadow
