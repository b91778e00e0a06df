"""Consistent views: sessions that see the database as it was at one position of the log."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.changes.position import BinlogPosition
from tidegate.errors import PreflightError, Unavailable
from tidegate.providers.mysql.log import fingerprint, log_status
from tidegate.providers.mysql.ranges import Routes
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.session import Server, Session, quote
from tidegate.providers.mysql.types import MySqlTable

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 10
"""How long to wait for the brief lock: others wait behind it."""
_TRIES = 5
"""How often MariaDB's sessions are begun together in the hope that nothing is committed in between."""

Place = tuple[str, int, str]
"""File, offset, GTIDs."""


@dataclass(frozen=True, slots=True)
class View:
    """Sessions that all see the database as it was at ``low``, however long they stay open."""

    sessions: tuple[Session, ...]
    low: BinlogPosition

    def routes(self) -> Routes:
        """What a table of the view is read over. One at a time: the sessions are the same for all."""
        control, *readers = self.sessions
        free = readers or [control]
        return Routes(control, len(free), lambda: PyMySqlRoute(free.pop()))

    def close(self) -> None:
        for session in self.sessions:
            session.close()


def open_view(
    values: Mapping[str, Any], name: str, server: Server, tables: Sequence[MySqlTable], server_id: int, connections: int = 1
) -> View:
    """A consistent view, and the position of the log that it stands at: all before it can be read, nothing after it.

    ``SHOW MASTER STATUS`` alone is not that position. A commit goes to the log first and can be read later: a copy that begins
    between the two would miss it, and so would the changes read from there. MariaDB tells the position that its snapshot has. On
    MySQL writers are stopped for a moment.

    ``connections`` sessions read, and if they are several one more asks for bounds. It is one in all if MariaDB is too busy to
    begin several without a lock and the account may not take one.
    """
    with contextlib.ExitStack() as opened:

        def session() -> Session:
            return opened.enter_context(contextlib.closing(Session(values, name)))

        sessions = [session() for _ in range(connections + 1 if connections > 1 else 1)]
        _no_prepared(sessions[0], server)
        for item in sessions:
            item.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if server.mariadb:
            sessions, (file, offset, gtid) = _mariadb_view(sessions, tables)
        else:
            with _writers_stopped(sessions[0], tables):
                _begin(sessions)
                file, offset, gtid = log_status(sessions[0], server)
        _no_prepared(sessions[0], server)
        mark = fingerprint(sessions[0], file, offset, server_id)
        opened.pop_all()
    return View(tuple(sessions), BinlogPosition(file, offset, server.identity, gtid, mark))


def _begin(sessions: Sequence[Session]) -> None:
    for session in sessions:
        session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")


def _mariadb_view(sessions: list[Session], tables: Sequence[MySqlTable]) -> tuple[list[Session], Place]:
    """MariaDB's snapshots know their positions: where these are equal, so are the views. Else writers are stopped for a moment."""
    for _ in range(_TRIES):
        _begin(sessions)
        places = [_mariadb_place(session) for session in sessions]
        if len(set(places)) == 1:
            return sessions, _with_gtid(sessions[0], places[0])
    try:
        with _writers_stopped(sessions[0], tables):
            _begin(sessions)
            # If only the tables could be locked, others may be written meanwhile: the first snapshot has the lowest position.
            return sessions, _with_gtid(sessions[0], _mariadb_place(sessions[0]))
    except (PreflightError, Unavailable) as error:
        logger.warning("%s: one connection makes the copy: the server is written to all the time, and %s", sessions[0].name, error)
        for session in sessions[1:]:
            session.close()
        _begin(sessions[:1])
        return sessions[:1], _with_gtid(sessions[0], _mariadb_place(sessions[0]))


def _mariadb_place(session: Session) -> tuple[str, int]:
    status = {str(name).lower(): value or "" for name, value in session.rows("SHOW STATUS LIKE 'binlog_snapshot_%'")}
    file, offset = status.get("binlog_snapshot_file", ""), int(status.get("binlog_snapshot_position") or 0)
    if not file:
        raise PreflightError("the server writes no binlog", connection=session.name, setting="log_bin=ON")
    return file, offset


def _with_gtid(session: Session, place: tuple[str, int]) -> Place:
    return (*place, session.rows("SELECT BINLOG_GTID_POS(%s, %s)", place)[0][0] or "")


@contextlib.contextmanager
def _writers_stopped(session: Session, tables: Sequence[MySqlTable]) -> Iterator[None]:
    """Within the block no commit is under way. Without the right to lock all tables, those of the copy are locked."""
    with contextlib.closing(Session(session.values, session.name)) as locker:
        locker.execute(f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}")
        _stop_writers(locker, tables)
        yield


def _stop_writers(locker: Session, tables: Sequence[MySqlTable]) -> None:
    try:
        locker.execute("FLUSH TABLES WITH READ LOCK")
    except PreflightError:
        names = ", ".join(f"{quote(table.where.schema)}.{quote(table.where.name)} READ" for table in tables)
        try:
            locker.execute(f"LOCK TABLES {names}")
        except PreflightError as error:
            raise PreflightError(
                "finding the position of a copy takes a brief lock, which the account may not take",
                connection=locker.name,
                setting="GRANT RELOAD, or LOCK TABLES on the tables' database",
            ) from error


def _no_prepared(session: Session, server: Server) -> None:
    """A transaction that is prepared before the copy and committed after it would be in neither the copy nor the changes read."""
    if not server.at_least(mysql=(5, 7), mariadb=(10, 5)):
        # Older ones write an XA transaction to the log when it is committed.
        return
    try:
        prepared = session.rows("XA RECOVER")
    except PreflightError:
        logger.warning("%s: the account may not see prepared XA transactions [GRANT XA_RECOVER_ADMIN]", session.name)
        return
    if prepared:
        raise Unavailable(
            f"{len(prepared)} XA transactions are prepared and not committed; a copy can't begin before they are finished",
            connection=session.name,
            setting="XA RECOVER lists them",
        )
