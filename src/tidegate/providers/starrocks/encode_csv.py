r"""Rows as lines of CSV, as StarRocks reads them (BE, ``formats/csv/csv_reader.cpp``).

Without ``enclose`` StarRocks splits at the delimiters and knows no escaping at all. With it, a field in quotes holds anything:

- With ``escape``, a quote or escape character in the field has that before it. It needs to be set for a value that begins with a
  quote: StarRocks takes a doubled quote at the beginning of a field for an empty one or for an escape, and loses its way.
- Without ``escape``, a quote in the field is doubled.
- An escape character is also one outside of quotes: ``\N`` would be read as ``N`` if the backslash escapes, and goes as ``\\N``.

A field that is ``\N`` after all that is NULL, in quotes or not, so that a string ``\N`` can't be sent.

Numbers of FLOAT and DOUBLE have an exponent: older servers parse only those exactly (BE, ``string_to_float_internal``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.types import canonical
from tidegate.providers.starrocks.catalog import CatalogColumn
from tidegate.providers.starrocks.format import NULL, Format
from tidegate.providers.starrocks.texts import Escapes, Kind, Scan, content, texts

Mask = npt.NDArray[np.bool_]
_PLAIN = frozenset(b"0123456789+-.:eE ABCDEF")
"""What numbers, dates, times and hexadecimal digits are made of."""


def lines(
    parts: Iterator[pa.Table],
    there: Sequence[CatalogColumn | None],
    format: Format,
    ops: npt.NDArray[np.uint8] | None,
    time_zone: str,
) -> Iterator[bytes]:
    """The lines, in pieces; each row ends with the row delimiter."""
    written = _Fields(format, len(there) + (ops is not None) == 1)
    between, end = format.column_separator.decode(), format.row_delimiter.decode()
    row = 0
    for part in parts:
        cells = [
            written(*csv_texts(column.combine_chunks(), target, time_zone))
            for column, target in zip(part.columns, there, strict=True)
        ]
        if ops is not None:
            cells.append(pa.array(ops[row : row + part.num_rows]).cast(pa.string()))
        null = {"null_handling": "replace", "null_replacement": written.null}
        cells[-1] = pc.binary_join_element_wise(cells[-1], end, "", **null)
        yield content(pc.binary_join_element_wise(*cells, between, **null) if len(cells) > 1 else cells[0]).to_pybytes()
        row += part.num_rows


def csv_texts(values: pa.Array, there: CatalogColumn | None, time_zone: str = "UTC") -> tuple[pa.Array, Kind]:
    """The values as the texts of fields, before they are enclosed."""
    text, kind = texts(values, there, time_zone)
    if pa.types.is_floating(values.type):
        plain = pc.binary_join_element_wise(text, "e0", "")
        exponents = Scan(text, b"e").mask()
        text = plain if exponents is None else pc.if_else(pa.array(exponents), text, plain)
    return text, kind


class _Fields:
    """Texts as fields. ``alone``: it is the only one of its row, which must not be an empty line: StarRocks skips those."""

    def __init__(self, format: Format, alone: bool) -> None:
        self._alone, self._quote = alone, format.enclose.decode()
        self.null = NULL.decode()
        if not format.enclose:
            return
        quote, escape = format.enclose, format.escape or format.enclose
        # A value that has the first byte of a delimiter might end in a part of it.
        self._special = bytes({format.column_separator[0], format.row_delimiter[0], quote[0], escape[0]})
        self._escapes = Escapes({quote[0]: escape + quote, escape[0]: escape + escape}, first=escape[0])
        self._plain = bool(_PLAIN.intersection(self._special))
        if set(NULL).intersection(self._special):
            null = pa.array([self.null])
            self.null = self._enclosed(self._escapes(null, Scan(null, self._special)))[0].as_py()

    def __call__(self, text: pa.Array, kind: Kind) -> pa.Array:
        if not self._quote or (kind in ("number", "plain") and not self._plain and not self._alone):
            return text
        scan = Scan(text, self._special)
        found = scan.mask()
        if self._alone:
            empty = pc.equal(pc.binary_length(text), 0).fill_null(False).to_numpy(zero_copy_only=False)
            found = empty if found is None else found | empty
        if found is None or not found.any():
            return text
        enclosed = self._enclosed(self._escapes(text, scan))
        return enclosed if found.all() else pc.if_else(pa.array(found), enclosed, text)

    def _enclosed(self, text: pa.Array) -> pa.Array:
        return pc.binary_join_element_wise(self._quote, text, self._quote, "")


# What can't be sent


def examined(kind: pa.DataType, format: Format) -> bool:
    """Whether :func:`unsendable` may find anything in values of this type: numbers and dates are mostly free of delimiters."""
    if pa.types.is_nested(kind) or canonical(kind) in (pa.string(), pa.binary()):
        return True
    return not format.enclose and bool(_PLAIN.intersection(format.column_separator + format.row_delimiter))


def unsendable(text: pa.Array, kind: Kind, format: Format, *, alone: bool) -> list[tuple[Mask, str]]:
    """Which of a column's texts StarRocks would read as something else, each with a reason; ``alone``: the rows' only column."""
    found: list[tuple[Mask, str]] = []

    def add(mask: pa.Array | Mask | None, why: str) -> None:
        if mask is not None:
            marks = mask if isinstance(mask, np.ndarray) else mask.fill_null(False).to_numpy(zero_copy_only=False)
            if marks.any():
                found.append((marks, why))

    if kind in ("string", "json"):
        add(pc.equal(text, NULL.decode()), r"the text \N, which is NULL in CSV: use format json")
    if not format.enclose:
        add(_splits(text, format), "a delimiter in the text: set enclose (StarRocks 3.0) or use format json")
        if alone:
            add(pc.equal(text, ""), "an empty line, which StarRocks skips: set enclose (StarRocks 3.0) or use format json")
    elif not format.escape and kind in ("string", "json"):
        quote = format.enclose.decode()
        add(pc.starts_with(text, quote), "the text begins with the enclose character: set escape, too, or use format json")
        add(Scan(text, b"\0").mask(), "U+0000 in the text, StarRocks' own sign for no escape: set escape, or use format json")
    return found


def _splits(text: pa.Array, format: Format) -> Mask | None:
    """Which texts have a delimiter in them, or make one with what is around them."""
    column, row = format.column_separator, format.row_delimiter
    if len(column) == 1 and len(row) == 1:
        return Scan(text, column + row).mask()
    found = Scan(text, column + row).mask()
    if found is None:
        return None
    near = np.flatnonzero(found)
    values = text.take(pa.array(near)).cast(pa.binary()).to_pylist()
    found[near] = [value is not None and format.splits(value) for value in values]
    return found
