"""Single values of row events: a reader per physical column, and what makes an Arrow column of the values it read.

A reader takes the bytes and a place, and gives the value in a raw form and the place after it. The raw forms (packed dates,
decimal digits, bytes) become canonical in bulk. Formats: MySQL's ``Field::unpack`` and ``my_time.cc``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from tidegate.providers.mysql import dates
from tidegate.providers.mysql.binlog import tablemap as wire
from tidegate.providers.mysql.binlog.decimals import decimal_reader
from tidegate.providers.mysql.binlog.json_binary import json_text
from tidegate.providers.mysql.binlog.tablemap import WireColumn
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.columns import ewkb, of_numbers
from tidegate.providers.mysql.policy import Zero
from tidegate.providers.mysql.types import BINARIES, GEOMETRIES, MySqlColumn

Reader = Callable[[bytes, int], tuple[Any, int]]
Finisher = Callable[[Sequence[Any]], Any]

_INTEGER_FORMATS = {wire.TINY: "b", wire.SHORT: "h", wire.LONG: "i", wire.LONGLONG: "q"}


def reader(column: WireColumn, *, unsigned: bool) -> Reader | None:
    """How a value of this column is read; None for a type that tidegate doesn't know."""
    code = column.code
    if code in _INTEGER_FORMATS:
        letter = _INTEGER_FORMATS[code]
        return _struct("<" + (letter.upper() if unsigned else letter))
    if code == wire.INT24:
        return _integer(3, "little", signed=not unsigned)
    if code == wire.FLOAT:
        return _struct("<f")
    if code == wire.DOUBLE:
        return _struct("<d")
    if code == wire.NEWDECIMAL:
        return decimal_reader(column.meta >> 8, column.meta & 0xFF)
    if code == wire.BIT:
        return _integer((column.meta + 7) // 8, "big")
    if code in (wire.DATE, wire.NEWDATE):
        return _integer(3, "little")
    if code == wire.DATETIME2:
        return _with_fraction(5, 1 << 39, column.meta)
    if code == wire.TIMESTAMP2:
        return _timestamp(column.meta)
    if code == wire.TIME2:
        return _time(column.meta)
    if code == wire.YEAR:
        return lambda data, pos: (data[pos] and data[pos] + 1900, pos + 1)
    if code in (wire.VARCHAR, wire.VAR_STRING, wire.STRING):
        return _bytes(2 if column.size > 255 else 1)
    if code in (wire.BLOB, wire.JSON, wire.GEOMETRY):
        return _bytes(column.meta)
    if code in (wire.ENUM, wire.SET):
        return _integer(column.size, "little")
    return _BEFORE_5_6.get(code)


def finisher(column: MySqlColumn, physical: WireColumn, charsets: Charsets) -> Finisher:
    """What makes the column's canonical array of the values that :func:`reader` read."""
    kind = column.column.type
    if column.data_type == "decimal":
        # Arrow reads the digits, whatever the precision; Python's decimals would round by their context.
        return lambda values: pa.array(values, pa.string()).cast(kind)
    if column.data_type in _TEMPORAL:
        convert = _TEMPORAL[column.data_type]
        return lambda values: convert(pa.array(values, pa.int64()), column.zero)
    if column.data_type == "enum":
        labels = ("", *column.labels)
        return lambda values: pa.array([None if value is None else labels[value] for value in values], pa.string())
    if column.data_type == "set":
        return _set_finisher(column.labels)
    if column.data_type in GEOMETRIES:
        return lambda values: pa.array([None if value is None else ewkb(value) for value in values], pa.binary())
    if physical.code == wire.JSON:
        return lambda values: pa.array([None if value is None else json_text(value) for value in values], pa.string())
    if column.data_type == "binary":
        # The log leaves out zeros at the end.
        length = column.length
        return lambda values: pa.array([None if value is None else value.ljust(length, b"\0") for value in values], pa.binary())
    if column.data_type in BINARIES:
        return lambda values: pa.array(values, pa.binary())
    if pa.types.is_string(kind):
        return charsets.texts(column.charset or "utf8mb4")
    if pa.types.is_boolean(kind):
        return lambda values: of_numbers(column, pa.array(values, pa.int64()))
    return lambda values: pa.array(values, kind)


def _set_finisher(labels: Sequence[str]) -> Finisher:
    known: dict[int | None, str | None] = {None: None}

    def text(mask: int) -> str:
        if mask >> len(labels):
            raise IndexError(mask)
        return ",".join(label for place, label in enumerate(labels) if mask >> place & 1)

    def finish(values: Sequence[Any]) -> Any:
        for value in set(values) - known.keys():
            known[value] = text(value)
        return pa.array([known[value] for value in values], pa.string())

    return finish


_TEMPORAL: dict[str, Callable[[Any, Zero], Any]] = {
    "date": dates.dates_of_packed,
    "datetime": dates.datetimes_of_packed,
    "timestamp": dates.instants,
    "time": dates.times_of_packed,
}


def _struct(layout: str) -> Reader:
    form = struct.Struct(layout)
    unpack, size = form.unpack_from, form.size

    def read(data: bytes, pos: int) -> tuple[Any, int]:
        return unpack(data, pos)[0], pos + size

    return read


def _integer(size: int, order: Any, *, signed: bool = False) -> Reader:
    def read(data: bytes, pos: int) -> tuple[int, int]:
        end = pos + size
        return int.from_bytes(data[pos:end], order, signed=signed), end

    return read


def _bytes(width: int) -> Reader:
    def read(data: bytes, pos: int) -> tuple[bytes, int]:
        start = pos + width
        end = start + int.from_bytes(data[pos:start], "little")
        return data[start:end], end

    return read


def _fraction(fsp: int) -> tuple[int, int]:
    """Bytes of a fraction, and the microseconds that one of it stands for."""
    return ((0, 0), (1, 10_000), (2, 100), (3, 1))[(fsp + 1) // 2]


def _with_fraction(size: int, offset: int, fsp: int) -> Reader:
    """An integer, then a fraction of a second, as the server packs them in 64 bits."""
    width, unit = _fraction(fsp)

    def read(data: bytes, pos: int) -> tuple[int, int]:
        middle = pos + size
        end = middle + width
        whole = int.from_bytes(data[pos:middle], "big") - offset
        return (whole << 24) + int.from_bytes(data[middle:end], "big") * unit, end

    return read


def _timestamp(fsp: int) -> Reader:
    width, unit = _fraction(fsp)

    def read(data: bytes, pos: int) -> tuple[int, int]:
        middle = pos + 4
        end = middle + width
        return int.from_bytes(data[pos:middle], "big") * 1_000_000 + int.from_bytes(data[middle:end], "big") * unit, end

    return read


def _time(fsp: int) -> Reader:
    width, unit = _fraction(fsp)
    offset = 1 << (23 + 8 * width)

    def read(data: bytes, pos: int) -> tuple[int, int]:
        end = pos + 3 + width
        packed = int.from_bytes(data[pos:end], "big") - offset
        # A negative time is negative as a whole, its fraction with it.
        size = abs(packed)
        value = ((size >> (8 * width)) << 24) + (size & ((1 << (8 * width)) - 1)) * unit
        return (-value if packed < 0 else value), end

    return read


def _old_datetime(data: bytes, pos: int) -> tuple[int, int]:
    """YYYYMMDDHHMMSS as a number, before MySQL 5.6."""
    date, clock = divmod(int.from_bytes(data[pos : pos + 8], "little"), 1_000_000)
    year, month, day = date // 10_000, date // 100 % 100, date % 100
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    packed = ((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second
    return packed << 24, pos + 8


def _old_timestamp(data: bytes, pos: int) -> tuple[int, int]:
    return int.from_bytes(data[pos : pos + 4], "little") * 1_000_000, pos + 4


def _old_time(data: bytes, pos: int) -> tuple[int, int]:
    """[-]HHMMSS as a number, before MySQL 5.6."""
    value = int.from_bytes(data[pos : pos + 3], "little", signed=True)
    size = abs(value)
    packed = (size // 10_000 << 12 | size // 100 % 100 << 6 | size % 100) << 24
    return (-packed if value < 0 else packed), pos + 3


_BEFORE_5_6: dict[int, Reader] = {wire.DATETIME: _old_datetime, wire.TIMESTAMP: _old_timestamp, wire.TIME: _old_time}
