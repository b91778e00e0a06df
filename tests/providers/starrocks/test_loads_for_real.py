"""Loads into the sandbox (or a real cluster): what is in the table after each fault is what the client says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.providers.starrocks.test_streamload import Clock
from tests.servers import StarrocksServer
from tidegate.changes.schema import TableName
from tidegate.errors import LoadUnresolved, PreflightError, RowRefused, SchemaError, Unavailable
from tidegate.providers.starrocks.connection import SYSTEM
from tidegate.providers.starrocks.http import Http
from tidegate.providers.starrocks.streamload import StreamLoad
from tidegate.sandbox.starrocks.server import StarrocksSandbox

JSON = {"format": "json", "strip_outer_array": "true"}


@pytest.fixture
def server(starrocks_database: StarrocksServer) -> StarrocksServer:
    """A database with two tables that keep whatever is loaded twice."""
    for table in ("events", "others"):
        starrocks_database.execute(
            f"CREATE TABLE {table} (id INT NOT NULL, name VARCHAR(10)) DUPLICATE KEY(id) DISTRIBUTED BY HASH(id) BUCKETS 1 "
            'PROPERTIES ("replication_num" = "1")'
        )
    return starrocks_database


@pytest.fixture
def client(server: StarrocksServer) -> StreamLoad:
    return opened(server)


def opened(server: StarrocksServer, pause: Callable[[float], None] | None = None, **more: Any) -> StreamLoad:
    fields = SYSTEM.values(server.values(**more), "sr")
    return StreamLoad(Http(fields, "sr"), fields, "sr", *([pause] if pause else []))


def rows(*ids: int) -> list[bytes]:
    return [json.dumps([{"id": number, "name": f"n{number}"} for number in ids]).encode()]


def events(server: StarrocksServer, table: str = "events") -> list[int]:
    return [number for (number,) in server.query(f"SELECT id FROM {table} ORDER BY id")]


@pytest.fixture
def table(server: StarrocksServer) -> TableName:
    return TableName(server.database, "events")


def test_a_label_loads_once(server: StarrocksServer, client: StreamLoad, table: TableName) -> None:
    label = f"{server.database}-a"
    first = client.load(label, table, JSON, rows(1, 2))
    again = client.load(label, table, JSON, rows(1, 2))
    assert (first.loaded_rows, first.settled, again.settled) == (2, False, True)
    assert client.state(server.database, label) == "VISIBLE"
    assert events(server) == [1, 2]


def test_csv_in_pieces_is_one_load(server: StarrocksServer, client: StreamLoad, table: TableName) -> None:
    piece = b"".join(b"%d\t%s\n" % (number, b"n" * 10) for number in range(10_000))
    reply = client.load(f"{server.database}-a", table, {"format": "csv"}, [piece] * 10)
    assert (reply.loaded_rows, reply.load_bytes) == (100_000, 10 * len(piece))
    assert server.query("SELECT count(*) FROM events") == [(100_000,)]


@pytest.mark.parametrize("fault", ["lost_reply", "publish_timeout"])
def test_what_the_server_has_taken_is_success(server: StarrocksServer, client: StreamLoad, table: TableName, fault: str) -> None:
    server.fault(fault, on="stream_load", at="be")
    reply = client.load(f"{server.database}-a", table, JSON, rows(1))
    assert reply.settled == (fault == "lost_reply")
    server.control("POST", "/publish")
    assert events(server) == [1]


@pytest.mark.parametrize("fault", ["dead", "too_many_versions"])
def test_what_the_server_has_not_taken_can_be_sent_again(
    server: StarrocksServer, client: StreamLoad, table: TableName, fault: str
) -> None:
    label = f"{server.database}-a"
    server.fault(fault, on="stream_load", at="be")
    with pytest.raises(Unavailable):
        client.load(label, table, JSON, rows(1))
    assert events(server) == []
    client.load(label, table, JSON, rows(1))
    assert events(server) == [1]


@pytest.mark.parametrize("at", ["fe", "be"])
def test_a_server_that_hangs_up_before_the_rows_is_passed_over(
    server: StarrocksServer, client: StreamLoad, table: TableName, at: str
) -> None:
    server.fault("refuse", on="stream_load", at=at)
    client.load(f"{server.database}-a", table, JSON, rows(1))
    assert events(server) == [1]


def test_refused_rows_come_with_the_servers_reasons(server: StarrocksServer, client: StreamLoad, table: TableName) -> None:
    body = b'[{"id": 1, "name": "ok"}, {"id": null, "name": "geheim"}]'
    with pytest.raises(RowRefused) as caught:
        client.load(f"{server.database}-a", table, JSON, body)
    assert "1 of 2 rows refused" in str(caught.value)
    assert "non-nullable" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert "geheim" in caught.value.rows[0]
    reply = client.load(f"{server.database}-b", table, JSON | {"max_filter_ratio": "0.5"}, body)
    assert (reply.loaded_rows, reply.filtered_rows) == (1, 1)
    assert len(client.rejected(reply)) == 1


def test_a_wrong_password_and_a_table_that_is_not_there(server: StarrocksServer, client: StreamLoad) -> None:
    with pytest.raises(PreflightError, match="login"):
        opened(server, password="wrong").load("l", TableName(server.database, "events"), JSON, rows(1))
    with pytest.raises((SchemaError, Unavailable)):
        client.load(f"{server.database}-a", TableName(server.database, "nowhere"), JSON, rows(1))


def test_a_transaction_is_seen_when_it_is_committed(server: StarrocksServer, client: StreamLoad, table: TableName) -> None:
    label, database = f"{server.database}-t", server.database
    assert client.transactions()
    client.begin(label, database, table.name)
    client.send(label, table, JSON, rows(1))
    client.send(label, table, JSON, rows(2))
    assert client.prepare(label, database, table.name).loaded_rows == 2
    assert client.state(database, label) == "PREPARED"
    assert events(server) == []
    client.commit(label, database, table.name)
    client.commit(label, database, table.name)
    assert events(server) == [1, 2]
    assert client.begin(label, database, table.name).existing_job_status == "FINISHED"
    assert client.rollback(label, database, table.name) in ("VISIBLE", "COMMITTED")


@pytest.mark.parametrize(
    ("step", "fault", "at"),
    [
        ("begin", "lost_reply", "be"),
        ("load", "lost_reply", "be"),
        ("prepare", "lost_reply", "be"),
        ("commit", "lost_reply", "fe"),
        ("rollback", "lost_reply", "be"),
        ("load", "dead", "be"),
        ("prepare", "dead", "be"),
        ("load", "busy", "be"),
        ("prepare", "busy", "be"),
        ("commit", "refuse", "fe"),
    ],
)
def test_a_fault_at_any_step_leaves_the_rows_once_or_not_at_all(
    server: StarrocksServer, table: TableName, step: str, fault: str, at: str
) -> None:
    """As a writer does it: an unresolved load is rolled back, what is unavailable is begun again under the same label."""
    client = opened(server, Clock())
    label, database = f"{server.database}-t", server.database
    server.fault(fault, on=step, at=at)

    def attempt() -> None:
        if client.begin(label, database, table.name).existing_job_status == "FINISHED":
            return
        client.send(label, table, JSON, rows(1, 2))
        client.prepare(label, database, table.name)
        client.commit(label, database, table.name)

    if step == "rollback":
        client.begin(label, database, table.name)
        client.send(label, table, JSON, rows(1, 2))
        assert client.rollback(label, database, table.name) in ("ABORTED", "UNKNOWN")
        assert events(server) == []
    for _ in range(3):
        try:
            attempt()
            break
        except (LoadUnresolved, Unavailable):
            if client.rollback(label, database, table.name) in ("VISIBLE", "COMMITTED"):
                break
    server.control("POST", "/publish")
    assert events(server) == [1, 2]


def test_a_lingering_transaction_is_cancelled(server: StarrocksServer, client: StreamLoad, table: TableName) -> None:
    label, database = f"{server.database}-t", server.database
    client.begin(label, database, table.name)
    assert client.state(database, label) == "PREPARE"
    assert client.cancel(database, label) == "ABORTED"
    client.begin(label, database, table.name)
    assert client.rollback(label, database, table.name) == "ABORTED"


def test_an_empty_transaction_is_not_prepared(server: StarrocksServer, client: StreamLoad, table: TableName) -> None:
    label, database = f"{server.database}-t", server.database
    client.begin(label, database, table.name)
    with pytest.raises(Exception, match="hasn't send any data yet"):
        client.prepare(label, database, table.name)
    client.rollback(label, database, table.name)


@pytest.fixture(scope="module")
def newest() -> Iterator[StarrocksSandbox]:
    with StarrocksSandbox("4.0.1", password="x") as box:
        yield box


def test_a_transaction_over_tables_is_seen_at_once(newest: StarrocksSandbox) -> None:
    server = StarrocksServer.__new__(StarrocksServer)
    server.host, server.port, server.http_port = newest.fe_host, newest.fe_query_port, newest.fe_http_port
    server.user, server.password, server.database, server.control_port = "root", "x", "", 0
    server.execute("CREATE DATABASE multi")
    for table in ("events", "others"):
        server.execute(f"CREATE TABLE multi.{table} (id INT NOT NULL, name VARCHAR(10)) DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)")
    server.database = "multi"
    client = opened(server)
    client.begin("m", "multi", multi=True)
    for table in ("events", "others"):
        client.send("m", TableName("multi", table), JSON, rows(1), multi=True)
    assert (events(server), events(server, "others")) == ([], [])
    client.commit("m", "multi", multi=True)
    assert (events(server), events(server, "others")) == ([1], [1])
    client.begin("n", "multi", multi=True)
    client.send("n", TableName("multi", "events"), JSON, rows(2), multi=True)
    assert client.rollback("n", "multi", multi=True) == "ABORTED"
    assert events(server) == [1]
