"""A connection to the server: statements, COPY, savepoints, and errors in tidegate's own classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg2
import psycopg2.extensions

from tidegate.errors import PermanentError, PreflightError, RowRefused, SchemaError, TidegateError, Unavailable

IDLE_SECONDS = 3600
"""A transaction that its client has left alone for this long is ended by the server: its machine is gone."""

SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    # Each statement sees what was committed before it: the fence is read after waiting for its lock.
    "default_transaction_isolation": "read committed",
    # So that the server notices within two minutes when this machine is gone, and gives up its locks.
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
}


COPY_BYTES = 1 << 16
"""What COPY asks its source for; a source may give more at once."""


Params = Sequence[Any] | Mapping[str, Any]
"""What ``%s``, or ``%(name)s``, stands for in a statement."""


class Readable(Protocol):
    """What COPY FROM STDIN reads."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """What COPY TO STDOUT writes to."""

    def write(self, row: bytes, /) -> int: ...


class _Reader:
    """Keeps the exception that the driver would swallow."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            return self._source.read(size)
        except BaseException as error:
            self.error = error
            raise


class Session:
    """One connection. A transaction begins with the first statement and ends with :meth:`commit` or :meth:`rollback`."""

    def __init__(self, connection: psycopg2.extensions.connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._savepoints = 0

    @property
    def closed(self) -> bool:
        return bool(self._connection.closed)

    def run(self, statement: str, params: Params | None = None, *, table: object | None = None) -> int:
        """Run a statement; how many rows it touched. ``%s`` stands for a parameter, if there are any."""
        with self._errors(table), self._connection.cursor() as cursor:
            cursor.execute(statement, params)
            return int(cursor.rowcount)

    def rows(self, statement: str, params: Params | None = None, *, table: object | None = None) -> list[tuple[Any, ...]]:
        """Run a statement and fetch all rows of its result."""
        with self._errors(table), self._connection.cursor() as cursor:
            cursor.execute(statement, params)
            return list(cursor.fetchall())

    def value(self, statement: str, params: Params | None = None, *, table: object | None = None) -> Any:
        """The first column of the result's first row; None if there is none."""
        rows = self.rows(statement, params, table=table)
        return rows[0][0] if rows else None

    def copy_in(self, statement: str, source: Readable, *, table: object | None = None) -> int:
        """COPY … FROM STDIN; how many rows arrived. An exception of ``source`` ends the COPY and is raised as it is."""
        reader = _Reader(source)
        try:
            with self._errors(table), self._connection.cursor() as cursor:
                cursor.copy_expert(statement, reader, COPY_BYTES)  # type: ignore[arg-type]  # the stub asks for more than read()
                return int(cursor.rowcount)
        except TidegateError:
            if reader.error is not None:
                raise reader.error from None
            raise

    def copy_out(self, statement: str, sink: Writable, *, table: object | None = None) -> None:
        """COPY … TO STDOUT; ``sink`` gets a row at a time."""
        with self._errors(table), self._connection.cursor() as cursor:
            cursor.copy_expert(statement, sink, COPY_BYTES)

    def literals(self, row: Sequence[str | None]) -> str:
        """The values as SQL literals, comma separated."""
        with self._connection.cursor() as cursor:
            return cursor.mogrify(",".join(["%s"] * len(row)), row).decode()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What runs in the block is undone if it raises."""
        self._savepoints += 1
        name = f"tidegate_{self._savepoints}"
        self.run(f"SAVEPOINT {name}")
        try:
            yield
        except Unavailable:
            raise  # the connection or the whole transaction is gone
        except BaseException:
            self.run(f"ROLLBACK TO SAVEPOINT {name}")
            self.run(f"RELEASE SAVEPOINT {name}")
            raise
        self.run(f"RELEASE SAVEPOINT {name}")

    def commit(self) -> None:
        """Unavailable if the connection was lost meanwhile: then only the ledger knows whether it was committed."""
        with self._errors(None):
            self._connection.commit()

    def rollback(self) -> None:
        """End the transaction without a trace. Doesn't raise: on a lost connection the server has done so itself."""
        try:
            self._connection.rollback()
        except psycopg2.Error:
            self.close()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _errors(self, table: object | None) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            # Not chained: the driver's text can hold a row's values, which have no place in a log.
            raise translate(error, self.name, table) from None


def connect(values: Mapping[str, Any], name: str, settings: Mapping[str, str] = SETTINGS) -> Session:
    """Open a connection with the fields of ``connection.py``; ``name`` is what messages call it.

    ``settings`` are set for the session, the time-outs of the fields besides: those of them that the server's system knows.

    Raises PreflightError if the server refuses the account, the database or the encryption, Unavailable if it can't be reached.
    """
    given = {
        "host": values["host"],
        "port": values["port"],
        "user": values["login"],
        "password": values["password"],
        "dbname": values["database"],
        "sslmode": values["sslmode"],
        "sslrootcert": values["sslrootcert"],
        "sslcert": values["sslcert"],
        "sslkey": values["sslkey"],
        "application_name": values["application_name"],
        "options": values["options"],
    }
    try:
        connection = psycopg2.connect(
            **{key: value for key, value in given.items() if value not in (None, "")},
            connect_timeout=values["connect_timeout"],
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=6,
        )
    except psycopg2.OperationalError as error:
        raise refused(error, name) from None
    session = Session(connection, name)
    limits = {"statement_timeout": f"{values['statement_timeout']}s", "lock_timeout": f"{values['lock_timeout']}s"}
    try:
        session.run("; ".join(f"SET {setting} = '{value}'" for setting, value in {**settings, **limits}.items()))
        session.commit()
    except TidegateError:
        session.close()
        raise
    return session


# Signs in the text of a refused connection, which carries no SQLSTATE, that somebody has to change something first.
_FOR_PEOPLE = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|role \".*\" (does not exist|is not permitted to log in)"
    r"|database \".*\" does not exist|permission denied for database|does not support SSL|certificate|invalid .*option",
)


