"""What columns the tables have before a chunk says so: declared, stored with the position, or as the records have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tidegate.changes.position import FileMark, LinesPosition
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, TidegateError
from tidegate.providers.cdcfiles import formats
from tidegate.providers.cdcfiles.files import Files
from tidegate.providers.cdcfiles.lines import Known, Lines
from tidegate.providers.cdcfiles.records import Tables
from tidegate.providers.cdcfiles.types import Declared, declared
from tidegate.providers.cdcfiles.values import Hints

Stored = Mapping[TableName, LinesPosition]


class Schemas:
    """The schemas of a connection's tables, as far as they were asked for."""

    def __init__(self, files: Files, lines: Lines, values: Mapping[str, Any], name: str) -> None:
        self._files = files
        self._lines = lines
        self._name = name
        self._hints = Hints(values["time_zone"], values["decimal_mode"], values["time_mode"], values["binary_mode"])
        self._ddl = _read_ddl(values["ddl"], name)
        self._default = TableName.parse(values["table"]) if values["table"] else None
        self.found: dict[TableName, TableSchema] = {}

    def tables(self, wanted: list[TableName], after: Stored) -> Tables:
        """The tables to read, with what the ddl declares of them, and what statements among the records before ``after`` did.

        The list is not copied: records of a table that is taken out of it are no longer read.
        """
        tables = self._declared(wanted)
        for table, position in after.items():
            told = position.tables.get(str(table), {}).get("told")
            if told is not None:
                tables.restore(Declared.from_json(table, told))
        return tables

    def find(self, tables: Sequence[TableName], stored: Stored, known: Sequence[Known], form: str) -> None:
        """Find those that are not known yet. ``known``: the files in the order in which they are read; ``form``: their format."""
        new = [table for table in tables if table not in self.found]
        if new:
            self._find_last(new, stored, known, form)
            self._add_columns(new, stored, known, form)

    def _declared(self, wanted: list[TableName]) -> Tables:
        return Tables(wanted, self._ddl, self._hints, self._default)

    def _find_last(self, tables: Sequence[TableName], stored: Stored, known: Sequence[Known], form: str) -> None:
        """Schemas as they are declared, or were last, or as the first record has them."""
        wanted = list(tables)
        known_tables = self.tables(wanted, stored)
        for table in tables:
            told = known_tables.declaration(table, table.schema, table.name)
            last = stored[table].tables.get(str(table), {}).get("schema") if table in stored else None
            if told is not None:
                self.found[table] = told.schema(table, self._name)
            elif last is not None:
                self.found[table] = TableSchema.from_json(last)
            else:
                continue
            wanted.remove(table)
        if not wanted:
            return
        parser = formats.parser(form, known_tables, self._name)
        # A copy comes first in the order of names as well; which record of a table is met first matters little.
        for item in known:
            end = self._lines.whole_end(item.file, 0, formats.any_line) or 0
            for parsed in self._lines.records(item, FileMark(item.file.name, 0), end, parser) if end else ():
                found = parsed.record.table
                if found in wanted and found is not None and parsed.record.shape is not None:
                    self.found[found] = parsed.record.shape.schema
                    wanted.remove(found)
                    if not wanted:
                        return

    def _add_columns(self, tables: Sequence[TableName], stored: Stored, known: Sequence[Known], form: str) -> None:
        """What statements that are still to be read add: a target that lacks the column couldn't give old rows its default."""
        parser, may_add = formats.parser(form, self._declared(list(tables)), self._name), formats.may_add(form)
        read = {table: stored[table].files if table in stored else {} for table in tables}
        for item in known:
            offsets = {table: files[item.key].offset if item.key in files else 0 for table, files in read.items()}
            if all(item.key in files and files[item.key].size == item.file.size for files in read.values()):
                continue
            for line in self._files.lines(item.file, min(offsets.values())):
                if not may_add(line.text):
                    continue
                try:
                    record = parser.parse(line.text)
                except (TypeError, AttributeError, LookupError, ValueError):
                    continue  # refused, if it is to be, where it is read
                for table, happening in record.happenings:
                    schema = self.found.get(table)
                    new = happening.column
                    if schema is None or new is None or line.start < offsets[table] or new.name in schema.names:
                        continue
                    self.found[table] = replace(schema, columns=(*schema.columns, new))


def _read_ddl(text: str | None, name: str) -> list[Declared]:
    """The tables that a connection's ``ddl`` declares: statements, or a file with them."""
    if not text:
        return []
    if "(" not in text:
        what = f"neither CREATE TABLE statements nor a file with them: {text}"
        try:
            ddl = Files(text, {}, name)
            found = ddl.all()
        except TidegateError as error:
            raise ConfigError(what, connection=name, setting="ddl") from error
        if len(found) != 1:
            what += " is no file" if not found else f" is {len(found)} files"
            raise ConfigError(what, connection=name, setting="ddl")
        text = ddl.head(found[0], found[0].size + 1).decode()
    return declared(text, name)
