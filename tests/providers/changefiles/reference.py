"""Replays change batches by the reference model, one change at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from tests.model import Change, Model
from tidegate.changes.batch import KIND, ChangeBatch, Chunk, RowKind
from tidegate.changes.schema import TableName, TableSchema


def changes_of(batch: ChangeBatch) -> Iterator[Change]:
    """The changes that a batch of whole rows holds."""
    rows = iter(batch.data.select([KIND, *batch.schema.names]).to_pylist())
    for row in rows:
        kind = RowKind(row.pop(KIND))
        if kind == RowKind.UPDATE_BEFORE:
            after = next(rows)
            del after[KIND]
            yield Change(row, after)
        else:
            yield Change(None, row) if kind == RowKind.INSERT else Change(row, None)


class Replica:
    """Tables that chunks are applied to."""

    def __init__(self, schemas: Mapping[TableName, TableSchema]) -> None:
        self._models = {table: Model(schema.names, schema.key) for table, schema in schemas.items()}

    def apply(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            for batch in chunk.batches:
                self._models[batch.schema.table].apply(changes_of(batch))

    def differing(self, table: TableName, rows: pa.Table) -> list[tuple[Any, ...]]:
        """Keys whose row is not the one in ``rows``, or that only one side has."""
        model = self._models[table]
        expected = {tuple(row[column] for column in model.key): row for row in rows.to_pylist()}
        actual = model.live()
        # repr, since 0.0 equals -0.0.
        return [key for key in expected.keys() | actual.keys() if repr(expected.get(key)) != repr(actual.get(key))]
