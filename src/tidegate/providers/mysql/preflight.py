"""What has to be true of the server before anything is read: settings, privileges, tables, positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tidegate.changes.position import BinlogPosition, Position, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError, PositionLost, PreflightError, SchemaError, TidegateError
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.providers.mysql.log import log_status, lost, status_statement
from tidegate.providers.mysql.session import Server, Session, quote
from tidegate.providers.mysql.types import read_table, table_kind
from tidegate.sync.protocols import Findings

_DAY = 86_400.0
_METADATA_SINCE = {"mysql": (8, 0, 1), "mariadb": (10, 5)}


def preflight(session: Session, server: Server, stored: Mapping[TableName, Position | None], server_id: int) -> Findings:
    """All that stands in the way, and what is worth a warning. Reads only.

    Raises Unavailable or PreflightError only if the server can't be asked at all.
    """
    problems: list[TidegateError] = [*_settings(session, server)]
    if not problems:
        problems += _log_access(session, server, server_id)
    problems += _tables(session, server, stored)
    if not any(isinstance(problem, PreflightError) for problem in problems):
        problems += _positions(session, server, stored, server_id)
    warnings = (*_warnings(session, server), *_copy_lock(session, server, stored), *_cascades(session, stored))
    return Findings(tuple(problems), warnings)


def _settings(session: Session, server: Server) -> Iterator[TidegateError]:
    """How the log must be written. Sessions can set some of it for themselves: the reader checks each event as well."""

    def problem(message: str, setting: str) -> PreflightError:
        return PreflightError(message, connection=session.name, setting=setting)

    found = session.variables("log_bin", "binlog_format", "binlog_row_image", "server_id", "binlog_row_value_options")
    if found.get("log_bin", "OFF") not in ("ON", "1"):
        yield problem("the server writes no binlog", "log_bin=ON")
        return
    if (value := found.get("binlog_format", "ROW")) != "ROW":
        yield problem(f"the log is written in {value} format: it holds statements, not rows", "binlog_format=ROW")
    if (value := found.get("binlog_row_image", "FULL")) != "FULL":
        yield problem(f"the log holds {value} row images: columns are left out", "binlog_row_image=FULL")
    if found.get("server_id") == "0":
        yield problem("the server has no id, and sends its log to nobody", "server_id, unlike 0")
    if value := found.get("binlog_row_value_options", ""):
        yield problem(f"the log holds parts of JSON values ({value})", "binlog_row_value_options=''")
    if session.values["server_id"] is not None and str(session.values["server_id"]) == found.get("server_id"):
        yield problem(f"the id {found['server_id']} is the server's own", "server_id of the connection")


def _log_access(session: Session, server: Server, server_id: int) -> Iterator[TidegateError]:
    """The privileges, asked for by using them: how grants read differs between servers."""
    try:
        file, offset, _ = log_status(session, server)
    except PermanentError as error:
        yield error
        return
    try:
        Dump(session.values, session.name, server_id).format_of(file, offset)
    except PermanentError as error:
        yield error


def _tables(session: Session, server: Server, stored: Mapping[TableName, Position | None]) -> Iterator[TidegateError]:
    logged = _logged_databases(session, server)
    for table in stored:
        try:
            where = read_table(session, table).where
            session.rows(f"SELECT 1 FROM {quote(where.schema)}.{quote(where.name)} LIMIT 0", table=table)
        except PermanentError as error:
            yield error
            continue
        if (kind := table_kind(session, where)[0]) != "BASE TABLE":
            what = f"is of the kind {kind}: the log has no rows of it, or has rows of its history too"
            yield SchemaError(what, connection=session.name, table=table, setting="leave it out of tables")
        elif not logged(where.schema):
            what = f"the server leaves changes in the database {where.schema} out of its log"
            yield PreflightError(what, connection=session.name, table=table, setting="binlog-do-db, binlog-ignore-db")


def _logged_databases(session: Session, server: Server) -> Callable[[str], bool]:
    """Whether changes in a database go to the log, by the server's filters."""
    try:
        found = session.dicts(status_statement(server))
    except PermanentError:
        return lambda name: True  # a problem of its own, found elsewhere
    do, ignore = (
        {name.strip() for name in (found[0].get(column) or "").split(",") if name.strip()} if found else set()
        for column in ("binlog_do_db", "binlog_ignore_db")
    )
    return lambda name: name in do if do else name not in ignore


