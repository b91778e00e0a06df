"""What can go wrong, split in two: a :class:`TransientError` is worth a retry, a :class:`PermanentError` is not.

::

    TidegateError
    ├── TransientError          the same call may succeed later
    │   ├── Unavailable         a server that can't be reached, a dropped connection, a deadlock, a time-out
    │   ├── SyncBusy            another run holds the lease of the sync
    │   └── LoadUnresolved      a load whose outcome the target can't tell yet
    └── PermanentError          somebody has to change something first
        ├── ConfigError         an unknown option, a value out of range, a combination the target can't do
        ├── PreflightError      the source or the target is not set up for what was asked
        ├── SchemaError         a table or column that is missing, or doesn't fit
        ├── PositionLost        the stored position was purged, or belongs to another server or history
        ├── EventRefused        a binlog event or change record that can't be applied
        ├── RowRefused          the target refused a row's values
        ├── ConflictError       ``conflict_mode='strict'`` met a key that exists
        ├── LeaseLost           this run was taken over; it wrote nothing
        └── CorruptSegment      a change file that differs from its manifest

Messages name the connection, the table, the position and the setting that would change the outcome. They never hold a password,
a DSN or a row's values: keys and rows travel as attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TidegateError(Exception):
    """The root. ``connection``, ``table``, ``position`` and ``setting`` are also attributes, None where they don't apply."""

    def __init__(
        self,
        message: str,
        *,
        connection: str | None = None,
        table: object | None = None,
        position: object | None = None,
        setting: str | None = None,
    ) -> None:
        self.connection = connection
        self.table = None if table is None else str(table)
        self.position = None if position is None else str(position)
        self.setting = setting
        where = [
            f"{label} {value}"
            for label, value in (("connection", connection), ("table", self.table), ("position", self.position))
            if value
        ]
        text = f"{', '.join(where)}: {message}" if where else message
        if setting:
            text = f"{text} [{setting}]"
        super().__init__(text)


class TransientError(TidegateError):
    """The same call may succeed later; retries are for these alone."""


class Unavailable(TransientError):
    """A server that can't be reached, a dropped connection, a deadlock or a time-out."""


class SyncBusy(TransientError):
    """Another owner holds a live lease of the sync; nothing was read or written."""


class LoadUnresolved(TransientError):
    """A load was sent, its reply was lost and the target can't yet say what became of it."""


class PermanentError(TidegateError):
    """Trying again changes nothing: somebody has to change something first."""


class ConfigError(PermanentError):
    """An unknown option, a value out of range, or a combination that the target can't do."""


class PreflightError(PermanentError):
    """The source or the target is not set up for what was asked: a setting, a privilege, a table that is not empty."""


class SchemaError(PermanentError):
    """A table or a column that is missing, or that doesn't fit."""


class PositionLost(PermanentError):
    """The stored position was purged, or belongs to another server or to another history of this one."""


class EventRefused(PermanentError):
    """A binlog event or a change record that can't be applied without risking the data."""


class RowRefused(PermanentError):
    """The target refused a row. ``column`` where it is known; ``rows`` holds the values and is never in the message."""

    def __init__(self, message: str, *, column: str | None = None, rows: Any = None, **where: Any) -> None:
        self.column = column
        self.rows = rows
        super().__init__(f"column {column}: {message}" if column else message, **where)


class ConflictError(PermanentError):
    """``conflict_mode='strict'`` met keys that exist. ``keys`` holds some of them (a list of tuples), never the message."""

    def __init__(self, message: str, *, keys: Sequence[tuple[Any, ...]] = (), **where: Any) -> None:
        self.keys = list(keys)
        super().__init__(message, **where)


class LeaseLost(PermanentError):
    """The lease was taken over by another run with a higher fence: this one has written nothing and must not try again."""


class CorruptSegment(PermanentError):
    """A change file whose rows, schema or checksum differ from its manifest."""
