"""What a server is and what it can do: asked, and tried out where asking isn't enough."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import PermanentError, PreflightError
from tidegate.providers.postgres.session import IDLE_SECONDS, SETTINGS, Session

if TYPE_CHECKING:
    from tidegate.providers.adbpg.sql import AdbpgSql

IDLE = "idle_in_transaction_session_timeout"
"""PostgreSQL 9.6 brought it: the kernel of 6.0 is older."""

EVERYWHERE = {name: value for name, value in SETTINGS.items() if name != IDLE}
"""What every server of the family can be set to."""

PARTITIONS_SINCE = (6, 3, 6, 1)
"""The kernel from which ON CONFLICT, of INSERT as of COPY, takes partitioned tables (vendor's documents 162380 and 210145)."""

_LOOK = """
SELECT version(), to_regclass('gp_distribution_policy') IS NOT NULL, to_regclass('pg_partition') IS NOT NULL,
       EXISTS (SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = 'pg_catalog.pg_class'::regclass AND attname = 'relstorage')
"""

_SETTINGS = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('optimizer', %s) OR name LIKE '%%serverless%%'"


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says about itself. Plain PostgreSQL is one that distributes nothing."""

    postgres: tuple[int, int]
    """The PostgreSQL it descends from: (9, 4) for 6.0, (12, x) for 7.0."""
    greenplum: bool = False
    """Tables are distributed: DISTRIBUTED BY is understood."""
    kernel: tuple[int, ...] = ()
    """The vendor's version, as (6, 3, 6, 1); empty if the server doesn't tell it."""
    policies: bool = False
    """There is gp_distribution_policy to look into."""
    partition_catalog: bool = False
    """Partitioned tables are ordinary ones with an entry in pg_partition, as in Greenplum up to 6."""
    relstorage: bool = False
    """pg_class tells heap tables from append-optimized ones by relstorage, as in Greenplum up to 6; else by access method."""
    serverless: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    """What a session is set to besides :data:`EVERYWHERE`."""

    @property
    def partitions_conflict(self) -> bool:
        """Whether ON CONFLICT takes partitioned tables."""
        return not self.greenplum or self.kernel >= PARTITIONS_SINCE

    @property
    def excluded(self) -> str | None:
        """Why the vendor's sink doesn't write to this server; None if it does."""
        if self.serverless:
            return "Serverless mode"
        # 4.3 descends from 8.2, 6.0 from 9.4, 7.0 from 12.
        if self.greenplum and self.kernel[:1] != (6,) and (self.kernel or self.postgres[0] != 9):
            return ".".join(map(str, self.kernel)) or f"a kernel of PostgreSQL {self.postgres[0]}"
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the plan has to say about the server."""
        if self.excluded is None:
            return ()
        what = (
            f"an AnalyticDB PostgreSQL that the vendor's sink excludes ({self.excluded}; it writes to 6.0): rows are staged, never "
            "written by COPY … ON CONFLICT"
        )
        return (what,)


@dataclass(frozen=True, slots=True)
class Features:
    """What the server took when it was tried."""

    insert_conflict: bool
    copy_conflict: bool


def look(session: Session) -> Server:
    """Ask the server what it is. Leaves the transaction as it was."""
    ((text, policies, partitions, relstorage),) = session.rows(_LOOK)
    version = re.search(r"PostgreSQL (\d+)(?:\.(\d+))?", text)
    postgres = (int(version[1]), int(version[2] or 0)) if version else (9, 4)
    greenplum = policies or "Greenplum" in text
    known = dict(session.rows(_SETTINGS, (IDLE,)))
    kernel = _kernel(session) if greenplum else ()
    settings = []
    if IDLE in known and postgres >= (9, 6):
        settings.append((IDLE, f"{IDLE_SECONDS}s"))
    if "optimizer" in known:
        # As the vendor's connector does: GPORCA plans no ON CONFLICT, and takes longer over a short statement than it runs.
        settings.append(("optimizer", "off"))
    # Kernels of the Serverless mode count from 1.0 (release notes, document 415223); those of the other modes are 4, 6 and 7.
    serverless = kernel[:1] == (1,) or any("serverless" in name and value == "on" for name, value in known.items())
    return Server(postgres, greenplum, kernel, policies, partitions, relstorage, serverless, tuple(settings))


def _kernel(session: Session) -> tuple[int, ...]:
    """As the vendor's connector asks for it; servers from before don't know the setting."""
    try:
        with session.savepoint():
            text = str(session.value("SHOW adbpg_version"))
    except PermanentError:
        return ()
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def probe(session: Session, sql: AdbpgSql, server: Server) -> Features:
    """Try ON CONFLICT on a temporary table, first of INSERT, then of COPY. Leaves nothing behind."""
    insert = _holds(session, sql, _insert)
    if insert is None:
        # The account may not create temporary tables, so nothing can be staged or tried: what 6.0 and later are documented to take.
        return Features(insert_conflict=server.postgres >= (9, 5) or server.kernel >= (6,), copy_conflict=False)
    # COPY … ON CONFLICT is documented for 6.0 alone (document 210145); where the vendor's sink doesn't go, it isn't tried.
    copy = insert and server.excluded is None and _holds(session, sql, _copy)
    return Features(insert_conflict=insert, copy_conflict=bool(copy))


class _Undo(Exception):
    """The way out of a savepoint that is never kept."""


def _holds(session: Session, sql: AdbpgSql, attempt: Callable[[Session, AdbpgSql], object]) -> bool | None:
    """None if it could not be tried."""
    found = False
    try:
        with session.savepoint():
            session.run(sql.create_probe())
            found = attempt(session, sql) == "new"
            raise _Undo
    except PreflightError:
        return None
    except (_Undo, PermanentError):
        return found


def _insert(session: Session, sql: AdbpgSql) -> object:
    for value in ("old", "new"):
        session.run(sql.upsert_probe(), (value,))
    return session.value(sql.read_probe())


def _copy(session: Session, sql: AdbpgSql) -> object:
    for row, update in ((b"1,old\n", True), (b"1,new\n", True), (b"1,ignored\n", False)):
        session.copy_in(sql.copy_probe(update=update), io.BytesIO(row))
    return session.value(sql.read_probe())
