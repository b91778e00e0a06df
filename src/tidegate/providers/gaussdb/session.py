"""A session with GaussDB: which host, which driver, which settings."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import psycopg2.extensions

from tidegate.errors import PermanentError, PreflightError, TidegateError, Unavailable
from tidegate.providers.gaussdb import driver as pg8000_driver
from tidegate.providers.gaussdb.auth import IAM, MD5_SHA256, SHA256, SM3, is_sasl
from tidegate.providers.gaussdb.hosts import Host, parse_hosts
from tidegate.providers.postgres import psycopg
from tidegate.providers.postgres.driver import Driver
from tidegate.providers.postgres.errors import DriverError, translate
from tidegate.providers.postgres.session import IDLE_SECONDS, SETTINGS, Session, limits

log = logging.getLogger(__name__)

# The server hangs up on a session that is left alone for 10 minutes, in a transaction or not, unless told otherwise
# (GUC parameters, Security and Authentication). A trigger's warnings, one a row, would fill the line that COPY comes in by. With
# enable_upsert_to_merge gram.y drops the WHERE of ON DUPLICATE KEY UPDATE without a word.
_SETTINGS = {
    **SETTINGS,
    "client_min_messages": "error",
    "enable_upsert_to_merge": "off",
    "session_timeout": f"{IDLE_SECONDS}s",
}

_STOCK_LIBPQ = 100_000
"""The vendor's libpq, which speaks SHA256, is a fork of 9.2.4 and says so."""

# How libpq, in any language, refuses GaussDB's requests: 10 and 11 it takes for SASL.
_NOT_SPOKEN = re.compile(r"SASL|authentication method 1[0-4]\b")
# What the server says of an account (auth.cpp), besides PostgreSQL's words; psycopg2 gives no SQLSTATE with it.
_NO_ENTRY = re.compile(r"login denied|account has been locked|password has expired|Forbid remote connection", re.IGNORECASE)
_NULL = re.compile(r'null value in column "(.+?)"')


class GaussdbSession(Session):
    """A session whose server has SQLSTATEs of its own."""

    def failure(self, error: DriverError, table: object | None) -> TidegateError:
        return failure(error, self.name, table)


def failure(error: DriverError, name: str, table: object | None) -> TidegateError:
    """The error as one of ours."""
    if error.code and error.code.startswith("YY"):
        # Class YY, «SQL Retry Error» (errcodes.txt); YY003 is a lock that didn't come.
        hint = "lock_timeout" if error.code == "YY003" else None
        return Unavailable(f"{error.message.strip()} (SQLSTATE {error.code})", connection=name, table=table, setting=hint)
    # Where PostgreSQL sends a column's name, openGauss sends a number of its own (postgres_ext.h: PG_DIAG_INTERNEL_ERRCODE 'c').
    match = _NULL.search(error.message) if error.code == "23502" else None
    error.column = match[1] if match else None
    return translate(error, name, table)


