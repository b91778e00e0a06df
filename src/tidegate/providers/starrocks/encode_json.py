"""Rows as the objects of one JSON array: ``[{"id":1,"name":"x"},…]``, for ``strip_outer_array``.

Numbers are JSON numbers, and strings where a JSON number would go through a double or 64 bits: DECIMAL and LARGEINT. JSON columns
are the text itself, so that StarRocks reads an object and not a string (BE, ``add_native_json_column``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.providers.starrocks.catalog import CatalogColumn
from tidegate.providers.starrocks.texts import Escapes, Scan, content, texts

_ESCAPES = Escapes(
    {byte: f"\\u{byte:04x}".encode() for byte in range(0x20)}
    | {0x08: b"\\b", 0x09: b"\\t", 0x0A: b"\\n", 0x0C: b"\\f", 0x0D: b"\\r", 0x22: b'\\"', 0x5C: b"\\\\"},
    first=0x5C,
)


def escaped(values: pa.Array) -> pa.Array:
    """The strings as they stand between the quotes of JSON strings."""
    return _ESCAPES(values, Scan(values, b'"\\', below=0x20))


def objects(
    parts: Iterator[pa.Table],
    names: Sequence[str],
    there: Sequence[CatalogColumn | None],
    ops: npt.NDArray[np.uint8] | None,
    time_zone: str,
) -> Iterator[bytes]:
    """The array, in pieces."""
    yield b"["
    row = 0
    for part in parts:
        these = None if ops is None else ops[row : row + part.num_rows]
        data = _objects(part, names, there, these, time_zone)
        yield (data.slice(1) if row == 0 else data).to_pybytes()
        row += part.num_rows
    yield b"]"


def _objects(
    part: pa.Table, names: Sequence[str], there: Sequence[CatalogColumn | None], ops: npt.NDArray[np.uint8] | None, time_zone: str
) -> pa.Buffer:
    """``,{…},{…}``"""
    cells: list[pa.Array | pa.Scalar] = []
    constant, comma = ",{", ""
    for name, column, target in zip(names, part.columns, there, strict=True):
        constant += comma + json.dumps(name, ensure_ascii=False) + ":"
        text, kind = texts(column.combine_chunks(), target, time_zone)
        if kind == "string":
            text = escaped(text)
        if kind in ("number", "json"):
            quote = ""
        elif text.null_count:
            quote = ""
            text = pc.binary_join_element_wise('"', text, '"', "")
        else:
            quote = '"'
        cells += [pa.scalar(constant + quote), text]
        constant, comma = quote, ","
    if ops is not None:
        cells += [pa.scalar(f'{constant}{comma}"__op":'), pa.array(ops).cast(pa.string())]
        constant = ""
    cells.append(pa.scalar(constant + "}"))
    whole = pc.binary_join_element_wise(*cells, "", null_handling="replace", null_replacement="null")
    return content(whole)
