"""A read under way: which records are new, where chunks end, and where the tables stand then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tidegate.changes.batch import Chunk, TableEvent
from tidegate.changes.position import FileMark, LinesPosition
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import EventRefused
from tidegate.providers.cdcfiles.chunks import Builder
from tidegate.providers.cdcfiles.lines import Parsed
from tidegate.providers.cdcfiles.records import Happening, Record, Refused, Tables
from tidegate.providers.cdcfiles.repeats import Mark
from tidegate.sync.protocols import Limits, Window


class Reading:
    """A read under way: where it stands, and the chunk being filled."""

    def __init__(
        self,
        connection: str,
        window: Window,
        after: Mapping[TableName, LinesPosition],
        base: LinesPosition,
        tables: Tables,
        limits: Limits,
        *,
        merged: bool,
    ) -> None:
        self._name = connection
        self._after = after
        self._base = base
        self._files = dict(base.files)
        self._builder = Builder(limits, connection)
        self._marks = {table: Mark(position.tables.get(str(table)), merged=merged) for table, position in after.items()}
        self._known_tables = tables
        self.schemas: dict[TableName, TableSchema] = {}
        for table, position in after.items():
            stored = position.tables.get(str(table), {}).get("schema")
            if table in window.schemas:
                self.schemas[table] = window.schemas[table]
            elif stored is not None:
                self.schemas[table] = TableSchema.from_json(stored)
        self._last: object = None
        self._between = True
        self._open = False
        """The chunk before this one ended inside a transaction."""
        self.newest: int | None = None

    def take(self, parsed: Parsed) -> Iterator[Chunk]:
        """Take a record; the chunks that it ends."""
        record, name = parsed.record, parsed.known.file.name
        where = f"{name}:{parsed.line}"
        try:
            # Asked once a table: what a statement does to it in several ways stands at one place.
            changed = {table: self._is_new(table, parsed) for table in dict.fromkeys(item[0] for item in record.happenings)}
            happenings = [item for item in record.happenings if changed[item[0]]]
            table = record.table if record.table is not None and record.rows and self._is_new(record.table, parsed) else None
            if happenings or table is not None:
                if record.transaction is None or record.transaction != self._last:
                    self._between = True
                if self._builder.full or (self._between and self._open):
                    yield self._chunk()
                for named, happening in happenings:
                    yield from self._happen(named, happening, where)
                if table is not None:
                    yield from self._rows(table, parsed, where)
                self._last, self._between = record.transaction, record.ends
            elif record.transaction is not None and record.transaction == self._last:
                # A repeat, or a row of a table that isn't read, tells nothing else of where transactions end.
                self._between |= record.ends
        except Refused as error:
            raise EventRefused(
                str(error), connection=self._name, table=record.table, position=where, setting=error.setting
            ) from None
        self._files[parsed.known.key] = FileMark(name, parsed.end, parsed.line)

    def finish(self, until: LinesPosition) -> Chunk:
        """The last chunk."""
        for key, mark in until.files.items():
            here = self._files[key]
            self._files[key] = replace(mark, lines=here.lines if here.offset == mark.offset else mark.lines)
        self._between = True
        return self._chunk()

    def _is_new(self, table: TableName, parsed: Parsed) -> bool:
        position = self._after[table]
        mark = position.files.get(parsed.known.key)
        if mark is not None and parsed.start < mark.offset:
            return False
        record = parsed.record
        return not self._marks[table].is_repeat(record.place, parsed.text, parsed.known.key)

    def _rows(self, table: TableName, parsed: Parsed, where: str) -> Iterator[Chunk]:
        record = parsed.record
        assert record.shape is not None
        schema = record.shape.schema
        known = self.schemas.get(table)
        if known is not None and known is not schema:
            for column in schema.columns:
                if column.name not in known.names:
                    yield from self._happen(table, _appeared(column, record), where)
        self.schemas[table] = schema
        self._builder.add(table, record, parsed.known.file.name, parsed.line, parsed.end, len(parsed.text))
        if record.time is not None:
            self.newest = record.time if self.newest is None else max(self.newest, record.time)

    def _happen(self, table: TableName, happening: Happening, where: str) -> Iterator[Chunk]:
        if happening.unless is not None and table in self.schemas and happening.unless in self.schemas[table].names:
            return
        if happening.kind == "broken" and not self._builder.empty:
            yield self._chunk()
        if happening.column is not None and table in self.schemas and happening.column.name not in self.schemas[table].names:
            known = self.schemas[table]
            self.schemas[table] = TableSchema(table, (*known.columns, happening.column), known.key)
        self._builder.happen(TableEvent(table, happening.kind, happening.what, where, happening.column, happening.value))

    def _chunk(self) -> Chunk:
        end = None
        if self._between:
            end = replace(self._base, files=dict(self._files), tables=self._tables())
        self._open = end is None
        return self._builder.take(end, dict(self.schemas))

    def _tables(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for table, mark in self._marks.items():
            found[str(table)] = mark.to_json()
            if table in self._known_tables.told:
                found[str(table)]["told"] = self._known_tables.told[table].to_json()
            if table in self.schemas:
                found[str(table)]["schema"] = self.schemas[table].to_json()
        return found


def _appeared(column: Column, record: Record) -> Happening:
    """A column that earlier records of the table didn't have: what the rows hold in it that were there before."""
    what = f"a new column, {column.name}, in the records"
    assert record.shape is not None
    default = record.shape.defaults.get(column.name)
    if default is not None:
        return Happening("column_added", what, column, default if default.is_valid else None)
    return Happening("broken", f"{what}, and nothing says what it holds in older rows")
