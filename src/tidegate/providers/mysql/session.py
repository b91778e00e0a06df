"""Connections to the server: PyMySQL's, with values as the server sends them, and its errors as ours."""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import CR, ER
from pymysql.cursors import SSCursor

from tidegate.errors import ConfigError, PermanentError, PreflightError, SchemaError, TidegateError, Unavailable

logger = logging.getLogger(__name__)

RawRow = tuple[bytes | None, ...]
TextRow = tuple[str | None, ...]

SETTINGS = "SET time_zone = '+00:00', sql_mode = 'NO_ENGINE_SUBSTITUTION', net_write_timeout = 3600, wait_timeout = 28800"
"""What every connection begins with. UTC, no ANSI_QUOTES, no PAD_CHAR_TO_FULL_LENGTH, no NO_BACKSLASH_ESCAPES: values and literals
mean the same on every server."""

_TRANSIENT = {
    CR.CR_CONNECTION_ERROR,
    CR.CR_CONN_HOST_ERROR,
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    ER.CON_COUNT_ERROR,
    ER.SERVER_SHUTDOWN,
    ER.LOCK_WAIT_TIMEOUT,
    ER.LOCK_DEADLOCK,
    ER.QUERY_INTERRUPTED,
    ER.TOO_MANY_USER_CONNECTIONS,
    ER.USER_LIMIT_REACHED,
    1927,  # MariaDB: Connection was killed
    1969,  # MariaDB: max_statement_time exceeded
    3024,  # MySQL: max_execution_time exceeded
}
_LOGIN = {ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, 1698, 1251, 2059, 1820, 1862}
_PRIVILEGE = {ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR}
_SCHEMA = {ER.NO_SUCH_TABLE, ER.BAD_DB_ERROR, ER.BAD_FIELD_ERROR, ER.BAD_TABLE_ERROR}


def error_code(error: BaseException) -> int:
    """The server's (or PyMySQL's) number of an error; 0 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def translated(error: Exception, connection: str, table: object | None = None, position: object | None = None) -> TidegateError:
    """PyMySQL's error as one of ours: what may pass by itself is :class:`Unavailable`."""
    code = error_code(error)
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    kind: type[TidegateError] = PermanentError
    setting = None
    if code in _TRANSIENT or isinstance(error, pymysql.err.InterfaceError | OSError):
        kind = Unavailable
    elif code in _LOGIN:
        kind, setting = PreflightError, "login, password"
    elif code in _PRIVILEGE:
        kind, setting = PreflightError, "GRANT"
    elif code in _SCHEMA:
        kind = SchemaError
    return kind(f"{text} (error {code})", connection=connection, table=table, position=position, setting=setting)


@contextlib.contextmanager
def translating(connection: str, table: object | None = None, position: object | None = None) -> Iterator[None]:
    """Within the block PyMySQL's errors become ours."""
    try:
        yield
    except (pymysql.err.Error, OSError) as error:
        raise translated(error, connection, table, position) from error


@dataclass(frozen=True, slots=True)
class Server:
    """Which server it is. ``identity`` is what binlog positions carry: a UUID, for MariaDB its server id."""

    mariadb: bool
    version: tuple[int, ...]
    identity: str

    def at_least(self, *, mysql: tuple[int, ...], mariadb: tuple[int, ...]) -> bool:
        return self.version >= (mariadb if self.mariadb else mysql)

    def __str__(self) -> str:
        return f"{'MariaDB' if self.mariadb else 'MySQL'} {'.'.join(map(str, self.version))}"


