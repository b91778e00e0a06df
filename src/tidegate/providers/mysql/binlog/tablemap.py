"""Table map events: the physical columns of the row events that follow, and what the metadata says about them.

Layout: MySQL's ``Table_map_log_event`` in ``libbinlogevents/include/rows_event.h``; MariaDB 10.5 writes the same optional fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tidegate.changes.schema import TableName
from tidegate.providers.mysql.binlog.events import HEADER_SIZE
from tidegate.providers.mysql.binlog.wire import bits_msb, length_encoded

DECIMAL_OLD, TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24 = range(10)
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = range(10, 20)
JSON, NEWDECIMAL, ENUM, SET, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB = range(245, 253)
VAR_STRING, STRING, GEOMETRY = 253, 254, 255

_NUMERIC = frozenset((TINY, SHORT, INT24, LONG, LONGLONG, FLOAT, DOUBLE, NEWDECIMAL, YEAR))
_CHARACTER = frozenset((VARCHAR, VAR_STRING, STRING, BLOB))
_META_SIZE = {
    FLOAT: 1,
    DOUBLE: 1,
    TIMESTAMP2: 1,
    DATETIME2: 1,
    TIME2: 1,
    BLOB: 1,
    JSON: 1,
    GEOMETRY: 1,
    VARCHAR: 2,
    VAR_STRING: 2,
    BIT: 2,
    NEWDECIMAL: 2,
    STRING: 2,
    ENUM: 2,
    SET: 2,
}
_GEOMETRIES = ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection")


@dataclass(frozen=True, slots=True)
class WireColumn:
    """A column as the event has it. ``code`` is the real type (ENUM, SET), ``meta`` its parameters.

    What only the optional metadata tells is None where there is none.
    """

    code: int
    meta: int
    nullable: bool
    name: str | None = None
    unsigned: bool | None = None
    collation: int | None = None
    labels: tuple[bytes, ...] | None = None
    geometry: str | None = None

    @property
    def size(self) -> int:
        """The greatest number of bytes of a STRING's value; the bytes that an ENUM's or SET's number takes."""
        if self.code == STRING:
            # The two bits that a length over 255 needs are hidden, inverted, in the byte of the real type.
            return (((self.meta >> 4) & 0x300) ^ 0x300) + (self.meta & 0xFF)
        return self.meta & 0xFF if self.code in (ENUM, SET) else self.meta


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table map event, less the number that row events refer to it by. Equal bytes make equal maps."""

    table: TableName
    columns: tuple[WireColumn, ...]

    @property
    def named(self) -> bool:
        """Whether the event has the columns' names: binlog_row_metadata=FULL."""
        return all(column.name is not None for column in self.columns)


FieldReader = Callable[[list[WireColumn], bytes], list[WireColumn]]
"""Adds one field of the optional metadata to the columns."""


def table_name(event: bytes) -> TableName:
    """The table of a table map event, without parsing the rest."""
    pos = HEADER_SIZE + 8
    schema = event[pos + 1 : pos + 1 + event[pos]]
    pos += event[pos] + 2
    return TableName(schema.decode(), event[pos + 1 : pos + 1 + event[pos]].decode())


