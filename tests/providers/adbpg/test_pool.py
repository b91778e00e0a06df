"""No more connections than connection_max_active, whoever wants them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from tests.fakes import FakeSource
from tests.model import Change
from tests.providers.adbpg.sinks import AdbpgBox
from tests.providers.postgres.conftest import inserts, schema_of
from tests.sync.test_run import CUSTOMERS, ORDERS, SCHEMAS, sync_of
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, Unavailable
from tidegate.providers.postgres import pool as pools
from tidegate.providers.postgres.pool import Pool
from tidegate.sync.options import WriteOptions
from tidegate.sync.run import run

pytestmark = pytest.mark.postgres

ROWS = pa.table({"id": [1, 2], "a": ["x", "y"]})


@pytest.fixture
def box(plain: AdbpgBox) -> AdbpgBox:
    plain.execute("CREATE SCHEMA ods")
    return plain


def open_connections(box: AdbpgBox) -> int:
    found: int = box.query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidegate' AND datname = current_database()"
    )[0][0]
    return found


def test_one_connection_is_refused_with_the_reason(box: AdbpgBox) -> None:
    with pytest.raises(ConfigError, match=r"ledger's heartbeat.*2 at least.*\[connection_max_active\]"):
        box.open(connection_max_active=1)


def test_a_sync_works_with_two_connections_and_holds_no_more(box: AdbpgBox, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = box.open(connection_max_active=2)
    sink._pool._wait = 60.0
    most = 0
    source = FakeSource(SCHEMAS, [[(ORDERS, Change(None, _row(ORDERS, at)))] for at in range(8)], grows=True, copies_at_once=2)
    read = source.read

    def watched(*args: Any) -> Iterator[Any]:
        nonlocal most
        for chunk in read(*args):
            most = max(most, open_connections(box))
            yield chunk

    monkeypatch.setattr(source, "read", watched)
    source.visible = 4
    run(sync_of(WriteOptions(batch_rows=1), ORDERS, CUSTOMERS), source, sink, owner="scheduler")
    source.visible = 8
    run(sync_of(WriteOptions(batch_rows=1), ORDERS, CUSTOMERS), source, sink, owner="scheduler")
    sink.close()
    assert 1 <= most <= 2
    assert box.query("SELECT count(*) FROM ods.orders") == [(len(source.state(ORDERS)),)]


def _row(table: TableName, at: int) -> dict[str, Any]:
    """A row with the key ``at``, all else NULL."""
    schema = SCHEMAS[table]
    values = {pa.int64(): at, pa.string(): str(at)}
    return {column.name: values.get(column.type, at) if column.name in schema.key else None for column in schema.columns}


def test_many_readers_and_loads_share_the_connections(box: AdbpgBox) -> None:
    sink = box.open(connection_max_active=3)
    target = box.target(schema_of(ROWS, "id"))
    box.prepare(target)
    seen = []

    def work(_: int) -> None:
        load = sink.begin([target], None)
        load.write(target, inserts(ROWS, "id"))
        seen.append(open_connections(box))
        load.abort()
        sink.describe(TableName("ods", "t"))
        assert sum(batch.num_rows for batch in sink.read(TableName("ods", "t"))) == 0

    before = open_connections(box)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert max(seen) - before <= 2
    assert open_connections(box) - before <= 2
    sink.close()


def test_a_wait_that_ends_in_vain_names_the_setting(box: AdbpgBox) -> None:
    sink = box.open(connection_max_active=2)
    sink._pool._wait = 0.05
    target = box.target(schema_of(ROWS, "id"))
    box.prepare(target)
    load = sink.begin([target], None)
    with pytest.raises(Unavailable, match=r"warehouse.*all 1 connections.*\[connection_max_active\]"):
        sink.describe(TableName("ods", "t"))
    load.abort()
    assert sink.describe(TableName("ods", "t")) is not None
    sink.close()


def test_a_connection_that_is_given_back_goes_to_the_one_who_waits(box: AdbpgBox) -> None:
    pool = Pool(box.sink.connect, "warehouse", 1, "connection_max_active", pools.WAIT_SECONDS)
    first = pool.take()
    assert pool.take_free() is None
    got = []
    waiter = threading.Thread(target=lambda: got.append(pool.take()))
    waiter.start()
    first.close()
    pool.give_back(first)
    waiter.join()
    assert not got[0].closed
    pool.close()
    assert got[0].closed


def test_a_failed_attempt_to_connect_takes_no_place(box: AdbpgBox) -> None:
    def refuse() -> Any:
        raise Unavailable(f"no server for {os.getpid()}")

    pool = Pool(refuse, "warehouse", 1, "connection_max_active", 0.05)
    for _ in range(3):
        with pytest.raises(Unavailable, match="no server"):
            pool.take()
