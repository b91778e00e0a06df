"""Reads at many places of the same bytes at once, whatever their alignment."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_PAD = b"\0" * 64
"""So that the longest number can be read wherever a value begins, or would if it weren't NULL."""
MOST = 2**31 - 1 - len(_PAD)
"""Bytes that an Arrow array of texts can point into: its offsets have 32 bits."""


class Bytes:
    """Bytes to read from. ``data`` is padded at its end, and must not change any more."""

    def __init__(self, data: bytearray) -> None:
        data += _PAD
        self._data = data
        self._size = len(data)
        self.octets = self.values("u1")

    def values(self, dtype: str) -> Any:
        """The value that begins at each byte, as an array that overlaps itself: to be indexed by places, and never copied."""
        kind = np.dtype(dtype)
        return np.ndarray((self._size - kind.itemsize + 1,), kind, self._data, 0, (1,))

    def little(self, at: Ints, width: int) -> Ints:
        """Unsigned integers of ``width`` bytes, the lowest first; those of eight bytes wrap round."""
        if width == 1:
            return np.asarray(self.octets[at], dtype=np.int64)
        if width <= 4:
            found: Ints = self.values("<u2" if width == 2 else "<u4")[at].astype(np.int64)
            return found & 0xFFFFFF if width == 3 else found
        words: Ints = self.values("<i8")[at]
        return words if width == 8 else words & ((1 << (8 * width)) - 1)

    def big(self, at: Ints, width: int) -> Words:
        """Unsigned integers of up to eight bytes, the highest first."""
        if width == 1:
            return np.asarray(self.octets[at], dtype=np.uint64)
        if width <= 4:
            found: Words = self.values("<u4")[at].byteswap().astype(np.uint64)
            return found >> np.uint64(32 - 8 * width)
        words: Words = self.values("<u8")[at].byteswap()
        return words >> np.uint64(64 - 8 * width)

    def slices(self, at: Ints, sizes: Ints, nulls: Bools | None) -> Any:
        """Pieces of the bytes as a binary array. ``at`` ascends, and the pieces don't overlap."""
        count = len(at)
        if not count:
            return pa.array([], pa.binary())
        # Arrow copies the pieces: the bytes are an array of pieces and of what lies between them, and every other one is taken.
        bounds = np.empty(2 * count, dtype=np.int32)
        bounds[0::2] = at
        bounds[1::2] = at + sizes
        everything = pa.Array.from_buffers(pa.binary(), 2 * count - 1, [None, pa.py_buffer(bounds), pa.py_buffer(self._data)])
        return everything.take(pa.array(np.arange(0, 2 * count, 2, dtype=np.int32), mask=nulls))


class Cells:
    """The values of one column: where each begins, its size (unless all have the same), and which are NULL (None: none).

    A NULL takes no bytes; numbers read from its place are 0.
    """

    __slots__ = ("at", "bytes", "nulls", "sizes")

    def __init__(self, data: Bytes, at: Ints, sizes: Ints, nulls: Bools | None) -> None:
        self.bytes, self.at, self.sizes, self.nulls = data, at, sizes, nulls

    def values(self, dtype: str) -> Any:
        """Numbers as numpy's ``dtype``."""
        return self._known(self.bytes.values(dtype)[self.at])

    def little(self, width: int, offset: int = 0) -> Ints:
        """Unsigned integers of ``width`` bytes, the lowest first, from ``offset`` bytes on."""
        found: Ints = self._known(self.bytes.little(self.at + offset if offset else self.at, width))
        return found

    def big(self, width: int, offset: int = 0) -> Words:
        """Unsigned integers of ``width`` bytes, the highest first, from ``offset`` bytes on."""
        found: Words = self._known(self.bytes.big(self.at + offset if offset else self.at, width))
        return found

    def slices(self) -> Any:
        """The bytes of each value, as a binary array."""
        return self.bytes.slices(self.at, self.sizes, self.nulls)

    def array(self, values: Any) -> Any:
        """An Arrow array of a numpy array's type, NULL where the values are."""
        return pa.array(values, mask=self.nulls)

    def validity(self) -> Any:
        """Arrow's bitmap of the values that aren't NULL; None if all aren't."""
        return None if self.nulls is None else pa.py_buffer(np.packbits(~self.nulls, bitorder="little"))

    def _known(self, found: Any) -> Any:
        if self.nulls is not None:
            found[self.nulls] = 0
        return found
