"""Files of change records as a source.

A stream is whatever the files hold, from the first line on: there is no copy besides it. Tables begin with the records of a copy
that the tool itself wrote (Debezium's ``r``, Maxwell's ``bootstrap-insert``), or with their first change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.batch import Chunk
from tidegate.changes.position import FileMark, LinesPosition, Position
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, PositionLost, PreflightError, SchemaError, TidegateError
from tidegate.providers.cdcfiles import formats
from tidegate.providers.cdcfiles.files import File, Files
from tidegate.providers.cdcfiles.lines import Known, Lines, Span
from tidegate.providers.cdcfiles.reading import Reading
from tidegate.providers.cdcfiles.schemas import Schemas
from tidegate.providers.storage import storage_options
from tidegate.sync.protocols import Findings, Limits, Window

_GONE = 100
"""Files that are gone are remembered up to this number, lest one that comes back be read twice."""
_MANY = 1000


class CdcFilesSource:
    """Files to read, as they were at the last :meth:`preflight` or :meth:`head`."""

    def __init__(self, files: Files, values: Mapping[str, Any], name: str) -> None:
        self._files = files
        self._values = values
        self._name = name
        self._lines = Lines(files, name, skip_broken=values["broken_lines"] != "fail")
        self._schemas = Schemas(files, self._lines, values, name)
        self._stored: dict[TableName, LinesPosition] = {}
        self._format: str | None = None if values["format"] == "auto" else values["format"]
        self._view: list[Known] = []
        self._newest: int | None = None
        self._level = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def skipped(self) -> int:
        """Broken lines that the last read passed over."""
        return self._lines.skipped

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
                self._schemas.find(list(stored), self._stored, self._in_order(known), self._chosen)
        except TidegateError as error:
            problems.append(error)
        warnings = []
        if not problems and len(known) > _MANY:
            warnings.append(f"{len(known)} files: each run looks at the beginning of every one; move those away that were read")
        return Findings(tuple(problems), tuple(warnings))

    def schema(self, table: TableName) -> TableSchema:
        """The table as the records after its position have it, or as they last had it. SchemaError if none speaks of it."""
        if table not in self._schemas.found:
            known = self._view or self._look()
            self._decide_format(known)
            self._schemas.find([table], self._stored, self._in_order(known), self._chosen)
        if table not in self._schemas.found:
            what = "no record of it in the files, and it is not declared"
            raise SchemaError(what, connection=self._name, table=table, setting="ddl, or leave the table out until it has records")
        return self._schemas.found[table]

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
            end = self._lines.whole_end(item.file, before.offset, whole, followed=found_end)
            found_end |= end is not None and end > before.offset
            offset = before.offset if end is None else max(end, before.offset)
            if offset or item.key in marks:
                lines = before.lines if offset == before.offset else 0
                whole_lines = self._lines.whole_end(item.file, offset, formats.any_line) if whole is not formats.any_line else None
                rest = whole_lines not in (None, offset)
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
        spans: list[Span] = []
        for key, mark in until.files.items():
            if mark.offset > starts[key].offset:
                if key not in known:
                    raise self._gone(mark, after)
                spans.append((known[key], starts[key], mark.offset))
        tables = self._schemas.tables(list(after), after)
        base = replace(until, files=dict(starts))
        reading = Reading(self._name, window, after, base, tables, limits, merged=self._merged)
        self._lines.skipped = 0
        parser = formats.parser(self._chosen, tables, self._name)
        for parsed in self._lines.merged(spans, parser) if self._merged else self._lines.one_by_one(spans, parser):
            yield from reading.take(parsed)
        self._newest = reading.newest if reading.newest is not None else self._newest
        self._level = True
        self._schemas.found |= reading.schemas
        yield reading.finish(until)

    def lag_seconds(self) -> float | None:
        if self._level:
            return 0.0
        return None if self._newest is None else datetime.now(UTC).timestamp() - self._newest / 1000

    def ack(self, position: Position) -> None:
        """Nothing to do: files stay until somebody moves them away."""

    def close(self) -> None:
        """Nothing is held open."""

    # What there is

    @property
    def _chosen(self) -> str:
        assert self._format is not None
        return self._format

    @property
    def _merged(self) -> bool:
        return bool(self._values["order"] == "position")

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

    # Errors

    def _lost(self, table: TableName, position: Position, what: str) -> PositionLost:
        setting = "url and format, or copy the table again (tidegate resync)"
        return PositionLost(what, connection=self._name, table=table, position=position, setting=setting)

    def _gone(self, mark: FileMark, after: Mapping[TableName, LinesPosition]) -> TidegateError:
        what = f"{mark.name} is gone, and was not read to its end"
        return PositionLost(what, connection=self._name, table=next(iter(after), None), position=mark.name, setting="url")


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
