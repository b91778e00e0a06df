"""Row images to Arrow columns: the core of the decoder, in two functions that a compiled module could take the place of.

A row image is a bitmap of its NULLs, then the values that aren't NULL, one after the other. Where a row ends is known only by
walking over it, so :func:`find_rows` steps from each value of unknown size to the next, for every event as it comes; it decodes
nothing. :func:`decode_rows` then takes some thousand rows at once, column by column: where a column's values begin follows from
where those of the column before it end, for all rows in a few numpy operations, and so does every value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tidegate.providers.mysql.binlog.gather import Bools, Bytes, Cells, Ints
from tidegate.providers.mysql.binlog.values import Field

_PATTERNS = 4096
"""Patterns of NULLs that are remembered; beyond that the table has too many for it to be of use."""
_SAME_SIZE: Ints = np.empty(0, dtype=np.int64)
_BITS_16 = struct.Struct("<H").unpack_from
_BITS_32 = struct.Struct("<I").unpack_from

Steps = tuple[tuple[tuple[int, int], ...], int]
"""A pair for each value of unknown size: the bytes in front of it, and the bytes of its size. Then the bytes after the last."""


class Shape:
    """The physical columns of a table map, as far as finding the ends of rows goes."""

    __slots__ = ("fields", "null_bytes", "patterns")

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.null_bytes = (len(self.fields) + 7) // 8
        self.patterns: dict[int, Steps] = {}

    def steps(self, nulls: int) -> Steps:
        """How to step over a row with these NULLs."""
        steps, gap = [], self.null_bytes
        for index, field in enumerate(self.fields):
            if nulls >> index & 1:
                continue
            if field.prefix:
                steps.append((gap, field.prefix))
                gap = 0
            else:
                gap += field.width
        if len(self.patterns) >= _PATTERNS:
            self.patterns.clear()
        found = self.patterns[nulls] = (tuple(steps), gap)
        return found


class BrokenRow(ValueError):
    """A row image that doesn't end where its event does."""


class BadValue(ValueError):
    """Bytes that are no value of their column. ``place`` is the column's in the schema."""

    def __init__(self, place: int, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.place = place


def find_rows(shape: Shape, data: bytes | bytearray, pos: int, starts: list[int]) -> int:
    """Append to ``starts`` where each row image in ``data[pos:]`` begins, and return how many there are.

    Raises BrokenRow unless the last one ends with the data.
    """
    end = len(data)
    null_bytes, patterns = shape.null_bytes, shape.patterns
    before = len(starts)
    try:
        while pos < end:
            starts.append(pos)
            if null_bytes == 1:
                nulls = data[pos]
            elif null_bytes == 2:
                nulls = _BITS_16(data, pos)[0]
            else:
                nulls = int.from_bytes(data[pos : pos + null_bytes], "little")
            steps, rest = patterns.get(nulls) or shape.steps(nulls)
            for gap, prefix in steps:
                pos += gap
                if prefix == 1:
                    pos += data[pos] + 1
                elif prefix == 2:
                    pos += _BITS_16(data, pos)[0] + 2
                elif prefix == 4:
                    pos += _BITS_32(data, pos)[0] + 4
                else:
                    pos += int.from_bytes(data[pos : pos + 3], "little") + 3
            pos += rest
    except (IndexError, struct.error) as error:
        raise BrokenRow(f"a row image ends beyond its event, which is {end} bytes long") from error
    if pos != end:
        raise BrokenRow(f"a row image ends {pos - end} bytes beyond its event")
    return len(starts) - before


def decode_rows(shape: Shape, places: Sequence[int | None], data: bytearray, starts: Sequence[int]) -> list[Any]:
    """The rows that begin at ``starts`` in ``data``, which is used up, as an Arrow array for each column of the schema.

    ``places`` has the schema's column for each physical one (None: none). The rows' ends have been checked by :func:`find_rows`.
    Raises BadValue.
    """
    image = Bytes(data)
    begin: Ints = np.array(starts, dtype=np.int64)
    flags = [image.octets[begin + index] for index in range(shape.null_bytes)]
    somewhere = [int(np.bitwise_or.reduce(octets)) for octets in flags]
    arrays: list[Any] = [None] * sum(place is not None for place in places)
    gap = shape.null_bytes
    for index, (field, place) in enumerate(zip(shape.fields, places, strict=True)):
        bit = 1 << (index & 7)
        nulls = (flags[index >> 3] & bit) != 0 if somewhere[index >> 3] & bit else None
        cells, begin, gap = _cells(image, field, begin, gap, nulls)
        if place is not None:
            try:
                arrays[place] = field.decode(cells)
            except (pa.ArrowException, ValueError, IndexError) as error:
                raise BadValue(place, error) from error
    return arrays


def _cells(image: Bytes, field: Field, begin: Ints, gap: int, nulls: Bools | None) -> tuple[Cells, Ints, int]:
    """A column's cells, which begin at ``begin + gap`` with their sizes if they have any; and the next column's begin and gap.

    Columns whose values all have the same width, and are there, need no new begin.
    """
    at = begin + gap
    if not field.prefix:
        if nulls is None:
            return Cells(image, at, _SAME_SIZE, None), begin, gap + field.width
        return Cells(image, at, _SAME_SIZE, nulls), at + np.where(nulls, 0, field.width), 0
    sizes = image.little(at, field.prefix)
    if nulls is None:
        at += field.prefix
    else:
        sizes[nulls] = 0
        at += np.where(nulls, 0, field.prefix)
    return Cells(image, at, sizes, nulls), at + sizes, 0
