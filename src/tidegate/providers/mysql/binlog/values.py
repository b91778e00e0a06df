"""Values of row events: how many bytes each physical column's take, and what makes an Arrow column of them.

A whole column is decoded at once: its integers are gathered from their places, and worked on as numpy arrays; its texts are copied
by Arrow. Formats: MySQL's ``Field::unpack`` and ``my_time.cc``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.providers.mysql import dates
from tidegate.providers.mysql.binlog import tablemap as wire
from tidegate.providers.mysql.binlog.decimals import decimal_array
from tidegate.providers.mysql.binlog.gather import Cells, Ints
from tidegate.providers.mysql.binlog.json_binary import json_text
from tidegate.providers.mysql.binlog.tablemap import WireColumn
from tidegate.providers.mysql.charsets import UTF8, Charsets
from tidegate.providers.mysql.columns import ewkb, of_numbers
from tidegate.providers.mysql.policy import Zero
from tidegate.providers.mysql.types import BINARIES, GEOMETRIES, MySqlColumn

Decode = Callable[[Cells], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A physical column. A value takes ``width`` bytes; or, if ``prefix`` isn't 0, its size in that many bytes, and then the value.

    ``decode`` makes the canonical array. It raises ValueError or IndexError (Arrow's errors are among them) for what is no value
    of the column.
    """

    width: int
    prefix: int
    decode: Decode


def field(physical: WireColumn, column: MySqlColumn, charsets: Charsets) -> Field | None:
    """How the column's values are read; None for a type that tidegate doesn't know."""
    code = physical.code
    if code in _NUMBERS:
        dtype = _NUMBERS[code]
        if column.unsigned:
            dtype = dtype.replace("i", "u")
        width = np.dtype(dtype).itemsize
        if pa.types.is_boolean(column.column.type):
            return Field(width, 0, lambda cells: of_numbers(column, cells.array(cells.values(dtype))))
        return Field(width, 0, lambda cells: cells.array(cells.values(dtype)))
    if code == wire.INT24:
        return Field(3, 0, _medium(unsigned=column.unsigned))
    if code == wire.NEWDECIMAL:
        width, decode = decimal_array(physical.meta >> 8, physical.meta & 0xFF, column.column.type)
        return Field(width, 0, decode)
    if code == wire.BIT:
        octets = (physical.meta + 7) // 8
        return Field(octets, 0, lambda cells: cells.array(cells.big(octets)))
    if code == wire.YEAR:
        return Field(1, 0, _year)
    if code in (wire.ENUM, wire.SET):
        decode = _enum(column.labels, physical.size) if code == wire.ENUM else _set(column.labels, physical.size)
        return Field(physical.size, 0, decode)
    if code in (wire.VARCHAR, wire.VAR_STRING, wire.STRING):
        return Field(0, 2 if physical.size > 255 else 1, _octets(physical, column, charsets))
    if code in (wire.BLOB, wire.JSON, wire.GEOMETRY):
        return Field(0, physical.meta, _octets(physical, column, charsets))
    return _temporal(physical, column.zero)


_NUMBERS = {wire.TINY: "i1", wire.SHORT: "<i2", wire.LONG: "<i4", wire.LONGLONG: "<i8", wire.FLOAT: "<f4", wire.DOUBLE: "<f8"}


def _medium(*, unsigned: bool) -> Decode:
    def decode(cells: Cells) -> Any:
        found = cells.little(3)
        return cells.array(found.astype(np.uint32) if unsigned else (found - ((found & 0x800000) << 1)).astype(np.int32))

    return decode


def _year(cells: Cells) -> Any:
    found = cells.little(1)
    return cells.array(np.where(found == 0, 0, found + 1900).astype(np.int16))


def _enum(labels: Sequence[str], width: int) -> Decode:
    # 0 is what the server stores for a value that is none of the labels.
    known = pa.array(("", *labels), pa.string())
    return lambda cells: known.take(cells.array(cells.little(width)))


def _set(labels: Sequence[str], width: int) -> Decode:
    def text(mask: int) -> str:
        if mask >> len(labels):
            raise IndexError("a member that the set doesn't have")
        return ",".join(label for place, label in enumerate(labels) if mask >> place & 1)

    def decode(cells: Cells) -> Any:
        masks, places = np.unique(cells.little(width).view(np.uint64), return_inverse=True)
        known = pa.array([text(int(mask)) for mask in masks], pa.string())
        return known.take(cells.array(places.astype(np.int32)))

    return decode


