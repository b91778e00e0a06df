"""The binary protocol over connectorx, which reads into Arrow without Python seeing a value. Optional: ``tidegate[fast]``.

What connectorx can't hold is selected through an expression that it can (checked with 0.4): it stops at dates that no calendar has
and at a TIME beyond a day, narrows decimals to 38 digits with 10 after the point, and reads BIT as bytes.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import quote as url_quote

import pyarrow as pa

from tidegate.errors import SchemaError
from tidegate.providers.mysql import dates
from tidegate.providers.mysql.columns import of_binary, of_numbers
from tidegate.providers.mysql.policy import refusal
from tidegate.providers.mysql.routes import PyMySqlRoute, Route, rest
from tidegate.providers.mysql.select import KeyRange, page_query
from tidegate.providers.mysql.session import SETTINGS, Session, quote
from tidegate.providers.mysql.types import BINARIES, GEOMETRIES, TEXTS, MySqlColumn, MySqlTable
from tidegate.sync.protocols import Limits

logger = logging.getLogger(__name__)

_WHOLE_DIGITS, _SCALE = 18, 10
"""What connectorx's decimal surely holds: it has 96 bits, and rescales every value to ten digits after the point."""
_VARYING = TEXTS | BINARIES | {"json"}
_SLACK = 2
"""How many times the limit of bytes a page may have before PyMySQL reads it, bit by bit."""
_GUARDED = "ERROR 1242"
"""Subquery returns more than 1 row."""
_BEFORE = [SETTINGS, "SET NAMES utf8mb4", "SET @tidegate_bytes = 0"]
"""Said on connectorx's own connections: a key's literal is compared, and a CHAR is shown, by the session's settings."""


def fast_route(session: Session, table: MySqlTable) -> Route | None:
    """connectorx for this table, if it is installed and can: it opens connections of its own, without TLS and over TCP only."""
    if importlib.util.find_spec("connectorx") is None or not table.schema.key:
        return None
    if session.encrypted or session.values["unix_socket"] or session.values["ssl_mode"] not in ("disabled", "preferred"):
        return None
    if any(column.data_type in GEOMETRIES for column in table.columns):
        return None
    return ConnectorxRoute(session)


def expression(column: MySqlColumn) -> str:
    """What is selected for the column over the binary protocol."""
    chosen = _EXPRESSIONS.get(column.data_type, "{}")
    if column.data_type == "decimal" and (column.precision - column.scale > _WHOLE_DIGITS or column.scale > _SCALE):
        chosen = "CAST({} AS CHAR)"
    return chosen.format(quote(column.name))


_EXPRESSIONS = {
    "date": "CAST({} AS CHAR)",
    "datetime": "CAST({} AS CHAR)",
    "time": "CAST({} AS CHAR)",
    # The instant itself, whatever the time zone of a session.
    "timestamp": "CAST(UNIX_TIMESTAMP({}) * 1000000 AS SIGNED)",
    "bit": "CAST({} AS UNSIGNED)",
    # connectorx would parse MySQL's JSON and write it anew.
    "json": "CAST({} AS CHAR)",
    "enum": "CAST({} AS CHAR)",
    "set": "CAST({} AS CHAR)",
}


class _TooLarge(Exception):
    """A page has more bytes than it may."""


def _guard(table: MySqlTable, limits: Limits) -> Sequence[str]:
    """A column that makes the server stop a query once it has sent far more bytes than ``limits``; none if types don't allow that.

    The sum is a session variable, which grows row by row. The subquery is run, and fails, only where the condition holds. In which
    order the server looks at rows doesn't matter: it can stop too early, but it leaves nothing out.
    """
    varying = [column for column in table.columns if column.data_type in _VARYING]
    if limits.rows * sum(column.octets or 2**32 for column in varying) <= _SLACK * limits.bytes:
        return ()
    size = " + ".join(f"COALESCE(LENGTH({quote(column.name)}), 0)" for column in varying)
    most = _SLACK * limits.bytes
    return (f"IF((@tidegate_bytes := @tidegate_bytes + {size}) > {most}, (SELECT 1 UNION SELECT 2), 0)",)


class ConnectorxRoute:
    """Ranges of a keyed table over connectorx. At the first page that it can't read, PyMySQL takes over for the rest.

    connectorx holds the whole of a result, however large: the server stops a page that becomes too large, and PyMySQL reads the
    rest of its range, bit by bit.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._slow = PyMySqlRoute(session)
        self.gave_up = False

    def pages(self, table: MySqlTable, within: KeyRange, limits: Limits) -> Iterator[pa.Table]:
        guard = _guard(table, limits)
        while not self.gave_up:
            try:
                page = self._read(table, within, limits.rows, guard)
            except _TooLarge:
                break
            finally:
                _give_back()
            if page is None:
                self.gave_up = True
                break
            if page.num_rows:
                within = rest(within, table, page)
                yield page
            if page.num_rows < limits.rows:
                return
        yield from self._slow.pages(table, within, limits)

    def _read(self, table: MySqlTable, within: KeyRange, limit: int, guard: Sequence[str]) -> pa.Table | None:
        """The first ``limit`` rows of a range; None if connectorx could not read them."""
        import connectorx

        sql = page_query(table, within, limit, expression, guard)

        try:
            raw = connectorx.read_sql(
                _url(self._session.values), sql, return_type="arrow", protocol="binary", pre_execution_query=_BEFORE
            )
        except BaseException as error:
            # Its panics are BaseExceptions, and their text may hold the address with the password.
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
                raise
            if guard and _GUARDED in str(error):
                raise _TooLarge from None
            kind = type(error).__name__
            logger.warning("%s: connectorx could not read %s (%s); reading it with PyMySQL", self._session.name, table.name, kind)
            return None
        arrays = []
        for column, values in zip(table.columns, raw.columns[: len(table.columns)], strict=True):
            try:
                arrays.append(_converted(column, values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)))
            except (pa.ArrowException, ValueError) as error:
                what, setting = refusal(column.name, column.column.type, error)
                raise SchemaError(what, connection=self._session.name, table=table.name, setting=setting) from error
        return pa.Table.from_arrays(arrays, schema=table.schema.arrow())


def _give_back() -> None:
    """Return freed memory to the system.

    connectorx builds each result in threads of its own, and glibc keeps what they free in an arena of each: without this a copy
    grows by ten or twenty megabytes with every million rows (367 MB after 8 million on one connection, 249 MB with it).
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    """glibc's ``malloc_trim``; None where the C library is another."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return found


def _converted(column: MySqlColumn, values: Any) -> Any:
    """connectorx's column as the canonical type."""
    if column.data_type == "timestamp":
        return dates.instants(values.cast(pa.int64()), column.zero)
    if column.data_type in ("date", "datetime", "time"):
        return of_binary(column, values.cast(pa.binary()))
    if pa.types.is_boolean(column.column.type):
        return of_numbers(column, values.cast(pa.int64()))
    return values.cast(column.column.type)


def _url(values: Mapping[str, Any]) -> str:
    """What connectorx connects to; it holds the password and must never be shown."""
    login, password = (url_quote(values[name] or "", safe="") for name in ("login", "password"))
    host = f"[{values['host']}]" if ":" in values["host"] else values["host"]
    return f"mysql://{login}:{password}@{host}:{values['port']}/"
