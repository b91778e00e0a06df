"""The frontend's side of a session: database, variables, privileges, functions. What answers a statement is in :mod:`.dispatch`."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from tidegate.sandbox.starrocks import select
from tidegate.sandbox.starrocks.config import FrontendConfig
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.information_schema import SystemTables
from tidegate.sandbox.starrocks.labels import LabelBook
from tidegate.sandbox.starrocks.model import TableDef
from tidegate.sandbox.starrocks.result import Result
from tidegate.sandbox.starrocks.sqlerror import denied, no_database, unknown_database, unknown_table
from tidegate.sandbox.starrocks.users import ALL, Users
from tidegate.sandbox.starrocks.variables import Variables

COMMIT = "6d81f75"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Addresses that SHOW BACKENDS and SHOW FRONTENDS tell."""

    fe_host: str = "127.0.0.1"
    fe_http_port: int = 8030
    fe_query_port: int = 9030
    be_host: str = "127.0.0.2"
    be_http_port: int = 8040


class SqlFront:
    """What all sessions share. ``time_zone`` is the system's; ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        engine: Engine,
        users: Users,
        labels: LabelBook,
        config: FrontendConfig,
        *,
        time_zone: str = "Asia/Shanghai",
        now: Callable[[], float] | None = None,
        cluster: Callable[[], Cluster] | None = None,
    ) -> None:
        self.engine, self.users, self.labels, self.config = engine, users, labels, config
        self.time_zone = time_zone
        self.globals: dict[str, Any] = {}
        """What SET GLOBAL said; new sessions begin with it."""
        self.now = now or time.time
        self.cluster = cluster or Cluster
        self.current_version = f"{engine.version_text}-{COMMIT}"
        self.mysql_version = "8.0.33" if engine.version >= (3, 2) else "5.1.0"
        """FE's ``mysql_server_version``: what version() and the handshake say."""

    def session(self, user: str, number: int) -> SqlSession:
        """A session of a user who has logged in."""
        return SqlSession(self, user, number)


class SqlSession:
    """One connection's: its database, its variables, its user's privileges."""

    def __init__(self, front: SqlFront, user: str, number: int) -> None:
        self.front, self.user, self.number = front, user, number
        self.engine, self.version = front.engine, front.engine.version
        self.variables = Variables(
            front.mysql_version, f"StarRocks version {front.engine.version_text}", front.time_zone, front.globals
        )
        self.database = ""

    def reset(self) -> None:
        self.variables.reset()

    def use(self, database: str) -> None:
        """USE; 5501 for a database that there is none of."""
        name = database.split(".")[-1].strip("`")
        if name not in self.engine.databases() and name.lower() != "information_schema":
            raise unknown_database(name, self.version)
        self.database = name

    def query(self, sql: str) -> Result:
        """SELECT."""
        return select.run(select.translate(select.parse(sql), self.scope()), lambda text: self.engine.query(text))

    # -- what statements ask for

    def scope(self, privilege: str = "SELECT") -> select.Scope:
        def table(db: str, name: str) -> TableDef:
            if not db:
                raise no_database()
            found = self.table(db, name)
            self.check(privilege, found)
            return found

        return select.Scope(self.database, table, self.system().query, self.function, self.variables.get)

    def system(self) -> SystemTables:
        """information_schema as this user sees it."""
        return SystemTables(self.engine, self.front.labels, ZoneInfo(self.front.time_zone), self.sees)

    def table(self, db: str, name: str) -> TableDef:
        """A table; with an empty database, of the session's. 1046, 5501 or 5502 for what there is none of."""
        db = db or self.database
        if not db:
            raise no_database()
        if db not in self.engine.databases():
            raise unknown_database(db, self.version)
        found = self.engine.table(db, name)
        if found is None:
            raise unknown_table(db, name, self.version)
        return found

    def may(self, privilege: str, db: str = "*", table: str = "*") -> bool:
        return self.front.users.may(self.user, privilege, db, table)

    def sees(self, table: TableDef) -> bool:
        """Has the user any privilege on it?"""
        return any(self.may(privilege, table.db, table.name) for privilege in ALL)

    def check(self, privilege: str, table: TableDef) -> None:
        if not self.may(privilege, table.db, table.name):
            raise denied(privilege, "TABLE", table.name, self.user, self.version)

    def check_system(self) -> None:
        """OPERATE on SYSTEM, which administration asks for."""
        if not self.may("OPERATE"):
            raise denied("OPERATE", "SYSTEM", "", self.user, self.version)

    def function(self, name: str) -> Any:
        """The session's functions; KeyError for any other."""
        return _FUNCTIONS[name](self)

    def now(self) -> dt.datetime:
        """NOW(): in the session's zone, without fraction."""
        return dt.datetime.fromtimestamp(int(self.front.now()), self.variables.zone).replace(tzinfo=None)


_FUNCTIONS: dict[str, Callable[[SqlSession], Any]] = {
    **dict.fromkeys(("NOW", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"), SqlSession.now),
    **dict.fromkeys(("CURDATE", "CURRENT_DATE"), lambda session: session.now().date()),
    **dict.fromkeys(("CURTIME", "CURRENT_TIME"), lambda session: session.now().time().isoformat()),
    "UTC_TIMESTAMP": lambda session: dt.datetime.fromtimestamp(int(session.front.now()), dt.UTC).replace(tzinfo=None),
    "UNIX_TIMESTAMP": lambda session: int(session.front.now()),
    **dict.fromkeys(("DATABASE", "SCHEMA"), lambda session: session.database or None),
    **dict.fromkeys(("USER", "CURRENT_USER", "SESSION_USER"), lambda session: f"'{session.user}'@'%'"),
    "VERSION": lambda session: session.front.mysql_version,
    "CURRENT_VERSION": lambda session: session.front.current_version,
    "CONNECTION_ID": lambda session: session.number,
    "CATALOG": lambda session: "default_catalog",
}