class Connector:
    """Opens sessions with the fields of ``connection.py``, and remembers which driver each host took."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values, self._name = values, name
        self._drivers: dict[Host, str] = {}

    def connect(self) -> GaussdbSession:
        """A session with the first host that takes writes.

        Unavailable names each host and why it wasn't; it is worth a retry, as roles may be changing. PreflightError if a server
        refuses the account, the database or the encryption: the next host would do the same, and failed logins lock the account.
        """
        failures = []
        for host in parse_hosts(self._values["host"], self._values["port"], self._name):
            try:
                return self._connect(host)
            except Unavailable as error:
                self._drivers.pop(host, None)
                failures.append((host, error))
            except PermanentError:
                self._drivers.pop(host, None)
                raise
        if len(failures) == 1:
            raise failures[0][1]
        reasons = "; ".join(f"{host}: {_reason(error, self._name)}" for host, error in failures)
        raise Unavailable(f"no host takes writes: {reasons}", connection=self._name, setting="host, port")

    def _connect(self, host: Host) -> GaussdbSession:
        chosen = self._drivers.get(host) or self._choose(host)
        opened = self._psycopg2(host) if chosen == "psycopg2" else self._pg8000(host)
        session = GaussdbSession(opened, self._name)
        try:
            self._require_writes(session, host)
            configure(session, wanted_settings(self._values))
        except TidegateError:
            session.close()
            raise
        self._drivers[host] = chosen
        return session

    def _choose(self, host: Host) -> str:
        wanted: str = self._values["driver"]
        if wanted != "auto":
            return wanted
        if psycopg2.extensions.libpq_version() < _STOCK_LIBPQ:
            return "psycopg2"
        try:
            code, body = pg8000_driver.first_request(host, self._values, self._name)
        except DriverError as error:
            raise self._refused(error, host) from None
        own = (code == SHA256 and not is_sasl(body)) or (code in (MD5_SHA256, SM3, IAM))
        return "pg8000" if own else "psycopg2"

    def _psycopg2(self, host: Host) -> Driver:
        try:
            return psycopg.open_driver({**self._values, "host": host.name, "port": host.port}, self._name)
        except (Unavailable, PreflightError) as error:
            if _NOT_SPOKEN.search(str(error)):
                what = (
                    f"{host} wants a login of GaussDB's own, which psycopg2 can't speak without the vendor's libpq: set driver to "
                    "auto or pg8000, or give the account an MD5 password (password_encryption_type 0 or 1) and let pg_hba.conf "
                    "say md5 for it"
                )
                raise PreflightError(what, connection=self._name, setting="driver") from None
            if _NO_ENTRY.search(str(error)):
                raise PreflightError(_reason(error, self._name), connection=self._name, setting="login, password") from None
            raise

    def _pg8000(self, host: Host) -> Driver:
        try:
            return pg8000_driver.open_driver(host, self._values, self._name)
        except DriverError as error:
            raise self._refused(error, host) from None

    def _refused(self, error: DriverError, host: Host) -> TidegateError:
        """The error of a login, as one of ours."""
        if error.code is None:
            return Unavailable(f"{host} can't be reached: {error.message}", connection=self._name, setting="host, port")
        if error.code.startswith(("28", "3D", "42")):
            what = f"{host}: {error.message} (SQLSTATE {error.code})"
            return PreflightError(what, connection=self._name, setting="login, password, database, sslmode, options")
        return failure(error, self._name, None)

    def _require_writes(self, session: Session, host: Host) -> None:
        ((standby, read_only),) = session.rows("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')")
        if standby or read_only == "on":
            why = "it is a standby" if standby else "default_transaction_read_only is on"
            raise Unavailable(f"{host} takes no writes: {why}", connection=self._name, setting="host")


def _reason(error: TidegateError, name: str) -> str:
    """The error's text without the connection and the setting around it."""
    return str(error).removeprefix(f"connection {name}: ").removesuffix(f" [{error.setting}]")


def wanted_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """What a session is to have set, as far as the server knows it."""
    wait = f"{values['lock_timeout']}s"
    # For PostgreSQL's lock_timeout: the wait for a lock, and the one for a row that another updates. Milliseconds without a unit;
    # 0 is no limit, of the second only together with the first (proc.cpp).
    return {**_SETTINGS, **limits(values), "lockwait_timeout": wait, "update_lockwait_timeout": wait}


def configure(session: Session, settings: Mapping[str, str]) -> None:
    """Set what this server knows and lets the account set: what it has differs from one release to the next."""
    known = dict(
        session.rows(
            "SELECT lower(name), context FROM pg_catalog.pg_settings WHERE lower(name) IN %s",
            (tuple(name.lower() for name in settings),),
        )
    )
    if ours := [name for name in settings if known.get(name.lower()) == "user"]:
        session.run("; ".join(f"SET {name} = '{settings[name]}'" for name in ours))
    # openGauss keeps the lock time-outs for administrators, GaussDB opened one of them to all.
    for name in (name for name in settings if known.get(name.lower()) == "superuser"):
        try:
            with session.savepoint():
                session.run(f"SET {name} = '{settings[name]}'")
        except PermanentError:
            log.debug("%s: the account may not set %s", session.name, name)
    session.commit()
