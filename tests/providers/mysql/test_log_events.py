"""Events, files and settings that a log may have, as real servers write them; what none of them does is built upon theirs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.providers.mysql.binlog import writer
from tests.providers.mysql.reading import Database, batches, changes, events
from tests.servers import running, start_mariadb, start_mysql56
from tidegate.changes.batch import Chunk, TableEvent
from tidegate.errors import EventRefused
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.providers.mysql.source import MysqlSource
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql

Patch = Callable[[Callable[[bytes], Iterator[bytes]]], None]


@pytest.fixture
def rewritten(monkeypatch: pytest.MonkeyPatch) -> Patch:
    """Have the events of the log rewritten on their way."""
    honest = Dump.events

    def patch(rewrite: Callable[[bytes], Iterator[bytes]]) -> None:
        def rewriting(dump: Dump, file: str, offset: int) -> Iterator[bytes]:
            for event in honest(dump, file, offset):
                yield from rewrite(event)

        monkeypatch.setattr(Dump, "events", rewriting)

    return patch


@pytest.fixture(params=[start_mariadb, start_mysql56], ids=["mariadb", "mysql56"])
def own(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database on a server of one's own."""
    request.getfixturevalue("mariadb" if request.param is start_mariadb else "mysql56")
    with running(request.param) as server:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (k INT PRIMARY KEY)")
        database = Database(server, "shop")
        yield database
        database.close()


def keys(chunks: list[Chunk]) -> list[int]:
    return [event[1] for event in events(chunks)]


def moved(event: bytes, shift: int) -> bytes:
    """The event as if it stood ``shift`` bytes further on in its file."""
    data = bytearray(event[:-4])
    end = struct.unpack_from("<I", data, 13)[0]
    if data[4] == ev.ROTATE and end == 0:
        data[19:27] = (int.from_bytes(data[19:27], "little") + shift).to_bytes(8, "little")
    elif end:
        struct.pack_into("<I", data, 13, (end + shift) & 0xFFFFFFFF)
    return bytes(data) + zlib.crc32(data).to_bytes(4, "little")


@pytest.mark.parametrize("before", [3 << 32, 2**32 - 700], ids=["beyond", "across"])
def test_offsets_past_4_gib_are_told_from_their_low_half(db: Database, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    """Headers have 32 bits of an event's end. So has the command: from beyond, the server sends the file from its start."""
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source, table, honest = db.source(), db.table("t"), Dump.events
    begin = source.head()
    db.execute(*(f"INSERT INTO t VALUES ({key})" for key in range(9)))
    head = source.head()
    (plain,) = source.read(Window({table: begin}, head), Limits())
    shift = before - begin.offset

    def further(dump: Dump, file: str, offset: int) -> Iterator[bytes]:
        for event in honest(dump, file, offset - shift if offset < 1 << 32 else offset):
            yield moved(event, shift)

    monkeypatch.setattr(Dump, "events", further)
    monkeypatch.setattr(MysqlSource, "current", lambda source, position, table: position)
    low, high = replace(begin, offset=before), replace(head, offset=head.offset + shift)
    chunks = list(source.read(Window({table: low}, high), Limits(rows=1)))
    assert keys(chunks) == keys([plain])
    assert chunks[-1].end == high
    offsets = [offset for batch in batches(chunks) for offset in batch.data.column("__tidegate_offset").to_pylist()]
    assert [offset - shift for offset in offsets] == plain.batches[0].data.column("__tidegate_offset").to_pylist()
    assert offsets[-1] > 1 << 32


def begin_999999(db: Database) -> None:
    """Have the server go on with the file of that number."""
    if db.source().head().server.startswith("mariadb-"):
        db.server.execute("RESET MASTER TO 999999")
        return
    db.server.kill()
    data = db.server.folder / "data"
    newest = max(data.glob("binlog.0*"))
    newest.rename(data / "binlog.999998")
    (data / "binlog.index").write_text("./binlog.999998\n")
    db.server.restart()


def test_after_file_999999_comes_file_1000000(own: Database) -> None:
    begin_999999(own)
    source, table = own.source(), own.table("t")
    begin = source.head()
    own.execute("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")
    head = source.head()
    assert (begin.file, head.file) == ("binlog.999999", "binlog.1000000")
    assert begin.compare(head) == "before"
    assert source.preflight({table: begin}).problems == ()
    chunks = list(source.read(Window({table: begin}, head), Limits(rows=1)))
    assert keys(chunks) == [1, 2]
    assert chunks[-1].end == head


def test_checksums_that_come_and_go_with_the_files(own: Database) -> None:
    """Whatever they are at the time of reading."""
    source, table = own.source(), own.table("t")
    begin = source.head()
    own.execute("INSERT INTO t VALUES (1)", "SET GLOBAL binlog_checksum = NONE", "INSERT INTO t VALUES (2)")
    without = source.head()
    assert keys(changes(source, {table: begin})) == [1, 2]
    own.execute("SET GLOBAL binlog_checksum = CRC32", "INSERT INTO t VALUES (3)")
    assert keys(changes(source, {table: begin})) == [1, 2, 3]
    assert keys(changes(source, {table: without})) == [3]


def test_an_incident_stops_the_run(db: Database, rewritten: Patch) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1)")

    def lost_events(event: bytes) -> Iterator[bytes]:
        if event[4] == ev.TABLE_MAP:
            yield writer.event(26, b"\x01\x00\x00", end=ev.HEADER.unpack_from(event)[4])
        yield event

    rewritten(lost_events)
    with pytest.raises(EventRefused, match=r"INCIDENT_EVENT.*copy the tables again"):
        changes(source, {db.table("t"): begin})


