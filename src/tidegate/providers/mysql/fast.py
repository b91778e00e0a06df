"""The binary protocol over connectorx, which reads into Arrow without Python seeing a value. Optional: ``tidegate[fast]``.

What connectorx can't hold is selected through an expression that it can (checked with 0.4): it stops at dates that no calendar has
and at a TIME beyond a day, narrows decimals to 38 digits with 10 after the point, and reads BIT as bytes.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote as url_quote

import pyarrow as pa

from tidegate.errors import SchemaError
from tidegate.providers.mysql import dates
from tidegate.providers.mysql.columns import of_binary, of_numbers
from tidegate.providers.mysql.policy import refusal
from tidegate.providers.mysql.routes import PyMySqlRoute, Route
from tidegate.providers.mysql.select import key_texts, page_query
from tidegate.providers.mysql.session import SETTINGS, Session, quote
from tidegate.providers.mysql.types import GEOMETRIES, MySqlColumn, MySqlTable
from tidegate.sync.protocols import Limits

logger = logging.getLogger(__name__)

_WHOLE_DIGITS, _SCALE = 18, 10
"""What connectorx's decimal surely holds: it has 96 bits, and rescales every value to ten digits after the point."""
_PROBE_ROWS = 16
"""Read first, to learn how large rows are."""
_BEFORE = [SETTINGS, "SET NAMES utf8mb4"]
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


class ConnectorxRoute:
    """Pages of a keyed table over connectorx. At the first page that it can't read, PyMySQL takes over for the rest."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._fallback: PyMySqlRoute | None = None
        self._row_bytes = 0

    @property
    def gave_up(self) -> bool:
        """Whether PyMySQL reads for it."""
        return self._fallback is not None

    def page(self, table: MySqlTable, after: Sequence[str] | None, limits: Limits) -> Iterator[tuple[pa.Table, bool]]:
        if self._fallback is None:
            found = self._page(table, after, limits)
            if found is not None:
                yield found
                return
            self._fallback = PyMySqlRoute(self._session)
        yield from self._fallback.page(table, after, limits)

    def _page(self, table: MySqlTable, after: Sequence[str] | None, limits: Limits) -> tuple[pa.Table, bool] | None:
        """A page, and whether it is the last; None if connectorx could not read it. The rows of the page before tell its size."""
        if not self._row_bytes:
            probe = self._read(table, after, min(_PROBE_ROWS, limits.rows))
            if probe is None or probe.num_rows < _PROBE_ROWS:
                return None if probe is None else (probe, probe.num_rows < limits.rows)
            self._row_bytes = max(1, probe.nbytes // probe.num_rows)
            after = key_texts(table, probe)
        else:
            probe = table.schema.arrow().empty_table()
        limit = max(1, min(limits.rows, limits.bytes // self._row_bytes) - probe.num_rows)
        found = self._read(table, after, limit)
        if found is None:
            return None
        if found.num_rows:
            self._row_bytes = max(1, found.nbytes // found.num_rows)
        return pa.concat_tables([probe, found]), found.num_rows < limit

    def _read(self, table: MySqlTable, after: Sequence[str] | None, limit: int) -> pa.Table | None:
        """The next ``limit`` rows; None if connectorx could not read them."""
        import connectorx

        sql = page_query(table, after, limit, expression)

        try:
            raw = connectorx.read_sql(
                _url(self._session.values), sql, return_type="arrow", protocol="binary", pre_execution_query=_BEFORE
            )
        except BaseException as error:
            # Its panics are BaseExceptions, and their text may hold the address with the password.
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
                raise
            kind = type(error).__name__
            logger.warning("%s: connectorx could not read %s (%s); reading it with PyMySQL", self._session.name, table.name, kind)
            return None
        arrays = []
        for column, values in zip(table.columns, raw.columns, strict=True):
            try:
                arrays.append(_converted(column, values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)))
            except (pa.ArrowException, ValueError) as error:
                what, setting = refusal(column.name, column.column.type, error)
                raise SchemaError(what, connection=self._session.name, table=table.name, setting=setting) from error
        return pa.Table.from_arrays(arrays, schema=table.schema.arrow())


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
