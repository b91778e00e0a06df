"""From live to captured: where a table that was followed in its server's log goes on among the segments of that log.

Exact, for captured rows carry the log's own file and offset. What can't be exact is refused: a stream that begins after the table's
position, or that hasn't come so far; one that is copying the table just then; rows without a place in the log; an event of the
whole table in the segment that the position lies in, since it isn't told on which side of the position it stood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from tidegate.changes.batch import FILE, OFFSET, ChangeBatch, TableEvent
from tidegate.changes.position import BinlogPosition, Position
from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused, PositionLost
from tidegate.providers.changefiles.manifest import Manifest
from tidegate.providers.changefiles.stream import Stream


@dataclass(frozen=True, slots=True)
class Reached:
    """The last segment that a table has whole, and the place in the log up to which it has the next one."""

    segment: int
    dropping: BinlogPosition | None = None


def find(stream: Stream, first: int, newest: Manifest, table: TableName, position: BinlogPosition, connection: str) -> Reached:
    """Where a table that stands at ``position`` in its log goes on. PositionLost, with the reason, if it can't."""

    def lost(what: str) -> PositionLost:
        setting = "the live source, until the stream holds what follows; or copy the table again (tidegate resync)"
        return PositionLost(what, connection=connection, table=table, position=position, setting=setting)

    number = newest.number
    while number >= first:
        manifest = stream.manifest(number)
        here = _stands(manifest, table)
        if not isinstance(here, BinlogPosition):
            raise lost(
                f"the stream has no changes of the table from there on: at segment {number} it was copied anew, or not read yet"
            )
        order = here.compare(position)
        if order == "incomparable":
            raise lost(f"the stream holds another server's log, or another history of it: it stands at {here}")
        if order == "equal":
            return Reached(number)
        if order == "before":
            if number == newest.number:
                raise lost(f"the stream hasn't come so far: it ends at {here}")
            return Reached(number, position)
        number -= 1
    before = stream.manifest(first).after.get(table)
    if isinstance(before, BinlogPosition) and before.compare(position) in ("before", "equal"):
        return Reached(first - 1, position)
    raise lost(f"the stream begins with segment {first}, after that position")


def _stands(manifest: Manifest, table: TableName) -> Position | None:
    """Where the table stood in its source at the end of a segment."""
    return next((entry.position for entry in manifest.entries.values() if entry.target == table), None)


def past(batch: ChangeBatch, reached: Reached, manifest: Manifest, connection: str) -> ChangeBatch:
    """The rows of the segment that stand after the position in the log."""
    position = reached.dropping
    if position is None or manifest.number > reached.segment + 1:
        return batch
    table = batch.schema.table
    names = set(batch.data.column_names)
    if not {FILE, OFFSET} <= names or batch.data.column(FILE).null_count or batch.data.column(OFFSET).null_count:
        what = "rows without a place in the log, by which those before the position could be told"
        raise EventRefused(what, connection=connection, table=table, position=position)
    files = pc.dictionary_encode(batch.data.column(FILE)).combine_chunks()
    chunks = files.chunks if hasattr(files, "chunks") else [files]
    parts = []
    for chunk in chunks:
        sequences = np.array([int(name.rpartition(".")[2]) for name in chunk.dictionary.to_pylist()], dtype=np.int64)
        parts.append(sequences[chunk.indices.to_numpy(zero_copy_only=False)])
    sequence = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    offset = batch.data.column(OFFSET).to_numpy()
    keep = (sequence > position.sequence) | ((sequence == position.sequence) & (offset > position.offset))
    return batch if keep.all() else batch.filter(keep)


def check_event(event: TableEvent, reached: Reached, manifest: Manifest, connection: str) -> None:
    """PositionLost for an event of the whole table in the segment that the position lies in."""
    if reached.dropping is not None and manifest.number == reached.segment + 1:
        what = f"{event.what} in the segment that the position lies in, and it isn't told on which side of it"
        setting = "the live source until after it, or copy the table again (tidegate resync)"
        raise PositionLost(what, connection=connection, table=event.table, position=reached.dropping, setting=setting)
