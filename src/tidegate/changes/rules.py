"""The rules by which a change meets what the target holds: the part of the write options that decides the net effect of a chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ConflictMode = Literal["upsert", "update", "ignore", "strict"]
DeleteMode = Literal["apply", "ignore", "soft"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How one change of a key meets the row that is there.

    A row that was deleted, or marked by ``delete_mode='soft'``, is not there: the next change of its key begins a new life.

    ``conflict_mode``
        ``upsert`` replaces the row (a column that the change leaves out keeps its value); ``update`` sets the listed ``columns`` of
        a row that is there and inserts one that isn't; ``ignore`` keeps the row that is there; ``strict`` takes inserts alone and
        refuses a key that is there.
    ``delete_mode``
        ``apply`` removes the row; ``ignore`` drops deletes, the delete half of a key change with them; ``soft`` keeps the row and
        marks it.
    ``columns``
        with ``update``: the columns to set; None: all that aren't key.
    ``version_column``
        a change whose version is lower than the row's is ignored; NULL is lower than any version. A delete asks no version.
    ``ignore_nulls``
        a NULL outside the key counts as left out.
    """

    conflict_mode: ConflictMode = "upsert"
    delete_mode: DeleteMode = "apply"
    columns: tuple[str, ...] | None = None
    version_column: str | None = None
    ignore_nulls: bool = False
