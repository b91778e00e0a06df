from __future__ import annotations

import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from tests.providers.changefiles.streams import (
    ITEMS,
    ORDERS,
    SCHEMAS,
    TARGETS,
    binlog,
    commit,
    entry,
    inserts,
    open_sink,
    open_source,
    replay,
    rows_of,
)
from tidegate.changes.position import SegmentPosition
from tidegate.errors import ConfigError, CorruptSegment, LeaseLost, SyncBusy


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "stream") if request.param == "local" else f"memory://{uuid.uuid4().hex}"


def test_a_live_lease_of_another_is_busy_and_a_released_one_is_free(url: str) -> None:
    first, second = open_sink(url).ledger, open_sink(url).ledger
    lease = first.acquire("capture_shop", "airflow/1", 60)
    with pytest.raises(SyncBusy, match="airflow/1 holds the lease of the sync capture_shop"):
        second.acquire("capture_shop", "airflow/2", 60)
    first.release(lease)
    assert second.acquire("capture_shop", "airflow/2", 60).fence > lease.fence


def test_the_owners_own_retry_takes_over_at_once_and_fences_its_former_self(url: str) -> None:
    former, retry = open_sink(url), open_sink(url)
    lease = former.ledger.acquire("capture_shop", "airflow/1", 60)
    commit(former, lease, 100, inserts(1))
    again = retry.ledger.acquire("capture_shop", "airflow/1", 60)
    assert again.fence > lease.fence
    with pytest.raises(LeaseLost):
        former.ledger.renew(lease)
    with pytest.raises(LeaseLost):
        commit(former, lease, 200, inserts(2))
    commit(retry, again, 200, inserts(3))
    assert [row[1] for row in rows_of(replay(open_source(url)))] == [1, 3]


def test_a_zombie_whose_lease_expired_cannot_commit_though_the_heir_has_written_nothing_yet(url: str) -> None:
    zombie, heir = open_sink(url), open_sink(url)
    dead = zombie.ledger.acquire("capture_shop", "airflow/1", 0.01)
    commit(zombie, dead, 100, inserts(1))
    load = zombie.begin(list(TARGETS.values()), dead)
    load.write(TARGETS[ORDERS], inserts(2))
    time.sleep(0.02)  # the lease expires by the clock
    lease = heir.ledger.acquire("capture_shop", "airflow/2", 60)
    with pytest.raises(LeaseLost, match="nothing was written"):
        load.commit([entry(ORDERS, binlog(200))])
    assert heir.ledger.last("capture_shop")[ORDERS].position == binlog(100)
    zombie.ledger.release(dead)
    with pytest.raises(SyncBusy):
        open_sink(url).ledger.acquire("capture_shop", "airflow/3", 60)
    commit(heir, lease, 200, inserts(3))
    assert [row[1] for row in rows_of(replay(open_source(url)))] == [1, 3]


def test_a_heartbeat_puts_off_the_end_of_a_lease(url: str) -> None:
    sink = open_sink(url)
    lease = sink.ledger.acquire("capture_shop", "airflow/1", 0.01)
    sink.ledger.renew(replace(lease, ttl=60))
    time.sleep(0.02)  # what it was taken for has passed
    with pytest.raises(SyncBusy):
        open_sink(url).ledger.acquire("capture_shop", "airflow/2", 60)


def test_of_many_that_take_a_free_lease_at_once_one_gets_it(tmp_path: Path) -> None:
    barrier, taken, busy = threading.Barrier(6), [], []

    def attempt(number: int) -> None:
        ledger = open_sink(tmp_path).ledger
        barrier.wait()
        try:
            taken.append(ledger.acquire("capture_shop", f"airflow/{number}", 60))
        except SyncBusy as error:
            busy.append(error)

    _all_at_once(attempt, 6)
    assert (len(taken), len(busy)) == (1, 5)


