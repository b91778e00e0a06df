"""A decision of several loads, of which the target gave one up."""

from __future__ import annotations

from tests.fakes import Faults, MemoryTransactions, Tables
from tidegate.changes.schema import TableName
from tidegate.sync.log import Decision, Step
from tidegate.sync.settling import settle

FIRST, SECOND = TableName("shop", "orders"), TableName("shop", "customers")


def test_what_comes_after_a_lost_load_is_rolled_back_and_done_again_with_it() -> None:
    transactions = MemoryTransactions(Tables(("id",), ("id",)), Faults())
    transactions.standing = {"one": "absent", "two": "prepared"}
    steps = tuple(Step((TableName("ods", table.name),), (table,), label) for table, label in ((FIRST, "one"), (SECOND, "two")))
    assert settle(transactions, Decision(7, steps, {}), "warehouse") == [FIRST, SECOND]
    assert transactions.standing == {"one": "absent", "two": "absent"}
