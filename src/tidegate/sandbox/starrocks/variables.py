"""The variables of a session: ``SET``, ``SHOW VARIABLES``, ``SELECT @@name``, and the time zone that NOW() goes by.

Names and defaults: fe-core ``qe/SessionVariable.java`` and ``GlobalVariable.java``, those that clients ask for.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Mapping
from typing import Any

from tidegate.sandbox.starrocks.sqlerror import SqlError
from tidegate.sandbox.starrocks.tokens import Cursor

DEFAULTS: dict[str, Any] = {
    "auto_increment_increment": 1,
    "autocommit": True,
    "character_set_client": "utf8",
    "character_set_connection": "utf8",
    "character_set_database": "utf8",
    "character_set_results": "utf8",
    "character_set_server": "utf8",
    "collation_connection": "utf8_general_ci",
    "collation_database": "utf8_general_ci",
    "collation_server": "utf8_general_ci",
    "default_storage_engine": "InnoDB",
    "default_tmp_storage_engine": "InnoDB",
    "enable_insert_strict": True,
    "event_scheduler": "OFF",
    "init_connect": "",
    "insert_timeout": 14400,
    "interactive_timeout": 3600,
    "language": "/starrocks/share/english/",
    "license": "Apache License 2.0",
    "lower_case_table_names": 0,
    "max_allowed_packet": 33554432,
    "net_buffer_length": 16384,
    "net_read_timeout": 60,
    "net_write_timeout": 60,
    "performance_schema": False,
    "query_cache_size": 1048576,
    "query_cache_type": 0,
    "query_timeout": 300,
    "sql_auto_is_null": False,
    "sql_mode": "ONLY_FULL_GROUP_BY",
    "sql_safe_updates": 0,
    "sql_select_limit": 9223372036854775807,
    "transaction_isolation": "REPEATABLE-READ",
    "transaction_read_only": False,
    "tx_isolation": "REPEATABLE-READ",
    "tx_read_only": False,
    "tx_visible_wait_timeout": 10,
    "wait_timeout": 28800,
}
READ_ONLY = {"version", "version_comment", "system_time_zone", "license", "language", "lower_case_table_names"}
Zone = dt.tzinfo


class Variables:
    """A session's, which begin with the server's."""

    def __init__(self, version: str, comment: str, system_time_zone: str, globals: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = DEFAULTS | {
            "version": version,
            "version_comment": comment,
            "system_time_zone": system_time_zone,
            "time_zone": system_time_zone,
            **globals,
        }
        self._users: dict[str, Any] = {}
        self._begin = dict(self._values)

    def reset(self) -> None:
        """What a client's reset of its connection does."""
        self._values, self._users = dict(self._begin), {}

    def get(self, name: str) -> Any:
        """``name`` or, for a user's variable, ``@name``; 1193 for one that there is none of."""
        if name.startswith("@"):
            return self._users.get(name[1:].lower())
        try:
            return self._values[name.lower()]
        except KeyError:
            raise SqlError(f"Unknown system variable '{name}'", 1193) from None

    def set(self, name: str, value: Any) -> None:
        if name.startswith("@"):
            self._users[name[1:].lower()] = value
            return
        known, name = self.get(name), name.lower()
        if name in READ_ONLY:
            raise SqlError(f"Variable '{name}' is a read only variable", 1621)
        if name == "time_zone":
            zone(str(value))
        if isinstance(known, bool):
            value = str(value).lower() in ("1", "on", "true")
        elif isinstance(known, int) and re.fullmatch(r"-?\d+", str(value)):
            value = int(value)
        elif isinstance(known, int):
            raise SqlError(f"Incorrect argument type to variable '{name}'", 1232, "42000")
        self._values[name] = value

    def all(self) -> list[tuple[str, str]]:
        """As SHOW VARIABLES has them: true and false in letters."""
        return [
            (name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in sorted(self._values.items())
        ]

    @property
    def zone(self) -> Zone:
        """The session's time zone."""
        return zone(str(self._values["time_zone"]))


def zone(name: str) -> Zone:
    """A region, ``+08:00``, or CST, which is Asia/Shanghai (fe-core ``common/util/TimeUtils.java``). 1298 for anything else."""
    offset = re.fullmatch(r"([+-])(\d{1,2}):(\d{2})", name)
    if offset and int(offset[2]) <= 14:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return dt.timezone(dt.timedelta(minutes=minutes if offset[1] == "+" else -minutes))
    try:
        return zoneinfo.ZoneInfo({"CST": "Asia/Shanghai", "PRC": "Asia/Shanghai"}.get(name.upper(), name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise SqlError(f"Unknown or incorrect time zone: '{name}'", 1298) from None


def read_set(cursor: Cursor) -> list[tuple[str, Any, bool]]:
    """The assignments after SET, and whether they are GLOBAL; what changes nothing here (NAMES, TRANSACTION, …) gives none."""
    if cursor.next.upper in ("NAMES", "CHARSET", "TRANSACTION", "ROLE", "CATALOG") or cursor.accept("CHARACTER", "SET"):
        return []
    found: list[tuple[str, Any, bool]] = []
    while True:
        scope = cursor.next.upper
        if scope in ("SESSION", "GLOBAL", "LOCAL", "@@SESSION", "@@GLOBAL", "@@LOCAL"):
            cursor.take()
            cursor.accept(".")
            if cursor.accept("TRANSACTION"):
                return found
        name = cursor.take().text.removeprefix("@@")
        if not (cursor.accept("=") or cursor.accept(":", "=")):
            cursor.expect(":=")
        found.append((name, _value(cursor), scope.endswith("GLOBAL")))
        if not cursor.accept(","):
            cursor.done()
            return found


def _value(cursor: Cursor) -> Any:
    sign = "-" if cursor.accept("-") else ""
    token = cursor.take()
    if token.kind == "number":
        return int(sign + token.text) if "." not in token.text else float(sign + token.text)
    if token.upper == "CONCAT" and cursor.next.upper == "(":  # mysqldump's and JDBC's way to add to sql_mode
        cursor.parenthesis()
        return ""
    return token.text
