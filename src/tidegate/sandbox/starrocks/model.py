"""What the sandbox keeps of a table besides its rows, and what a load says of itself.

Everything here is immutable (or is only counted up by the engine) and may be handed between threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from tidegate.errors import PermanentError

Model = Literal["PRIMARY_KEYS", "UNIQUE_KEYS", "DUP_KEYS", "AGG_KEYS"]
"""As ``information_schema.tables_config.TABLE_MODEL`` says it."""

AGGREGATIONS = ("SUM", "MIN", "MAX", "REPLACE", "REPLACE_IF_NOT_NULL", "BITMAP_UNION", "HLL_UNION")


class EngineError(PermanentError):
    """A statement that the server refuses: no such table, a name that is taken, a type that can't be a key."""


@dataclass(frozen=True, slots=True)
class ColumnDef:
    """A column. ``type`` is the whole type as StarRocks writes it, in lower case: ``varchar(20)``, ``array<int>``, ``bitmap``."""

    name: str
    type: str
    nullable: bool = True
    default: str | None = None
    """The default's text (``0``, ``CURRENT_TIMESTAMP``); None if there is none, or if it is NULL."""
    key: bool = False
    aggregation: str | None = None
    """Of a value column of an aggregate table: one of :data:`AGGREGATIONS`."""
    comment: str = ""
    auto_increment: bool = False
    """AUTO_INCREMENT: rows that bring no value, or NULL, get the next number."""
    generated: str | None = None
    """The expression of a generated column, in StarRocks' SQL; such columns stand behind all others."""

    @property
    def optional(self) -> bool:
        """May a row leave it out?"""
        return self.nullable or self.default is not None or self.auto_increment


@dataclass(frozen=True, slots=True)
class TableDef:
    """A table. ``key`` holds the columns of its primary, unique, aggregate or duplicate key in their order."""

    db: str
    name: str
    model: Model
    columns: tuple[ColumnDef, ...]
    key: tuple[str, ...]
    distribution: tuple[str, ...] = ()
    """The columns of DISTRIBUTED BY HASH; empty for RANDOM."""
    buckets: int = 1
    properties: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    state: str = "NORMAL"
    """SCHEMA_CHANGE while an ALTER is under way; a load is taken meanwhile, a second ALTER is not."""

    def column(self, name: str) -> ColumnDef | None:
        """The column of this name, whatever the case."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class AlterJob:
    """An ALTER TABLE that runs on its own: what ``SHOW ALTER TABLE COLUMN`` lists. ``state`` is RUNNING or FINISHED."""

    id: int
    db: str
    table: str
    created: float
    finished: float | None
    state: str


@dataclass(frozen=True, slots=True)
class Staged:
    """What one body became: rows that are converted and counted, and not yet in the table. Written once, read by any thread.

    ``rows`` has the table's columns (those that the load names) in the types of DuckDB; ``ops`` is int8, 0 upsert and 1 delete, and
    None where every row is an upsert. Total = loaded + filtered + unselected.
    """

    db: str
    table: str
    rows: pa.Table
    ops: pa.Array | None
    total: int
    filtered: int
    unselected: int
    bytes: int
    error_lines: tuple[str, ...] = ()
    """The lines of the ErrorURL; empty without filtered rows."""
    rejected_rows: tuple[str, ...] = ()
    """What ``log_rejected_record_num`` asks for: the filtered rows, as they came."""
    partial: str | None = None
    """``row`` or ``column`` for a partial update."""
    merge_condition: str | None = None

    @property
    def loaded(self) -> int:
        """How many rows are to be written."""
        return self.total - self.filtered - self.unselected


class LoadFailed(PermanentError):
    """A load that the server refuses with this ``message``, word for word as in its reply's ``Message``.

    ``error_lines`` are the lines of the ErrorURL (empty: no ErrorURL), the counts those of the reply.
    """

    def __init__(
        self,
        message: str,
        error_lines: Sequence[str] = (),
        *,
        total: int = 0,
        filtered: int = 0,
        unselected: int = 0,
        loaded: int = 0,
        rejected_rows: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_lines = tuple(error_lines)
        self.rejected_rows = tuple(rejected_rows)
        self.total = total
        self.filtered = filtered
        self.unselected = unselected
        self.loaded = loaded
