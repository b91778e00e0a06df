"""What a write did and what a run did. JSON-able, so that an orchestrator can keep and show them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tidegate.changes.position import Position, to_json


@dataclass(slots=True)
class WriteResult:
    """Rows by what became of them. A count that the target can't tell is None, never invented."""

    rows: int = 0
    """Changes that were to be written; an update is one, though it travels as two rows."""
    inserted: int | None = 0
    updated: int | None = 0
    deleted: int | None = 0
    ignored: int | None = 0
    """Kept out by ``conflict_mode='ignore'``, an older version, or ``delete_mode='ignore'``."""
    not_found: int | None = 0
    """Deletes and updates of keys that the target doesn't have."""
    folded: int | None = 0
    """Overtaken by a later change of the same key in the same chunk."""
    quarantined: int = 0
    skipped: int = 0
    filtered: int = 0
    """Rows that the target itself left out as faulty, within the share that it was allowed to; part of ``rows``."""
    bytes: int = 0
    loads: int = 0
    failed_loads: int = 0
    """Loads that were refused or given up, of those that the target counts one by one."""
    retries: int = 0
    seconds: float = 0.0

    def __add__(self, other: WriteResult) -> WriteResult:
        total = WriteResult()
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            setattr(total, item.name, None if mine is None or theirs is None else mine + theirs)
        return total


@dataclass(frozen=True, slots=True)
class TableResult:
    """One table of a run."""

    source: str
    target: str
    phase: str
    """``snapshot`` (the first copy, and the changes since), ``changes``, or ``idle`` (nothing to do)."""
    write: WriteResult
    position: Position
    read: int = 0
    """Rows read from the source; an update counts once."""
    lag_seconds: float | None = None
    """Age of the newest change applied, at the end of the run; 0 for a table that is level with an idle source."""
    ddl: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {
            "write": asdict(self.write),
            "position": to_json(self.position),
            "ddl": list(self.ddl),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class SyncResult:
    """A finished run."""

    sync: str
    tables: tuple[TableResult, ...]
    seconds: float = 0.0
    warnings: tuple[str, ...] = field(default_factory=tuple)

    @property
    def rows(self) -> int:
        return sum(table.write.rows for table in self.tables)

    def table(self, source: str) -> TableResult:
        return next(table for table in self.tables if table.source == source)

    def to_json(self) -> dict[str, Any]:
        return {
            "sync": self.sync,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
            "tables": {table.source: table.to_json() for table in self.tables},
        }
