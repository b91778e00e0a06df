"""Where the server's log stands, and what of it there is."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tidegate.changes.position import BinlogPosition
from tidegate.errors import PermanentError, PreflightError, Unavailable
from tidegate.providers.mysql.binlog.gtid import MariadbGtids, MysqlGtids
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.providers.mysql.failover import begins_anew, has_none, lacking, translate
from tidegate.providers.mysql.lost import WAY_OUT, Lost
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


_ATTEMPTS = 3
"""How often MariaDB's log is looked at before the slower way."""


def log_status(session: Session, server: Server) -> tuple[str, int, str]:
    """The end of the log: file, offset and GTIDs. PreflightError if the log is off."""
    file, offset, gtid = _status(session, server)
    if not server.mariadb:
        return file, offset, str(MysqlGtids.parse(gtid))
    # MariaDB tells the GTIDs by another statement; they are the offset's if the log didn't grow meanwhile.
    for _ in range(_ATTEMPTS):
        gtid = session.rows("SELECT @@GLOBAL.gtid_binlog_pos")[0][0] or ""
        before, (file, offset, _) = (file, offset), _status(session, server)
        if before == (file, offset):
            return file, offset, str(MariadbGtids.parse(gtid))
    gtid = session.rows("SELECT BINLOG_GTID_POS(%s, %s)", (file, offset))[0][0] or ""
    return file, offset, str(MariadbGtids.parse(gtid))


def _status(session: Session, server: Server) -> tuple[str, int, str]:
    try:
        found = session.dicts(status_statement(server))
    except PreflightError as error:
        raise PreflightError("the account may not see where the log stands", connection=session.name, setting=_GRANT) from error
    if not found:
        raise PreflightError("the server writes no binlog", connection=session.name, setting="log_bin=ON")
    return found[0]["file"] or "", int(found[0]["position"] or 0), found[0].get("executed_gtid_set") or ""


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


def lost(session: Session, server: Server, position: BinlogPosition, server_id: int) -> Lost | None:
    """What is wrong with a stored position; None if it, or its place in this server's log, can be read from."""
    found = current(session, server, position, server_id)
    return found if isinstance(found, Lost) else None


def current(session: Session, server: Server, position: BinlogPosition, server_id: int) -> BinlogPosition | Lost:
    """Where to go on from a stored position: there, by the evidence of the server's files; or, on another server or after a purge,
    at the place that has the same transactions before it; or what is wrong.

    Nothing here relies on the text of an error: error 1236 is the same for a log that was purged and a replica that was pushed out
    by another.
    """
    files = log_files(session)
    if not files:
        raise Unavailable("the server lists no files of its log", connection=session.name)
    names = [file.name for file in files]
    if position.server != server.identity:
        moved = translate(session, server, position, names, server_id)
        if isinstance(moved, Lost):
            return replace(moved, message=f"it is of the server {position.server}, and this is {server.identity}: {moved.message}")
        return moved
    found = {file.name: file for file in files}.get(position.file)
    if found is None:
        same_name = position.file.rpartition(".")[0] == files[0].name.rpartition(".")[0]
        if same_name and position.sequence < files[0].sequence:
            # Nothing is lost if all in the files that are gone had been applied.
            moved = translate(session, server, position, names, server_id)
            return _purged(position, names[0], moved.message) if isinstance(moved, Lost) else moved
        what = f"the server has no file {position.file}, its newest is {names[-1]}"
    elif position.offset > found.size:
        what = f"{position.file} ends at {found.size}"
        if position.fingerprint and fingerprint(session, position.file, found.size, server_id) == position.fingerprint:
            missing = lacking(session, server, position)
            return Lost(
                f"{what}, and is the file that was read: the server was restored to an earlier state, or lost the end of its log "
                f"in a crash{f', with {missing} that were applied' if missing else ''}; {WAY_OUT}",
                "sync_binlog=1",
            )
    elif position.fingerprint and fingerprint(session, position.file, position.offset, server_id) != position.fingerprint:
        what = f"{position.file} is another file than the one that was read under this name"
    else:
        return position
    return Lost(f"{what}: {_other_history(session, server, position, names[0], server_id)}; {WAY_OUT}")


def _purged(position: BinlogPosition, oldest: str, evidence: str) -> Lost:
    more = f" ({evidence.partition(';')[0]})" if position.gtid else ""
    return Lost(
        f"{position.file} was purged, the oldest file is {oldest}{more}; {WAY_OUT}, and let the server keep its log for longer "
        "than the longest pause between runs",
        "binlog_expire_logs_seconds, expire_logs_days",
    )


def _other_history(session: Session, server: Server, position: BinlogPosition, oldest: str, server_id: int) -> str:
    """Whether the log was reset or the server restored, as far as its log tells."""
    missing = lacking(session, server, position)
    lacks = f", and lacks {missing} that were applied" if missing else ""
    anew = int(oldest.rpartition(".")[2]) == 1 and begins_anew(session, oldest, server_id)
    if missing and not (anew and has_none(session, server, position)):
        return f"the server was restored to an earlier state{', or its log reset' if anew else ''}{lacks}"
    if anew:
        return f"the log was reset, or the server set up anew: {oldest} begins with nothing before it{lacks}"
    return "the log was reset, or the server restored"
