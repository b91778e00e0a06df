"""Events with GTIDs, and the trail they leave. The tagged forms are built by a test writer: no server here writes them."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.mysql.binlog import writer
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.gtid import MariadbGtids, MysqlGtids
from tidegate.providers.mysql.binlog.gtid_events import gtid_list, gtid_of, previous_gtids, trail, varint

uuids = st.binary(min_size=16, max_size=16)
tags = st.from_regex(r"[a-z_][a-z0-9_]{0,31}", fullmatch=True)


def gtid(source: bytes, number: int) -> bytes:
    return writer.event(ev.GTID, b"\x01" + source + number.to_bytes(8, "little") + b"\x02" + bytes(16), end=500)


def mariadb_gtid(domain: int, server: int, sequence: int) -> bytes:
    return writer.event(ev.MARIADB_GTID, struct.pack("<QIB6x", sequence, domain, 0), server_id=server, end=500)


def mariadb_list(entries: Sequence[tuple[int, int, int]]) -> bytes:
    body = struct.pack("<I", len(entries) | 1 << 28) + b"".join(struct.pack("<IIQ", *entry) for entry in entries)
    return writer.event(ev.GTID_LIST, body, end=300)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_integers_of_the_serialization_library(value: int, rest: bytes) -> None:
    data = writer.varint(value)
    assert varint(b"x" + data + rest, 1) == (value, 1 + len(data))


def test_integers_of_the_serialization_library_are_as_its_documentation_shows_them() -> None:
    assert varint(bytes((0b11111011, 0b11111111, 0b00000111)), 0) == (65535, 3)


@given(uuids, st.integers(1, 2**63 - 1), tags | st.just(""))
def test_a_gtid_is_read_plain_and_tagged(source: bytes, number: int, tag: str) -> None:
    name = str(uuid.UUID(bytes=source))
    assert gtid_of(ev.GTID_TAGGED, writer.tagged_gtid(source, number, tag)) == (f"{name}:{tag}" if tag else name, number)
    assert gtid_of(ev.GTID, gtid(source, number)) == (name, number)


@given(st.lists(st.tuples(uuids, tags, st.just([(1, 5), (7, 7)])), max_size=4), st.booleans())
def test_the_gtids_of_earlier_files_are_read_plain_and_tagged(
    sets: list[tuple[bytes, str, Sequence[tuple[int, int]]]], tagged: bool
) -> None:
    expected = MysqlGtids()
    for source, tag, intervals in sets:
        for first, last in intervals:
            expected.add(f"{uuid.UUID(bytes=source)}:{tag}" if tagged else str(uuid.UUID(bytes=source)), first, last)
    assert previous_gtids(writer.previous_gtids(sets, tagged=tagged)) == expected


def test_of_a_domains_servers_in_a_list_the_last_one_counts() -> None:
    assert str(gtid_list(mariadb_list([(0, 2, 9), (0, 1, 45), (5, 3, 1)]))) == "0-1-45,5-3-1"


sources = st.sampled_from([bytes(16), b"\xff" * 16])


@given(st.lists(st.tuples(sources, st.integers(1, 9), st.sampled_from(["", "", "blue"]))), st.integers(0, 9))
def test_the_trail_of_mysql_is_the_set_of_what_passed(passed: list[tuple[bytes, int, str]], asked: int) -> None:
    """However often it is asked for in between."""
    start = f"{uuid.UUID(bytes=bytes(16))}:3"
    expected = MysqlGtids.parse(start)
    found = trail(False, start)
    for place, (source, number, tag) in enumerate(passed):
        if tag:
            found.event(ev.GTID_TAGGED, writer.tagged_gtid(source, number, tag))
        else:
            found.event(ev.GTID, gtid(source, number))
        expected.add(f"{uuid.UUID(bytes=source)}" + (f":{tag}" if tag else ""), number, number)
        if asked and place % asked == 0:
            assert found.text() == str(expected)
    assert found.text() == str(expected)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 99))), st.integers(0, 9))
def test_the_trail_of_mariadb_is_the_last_of_each_domain(passed: list[tuple[int, int, int]], asked: int) -> None:
    expected = {7: (1, 1)}
    found = trail(True, "7-1-1")
    for place, (domain, server, sequence) in enumerate(passed):
        found.event(ev.MARIADB_GTID, mariadb_gtid(domain, server, sequence))
        expected[domain] = (server, sequence)
        if asked and place % asked == 0:
            assert found.text() == str(MariadbGtids(expected))
    assert found.text() == str(MariadbGtids(expected))


def test_a_trail_that_begins_anywhere_is_unknown_until_a_file_begins() -> None:
    mysql, maria = trail(False, ""), trail(True, "")
    mysql.event(ev.GTID, gtid(bytes(16), 5))
    maria.event(ev.MARIADB_GTID, mariadb_gtid(0, 1, 5))
    assert (mysql.text(), maria.text()) == ("", "")
    mysql.event(ev.PREVIOUS_GTIDS, writer.previous_gtids([(bytes(16), "", [(1, 5)])], tagged=False))
    mysql.event(ev.ANONYMOUS_GTID, writer.event(ev.ANONYMOUS_GTID, bytes(25)))
    mysql.event(ev.GTID, gtid(bytes(16), 6))
    maria.event(ev.GTID_LIST, mariadb_list([(0, 1, 5), (3, 1, 2)]))
    maria.event(ev.MARIADB_GTID, mariadb_gtid(0, 1, 6))
    assert mysql.text() == f"{uuid.UUID(int=0)}:1-6"
    assert maria.text() == "0-1-6,3-1-2"


@pytest.mark.parametrize(
    "body", [writer.varint(2) + bytes(20), writer.varint(1) * 3 + writer.varint(9), writer.varint(1) * 3 + writer.varint(0)]
)
def test_a_tagged_gtid_of_an_unknown_form_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        gtid_of(ev.GTID_TAGGED, writer.event(ev.GTID_TAGGED, body, checksum=False))
