"""How long the server keeps its log: the guard against a position that is purged before the next run reads on.

The server purges whole files, oldest first, when a new file is begun or it starts: those whose last change is older than
``binlog_expire_logs_seconds`` (``expire_logs_days``), and, on servers that have ``max_binlog_total_size`` (MariaDB 11.4; Percona's
``binlog_space_limit``), as many as it takes to stay below that size. A file's last change is about when the next one was begun,
which that one's format event says. ``PURGE BINARY LOGS`` by hand, and what a cloud service does, can't be foreseen; that it
happened before is seen from files that are gone too early.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tidegate.changes.position import BinlogPosition, Position, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.providers.mysql.binlog.events import FORMAT, HEADER
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.providers.mysql.log import LogFile, log_files
from tidegate.providers.mysql.session import Server, Session
from tidegate.sync.retention import Keeping, Retention, span

_DAY = 86_400.0
_RATE_FILES = 4
"""The present rate is that since the begin of this many files from the end."""
_EXPIRE = "binlog_expire_logs_seconds, expire_logs_days"
_SIZE = "max_binlog_total_size"


@dataclass(frozen=True, slots=True)
class LogView:
    """The evidence. Times are seconds since 1970, by the server's clock; ``begun`` is by file name, as far as it was asked for."""

    now: float
    files: tuple[LogFile, ...]
    begun: Mapping[str, float]
    expire_seconds: float | None = None
    max_bytes: int | None = None

    def bytes_after(self, file: str, offset: int) -> int | None:
        """From a position to the end of the log; None if the file is gone."""
        for index, found in enumerate(self.files):
            if found.name == file:
                return sum(item.size for item in self.files[index:]) - offset
        return None

    def rate(self) -> float | None:
        """Bytes a second, lately; None without evidence."""
        first = self.files[max(0, len(self.files) - _RATE_FILES)]
        begun = self.begun.get(first.name)
        if begun is None or begun >= self.now:
            return None
        return (self.bytes_after(first.name, 0) or 0) / (self.now - begun)


def seconds_left(view: LogView, file: str | None) -> tuple[float | None, str]:
    """When a file may be purged at the earliest, from now, and by which rule; None if never or unknown. ``file`` None: the newest.

    A file that is still written to is taken to be closed now: any FLUSH LOGS or restart does it.
    """
    names = [item.name for item in view.files]
    index = len(names) - 1 if file is None else names.index(file)
    found: list[tuple[float, str]] = []
    unknown = ""
    if view.expire_seconds is not None:
        closed = view.now if index + 1 == len(names) else view.begun.get(names[index + 1])
        if closed is None:
            unknown = f"when {names[index]} was closed isn't known"
        else:
            rule = f"the server keeps a file for {span(view.expire_seconds)}, {_EXPIRE}"
            found.append((max(0.0, closed + view.expire_seconds - view.now), rule))
    if view.max_bytes is not None:
        room = view.max_bytes - sum(item.size for item in view.files[index:])
        rate = view.rate()
        rule = f"the server keeps {view.max_bytes:,} bytes of log, {_SIZE}"
        if room <= 0:
            found.append((0.0, rule))
        elif rate:
            found.append((room / rate, f"{rule}, and writes about {rate * 3600:,.0f} bytes an hour"))
        else:
            unknown = f"{rule}; how fast it fills isn't known"
    if found:
        return min(found)
    return None, unknown or "the server has no rule to purge its log by"


def early_purge(view: LogView) -> Iterator[str]:
    """Evidence that more is purged than the rules say: the file before the oldest one is gone too early, or against all rules."""
    oldest = view.files[0]
    begun = view.begun.get(oldest.name)
    if oldest.sequence <= 1 or begun is None or view.max_bytes is not None:
        return
    age = view.now - begun
    if view.expire_seconds is None:
        yield (
            f"files before {oldest.name} were purged though the server has no rule to: by hand, or by the service that runs it; "
            "such a purge can't be foreseen"
        )
    elif age < view.expire_seconds:
        yield (
            f"the file before {oldest.name} was purged within {span(age)} of its end, though the server is to keep it for "
            f"{span(view.expire_seconds)}: by hand, by the service that runs it, or under an older setting; the figures hold "
            f"only if that doesn't happen again [{_EXPIRE}]"
        )


