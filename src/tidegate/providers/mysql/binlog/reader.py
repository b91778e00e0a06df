"""From a stream of events to chunks that end where transactions end."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tidegate.changes.batch import Chunk, RowKind, TableEvent
from tidegate.changes.position import BinlogPosition
from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused, PositionLost, SchemaError, Unavailable
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.buffer import Pending
from tidegate.providers.mysql.binlog.gtid_events import trail
from tidegate.providers.mysql.binlog.payload import inner_events
from tidegate.providers.mysql.binlog.query import Query, read_query
from tidegate.providers.mysql.binlog.rows import Layout, bind
from tidegate.providers.mysql.binlog.tablemap import TableMap, read_table_map, table_name
from tidegate.providers.mysql.binlog.tables import LoggedTables, Present
from tidegate.providers.mysql.binlog.wire import length_encoded
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.session import Server
from tidegate.providers.mysql.types import MySqlTable
from tidegate.sync.protocols import Limits

_STANDALONE = 0x01
"""MariaDB's GTID event: what follows is one event by itself, not a transaction."""
_HEADER = struct.Struct("<IB4xII").unpack_from
"""Seconds, type, size and end position, of a header that is unpacked for every event."""
_ID = slice(ev.HEADER_SIZE, ev.HEADER_SIZE + 6)
"""Where a table map or row event has the number that it goes by. Two bytes of flags follow."""
_BODY = ev.HEADER_SIZE + 6
_NO_TABLE = b"\xff\xff\xff\0\0\0"
"""The table of a row event that only ends a statement."""
_NEVER = 1 << 64
_ROWS_BEGIN = ev.HEADER_SIZE + 8
_KINDS = (
    dict.fromkeys(ev.INSERTS, RowKind.INSERT)
    | dict.fromkeys(ev.UPDATES, RowKind.UPDATE_BEFORE)
    | dict.fromkeys(ev.DELETES, RowKind.DELETE)
)
_UNREADABLE = (ValueError, IndexError, KeyError, struct.error, zlib.error)
"""What reading raises on bytes that aren't what they should be."""
_HUGE = 2
"""A transaction of more than this many times the limits is given out before it ends."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to read: the tables by their full names, each as it is where it stands; where that is; where to stop."""

    connection: str
    server: Server
    tables: Mapping[TableName, MySqlTable]
    after: Mapping[TableName, BinlogPosition]
    until: BinlogPosition
    limits: Limits
    present: Present
    unknown: frozenset[TableName] = frozenset()
    """Those of the tables whose columns, where they stand, nobody knows; they are given as they are now."""


