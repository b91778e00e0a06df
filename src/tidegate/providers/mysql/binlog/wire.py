"""The small encodings of events: length-encoded integers, bits."""

from __future__ import annotations


def length_encoded(data: bytes, pos: int) -> tuple[int, int]:
    """MySQL's length-encoded integer at ``pos``: its value, and where it ends."""
    lead = data[pos]
    if lead < 251:
        return lead, pos + 1
    width = {252: 2, 253: 3, 254: 8}[lead]
    return int.from_bytes(data[pos + 1 : pos + 1 + width], "little"), pos + 1 + width


def bits_msb(data: bytes, count: int) -> list[bool]:
    """``count`` bits, the first in the highest bit of the first byte."""
    return [bool(data[index >> 3] & (0x80 >> (index & 7))) for index in range(count)]