def test_a_file_that_ends_inside_a_transaction_stops_the_run(db: Database, rewritten: Patch) -> None:
    """As a server leaves it that died while it wrote: what it had not committed it rolled back when it came up."""
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")

    def died(event: bytes) -> Iterator[bytes]:
        if event[4] != ev.XID:
            yield event

    rewritten(died)
    with pytest.raises(EventRefused, match=r"ends inside a transaction.*copy the tables again"):
        changes(source, {db.table("t"): begin})


@pytest.mark.parametrize("kind", [27, 41, 28, 29, 36, 37, 160, 161])
def test_events_that_change_nothing_are_passed_over(db: Database, rewritten: Patch, kind: int) -> None:
    """Heartbeats, which have the position of the log's end and stand nowhere; annotations; what replication groups write."""
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    head = source.head()

    def beating(event: bytes) -> Iterator[bytes]:
        heartbeat = kind in (27, 41)
        if heartbeat or event[4] == ev.TABLE_MAP:
            end = head.offset if heartbeat else ev.HEADER.unpack_from(event)[4] - len(event)
            more = writer.event(kind, b"binlog.000001", end=end)
            # A server sends none before the format description.
            yield from (event, more) if event[4] == ev.FORMAT else (more, event) if event[4] != ev.ROTATE else (event,)
        else:
            yield event

    rewritten(beating)
    chunks = list(source.read(Window({db.table("t"): begin}, head), Limits(rows=1)))
    assert keys(chunks) == [1, 2]
    assert chunks[-1].end == head


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_images_that_a_session_makes_smaller_are_refused_when_they_come(db: Database, image: str) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT, b TEXT)", "INSERT INTO t VALUES (1, 1, 'x')")
    source = db.source()
    begin = source.head()
    db.execute(f"SET SESSION binlog_row_image = {image}", "UPDATE t SET v = 2 WHERE k = 1")
    with pytest.raises(EventRefused, match="leaves columns out") as caught:
        changes(source, {db.table("t"): begin})
    assert caught.value.setting == "binlog_row_image=FULL, in every session"


