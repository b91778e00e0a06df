"""Bytes of binlog events that no server here writes, built from the documented formats: MySQL 8's payloads and tagged GTIDs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from tidegate.providers.mysql.binlog import events as ev


def event(
    kind: int, body: bytes, *, end: int = 0, seconds: int = 1_700_000_000, server_id: int = 1, flags: int = 0, checksum: bool = True
) -> bytes:
    """An event whose header says that it ends at ``end``; 0 is what the server makes up."""
    size = ev.HEADER_SIZE + len(body) + 4 * checksum
    data = ev.HEADER.pack(seconds, kind, server_id, size, end & 0xFFFFFFFF, flags) + body
    return data + zlib.crc32(data).to_bytes(4, "little") if checksum else data


def packed(value: int) -> bytes:
    """A length-encoded integer."""
    if value < 251:
        return bytes((value,))
    for lead, width in ((252, 2), (253, 3), (254, 8)):
        if value < 1 << 8 * width:
            return bytes((lead,)) + value.to_bytes(width, "little")
    raise ValueError(value)


def payload_body(data: bytes, *, compress: bool = True, more: Mapping[int, bytes] | None = None) -> bytes:
    """The body of a payload event over the bytes of its events; ``more`` are fields that replace those, or come on top."""
    inner = pa.Codec("zstd").compress(data, asbytes=True) if compress else data
    fields = {1: packed(len(inner)), 2: packed(0 if compress else 255), 3: packed(len(data))} | dict(more or {})
    return b"".join(packed(kind) + packed(len(value)) + value for kind, value in fields.items()) + packed(0) + inner


def bare(event: bytes) -> bytes:
    """An event with checksum as it stands within a payload: without, and its size for its position."""
    data = bytearray(event[:-4])
    data[9:17] = struct.pack("<II", len(data), len(data))
    return bytes(data)


def payload(events: Sequence[bytes], *, compress: bool = True) -> bytes:
    """A payload event over events as the server wrote them (with checksums), which ends where the last of them does."""
    end = ev.HEADER.unpack_from(events[-1])[4]
    return event(ev.TRANSACTION_PAYLOAD, payload_body(b"".join(map(bare, events)), compress=compress), end=end)


def rotate(file: str, offset: int = 4) -> bytes:
    """What the server makes up when a dump begins, and where it goes on with the next file."""
    return event(ev.ROTATE, offset.to_bytes(8, "little") + file.encode())


def varint(value: int) -> bytes:
    """An unsigned integer of MySQL's serialization library."""
    for more in range(8):
        if value < 1 << 7 * (more + 1):
            return (value << (more + 1) | (1 << more) - 1).to_bytes(more + 1, "little")
    return b"\xff" + value.to_bytes(8, "little")


def tagged_gtid(uuid: bytes, number: int, tag: str, *, end: int = 0) -> bytes:
    """A GTID_TAGGED_LOG_EVENT: flags, UUID byte by byte, number, tag, then the two logical clocks and a time."""
    fields = [varint(1), b"".join(map(varint, uuid)), varint(number << 1), varint(len(tag)) + tag.encode()]
    fields += [varint(7 << 1), varint(8 << 1), varint(1_700_000_000_000_000)]
    body = b"".join(varint(name) + field for name, field in enumerate(fields))
    return event(ev.GTID_TAGGED, varint(1) + varint(len(body) + 3) + varint(len(fields)) + body, end=end)


def previous_gtids(sets: Iterable[tuple[bytes, str, Sequence[tuple[int, int]]]], *, tagged: bool) -> bytes:
    """A PREVIOUS_GTIDS event of (UUID, tag, intervals)."""
    parts = []
    for uuid, tag, intervals in sets:
        part = uuid + (varint(len(tag)) + tag.encode() if tagged else b"") + struct.pack("<Q", len(intervals))
        parts.append(part + b"".join(struct.pack("<QQ", first, last + 1) for first, last in intervals))
    count = len(parts) << 8 | 1 << 56 | 1 if tagged else len(parts)
    return event(ev.PREVIOUS_GTIDS, struct.pack("<Q", count) + b"".join(parts), end=200)