class EventReader:
    """Reads one window. ``newest`` is the time (seconds since 1970, by the source's clock) of the last event it saw."""

    def __init__(self, task: Task, charsets: Charsets, *, checksums: bool) -> None:
        self._task = task
        self._charsets = charsets
        self._checksums = checksums
        self._pending = Pending(task.connection)
        self._file, self._number, self._pos = "", 0, 0
        self._high = 0
        self._stop = _NEVER
        self._limit_rows, self._limit_bytes = task.limits.rows, task.limits.bytes
        self._fingerprint = ""
        self._table_ids: dict[bytes, bytes] = {}
        self._layouts: dict[bytes, Layout | None] = {}
        self._tables = LoggedTables(task.tables, task.present, task.unknown)
        self._events: list[TableEvent] = []
        self._after = {table: (position.sequence, position.offset) for table, position in task.after.items()}
        self._until = (task.until.sequence, task.until.offset)
        self._in_transaction = False
        self._rows_in_transaction = 0
        self._savepoints: dict[str, int] = {}
        lowest = min(task.after.values(), key=lambda position: (position.sequence, position.offset))
        self._trail = trail(task.server.mariadb, lowest.gtid)
        self._first_row = 0
        self.newest = 0

    def chunks(self, events: Iterable[bytes]) -> Iterator[Chunk]:
        """The changes up to ``until``; the last chunk ends there.

        Raises EventRefused for an event that can't be applied, PositionLost for a log that is not the one that was read before,
        Unavailable if the events end too early.
        """
        unpack, crc32, pending, table_ids = _HEADER, zlib.crc32, self._pending, self._table_ids
        huge_rows, huge_bytes = self._limit_rows * _HUGE, self._limit_bytes * _HUGE
        for event in events:
            try:
                seconds, kind, size, low = unpack(event)
            except struct.error as error:
                raise self._cut_short(event, "a header") from error
            if self._checksums and crc32(event) != ev.CHECKED and kind != ev.FORMAT:
                ev.check(event, self._task.connection, self._where(self._pos))
            if size != len(event):
                raise self._cut_short(event, f"{size} bytes")
            if kind in ev.HEARTBEATS or (not low and kind not in _KINDS and kind != ev.TABLE_MAP):
                # Made up by the server: it stands nowhere in the file.
                self._of_server(kind, event)
                continue
            # The event's end: its header has the low 32 bits, and ends grow.
            end = self._high | low
            if end < self._pos:
                self._high += 1 << 32
                end += 1 << 32
            if end - size >= self._stop:
                break
            self._pos = end
            if seconds > self.newest:
                self.newest = seconds
            # What transactions are made of comes first; a payload's events come by way of _event, which knows them all.
            if kind in _KINDS:
                self._rows(kind, event, end, seconds)
                if self._events:
                    yield from self._give_out_events(False)
                if pending.rows >= huge_rows or pending.bytes >= huge_bytes:
                    yield Chunk(pending.take(), None)
            elif kind == ev.TABLE_MAP:
                table_ids[event[_ID]] = event[_BODY : self._body_end(event)]
            else:
                if kind == ev.TRANSACTION_PAYLOAD:
                    ends = yield from self._payload(event, end, seconds)
                else:
                    ends = self._event(kind, event, end, seconds)
                if self._events:
                    yield from self._give_out_events(ends)
                if self._pos >= self._stop:
                    break
                if ends and self._full(1):
                    yield Chunk(pending.take(), self._position(), self._tables.schemas())
        else:
            raise Unavailable(
                f"the log ended at {self._where(self._pos)}, before {self._task.until}",
                connection=self._task.connection,
                position=self._task.until,
            )
        if self._in_transaction or (self._file == self._task.until.file and self._pos > self._task.until.offset):
            raise PositionLost(
                "the position to read up to lies inside a transaction", connection=self._task.connection, position=self._task.until
            )
        if left := self._tables.end():
            yield Chunk(self._pending.take(), None)
            self._events += left
        until = replace(self._task.until, gtid=self._trail.text() or self._task.until.gtid)
        yield Chunk((*self._events, *self._pending.take()), until, self._tables.schemas())

    def _give_out_events(self, ends: bool) -> Iterator[Chunk]:
        """Events of whole tables, after the rows of before, which nothing is recorded of by themselves."""
        events, self._events = tuple(self._events), []
        if self._pending.rows:
            yield Chunk(self._pending.take(), None)
        yield Chunk(events, self._position(), self._tables.schemas()) if ends else Chunk(events, None)

    def _full(self, times: int) -> bool:
        return self._pending.rows >= self._limit_rows * times or self._pending.bytes >= self._limit_bytes * times

    def _cut_short(self, event: bytes, expected: str) -> Unavailable:
        return Unavailable(
            f"an event arrived as {len(event)} bytes instead of {expected}",
            connection=self._task.connection,
            position=self._where(self._pos),
        )

    def _sequence(self) -> int:
        return self._number

    def _where(self, offset: int) -> str:
        return f"{self._file}:{offset}"

    def _position(self) -> BinlogPosition:
        return BinlogPosition(self._file, self._pos, self._task.server.identity, self._trail.text(), self._fingerprint)

    def _of_server(self, kind: int, event: bytes) -> None:
        if kind == ev.ROTATE:
            self._rotate(event)
        elif kind == ev.FORMAT:
            self._format(event)
        else:
            ev.fate(kind, self._task.connection, self._where(self._pos))

    def _event(self, kind: int, event: bytes, end: int, seconds: int) -> bool:
        """Apply an event; True if a transaction, or a statement by itself, ends with it."""
        try:
            if kind == ev.XID:
                return self._commit()
            if kind in ev.GTIDS:
                self._gtid(kind, event, end)
                return False
            if kind in _KINDS:
                self._rows(kind, event, end, seconds)
                return False
            if kind == ev.TABLE_MAP:
                self._table_ids[event[_ID]] = event[_BODY : self._body_end(event)]
                return False
            if ev.fate(kind, self._task.connection, self._where(end)) is ev.Fate.IGNORED:
                return False
            if kind in (ev.QUERY, ev.QUERY_COMPRESSED, ev.EXECUTE_LOAD):
                return self._query(read_query(event, self._body_end(event)), end)
            if kind == ev.XA_PREPARE:
                return self._xa_prepare(event, end)
            if kind == ev.ROTATE:
                self._rotate(event)
            else:
                self._format(event)
            return False
        except _UNREADABLE as error:
            raise self._unreadable(kind, end, error) from error

    def _unreadable(self, kind: int, end: int, error: Exception, table: TableName | None = None) -> EventRefused:
        return EventRefused(
            f"{ev.EVENTS[kind][0]} can't be read ({type(error).__name__}: {error})",
            connection=self._task.connection,
            table=table,
            position=self._where(end),
        )

    def _gtid(self, kind: int, event: bytes, end: int) -> None:
        try:
            self._trail.event(kind, event)
        except (ValueError, IndexError, struct.error) as error:
            what = f"{ev.EVENTS[kind][0]} has a form that tidegate doesn't know ({error})"
            raise EventRefused(what, connection=self._task.connection, position=self._where(end)) from error
        if kind == ev.MARIADB_GTID:
            self._begin(not event[ev.HEADER_SIZE + 12] & _STANDALONE)

    def _payload(self, event: bytes, end: int, seconds: int) -> Generator[Chunk, None, bool]:
        """Apply the events of a compressed transaction, all of which end where it ends; True if the transaction does."""
        checksums, self._checksums, ends = self._checksums, False, False
        try:
            for begin, inner in self._inflated(event, len(event) - 4 if checksums else len(event), end):
                self._first_row = begin
                ends = self._event(inner[4], inner, end, seconds)
                if not ends and self._full(_HUGE):
                    yield Chunk(self._pending.take(), None)
        finally:
            self._checksums, self._first_row = checksums, 0
        return ends

    def _inflated(self, event: bytes, body_end: int, end: int) -> Iterator[tuple[int, bytes]]:
        try:
            for begin, inner in inner_events(event, body_end):
                if inner[4] in (ev.TRANSACTION_PAYLOAD, ev.ROTATE, ev.FORMAT):
                    raise ValueError(f"it holds an event of the type {inner[4]}")
                yield begin, inner
        except (ValueError, IndexError, KeyError) as error:
            raise EventRefused(
                f"a compressed transaction that can't be read: {error}",
                connection=self._task.connection,
                position=self._where(end),
                setting="binlog_transaction_compression=OFF",
            ) from error

    def _body_end(self, event: bytes) -> int:
        return len(event) - 4 if self._checksums else len(event)

    def _rotate(self, event: bytes) -> None:
        self._pos = int.from_bytes(event[ev.HEADER_SIZE : ev.HEADER_SIZE + 8], "little")
        self._high = self._pos >> 32 << 32
        self._file = event[ev.HEADER_SIZE + 8 : self._body_end(event)].decode()
        self._number = int(self._file.rpartition(".")[2])
        number, offset = self._until
        self._stop = offset if self._number == number else 0 if self._number > number else _NEVER

    def _format(self, event: bytes) -> None:
        if self._rows_in_transaction:
            raise EventRefused(
                "the file before ends inside a transaction, as when the server died while it wrote it: its rows were never "
                "committed; copy the tables again",
                connection=self._task.connection,
                position=self._where(self._pos),
            )
        self._begin(False)
        found = ev.read_format(event)
        self._checksums = found.checksums
        self._table_ids.clear()
        self._fingerprint = found.fingerprint
        for known in (*self._task.after.values(), self._task.until):
            if known.file == self._file and known.fingerprint not in ("", found.fingerprint):
                raise PositionLost(
                    f"{self._file} is another file than the one that was read under this name: the log was reset, or the server "
                    "restored; copy the tables again",
                    connection=self._task.connection,
                    position=known,
                )

    def _begin(self, in_transaction: bool) -> None:
        self._in_transaction = in_transaction
        self._rows_in_transaction = 0
        self._savepoints.clear()

    def _commit(self) -> bool:
        self._begin(False)
        return True

    def _query(self, query: Query, end: int) -> bool:
        words = query.text.strip().rstrip(";").upper().split(None, 2)
        match words[:2]:
            case ["BEGIN"] | ["START", "TRANSACTION"] | ["XA", "START" | "BEGIN"]:
                self._begin(True)
                return False
            case ["COMMIT", *_] | ["XA", "COMMIT"]:
                # An XA transaction that changes our tables was refused when it was prepared.
                return self._commit()
            case ["ROLLBACK", "TO"]:
                self._undone(end, self._savepoints.get(query.text.split(None, 2)[2], 0))
                return False
            case ["ROLLBACK", *_] | ["XA", "ROLLBACK"]:
                self._undone(end, 0)
                return self._commit()
            case ["SAVEPOINT", _]:
                self._savepoints[query.text.split(None, 1)[1]] = self._rows_in_transaction
                return False
            case ["XA", "END"]:
                return False
        here = (self._sequence(), end)
        concerned = [where for where, table in self._task.tables.items() if self._after[table.name] < here]
        self._events += self._tables.statement(query, concerned, self._where(end))
        # What a table map means depends on the columns as they are here.
        self._layouts.clear()
        return not self._in_transaction

    def _undone(self, end: int, mark: int) -> None:
        """The log takes back what the transaction did since ``mark``: rows of ours in it are refused."""
        if self._rows_in_transaction > mark:
            raise EventRefused(
                "a transaction whose rows are in the log was rolled back, as happens when it also writes to a table of an engine "
                "without transactions; copy the tables again",
                connection=self._task.connection,
                position=self._where(end),
            )

    def _xa_prepare(self, event: bytes, end: int) -> bool:
        one_phase = bool(event[ev.HEADER_SIZE])
        if self._rows_in_transaction and not one_phase:
            raise EventRefused(
                "XA PREPARE of a transaction that changes tables of the sync: whether it will be committed isn't known here; use "
                "plain transactions, or XA COMMIT … ONE PHASE",
                connection=self._task.connection,
                position=self._where(end),
            )
        return self._commit()

    def _rows(self, kind: int, event: bytes, end: int, seconds: int) -> None:
        body = self._table_ids.get(event[_ID])
        if body is None:
            if event[_ID] == _NO_TABLE:
                return
            raise EventRefused("row event without a table map", connection=self._task.connection, position=self._where(end))
        try:
            layout = self._layouts.get(body) or self._layout(body, end)
        except _UNREADABLE as error:
            raise self._unreadable(ev.TABLE_MAP, end, error) from error
        if layout is None:
            return
        header = layout.headers.get(kind)
        if header is not None and event.startswith(header, _ROWS_BEGIN):
            data, pos, stop = event, _ROWS_BEGIN + len(header), self._body_end(event)
        else:
            data, pos, stop = self._row_images(kind, event, layout, end)
        if pos > stop:
            raise self._unreadable(kind, end, ValueError("it ends too early"), layout.schema.table)
        self._rows_in_transaction += self._pending.add(
            layout, _KINDS[kind], data, pos, stop, self._file, end, self._first_row, seconds
        )

    def _layout(self, body: bytes, end: int) -> Layout | None:
        """How the rows under this table map are read; None for a table that isn't read, or that already has them."""
        if body not in self._layouts:
            event = b"\0" * (ev.HEADER_SIZE + 6) + body
            table = self._tables.get(table_name(event))
            if table is not None and (self._sequence(), end) <= self._after[table.name]:
                return None
            if table is None:
                self._layouts[body] = None
            else:
                table_map = read_table_map(event, len(event), mariadb=self._task.server.mariadb)
                self._layouts[body] = self._bound(table_map, table, end)
        return self._layouts[body]

    def _bound(self, table_map: TableMap, table: MySqlTable, end: int) -> Layout | None:
        """The layout; None, and an event, for a table that was broken and whose columns nothing tells since."""
        known = self._tables.known(table.where)
        try:
            if known or table_map.named:
                return bind(table_map, table, self._charsets, self._task.connection, self._where(end))
        except SchemaError:
            if known:
                raise
        what = "rows of it can't be read: its columns at this place aren't known, and the log doesn't name them"
        self._events.append(TableEvent(table.name, "unreadable", what, self._where(end)))
        self._tables.drop(table.where)
        return None

    def _row_images(self, kind: int, event: bytes, layout: Layout, end: int) -> tuple[bytes, int, int]:
        """The bytes that hold the row images, and where in them these begin and end. EventRefused if they leave columns out."""
        known = len(layout.shape.fields)
        try:
            pos = _ROWS_BEGIN
            if kind in ev.ROWS_V2:
                pos += int.from_bytes(event[pos : pos + 2], "little")
            columns, pos = length_encoded(event, pos)
            if columns != known:
                raise ValueError(f"{columns} columns under a table map of {known}")
            size, every = (columns + 7) // 8, (1 << columns) - 1
            for _ in range(2 if kind in ev.UPDATES else 1):
                if len(event) < pos + size:
                    raise ValueError("it ends too early")
                if int.from_bytes(event[pos : pos + size], "little") & every != every:
                    raise EventRefused(
                        "a row event leaves columns out",
                        connection=self._task.connection,
                        table=layout.schema.table,
                        position=self._where(end),
                        setting="binlog_row_image=FULL, in every session",
                    )
                pos += size
            if kind in ev.COMPRESSED_ROWS:
                data = ev.inflate(event, pos)
                return data, 0, len(data)
        except _UNREADABLE as error:
            raise self._unreadable(kind, end, error, layout.schema.table) from error
        layout.headers[kind] = event[_ROWS_BEGIN:pos]
        return event, pos, self._body_end(event)
