"""Dates and times in bulk: from the digits of a text, or from numbers packed by the server, to canonical arrays.

MySQL stores dates that no calendar has: ``0000-00-00``, a month or day of zero, 30 February. What becomes of them is decided in
one place, :func:`known`, by the policy ``zero`` of the column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.providers.mysql.policy import ZERO_IS_NULL, ValueRefused, Zero

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Digits = npt.NDArray[np.uint8]

DAY_US = 86_400_000_000
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0, 0], dtype=np.int64)


def known(values: Ints, valid: Bools, present: Bools, kind: pa.DataType, zero: Zero = ZERO_IS_NULL) -> Any:
    """An array of ``kind``: NULL where the row has no value; ``zero`` says what where it is a date that no calendar has.

    Raises ValueRefused if that is an error.
    """
    there = valid & present
    if zero.null:
        return _array(values, there, kind)
    absurd = present & ~valid
    if zero.micros is None:
        if absurd.any():
            raise ValueRefused(zero.refuse, int(absurd.argmax()), zero.setting)
        return _array(values, there, kind)
    return _array(np.where(absurd, zero.micros // DAY_US if kind == pa.date32() else zero.micros, values), present, kind)


def _array(values: Ints, there: Bools, kind: pa.DataType) -> Any:
    return pa.array(values, pa.int64(), mask=~there).cast(pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)


def days(year: Ints, month: Ints, day: Ints) -> tuple[Ints, Bools]:
    """Days since 1970-01-01 in the Gregorian calendar, extended to year 0, and which of the dates exist."""
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    last = _MONTH_DAYS[np.clip(month, 0, 16)] + (leap & (month == 2))
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (day <= last)
    # Years begin in March, so that the leap day is the last of its year.
    y = year - (month <= 2)
    era = y // 400
    year_of_era = y - era * 400
    day_of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468, valid


def dates_of_packed(packed: Any, zero: Zero = ZERO_IS_NULL) -> Any:
    """DATE as the row format packs it: year << 9 | month << 5 | day."""
    values, present = _numbers(packed)
    result, valid = days(values >> 9, (values >> 5) & 15, values & 31)
    return known(result, valid, present, pa.date32(), zero)


def datetimes_of_packed(packed: Any, zero: Zero = ZERO_IS_NULL) -> Any:
    """DATETIME as the server packs it in 64 bits: ((year * 13 + month) << 5 | day) << 17 | hour << 12 | min << 6 | sec, then
    24 bits of microseconds."""
    values, present = _numbers(packed)
    micros, seconds = values & 0xFFFFFF, values >> 24
    year_month = seconds >> 22
    result, valid = days(year_month // 13, year_month % 13, (seconds >> 17) & 31)
    clock = ((seconds >> 12) & 31) * 3600 + ((seconds >> 6) & 63) * 60 + (seconds & 63)
    return known(result * DAY_US + clock * 1_000_000 + micros, valid, present, pa.timestamp("us"), zero)


def times_of_packed(packed: Any, zero: Zero = ZERO_IS_NULL) -> Any:
    """TIME as the server packs it in 64 bits: hour << 12 | min << 6 | sec, then 24 bits of microseconds; negative as a whole.

    Every TIME exists: ``zero`` is never asked.
    """
    values, present = _numbers(packed)
    size = np.abs(values)
    clock = size >> 24
    seconds = ((clock >> 12) & 1023) * 3600 + ((clock >> 6) & 63) * 60 + (clock & 63)
    micros = np.sign(values) * (seconds * 1_000_000 + (size & 0xFFFFFF))
    return known(micros, np.ones(len(values), dtype=np.bool_), present, pa.duration("us"))


def instants(micros: Any, zero: Zero = ZERO_IS_NULL) -> Any:
    """TIMESTAMP as microseconds since 1970 in UTC; 0 is how the server stores ``0000-00-00 00:00:00``."""
    values, present = _numbers(micros)
    return known(values, values != 0, present, pa.timestamp("us", tz="UTC"), zero)


def dates_of_text(text: Any, zero: Zero = ZERO_IS_NULL) -> Any:
    """DATE as ``YYYY-MM-DD``, a binary array."""
    digits, present = _digits(text, 10)
    result, valid = days(_number(digits, 0, 4), _number(digits, 5, 7), _number(digits, 8, 10))
    return known(result, valid, present, pa.date32(), zero)


def datetimes_of_text(text: Any, fsp: int, kind: pa.DataType, zero: Zero = ZERO_IS_NULL) -> Any:
    """DATETIME and TIMESTAMP as ``YYYY-MM-DD HH:MM:SS[.ffffff]`` with ``fsp`` digits, a binary array."""
    digits, present = _digits(text, 19 + (fsp and fsp + 1))
    result, valid = days(_number(digits, 0, 4), _number(digits, 5, 7), _number(digits, 8, 10))
    return known(result * DAY_US + _clock(digits, 11, 13, fsp), valid, present, kind, zero)


def times_of_text(text: Any, fsp: int) -> Any:
    """TIME as ``[-]HH[H]:MM:SS[.ffffff]``, a binary array."""
    strings = text.cast(pa.string())
    negative = pc.fill_null(pc.starts_with(strings, "-"), False).to_numpy(zero_copy_only=False)
    width = 9 + (fsp and fsp + 1)
    padded = pc.utf8_lpad(pc.utf8_ltrim(strings, "-"), width=width, padding="0")
    digits, present = _digits(padded.cast(pa.binary()), width)
    values = _clock(digits, 0, 3, fsp)
    return known(np.where(negative, -values, values), np.ones(len(values), dtype=np.bool_), present, pa.duration("us"))


def _clock(digits: Digits, start: int, end: int, fsp: int) -> Ints:
    """Microseconds of ``HH:MM:SS[.f]`` whose hours stand in columns ``start`` to ``end``."""
    seconds = _number(digits, start, end) * 3600 + _number(digits, end + 1, end + 3) * 60 + _number(digits, end + 4, end + 6)
    micros: Ints = seconds * 1_000_000
    if fsp:
        micros = micros + _number(digits, end + 7, end + 7 + fsp) * 10 ** (6 - fsp)
    return micros


def _numbers(array: Any) -> tuple[Ints, Bools]:
    """The values of an int64 array, 0 where it is null, and where it isn't."""
    present = array.is_valid().to_numpy(zero_copy_only=False)
    return pc.fill_null(array, 0).to_numpy(zero_copy_only=False), present


def _digits(text: Any, width: int) -> tuple[Digits, Bools]:
    """The characters of texts that are all ``width`` long, a row each, less the code of "0"; and which texts aren't null."""
    present = text.is_valid().to_numpy(zero_copy_only=False)
    filled = pc.fill_null(text, b"0" * width)
    lengths = pc.binary_length(filled)
    if len(filled) and (pc.min(lengths).as_py() != width or pc.max(lengths).as_py() != width):
        raise ValueError(f"a date or time that is not {width} characters long")
    _, offsets, data = filled.buffers()
    start = int(np.frombuffer(offsets, dtype=np.int32)[filled.offset]) if len(filled) else 0
    matrix = np.frombuffer(data or b"", dtype=np.uint8)[start : start + len(filled) * width]
    return matrix.reshape(len(filled), width) - ord("0"), present


def _number(digits: Digits, start: int, end: int) -> Ints:
    """The number that columns ``start`` to ``end`` spell."""
    value: Ints = digits[:, start].astype(np.int64)
    for column in range(start + 1, end):
        value = value * 10 + digits[:, column]
    return value