def refused(error: psycopg2.OperationalError, connection: str) -> TidegateError:
    """The error of a connection that was not made."""
    text = " ".join(str(error).split())
    if _FOR_PEOPLE.search(text):
        return PreflightError(text, connection=connection, setting="login, password, database, sslmode")
    return Unavailable(text or "can't be reached", connection=connection, setting="host, port")


_TRANSIENT = ("08", "57P0", "40001", "40P01", "53", "55P03", "57014", "25P03", "58")
_COLUMN = re.compile(r"COPY .*?, line \d+, column (.+?)(?:: |$)", re.MULTILINE)
_QUOTED = re.compile(r'".*"', re.DOTALL)


def translate(error: psycopg2.Error, connection: str, table: object | None = None) -> TidegateError:
    """A driver's error as one of ours, by SQLSTATE; values that the server quotes go to an attribute, never to the message."""
    code = error.pgcode
    text = (error.diag.message_primary or str(error)).strip()
    where: dict[str, Any] = {"connection": connection, "table": table}
    if code is None:
        if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or type(error) is psycopg2.DatabaseError:
            return Unavailable(f"the connection was lost: {text}", **where)
        return PermanentError(text, **where)
    message = f"{text} (SQLSTATE {code})"
    if code.startswith(_TRANSIENT):
        hint = {"55P03": "lock_timeout", "57014": "statement_timeout"}.get(code)
        return Unavailable(message, setting=hint, **where)
    if code.startswith("28"):
        return PreflightError(message, setting="login, password", **where)
    if code == "42501":
        return PreflightError(f"{message}: {_grant(text)}", **where)
    if code == "25006":
        return PreflightError(f"{message}: a standby, or default_transaction_read_only is on", setting="host", **where)
    if code in ("42P06", "42P07", "42701"):
        return AlreadyThere(message, **where)
    if code in ("42P01", "42703", "3F000"):
        return SchemaError(message, **where)
    if code.startswith(("22", "23", "P0001", "44")):
        return _row_refused(error, code, text, where)
    return PermanentError(message, **where)


def _grant(text: str) -> str:
    """What to grant, as far as the server's words tell."""
    match = re.search(r"permission denied (?:for|to create) (\w+)\s*(.*)", text)
    if match is None:
        return "the account lacks a right"
    kind, name = match[1], match[2].strip()
    rights = {
        "table": "SELECT, INSERT, UPDATE, DELETE ON",
        "schema": "USAGE, CREATE ON SCHEMA",
        "database": "CREATE, TEMPORARY ON DATABASE",
    }
    return f"GRANT {rights.get(kind, f'the right on {kind}')} {name} TO its role"


def _row_refused(error: psycopg2.Error, code: str, text: str, where: dict[str, Any]) -> TidegateError:
    if code == "23505":
        return DuplicateKey(f"{text} (SQLSTATE {code})", rows=error.diag.message_detail, **where)
    column = error.diag.column_name
    if column is None and error.diag.context and (match := _COLUMN.search(error.diag.context)):
        column = match[1]
    if code == "P0001":
        text = "a trigger refused it"
    elif not code.startswith("23"):
        text = _QUOTED.sub("…", text)
    return RowRefused(f"{text} (SQLSTATE {code})", column=column, rows=error.diag.message_detail or str(error), **where)


class DuplicateKey(RowRefused):
    """A unique constraint refused a row."""


class AlreadyThere(PermanentError):
    """A schema, table or column that was to be created exists: somebody else was faster."""
