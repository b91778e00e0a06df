"""First copies: a table's rows in pages by its key, and from where on its changes make good what happened meanwhile.

The algorithm is overlap and replay:

1. *Low watermark*: a position of the log up to which every commit can be read (:mod:`tidegate.providers.mysql.view`).
2. *Pages*: the table is cut into ranges of its key, in the server's own order, each read by a plain query some time later
   (:mod:`tidegate.providers.mysql.ranges`). Pages are handed on in key order: the last key tells how far the copy has come, and a
   later run goes on behind it, whatever its limits. Pages see different moments.
3. *Replay*: all changes since the low watermark are applied by key, an insert or update as an upsert, a delete if the row is there.

Each row that changed after the watermark is in the changes, so its state in the end is that of its last change, whichever states of
it the pages saw, in two ranges or none. Each row that didn't was there when its range was read: its key, and so its range, never
changed. No key is copied twice, for ranges don't overlap. Targets that can't apply a change twice copy from one view instead, where
all pages see exactly the watermark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch, Chunk, RowKind
from tidegate.changes.position import SnapshotPosition
from tidegate.providers.mysql.ranges import RangeReader, Routes
from tidegate.providers.mysql.select import KeyRange, key_texts
from tidegate.providers.mysql.types import MySqlTable
from tidegate.sync.protocols import Limits


def copy(routes: Routes, table: MySqlTable, position: SnapshotPosition, limits: Limits) -> Iterator[Chunk]:
    """The rest of a table's copy. Every chunk ends where a later run can go on; the last one at ``position.low``."""
    if table.schema.key:
        pages = RangeReader(routes, table, limits).pages(position.after)
    else:
        pages = routes.take().pages(table, KeyRange(), limits)
    held: list[pa.Table] = []
    for page in pages:
        if held and not _fits([*held, page], limits):
            chunk, position = _chunk(table, held, position)
            yield chunk
            held = []
        if page.num_rows:
            held.append(page)
    chunk, _ = _chunk(table, held, position)
    yield Chunk(chunk.batches, position.low)


def _fits(pages: Sequence[pa.Table], limits: Limits) -> bool:
    rows, size = (sum(numbers) for numbers in zip(*((page.num_rows, page.nbytes) for page in pages), strict=True))
    return bool(rows <= limits.rows and size <= limits.bytes)


def _chunk(table: MySqlTable, pages: Sequence[pa.Table], position: SnapshotPosition) -> tuple[Chunk, SnapshotPosition]:
    """The pages as a chunk, and how far the copy has come with it."""
    if not pages:
        return Chunk((), position), position
    rows = pa.concat_tables(pages)
    after = key_texts(table, pages[-1]) if table.schema.key else None
    end = SnapshotPosition(position.low, after, position.rows + rows.num_rows)
    return Chunk((ChangeBatch.of(table.schema, rows, RowKind.INSERT),), end), end