def keeping(
    view: LogView, stored: Mapping[TableName, Position | None], behind: Mapping[BinlogPosition, float | None]
) -> Iterator[Keeping]:
    """What the evidence means for each table. Positions in files that are gone are left out: they are lost, not about to be."""
    names = {item.name for item in view.files}
    for table, position in stored.items():
        log = log_position(position)
        if position is None:
            yield Keeping(table, None, None, None, *seconds_left(view, None))
        elif log is not None and log.file in names:
            bytes_behind = view.bytes_after(log.file, log.offset)
            yield Keeping(table, position, bytes_behind, behind.get(log), *seconds_left(view, log.file))


def log_position(position: Position | None) -> BinlogPosition | None:
    """Where in the log a stored position stands: that of a copy under way is where its changes begin."""
    found = position.low if isinstance(position, SnapshotPosition) else position
    return found if isinstance(found, BinlogPosition) else None


def retention(session: Session, server: Server, stored: Mapping[TableName, Position | None], server_id: int) -> Retention:
    """Ask the server, and calculate. Reads only."""
    files = tuple(log_files(session))
    ours = {log for position in stored.values() if (log := log_position(position)) and log.server == server.identity}
    mine = {table: position for table, position in stored.items() if position is None or log_position(position) in ours}
    wanted = {files[0].name, files[max(0, len(files) - _RATE_FILES)].name, *_next_files(files, ours)}
    expire_seconds, max_bytes = _rules(session)
    now = float(session.rows("SELECT UNIX_TIMESTAMP(NOW(6))")[0][0] or 0)
    begun = {
        file.name: time
        for file in files
        if file.name in wanted and (time := _time_at(session, server_id, file.name, file.size, begin=True)) is not None
    }
    view = LogView(now, files, begun, expire_seconds, max_bytes)
    ends = {file.name: file.size for file in files}
    behind = {log: _behind(session, server_id, log, now, view) for log in ours if log.offset <= ends.get(log.file, -1)}
    return Retention(tuple(keeping(view, mine, behind)), tuple(f"{session.name}: {text}" for text in early_purge(view)))


def _next_files(files: Sequence[LogFile], positions: set[BinlogPosition]) -> Iterator[str]:
    """The files after those of the positions: their begin is when the positions' own were closed."""
    at = {position.file for position in positions}
    for file, following in itertools.pairwise(files):
        if file.name in at:
            yield following.name


def _rules(session: Session) -> tuple[float | None, int | None]:
    """Seconds and bytes that the server keeps; None where there is no such rule."""
    found = session.variables(
        "binlog_expire_logs_seconds",
        "expire_logs_days",
        "binlog_expire_logs_auto_purge",
        "max_binlog_total_size",
        "binlog_space_limit",
    )
    seconds = float(found.get("binlog_expire_logs_seconds") or 0) or float(found.get("expire_logs_days") or 0) * _DAY
    if found.get("binlog_expire_logs_auto_purge", "ON") == "OFF":
        seconds = 0.0
    size = int(found.get("max_binlog_total_size") or 0) or int(found.get("binlog_space_limit") or 0)
    return seconds or None, size or None


def _behind(session: Session, server_id: int, position: BinlogPosition, now: float, view: LogView) -> float | None:
    """The age of the first event after a position; 0 at the end of the log. None past 4 GiB, where no dump can begin."""
    if not view.bytes_after(position.file, position.offset):
        return 0.0
    if position.offset >= 1 << 32:
        return None
    time = _time_at(session, server_id, position.file, position.offset, begin=False)
    return None if time is None else max(0.0, now - time)


def _time_at(session: Session, server_id: int, file: str, offset: int, *, begin: bool) -> float | None:
    """When the file was begun, or the first event from ``offset`` on was written; None if nothing there says."""
    with contextlib.closing(Dump(session.values, session.name, server_id)) as dump:
        for event in dump.events(file, offset):
            seconds, kind, _, _, low, _ = HEADER.unpack_from(event)
            # What has no position was made up by the server; a format event has the time of its file even so.
            if seconds and (kind == FORMAT if begin else low):
                return float(seconds)
    return None