def test_statements_that_a_session_writes_as_text_are_refused_and_those_written_as_rows_read(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(36))")
    source, table = db.source(), db.table("t")
    begin = source.head()
    db.execute("SET SESSION binlog_format = MIXED", "INSERT INTO t VALUES (1, UUID())")
    head = source.head()
    assert keys(changes(source, {table: begin})) == [1]
    db.execute("SET SESSION binlog_format = MIXED", "INSERT INTO t VALUES (2, 'x')")
    (event,) = [part for chunk in changes(source, {table: head}) for part in chunk.parts if isinstance(part, TableEvent)]
    assert (event.kind, "binlog_format=ROW" in event.what) == ("broken", True)


def run(db: Database, *statements: str) -> None:
    """On one connection, without autocommit."""
    connection = db.server.connect(database=db.name, autocommit=False)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def test_a_rollback_beside_a_table_without_transactions_leaves_nothing_of_the_others(maria: Database) -> None:
    """Rows of the table without transactions are written at once, in a transaction of their own. MySQL with GTIDs forbids it."""
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY)", "CREATE TABLE plain (k INT PRIMARY KEY) ENGINE=MyISAM")
    source, one, two = maria.source(), maria.table("t"), maria.table("plain")
    begin = source.head()
    run(maria, "INSERT INTO t VALUES (1)", "INSERT INTO plain VALUES (1)", "ROLLBACK", "INSERT INTO t VALUES (2)", "COMMIT")
    chunks = changes(source, {one: begin, two: begin})
    assert [event[:2] for event in events(chunks, one)] == [("+I", 2)]
    assert [event[:2] for event in events(chunks, two)] == [("+I", 1)]


def test_rows_that_the_log_takes_back_stop_the_run(db: Database, rewritten: Patch) -> None:
    """As logs of statements do: the commit is rewritten to a rollback."""
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1)")

    def rolled_back(event: bytes) -> Iterator[bytes]:
        if event[4] == ev.XID:
            body = struct.pack("<IIBHH", 1, 0, 0, 0, 0) + b"\0" + b"ROLLBACK"
            yield writer.event(ev.QUERY, body, end=ev.HEADER.unpack_from(event)[4])
        else:
            yield event

    rewritten(rolled_back)
    with pytest.raises(EventRefused, match="rolled back"):
        changes(source, {db.table("t"): begin})


def test_an_xa_transaction_that_ends_in_a_later_window(maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY)", "CREATE TABLE other (k INT PRIMARY KEY)")
    source, table = maria.source(), maria.table("t")
    begin = source.head()
    maria.execute("XA START 'a'", "INSERT INTO other VALUES (1)", "XA END 'a'", "XA PREPARE 'a'")
    prepared = source.head()
    assert keys(changes(source, {table: begin})) == []
    maria.execute("XA COMMIT 'a'", "INSERT INTO t VALUES (1)")
    assert keys(changes(source, {table: prepared})) == [1]
    assert keys(changes(source, {table: begin})) == [1]
    maria.execute("XA START 'b'", "INSERT INTO other VALUES (2)", "XA END 'b'", "XA PREPARE 'b'")
    prepared = source.head()
    maria.execute("XA ROLLBACK 'b'", "INSERT INTO t VALUES (2)")
    assert keys(changes(source, {table: prepared})) == [2]


def test_xa_transactions_of_mysql_56_are_in_the_log_once_they_are_committed(old: Database) -> None:
    old.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source, table = old.source(), old.table("t")
    begin = source.head()
    old.execute("XA START 'a'", "INSERT INTO t VALUES (1)", "XA END 'a'", "XA PREPARE 'a'", "XA ROLLBACK 'a'")
    old.execute("XA START 'b'", "INSERT INTO t VALUES (2)", "XA END 'b'", "XA PREPARE 'b'", "XA COMMIT 'b'")
    assert keys(changes(source, {table: begin})) == [2]
