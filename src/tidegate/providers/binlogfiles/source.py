"""Binlog files as a source: :class:`tidegate.sync.protocols.Source`, over the reader of the live log."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tidegate.changes.batch import Chunk
from tidegate.changes.position import BinlogPosition, Position
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError, PermanentError, PositionLost, SchemaError, TidegateError
from tidegate.providers.binlogfiles.charsets import OfflineCharsets
from tidegate.providers.binlogfiles.ddl import tables_of
from tidegate.providers.binlogfiles.feed import checksums_at, feed, missing
from tidegate.providers.binlogfiles.files import LogFolder, StoredFile
from tidegate.providers.binlogfiles.logfile import Begin, LogFile, NotBegun
from tidegate.providers.binlogfiles.present import NothingPresent
from tidegate.providers.binlogfiles.scan import Scanned, bounds_near, scan
from tidegate.providers.binlogfiles.tables import described
from tidegate.providers.mysql.asof import table_as_of
from tidegate.providers.mysql.binlog.reader import EventReader, Task
from tidegate.providers.mysql.binlog.stream import FIRST_EVENT
from tidegate.providers.mysql.types import MySqlTable
from tidegate.sync.protocols import Findings, Limits, Window


def open_source(values: Mapping[str, Any], name: str) -> BinlogFilesSource:
    """A source over the values of :data:`tidegate.providers.binlogfiles.connection.SYSTEM`'s fields."""
    folder = LogFolder(values["url"], values["storage_options"], values["storage_secrets"], name)
    return BinlogFilesSource(folder, values["ddl"], name)


