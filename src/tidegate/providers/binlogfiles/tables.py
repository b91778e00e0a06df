"""Tables as the files describe them: by the row metadata of a table map event."""

from __future__ import annotations

from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import SchemaError
from tidegate.providers.mysql.binlog.events import HEADER_SIZE
from tidegate.providers.mysql.binlog.rows import from_metadata
from tidegate.providers.mysql.binlog.tablemap import read_table_map
from tidegate.providers.mysql.binlog.wire import length_encoded
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.types import MySqlTable

_HIDDEN = "!hidden!"
_SIMPLE_KEY, _KEY_WITH_PREFIX = 8, 9


def described(event: bytes, table: TableName, charsets: Charsets, connection: str, *, mariadb: bool) -> MySqlTable | None:
    """The table of a table map event without checksum; None if it doesn't name the columns (binlog_row_metadata other than FULL).

    Raises SchemaError naming the column whose type or character set can't be told.
    """
    table_map = read_table_map(event, len(event), mariadb=mariadb)
    if not table_map.named:
        return None
    columns = []
    for physical in table_map.columns:
        try:
            column = from_metadata(physical, charsets)
            if column is not None and column.charset:
                charsets.texts(column.charset)
        except SchemaError as error:
            what = str(error).removeprefix(f"connection {connection}: ")
            raise SchemaError(f"column {physical.name}: {what}", connection=connection, table=table) from error
        if column is None:
            what = f"column {physical.name} has the binlog type {physical.code}, which tidegate doesn't know"
            raise SchemaError(what, connection=connection, table=table)
        columns.append(column)
    key = tuple(columns[place].name for place in _key(event))
    visible = tuple(column for column in columns if not column.name.startswith(_HIDDEN))
    schema = TableSchema(table, tuple(column.column for column in visible), key)
    return MySqlTable(schema, table, tuple(columns), "PRIMARY" if key else "")


def _key(event: bytes) -> list[int]:
    """The places of the primary key's columns, from the optional metadata; empty if it has none."""
    pos = HEADER_SIZE + 8
    pos += event[pos] + 2
    pos += event[pos] + 2
    count, pos = length_encoded(event, pos)
    size, pos = length_encoded(event, pos + count)
    pos += size + (count + 7) // 8
    while pos < len(event):
        kind = event[pos]
        size, pos = length_encoded(event, pos + 1)
        if kind in (_SIMPLE_KEY, _KEY_WITH_PREFIX):
            return _places(event[pos : pos + size], with_prefix=kind == _KEY_WITH_PREFIX)
        pos += size
    return []


def _places(field: bytes, *, with_prefix: bool) -> list[int]:
    places = []
    pos = 0
    while pos < len(field):
        place, pos = length_encoded(field, pos)
        places.append(place)
        if with_prefix:
            _, pos = length_encoded(field, pos)
    return places
