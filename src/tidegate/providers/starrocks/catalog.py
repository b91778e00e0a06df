"""A table as StarRocks describes it: its model, its key, its columns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from tidegate.changes.schema import TableName

Model = Literal["PRIMARY_KEYS", "UNIQUE_KEYS", "DUP_KEYS", "AGG_KEYS"]
"""fe KeysType.java."""


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column. ``type`` is the whole type as StarRocks writes it, in lower case: ``varchar(65533)``, ``bitmap``."""

    name: str
    type: str
    nullable: bool = True
    default: str | None = None
    """The default's text; None if there is none, or if it is NULL."""
    key: bool = False
    """Part of the table's sort or primary key."""
    aggregation: str | None = None
    """Of a value column of an aggregate table: SUM, REPLACE, BITMAP_UNION, HLL_UNION, …"""
    numbered: bool = False
    """AUTO_INCREMENT: StarRocks gives a number to a row that is new and doesn't bring one."""
    generated: bool = False
    refers: tuple[str, ...] = ()
    """Of a generated column: the columns that it is computed from."""

    @property
    def optional(self) -> bool:
        """Whether StarRocks fills the column of a new row that doesn't bring it."""
        return self.nullable or self.default is not None or self.numbered or self.generated


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """A table. ``key`` holds the primary, unique, aggregate or duplicate key in its order."""

    name: TableName
    model: Model
    columns: tuple[CatalogColumn, ...]
    key: tuple[str, ...]
    state: str = "NORMAL"
    """SCHEMA_CHANGE, ROLLUP, … while an ALTER is under way."""

    def column(self, name: str) -> CatalogColumn | None:
        """The column of this name, whatever the case: StarRocks tells column names apart without it."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)

    def uncomputed(self, brought: Collection[str]) -> dict[str, list[str]]:
        """Generated columns that a partial update with the columns ``brought`` can't compute, and what it lacks for each.

        StarRocks refuses such a load (fe Load.java, getPartialUpateColumns; documentation, "Generated columns").
        """
        there = {name.lower() for name in brought}
        lacking = {column.name: [name for name in column.refers if name.lower() not in there] for column in self.columns}
        return {name: lacks for name, lacks in lacking.items() if lacks}
