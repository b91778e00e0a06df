"""What the user asks of a write. Operators, IO managers and verbs take these fields by keyword and add no meaning of their own."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from tidegate.changes.rules import ConflictMode, DeleteMode, Rules
from tidegate.errors import ConfigError

WriteMode = Literal["upsert", "append", "overwrite"]
OnError = Literal["fail", "quarantine", "skip"]
Initial = Literal["refuse", "replace", "merge"]
Method = Literal["copy", "insert", "upsert"]
OnDdl = Literal["evolve", "fail", "ignore", "resync"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "write_mode": get_args(WriteMode),
    "conflict_mode": get_args(ConflictMode),
    "delete_mode": get_args(DeleteMode),
    "on_error": get_args(OnError),
    "initial": get_args(Initial),
    "method": get_args(Method),
    "on_ddl": get_args(OnDdl),
}
_RANGES: dict[str, tuple[float, float]] = {
    "batch_rows": (1, 5_000_000),
    "batch_bytes": (64 * 1024, 10 * 1024**3),
    "flush_interval": (1, 86_400),
    "max_retries": (0, 1000),
    "retry_wait": (0, 3600),
    "parallelism": (1, 64),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How rows are written. None means: what suits the target (its docs page says what that is).

    ``write_mode``
        ``upsert`` mirrors the source by key. ``append`` stores the change log, one row a change; with ``op_column`` all four kinds,
        without it inserts alone. ``overwrite`` replaces the whole table by the rows given, atomically.
    ``conflict_mode``, ``delete_mode``, ``columns``, ``version_column``, ``ignore_nulls``
        how a change meets the row that is there: :class:`tidegate.changes.rules.Rules`.
    ``op_column``
        with ``append``: the column that takes the kind, as INSERT, UPDATE_BEFORE, UPDATE_AFTER or DELETE.
    ``soft_delete_column``
        with ``delete_mode='soft'``: the boolean column that marks a deleted row.
    ``on_error``
        what becomes of a row that the target refuses: ``fail`` stops and writes nothing of the window; ``quarantine`` stores it,
        with all changes of its key in the chunk, and goes on; ``skip`` goes on without it, counted and logged.
    ``initial``
        the first run into a table that holds rows: ``refuse``; ``replace``, after which it holds what the source holds; ``merge``.
    ``on_ddl``
        what becomes of a statement that changes the whole table at the source: ``evolve`` follows it where the outcome is known (a
        column added with NULL or a constant in it, TRUNCATE, a wider type) and stops at any other; ``fail`` stops at each;
        ``ignore`` goes on as if it had not been; ``resync`` follows as ``evolve`` does, and copies the table anew where that stops.
    ``method``
        ``copy``: COPY into a staging table, then one statement; ``insert``: the same, staged by INSERT … VALUES;
        ``upsert``: INSERT … VALUES … ON CONFLICT straight into the table.
    ``batch_rows``, ``batch_bytes``
        rows and bytes of a chunk, the piece that is in memory at once.
    ``flush_interval``
        seconds after which what was read is committed, at the next transaction boundary, though the window goes on.
    ``max_retries``, ``retry_wait``
        n retries are n + 1 attempts; seconds before the first of them, doubled each time, with jitter.
    ``properties``
        with a target that loads files of rows over HTTP: settings of the load in the target's own words, passed on as they are
        (StarRocks: any header of Stream Load, the vendor's ``sink.properties.*``).
    ``parallelism``
        connections at most that bring the rows of one table at a time, where they are merged (``method='copy'``).
    """

    write_mode: WriteMode = "upsert"
    conflict_mode: ConflictMode = "upsert"
    delete_mode: DeleteMode = "apply"
    on_error: OnError = "fail"
    initial: Initial = "refuse"
    on_ddl: OnDdl = "evolve"
    method: Method | None = None
    columns: tuple[str, ...] | None = None
    version_column: str | None = None
    ignore_nulls: bool = False
    op_column: str | None = None
    soft_delete_column: str | None = None
    batch_rows: int | None = None
    batch_bytes: int | None = None
    flush_interval: float | None = None
    max_retries: int | None = None
    retry_wait: float | None = None
    parallelism: int | None = None
    properties: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.columns, list):
            object.__setattr__(self, "columns", tuple(self.columns))
        if isinstance(self.properties, str):
            object.__setattr__(self, "properties", _object(self.properties))
        if self.properties is not None and not isinstance(self.properties, Mapping):
            raise ConfigError(f"a {type(self.properties).__name__} is no mapping of names to values", setting="properties")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise ConfigError(f"{value!r} is not one of {', '.join(choices)}", setting=name)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{value!r} is not a number", setting=name)
            if not low <= value <= high:
                raise ConfigError(f"{value} is outside {low:g} to {high:g}", setting=name)
        self._check_combination()

    def _check_combination(self) -> None:
        def refuse(when: object, message: str, setting: str) -> None:
            if when:
                raise ConfigError(message, setting=setting)

        append, update = self.write_mode == "append", self.conflict_mode == "update"
        refuse(self.op_column and not append, "goes with write_mode='append'", "op_column")
        refuse(
            append and self.delete_mode == "soft",
            "append keeps every change; soft marks a row that is merged by key",
            "delete_mode",
        )
        refuse(append and self.conflict_mode != "upsert", "append merges nothing, so no conflict can arise", "conflict_mode")
        refuse(append and (self.version_column or self.ignore_nulls or self.columns), "append stores whole changes", "write_mode")
        refuse(
            (self.parallelism or 1) > 1 and self.method not in (None, "copy"),
            "several connections bring rows by COPY: it goes with method='copy'",
            "parallelism",
        )
        refuse(self.columns is not None and not update, "goes with conflict_mode='update'", "columns")
        refuse(self.columns is not None and not self.columns, "names no column", "columns")
        refuse(
            self.version_column and self.conflict_mode not in ("upsert", "update"),
            "goes with conflict_mode 'upsert' or 'update'",
            "version_column",
        )
        refuse(
            self.version_column and self.columns is not None and self.version_column not in self.columns,
            f"lacks the version_column {self.version_column}, which has to move with the row",
            "columns",
        )
        refuse(
            (self.delete_mode == "soft") != (self.soft_delete_column is not None),
            "delete_mode='soft' and soft_delete_column go together",
            "soft_delete_column",
        )
        refuse(self.delete_mode == "soft" and self.conflict_mode == "strict", "strict takes inserts alone", "delete_mode")

    @property
    def rules(self) -> Rules:
        """The part that decides the net effect of a chunk."""
        return Rules(self.conflict_mode, self.delete_mode, self.columns, self.version_column, self.ignore_nulls)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> WriteOptions:
        """From names and values; ConfigError for a name that is no option, with the nearest that is."""
        check_names(values, names())
        return cls(**values)

    def override(self, values: Mapping[str, Any]) -> WriteOptions:
        """These options with some of them replaced, for one table."""
        check_names(values, names())
        return replace(self, **values)


def _object(text: str) -> dict[str, Any]:
    """Properties as a command line has them."""
    try:
        found = json.loads(text)
    except ValueError:
        raise ConfigError("is not a JSON object", setting="properties") from None
    if not isinstance(found, dict):
        raise ConfigError("is not a JSON object", setting="properties")
    return found


def names() -> tuple[str, ...]:
    """The names of all write options."""
    return tuple(item.name for item in fields(WriteOptions))


def check_names(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """ConfigError for a name that isn't known, with the nearest that is."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            raise ConfigError(f"unknown option {name}{hint}", setting=name)
