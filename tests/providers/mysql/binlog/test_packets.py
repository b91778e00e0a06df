"""Packets are taken out of the stream whole, however it is cut."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.providers.mysql.binlog.packets import ServerError, event_blocks

LONGEST = 0xFFFFFF


class Pieces(io.RawIOBase):
    """A socket that delivers bytes in pieces of these sizes, over and over."""

    def __init__(self, data: bytes, sizes: Sequence[int]) -> None:
        self._data, self._pos, self._sizes, self._turn = data, 0, sizes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._sizes[self._turn % len(self._sizes)])
        self._turn += 1
        piece = self._data[self._pos : self._pos + size]
        buffer[: len(piece)] = piece
        self._pos += len(piece)
        return len(piece)


def packed(*contents: bytes) -> bytes:
    found = bytearray()
    for number, content in enumerate(contents):
        at = 0
        while True:
            part = content[at : at + LONGEST]
            found += len(part).to_bytes(3, "little") + bytes((number % 256,)) + part
            at += LONGEST
            if len(part) < LONGEST:
                break
    return bytes(found)


def read(data: bytes, *sizes: int) -> list[bytes]:
    return [event for block in event_blocks(io.BufferedReader(Pieces(data, sizes or (1 << 20,)))) for event in block]


END = b"\xfe\0\0\0\0"


@given(st.lists(st.binary(max_size=60), max_size=20), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_events_are_whole_however_the_stream_is_cut(events: list[bytes], sizes: list[int]) -> None:
    assert read(packed(*(b"\0" + event for event in events), END), *sizes) == events


@pytest.mark.parametrize("size", [262_143, 262_144, 262_145, LONGEST - 2, LONGEST - 1, LONGEST, 2 * LONGEST - 1, 2 * LONGEST + 5])
def test_events_of_more_than_a_packet_are_put_together(size: int) -> None:
    large = bytes(range(251)) * (size // 251 + 1)
    events = [b"before", large[:size], b"after", b"x" * 300_000, b"end"]
    assert read(packed(*(b"\0" + event for event in events), END), 70_001) == events


def test_an_error_packet_ends_the_stream_after_the_events_before_it() -> None:
    blocks = event_blocks(io.BufferedReader(Pieces(packed(b"\0one", b"\xff\x01\x02gone", b"\0two"), (1000,))))
    assert next(blocks) == [b"one"]
    with pytest.raises(ServerError) as caught:
        next(blocks)
    assert caught.value.data == b"\xff\x01\x02gone"


@pytest.mark.parametrize("size", [50, 300_000, LONGEST + 10])
@pytest.mark.parametrize("missing", [1, 3, 40])
def test_a_stream_that_ends_within_a_packet_is_not_the_end_of_the_log(size: int, missing: int) -> None:
    with pytest.raises(EOFError):
        read(packed(b"\0one", b"\0" + b"x" * size)[:-missing])


def test_a_stream_that_ends_between_packets_is_not_the_end_of_the_log() -> None:
    with pytest.raises(EOFError):
        read(packed(b"\0one"))
