"""psycopg2 as the driver of a session."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions

from tidegate.errors import PreflightError, TidegateError, Unavailable
from tidegate.providers.postgres.driver import Params, Readable, Writable
from tidegate.providers.postgres.errors import DriverError

COPY_BYTES = 1 << 16
"""What COPY asks its source for; a source may give more at once."""


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


class Psycopg2Driver:
    """See :class:`~tidegate.providers.postgres.driver.Driver`."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        return bool(self._connection.closed)

    def run(self, statement: str, params: Params | None) -> int:
        with _errors(), self._connection.cursor() as cursor:
            cursor.execute(statement, params)
            return int(cursor.rowcount)

    def rows(self, statement: str, params: Params | None) -> list[tuple[Any, ...]]:
        with _errors(), self._connection.cursor() as cursor:
            cursor.execute(statement, params)
            return list(cursor.fetchall())

    def copy_in(self, statement: str, source: Readable) -> int:
        reader = _Reader(source)
        try:
            with _errors(), self._connection.cursor() as cursor:
                cursor.copy_expert(statement, reader, COPY_BYTES)  # type: ignore[arg-type]  # the stub asks for more than read()
                return int(cursor.rowcount)
        except DriverError:
            if reader.error is not None:
                raise reader.error from None
            raise

    def copy_out(self, statement: str, sink: Writable) -> None:
        with _errors(), self._connection.cursor() as cursor:
            cursor.copy_expert(statement, sink, COPY_BYTES)

    def literals(self, row: Sequence[str | None]) -> str:
        with self._connection.cursor() as cursor:
            return cursor.mogrify(",".join(["%s"] * len(row)), row).decode()

    def commit(self) -> None:
        with _errors():
            self._connection.commit()

    def rollback(self) -> None:
        with _errors():
            self._connection.rollback()

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        # Not chained: the driver's text can hold a row's values, which have no place in a log.
        raise _neutral(error) from None


def _neutral(error: psycopg2.Error) -> DriverError:
    lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or type(error) is psycopg2.DatabaseError
    return DriverError(
        error.diag.message_primary or str(error),
        code=error.pgcode,
        detail=error.diag.message_detail,
        column=error.diag.column_name,
        context=error.diag.context,
        lost=lost and error.pgcode is None,
    )


def open_driver(values: Mapping[str, Any], name: str) -> Psycopg2Driver:
    """Connect with the fields of ``connection.py``. PreflightError or Unavailable, as :func:`refused` tells."""
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
    return Psycopg2Driver(connection)


# Signs in the text of a refused connection, which carries no SQLSTATE, that somebody has to change something first.
_FOR_PEOPLE = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|role \".*\" (does not exist|is not permitted to log in)"
    r"|SASL authentication mechanisms are supported"
    r"|database \".*\" does not exist|permission denied for database|does not support SSL|certificate|invalid .*option",
)


def refused(error: psycopg2.OperationalError, connection: str) -> TidegateError:
    """The error of a connection that was not made."""
    text = " ".join(str(error).split())
    if _FOR_PEOPLE.search(text):
        return PreflightError(text, connection=connection, setting="login, password, database, sslmode")
    return Unavailable(text or "can't be reached", connection=connection, setting="host, port")
