"""A connection to the server: statements, COPY, savepoints, and errors in tidegate's own classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tidegate.errors import TidegateError, Unavailable
from tidegate.providers.postgres.driver import Driver, Params, Readable, Writable
from tidegate.providers.postgres.errors import AlreadyThere, DriverError, DuplicateKey, translate
from tidegate.providers.postgres.psycopg import open_driver, refused

__all__ = ["SETTINGS", "AlreadyThere", "DuplicateKey", "Session", "connect", "limits", "refused", "translate"]

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


class Session:
    """One connection. A transaction begins with the first statement and ends with :meth:`commit` or :meth:`rollback`."""

    def __init__(self, driver: Driver, name: str) -> None:
        self.name = name
        self._driver = driver
        self._savepoints = 0
        self.stages: set[str] = set()
        """Names of the staging tables that loads keep from one to the next."""
        self.new_stages: set[str] = set()
        """Those that the transaction has made."""

    @property
    def closed(self) -> bool:
        return self._driver.closed

    def run(self, statement: str, params: Params | None = None, *, table: object | None = None) -> int:
        """Run a statement; how many rows it touched. ``%s`` stands for a parameter, if there are any."""
        with self._errors(table):
            return self._driver.run(statement, params)

    def rows(self, statement: str, params: Params | None = None, *, table: object | None = None) -> list[tuple[Any, ...]]:
        """Run a statement and fetch all rows of its result."""
        with self._errors(table):
            return self._driver.rows(statement, params)

    def value(self, statement: str, params: Params | None = None, *, table: object | None = None) -> Any:
        """The first column of the result's first row; None if there is none."""
        rows = self.rows(statement, params, table=table)
        return rows[0][0] if rows else None

    def copy_in(self, statement: str, source: Readable, *, table: object | None = None) -> int:
        """COPY … FROM STDIN; how many rows arrived. An exception of ``source`` ends the COPY and is raised as it is."""
        with self._errors(table):
            return self._driver.copy_in(statement, source)

    def copy_out(self, statement: str, sink: Writable, *, table: object | None = None) -> None:
        """COPY … TO STDOUT; ``sink`` gets whole rows, one or more at a time."""
        with self._errors(table):
            self._driver.copy_out(statement, sink)

    def literals(self, row: Sequence[str | None]) -> str:
        """The values as SQL literals, comma separated."""
        return self._driver.literals(row)

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
            self._driver.commit()
        self.stages |= self.new_stages
        self.new_stages.clear()

    def rollback(self) -> None:
        """End the transaction without a trace. Doesn't raise: on a lost connection the server has done so itself."""
        self.new_stages.clear()
        try:
            self._driver.rollback()
        except DriverError:
            self.close()

    def close(self) -> None:
        self._driver.close()

    def failure(self, error: DriverError, table: object | None) -> TidegateError:
        """The error as one of ours. A system with SQLSTATEs of its own overrides this."""
        return translate(error, self.name, table)

    @contextmanager
    def _errors(self, table: object | None) -> Iterator[None]:
        try:
            yield
        except DriverError as error:
            # Not chained: the driver's text can hold a row's values, which have no place in a log.
            raise self.failure(error, table) from None


def limits(values: Mapping[str, Any]) -> dict[str, str]:
    """The time-outs among the fields of ``connection.py``, as settings of a session."""
    return {"statement_timeout": f"{values['statement_timeout']}s", "lock_timeout": f"{values['lock_timeout']}s"}


def connect(values: Mapping[str, Any], name: str, settings: Mapping[str, str] = SETTINGS) -> Session:
    """Open a connection with the fields of ``connection.py``; ``name`` is what messages call it.

    ``settings`` are set for the session, the time-outs of the fields besides: those of them that the server's system knows.

    Raises PreflightError if the server refuses the account, the database or the encryption, Unavailable if it can't be reached.
    """
    session = Session(open_driver(values, name), name)
    try:
        session.run("; ".join(f"SET {setting} = '{value}'" for setting, value in {**settings, **limits(values)}.items()))
        session.commit()
    except TidegateError:
        session.close()
        raise
    return session
