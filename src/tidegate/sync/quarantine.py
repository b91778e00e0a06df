"""Finding the rows that a target refuses: split and try again until they stand alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.fold import key_codes
from tidegate.errors import RowRefused
from tidegate.sync.results import WriteResult

MOST_REFUSED = 1000
"""Refused groups of one batch past which it is the table that is wrong, not the rows."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Changes that stand and fall together, and what the target said."""

    batch: ChangeBatch
    error: RowRefused


def isolate(
    batch: ChangeBatch, attempt: Callable[[ChangeBatch], WriteResult], most: int | None = None
) -> tuple[WriteResult, list[Refused]]:
    """Write all of ``batch`` but the changes that are refused.

    ``attempt`` writes a part of it, all or nothing, and raises RowRefused if it can't. All changes of a key stay together and in
    order, and so do keys that an update of the key links. Returns what was written, and what wasn't. Raises the last RowRefused
    once more than ``most`` groups (MOST_REFUSED) have been refused.
    """
    most = MOST_REFUSED if most is None else most
    try:
        return attempt(batch), []
    except RowRefused as error:
        first = error
    pending = [(batch, first)]
    written = WriteResult()
    refused: list[Refused] = []
    while pending:
        part, why = pending.pop()
        labels = components(part)
        if len(np.unique(labels)) == 1:
            refused.append(Refused(part, why))
            if len(refused) > most:
                raise why
            continue
        for half in halves(part, labels):
            try:
                written += attempt(half)
            except RowRefused as again:
                pending.append((half, again))
    return written, refused


def halves(batch: ChangeBatch, labels: npt.NDArray[np.int64]) -> tuple[ChangeBatch, ChangeBatch]:
    """Two parts of about as many groups of changes; ``labels`` are the batch's :func:`components`."""
    numbers = np.unique(labels)
    second = labels >= numbers[len(numbers) // 2]
    return batch.filter(~second), batch.filter(second)


def is_alone(batch: ChangeBatch) -> bool:
    """Whether all of it stands and falls together, so that it can't be split."""
    return len(np.unique(components(batch))) < 2


def components(batch: ChangeBatch) -> npt.NDArray[np.int64]:
    """A number per row, the same for changes that stand and fall together, rising in the order in which they begin.

    By key where the table has one; without a key each change stands alone.
    """
    kinds = batch.kinds
    before = np.flatnonzero(kinds == RowKind.UPDATE_BEFORE)
    if not batch.schema.key:
        begins = np.ones(len(kinds), dtype=np.int64)
        begins[before + 1] = 0
        return np.cumsum(begins) - 1
    codes = np.unique(key_codes(batch.data.select(list(batch.schema.key)), batch), return_inverse=True)[1]
    labels = _linked(codes.astype(np.int64), codes[before], codes[before + 1])
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _linked(codes: npt.NDArray[np.int64], left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The codes, each replaced by the lowest that it is linked to."""
    lowest = np.arange(int(codes.max(initial=-1)) + 1)
    while True:
        # Both ends of a link take the lower root; then every code jumps to the root of its root.
        low = np.minimum(lowest[left], lowest[right])
        changed = lowest.copy()
        np.minimum.at(changed, lowest[left], low)
        np.minimum.at(changed, lowest[right], low)
        changed = changed[changed]
        if (changed == lowest).all():
            return lowest[codes]
        lowest = changed
