"""First copies: where the changes after a copy begin, and the rows of the copy itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.changes.batch import ChangeBatch, Chunk, RowKind
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.errors import PreflightError, SchemaError, Unavailable
from tidegate.providers.mysql.log import fingerprint, log_status
from tidegate.providers.mysql.routes import Route
from tidegate.providers.mysql.select import key_texts
from tidegate.providers.mysql.session import Server, Session, quote
from tidegate.providers.mysql.types import MySqlTable
from tidegate.sync.protocols import Limits

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 10
"""How long to wait for the brief lock: others wait behind it."""


@dataclass(frozen=True, slots=True)
class View:
    """A session that sees the database as it was at ``low``, however long it stays open."""

    session: Session
    low: BinlogPosition

    def close(self) -> None:
        self.session.close()


def open_view(values: Mapping[str, Any], name: str, server: Server, tables: Sequence[MySqlTable], server_id: int) -> View:
    """A consistent view, and the position of the log that it stands at: all before it can be read, nothing after it.

    ``SHOW MASTER STATUS`` alone is not that position. A commit goes to the log first and can be read later: a copy that begins
    between the two would miss it, and so would the changes read from there. MariaDB tells the position that its snapshot has. On
    MySQL writers are stopped for a moment.
    """
    session = Session(values, name)
    try:
        _no_prepared(session, server)
        session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if server.mariadb:
            file, offset, gtid = _mariadb_view(session)
        else:
            file, offset, gtid = _mysql_view(session, server, tables)
        _no_prepared(session, server)
        mark = fingerprint(session, file, offset, server_id)
    except BaseException:
        session.close()
        raise
    return View(session, BinlogPosition(file, offset, server.identity, gtid, mark))


def _mariadb_view(session: Session) -> tuple[str, int, str]:
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    status = {str(name).lower(): value or "" for name, value in session.rows("SHOW STATUS LIKE 'binlog_snapshot_%'")}
    file, offset = status.get("binlog_snapshot_file", ""), int(status.get("binlog_snapshot_position") or 0)
    if not file:
        raise PreflightError("the server writes no binlog", connection=session.name, setting="log_bin=ON")
    gtid = session.rows("SELECT BINLOG_GTID_POS(%s, %s)", (file, offset))[0][0] or ""
    return file, offset, gtid


def _mysql_view(session: Session, server: Server, tables: Sequence[MySqlTable]) -> tuple[str, int, str]:
    locker = Session(session.values, session.name)
    try:
        locker.execute(f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}")
        _stop_writers(locker, tables)
        session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        return log_status(session, server)
    finally:
        # Closing it gives the lock back.
        locker.close()


def _stop_writers(locker: Session, tables: Sequence[MySqlTable]) -> None:
    """No commit is under way while the lock is held. Without the right to lock all tables, those of the copy are locked."""
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


def copy(route: Route, table: MySqlTable, position: SnapshotPosition, limits: Limits) -> Iterator[Chunk]:
    """The rest of a table's copy. Every chunk ends where a later run can go on; the last one at ``position.low``."""
    after, rows, last = position.after, position.rows, False
    while not last:
        for part, last in route.page(table, after, limits):
            rows += part.num_rows
            batches = (ChangeBatch.of(table.schema, part, RowKind.INSERT),) if part.num_rows else ()
            if table.schema.key and part.num_rows:
                reached = key_texts(table, part)
                if reached == after:
                    what = "two pages of the copy end at the same key, so it would never come to an end; copy it with another key"
                    raise SchemaError(what, table=table.name, position=position, setting="key=[...]")
                after = reached
            yield Chunk(batches, position.low if last else SnapshotPosition(position.low, after, rows))
