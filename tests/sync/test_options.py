"""Options are checked when they are built, and the message names the option that would change the outcome."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wrte_mode": "upsert"}, r"unknown option wrte_mode; did you mean write_mode\?"),
        ({"write_mode": "merge"}, r"'merge' is not one of upsert, append, overwrite \[write_mode\]"),
        ({"batch_rows": 0}, r"0 is outside 1 to 5e\+06 \[batch_rows\]"),
        ({"batch_rows": "many"}, r"'many' is not a number \[batch_rows\]"),
        ({"batch_rows": True}, r"True is not a number"),
        ({"max_retries": -1}, r"-1 is outside 0 to 1000 \[max_retries\]"),
        ({"op_column": "op"}, r"write_mode='append' \[op_column\]"),
        ({"write_mode": "append", "conflict_mode": "ignore"}, r"\[conflict_mode\]"),
        ({"write_mode": "append", "delete_mode": "soft", "soft_delete_column": "d"}, r"\[delete_mode\]"),
        ({"write_mode": "append", "version_column": "v"}, r"\[write_mode\]"),
        ({"columns": ["a"]}, r"conflict_mode='update' \[columns\]"),
        ({"conflict_mode": "update", "columns": []}, r"names no column \[columns\]"),
        ({"conflict_mode": "update", "columns": ["a"], "version_column": "v"}, r"lacks the version_column v"),
        ({"conflict_mode": "ignore", "version_column": "v"}, r"\[version_column\]"),
        ({"delete_mode": "soft"}, r"\[soft_delete_column\]"),
        ({"soft_delete_column": "deleted"}, r"\[soft_delete_column\]"),
        ({"conflict_mode": "strict", "delete_mode": "soft", "soft_delete_column": "d"}, r"\[delete_mode\]"),
    ],
)
def test_a_wrong_option_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WriteOptions.of(values)


def test_a_table_may_differ_from_the_others() -> None:
    sync = Sync.of(
        "shop",
        ["shop.orders", "shop.customers"],
        schema="ods",
        options=WriteOptions(batch_rows=10),
        overrides={"shop.orders": {"conflict_mode": "ignore", "target": "dw.o", "key": "id"}},
    )
    orders, customers = sync.tables
    assert (orders.target, orders.key) == (TableName("dw", "o"), ("id",))
    assert (orders.options.conflict_mode, orders.options.batch_rows) == ("ignore", 10)
    assert (customers.target, customers.options.conflict_mode) == (TableName("ods", "customers"), "upsert")


@pytest.mark.parametrize(
    ("name", "tables", "overrides", "message"),
    [
        ("no spaces", ["a.b"], {}, "is not a name"),
        ("s", [], {}, "no tables"),
        ("s", ["a.b", "a.b"], {}, "source tables named more than once: a.b"),
        ("s", ["a.b", "c.b"], {}, "target tables named more than once: ods.b"),
        ("s", ["a.b.c"], {}, "is not a table"),
        ("s", ["a.b"], {"a.x": {}}, "tables that the sync doesn't have: a.x"),
        ("s", ["a.b"], {"a.b": {"batch_row": 1}}, "did you mean batch_rows"),
    ],
)
def test_a_wrong_sync_is_refused(name: str, tables: list[str], overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sync.of(name, tables, schema="ods", overrides=overrides)
