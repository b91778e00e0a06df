"""Query events: a statement's text, and the database it ran in."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from pymysql.charset import charset_by_id

from tidegate.providers.mysql.binlog.events import EXECUTE_LOAD, HEADER_SIZE, QUERY_COMPRESSED, inflate

_EXECUTE_LOAD_HEADER = 13
"""What LOAD DATA's post-header has beyond a query's."""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement in text, the database and the SQL mode (the server's bits) that it ran in.

    ``temporary``: the server says that it concerns temporary tables of its session (LOG_EVENT_THREAD_SPECIFIC_F).
    """

    schema: str
    text: str
    sql_mode: int = 0
    temporary: bool = False


def read_query(event: bytes, end: int) -> Query:
    """A query event, plain or compressed, or the end of a LOAD DATA in text, that ends (without checksum) at ``end``."""
    kind = event[4]
    schema_size = event[HEADER_SIZE + 8]
    status_size = int.from_bytes(event[HEADER_SIZE + 11 : HEADER_SIZE + 13], "little")
    status = HEADER_SIZE + 13 + (_EXECUTE_LOAD_HEADER if kind == EXECUTE_LOAD else 0)
    schema = status + status_size
    text = schema + schema_size + 1
    data = inflate(event[:end], text) if kind == QUERY_COMPRESSED else event[text:end]
    variables = event[status:schema]
    name = event[schema : text - 1].decode("utf-8", "replace")
    return Query(name, data.decode(_codec(variables), "replace"), _sql_mode(variables), bool(event[17] & _THREAD_SPECIFIC))


_THREAD_SPECIFIC = 0x04
"""In the flags of an event's header."""

_FIXED_SIZES = {0: 4, 1: 8, 3: 4}
"""Status variables that may stand before the character set: flags, SQL mode, auto increment."""
_SQL_MODE, _CATALOG, _CATALOG_NZ, _CHARSET = 1, 2, 6, 4


def _codec(status: bytes) -> str:
    """Python's name of the client's character set, which the statement's text is in."""
    pos = 0
    while pos < len(status):
        code = status[pos]
        pos += 1
        if code == _CHARSET:
            try:
                return codecs.lookup(charset_by_id(int.from_bytes(status[pos : pos + 2], "little")).encoding).name
            except LookupError:
                # A collation that PyMySQL doesn't know, or a set that Python doesn't: "binary", as dump tools set it, swe7, hp8.
                return "utf-8"
        if code in _FIXED_SIZES:
            pos += _FIXED_SIZES[code]
        elif code in (_CATALOG, _CATALOG_NZ):
            pos += 1 + status[pos] + (code == _CATALOG)
        else:
            break
    return "utf-8"


def _sql_mode(status: bytes) -> int:
    """The bits of the SQL mode; 0 where the event doesn't have them."""
    pos = 0
    while pos < len(status) and status[pos] in _FIXED_SIZES:
        if status[pos] == _SQL_MODE:
            return int.from_bytes(status[pos + 1 : pos + 9], "little")
        pos += 1 + _FIXED_SIZES[status[pos]]
    return 0
