"""Decimals as MySQL packs them (``strings/decimal.cc``, decimal2bin)."""

from __future__ import annotations

from collections.abc import Callable

_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes that 0 to 9 decimal digits take."""


def decimal_reader(precision: int, scale: int) -> Callable[[bytes, int], tuple[str, int]]:
    """A reader of a DECIMAL as text.

    Groups of nine digits in four bytes, big-endian; the first bit is the sign, and a negative number has all
    bits inverted.
    """
    whole_groups, whole_rest = divmod(precision - scale, 9)
    part_groups, part_rest = divmod(scale, 9)
    whole_lead = _DIGIT_BYTES[whole_rest]
    part_tail = _DIGIT_BYTES[part_rest]
    whole_size = whole_lead + 4 * whole_groups
    size = whole_size + 4 * part_groups + part_tail
    sign_bit = 1 << (size * 8 - 1)
    all_bits = (1 << (size * 8)) - 1

    def read(data: bytes, pos: int) -> tuple[str, int]:
        end = pos + size
        number = int.from_bytes(data[pos:end], "big") ^ sign_bit
        negative = bool(number & sign_bit)
        if negative:
            number ^= all_bits
        digits = number.to_bytes(size, "big")
        text = "-" if negative else ""
        at = whole_lead
        text += str(int.from_bytes(digits[:at], "big"))
        for _ in range(whole_groups):
            text += f"{int.from_bytes(digits[at : at + 4], 'big'):09}"
            at += 4
        if scale:
            text += "."
            for _ in range(part_groups):
                text += f"{int.from_bytes(digits[at : at + 4], 'big'):09}"
                at += 4
            if part_rest:
                text += f"{int.from_bytes(digits[at:], 'big'):0{part_rest}}"
        return text, end

    return read
