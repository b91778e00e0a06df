"""Arrow tables as the body of a load, by columns and a slice of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidegate.providers.starrocks.catalog import CatalogColumn
from tidegate.providers.starrocks.encode_csv import lines
from tidegate.providers.starrocks.encode_json import objects
from tidegate.providers.starrocks.format import Format

PIECE_ROWS = 16_384
PIECE_BYTES = 1 << 24
"""A piece is of at most so many rows, or of about so many bytes of Arrow."""


def encode(
    rows: pa.Table,
    there: Sequence[CatalogColumn | None],
    format: Format,
    *,
    ops: npt.NDArray[np.uint8] | None = None,
    time_zone: str = "UTC",
) -> list[bytes]:
    """The body in pieces, whole rows each, as :func:`pieces` makes them."""
    return list(pieces(rows, there, format, ops=ops, time_zone=time_zone))


def pieces(
    rows: pa.Table,
    there: Sequence[CatalogColumn | None],
    format: Format,
    *,
    ops: npt.NDArray[np.uint8] | None = None,
    time_zone: str = "UTC",
) -> Iterator[bytes]:
    """The body, a piece at a time: the columns of ``rows`` in their order and under their names.

    ``there`` has for each of them the column that it goes to, or None if only an expression uses it. ``ops`` is sent as a last
    column ``__op``: 0 upsert, 1 delete. An instant is written in ``time_zone``. What :func:`check.refused` found must not be in
    the rows any more.
    """
    parts = slices(rows)
    if format.kind == "json":
        return objects(parts, rows.column_names, there, ops, time_zone)
    return lines(parts, there, format, ops, time_zone)


def slices(rows: pa.Table) -> Iterator[pa.Table]:
    """The rows in slices for a piece each."""
    for start in range(0, rows.num_rows, PIECE_ROWS):
        yield from _halved(rows.slice(start, PIECE_ROWS))


def _halved(part: pa.Table) -> Iterator[pa.Table]:
    if part.num_rows < 2 or part.nbytes <= PIECE_BYTES:
        yield part
        return
    middle = part.num_rows // 2
    yield from _halved(part.slice(0, middle))
    yield from _halved(part.slice(middle))
