"""Arrow tables in PostgreSQL's binary COPY format, which the server reads faster than CSV.

A column takes part if each of its values means the same in both formats: :func:`binary_reader` returns None for a table with one
that doesn't, which then goes as CSV. The types' forms are those of the server's ``*_recv`` functions.

A row is its number of fields, then for each field its length (-1 for NULL) and its bytes. A block is built by columns: what has
the same length in all rows are matrices side by side, and Arrow joins those with the texts between them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.encode import flat, refuse_nul, slices
from tidegate.providers.postgres.types import PgColumn

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
BLOCK_BYTES = 1 << 19
"""About how much of a table is encoded at once."""

Bytes = npt.NDArray[np.uint8]
"""A matrix: a row of bytes for each row of the table."""
Encode = Callable[[pa.Array], "Bytes | pa.Array"]
"""A column as a matrix, where a NULL may be anything, or as binary."""


@dataclass(frozen=True, slots=True)
class _Field:
    """How a column goes. Values out of ``bounds`` mean something else, or nothing, in binary."""

    encode: Encode
    bounds: tuple[int, int] | None = None
    version: bytes = b""
    """What stands before each value, as the server's format of jsonb has it."""


class BinaryReader:
    """A table as a file for ``COPY … FROM STDIN WITH (FORMAT binary)``. RowRefused for U+0000 in a string."""

    def __init__(self, table: pa.Table, fields: Sequence[_Field], block_bytes: int = BLOCK_BYTES) -> None:
        self.bytes = 0
        """Bytes handed out so far."""
        self._blocks = _blocks(table, fields, block_bytes)

    def read(self, size: int = -1) -> bytes:
        """The next block, whatever its size; empty at the end."""
        block = next(self._blocks, b"")
        self.bytes += len(block)
        return block


def binary_reader(rows: pa.Table, table: CatalogTable, block_bytes: int = BLOCK_BYTES) -> BinaryReader | None:
    """The rows as a binary file for the table's columns; None if a column or a value of them has to go as text."""
    fields = []
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        there = table.column(name)
        field = _field(column.type, there) if there is not None else None
        if field is None or not _within(column, field.bounds):
            return None
        fields.append(field)
    return BinaryReader(rows, fields, block_bytes)


def _within(column: pa.ChunkedArray, bounds: tuple[int, int] | None) -> bool:
    if bounds is None or column.null_count == len(column):
        return True
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        column = column.cast(pa.int32() if pa.types.is_date(column.type) else pa.int64())
    least, most = pc.min_max(column).as_py().values()
    return bool(bounds[0] <= least and most <= bounds[1])


# A block of rows


def _blocks(table: pa.Table, fields: Sequence[_Field], block_bytes: int) -> Iterator[bytes]:
    yield HEADER
    for part in slices(table, block_bytes):
        yield _block(part, fields)
    yield TRAILER


def _block(part: pa.Table, fields: Sequence[_Field]) -> bytes:
    refuse_nul(part)
    row = _Rows(part.num_rows)
    row.constant(struct.pack(">h", len(fields)))
    for column, field in zip(part.columns, fields, strict=True):
        row.field(flat(column), field)
    return row.joined()


class _Rows:
    """Rows that grow to the right."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._matrices: list[Bytes] = []
        self._parts: list[pa.Array] = []

    def constant(self, value: bytes) -> None:
        """The same bytes in each row: a matrix of one, which is repeated."""
        self._matrices.append(np.frombuffer(value, np.uint8).reshape(1, -1))

    def field(self, column: pa.Array, field: _Field) -> None:
        valid = None if column.null_count == 0 else column.is_valid().to_numpy(zero_copy_only=False)
        cells = field.encode(column)
        before = len(field.version)
        if not isinstance(cells, np.ndarray):
            lengths = pc.binary_length(cells).to_numpy(zero_copy_only=False)
            self._lengths(lengths + before, valid)
            if before:
                self._cells(np.tile(np.frombuffer(field.version, np.uint8), (self._number, 1)), valid)
            self._flush()
            self._parts.append(cells)
        elif valid is None:
            self.constant(struct.pack(">i", cells.shape[1]))
            self._matrices.append(cells)
        else:
            self._lengths(np.full(self._number, cells.shape[1], np.int32), valid)
            self._cells(cells, valid)

    def _lengths(self, lengths: npt.NDArray[np.int32], valid: npt.NDArray[np.bool_] | None) -> None:
        self._matrices.append(_matrix((lengths if valid is None else np.where(valid, lengths, -1)).astype(">i4")))

    def _cells(self, cells: Bytes, valid: npt.NDArray[np.bool_] | None) -> None:
        """The cells; nothing where they aren't valid."""
        if valid is None:
            self._matrices.append(cells)
            return
        self._flush()
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(valid)]) * cells.shape[1]
        self._parts.append(_binary(ends.astype(np.int32), np.ascontiguousarray(cells[valid])))

    def _flush(self) -> None:
        """The matrices so far become one part, copied a whole cell at a time."""
        if not self._matrices:
            return
        together = np.empty(self._number, [(f"f{at}", f"V{matrix.shape[1]}") for at, matrix in enumerate(self._matrices)])
        for at, matrix in enumerate(self._matrices):
            together[f"f{at}"] = matrix.view(f"V{matrix.shape[1]}").reshape(-1)
        self._matrices.clear()
        ends = np.arange(self._number + 1, dtype=np.int32) * np.int32(together.itemsize)
        self._parts.append(_binary(ends, together.view(np.uint8)))

    def joined(self) -> bytes:
        """The rows, one after the other."""
        self._flush()
        if len(self._parts) == 1:
            whole = self._parts[0]
        else:
            whole = pc.binary_join_element_wise(*self._parts, pa.scalar(b"", self._parts[0].type))
        data: bytes = whole.buffers()[2].to_pybytes()
        return data


