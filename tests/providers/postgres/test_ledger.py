"""Leases, fences, ownership and entries, against a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ledger_contract import LedgerContract, at
from tests.providers.postgres.conftest import FAMILY, Box, inserts
from tests.providers.postgres.test_load import FIRST, SCHEMA, people, rows
from tests.servers import wait_until
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, LeaseLost, PreflightError, SyncBusy, Unavailable
from tidegate.providers.postgres.ledger import PostgresLedger
from tidegate.sync.protocols import Entry

__all__ = ["FAMILY"]
pytestmark = pytest.mark.postgres

SOURCE, TARGET = TableName("shop", "t"), TableName("ods", "t")


def entry(offset: int, sync: str = "s", **more: object) -> Entry:
    return Entry(sync, SOURCE, TARGET, at(offset), **more)  # type: ignore[arg-type]


@pytest.fixture
def ledger(box: Box) -> PostgresLedger:
    box.sink.ledger.setup()
    return box.sink.ledger


@pytest.fixture
def others(box: Box, ledger: PostgresLedger) -> Iterator[Callable[[int], Sequence[PostgresLedger]]]:
    """The ledger as other processes see it."""
    sinks = []

    def make(number: int) -> Sequence[PostgresLedger]:
        sinks.extend(made := [box.open() for _ in range(number)])
        return [sink.ledger for sink in made]

    yield make
    for sink in sinks:
        sink.close()


@pytest.fixture
def other(others: Callable[[int], Sequence[PostgresLedger]]) -> PostgresLedger:
    return others(1)[0]


class TestContract(LedgerContract):
    pass


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


def test_the_ledger_is_appended_to_and_nothing_in_it_changes(box: Box, ledger: PostgresLedger) -> None:
    lease = ledger.acquire("s", "me", 60)
    for offset in (10, 20):
        ledger.record(lease, [entry(offset)])
    assert box.query("SELECT count(*) FROM tidegate.tidegate_ledger") == [(2,)]


def test_an_expired_lease_is_anyones_unless_a_heartbeat_came_in_time(ledger: PostgresLedger, other: PostgresLedger) -> None:
    lease = ledger.acquire("s", "me", 0.2)
    for _ in range(5):
        ledger.renew(lease)
        with pytest.raises(SyncBusy, match="last heartbeat 0 s ago, the lease ends in"):
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


def test_a_claim_is_for_all_tables_or_none(ledger: PostgresLedger) -> None:
    ledger.claim(ledger.acquire("mine", "me", 60), [TARGET])
    with pytest.raises(ConfigError, match="belongs to the sync mine"):
        ledger.claim(ledger.acquire("yours", "you", 60), [TableName("ods", "free"), TARGET])
    assert ledger.owners([TableName("ods", "free")]) == {}


def test_a_table_is_one_whether_or_not_its_schema_is_named(ledger: PostgresLedger) -> None:
    ledger.claim(ledger.acquire("mine", "me", 60), [TableName("", "t")])
    assert ledger.owners([TableName("public", "t"), TableName("", "t")]) == {
        TableName("public", "t"): "mine",
        TableName("", "t"): "mine",
    }


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
