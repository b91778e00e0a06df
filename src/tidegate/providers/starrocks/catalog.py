"""A table as StarRocks describes it: its model, its key, its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tidegate.changes.schema import TableName

Model = Literal["PRIMARY_KEYS", "UNIQUE_KEYS", "DUP_KEYS", "AGG_KEYS"]
"""As ``information_schema.tables_config.TABLE_MODEL`` says it."""


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
    generated: bool = False


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