def test_writers_outside_a_sync_that_race_each_get_a_segment_of_their_own(tmp_path: Path) -> None:
    barrier = threading.Barrier(6)

    def attempt(number: int) -> None:
        sink = open_sink(tmp_path)
        barrier.wait()
        for step in range(5):
            commit(sink, None, 0, inserts(10 * number + step))

    _all_at_once(attempt, 6)
    source = open_source(tmp_path)
    assert source.head().segment == 30
    assert sorted(row[1] for row in rows_of(replay(source))) == sorted(
        10 * number + step for number in range(6) for step in range(5)
    )


def test_a_write_outside_the_sync_does_not_cost_the_sync_its_lease(url: str) -> None:
    sink = open_sink(url)
    lease = sink.ledger.acquire("capture_shop", "airflow/1", 60)
    commit(sink, lease, 100, inserts(1))
    commit(open_sink(url), None, 0, inserts(2))
    commit(sink, lease, 200, inserts(3))
    assert [row[1] for row in rows_of(replay(open_source(url)))] == [1, 2, 3]
    assert sink.ledger.last("capture_shop")[ORDERS].position == binlog(200)


def test_a_second_sync_is_sent_to_a_folder_of_its_own(url: str) -> None:
    sink = open_sink(url)
    lease = sink.ledger.acquire("capture_shop", "airflow/1", 60)
    commit(sink, lease, 100, inserts(1))
    sink.ledger.release(lease)
    assert sink.ledger.owners([ORDERS, ITEMS]) == {ORDERS: "capture_shop", ITEMS: "capture_shop"}
    with pytest.raises(ConfigError, match=r"belongs to the sync capture_shop: give another a folder of its own \[url\]"):
        sink.ledger.acquire("another", "airflow/1", 60)


def test_last_gives_each_table_its_latest_entry_and_schema(url: str) -> None:
    sink = open_sink(url)
    assert sink.ledger.last("capture_shop") == {}
    assert sink.ledger.owners([ORDERS]) == {}
    lease = sink.ledger.acquire("capture_shop", "airflow/1", 60)
    commit(sink, lease, 100, inserts(1))
    # The schema is recorded only when it changes.
    sink.ledger.record(lease, [type(entry(ORDERS, binlog(200)))("capture_shop", ORDERS, ORDERS, binlog(200))])
    last = open_sink(url).ledger.last("capture_shop")
    assert (last[ORDERS].position, last[ITEMS].position) == (binlog(200), binlog(100))
    assert last[ORDERS].schema == SCHEMAS[ORDERS]
    assert last[ORDERS].at is not None
    assert open_sink(url).ledger.last("another") == {}


def test_recording_what_is_known_already_makes_no_segment(url: str) -> None:
    sink = open_sink(url)
    lease = sink.ledger.acquire("capture_shop", "airflow/1", 60)
    commit(sink, lease, 100, inserts(1))
    sink.ledger.record(lease, [entry(ORDERS, binlog(100))])
    assert open_source(url).head().segment == 1
    sink.ledger.record(lease, [entry(ORDERS, binlog(101))])
    assert open_source(url).head().segment == 2


def test_a_segments_origin_is_the_lowest_position_of_its_tables(url: str) -> None:
    sink = open_sink(url)
    lease = sink.ledger.acquire("capture_shop", "airflow/1", 60)
    commit(sink, lease, 100, inserts(1))
    sink.ledger.record(lease, [entry(ORDERS, binlog(300))])
    head = open_source(url).head()
    assert isinstance(head, SegmentPosition)
    assert head.origin == binlog(100)


def test_a_damaged_lease_file_stops_instead_of_being_taken_for_none(tmp_path: Path) -> None:
    sink = open_sink(tmp_path)
    sink.ledger.acquire("capture_shop", "airflow/1", 60)
    (tmp_path / "leases" / "00000001.json").write_text("{")
    with pytest.raises(CorruptSegment, match=r"leases/00000001\.json is no lease"):
        sink.ledger.acquire("capture_shop", "airflow/2", 60)


def _all_at_once(attempt: object, count: int) -> None:
    assert callable(attempt)
    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
