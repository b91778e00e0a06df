"""Files of change records as a source.

A stream is whatever the files hold, from the first line on: there is no copy besides it. Tables begin with the records of a copy
that the tool itself wrote (Debezium's ``r``, Maxwell's ``bootstrap-insert``), or with their first change.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.batch import Chunk
from tidegate.changes.position import FileMark, LinesPosition, Position
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, EventRefused, PositionLost, PreflightError, SchemaError, TidegateError
from tidegate.providers.cdcfiles import formats
from tidegate.providers.cdcfiles.files import File, Files, whole_end
from tidegate.providers.cdcfiles.reading import Known, Parsed, Reading
from tidegate.providers.cdcfiles.records import Broken, Format, Place, Record, Refused, Tables
from tidegate.providers.cdcfiles.types import Declared, declared
from tidegate.providers.cdcfiles.values import Hints
from tidegate.providers.storage import storage_options
from tidegate.sync.protocols import Findings, Limits, Window

log = logging.getLogger(__name__)

_TAIL = 256 * 1024
_GONE = 100
"""Files that are gone are remembered up to this number, lest one that comes back be read twice."""
_MANY = 1000


class CdcFilesSource:
    """Files to read, as they were at the last :meth:`preflight` or :meth:`head`."""

    def __init__(self, files: Files, values: Mapping[str, Any], name: str) -> None:
        self._files = files
        self._values = values
        self._name = name
        self._hints = Hints(values["time_zone"], values["decimal_mode"], values["time_mode"], values["binary_mode"])
        self._ddl = self._read_ddl(values["ddl"])
        self._default = TableName.parse(values["table"]) if values["table"] else None
        self._stored: dict[TableName, LinesPosition] = {}
        self._format: str | None = None if values["format"] == "auto" else values["format"]
        self._schemas: dict[TableName, TableSchema] = {}
        self._view: list[Known] = []
        self._newest: int | None = None
        self._level = False
        self.skipped = 0
        """Broken lines that the last read passed over."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def copies_at_once(self) -> int:
        """1: nothing is copied, changes are read."""
        return 1

    def current(self, position: Position, table: TableName) -> Position:
        """The same."""
        return position

    def preflight(self, stored: Mapping[TableName, Position | None]) -> Findings:
        problems: list[TidegateError] = []
        self._stored = {}
        for table, position in stored.items():
            if isinstance(position, LinesPosition):
                self._stored[table] = position
            elif position is not None:
                what = "the stored position is not one of files of change records: this sync read another source before"
                problems.append(self._lost(table, position, what))
        try:
            known = self._look()
            self._decide_format(known)
            problems += self._check_stored(known)
            if not problems:
                self._find_schemas(known, list(stored))
        except TidegateError as error:
            problems.append(error)
        warnings = []
        if not problems and len(known) > _MANY:
            warnings.append(f"{len(known)} files: each run looks at the beginning of every one; move those away that were read")
        return Findings(tuple(problems), tuple(warnings))

    def schema(self, table: TableName) -> TableSchema:
        """The table as the records after its position have it, or as they last had it. SchemaError if none speaks of it."""
        if table not in self._schemas:
            known = self._view or self._look()
            self._decide_format(known)
            self._find_schemas(known, [table])
        if table not in self._schemas:
            what = "no record of it in the files, and it is not declared"
            raise SchemaError(what, connection=self._name, table=table, setting="ddl, or leave the table out until it has records")
        return self._schemas[table]

    def estimate(self, table: TableName, after: Position | None) -> int | None:
        """None: lines would have to be counted."""
        return None

    def start(self, tables: Sequence[TableName], *, consistent: bool) -> Mapping[TableName, Position]:
        """Before the first line, for each of them."""
        self._decide_format(self._view or self._look())
        return dict.fromkeys(tables, LinesPosition(self._chosen))

    def locate(self, start: str) -> Position:
        """``latest``, or ``file:line`` with all files before it by name read: the line is the first to be read."""
        head = self.head()
        if start == "latest":
            return head
        name, _, number = start.rpartition(":")
        known = self._view
        at = next((index for index, item in enumerate(known) if item.file.name == name), None)
        if at is None or not number.isdigit() or int(number) < 1:
            what = f"{start!r} is none of latest and file:line, the file one of the folder; files can't be searched by time"
            raise ConfigError(what, connection=self._name, setting="start")
        files = {}
        for item in known[:at]:
            if item.key in head.files:
                files[item.key] = head.files[item.key]
        lines = 0
        offset = 0
        for line in self._files.lines(known[at].file):
            if lines == int(number) - 1:
                break
            lines, offset = lines + 1, line.end
        if lines < int(number) - 1:
            raise ConfigError(f"{name} has {lines} lines", connection=self._name, setting="start")
        files[known[at].key] = FileMark(name, offset, lines)
        return LinesPosition(self._chosen, files)

    def head(self) -> LinesPosition:
        """After the last whole line of each file, or where a transaction ends if it can be told that the last one doesn't yet."""
        known = self._look()
        self._decide_format(known)
        # Merged, the rest of a file's last transaction may stand in another: no file's end tells.
        ends = formats.any_line if self._merged else formats.ends_transaction(self._chosen)
        marks = self._union()
        files = dict(marks)
        found_end = False
        for item in reversed(self._in_order(known)):
            before = marks.get(item.key, FileMark(item.file.name, 0))
            if before.size == item.file.size:
                files[item.key] = replace(before, name=item.file.name)
                continue
            whole = formats.any_line if found_end else ends
            end = self._whole_end(item.file, before.offset, whole, followed=found_end)
            found_end |= end is not None and end > before.offset
            offset = before.offset if end is None else max(end, before.offset)
            if offset or item.key in marks:
                lines = before.lines if offset == before.offset else 0
                rest = whole is not formats.any_line and self._whole_end(item.file, offset, formats.any_line) not in (None, offset)
                files[item.key] = FileMark(item.file.name, offset, lines, 0 if rest else item.file.size)
        order = [item.key for item in self._in_order(known)]
        gone = [key for key in files if key not in order]
        dropped = gone[: max(len(gone) - _GONE, 0)]
        forgotten = max((position.forgotten for position in self._stored.values()), default=0) + len(dropped)
        kept = [key for key in (*gone, *order) if key in files and key not in dropped]
        return LinesPosition(self._chosen, {key: files[key] for key in kept}, forgotten)

    def read(self, window: Window, limits: Limits) -> Iterator[Chunk]:
        """Chunks that end with transactions as far as records tell them.

        EventRefused, with the file and the line, for a record that can't be applied, and for a broken line unless it is skipped.
        """
        until = window.until
        if not isinstance(until, LinesPosition):
            raise AssertionError("a copy of files of change records")
        after = {table: position for table, position in window.after.items() if isinstance(position, LinesPosition)}
        known = {item.key: item for item in self._view or self._look()}
        starts = {key: self._first(key, after) for key in until.files}
        spans = []
        for key, mark in until.files.items():
            if mark.offset > starts[key].offset:
                if key not in known:
                    raise self._gone(mark, after)
                spans.append((known[key], starts[key], mark.offset))
        tables = Tables(list(after), self._ddl, self._hints, self._default)
        self._restore(tables, after)
        base = replace(until, files=dict(starts))
        reading = Reading(self._name, window, after, base, tables, limits, merged=self._merged)
        self.skipped = 0
        parser = formats.parser(self._chosen, tables, self._name)
        for parsed in self._merge(spans, parser) if self._merged else self._one_by_one(spans, parser):
            yield from reading.take(parsed)
        self._newest = reading.newest if reading.newest is not None else self._newest
        self._level = True
        self._schemas |= reading.schemas
        yield reading.finish(until)

    def lag_seconds(self) -> float | None:
        if self._level:
            return 0.0
        return None if self._newest is None else datetime.now(UTC).timestamp() - self._newest / 1000

    def ack(self, position: Position) -> None:
        """Nothing to do: files stay until somebody moves them away."""

    def close(self) -> None:
        """Nothing is held open."""

    # Lines and records

    @property
    def _chosen(self) -> str:
        assert self._format is not None
        return self._format

    @property
    def _merged(self) -> bool:
        return bool(self._values["order"] == "position")

    def _one_by_one(self, spans: Sequence[tuple[Known, FileMark, int]], parser: Format) -> Iterator[Parsed]:
        for known, start, end in spans:
            yield from self._records(known, start, end, parser)

    def _merge(self, spans: Sequence[tuple[Known, FileMark, int]], parser: Format) -> Iterator[Parsed]:
        """All files at once, their records by their places; one without a place stays behind the one before it."""

        def placed(known: Known, start: FileMark, end: int, number: int) -> Iterator[tuple[tuple[int, ...], int, int, Parsed]]:
            last: tuple[int, ...] = ()
            for count, parsed in enumerate(self._records(known, start, end, parser)):
                last = max(last, _order(parsed.record.place)) if parsed.record.place is not None else last
                yield last, number, count, parsed

        for *_, parsed in heapq.merge(*(placed(*span, number) for number, span in enumerate(spans))):
            yield parsed

    def _records(self, known: Known, start: FileMark, end: int, parser: Format) -> Iterator[Parsed]:
        number = start.lines
        for line in self._files.lines(known.file, start.offset, end):
            number += 1
            if not line.text:
                yield Parsed(known, Record(), number, line.start, line.end, b"")
                continue
            where = f"{known.file.name}:{number}"
            try:
                record = parser.parse(line.text)
            except Broken as error:
                if self._values["broken_lines"] == "fail":
                    setting = "broken_lines='skip', or mend the line"
                    raise EventRefused(str(error), connection=self._name, position=where, setting=setting) from None
                self.skipped += 1
                log.warning("%s: %s: a broken line was skipped (%s), %d so far", self._name, where, error, self.skipped)
                record = Record(ends=False)
            except Refused as error:
                raise EventRefused(str(error), connection=self._name, position=where, setting=error.setting) from None
            except (TypeError, AttributeError, LookupError, ValueError) as error:
                what = f"not of the shape that {self._chosen} gives its records ({type(error).__name__})"
                raise EventRefused(what, connection=self._name, position=where, setting="format") from None
            yield Parsed(known, record, number, line.start, line.end, line.text)

    # What there is

    def _look(self) -> list[Known]:
        """The files as they are now, each with its identity. PreflightError if there are none."""
        files = self._files.all()
        if not files:
            raise PreflightError(f"no files at {self._files.url.rpartition('@')[2]}", connection=self._name, setting="url")
        marks = self._union()
        by_name: dict[str, list[str]] = {}
        for key, mark in marks.items():
            by_name.setdefault(mark.name, []).append(key)
        taken: dict[str, str] = {}
        strangers: list[File] = []
        for file in files:
            same = next((key for key in by_name.get(file.name, ()) if self._files.is_same(file, key)), None)
            if same is None:
                strangers.append(file)
            else:
                taken[file.name] = same
        for file in strangers:
            renamed = next((key for key in marks if key not in taken.values() and self._files.is_same(file, key)), None)
            identity = renamed or self._files.identity(file)
            if identity is None:
                continue  # no whole line yet
            if identity in taken.values():
                identity = f"{identity}~{file.name}"
            taken[file.name] = identity
        self._view = [Known(file, taken[file.name]) for file in files if file.name in taken]
        return self._view

    def _in_order(self, known: Sequence[Known]) -> list[Known]:
        """The order in which files are read one by one: what was begun before goes on first."""
        marks = self._union()
        return sorted(known, key=lambda item: item.key not in marks)

    def _union(self) -> dict[str, FileMark]:
        """How far any table has each file."""
        found: dict[str, FileMark] = {}
        for position in self._stored.values():
            for key, mark in position.files.items():
                if key not in found or found[key].offset < mark.offset:
                    found[key] = mark
        return found

    def _first(self, key: str, after: Mapping[TableName, LinesPosition]) -> FileMark:
        """From where a file is read: where the table stands that is furthest behind in it."""
        marks = []
        for position in after.values():
            if key in position.files:
                marks.append(position.files[key])
            elif not any(key in other.files and other.forgotten < position.forgotten for other in after.values()):
                marks.append(FileMark("", 0))
        return min(marks, key=lambda mark: mark.offset)

    def _whole_end(self, file: File, start: int, ends: Any, *, followed: bool = False) -> int | None:
        size = _TAIL
        while True:
            lines = self._files.tail(file, start, size)
            end = whole_end(lines, start, ends, followed=followed)
            if end is not None or not lines or lines[0].start <= start:
                return end
            size *= 8

    def _decide_format(self, known: Sequence[Known]) -> None:
        stored = {position.format for position in self._stored.values()}
        if self._format is None and stored:
            self._format = sorted(stored)[0]
        if self._format is not None:
            return
        for item in known:
            for line in self._files.lines(item.file):
                found = formats.detect(line.text)
                if found is not None:
                    self._format = found
                    return
        what = "no record yet by which the format could be told"
        raise PreflightError(what, connection=self._name, setting="format")

    def _check_stored(self, known: Sequence[Known]) -> list[TidegateError]:
        problems: list[TidegateError] = []
        sizes: dict[str, int] = {}
        for item in known:
            sizes[item.key] = -1
        for table, position in self._stored.items():
            if position.format != self._chosen:
                problems.append(self._lost(table, position, f"the records read so far were of the format {position.format}"))
                continue
            for key, mark in position.files.items():
                file = next((item.file for item in known if item.key == key), None)
                if file is not None and file.size != mark.size and self._shrank(file, mark.offset, sizes, key):
                    what = f"{file.name} was read up to byte {mark.offset} and ends before: cut, or restored from an older copy"
                    problems.append(self._lost(table, position, what))
        return problems

    def _shrank(self, file: File, offset: int, sizes: dict[str, int], key: str) -> bool:
        if sizes[key] < 0:
            with self._files.open(file, max(offset - 1, 0)) as opened:
                sizes[key] = offset if not offset or opened.read(1) else offset - 1
        return sizes[key] < offset

    # Schemas

    def _find_schemas(self, known: Sequence[Known], tables: Sequence[TableName]) -> None:
        new = [table for table in tables if table not in self._schemas]
        if new:
            self._find_last(known, new)
            self._add_columns(known, new)

    def _find_last(self, known: Sequence[Known], tables: Sequence[TableName]) -> None:
        """Schemas as they are declared, or were last, or as the first record has them."""
        wanted = list(tables)
        known_tables = Tables(wanted, self._ddl, self._hints, self._default)
        self._restore(known_tables, self._stored)
        for table in list(wanted):
            told = known_tables.declaration(table, table.schema, table.name)
            stored = self._stored[table].tables.get(str(table), {}).get("schema") if table in self._stored else None
            if told is not None:
                self._schemas[table] = told.schema(table, self._name)
            elif stored is not None:
                self._schemas[table] = TableSchema.from_json(stored)
            else:
                continue
            wanted.remove(table)
        if not wanted:
            return
        parser = formats.parser(self._chosen, known_tables, self._name)
        # A copy comes first in the order of names as well; which record of a table is met first matters little.
        for item in self._in_order(known):
            end = self._whole_end(item.file, 0, formats.any_line) or 0
            for parsed in self._records(item, FileMark(item.file.name, 0), end, parser) if end else ():
                found = parsed.record.table
                if found in wanted and found is not None and parsed.record.shape is not None:
                    self._schemas[found] = parsed.record.shape.schema
                    wanted.remove(found)
                    if not wanted:
                        return

    def _add_columns(self, known: Sequence[Known], tables: Sequence[TableName]) -> None:
        """What statements that are still to be read add: a target that lacks the column couldn't give old rows its default."""
        known_tables = Tables(list(tables), self._ddl, self._hints, self._default)
        parser, may_add = formats.parser(self._chosen, known_tables, self._name), formats.may_add(self._chosen)
        read = {table: self._stored[table].files if table in self._stored else {} for table in tables}
        for item in self._in_order(known):
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
                    schema = self._schemas.get(table)
                    new = happening.column
                    if schema is None or new is None or line.start < offsets[table] or new.name in schema.names:
                        continue
                    self._schemas[table] = replace(schema, columns=(*schema.columns, new))

    def _restore(self, tables: Tables, after: Mapping[TableName, LinesPosition]) -> None:
        """What statements among the records have declared so far."""
        for table, position in after.items():
            told = position.tables.get(str(table), {}).get("told")
            if told is not None:
                tables.restore(Declared.from_json(table, told))

    def _read_ddl(self, text: str | None) -> list[Declared]:
        if not text:
            return []
        if "(" not in text:
            what = f"neither CREATE TABLE statements nor a file with them: {text}"
            try:
                ddl = Files(text, {}, self._name)
                found = ddl.all()
            except TidegateError as error:
                raise ConfigError(what, connection=self._name, setting="ddl") from error
            if len(found) != 1:
                what += " is no file" if not found else f" is {len(found)} files"
                raise ConfigError(what, connection=self._name, setting="ddl")
            text = ddl.head(found[0], found[0].size + 1).decode()
        return declared(text, self._name)

    # Errors

    def _lost(self, table: TableName, position: Position, what: str) -> PositionLost:
        setting = "url and format, or copy the table again (tidegate resync)"
        return PositionLost(what, connection=self._name, table=table, position=position, setting=setting)

    def _gone(self, mark: FileMark, after: Mapping[TableName, LinesPosition]) -> TidegateError:
        what = f"{mark.name} is gone, and was not read to its end"
        return PositionLost(what, connection=self._name, table=next(iter(after), None), position=mark.name, setting="url")


def _order(place: Place) -> tuple[int, ...]:
    """Places of different epochs by the log's files."""
    return place.log[1:] + place.at[-2:] if place.log is not None else place.at


def open_source(values: Mapping[str, Any], name: str) -> CdcFilesSource:
    """The files of a connection, to read."""
    options = storage_options(values["storage_options"], values["storage_secrets"], name)
    if values["time_zone"]:
        try:
            pc.assume_timezone(pa.array([0], pa.timestamp("us")), values["time_zone"])
        except pa.ArrowInvalid:
            what = f"{values['time_zone']!r} is no time zone"
            raise ConfigError(what, connection=name, setting="time_zone") from None
    return CdcFilesSource(Files(values["url"], options, name), values, name)
