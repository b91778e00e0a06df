"""The query port of the frontends: PyMySQL over one of several hosts, its errors as ours.

SQLAlchemy is not in between: a pool and a transaction for each statement have no use here, and its errors hide the server's number.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pymysql
from pymysql.constants import CR, ER

from tidegate.errors import ConfigError, PermanentError, PreflightError, SchemaError, TidegateError, Unavailable
from tidegate.providers.starrocks.sql import literal

log = logging.getLogger(__name__)

Row = tuple[Any, ...]
T = TypeVar("T")

IDLE_SECONDS = 30.0
"""A connection that was left alone for longer is looked at before a statement that changes something goes over it."""

_LOST = {CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, CR.CR_CONNECTION_ERROR, CR.CR_CONN_HOST_ERROR}
_TRANSIENT = {
    *_LOST,
    ER.CON_COUNT_ERROR,
    ER.SERVER_SHUTDOWN,
    ER.QUERY_INTERRUPTED,
    ER.TOO_MANY_USER_CONNECTIONS,
    5024,  # StarRocks ERR_TIMEOUT
}
_NO_TLS = 2026
"""PyMySQL's CR_SSL_CONNECTION_ERROR: TLS is required, and the server has none."""
_LOGIN = {ER.ACCESS_DENIED_ERROR, 1251, 2059}
_PRIVILEGE = {
    ER.DBACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
    5203,  # StarRocks 3: "Access denied; you need (at least one of) the … privilege(s) on …"
}
# Numbers differ between versions, and much comes as 1064 with the words in the text (fe ErrorCode.java: 1049/5501, 1051/5502).
_SCHEMA = {ER.NO_SUCH_TABLE, ER.BAD_DB_ERROR, ER.BAD_FIELD_ERROR, ER.BAD_TABLE_ERROR, 5501, 5502}
_WORDS: tuple[tuple[type[TidegateError] | None, tuple[str, ...]], ...] = (
    (None, ("access denied", "you need (at least one of) the")),
    (
        SchemaError,
        ("unknown table", "unknown database", "unknown column", "can't find database", "cannot be resolved", "does not exist"),
    ),
    (
        Unavailable,
        (
            "query timeout",
            "exceeded its timeout",
            "reached its timeout",
            "not leader",
            "no leader",
            "fe is not ready",
            "no alive backend",
            "backend not found",
            "no available backend",
            "rpc failed",
            "please retry",
        ),
    ),
)


HANDSHAKE_SECONDS = 10.0


class Denied(PreflightError):
    """The account lacks a privilege for the statement."""


def error_code(error: BaseException) -> int:
    """The server's (or PyMySQL's) number of an error; 0 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def translated(error: Exception, connection: str, table: object | None = None) -> TidegateError:
    """PyMySQL's error as one of ours: what may pass by itself is :class:`Unavailable`."""
    code = error_code(error)
    text = str(error.args[1]) if len(error.args) > 1 else str(error) or type(error).__name__
    kind: type[TidegateError] = PermanentError
    setting = None
    if code == _NO_TLS or "certificate verify failed" in text.lower():
        kind, setting = PreflightError, "ssl_mode, ssl_ca"
    elif code in _TRANSIENT or isinstance(error, pymysql.err.InterfaceError | OSError):
        kind = Unavailable
    elif code in _LOGIN:
        kind, setting = PreflightError, "login, password"
    elif code in _PRIVILEGE:
        kind, setting = Denied, "GRANT"
    elif code in _SCHEMA:
        kind = SchemaError
    else:
        lower = text.lower()
        for found, words in _WORDS:
            if any(word in lower for word in words):
                kind, setting = (Denied, "GRANT") if found is None else (found, None)
                break
    return kind(f"{text} (error {code})", connection=connection, table=table, setting=setting)


@contextlib.contextmanager
def translating(connection: str, table: object | None = None) -> Iterator[None]:
    """Within the block PyMySQL's errors become ours."""
    try:
        yield
    except (pymysql.err.Error, OSError) as error:
        raise translated(error, connection, table) from error


