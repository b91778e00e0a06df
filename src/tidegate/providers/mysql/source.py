"""MySQL and MariaDB as a source: :class:`tidegate.sync.protocols.Source`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tidegate.changes.batch import Chunk
from tidegate.changes.position import BinlogPosition, Position, SnapshotPosition, in_log
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import PermanentError, PositionLost, SchemaError, Unavailable
from tidegate.providers.mysql.asof import table_as_of
from tidegate.providers.mysql.binlog.reader import EventReader, Task
from tidegate.providers.mysql.binlog.skip import Skipping, passed
from tidegate.providers.mysql.binlog.stream import Dump, DumpRefused
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.fast import fast_route
from tidegate.providers.mysql.locate import Locator
from tidegate.providers.mysql.log import current, fingerprint, log_status, lost, replica_id
from tidegate.providers.mysql.lost import WAY_OUT, Lost
from tidegate.providers.mysql.preflight import preflight
from tidegate.providers.mysql.present import PresentTables
from tidegate.providers.mysql.ranges import Routes
from tidegate.providers.mysql.retention import retention
from tidegate.providers.mysql.routes import PyMySqlRoute, Route
from tidegate.providers.mysql.session import Server, Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.types import MySqlTable, read_table, table_kind
from tidegate.providers.mysql.view import View, open_view
from tidegate.sync.protocols import Findings, Limits, Window
from tidegate.sync.retention import Retention

logger = logging.getLogger(__name__)

_CLASH = "the same server_uuid/server_id"
"""In MySQL's and MariaDB's text when another replica takes over; the error has the number 1236 as when the log was purged."""


def open_source(values: Mapping[str, Any], name: str) -> MysqlSource:
    """A source over the values of :data:`tidegate.providers.mysql.connection.SYSTEM`'s fields. Connects when first asked."""
    return MysqlSource(values, name)