class Session:
    """One connection: UTC, utf8mb4, autocommit, values as the server's bytes. Its questions may come from several threads."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self.name = name
        self.values = values
        self._one_at_a_time = threading.RLock()
        with translating(name):
            self.driver: Any = pymysql.connect(**connect_options(values, name))

    def rows(self, sql: str, args: Sequence[object] = (), *, table: object | None = None) -> list[TextRow]:
        """All rows of a query, as text. The query's own arguments are quoted by PyMySQL."""
        with self._one_at_a_time, translating(self.name, table), self.driver.cursor() as cursor:
            cursor.execute(sql, tuple(args) or None)
            return [
                tuple(None if value is None else value.decode("utf-8", "replace") for value in row) for row in cursor.fetchall()
            ]

    def dicts(self, sql: str, args: Sequence[object] = (), *, table: object | None = None) -> list[dict[str, str | None]]:
        """All rows of a query as dicts of text, the names in lower case: servers differ in the case of their own."""
        with self._one_at_a_time, translating(self.name, table), self.driver.cursor() as cursor:
            cursor.execute(sql, tuple(args) or None)
            names = [item[0].lower() for item in cursor.description or ()]
            return [
                {name: None if value is None else value.decode("utf-8", "replace") for name, value in zip(names, row, strict=True)}
                for row in cursor.fetchall()
            ]

    def execute(self, sql: str, *, table: object | None = None) -> None:
        with self._one_at_a_time, translating(self.name, table), self.driver.cursor() as cursor:
            cursor.execute(sql)

    def stream(self, sql: str, *, table: object | None = None) -> RawStream:
        """The rows of a query as the server sends them, none of them kept."""
        return RawStream(self, sql, table)

    def variables(self, *names: str) -> dict[str, str]:
        """Global variables by name; those that the server doesn't have are left out."""
        marks = ", ".join(["%s"] * len(names))
        found = self.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", names)
        return {str(name): value or "" for name, value in found}

    def server(self) -> Server:
        """Flavour, version and identity."""
        text = str(self.rows("SELECT VERSION()")[0][0])
        mariadb = "mariadb" in text.lower()
        digits = text.removeprefix("5.5.5-").split("-")[0].split(".")
        version = tuple(int(part) for part in digits if part.isdigit())
        own_id = self.rows("SELECT @@server_id" if mariadb else "SELECT @@server_uuid")[0][0]
        return Server(mariadb, version, f"mariadb-{own_id}" if mariadb else str(own_id))

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return isinstance(self.driver._sock, ssl.SSLSocket)

    def abort(self) -> None:
        """Drop the connection without reading what is still to come."""
        result = self.driver._result
        if result is not None:
            result.unbuffered_active = False
        self.driver._force_close()

    def close(self) -> None:
        if self.driver.open:
            self.driver.close()


class RawStream:
    """The rows of one query on their way. Nothing else can be asked of the session until it is closed."""

    def __init__(self, session: Session, sql: str, table: object | None) -> None:
        self._session = session
        self._table = table
        self._done = False
        with translating(session.name, table):
            self._cursor: Any = session.driver.cursor(SSCursor)
            self._cursor.execute(sql)

    def fetch(self, most: int, size: int) -> tuple[list[RawRow], bool]:
        """The next rows, at most ``most``, and no more once they have ``size`` bytes; and whether they are known to be the last."""
        rows: list[RawRow] = []
        with translating(self._session.name, self._table):
            while len(rows) < most and size > 0:
                row = self._cursor.fetchone()
                if row is None:
                    self._done = True
                    break
                rows.append(row)
                size -= sum([len(value) for value in row if value])
        return rows, self._done

    def close(self) -> None:
        """End the query. If rows are still on their way the connection is dropped: the server would send them all."""
        if self._done:
            self._cursor.close()
        else:
            self._session.abort()


def connect_options(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What PyMySQL is called with."""
    options: dict[str, Any] = {
        "user": values["login"],
        "password": values["password"] or "",
        "database": values["database"] or None,
        "charset": "utf8mb4",
        "use_unicode": False,
        "conv": {str: pymysql.converters.escape_string, int: pymysql.converters.escape_int},
        "autocommit": True,
        "init_command": SETTINGS,
        "connect_timeout": values["connect_timeout"],
        "read_timeout": values["read_timeout"],
        "program_name": "tidegate",
    }
    if values["unix_socket"]:
        options["unix_socket"] = values["unix_socket"]
    else:
        options |= {"host": values["host"], "port": values["port"]}
    return options | _tls_options(values, name)


def _tls_options(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    mode = values["ssl_mode"]
    files = {item: values[item] for item in ("ssl_ca", "ssl_cert", "ssl_key") if values[item]}
    if mode == "disabled":
        if files:
            raise ConfigError(f"{', '.join(files)} given, but TLS is disabled", connection=name, setting="ssl_mode")
        return {"ssl_disabled": True}
    if mode == "preferred" and not files:
        return {}
    verify = mode in ("verify_ca", "verify_identity")
    if verify and "ssl_ca" not in files:
        raise ConfigError("checking the server's certificate needs the CA file", connection=name, setting="ssl_ca")
    if not files:
        # An empty dict would mean "preferred" to PyMySQL.
        return {"ssl": {"verify_mode": False}}
    return files | {"ssl_verify_cert": verify, "ssl_verify_identity": mode == "verify_identity"}


def quote(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"