def _binary(ends: npt.NDArray[np.int32], data: Bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(data)])


def _matrix(values: npt.NDArray[Any]) -> Bytes:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)


def _numbers(column: pa.Array, kind: Any, words: int = 1) -> npt.NDArray[Any]:
    """The column's buffer, in which a NULL is any number; ``words`` of them a value."""
    buffer = column.buffers()[1]
    start, end = column.offset * words, (column.offset + len(column)) * words
    return np.frombuffer(buffer, kind, end)[start:] if buffer is not None else np.zeros(end - start, kind)


# Types


def _field(kind: pa.DataType, there: PgColumn) -> _Field | None:
    """How values of ``kind`` go into the column; None: as text."""
    match there.type:
        case "int2" | "int4" | "int8" if pa.types.is_integer(kind):
            size = int(there.type[3])
            low, high = -(1 << size * 8 - 1), (1 << size * 8 - 1) - 1
            fits = kind.bit_width < size * 8 or (kind.bit_width == size * 8 and pa.types.is_signed_integer(kind))
            return _Field(_as(f">i{size}"), None if fits else (low, high))
        case "bool" if kind == pa.bool_():
            return _Field(_boolean)
        case "bool" if pa.types.is_integer(kind):
            return _Field(_as("u1"), (0, 1))
        case "float4" if kind == pa.float32():
            return _Field(_as(">f4"))
        case "float8" if kind == pa.float64():
            return _Field(_as(">f8"))
        case "numeric" if pa.types.is_decimal(kind):
            return _Field(lambda column: _decimal(column, kind.precision, kind.scale))
        case "numeric" if pa.types.is_integer(kind):
            return _Field(_integer_as_numeric)
        case "text" | "varchar" | "bpchar" | "json" if kind == pa.string():
            return _Field(_bytes)
        case "jsonb" if kind == pa.string():
            return _Field(_bytes, version=b"\x01")
        case "bytea" if kind == pa.binary():
            return _Field(_bytes)
        case "date" if kind == pa.date32():
            return _Field(lambda column: _matrix((_numbers(column, "i4") - _EPOCH_DAYS).astype(">i4")), _YEARS_IN_DAYS)
        case "timestamp" | "timestamptz" if kind in (pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
            return _Field(lambda column: _matrix((_numbers(column, "i8") - _EPOCH_DAYS * _DAY).astype(">i8")), _YEARS)
        case "interval" if kind == pa.duration("us"):
            return _Field(_interval)
        case "time" if kind == pa.duration("us"):
            return _Field(_as(">i8"))
    return None


_EPOCH_DAYS = 10_957
"""From 1970 to 2000."""
_DAY = 86_400_000_000
# What Arrow writes as a date of four digits for the year, which is how the server takes it from CSV.
_YEARS_IN_DAYS = (-719_162, 2_932_896)
_YEARS = (_YEARS_IN_DAYS[0] * _DAY, (_YEARS_IN_DAYS[1] + 1) * _DAY - 1)


def _as(kind: str) -> Encode:
    """Numbers, by a cast: ``_Field.bounds`` has seen to it that they fit."""

    def encode(column: pa.Array) -> Bytes:
        have = "i8" if pa.types.is_duration(column.type) else column.type.to_pandas_dtype()
        return _matrix(_numbers(column, have).astype(kind))

    return encode


def _boolean(column: pa.Array) -> Bytes:
    return _matrix(_numbers(column.cast(pa.uint8()), "u1"))


def _bytes(column: pa.Array) -> pa.Array:
    filled = pc.fill_null(column, b"" if pa.types.is_binary(column.type) else "") if column.null_count else column
    return filled.view(pa.binary())


def _interval(column: pa.Array) -> Bytes:
    found = np.zeros((len(column), 16), np.uint8)  # microseconds, days, months
    found[:, :8] = _matrix(_numbers(column, "i8").astype(">i8"))
    return found


# numeric: ndigits, weight of the first, sign, dscale, digits to the base 10000. The server takes away zeros at both ends.


def _integer_as_numeric(column: pa.Array) -> Bytes:
    unsigned = pa.types.is_unsigned_integer(column.type)
    values = _numbers(column.cast(pa.uint64() if unsigned else pa.int64()), "u8" if unsigned else "i8")
    negative = values < 0
    return _numeric(_groups_of_words(_magnitude(values, negative), 5), negative, 4, 0)


def _decimal(column: pa.Array, precision: int, scale: int) -> Bytes:
    words = column.type.bit_width // 64
    values = _numbers(column, "u8", words).reshape(-1, words)
    negative = values[:, -1].view("i8") < 0
    pad = -scale % 4  # zeros that make the digits after the point whole groups of four
    number = -(-(precision + pad) // 4)
    if precision + pad <= 18:
        # A value of so few digits is in its lowest word.
        low = _magnitude(values[:, 0].view("i8"), negative)
        groups = _groups_of_words(low * np.uint64(10**pad), number)
    else:
        groups = _groups_of_limbs(_times(_limbs(values, negative), 10**pad), number)
    return _numeric(groups, negative, number - (scale + pad) // 4 - 1, max(scale, 0))


def _numeric(groups: list[npt.NDArray[np.uint64]], negative: npt.NDArray[np.bool_], weight: int, scale: int) -> Bytes:
    found = np.empty((len(negative), 4 + len(groups)), ">i2")
    found[:, 0], found[:, 1], found[:, 3] = len(groups), weight, scale
    found[:, 2] = np.where(negative, 0x4000, 0)
    for at, digits in enumerate(groups, 4):
        found[:, at] = digits
    return _matrix(found)


def _magnitude(values: npt.NDArray[Any], negative: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    # In two's complement, so that the lowest int64 has a magnitude too.
    unsigned = values.view(np.uint64)
    return np.where(negative, ~unsigned + np.uint64(1), unsigned)


def _groups_of_words(rest: npt.NDArray[np.uint64], number: int) -> list[npt.NDArray[np.uint64]]:
    """The lowest ``number`` digits to the base 10000, the highest first."""
    base, groups = np.uint64(10_000), []
    for _ in range(number):
        higher = rest // base
        groups.append(rest - higher * base)
        rest = higher
    return groups[::-1]


_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def _limbs(values: npt.NDArray[np.uint64], negative: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.uint64]]:
    """The magnitudes of integers in two's complement, 32 bits a limb, the lowest first."""
    flip = np.where(negative, _LOW, np.uint64(0))
    carry = negative.astype(np.uint64)
    limbs = []
    for word in range(values.shape[1]):
        for half in (values[:, word] & _LOW, values[:, word] >> _32):
            total = (half ^ flip) + carry
            limbs.append(total & _LOW)
            carry = total >> _32
    return limbs


def _times(limbs: list[npt.NDArray[np.uint64]], factor: int) -> list[npt.NDArray[np.uint64]]:
    """Multiplied, in one limb more."""
    carry = np.zeros_like(limbs[0])
    found = []
    for limb in limbs:
        total = limb * np.uint64(factor) + carry
        found.append(total & _LOW)
        carry = total >> _32
    return [*found, carry]


def _groups_of_limbs(limbs: list[npt.NDArray[np.uint64]], number: int) -> list[npt.NDArray[np.uint64]]:
    """The lowest ``number`` digits to the base 10000, the highest first: eight decimal digits a division."""
    base = np.uint64(100_000_000)
    groups: list[npt.NDArray[np.uint64]] = []  # the lowest first
    while len(groups) < number:
        rest = np.zeros_like(limbs[0])
        for at in range(len(limbs) - 1, -1, -1):
            total = rest << _32 | limbs[at]
            limbs[at] = total // base
            rest = total - limbs[at] * base
        groups += reversed(_groups_of_words(rest, 2))
    return groups[:number][::-1]