def _cascades(session: Session, stored: Mapping[TableName, Position | None]) -> Iterator[str]:
    """Foreign keys by which the engine changes rows of a table itself, without a word in the log."""
    for table in stored:
        found = session.rows(
            "SELECT CONSTRAINT_NAME, REFERENCED_TABLE_NAME, DELETE_RULE, UPDATE_RULE "
            "FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = %s",
            (table.schema or session.values["database"], table.name),
        )
        for name, parent, on_delete, on_update in found:
            rules = {"ON DELETE": on_delete, "ON UPDATE": on_update}
            acting = [f"{event} {rule}" for event, rule in rules.items() if rule in ("CASCADE", "SET NULL", "SET DEFAULT")]
            if acting:
                yield (
                    f"{session.name}: the foreign key {name} changes rows of {table} with those of {parent} "
                    f"({', '.join(acting)}), and InnoDB doesn't write such changes into the log: they don't reach the target. Have "
                    "the application change these rows itself, or copy the table anew from time to time"
                )


def _positions(
    session: Session, server: Server, stored: Mapping[TableName, Position | None], server_id: int
) -> Iterator[TidegateError]:
    """Stored positions that can't be read from any more, each with the tables that stand there."""
    tables: dict[BinlogPosition, list[TableName]] = {}
    for table, position in stored.items():
        log = position.low if isinstance(position, SnapshotPosition) else position
        if isinstance(log, BinlogPosition):
            tables.setdefault(log, []).append(table)
        elif log is not None:
            yield PositionLost(
                f"a position of the kind {log.tag}, which is of another source", connection=session.name, table=table, position=log
            )
    for log, concerned in tables.items():
        found = lost(session, server, log, server_id)
        if found is not None:
            for table in concerned:
                yield found.error(session.name, table, log)


def _copy_lock(session: Session, server: Server, stored: Mapping[TableName, Position | None]) -> Iterator[str]:
    """MariaDB tells the position of a snapshot; on MySQL nothing else than a lock holds the two together."""
    if not server.mariadb and None in stored.values():
        yield (
            f"{session.name}: a first copy on MySQL begins with a brief lock, FLUSH TABLES WITH READ LOCK, or LOCK TABLES … READ "
            "if the account may not: writers wait while the position of the log is noted, and while the lock waits for statements"
        )


def _warnings(session: Session, server: Server) -> Iterator[str]:
    found = session.variables("binlog_row_metadata", "binlog_expire_logs_seconds", "expire_logs_days", "log_bin")
    if found.get("log_bin", "OFF") not in ("ON", "1"):
        return
    if server.at_least(mysql=_METADATA_SINCE["mysql"], mariadb=_METADATA_SINCE["mariadb"]):
        if (value := found.get("binlog_row_metadata", "MINIMAL")) != "FULL":
            yield (
                f"{session.name}: the log doesn't name the columns (binlog_row_metadata={value}), so a change of a table's columns "
                "stops the sync [binlog_row_metadata=FULL]"
            )
    else:
        yield f"{session.name}: {server} can't write columns' names into its log, so a change of a table's columns stops the sync"
    seconds = float(found.get("binlog_expire_logs_seconds") or 0) or float(found.get("expire_logs_days") or 0) * _DAY
    if 0 < seconds < _DAY:
        yield (
            f"{session.name}: the server keeps its log for {seconds / 3600:.1f} hours; runs that are further apart lose their "
            "place [binlog_expire_logs_seconds, expire_logs_days]"
        )
