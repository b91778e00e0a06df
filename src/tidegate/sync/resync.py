"""Copying tables of a sync again, where their changes can't be had any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tidegate.changes.position import SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.sync.follow import copy_anew, shadow_fits
from tidegate.sync.lease import LEASE_SECONDS
from tidegate.sync.mapping import Sync, Target
from tidegate.sync.plan import needs_consistent, turned_to_text
from tidegate.sync.protocols import Copy, Entry, Sink, Source, resolve


def resync(sync: Sync, source: Source, sink: Sink, tables: Sequence[TableName], *, owner: str) -> None:
    """Let the next run copy these tables again, whatever position the ledger has for them.

    The copy replaces what the target holds: row by row, while readers see the old rows, and at its end the rows that the source no
    longer has are removed; ``delete_mode='ignore'`` keeps them. A table whose columns or key the target's don't fit any more is
    copied beside it, and takes its place at the end. Other tables of the sync go on from where they stand.

    Raises ConfigError for a table that can't be copied over what is there: its rows would stand twice (``append``), or be kept
    (``ignore``), or for a sync that has never run. Raises SyncBusy while another owner runs the sync.
    """
    part = sync.subset(tables)
    findings = source.preflight({mapping.source: None for mapping in part.tables})
    for problem in findings.problems:
        raise problem
    targets = {}
    for mapping in part.tables:
        schema = source.schema(mapping.source)
        if mapping.key is not None:
            schema = replace(schema, key=mapping.key)
        target = Target(mapping.target, schema, resolve(mapping.options, sink.capabilities))
        if needs_consistent(target.options) or sink.inspect(target).needs_consistent:
            what = "its options, or unique constraints of the target, allow no copy over what is there: use a new target table"
            raise ConfigError(what, connection=sink.name, table=mapping.target, setting="sync")
        targets[mapping.source] = target
    last = sink.ledger.last(sync.name)
    if not last:
        what = f"the ledger knows no sync {sync.name}: its first run copies every table anyway"
        raise ConfigError(what, connection=sink.name, setting="sync")
    outgrown = [table for table, target in targets.items() if _outgrown(last.get(table), target, sink)]
    sink.ledger.setup()
    lease = sink.ledger.acquire(sync.name, owner, LEASE_SECONDS)
    try:
        if sink.capabilities.shadow:
            for target in targets.values():
                sink.drop_shadow(target)  # of a copy that is given up by this one
        starts = source.start(list(targets), consistent=False)
        entries = []
        for table, target in targets.items():
            position = starts[table]
            if not isinstance(position, SnapshotPosition) or "replace" not in sink.capabilities.options["initial"]:
                what = f"{source.name} into {sink.name} knows no copy that replaces"
                raise ConfigError(what, connection=sink.name, table=target.table)
            # Under delete_mode='ignore' rows that the source no longer has are there to stay.
            copy: Copy = "merge" if target.options.delete_mode == "ignore" else "replace"
            if not sink.capabilities.transactional:
                copy = copy_anew(target, sink.capabilities) or copy
            if table in outgrown:
                copy = "shadow"
            entries.append(Entry(sync.name, table, target.table, position, copy=copy, schema=target.schema))
        sink.ledger.record(lease, entries)
    finally:
        sink.ledger.release(lease)


def _outgrown(entry: Entry | None, target: Target, sink: Sink) -> bool:
    """Whether rows of the source no longer fit the target table, and a table of its own can take its place."""
    known = entry.schema if entry is not None else None
    moved = bool(turned_to_text(known, target.schema)) or (known is not None and known.key != target.key)
    if not moved and not sink.inspect(target).problems:
        return False
    return shadow_fits(target, sink)
