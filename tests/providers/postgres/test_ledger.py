"""Leases, fences, ownership and entries, against a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.providers.postgres.conftest import FAMILY, Box, inserts
from tests.providers.postgres.test_load import FIRST, SCHEMA, people, rows
from tests.servers import wait_until
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, LeaseLost, PreflightError, SyncBusy, Unavailable
from tidegate.providers.postgres.ledger import PostgresLedger
from tidegate.sync.protocols import Entry

__all__ = ["FAMILY"]
pytestmark = pytest.mark.postgres

SOURCE, TARGET = TableName("shop", "t"), TableName("ods", "t")


def at(offset: int) -> BinlogPosition:
    return BinlogPosition("binlog.000001", offset, "1")


def entry(offset: int, sync: str = "s", **more: object) -> Entry:
    return Entry(sync, SOURCE, TARGET, at(offset), **more)  # type: ignore[arg-type]


@pytest.fixture
def ledger(box: Box) -> PostgresLedger:
    box.sink.ledger.setup()
    return box.sink.ledger


@pytest.fixture
def other(box: Box) -> Iterator[PostgresLedger]:
    """The ledger as another process sees it."""
    sink = box.open()
    yield sink.ledger
    sink.close()


def test_a_plan_sees_an_empty_ledger_where_there_is_none_and_creates_nothing(box: Box) -> None:
    assert box.sink.ledger.last("s") == {}
    assert box.sink.ledger.owners([TARGET]) == {}
    assert box.query("SELECT nspname FROM pg_namespace WHERE nspname = 'tidegate'") == []


def test_setup_twice_and_by_many_at_once_gives_one_set_of_tables(box: Box) -> None:
    sinks = [box.open() for _ in range(6)]
    try:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda sink: sink.ledger.setup(), sinks))
        box.sink.ledger.setup()
    finally:
        for sink in sinks:
            sink.close()
    names = box.query("SELECT tablename FROM pg_tables WHERE schemaname = 'tidegate' ORDER BY 1")
    assert names == [("tidegate_lease",), ("tidegate_ledger",), ("tidegate_quarantine",)]


def test_entries_come_back_whole_and_the_latest_of_each_table_counts(box: Box, ledger: PostgresLedger) -> None:
    lease = ledger.acquire("s", "me", 60)
    copying = SnapshotPosition(at(4), ("a", "1"), 7)
    ledger.record(lease, [Entry("s", SOURCE, TARGET, copying, "run1", 7, "replace", SCHEMA)])
    first = ledger.last("s")[SOURCE]
    assert (first.position, first.run, first.rows, first.copy, first.schema) == (copying, "run1", 7, "replace", SCHEMA)
    assert first.at is not None
    ledger.record(lease, [entry(10), Entry("s", TableName("a.b", "c"), TARGET, at(1))])
    ledger.record(lease, [entry(20, rows=3)])
    last = ledger.last("s")
    assert last[SOURCE].position == at(20)
    assert last[SOURCE].copy is None
    assert last[SOURCE].schema == SCHEMA, "recorded when it changed, remembered since"
    assert last[TableName("a.b", "c")].position == at(1)
    assert ledger.last("another") == {}
    assert box.query("SELECT count(*) FROM tidegate.tidegate_ledger") == [(4,)]


def test_a_live_lease_keeps_others_out_but_not_its_own_owner(ledger: PostgresLedger, other: PostgresLedger) -> None:
    first = ledger.acquire("s", "me", 60)
    with pytest.raises(SyncBusy, match=r"me runs the sync s: last heartbeat 0 s ago, the lease ends in (60|59) s"):
        other.acquire("s", "you", 60)
    again = other.acquire("s", "me", 60)
    assert again.fence == first.fence + 1
    with pytest.raises(LeaseLost):
        ledger.renew(first)
    assert other.acquire("another", "you", 60).fence == 1


def test_a_released_lease_is_free_and_the_fence_goes_on_growing(ledger: PostgresLedger, other: PostgresLedger) -> None:
    first = ledger.acquire("s", "me", 60)
    ledger.release(first)
    second = other.acquire("s", "you", 60)
    assert second.fence == first.fence + 1
    ledger.release(first)
    with pytest.raises(SyncBusy):
        ledger.acquire("s", "me", 60)


def test_an_expired_lease_is_anyones_unless_a_heartbeat_came_in_time(ledger: PostgresLedger, other: PostgresLedger) -> None:
    lease = ledger.acquire("s", "me", 0.2)
    for _ in range(5):
        ledger.renew(lease)
        with pytest.raises(SyncBusy):
            other.acquire("s", "you", 60)
    taken = []

    def takes() -> bool:
        try:
            taken.append(other.acquire("s", "you", 60))
        except SyncBusy:
            return False
        return True

    wait_until(takes, "the expiry of the lease", 10)
    assert taken[0].fence == lease.fence + 1
    with pytest.raises(LeaseLost, match="fence 1"):
        ledger.renew(lease)


@pytest.mark.parametrize("exists", [False, True])
def test_of_many_that_race_for_a_free_lease_one_gets_it(box: Box, ledger: PostgresLedger, exists: bool) -> None:
    if exists:
        ledger.release(ledger.acquire("s", "before", 60))
    sinks = [box.open() for _ in range(8)]
    barrier = threading.Barrier(8)

    def race(number: int) -> bool:
        sinks[number].ledger.last("s")  # connected before the start
        barrier.wait()
        try:
            sinks[number].ledger.acquire("s", f"run{number}", 60)
        except SyncBusy:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    for sink in sinks:
        sink.close()
    assert won.count(True) == 1


def test_a_table_belongs_to_the_first_sync_that_claims_it(box: Box, ledger: PostgresLedger) -> None:
    mine, yours = ledger.acquire("mine", "me", 60), ledger.acquire("yours", "you", 60)
    second = TableName("ods", "u")
    ledger.claim(mine, [TARGET, second])
    ledger.claim(mine, [TARGET])
    assert ledger.owners([TARGET, second, TableName("ods", "free")]) == {TARGET: "mine", second: "mine"}
    with pytest.raises(ConfigError, match=r"table ods\.t: belongs to the sync mine"):
        ledger.claim(yours, [TableName("ods", "free"), TARGET])
    assert ledger.owners([TableName("ods", "free")]) == {}
    ledger.claim(mine, [TableName("", "t")])
    assert ledger.owners([TableName("public", "t"), TableName("", "t")]) == {
        TableName("public", "t"): "mine",
        TableName("", "t"): "mine",
    }


def test_of_two_syncs_that_race_for_a_table_one_owns_it(box: Box, ledger: PostgresLedger) -> None:
    leases = [ledger.acquire(f"sync{number}", "me", 60) for number in range(6)]
    sinks = [box.open() for _ in leases]
    barrier = threading.Barrier(len(leases))

    def race(number: int) -> str:
        sinks[number].ledger.last("s")
        barrier.wait()
        try:
            sinks[number].ledger.claim(leases[number], [TARGET])
        except ConfigError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(leases)) as pool:
        said = list(pool.map(race, range(len(leases))))
    for sink in sinks:
        sink.close()
    winner = said.index("")
    assert said.count("") == 1
    assert all(f"the sync sync{winner}" in text for text in said if text)


def test_a_zombie_can_neither_commit_nor_record_nor_claim(box: Box, ledger: PostgresLedger, other: PostgresLedger) -> None:
    target = box.target(SCHEMA)
    box.prepare(target)
    zombie = ledger.acquire("s", "me", 60)
    load = box.sink.begin([target], zombie)
    load.write(target, inserts(FIRST, "id"))
    lease = other.acquire("s", "me", 60)
    with pytest.raises(LeaseLost):
        load.commit([entry(10)])
    assert rows(box) == []
    assert ledger.last("s") == {}
    with pytest.raises(LeaseLost):
        ledger.record(zombie, [entry(10)])
    with pytest.raises(LeaseLost):
        ledger.claim(zombie, [TARGET])
    other.record(lease, [entry(20)])
    assert ledger.last("s")[SOURCE].position == at(20)


def test_a_takeover_waits_for_a_commit_under_way(box: Box, ledger: PostgresLedger, other: PostgresLedger) -> None:
    """The fence is checked under the lock that a takeover needs: it comes before the commit or after it, never between."""
    lease = ledger.acquire("s", "me", 60)
    session = box.sink.connect()
    ledger.append(session, lease, [entry(10)])
    with ThreadPoolExecutor(1) as pool:
        takeover = pool.submit(other.acquire, "s", "me", 60)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: box.query(waiting) == [(1,)], "the takeover's wait")
        assert not takeover.done()
        session.commit()
        assert takeover.result(10).fence == lease.fence + 1
    session.close()
    assert ledger.last("s")[SOURCE].position == at(10)


def test_rows_and_entries_of_a_load_are_committed_together(box: Box, ledger: PostgresLedger) -> None:
    target = box.target(SCHEMA)
    box.prepare(target)
    lease = ledger.acquire("s", "me", 60)
    load = box.sink.begin([target], lease)
    load.write(target, inserts(FIRST, "id"))
    assert ledger.last("s") == {}
    load.commit([entry(10, rows=2)])
    assert ledger.last("s")[SOURCE].rows == 2
    load = box.sink.begin([target], lease)
    load.write(target, inserts(people((3, "c")), "id"))
    load.abort()
    assert (len(rows(box)), ledger.last("s")[SOURCE].position) == (2, at(10))


def test_a_heartbeat_goes_through_while_a_load_is_in_the_middle_of_its_transaction(box: Box, ledger: PostgresLedger) -> None:
    target = box.target(SCHEMA)
    box.prepare(target)
    lease = ledger.acquire("s", "me", 60)
    load = box.sink.begin([target], lease)
    load.write(target, inserts(FIRST, "id"))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ledger.renew, lease).result(10)
    load.commit([entry(1)])


def test_a_connection_killed_in_a_load_is_transient_and_leaves_nothing(box: Box, ledger: PostgresLedger) -> None:
    target = box.target(SCHEMA)
    box.prepare(target)
    lease = ledger.acquire("s", "me", 60)
    load = box.sink.begin([target], lease)
    load.write(target, inserts(FIRST, "id"))
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidegate' AND pid <> pg_backend_pid()"
    box.query(kill)
    with pytest.raises(Unavailable):
        load.commit([entry(10)])
    load.abort()
    with pytest.raises(Unavailable):
        ledger.renew(lease)
    ledger.renew(lease)  # on a new connection
    load = box.sink.begin([target], lease)
    load.write(target, inserts(FIRST, "id"))
    load.commit([entry(10)])
    assert len(rows(box)) == 2


def test_an_account_without_rights_is_told_the_statements_and_tables_made_by_them_are_taken(box: Box) -> None:
    box.only("postgres", because="the sandbox knows its own accounts only")
    box.execute("CREATE ROLE etl LOGIN")
    try:
        sink = box.open(login="etl")
        with pytest.raises(PreflightError, match="CREATE SCHEMA") as caught:
            sink.ledger.setup()
        statements = sink.ledger.ddl()
        assert all(statement in str(caught.value) for statement in statements)
        box.execute(*statements[:-1])
        with pytest.raises(PreflightError, match=r"lacks .* on tidegate_quarantine(.|\n)*GRANT"):
            sink.ledger.setup()
        box.execute(statements[-1])
        sink.ledger.setup()
        lease = sink.ledger.acquire("s", "me", 60)
        sink.ledger.record(lease, [entry(1)])
        sink.close()
    finally:
        box.execute("DROP OWNED BY etl", "DROP ROLE etl")


def test_the_ledger_can_live_in_another_schema(box: Box) -> None:
    sink = box.open(ledger_schema="Ops")
    sink.ledger.setup()
    assert sink.ledger.acquire("s", "me", 60).fence == 1
    sink.close()
    assert box.query('SELECT name FROM "Ops".tidegate_lease') == [("s",)]


def test_there_are_no_intents_with_transactions(ledger: PostgresLedger) -> None:
    assert ledger.intents(ledger.acquire("s", "me", 60)) == ()


def test_two_names_of_one_table_are_refused_before_anything_is_written(box: Box, ledger: PostgresLedger) -> None:
    lease = ledger.acquire("s", "me", 60)
    default = box.sink.resolve(TableName("", "t"))
    with pytest.raises(ConfigError, match=r"are the same table.*\[tables\]"):
        ledger.claim(lease, [TableName("", "t"), default])
    assert ledger.owners([default]) == {}