def _octets(physical: WireColumn, column: MySqlColumn, charsets: Charsets) -> Decode:
    """What is stored as bytes of any number."""
    if column.data_type in GEOMETRIES:
        return lambda cells: _each(cells, ewkb, pa.binary())
    if physical.code == wire.JSON:
        return lambda cells: _each(cells, json_text, pa.string())
    if column.data_type == "binary":
        return _padded(column.length)
    if column.data_type in BINARIES:
        return Cells.slices
    charset = column.charset or "utf8mb4"
    if charset in UTF8:
        return lambda cells: cells.slices().cast(pa.string())
    convert = charsets.texts(charset)
    return lambda cells: convert(cells.slices().to_pylist())


def _each(cells: Cells, convert: Callable[[bytes], Any], kind: Any) -> Any:
    return pa.array([None if value is None else convert(value) for value in cells.slices().to_pylist()], kind)


def _padded(length: int) -> Decode:
    """BINARY(n): the log leaves out zeros at the end."""
    zeros = pa.array([b"\0" * count for count in range(length + 1)], pa.binary())

    def decode(cells: Cells) -> Any:
        missing = length - cells.sizes
        return pc.binary_join_element_wise(cells.slices(), zeros.take(pa.array(missing)), pa.scalar(b"", pa.binary()))

    return decode


def _temporal(physical: WireColumn, zero: Zero) -> Field | None:
    code, fsp = physical.code, physical.meta
    # Bytes of a fraction, and the microseconds that one of it stands for.
    fraction, unit = ((0, 0), (1, 10_000), (2, 100), (3, 1))[(fsp + 1) // 2] if code in _WITH_FRACTION else (0, 0)
    match code:
        case wire.DATE | wire.NEWDATE:
            return Field(3, 0, lambda cells: dates.dates_of_packed(cells.array(cells.little(3)), zero))
        case wire.DATETIME2:
            return Field(5 + fraction, 0, lambda cells: dates.datetimes_of_packed(_packed(cells, 5, fraction, unit), zero))
        case wire.TIME2:
            return Field(3 + fraction, 0, lambda cells: dates.times_of_packed(_packed(cells, 3, fraction, unit)))
        case wire.TIMESTAMP2:
            return Field(4 + fraction, 0, lambda cells: dates.instants(_instants(cells, fraction, unit), zero))
        # The others are from before MySQL 5.6.
        case wire.TIMESTAMP:
            return Field(4, 0, lambda cells: dates.instants(cells.array(cells.little(4) * 1_000_000), zero))
        case wire.DATETIME:
            return Field(8, 0, lambda cells: dates.datetimes_of_packed(cells.array(_old_datetime(cells.little(8))), zero))
        case wire.TIME:
            return Field(3, 0, lambda cells: dates.times_of_packed(cells.array(_old_time(cells.little(3)))))
    return None


_WITH_FRACTION = (wire.DATETIME2, wire.TIME2, wire.TIMESTAMP2)


def _packed(cells: Cells, width: int, fraction: int, unit: int) -> Any:
    """DATETIME and TIME: an integer moved into the positive, its fraction of a second with it, as the server packs them in 64 bits.

    A negative time is negative as a whole.
    """
    bits = 8 * fraction
    # In the eighth byte the offset is the sign of 64 bits, which the subtraction turns round.
    offset = np.uint64(1 << (8 * width - 1 + bits))
    moved = (cells.big(width + fraction) - offset).view(np.int64)
    if cells.nulls is not None:
        moved[cells.nulls] = 0
    size = np.abs(moved)
    value = ((size >> bits) << 24) + (size & ((1 << bits) - 1)) * unit
    return cells.array(np.where(moved < 0, -value, value))


def _instants(cells: Cells, fraction: int, unit: int) -> Any:
    """TIMESTAMP in microseconds."""
    micros = cells.big(4).astype(np.int64) * 1_000_000
    if fraction:
        micros += cells.big(fraction, 4).astype(np.int64) * unit
    return cells.array(micros)


def _old_datetime(found: Ints) -> Ints:
    """YYYYMMDDHHMMSS as a number."""
    date, clock = found // 1_000_000, found % 1_000_000
    year, month, day = date // 10_000, date // 100 % 100, date % 100
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    return (((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second) << 24


def _old_time(found: Ints) -> Ints:
    """[-]HHMMSS as a number."""
    value = found - ((found & 0x800000) << 1)
    size = np.abs(value)
    packed: Ints = (size // 10_000 << 12 | size // 100 % 100 << 6 | size % 100) << 24
    return np.where(value < 0, -packed, packed)