class Session:
    """One connection at a time, to the first frontend that answers; its questions may come from several threads.

    ``values`` are the fields of the connection (:mod:`tidegate.providers.starrocks.connection`). Nothing is connected before the
    first statement. Every connection begins with ``SET time_zone`` to the field ``time_zone``, whatever the server's default is.
    """

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self.name = name
        self.values = values
        self._hosts = hosts(values, name)
        self._options = connect_options(values, name)
        self._lock = threading.RLock()
        self._driver: Any = None
        self._used = 0.0

    def rows(self, sql: str, params: Sequence[object] = (), *, table: object | None = None) -> list[Row]:
        """All rows of a statement that only reads: a kept connection that turns out dead is made anew and the statement repeated.

        ``%s`` stands for a parameter, if there are any.
        """
        return self._fetch(sql, params, table)[1]

    def dicts(self, sql: str, params: Sequence[object] = (), *, table: object | None = None) -> list[dict[str, Any]]:
        """The same, each row by the names of its columns in lower case: versions differ in the case and number of them."""
        names, rows = self._fetch(sql, params, table)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def value(self, sql: str, params: Sequence[object] = (), *, table: object | None = None) -> Any:
        """The first column of the first row; None if there is none."""
        rows = self.rows(sql, params, table=table)
        return rows[0][0] if rows else None

    def run(self, sql: str, params: Sequence[object] = (), *, table: object | None = None) -> int:
        """Run a statement that changes something, once; how many rows it touched."""
        with self._lock, translating(self.name, table):
            if self._driver is not None and time.monotonic() - self._used > IDLE_SECONDS:
                self._check()
            return self._with_cursor(lambda cursor: int(cursor.execute(sql, tuple(params) or None)))

    def pieces(self, sql: str, size: int, *, table: object | None = None) -> Iterator[list[Row]]:
        """The rows of a question, ``size`` at a time, over a connection of its own, so that memory stays flat."""
        with translating(self.name, table):
            with self._lock:
                driver = self._connect()
            cursor: Any = driver.cursor(pymysql.cursors.SSCursor)
            try:
                cursor.execute(sql)
                while rows := cursor.fetchmany(size):
                    yield list(rows)
            finally:
                if driver._result is not None:
                    # A caller that stops early leaves rows unread, which the cursor would fetch now.
                    driver._result.unbuffered_active = False
                cursor.close()
                driver._force_close()

    def _fetch(self, sql: str, params: Sequence[object], table: object | None) -> tuple[list[str], list[Row]]:
        def fetch(cursor: Any) -> tuple[list[str], list[Row]]:
            cursor.execute(sql, tuple(params) or None)
            return [item[0].lower() for item in cursor.description or ()], list(cursor.fetchall())

        with self._lock, translating(self.name, table):
            kept = self._driver is not None
            try:
                return self._with_cursor(fetch)
            except (pymysql.err.Error, OSError) as error:
                if not kept or not _is_lost(error):
                    raise
                log.debug("connection %s had gone (%s); a new one", self.name, error_code(error))
            return self._with_cursor(fetch)

    def _with_cursor(self, work: Callable[[Any], T]) -> T:
        if self._driver is None:
            self._driver = self._connect()
        try:
            with self._driver.cursor() as cursor:
                return work(cursor)
        except (pymysql.err.Error, OSError) as error:
            if _is_lost(error):
                self._drop()
            raise
        finally:
            self._used = time.monotonic()

    def _check(self) -> None:
        try:
            self._driver.ping(reconnect=False)
        except (pymysql.err.Error, OSError):
            self._drop()

    def _connect(self) -> Any:
        """The first frontend that answers; the one that did is asked first next time."""
        failures = []
        for number, (host, port) in enumerate(self._hosts):
            try:
                # A port that takes the connection and says nothing is not MySQL's: that shows within seconds.
                driver: Any = pymysql.connect(host=host, port=port, **{**self._options, "read_timeout": HANDSHAKE_SECONDS})
                driver._read_timeout = self._options["read_timeout"]
            except (pymysql.err.Error, OSError) as error:
                if not isinstance(translated(error, self.name), Unavailable):
                    raise
                failures.append(f"{host}:{port}: {error.args[-1] if error.args else type(error).__name__}")
                continue
            self._hosts = [*self._hosts[number:], *self._hosts[:number]]
            return driver
        what = f"no frontend answers with the MySQL protocol: {'; '.join(failures)}"
        raise Unavailable(what, connection=self.name, setting="host, port (http_port is another), connect_timeout_ms")

    @property
    def address(self) -> str | None:
        """The frontend that it is connected to, as ``host:port``; None while it isn't."""
        return None if self._driver is None else "{}:{}".format(*self._hosts[0])

    def _drop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver._force_close()

    def close(self) -> None:
        with self._lock:
            driver, self._driver = self._driver, None
            if driver is not None and driver.open:
                driver.close()


def _is_lost(error: Exception) -> bool:
    return error_code(error) in _LOST or isinstance(error, pymysql.err.InterfaceError | OSError)


def hosts(values: Mapping[str, Any], name: str) -> list[tuple[str, int]]:
    """The frontends of the field ``host``: ``fe1, fe2:9031, [::1]:9030``; without a port of their own at the field ``port``."""
    found = []
    for item in (part.strip() for part in str(values["host"]).split(",")):
        if not item:
            continue
        host, port = item, str(values["port"])
        if item.startswith("["):
            host, _, rest = item[1:].partition("]")
            port = rest.removeprefix(":") or port
        elif item.count(":") == 1:
            host, _, port = item.partition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"{item!r} is not a host, nor a host and a port", connection=name, setting="host")
        found.append((host, int(port)))
    if not found:
        raise ConfigError("no host", connection=name, setting="host")
    return found


def connect_options(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What PyMySQL is called with, but for the host. ``socket_timeout_ms`` -1: a statement may take as long as a load."""
    timeout = values["socket_timeout_ms"] / 1000 if values["socket_timeout_ms"] > 0 else float(values["load_timeout"])
    return {
        "user": values["login"],
        "password": values["password"] or "",
        "charset": "utf8mb4",
        "autocommit": True,
        "init_command": f"SET time_zone = {literal(values['time_zone'])}",
        "connect_timeout": max(0.1, values["connect_timeout_ms"] / 1000),
        "read_timeout": timeout,
        "write_timeout": timeout,
        "program_name": "tidegate",
        **_tls_options(values, name),
    }


def _tls_options(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    mode, authority = values["ssl_mode"], values["ssl_ca"]
    if mode == "disabled":
        if authority:
            raise ConfigError("ssl_ca is given, but TLS is disabled", connection=name, setting="ssl_mode")
        return {"ssl_disabled": True}
    if mode == "required":
        # An empty dict would mean "if the server can" to PyMySQL.
        return {"ssl": {"verify_mode": False}}
    if not authority:
        raise ConfigError("checking the server's certificate needs the CA file", connection=name, setting="ssl_ca")
    return {"ssl_ca": authority, "ssl_verify_cert": True, "ssl_verify_identity": mode == "verify_identity"}
