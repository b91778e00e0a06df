"""From a column of the server's texts to a canonical Arrow array, in bulk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidegate.providers.mysql import dates
from tidegate.providers.mysql.policy import ValueRefused
from tidegate.providers.mysql.types import BINARIES, GEOMETRIES, MySqlColumn


def from_text(column: MySqlColumn, values: Sequence[bytes | None]) -> Any:
    """What the server sent for ``select.expression(column)`` over the text protocol, as the column's canonical type."""
    return of_binary(column, pa.array(values, pa.binary()))


def of_binary(column: MySqlColumn, raw: Any) -> Any:
    """The same from a binary array."""
    convert = _CONVERTERS.get(column.data_type)
    if convert is not None:
        return convert(column, raw)
    if column.data_type in BINARIES:
        return raw
    if column.data_type in GEOMETRIES:
        return pa.array([None if value is None else ewkb(value) for value in raw.to_pylist()], pa.binary())
    # Numbers and texts: Arrow reads the digits, and checks the UTF-8.
    text = raw.cast(pa.string())
    return of_numbers(column, text.cast(pa.int64())) if pa.types.is_boolean(column.column.type) else text.cast(column.column.type)


def of_numbers(column: MySqlColumn, numbers: Any) -> Any:
    """An array of numbers as the column's canonical type. ValueRefused for a boolean that is neither 0 nor 1."""
    if pa.types.is_boolean(column.column.type):
        strange = pc.fill_null(pc.or_(pc.less(numbers, 0), pc.greater(numbers, 1)), False)
        if pc.any(strange).as_py():
            raise ValueRefused("a number that is no boolean, neither 0 nor 1", pc.index(strange, True).as_py(), "tinyint1=integer")
    return numbers.cast(column.column.type)


def ewkb(value: bytes) -> bytes:
    """MySQL's geometry (SRID, then WKB) as EWKB, which carries an SRID other than 0 in the WKB itself."""
    srid, wkb = value[:4], value[4:]
    if srid == b"\0\0\0\0":
        return wkb
    order = "little" if wkb[0] else "big"
    kind = int.from_bytes(wkb[1:5], order) | 0x20000000  # type: ignore[arg-type]
    number = int.from_bytes(srid, "little")
    return wkb[:1] + kind.to_bytes(4, order) + number.to_bytes(4, order) + wkb[5:]  # type: ignore[arg-type]


def _float(column: MySqlColumn, raw: Any) -> Any:
    # The text is that of the double: read as such and narrowed it is the stored value, read as a float it might be rounded.
    return raw.cast(pa.string()).cast(pa.float64()).cast(pa.float32())


_CONVERTERS: dict[str, Callable[[MySqlColumn, Any], Any]] = {
    "float": _float,
    "date": lambda column, raw: dates.dates_of_text(raw, column.zero),
    "datetime": lambda column, raw: dates.datetimes_of_text(raw, column.fsp, column.column.type, column.zero),
    "timestamp": lambda column, raw: dates.datetimes_of_text(raw, column.fsp, column.column.type, column.zero),
    "time": lambda column, raw: dates.times_of_text(raw, column.fsp),
}