class BinlogFilesSource:
    """Changes out of the files of one server's log. They hold no rows to copy: a sync begins at a position in them.

    Positions are those of the live log, of the server that the format events name. MariaDB's live source names its server by the
    same id, so that the two can go on from each other's positions; MySQL's goes by the server's UUID, which isn't in the files.
    """

    def __init__(self, folder: LogFolder, ddl: str | None, name: str) -> None:
        self._folder = folder
        self._ddl = ddl
        self._name = name
        self._charsets = OfflineCharsets(name)
        self._given: dict[TableName, MySqlTable] | None = None
        self._scanned: dict[StoredFile, Scanned] = {}
        self._newest = 0
        self._read_to: BinlogPosition | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def copies_at_once(self) -> int:
        """1: nothing is copied."""
        return 1

    def preflight(self, stored: Mapping[TableName, Position | None]) -> Findings:
        """Whether there are files, each stored position lies in them, and every table's columns are known."""
        problems: list[TidegateError] = []
        try:
            files = self._files()
            self._scan(files[-1])
        except PermanentError as error:
            return Findings((error,))
        for table, position in stored.items():
            try:
                self._table(table)
                if position is not None:
                    self._since(files, self._checked(files, table, position))
            except PermanentError as error:
                problems.append(error)
        return Findings(tuple(problems))

    def schema(self, table: TableName) -> TableSchema:
        """The table as its last rows in the files are laid out, or as the given DDL says. SchemaError if neither tells."""
        return self._table(table).schema

    def estimate(self, table: TableName, after: Position | None) -> int | None:
        """None: the files don't say how many rows they hold."""
        return None

    def start(self, tables: Sequence[TableName], *, consistent: bool) -> Mapping[TableName, Position]:
        """Always ConfigError: there are no rows to copy."""
        what = (
            f"{self._folder.url} holds changes, and no rows to copy: bring {', '.join(map(str, tables))} into the target by other "
            "means (a copy from the server, a restored backup), and begin at its position; earliest is the begin of the first file"
        )
        raise ConfigError(what, connection=self._name, setting="start='earliest', 'binlog.000003:4711' or 'latest'")

    def current(self, position: Position, table: TableName) -> Position:
        """The same."""
        return position

    def locate(self, start: str) -> BinlogPosition:
        """Where a table begins: ``earliest`` (the begin of the first file), ``latest`` (:meth:`head`), or ``binlog.000003:4711``.

        ConfigError for a place that isn't in the files, or inside a transaction.
        """
        files = self._files()
        if start == "latest":
            return self.head()
        if start == "earliest":
            return self._position(files[0], FIRST_EVENT, self._begin(files[0]))
        name, colon, digits = start.rpartition(":")
        if not colon or not digits.isdigit():
            what = f"{start!r} is no place in binlog files: write earliest, latest, or a file and an offset, {files[0].name}:4"
            raise ConfigError(what, connection=self._name, setting="start")
        found = next((file for file in files if file.name == name), None)
        if found is None:
            what = f"there is no file {name}: {self._folder.url} holds {files[0].name} to {files[-1].name}"
            raise ConfigError(what, connection=self._name, setting="start")
        offset = int(digits)
        before, after = bounds_near(self._folder, found, offset, self._name)
        if before != offset:
            near = f"{name}:{before}" + (f" and {name}:{after}" if after else "")
            what = f"{start} isn't where a transaction begins or ends; the nearest such places are {near}"
            raise ConfigError(what, connection=self._name, setting="start")
        return self._position(found, offset, self._begin(found))

    def head(self) -> BinlogPosition:
        """The end of the last whole transaction in the newest file."""
        scanned = self._scan(self._files()[-1])
        return self._position(scanned.file, scanned.end, scanned.begin)

    def read(self, window: Window, limits: Limits) -> Iterator[Chunk]:
        """The changes of the window's tables, in chunks that end where transactions end.

        Raises PermanentError for a file that is missing in between, CorruptSegment for one that isn't whole though another follows.
        """
        until = window.until
        if not isinstance(until, BinlogPosition):
            raise ValueError("changes are read up to a position of the binlog")
        files = self._files()
        starts = {table: self._checked(files, table, position) for table, position in window.after.items()}
        lowest = min(starts.values(), key=lambda position: (position.sequence, position.offset))
        if lowest.compare(until) == "equal":
            self._read_to = until
            yield Chunk((), until)
            return
        part = [file for file in files if lowest.sequence <= file.sequence <= until.sequence]
        tables = {}
        for table in starts:
            now, known = self._table(table), window.schemas.get(table)
            tables[table] = table_as_of(known, now, self._charsets.width) if known else now
        # Given columns are those of the files' begin.
        unknown = window.unknown - (self._given or {}).keys()
        server = self._begin(part[0]).server
        present = NothingPresent(self._charsets, mariadb=server.mariadb)
        task = Task(self._name, server, tables, starts, until, limits, present, unknown)
        reader = EventReader(task, self._charsets, checksums=checksums_at(self._folder, part[0], self._name))
        for chunk in reader.chunks(feed(self._folder, part, lowest, self._name)):
            self._newest = reader.newest or self._newest
            if chunk.end is not None and chunk.end.compare(until) == "equal":
                self._read_to = until
            yield chunk

    def lag_seconds(self) -> float | None:
        """Age of the newest change read; 0 if the files hold nothing newer; None if nothing was read yet."""
        if self._read_to is None:
            return None
        if self._read_to.compare(self.head()) == "equal":
            return 0.0
        return max(0.0, time.time() - self._newest) if self._newest else None

    def ack(self, position: Position) -> None:
        """Nothing to do: the files are whoever's put them there."""

    def close(self) -> None:
        """Nothing is held open."""

    def _position(self, file: StoredFile, offset: int, begin: Begin) -> BinlogPosition:
        return BinlogPosition(file.name, offset, begin.server.identity, fingerprint=begin.format.fingerprint)

    def _files(self) -> tuple[StoredFile, ...]:
        """The files, less a newest one of which nothing can be read yet."""
        files = self._folder.files()
        try:
            self._begin(files[-1])
        except NotBegun:
            if len(files) == 1:
                raise
            return files[:-1]
        return files

    def _begin(self, file: StoredFile) -> Begin:
        if file in self._scanned:
            return self._scanned[file].begin
        with self._folder.open(file) as stream:
            return LogFile(stream, file.name, self._name).begin

    def _scan(self, file: StoredFile) -> Scanned:
        """What the file holds; a file of the same size is not read again."""
        if file not in self._scanned:
            self._scanned[file] = scan(self._folder, file, self._name)
        return self._scanned[file]

    def _table(self, table: TableName) -> MySqlTable:
        """The table by the given DDL, else by the newest rows of it in the files. NULL is no key: there a zero date is refused."""
        found = self._described(table)
        columns = tuple(replace(column, zero=found.policies_of(column.name).zero) for column in found.columns)
        return replace(found, columns=columns)

    def _described(self, table: TableName) -> MySqlTable:
        if not table.schema:
            raise SchemaError("its database is not named: write shop.orders", connection=self._name, table=table, setting="tables")
        if self._given is None:
            self._given = tables_of(self._ddl, self._charsets, self._name) if self._ddl else {}
        if table in self._given:
            return self._given[table]
        files = self._files()
        for file in reversed(files):
            scanned = self._scan(file)
            if table in scanned.maps:
                mariadb = scanned.begin.server.mariadb
                found = described(scanned.maps[table], table, self._charsets, self._name, mariadb=mariadb)
                if found is None:
                    what = (
                        f"its rows in {file.name} don't name their columns (the server wrote them without binlog_row_metadata=FULL)"
                    )
                    break
                return found
        else:
            what = f"{files[0].name} to {files[-1].name} hold no rows of it, which would tell its columns"
        raise SchemaError(f"{what}: give its CREATE TABLE statement", connection=self._name, table=table, setting="ddl")

    def _checked(self, files: Sequence[StoredFile], table: TableName, position: Position) -> BinlogPosition:
        """The position, if the files can be read from there. PositionLost if not."""

        def lost(what: str) -> PositionLost:
            return PositionLost(what, connection=self._name, table=table, position=position, setting="url")

        if not isinstance(position, BinlogPosition):
            raise lost(f"a position of the kind {position.tag}, from which binlog files can't go on")
        found = next((file for file in files if file.name == position.file), None)
        if found is None:
            raise lost(f"there is no file {position.file}: {self._folder.url} holds {files[0].name} to {files[-1].name}")
        begin = self._begin(found)
        if begin.server.identity != position.server:
            raise lost(f"it is of the server {position.server}, and these files are of {begin.server.identity}")
        if position.fingerprint and begin.format.fingerprint != position.fingerprint:
            raise lost(f"{found.name} is another file than the one that was read under this name")
        if found.codec is None and position.offset > found.size:
            raise lost(f"{found.name} ends at {found.size}: it is an older copy than the one that was read")
        return position

    def _since(self, files: Sequence[StoredFile], position: BinlogPosition) -> None:
        """PermanentError if a number is missing from the position on."""
        part = [file for file in files if file.sequence >= position.sequence]
        for before, after in itertools.pairwise(part):
            if after.sequence != before.sequence + 1:
                raise missing(before, after, self._name)