def read_table_map(event: bytes, end: int, *, mariadb: bool) -> TableMap:
    """A table map event that ends (without checksum) at ``end``."""
    table = table_name(event)
    pos = HEADER_SIZE + 8
    pos += event[pos] + 2
    pos += event[pos] + 2
    count, pos = length_encoded(event, pos)
    if not count:
        raise ValueError("a table without columns")
    codes = event[pos : pos + count]
    meta_size, pos = length_encoded(event, pos + count)
    columns = []
    at = pos
    for code in codes:
        size = _META_SIZE.get(code, 0)
        meta = event[at : at + size]
        at += size
        columns.append(_column(code, meta))
    pos += meta_size
    nulls = event[pos : pos + (count + 7) // 8]
    pos += len(nulls)
    columns = [replace(column, nullable=bool(nulls[i >> 3] & (1 << (i & 7)))) for i, column in enumerate(columns)]
    return TableMap(table, tuple(_with_metadata(columns, event[pos:end], _FIELDS[mariadb])))


def _column(code: int, meta: bytes) -> WireColumn:
    if code == STRING and len(meta) == 2:
        # The real type stands in the first byte, with length bits in it for CHAR.
        real = meta[0] if meta[0] in (ENUM, SET) else STRING
        return WireColumn(real, meta[0] << 8 | meta[1], True)
    if code == NEWDECIMAL:
        return WireColumn(code, meta[0] << 8 | meta[1], True)
    if code == BIT:
        return WireColumn(code, meta[1] * 8 + meta[0], True)
    return WireColumn(code, int.from_bytes(meta, "little"), True)


def _with_metadata(columns: list[WireColumn], data: bytes, fields: Mapping[int, FieldReader]) -> list[WireColumn]:
    """The columns with the optional metadata fields: a type byte, a length, the field."""
    pos = 0
    while pos < len(data):
        kind = data[pos]
        size, pos = length_encoded(data, pos + 1)
        field = data[pos : pos + size]
        pos += size
        read = fields.get(kind)
        if read is not None:
            columns = read(columns, field)
    return columns


def _where(columns: list[WireColumn], codes: frozenset[int]) -> list[int]:
    return [index for index, column in enumerate(columns) if column.code in codes]


def _signedness(columns: list[WireColumn], field: bytes) -> list[WireColumn]:
    numeric = _where(columns, _NUMERIC)
    for index, flag in zip(numeric, bits_msb(field, len(numeric)), strict=True):
        columns[index] = replace(columns[index], unsigned=flag)
    return columns


def _default_charset(codes: frozenset[int]) -> FieldReader:
    """A collation for all columns of these types but for those listed with one of their own, by place among them."""

    def read(columns: list[WireColumn], field: bytes) -> list[WireColumn]:
        default, pos = length_encoded(field, 0)
        where = _where(columns, codes)
        own = {}
        while pos < len(field):
            place, pos = length_encoded(field, pos)
            own[place], pos = length_encoded(field, pos)
        for place, index in enumerate(where):
            columns[index] = replace(columns[index], collation=own.get(place, default))
        return columns

    return read


def _column_charset(codes: frozenset[int]) -> FieldReader:
    """A collation for each column of these types."""

    def read(columns: list[WireColumn], field: bytes) -> list[WireColumn]:
        pos = 0
        for index in _where(columns, codes):
            collation, pos = length_encoded(field, pos)
            columns[index] = replace(columns[index], collation=collation)
        return columns

    return read


def _names(columns: list[WireColumn], field: bytes) -> list[WireColumn]:
    pos = 0
    for index, column in enumerate(columns):
        size, pos = length_encoded(field, pos)
        columns[index] = replace(column, name=field[pos : pos + size].decode())
        pos += size
    return columns


def _labels(code: int) -> FieldReader:
    def read(columns: list[WireColumn], field: bytes) -> list[WireColumn]:
        pos = 0
        for index in _where(columns, frozenset((code,))):
            count, pos = length_encoded(field, pos)
            labels = []
            for _ in range(count):
                size, pos = length_encoded(field, pos)
                labels.append(field[pos : pos + size])
                pos += size
            columns[index] = replace(columns[index], labels=tuple(labels))
        return columns

    return read


def _geometry(columns: list[WireColumn], field: bytes) -> list[WireColumn]:
    pos = 0
    for index in _where(columns, frozenset((GEOMETRY,))):
        kind, pos = length_encoded(field, pos)
        columns[index] = replace(columns[index], geometry=_GEOMETRIES[kind] if kind < len(_GEOMETRIES) else "geometry")
    return columns


_ENUMS = frozenset((ENUM, SET))


def _fields(character: frozenset[int]) -> dict[int, FieldReader]:
    return {
        1: _signedness,
        2: _default_charset(character),
        3: _column_charset(character),
        4: _names,
        5: _labels(SET),
        6: _labels(ENUM),
        7: _geometry,
        # 8, 9: the primary key; it is taken from the present schema, and DDL that changes it is refused.
        10: _default_charset(_ENUMS),
        11: _column_charset(_ENUMS),
        # 12: visibility. Invisible columns are columns like others.
    }


# MariaDB counts geometries, which are blobs to it, among the character columns; MySQL doesn't.
_FIELDS = {False: _fields(_CHARACTER), True: _fields(_CHARACTER | {GEOMETRY})}
