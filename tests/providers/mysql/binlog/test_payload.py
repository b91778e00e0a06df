"""Compressed transactions of MySQL 8. No server here writes them: the bytes are built by a test writer from the documented format,
over events that MariaDB and MySQL 5.6 wrote."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.mysql.binlog import writer
from tests.providers.mysql.reading import Database, batches, changes, events
from tidegate.errors import EventRefused
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog import payload
from tidegate.providers.mysql.binlog.payload import inner_events
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.sync.protocols import Limits, Window

inner = st.lists(st.binary(max_size=300).map(lambda body: writer.event(ev.XID, body, checksum=False)), max_size=20)


def opened(body: bytes) -> list[tuple[int, bytes]]:
    event = writer.event(ev.TRANSACTION_PAYLOAD, body)
    return list(inner_events(event, len(event) - 4))


@given(inner, st.booleans(), st.integers(1, 400))
def test_the_events_come_out_as_they_went_in_whatever_is_inflated_at_once(held: list[bytes], compress: bool, read: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payload, "_READ", read)
        found = opened(writer.payload_body(b"".join(held), compress=compress))
    assert [event for _, event in found] == held
    assert [begin for begin, _ in found] == [sum(map(len, held[:place])) for place in range(len(held))]


def test_fields_that_are_not_known_are_passed_over() -> None:
    event = writer.event(ev.XID, b"12345678", checksum=False)
    assert opened(writer.payload_body(event, more={9: b"whatever"})) == [(0, event)]


EVENT = writer.event(ev.XID, b"12345678", checksum=False)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (writer.payload_body(EVENT, more={2: writer.packed(7)}), "compression 7"),
        (writer.payload_body(EVENT, more={1: writer.packed(5)}), "a payload of 5 bytes"),
        (writer.payload_body(EVENT, more={3: writer.packed(5)}), "27 bytes inflated, not 5"),
        (writer.payload_body(EVENT[:-1], compress=False), "cut off"),
        (writer.payload_body(EVENT[:9] + bytes(18), compress=False), "an event of 0 bytes"),
        (writer.payload_body(EVENT[:9] + b"\xff" * 4 + EVENT[13:] * 2, compress=False), "cut off"),
        (writer.payload_body(EVENT + EVENT[:9] + b"\xff" * 4 + EVENT[13:], compress=False), "4 GiB"),
        (writer.payload_body(EVENT, compress=False, more={2: writer.packed(0)}), "inflated"),
        (b"\x01", "list index|index out of range|no end"),
    ],
)
def test_a_payload_that_can_not_be_read_says_why(body: bytes, said: str) -> None:
    with pytest.raises((ValueError, IndexError), match=said):
        opened(body)


def test_a_payload_far_larger_than_memory_is_inflated_as_it_is_asked_for() -> None:
    """512 MiB of events in some 50 KB; no more than a few MB of them are there at once."""
    one = writer.event(ev.XID, bytes(1 << 20), checksum=False)
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        for _ in range(512):
            stream.write(one)
    body = writer.packed(2) + b"\x01\x00" + writer.packed(0) + out.getvalue().to_pybytes()
    event = writer.event(ev.TRANSACTION_PAYLOAD, body, checksum=False)
    tracemalloc.start()
    try:
        count = sum(1 for _ in inner_events(event, len(event)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 512
    assert most < 32 << 20


def repacked(compress: bool) -> Callable[[Dump, str, int], Iterator[bytes]]:
    """The log with every transaction of rows in a payload event of its own, which ends where the transaction does."""
    honest = Dump.events

    def packing(dump: Dump, file: str, offset: int) -> Iterator[bytes]:
        held: list[bytes] = []
        for event in honest(dump, file, offset):
            kind = event[4]
            begins = (kind == ev.QUERY and b"BEGIN" in event) or (kind == ev.TABLE_MAP and not held)
            if not held and not begins:
                yield event
                continue
            held.append(event)
            if kind == ev.XID:
                yield writer.payload(held, compress=compress)
                held = []
        yield from held

    return packing


@pytest.mark.mysql
@pytest.mark.parametrize("compress", [True, False], ids=["zstd", "none"])
def test_transactions_in_payloads_give_the_same_changes(db: Database, monkeypatch: pytest.MonkeyPatch, compress: bool) -> None:
    one, two = db.table("one"), db.table("two")
    db.execute(*(f"CREATE TABLE {name} (k INT PRIMARY KEY, v TEXT)" for name in ("one", "two", "other")))
    source = db.source()
    begin = source.head()
    connection = db.server.connect(database=db.name, autocommit=False)
    with connection.cursor() as cursor:
        for place in range(0, 40, 10):
            for name in ("one", "two", "one", "other"):
                values = ", ".join(f"({k}, REPEAT('{k}', 3000))" for k in range(place, place + 5 if name == "one" else place + 3))
                cursor.execute(f"REPLACE INTO {name} VALUES {values}")
            cursor.execute("UPDATE one SET k = -k WHERE k = %s", (place + 1,))
            cursor.execute("DELETE FROM two WHERE k = %s", (place,))
            connection.commit()
    connection.close()
    db.execute("FLUSH BINARY LOGS", "INSERT INTO two VALUES (100, 'x')")
    window = Window({one: begin, two: begin}, source.head())
    plain = list(source.read(window, Limits(rows=10)))
    monkeypatch.setattr(Dump, "events", repacked(compress))
    packed = list(source.read(window, Limits(rows=10)))
    assert [chunk.end for chunk in packed] == [chunk.end for chunk in plain]
    for table in (one, two):
        assert events(packed, table) == events(plain, table)
    # Small chunks, one that ends in the middle of a transaction among them, don't change where a row says that it stands.
    many = list(source.read(window, Limits(rows=1)))
    assert sum(chunk.end is None for chunk in many) > 0
    assert places(many) == places(packed)
    assert len(set(places(packed))) == len(places(packed)) == sum(chunk.num_rows for chunk in plain)


def places(chunks: Any) -> list[tuple[str, int, int]]:
    """File, offset and row of all rows, whatever their table."""
    found: list[tuple[str, int, int]] = []
    for batch in batches(chunks):
        names = ("__tidegate_file", "__tidegate_offset", "__tidegate_row")
        found += zip(*(batch.data.column(name).to_pylist() for name in names), strict=True)
    return sorted(found)


@pytest.mark.mysql
@pytest.mark.parametrize("kind", [ev.FORMAT, ev.TRANSACTION_PAYLOAD, 39, 99])
def test_what_may_not_stand_in_a_payload_is_refused(db: Database, monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source, honest = db.source(), Dump.events
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1)")

    def strange(dump: Dump, file: str, offset: int) -> Iterator[bytes]:
        for event in honest(dump, file, offset):
            yield writer.payload([writer.event(kind, bytes(8)), event]) if event[4] == ev.XID else event

    monkeypatch.setattr(Dump, "events", strange)
    with pytest.raises(EventRefused) as caught:
        changes(source, {db.table("t"): begin})
    assert caught.value.position is not None
    assert caught.value.position.startswith(begin.file)
