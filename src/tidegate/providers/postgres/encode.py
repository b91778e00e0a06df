"""Arrow tables as text that PostgreSQL reads back without loss: CSV for COPY, strings for INSERT … VALUES.

In the CSV every string is quoted and NULL is the empty field, so that ``""``, ``\\N``, a line ``\\.``, tabs, newlines, quotes and
backslashes all arrive as they are. Everything works on columns, a slice of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tidegate.errors import RowRefused

BLOCK_BYTES = 1 << 18
"""About how much of a table is encoded at once."""

_WRITE = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed", batch_size=1 << 20)
NUL = "U+0000 in the text, which PostgreSQL can't store: remove it at the source, or map the column to binary"


class CsvReader:
    """A table as a file of CSV lines, for ``COPY … FROM STDIN WITH (FORMAT csv)``. RowRefused for U+0000 in a string."""

    def __init__(self, table: pa.Table) -> None:
        self.bytes = 0
        """Bytes handed out so far."""
        self._blocks = csv_blocks(table)

    def read(self, size: int = -1) -> bytes:
        """The next block, whatever its size; empty at the end."""
        block = next(self._blocks, b"")
        self.bytes += len(block)
        return block


def csv_blocks(table: pa.Table, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The table's rows as CSV lines, in blocks of whole lines. RowRefused for U+0000 in a string."""
    for part in slices(table, block_bytes):
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(pa.table([_plain(column) for column in part.columns], names=part.column_names), sink, _WRITE)
        block: bytes = sink.getvalue().to_pybytes()
        if b"\0" in block:
            raise _nul(part)
        yield block


def text_rows(table: pa.Table, *, refuse_nul: bool = True) -> Iterator[tuple[str | None, ...]]:
    """The rows as texts that the server reads as its own types; NULL is None. RowRefused for U+0000 in a string, if asked for."""
    for part in slices(table, BLOCK_BYTES):
        columns = []
        for column in part.columns:
            plain = _plain(column)
            if refuse_nul and pa.types.is_string(plain.type) and pc.any(pc.match_substring(plain, "\0")).as_py():
                raise _nul(part)
            columns.append((plain if pa.types.is_string(plain.type) else plain.cast(pa.string())).to_pylist())
        yield from zip(*columns, strict=True)


def slices(table: pa.Table, block_bytes: int) -> Iterator[pa.Table]:
    """The table in pieces of about so many bytes."""
    if table.num_rows == 0:
        return
    rows = max(1, min(table.num_rows, table.num_rows * block_bytes // max(1, table.nbytes)))
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


def refuse_nul(part: pa.Table) -> None:
    """RowRefused if there is U+0000 in a string."""
    for column in part.columns:
        if pa.types.is_string(column.type):
            for chunk in filter(len, column.chunks):
                _, offsets, data = chunk.buffers()
                first, last = np.frombuffer(offsets, np.int32)[[chunk.offset, chunk.offset + len(chunk)]]
                # A NULL may hide one from the strings; what the whole buffer lacks needs no second look.
                if data is not None and not np.frombuffer(data, np.uint8)[first:last].all() and _has_nul(chunk):
                    raise _nul(part)


def _has_nul(strings: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring(strings, "\0")).as_py())


def _nul(part: pa.Table) -> RowRefused:
    for name, column in zip(part.column_names, part.columns, strict=True):
        if pa.types.is_string(column.type):
            found = pc.match_substring(column, "\0")
            if pc.any(found).as_py():
                return RowRefused(NUL, column=name, rows=part.filter(found).slice(0, 10))
    return RowRefused(NUL)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """The column as a type whose CSV rendering PostgreSQL reads."""
    if pa.types.is_binary(column.type):
        return hex_text(flat(column))
    if pa.types.is_duration(column.type):
        return duration_text(flat(column))
    return column


def flat(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint16)


def hex_text(values: pa.Array) -> pa.Array:
    """Binary as ``\\x…``, PostgreSQL's hex form of bytea."""
    if len(values) == 0:
        return pa.array([], pa.string())
    _, offset_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, dtype=np.uint8)[offsets[0] : offsets[-1]] if data_buffer else np.empty(0, np.uint8)
    digits = pa.py_buffer(_HEX[data].view(np.uint8))
    hexed = pa.LargeStringArray.from_buffers(len(values), pa.py_buffer((offsets - offsets[0]) * 2), digits)
    if values.null_count:
        hexed = pc.if_else(values.is_valid(), hexed, pa.scalar(None, pa.large_string()))
    return pc.binary_join_element_wise(pa.scalar("\\x", pa.large_string()), hexed, pa.scalar("", pa.large_string())).cast(
        pa.string()
    )


def unhex(values: pa.Array) -> pa.Array:
    """The binary of which :func:`hex_text` is the text."""
    if len(values) == 0:
        return pa.array([], pa.binary())
    digits = pc.utf8_slice_codeunits(values, 2)
    if digits.null_count:
        digits = pc.fill_null(digits, "")
    _, offset_buffer, data_buffer = digits.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[digits.offset : digits.offset + len(digits) + 1]
    text = np.frombuffer(data_buffer, dtype=np.uint8)[offsets[0] : offsets[-1]] if data_buffer else np.empty(0, np.uint8)
    nibbles = _NIBBLE[text]
    data = pa.py_buffer((nibbles[0::2] << 4 | nibbles[1::2]).astype(np.uint8))
    start = pa.py_buffer(((offsets - offsets[0]) // 2).astype(np.int32))
    found = pa.Array.from_buffers(pa.binary(), len(values), [None, start, data])
    return pc.if_else(values.is_valid(), found, pa.scalar(None, pa.binary())) if values.null_count else found


_NIBBLE = np.zeros(256, dtype=np.uint8)
_NIBBLE[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)


def duration_text(values: pa.Array) -> pa.Array:
    """Microseconds as ``[-]HHH:MM:SS.ffffff``, which interval and time read."""
    micros = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    negative = micros < 0
    # In two's complement, so that the lowest int64 has a magnitude too.
    size = np.where(negative, ~micros.view(np.uint64) + np.uint64(1), micros.view(np.uint64))
    seconds, fraction = size // np.uint64(1_000_000), size % np.uint64(1_000_000)
    parts = [
        _digits(seconds // np.uint64(3600), 2),
        _digits(seconds // np.uint64(60) % np.uint64(60), 2),
        _digits(seconds % np.uint64(60), 2),
    ]
    clock = pc.binary_join_element_wise(*parts, ":")
    sign = pc.if_else(pa.array(negative), "-", "")
    text = pc.binary_join_element_wise(pc.binary_join_element_wise(sign, clock, ""), _digits(fraction, 6), ".")
    return pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string())) if values.null_count else text


def _digits(values: npt.NDArray[np.uint64], width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(values).cast(pa.string()), width, "0")
