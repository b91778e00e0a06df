"""Decimals as MySQL packs them (``strings/decimal.cc``, decimal2bin).

Groups of nine digits in four bytes, big-endian, fewer digits in fewer bytes at the outer ends; the first bit is the sign, and a
negative number has all bits inverted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from tidegate.providers.mysql.binlog.gather import Cells

_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes that 0 to 9 decimal digits take."""
_INT64_DIGITS = 18
_LIMB = np.uint64(32)
_LIMB_MASK = np.uint64(0xFFFFFFFF)


def groups(precision: int, scale: int) -> list[tuple[int, int]]:
    """The groups of a DECIMAL's digits, highest first: how many bytes and digits each has."""
    whole, part = precision - scale, scale
    digits = [whole % 9, *[9] * (whole // 9), *[9] * (part // 9), part % 9]
    return [(_DIGIT_BYTES[count], count) for count in digits if count]


def decimal_reader(precision: int, scale: int) -> Callable[[bytes, int], tuple[str, int]]:
    """A reader of a single DECIMAL, for those inside JSON values: from bytes and a place to its text and the place after it."""
    shape = groups(precision, scale)
    size = sum(width for width, _ in shape)
    sign_bit = 1 << (size * 8 - 1)
    all_bits = (1 << (size * 8)) - 1

    def read(data: bytes, pos: int) -> tuple[str, int]:
        end = pos + size
        number = int.from_bytes(data[pos:end], "big") ^ sign_bit
        negative = bool(number & sign_bit)
        if negative:
            number ^= all_bits
        packed = number.to_bytes(size, "big")
        text, at = "", 0
        for width, digits in shape:
            text += f"{int.from_bytes(packed[at : at + width], 'big'):0{digits}}"
            at += width
        whole = text[: len(text) - scale].lstrip("0") or "0"
        return f"{'-' if negative else ''}{whole}{'.' + text[len(text) - scale :] if scale else ''}", end

    return read


def decimal_array(precision: int, scale: int, kind: Any) -> tuple[int, Callable[[Cells], Any]]:
    """The bytes that a DECIMAL takes, and what makes an array of ``kind``, its Arrow type, of a column of them.

    The latter raises ValueError for bytes that are no decimal.
    """
    shape = groups(precision, scale)
    size = sum(width for width, _ in shape)
    # Arrow's decimals are integers of 128 or 256 bits, the lowest limb first.
    limbs = kind.bit_width // 32

    def array(cells: Cells) -> Any:
        negative = cells.bytes.octets[cells.at] < 0x80
        if cells.nulls is not None:
            negative &= ~cells.nulls
        numbers = []
        at = 0
        for index, (width, digits) in enumerate(shape):
            bits = 8 * width
            number = cells.big(width, at)
            if index == 0:
                number &= np.uint64((1 << (bits - 1)) - 1)
                # The sign's bit of a negative number is 0, and would be inverted to 1.
                number = np.where(negative, number ^ np.uint64((1 << (bits - 1)) - 1), number)
            else:
                number = np.where(negative, number ^ np.uint64((1 << bits) - 1), number)
            if (number >= np.uint64(10**digits)).any():
                raise ValueError("more digits than a group of a decimal has")
            numbers.append((number, 10**digits))
            at += width
        words = _short(numbers, negative, limbs // 2) if precision <= _INT64_DIGITS else _long(numbers, negative, limbs)
        return pa.Array.from_buffers(kind, len(words), [cells.validity(), pa.py_buffer(words)])

    return size, array


def _short(numbers: list[tuple[Any, int]], negative: Any, words: int) -> Any:
    """Numbers that fit in 64 bits, each with its sign spread over ``words`` of them."""
    total = numbers[0][0].astype(np.int64)
    for number, power in numbers[1:]:
        total = total * power + number.astype(np.int64)
    np.negative(total, out=total, where=negative)
    found = np.empty((len(total), words), dtype=np.int64)
    found[:, 0] = total
    found[:, 1:] = (total >> 63)[:, None]
    return found


def _long(numbers: list[tuple[Any, int]], negative: Any, limbs: int) -> Any:
    """The same with limbs of 32 bits: each group is multiplied in, and carried."""
    total = [np.zeros(len(negative), dtype=np.uint64) for _ in range(limbs)]
    for number, power in numbers:
        carry = number
        for index in range(limbs):
            wide = total[index] * np.uint64(power) + carry
            total[index] = wide & _LIMB_MASK
            carry = wide >> _LIMB
    found = np.empty((len(negative), limbs), dtype=np.uint32)
    carry = negative.astype(np.uint64)
    for index in range(limbs):
        # A negative number is the complement plus one.
        wide = np.where(negative, total[index] ^ _LIMB_MASK, total[index]) + carry
        found[:, index] = wide & _LIMB_MASK
        carry = wide >> _LIMB
    return found
