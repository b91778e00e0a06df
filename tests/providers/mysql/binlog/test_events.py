"""The closed list of events."""

from __future__ import annotations

import zlib

import pymysqlreplication.constants.BINLOG as others
import pytest

from tidegate.errors import EventRefused, Unavailable
from tidegate.providers.mysql.binlog import events as ev


def test_every_event_that_another_reader_knows_is_on_the_list() -> None:
    known = {value for name, value in vars(others).items() if name.endswith("_EVENT") and isinstance(value, int)}
    assert len(known) > 30
    assert known <= ev.EVENTS.keys()


@pytest.mark.parametrize("kind", [code for code, (_, fate, _) in ev.EVENTS.items() if fate is ev.Fate.REFUSED])
def test_refused_events_give_their_reason(kind: int) -> None:
    name, _, reason = ev.EVENTS[kind]
    with pytest.raises(EventRefused, match=name) as caught:
        ev.fate(kind, "shop_mysql", "binlog.000001:4")
    assert reason in str(caught.value)
    assert caught.value.position == "binlog.000001:4"


@pytest.mark.parametrize("kind", [43, 99, 159, 172, 255])
def test_an_event_that_is_not_on_the_list_is_refused(kind: int) -> None:
    with pytest.raises(EventRefused, match=f"event type {kind}"):
        ev.fate(kind, "shop_mysql", "binlog.000001:4")


def test_events_that_hold_rows_are_applied_whatever_their_version() -> None:
    assert {ev.fate(kind, "c", "p") for kind in ev.ROWS} == {ev.Fate.APPLIED}
    assert len(ev.ROWS) == 12


def test_partial_updates_name_the_setting_to_change() -> None:
    with pytest.raises(EventRefused, match="binlog_row_value_options=''"):
        ev.fate(ev.PARTIAL_UPDATE, "c", "p")


def test_a_checksum_is_that_of_all_bytes_before_it() -> None:
    event = b"x" * 40
    good = event + zlib.crc32(event).to_bytes(4, "little")
    ev.check(good, "c", "p")
    for place in (0, 39, 43):
        bad = bytearray(good)
        bad[place] ^= 1
        with pytest.raises(Unavailable, match="wrong checksum"):
            ev.check(bytes(bad), "c", "p")


def test_the_fingerprint_is_the_same_at_the_start_of_a_file_and_when_a_dump_begins_in_its_middle() -> None:
    def event(seconds: int, end: int, created: int) -> bytes:
        body = (
            b"\4\0" + b"10.11.19-MariaDB".ljust(50, b"\0") + created.to_bytes(4, "little") + b"\x13" + b"\0" * 20 + b"\1" + b"crc."
        )
        return ev.HEADER.pack(seconds, ev.FORMAT, 7, ev.HEADER_SIZE + len(body), end, 0) + body

    real, made_up, other = (
        ev.read_format(event(*numbers)) for numbers in ((1_700_000_000, 256, 5), (1_700_000_000, 0, 0), (9, 256, 5))
    )
    assert real == made_up
    assert real.fingerprint != other.fingerprint
    assert (real.version, real.checksums) == ("10.11.19-MariaDB", True)
