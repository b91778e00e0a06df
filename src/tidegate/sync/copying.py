"""Copies: tables that begin, tables whose copy goes on, tables that are copied anew. Several at a time where both sides can."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace

from tidegate.changes.batch import Chunk
from tidegate.changes.position import Position, SnapshotPosition
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import SchemaError
from tidegate.sync.ahead import Ahead
from tidegate.sync.book import Book
from tidegate.sync.follow import copy_anew, shadow_fits
from tidegate.sync.mapping import Target
from tidegate.sync.plan import TablePlan, needs_consistent
from tidegate.sync.protocols import Copy, Limits, Load, Sink, Source, Window, chunk_limits
from tidegate.sync.results import WriteResult


class Copier:
    """The copies of one run."""

    def __init__(self, book: Book, source: Source, sink: Sink) -> None:
        self._book, self._source, self._sink = book, source, sink
        self._stop = threading.Event()

    def written(self, table: TablePlan) -> Target:
        """The table that the rows go to: the target, or its shadow."""
        return self._sink.shadow(table.target) if table.copy == "shadow" else table.target

    def clear_place(self, table: TablePlan) -> None:
        """Make the shadow of a table whose copy begins: what is left of another copy is not part of this one."""
        self._sink.prepare(table.target, self._sink.inspect(table.target))
        self._sink.drop_shadow(table.target)
        written = self.written(table)
        self._sink.prepare(written, self._sink.inspect(written))

    def begin(self, tables: Sequence[TablePlan]) -> None:
        """Give tables without a position one, and copy those that need a consistent view."""
        for table in tables:
            if table.action == "begin":
                # At once: the same words may mean a later place next time.
                self._book.begin_at(table.source, self._source.locate(table.start), now=table.start == "latest")
        together = [table for table in tables if table.action == "copy" and table.consistent]
        apart = [table for table in tables if table.action == "copy" and not table.consistent]
        if together:
            starts = self._start([table.source for table in together], consistent=True)
            if any(isinstance(position, SnapshotPosition) for position in starts.values()):
                self._copy_together(together, starts)
            else:
                self._book.positions |= starts
        if apart:
            starts = self._start([table.source for table in apart], consistent=False)
            # Before the first page: without transactions its rows may be in though nothing else says whose they are.
            copies = {table.source: table.copy for table in apart if isinstance(starts[table.source], SnapshotPosition)}
            self._book.positions |= starts
            self._book.record({table: starts[table] for table in copies}, copies)

    def outgrown(self, table: TablePlan) -> bool:
        """Whether a table's changes no longer fit its target, and a copy that takes the target's place would."""
        options = table.target.options
        if table.action != "changes" or options.on_ddl != "resync" or needs_consistent(options):
            return False
        if not all(isinstance(problem, SchemaError) for problem in table.problems):
            return False
        return shadow_fits(table.target, self._sink)

    def begin_anew(self, tables: Sequence[TableName]) -> None:
        """Give up the tables' places in the source: the next pass copies them, while what the target holds stays readable."""
        copies: dict[TableName, Copy | None] = {}
        for table in tables:
            target = self._book.targets[table]
            copies[table] = copy_anew(target, self._sink.capabilities)
            if copies[table] == "shadow":
                self._sink.drop_shadow(target)
                copies[table] = self._shadow_or_in_place(replace(target, schema=self._now(table, target)))
        self._book.record(self._start(tables, consistent=False), copies)

    def go_on(self, tables: Sequence[TablePlan]) -> None:
        """Copy the rest of each table, the first to fail stopping all: what was committed stands."""
        copies = [table for table in tables if isinstance(self._book.positions[table.source], SnapshotPosition)]
        at_once = min(len(copies), self._source.copies_at_once if self._sink.capabilities.loads_at_once else 1)
        if at_once <= 1:
            for table in copies:
                self._copy_table(table)
            return
        self._stop.clear()
        with ThreadPoolExecutor(at_once, thread_name_prefix="tidegate-copy") as pool:
            running = [pool.submit(self._copy_table, table, at_once) for table in copies]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:
                # An error of one, or the end of this task: the others end with the page that they are at.
                self._stop.set()
                for future in running:
                    future.cancel()
        for future in running:
            if not future.cancelled():
                future.result()

    def _shadow_or_in_place(self, target: Target) -> Copy:
        """A table with something of its own, a view on it or a column that the source doesn't have, can't be replaced by another.
        If the rows to come fit it, it is copied row by row; else the next pass says what stands in the way."""
        if not shadow_fits(target, self._sink):
            in_place = self._sink.inspect(target)
            if not in_place.problems and not in_place.needs_consistent and self._sink.capabilities.transactional:
                return "replace"
        return "shadow"

    def _now(self, table: TableName, target: Target) -> TableSchema:
        schema = self._source.schema(table)
        return replace(schema, key=target.key) if set(target.key) <= set(schema.names) else schema

    def _start(self, tables: Sequence[TableName], *, consistent: bool) -> Mapping[TableName, Position]:
        """Where copies begin. What is recorded with such a position is the schema that holds there, not the plan's."""
        starts = self._source.start(tables, consistent=consistent)
        self._book.reached_schemas |= {table: self._source.schema(table) for table in tables}
        return starts

    def _copy_together(self, tables: Sequence[TablePlan], starts: Mapping[TableName, Position]) -> None:
        """One view of all these tables, one load, one commit."""
        ends: dict[TableName, Position] = {}
        with self._book.load([self.written(table) for table in tables], Window(dict(starts), None)) as load:
            for table in tables:
                self._book.tallies[table.source].phase = "snapshot"
                written, position = self.written(table), starts[table.source]
                with Ahead(self._source.read(Window({table.source: position}, None), chunk_limits([table.target]))) as chunks:
                    for chunk in chunks:
                        self._write(load, chunk, "fresh" if table.copy == "shadow" else table.copy, written)
                        position = chunk.end or position
                if table.copy == "replace":
                    self._finish(load, table)
                elif table.copy == "shadow":
                    load.swap(table.target, written)
                ends[table.source] = position
            self._book.commit(load, ends)
        for position in ends.values():
            self._source.ack(position)

    def _copy_table(self, table: TablePlan, share: int = 1) -> None:
        """Pages of one table, each committed with how far the copy has come. ``share``: how many tables share the memory."""
        self._book.tallies[table.source].phase = "snapshot"
        limits = chunk_limits([table.target])
        window = Window({table.source: self._book.positions[table.source]}, None)
        written = self.written(table)
        with Ahead(self._source.read(window, Limits(limits.rows, max(limits.bytes // share, 1), share))) as chunks:
            for chunk in chunks:
                if share > 1 and self._stop.is_set():
                    return
                if chunk.end is None:
                    raise AssertionError("a page of a copy without an end")
                with self._book.load([written], replace(window, after={table.source: self._book.positions[table.source]})) as load:
                    self._write(load, chunk, "fresh" if table.copy == "shadow" else table.copy, written)
                    if not isinstance(chunk.end, SnapshotPosition):
                        if table.copy == "replace":
                            self._finish(load, table)
                        elif table.copy == "shadow":
                            load.swap(table.target, written)
                    self._book.commit(load, {table.source: chunk.end}, copy=table.copy)
                self._source.ack(chunk.end)

    def _write(self, load: Load, chunk: Chunk, copy: Copy | None, target: Target | None = None) -> None:
        for batch in chunk.batches:
            self._book.write(load, batch, copy, target)

    def _finish(self, load: Load, table: TablePlan) -> None:
        removed = load.finish_copy(table.target)
        self._book.tallies[table.source].add(WriteResult(deleted=removed))
