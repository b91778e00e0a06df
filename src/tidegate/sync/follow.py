"""What a run does about events of whole tables: follow them, pass over them, stop, or copy the table anew."""

from __future__ import annotations

import logging
from typing import Literal, get_args

import pyarrow as pa

from tidegate.changes.batch import TableEvent
from tidegate.changes.schema import Column
from tidegate.errors import EventRefused
from tidegate.sync.mapping import Target
from tidegate.sync.options import Initial
from tidegate.sync.plan import TablePlan, needs_consistent
from tidegate.sync.protocols import Capabilities, Copy, Sink

log = logging.getLogger(__name__)

Step = Literal["truncate", "fill", "pass", "broken"]
_CHOICES = "copy the table again (tidegate resync), leave it out of tables, or choose"


def step(event: TableEvent, table: TablePlan, capabilities: Capabilities, source: str) -> Step:
    """What becomes of the event under the table's ``on_ddl``. ``broken``: the table is to be copied anew.

    Raises EventRefused where the run has to stop, with the choices there are.
    """
    target = table.target
    options = target.options
    if options.on_ddl == "ignore" and event.kind != "unreadable":
        log.warning("%s: %s at %s is passed over (on_ddl='ignore')", event.table, event.what, event.position)
        return "pass"
    if options.on_ddl == "fail":
        raise _refused(event, event.what, "on_ddl='evolve', 'ignore' or 'resync'", source)
    if event.kind == "altered":
        return "pass"
    append = options.write_mode == "append"
    if event.kind == "column_added":
        # A log of changes holds what was known when each was made; change files keep the event itself.
        if (append and not capabilities.keeps_events) or event.column is None or event.column.name not in target.schema.names:
            return "pass"
        if _still(event.column, target):
            if event.kind in capabilities.follows:
                return "fill"
        elif options.on_ddl == "resync":
            return "broken"
    elif event.kind == "truncated" and (not append or capabilities.keeps_events) and event.kind in capabilities.follows:
        return "truncate"
    why = event.what if event.kind in ("broken", "unreadable") else f"{event.what}, which this target can't follow"
    if options.on_ddl != "resync":
        raise _refused(event, why, "on_ddl='resync' or 'ignore'", source)
    if needs_consistent(options) or table.preparation.needs_consistent or copy_anew(target, capabilities) is None:
        raise _refused(event, f"{why}; and under its options it can't be copied over what is there", "sync", source)
    log.warning("%s: %s at %s: it is copied anew (on_ddl='resync')", event.table, why, event.position)
    return "broken"


def _still(column: Column, target: Target) -> bool:
    """Whether an added column takes the same kind of values now: if not, what was written to it in between doesn't fit."""
    return bool(pa.types.is_string(column.type) == pa.types.is_string(target.schema.column(column.name).type))


def copy_anew(target: Target, capabilities: Capabilities) -> Copy | None:
    """How a table that holds rows already is copied again; None if the target knows no way.

    Beside the old rows, which the copy replaces when it is complete, wherever the table is a plain mirror. Rows that the options
    keep though the source no longer has them would be lost that way: then row by row.
    """
    options = target.options
    mirror = (options.write_mode, options.conflict_mode, options.delete_mode) == ("upsert", "upsert", "apply")
    if capabilities.shadow and mirror and not options.version_column and not options.ignore_nulls:
        return "shadow"
    if not capabilities.transactional and capabilities.shadow:
        # Without transactions no row can be told to be one that the copy didn't bring. Rows that a new copy would not make again
        # (kept by soft, ignore or an older version) stay, and so do those that the source has lost.
        return "merge"
    if "replace" not in capabilities.options.get("initial", get_args(Initial)):
        return None
    return "merge" if options.delete_mode == "ignore" else "replace"


def shadow_fits(target: Target, sink: Sink) -> bool:
    """Whether a table can be copied anew beside the old one, and nothing keeps it from taking that one's place."""
    return copy_anew(target, sink.capabilities) == "shadow" and not sink.inspect(sink.shadow(target)).problems


def _refused(event: TableEvent, why: str, setting: str, source: str) -> EventRefused:
    choices = f"{_CHOICES} another on_ddl" if "on_ddl" in setting else "begin anew under another sync and target table"
    return EventRefused(f"{why}; {choices}", connection=source, table=event.table, position=event.position, setting=setting)
