"""What a run would do to each table, and why it can't: nothing is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from tidegate.changes.position import Position, SnapshotPosition, to_json
from tidegate.changes.schema import TableName, TableSchema, fold
from tidegate.errors import ConfigError, PermanentError, PreflightError, SchemaError, TidegateError
from tidegate.sync.mapping import Sync, TableMapping, Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Capabilities, Copy, Entry, Preparation, Sink, Source, resolve

Action = Literal["copy", "resume copy", "changes", "begin"]


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table: what will happen to it."""

    source: TableName
    target: Target
    action: Action
    position: Position | None
    """Where it stands; None before its first run."""
    start: str
    """Where the first run begins: ``snapshot``, or what the source can :meth:`~tidegate.sync.protocols.Source.locate`."""
    copy: Copy | None
    consistent: bool
    """Copied in one view at one position, in one piece, since overlap can't be made good under its options."""
    preparation: Preparation
    entry: Entry | None
    rows: int | None
    """About how many rows are to be read."""
    problems: tuple[TidegateError, ...]
    warnings: tuple[str, ...]

    @property
    def loads(self) -> int | None:
        """About how many chunks that makes."""
        batch = self.target.options.batch_rows
        return None if self.rows is None or not batch else max(1, math.ceil(self.rows / batch))

    def to_json(self) -> dict[str, Any]:
        return {
            "source": str(self.source),
            "target": str(self.target.table),
            "action": self.action,
            "copy": self.copy,
            "consistent": self.consistent,
            "position": None if self.position is None else to_json(self.position),
            "key": list(self.target.key),
            "rows": self.rows,
            "loads": self.loads,
            "strategy": self.preparation.strategy,
            "ddl": list(self.preparation.ddl),
            "grants": list(self.preparation.grants),
            "problems": [str(problem) for problem in self.problems],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do. ``str(plan)`` is for people."""

    sync: Sync
    tables: tuple[TablePlan, ...]
    general: tuple[TidegateError, ...] = ()
    warnings: tuple[str, ...] = ()
    ledger_ddl: tuple[str, ...] = ()

    def table(self, source: TableName) -> TablePlan:
        return next(table for table in self.tables if table.source == source)

    @property
    def problems(self) -> tuple[TidegateError, ...]:
        """All that stands in the way, tables last."""
        return (*self.general, *(problem for table in self.tables for problem in table.problems))

    @property
    def ddl(self) -> tuple[str, ...]:
        """The statements and grants that a run needs, each once, for accounts that may not create tables."""
        tables = [table.preparation for table in self.tables]
        return tuple(dict.fromkeys((*self.ledger_ddl, *(each for found in tables for each in (*found.ddl, *found.grants)))))

    def check(self) -> None:
        """Raise what stands in the way: the one problem, or all of them in one error of the first's class."""
        problems = self.problems
        if len(problems) == 1:
            raise problems[0]
        if problems:
            kind = type(problems[0]) if all(type(item) is type(problems[0]) for item in problems) else PreflightError
            raise kind("\n".join([f"{len(problems)} problems:", *(f"- {problem}" for problem in problems)]))

    def to_json(self) -> dict[str, Any]:
        return {
            "sync": self.sync.name,
            "problems": [str(problem) for problem in self.general],
            "warnings": list(self.warnings),
            "tables": [table.to_json() for table in self.tables],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"sync {self.sync.name}: {len(self.tables)} tables, {len(self.problems)} problems"
        for table in self.tables:
            yield ""
            yield f"{table.source} → {table.target.table}   {describe(table)}"
            yield f"  key {', '.join(table.target.key) or 'none'}; {table.preparation.strategy}"
            if table.rows is not None:
                yield f"  about {table.rows:,} rows in {table.loads} chunks"
            for statement in table.preparation.ddl:
                yield f"  run: {statement}"
            for warning in table.warnings:
                yield f"  note: {warning}"
            for problem in table.problems:
                yield f"  can't: {problem}"
        for warning in self.warnings:
            yield f"note: {warning}"
        for problem in self.general:
            yield f"can't: {problem}"


def describe(table: TablePlan) -> str:
    """The action in words."""
    if table.action == "changes":
        return f"changes since {table.position}"
    if table.action == "begin":
        return f"changes from {table.start} on; the rows that are there stay as they are"
    how = {
        "fresh": "first copy into an empty table",
        "replace": "first copy; rows that the source doesn't have are removed",
        "merge": "first copy; other rows stay",
        "shadow": "copied anew beside the old rows, which it replaces when it is complete",
    }
    text = how[table.copy or "fresh"]
    if table.action == "resume copy":
        text = f"{text}, going on after {table.position}"
    return f"{text}, in one consistent view" if table.consistent else f"{text}, then the changes since it began"


def plan(sync: Sync, source: Source, sink: Sink) -> Plan:
    """What a run of the sync would do now. Reads source, target and ledger; writes nothing."""
    last = sink.ledger.last(sync.name)
    owners = sink.ledger.owners([mapping.target for mapping in sync.tables])
    findings = source.preflight({mapping.source: _position(last.get(mapping.source)) for mapping in sync.tables})
    # The schema of a table with a finding of its own can't be had, or would say the same again.
    broken = {problem.table for problem in findings.problems}
    tables = [
        _table(mapping, source, sink, last.get(mapping.source), owners.get(mapping.target), sync)
        for mapping in sync.tables
        if str(mapping.source) not in broken
    ]
    return Plan(sync, tuple(tables), findings.problems, findings.warnings, tuple(sink.ledger.ddl()))


def _position(entry: Entry | None) -> Position | None:
    return None if entry is None else entry.position


def _table(mapping: TableMapping, source: Source, sink: Sink, entry: Entry | None, owner: str | None, sync: Sync) -> TablePlan:
    schema = source.schema(mapping.source)
    own_key = schema.key
    if mapping.key is not None:
        schema = replace(schema, key=mapping.key)
    options = resolve(mapping.options, sink.capabilities)
    there = sink.describe(mapping.target) if options.on_ddl == "ignore" else None
    left_out: list[str] = []
    if there is not None:
        if sink.capabilities.ignores_case:
            there = there.called(schema.names)
        left_out = [name for name in schema.names if name not in there.names and name not in schema.key]
        schema = schema.select(name for name in schema.names if name not in left_out)
    target = Target(mapping.target, schema, options)
    problems: list[TidegateError] = [*refusals(target, sink.capabilities, sink.name), *_schema_problems(target, entry, sink)]
    if owner is not None and owner != sync.name:
        what = (
            f"belongs to the sync {owner}; two syncs on one table would undo each other's work (docs/recovery.md: handing it over)"
        )
        problems.append(ConfigError(what, connection=sink.name, table=target.table, setting="sync"))
    if options.write_mode == "overwrite":
        what = (
            "overwrite replaces the table by the rows of one write, and a sync brings changes: use upsert, with initial='replace'"
        )
        problems.append(ConfigError(what, connection=sink.name, table=target.table, setting="write_mode"))
    shadow = entry is not None and entry.copy == "shadow"
    preparation = sink.inspect(sink.shadow(target) if shadow else target)
    problems += [*preparation.problems, *_other_table(target, entry, preparation, sink)]
    position = _position(entry)
    copy: Copy | None = None
    if entry is None and mapping.start != "snapshot":
        action: Action = "begin"
        try:
            source.locate(mapping.start)
        except PermanentError as error:
            problems.append(error)
    elif entry is None:
        action = "copy"
        copy = _copy_mode(preparation, options, sink.capabilities)
        if copy == "shadow":
            beside = sink.inspect(sink.shadow(target))
            problems += [problem for problem in beside.problems if str(problem) not in map(str, problems)]
            ddl, grants = (*preparation.ddl, *beside.ddl), (*preparation.grants, *beside.grants)
            preparation = replace(preparation, ddl=ddl, grants=grants)
        if copy == "fresh" and own_key != target.key:
            copy = "merge"  # pages follow the source's own key: one of another may come twice
        if preparation.exists and not preparation.empty and options.initial == "refuse":
            what = "holds rows, and this sync has never written to it: replace them, or merge into them"
            problems.append(PreflightError(what, connection=sink.name, table=target.table, setting="initial='replace' or 'merge'"))
    elif isinstance(position, SnapshotPosition):
        assert entry is not None
        action, copy = "resume copy", entry.copy
        if copy == "fresh" and not sink.capabilities.transactional:
            copy = "merge"  # a page that nobody recorded may be in
    else:
        action = "changes"
    if copy is not None and preparation.no_copy:
        problems.append(ConfigError(preparation.no_copy, connection=sink.name, table=target.table, setting="start='latest'"))
    # Without a key of its own a table can't be paged, and a part of it not be gone on from.
    consistent = action == "copy" and (preparation.needs_consistent or needs_consistent(options) or not own_key)
    warnings = [*preparation.warnings, *_schema_changes(schema, entry)]
    if left_out:
        warnings.append(f"the table lacks {', '.join(left_out)}, and on_ddl='ignore' adds no column: they are left out")
    if options.write_mode == "append" and options.op_column is None:
        others = "an UPDATE" if options.delete_mode == "ignore" else "an UPDATE or DELETE"
        warnings.append(f"write_mode='append' without op_column takes inserts alone: {others} at the source stops the sync")
    rows = source.estimate(mapping.source, position)
    return TablePlan(
        source=mapping.source,
        target=target,
        action=action,
        position=position,
        start=mapping.start,
        copy=copy,
        consistent=consistent,
        preparation=preparation,
        entry=entry,
        rows=rows,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _copy_mode(preparation: Preparation, options: WriteOptions, capabilities: Capabilities) -> Copy:
    if not preparation.exists or preparation.empty:
        return "fresh"
    if options.initial != "replace":
        return "merge"
    # Without transactions no row can be told to be one that the copy didn't bring.
    return "replace" if capabilities.transactional or not capabilities.shadow else "shadow"


def needs_consistent(options: WriteOptions) -> bool:
    """Whether a copy and the changes since may not overlap: an overlap is made good by upsert and update alone."""
    return options.write_mode == "append" or options.conflict_mode in ("ignore", "strict")


def refusals(target: Target, capabilities: Capabilities, connection: str) -> Iterator[PermanentError]:
    """What the target, or any target, can't do with these options."""
    options = target.options
    for name, taken in capabilities.options.items():
        value = getattr(options, name)
        if value is not None and value not in taken:
            reason = capabilities.refusals.get(f"{name}={value}") or capabilities.refusals.get(name) or "the target can't do it"
            yield ConfigError(f"{name}={value!r}: {reason}", connection=connection, table=target.table, setting=name)
    names = target.schema.names
    if options.write_mode == "upsert" and not target.key:
        what = "the table has no primary key and no unique key without NULLs, by which rows could be merged: name one, or append"
        yield SchemaError(what, table=target.schema.table, setting="key=[...] or write_mode='append'")
    for setting, columns in (("columns", options.columns or ()), ("version_column", (options.version_column,))):
        if missing := [name for name in columns if name is not None and name not in names]:
            yield ConfigError(f"names no column of the source: {', '.join(missing)}", table=target.schema.table, setting=setting)
    if options.columns and (keys := [name for name in options.columns if name in target.key]):
        yield ConfigError(f"key columns can't be set: {', '.join(keys)}", table=target.schema.table, setting="columns")
    for setting in ("op_column", "soft_delete_column"):
        if (name := getattr(options, setting)) in names:
            yield ConfigError(f"the source has a column {name} already", table=target.schema.table, setting=setting)


def _schema_problems(target: Target, entry: Entry | None, sink: Sink) -> Iterator[PermanentError]:
    known = entry.schema if entry is not None else None
    if texts := [*turned_to_text(known, target.schema), *_met_by_text(known, target, sink)]:
        what = f"{', '.join(texts)} became text at the source, which a target column of the old type would change or refuse"
        yield SchemaError(what, table=target.schema.table, setting="tidegate resync, or on_ddl='resync'")
    if known is not None and target.options.write_mode != "append" and known.key != target.key:
        what = f"the key was ({', '.join(known.key)}) and is ({', '.join(target.key)}); the target's rows are under the old one"
        yield SchemaError(what, table=target.schema.table, setting="key=[...], or tidegate resync once the target has the new key")


def _met_by_text(known: TableSchema | None, target: Target, sink: Sink) -> list[str]:
    """Texts that are new at the source, and whose name a column of another kind has in the target: it was dropped or renamed at the
    source before."""
    if known is None:
        return []
    new = [column.name for column in target.schema.columns if pa.types.is_string(column.type) and column.name not in known.names]
    there = sink.describe(target.table) if new else None
    if there is None:
        return []
    before = {column.name: column.type for column in there.columns}
    return [name for name in new if not pa.types.is_string(before.get(name, pa.string()))]


def turned_to_text(known: TableSchema | None, now: TableSchema) -> list[str]:
    """Columns that were of another kind and are texts now: a target's column of the old kind would read them as its own values."""
    before = {} if known is None else {column.name: column.type for column in known.columns}
    return [
        column.name
        for column in now.columns
        if pa.types.is_string(column.type) and not pa.types.is_string(before.get(column.name, column.type))
    ]


def _other_table(target: Target, entry: Entry | None, preparation: Preparation, sink: Sink) -> Iterator[PermanentError]:
    """The ledger's position is that of a table which isn't this one: only the changes since would reach it."""
    if entry is None or (isinstance(entry.position, SnapshotPosition) and entry.position.after is None):
        return  # nothing has been copied yet
    way_out = "copy it again (tidegate resync)"
    before, now = entry.target, target.table
    if sink.capabilities.ignores_case:
        before, now = (TableName(fold(table.schema), fold(table.name)) for table in (before, now))
    if (before.name, before.schema or now.schema) != (now.name, now.schema or before.schema):
        what = f"{target.schema.table} went to {entry.target} so far, and rows that are there won't come again; {way_out}"
        yield ConfigError(what, connection=sink.name, table=target.table, setting="target")
    elif not preparation.exists and preparation.ddl:
        what = f"the table is gone, and the ledger says that it was copied, up to {entry.position}; restore it, or {way_out}"
        yield PreflightError(what, connection=sink.name, table=target.table)


def _schema_changes(schema: TableSchema, entry: Entry | None) -> Sequence[str]:
    known = entry.schema if entry is not None else None
    if known is None:
        return ()
    gone = [name for name in known.names if name not in schema.names]
    return [f"the source no longer has {', '.join(gone)}: the target keeps the column, new rows leave it out"] if gone else ()