class MysqlSource:
    """Copies tables, and reads their changes from the binlog."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values = values
        self._name = name
        self._control: Session | None = None
        self._server: Server | None = None
        self._server_id: int | None = None
        self._view: View | None = None
        self._newest = 0
        self._read_to: BinlogPosition | None = None
        self._charsets = Charsets(self._session)

    @property
    def name(self) -> str:
        return self._name

    @property
    def copies_at_once(self) -> int:
        """As many as there may be connections for copies; alone, a table is read over all of them."""
        return int(self._values["snapshot_connections"])

    def preflight(self, stored: Mapping[TableName, Position | None]) -> Findings:
        """Settings, privileges, tables, and whether each stored position can still be read. Reads only."""
        session = self._session()
        # A table that was read from captured segments of this log goes on in the log itself.
        stored = {table: in_log(position) for table, position in stored.items()}
        return preflight(session, self._flavour(), stored, self._replica_id())

    def retention(self, stored: Mapping[TableName, Position | None]) -> Retention:
        """How long the server keeps its log from each position on."""
        return retention(self._session(), self._flavour(), stored, self._replica_id())

    def schema(self, table: TableName) -> TableSchema:
        """The table as it is now. SchemaError if it is missing or has a column without canonical type."""
        return self._table(table).schema

    def estimate(self, table: TableName, after: Position | None) -> int | None:
        """Rows that the server guesses the table to have, less those copied; None for changes in the log."""
        if isinstance(in_log(after), BinlogPosition):
            return None
        schema = table.schema or self._values["database"]
        sql = "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        found = self._session().rows(sql, (schema, table.name), table=table)
        if not found or found[0][0] is None:
            return None
        return max(0, int(found[0][0]) - (after.rows if isinstance(after, SnapshotPosition) else 0))

    def start(self, tables: Sequence[TableName], *, consistent: bool) -> Mapping[TableName, Position]:
        """Where copies begin. ``consistent``: one view of all tables, held open until the source is closed; it can't be resumed.

        Raises SchemaError for a table without key unless ``consistent``, since its rows have no order to page by; and, if
        ``consistent``, for an engine without transactions.
        """
        described = [self._table(table) for table in tables]
        if not consistent and (keyless := [str(table.name) for table in described if not table.schema.key]):
            raise SchemaError(
                f"{', '.join(keyless)}: without a key rows can only be copied in one piece, from one consistent view",
                connection=self._name,
            )
        if consistent and (plain := [str(item.name) for item in described if not table_kind(self._session(), item.where)[1]]):
            raise SchemaError(
                f"{', '.join(plain)}: the engine has no transactions, and so no consistent view, which a copy takes under these "
                "options; write it by its key, with write_mode='upsert', or change its engine to InnoDB",
                connection=self._name,
                setting="write_mode, conflict_mode",
            )
        connections = self._values["snapshot_connections"] if consistent else 1
        view = open_view(self._values, self._name, self._flavour(), described, self._replica_id(), connections)
        if consistent:
            self._close_view()
            self._view = view
        else:
            view.close()
        return {table: SnapshotPosition(view.low) for table in tables}

    def locate(self, start: str) -> BinlogPosition:
        """``latest``, a place in the log (``binlog.000003:4711``), or the first transaction not older than a time (ISO 8601).

        A time is looked for from the last file on that was begun before it. ConfigError if the log has no such place: it was
        purged, lies inside a transaction, or is still to come.
        """
        if start.strip() == "latest":
            return self.head()
        session, server_id = self._session(), self._replica_id()
        file, offset = Locator(session, self._values, server_id).find(start)
        mark = fingerprint(session, file, offset, server_id)
        return BinlogPosition(file, offset, self._flavour().identity, fingerprint=mark)

    def head(self) -> BinlogPosition:
        """The end of the log as it is now."""
        session, server = self._session(), self._flavour()
        file, offset, gtid = log_status(session, server)
        return BinlogPosition(file, offset, server.identity, gtid, fingerprint(session, file, offset, self._replica_id()))

    def current(self, position: Position, table: TableName) -> Position:
        """Where to go on from a stored position. On another server (a failover) or after a purge: at the place in its log that has
        the same transactions before it, by their GTIDs. PositionLost, with the evidence, if there is none.
        """
        if isinstance(position, SnapshotPosition):
            low = self.current(position.low, table)
            return replace(position, low=low) if isinstance(low, BinlogPosition) else position
        if not isinstance(position, BinlogPosition):
            return position
        found = current(self._session(), self._flavour(), position, self._replica_id())
        if isinstance(found, Lost):
            raise found.error(self._name, table, position)
        return found

    def read(self, window: Window, limits: Limits) -> Iterator[Chunk]:
        """The rest of one table's copy, or the changes of any number of tables up to ``window.until``."""
        copies = {table: position for table, position in window.after.items() if isinstance(position, SnapshotPosition)}
        if copies:
            (table, position), *more = copies.items()
            if more or len(window.after) > 1:
                raise ValueError("a table that is being copied is read in a window of its own")
            return self._copy(self._table(table), position, limits)
        if not isinstance(window.until, BinlogPosition):
            raise ValueError("changes are read up to a position of the binlog")
        after = {table: in_log(position) or position for table, position in window.after.items()}
        return self._changes(replace(window, after=after), window.until, limits)

    def lag_seconds(self) -> float | None:
        """Age of the newest change read; 0 if the log has nothing newer; None if nothing was read yet."""
        if self._read_to is None:
            return None
        file, offset, _ = log_status(self._session(), self._flavour())
        if (file, offset) == (self._read_to.file, self._read_to.offset):
            return 0.0
        now = float(self._session().rows("SELECT UNIX_TIMESTAMP(NOW(6))")[0][0] or 0)
        return max(0.0, now - self._newest) if self._newest else None

    def ack(self, position: Position) -> None:
        """Nothing to do: the server keeps its log for as long as it is told to, whoever has read it."""

    def close(self) -> None:
        self._close_view()
        if self._control is not None:
            self._control.close()
            self._control = None

    def _session(self) -> Session:
        """The connection for questions; a new one if it was lost."""
        if self._control is None or not self._control.driver.open:
            self._control = Session(self._values, self._name)
        return self._control

    def _flavour(self) -> Server:
        if self._server is None:
            self._server = self._session().server()
        return self._server

    def _replica_id(self) -> int:
        if self._server_id is None:
            self._server_id = replica_id(self._session(), self._values)
        return self._server_id

    def _table(self, table: TableName) -> MySqlTable:
        return read_table(self._session(), table)

    def _close_view(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None

    def _copy(self, table: MySqlTable, position: SnapshotPosition, limits: Limits) -> Iterator[Chunk]:
        if self._view is not None and self._view.low == position.low:
            yield from copy(self._view.routes(), table, position, limits)
            return
        if not table.schema.key:
            raise PositionLost(
                "the copy of a table without key can't be resumed; begin it again",
                connection=self._name,
                table=table.name,
                position=position,
            )
        with contextlib.ExitStack() as sessions:

            def session() -> Session:
                return sessions.enter_context(contextlib.closing(Session(self._values, self._name)))

            control, count = session(), max(1, self._values["snapshot_connections"] // limits.share)
            routes = Routes(control, count, lambda: self._route(session() if count > 1 else control, table))
            yield from copy(routes, table, position, limits)

    def _route(self, session: Session, table: MySqlTable) -> Route:
        return fast_route(session, table) or PyMySqlRoute(session)

    def _changes(self, window: Window, until: BinlogPosition, limits: Limits) -> Iterator[Chunk]:
        places = {position: self.current(position, table) for table, position in window.after.items()}
        starts = {table: self._log_position(table, places[position], until) for table, position in window.after.items()}
        lowest = min(starts.values(), key=lambda position: (position.sequence, position.offset))
        if lowest.compare(until) == "equal":
            self._read_to = until
            yield Chunk((), until)
            return
        tables = {}
        for name in starts:
            now, known = self._table(name), window.schemas.get(name)
            tables[now.where] = table_as_of(known, now, self._charsets.width) if known else now
        unknown = frozenset(where for where, table in tables.items() if table.name in window.unknown)
        task = Task(self._name, self._flavour(), tables, starts, until, limits, PresentTables(self._session), unknown)
        with contextlib.closing(Dump(self._values, self._name, self._replica_id())) as dump:
            reader = EventReader(task, self._charsets, checksums=dump.checksums)
            skipping = self._skipping(starts, checksums=dump.checksums)
            stream = dump.events(lowest.file, lowest.offset)
            try:
                for found in reader.chunks(skipping.events(stream) if skipping else stream):
                    chunk = found
                    if skipping and isinstance(found.end, BinlogPosition):
                        chunk = replace(found, end=replace(found.end, skip=skipping.remaining()))
                    self._newest = reader.newest or self._newest
                    if chunk.end is not None and chunk.end.compare(until) == "equal":
                        self._read_to = until
                    yield chunk
            except DumpRefused as error:
                raise self._why_refused(error, starts, lowest) from error

    def _skipping(self, starts: Mapping[TableName, BinlogPosition], *, checksums: bool) -> Skipping | None:
        """What the tables have of the log already, from before a failover: all of them, or they stand behind it."""
        mariadb = self._flavour().mariadb
        skip = next((position.skip for position in starts.values() if position.skip), "")
        for table, position in starts.items():
            if position.skip != skip and not passed(mariadb, position.gtid, skip):
                raise PositionLost(
                    "its tables stood at different points of the log before the failover, and this server's log has these "
                    f"transactions in another order; {WAY_OUT}",
                    connection=self._name,
                    table=table,
                    position=position,
                )
        return Skipping(mariadb, skip, checksums=checksums) if skip else None

    def _log_position(self, table: TableName, position: Position, until: BinlogPosition) -> BinlogPosition:
        """The table's position, which must lie before ``until``."""
        if not isinstance(position, BinlogPosition) or position.compare(until) not in ("before", "equal"):
            raise PositionLost(
                f"it doesn't lie before {until}, the end of the log of {until.server}: the log was reset, or is another server's",
                connection=self._name,
                table=table,
                position=position,
            )
        return position

    def _why_refused(
        self, error: DumpRefused, starts: Mapping[TableName, BinlogPosition], lowest: BinlogPosition
    ) -> PermanentError | Unavailable:
        """What a refusal of the log means here: the server says so if another replica came; else by what it still has."""
        if _CLASH in str(error):
            return Unavailable(
                f"another replica reads the log under the same server id {self._replica_id()}, and pushed this one out",
                connection=self._name,
                position=lowest,
                setting="server_id",
            )
        found = lost(self._session(), self._flavour(), lowest, self._replica_id())
        if found is None:
            return error
        tables = ", ".join(sorted(str(table) for table, position in starts.items() if position == lowest))
        return found.error(self._name, tables, lowest)
