"""TRANSACTION_PAYLOAD_EVENT: a whole transaction in one event, as MySQL 8.0.20 writes it with binlog_transaction_compression=ON.

Layout: ``Transaction_payload`` in ``libs/mysql/binlog/event/codecs/binary.h``. The body begins with fields of type, length and
value, all of them length-encoded integers, up to the type 0; the rest is the events, one after the other, without checksums.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pyarrow as pa

from tidegate.providers.mysql.binlog.events import HEADER, HEADER_SIZE
from tidegate.providers.mysql.binlog.wire import length_encoded

_END, _SIZE, _COMPRESSION, _INFLATED = range(4)
_ZSTD, _NONE = 0, 255
_READ = 1 << 20
"""Bytes inflated at once. An event larger than this is held whole, as it would be outside of a payload."""
_MOST = 1 << 32


def inner_events(event: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """The events in a payload event that ends (without checksum) at ``end``, each with where it begins among them.

    Inflated as they are asked for: what a payload holds may be far larger than memory. ValueError for one that can't be read, and
    for one that holds 4 GiB: rows are numbered within it by 32 bits.
    """
    fields, pos = _fields(event, end)
    if fields.get(_SIZE, end - pos) != end - pos:
        raise ValueError(f"a payload of {fields[_SIZE]} bytes in {end - pos}")
    data = pa.py_buffer(memoryview(event)[pos:end])
    compression = fields.get(_COMPRESSION, _ZSTD)
    if compression not in (_ZSTD, _NONE):
        raise ValueError(f"compression {compression}")
    source = pa.BufferReader(data)
    try:
        size = yield from _split(pa.CompressedInputStream(source, "zstd") if compression == _ZSTD else source)
    except (pa.ArrowException, OSError) as error:
        raise ValueError("its compressed bytes can't be inflated") from error
    if fields.get(_INFLATED, size) != size:
        raise ValueError(f"{size} bytes inflated, not {fields[_INFLATED]}")


def _fields(event: bytes, end: int) -> tuple[dict[int, int], int]:
    """The numbers by their types, and where the payload begins. Types that aren't known are passed over, as their lengths allow."""
    fields: dict[int, int] = {}
    pos = HEADER_SIZE
    while pos < end:
        kind, pos = length_encoded(event, pos)
        if kind == _END:
            return fields, pos
        size, pos = length_encoded(event, pos)
        if kind in (_SIZE, _COMPRESSION, _INFLATED):
            fields[kind], _ = length_encoded(event, pos)
        pos += size
    raise ValueError("its fields have no end")


def _split(stream: Any) -> Generator[tuple[int, bytes], None, int]:
    """The events of a stream, and in the end the number of its bytes."""
    begin, held = 0, bytearray()
    while piece := stream.read(_READ):
        held += piece
        pos = 0
        while len(held) - pos >= HEADER_SIZE:
            size = HEADER.unpack_from(held, pos)[3]
            if size < HEADER_SIZE:
                raise ValueError(f"an event of {size} bytes")
            if begin + size > _MOST:
                raise ValueError("it holds more than 4 GiB")
            if len(held) - pos < size:
                break
            yield begin, bytes(held[pos : pos + size])
            pos += size
            begin += size
        del held[:pos]
    if held:
        raise ValueError("its last event is cut off")
    return begin
