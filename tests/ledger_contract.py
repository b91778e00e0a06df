"""What every ledger promises, whatever it is kept in: entries, leases with fences, and tables that belong to one sync."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError, LeaseLost, SyncBusy
from tidegate.sync.protocols import Entry, Ledger

SOURCE, TARGET, FREE = TableName("shop", "t"), TableName("ods", "t"), TableName("ods", "free")
SCHEMA = TableSchema(SOURCE, (Column("id", pa.int64(), nullable=False), Column("name", pa.string())), ("id",))


def at(offset: int) -> BinlogPosition:
    return BinlogPosition("binlog.000001", offset, "1")


class LedgerContract:
    """Run by a module's own ``class TestContract(LedgerContract)``, over its fixtures: ``ledger``, which is set up, ``other``, the
    same as another process sees it, and ``others``, which makes as many of these as are asked for."""

    def test_entries_come_back_whole_and_the_latest_of_each_table_counts(self, ledger: Ledger, other: Ledger) -> None:
        lease = ledger.acquire("s", "me", 60)
        copying = SnapshotPosition(at(4), ("a", "1"), 7)
        ledger.record(lease, [Entry("s", SOURCE, TARGET, copying, "run1", 7, "replace", SCHEMA)])
        first = other.last("s")[SOURCE]
        assert (first.position, first.run, first.rows, first.copy, first.schema) == (copying, "run1", 7, "replace", SCHEMA)
        assert first.at is not None
        ledger.record(lease, [Entry("s", SOURCE, TARGET, at(10)), Entry("s", TableName("a.b", "c"), TARGET, at(1))])
        ledger.record(lease, [Entry("s", SOURCE, TARGET, at(20), rows=3)])
        for seen in (ledger, other):
            last = seen.last("s")
            assert last[SOURCE].position == at(20)
            assert last[SOURCE].copy is None
            assert last[SOURCE].schema == SCHEMA, "recorded when it changed, remembered since"
            assert last[TableName("a.b", "c")].position == at(1)
            assert seen.last("another") == {}

    def test_a_live_lease_keeps_others_out_but_not_its_own_owner(self, ledger: Ledger, other: Ledger) -> None:
        first = ledger.acquire("s", "me", 60)
        with pytest.raises(SyncBusy, match=r"me runs the sync s.* lease ends in (60|59|58) s"):
            other.acquire("s", "you", 60)
        again = other.acquire("s", "me", 60)
        assert again.fence == first.fence + 1
        with pytest.raises(LeaseLost):
            ledger.renew(first)
        assert other.acquire("another", "you", 60).fence == 1

    def test_a_released_lease_is_free_and_the_fence_goes_on_growing(self, ledger: Ledger, other: Ledger) -> None:
        first = ledger.acquire("s", "me", 60)
        ledger.release(first)
        second = other.acquire("s", "you", 60)
        assert second.fence == first.fence + 1
        ledger.release(first)
        with pytest.raises(SyncBusy):
            ledger.acquire("s", "me", 60)

    @pytest.mark.parametrize("exists", [False, True])
    def test_of_many_that_race_for_a_free_lease_one_gets_it(
        self, ledger: Ledger, others: Callable[[int], Sequence[Ledger]], exists: bool
    ) -> None:
        if exists:
            ledger.release(ledger.acquire("s", "before", 60))
        assert raced(others(6), lambda each, number: each.acquire("s", f"run{number}", 60), SyncBusy).count("") == 1

    def test_a_table_belongs_to_the_first_sync_that_claims_it(self, ledger: Ledger, other: Ledger) -> None:
        mine, yours = ledger.acquire("mine", "me", 60), other.acquire("yours", "you", 60)
        second = TableName("ods", "u")
        ledger.claim(mine, [TARGET, second])
        ledger.claim(mine, [TARGET])
        assert other.owners([TARGET, second, FREE]) == {TARGET: "mine", second: "mine"}
        with pytest.raises(ConfigError, match=r"table ods\.t: belongs to the sync mine"):
            other.claim(yours, [FREE, TARGET])
        assert ledger.owners([FREE]) == {}, "all of them, or none"

    def test_of_syncs_that_race_for_a_table_one_owns_it(self, others: Callable[[int], Sequence[Ledger]]) -> None:
        ledgers = others(5)
        leases = [ledger.acquire(f"sync{number}", "me", 60) for number, ledger in enumerate(ledgers)]
        said = raced(ledgers, lambda each, number: each.claim(leases[number], [TARGET]), ConfigError)
        assert said.count("") == 1
        assert all(f"the sync sync{said.index('')}" in text for text in said if text)


def raced(ledgers: Sequence[Ledger], step: Callable[[Ledger, int], object], loses: type[Exception]) -> list[str]:
    """What each was told that took the step at the same moment; empty for a winner."""
    barrier = threading.Barrier(len(ledgers))

    def race(number: int) -> str:
        ledgers[number].last("s")  # connected before the start
        barrier.wait()
        try:
            step(ledgers[number], number)
        except loses as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(ledgers)) as pool:
        return list(pool.map(race, range(len(ledgers))))
