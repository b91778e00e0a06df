"""Where the server's log stands, and what of it there is."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.changes.position import BinlogPosition
from tidegate.errors import PermanentError, PositionLost, PreflightError, Unavailable
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.providers.mysql.session import Server, Session

_GRANT = "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.*"
"""What reading the log takes. MariaDB calls the second one BINLOG MONITOR, and knows it by this name too."""

_OWN_IDS = range(2**31, 2**32 - 1)
"""Where replica ids are drawn from: administrators count theirs from 1 up."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of the log, and its size in bytes."""

    name: str
    size: int

    @property
    def sequence(self) -> int:
        return int(self.name.rpartition(".")[2])


def status_statement(server: Server) -> str:
    """What shows the end of the log and its filters."""
    return "SHOW BINARY LOG STATUS" if not server.mariadb and server.version >= (8, 2) else "SHOW MASTER STATUS"


def log_status(session: Session, server: Server) -> tuple[str, int, str]:
    """The end of the log as ``SHOW MASTER STATUS`` has it: file, offset and GTIDs. PreflightError if the log is off."""
    try:
        found = session.dicts(status_statement(server))
    except PreflightError as error:
        raise PreflightError("the account may not see where the log stands", connection=session.name, setting=_GRANT) from error
    if not found:
        raise PreflightError("the server writes no binlog", connection=session.name, setting="log_bin=ON")
    if server.mariadb:
        gtid = session.rows("SELECT @@GLOBAL.gtid_binlog_pos")[0][0] or ""
    else:
        gtid = (found[0].get("executed_gtid_set") or "").replace("\n", "")
    return found[0]["file"] or "", int(found[0]["position"] or 0), gtid


def log_files(session: Session) -> list[LogFile]:
    """The files of the log that are still there, oldest first. PreflightError if the log is off or the account may not see it."""
    try:
        found = session.rows("SHOW BINARY LOGS")
    except PreflightError as error:
        raise PreflightError(
            "the account may not see which files of the log there are", connection=session.name, setting=_GRANT
        ) from error
    except PermanentError as error:
        raise PreflightError("the server writes no binlog", connection=session.name, setting="log_bin=ON") from error
    return [LogFile(str(row[0]), int(row[1] or 0)) for row in found]


def replica_id(session: Session, values: Mapping[str, Any]) -> int:
    """The server id to ask for the log under: the one that was set, else one drawn anew that no registered replica has."""
    if values["server_id"] is not None:
        return int(values["server_id"])
    taken = {int(session.rows("SELECT @@GLOBAL.server_id")[0][0] or 0)}
    chosen = random.choice(_OWN_IDS)
    return chosen if chosen not in taken else chosen + 1


def fingerprint(session: Session, file: str, offset: int, server_id: int) -> str:
    """The fingerprint of a file's format event, asked for at ``offset``."""
    return Dump(session.values, session.name, server_id).format_of(file, offset).fingerprint


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a position can't be read from any more, the way out, and the setting that would have kept it."""

    message: str
    setting: str | None = None

    def error(self, connection: str, table: object | None, position: BinlogPosition) -> PositionLost:
        return PositionLost(self.message, connection=connection, table=table, position=position, setting=self.setting)


_WAY_OUT = "copy the tables again (tidegate resync)"
_OTHER_HISTORY = f"the log was reset, or the server restored; {_WAY_OUT}"


def lost(session: Session, server: Server, position: BinlogPosition, server_id: int) -> Lost | None:
    """What is wrong with a stored position, by the evidence of the server's files; None if it can be read from.

    Nothing here relies on the text of an error: error 1236 is the same for a log that was purged and a replica that was pushed out
    by another.
    """
    if position.server != server.identity:
        return Lost(f"it is of the server {position.server}, and this is {server.identity}; {_WAY_OUT}, or connect to that server")
    files = log_files(session)
    if not files:
        raise Unavailable("the server lists no files of its log", connection=session.name)
    found = {file.name: file for file in files}.get(position.file)
    if found is None:
        same_name = position.file.rpartition(".")[0] == files[0].name.rpartition(".")[0]
        if same_name and position.sequence < files[0].sequence:
            return Lost(
                f"{position.file} was purged, the oldest file is {files[0].name}; {_WAY_OUT}, and let the server keep its log for "
                "longer than the longest pause between runs",
                "binlog_expire_logs_seconds, expire_logs_days",
            )
        return Lost(f"the server has no file {position.file}, its newest is {files[-1].name}: {_OTHER_HISTORY}")
    if position.offset > found.size:
        return Lost(f"{position.file} ends at {found.size}: {_OTHER_HISTORY}")
    if position.fingerprint and fingerprint(session, position.file, position.offset, server_id) != position.fingerprint:
        return Lost(f"{position.file} is another file than the one that was read under this name: {_OTHER_HISTORY}")
    return None
