"""Which columns the row events under a table map have: their layout, in the names and types of the table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tidegate.changes.schema import Column, TableSchema
from tidegate.errors import SchemaError
from tidegate.providers.mysql.binlog import tablemap as wire
from tidegate.providers.mysql.binlog.images import Shape
from tidegate.providers.mysql.binlog.tablemap import TableMap, WireColumn
from tidegate.providers.mysql.binlog.values import Field, field
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.policy import DEFAULT, Policies
from tidegate.providers.mysql.types import BINARIES, GEOMETRIES, TEXTS, MySqlColumn, MySqlTable, make_column

_CODES = {
    wire.TINY: "tinyint",
    wire.SHORT: "smallint",
    wire.INT24: "mediumint",
    wire.LONG: "int",
    wire.LONGLONG: "bigint",
    wire.FLOAT: "float",
    wire.DOUBLE: "double",
    wire.NEWDECIMAL: "decimal",
    wire.BIT: "bit",
    wire.DATE: "date",
    wire.NEWDATE: "date",
    wire.TIME: "time",
    wire.TIME2: "time",
    wire.DATETIME: "datetime",
    wire.DATETIME2: "datetime",
    wire.TIMESTAMP: "timestamp",
    wire.TIMESTAMP2: "timestamp",
    wire.YEAR: "year",
    wire.JSON: "json",
    wire.ENUM: "enum",
    wire.SET: "set",
}
_BLOBS = {1: "tinyblob", 2: "blob", 3: "mediumblob", 4: "longblob"}
_HIDDEN = "!hidden!"
"""Begins the name of the columns that MySQL 8 makes for indexes on expressions; they belong to no table that a user sees."""
_BINARY = 63
"""The collation of bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How the row events of one table map become columns of ``schema``.

    ``places`` has the schema column that each physical column goes to (None: to none). ``headers`` are beginnings of row events, by
    the event's type, that were seen to leave no column out.
    """

    schema: TableSchema
    shape: Shape
    places: tuple[int | None, ...]
    headers: dict[int, bytes] = dataclasses.field(default_factory=dict)


def bind(table_map: TableMap, table: MySqlTable, charsets: Charsets, connection: str, position: object) -> Layout:
    """The layout of a table map, in the names and types of the table.

    With full metadata the event says what its columns are, and the present schema adds what no event tells. Without, the present
    schema's columns are taken one by one, if count and types agree.

    Raises SchemaError if they don't, or for a type that has no canonical type.
    """
    if not table_map.named and len(table_map.columns) != len(table.columns):
        raise _changed(
            f"its rows have {len(table_map.columns)} columns here, the table now has {len(table.columns)}",
            table,
            connection,
            position,
        )
    by_name = {column.name: column for column in table.columns}
    fields: list[Field] = []
    places: list[int | None] = []
    columns: list[Column] = []
    for index, physical in enumerate(table_map.columns):
        present = by_name.get(physical.name or "") if table_map.named else table.columns[index]
        column = _column(physical, present, charsets, table)
        if column is None and not table_map.named:
            name = present.name if present else ""
            raise _changed(f"column {name} has another type here than now", table, connection, position)
        read = field(physical, column, charsets) if column else None
        if column is None or read is None:
            raise SchemaError(
                f"column {physical.name or index + 1} has the binlog type {physical.code}, which tidegate doesn't know",
                connection=connection,
                table=table.name,
                position=position,
            )
        fields.append(read)
        if present is None and column.name.startswith(_HIDDEN):
            places.append(None)
            continue
        places.append(len(columns))
        columns.append(column.column)
    return Layout(TableSchema(table.name, tuple(columns), table.schema.key), Shape(fields), tuple(places))


def _changed(what: str, table: MySqlTable, connection: str, position: object) -> SchemaError:
    return SchemaError(
        f"the table was changed since: {what}; copy it again, and have the server write the columns' names into its log",
        connection=connection,
        table=table.name,
        position=position,
        setting="binlog_row_metadata=FULL",
    )


def _column(physical: WireColumn, present: MySqlColumn | None, charsets: Charsets, table: MySqlTable) -> MySqlColumn | None:
    """What the column was when the event was written: the present one if it is still that, else what the metadata says."""
    if present is not None and _same(physical, present, charsets):
        return present
    if physical.name is None:
        return None
    return from_metadata(physical, charsets, table.policies_of(physical.name))


def _same(physical: WireColumn, present: MySqlColumn, charsets: Charsets) -> bool:
    """Whether the present column's values would be written like this."""
    kind, code = present.data_type, physical.code
    if physical.unsigned is not None and kind != "year" and physical.unsigned != present.unsigned:
        return False
    if physical.collation is not None and present.charset:
        charset = "binary" if physical.collation == _BINARY else charsets.of_collation(physical.collation)
        if charset != present.charset:
            return False
    if physical.labels is not None and _labels(physical, charsets) != present.labels:
        return False
    if code in _CODES and code != wire.JSON:
        return _CODES[code] == kind and _same_size(physical, present)
    if code in (wire.VARCHAR, wire.VAR_STRING):
        return kind in ("varchar", "varbinary") and physical.meta == present.octets
    if code == wire.STRING:
        return kind in ("char", "binary") and physical.size == present.octets
    if code == wire.BLOB:
        blob = _BLOBS.get(physical.meta, "")
        return kind in (blob, blob.replace("blob", "text")) or (kind == "json" and blob == "longblob")
    if code == wire.JSON:
        return kind == "json"
    return code == wire.GEOMETRY and kind in GEOMETRIES and physical.geometry in (None, kind)


def _same_size(physical: WireColumn, present: MySqlColumn) -> bool:
    match present.data_type:
        case "decimal":
            return physical.meta == present.precision << 8 | present.scale
        case "bit":
            return physical.meta == present.length
        case "datetime" | "timestamp" | "time":
            # The types of before 5.6 have no fraction.
            return physical.meta == present.fsp
        case "enum":
            return physical.size == (1 if len(present.labels) < 256 else 2)
        case "set":
            size = (len(present.labels) + 7) // 8
            return physical.size == (8 if size > 4 else size)
        case _:
            return True


def _labels(physical: WireColumn, charsets: Charsets) -> tuple[str, ...]:
    charset = "utf8mb4" if physical.collation is None else charsets.of_collation(physical.collation)
    return tuple(charsets.text(charset, label) for label in physical.labels or ())


def from_metadata(physical: WireColumn, charsets: Charsets, policies: Policies = DEFAULT) -> MySqlColumn | None:
    """The column in the event's own words; None without the metadata that its type needs."""
    code = physical.code
    charset = ""
    if physical.collation is not None and physical.collation != _BINARY:
        charset = charsets.of_collation(physical.collation)
    data_type = _CODES.get(code, "")
    if code in (wire.VARCHAR, wire.VAR_STRING):
        data_type = "varchar" if charset else "varbinary"
    elif code == wire.STRING:
        data_type = "char" if charset else "binary"
    elif code == wire.BLOB:
        data_type = _BLOBS.get(physical.meta, "")
        data_type = data_type.replace("blob", "text") if charset else data_type
    elif code == wire.GEOMETRY:
        data_type = physical.geometry or "geometry"
    needs_collation = data_type in TEXTS | BINARIES | {"enum", "set"}
    if needs_collation and physical.collation is None:
        return None
    octets = {"tiny": 255, "blob": 65_535, "text": 65_535, "medi": 2**24 - 1, "long": 2**32 - 1}.get(data_type[:4], physical.size)
    length = physical.meta if code == wire.BIT else octets // charsets.width(charset) if charset and code != wire.BLOB else octets
    return make_column(
        physical.name or "",
        data_type,
        nullable=physical.nullable,
        unsigned=bool(physical.unsigned) and data_type != "year",
        charset=charset,
        labels=_labels(physical, charsets),
        length=length,
        octets=octets,
        precision=physical.meta >> 8 if code == wire.NEWDECIMAL else 0,
        scale=physical.meta & 0xFF if code == wire.NEWDECIMAL else 0,
        fsp=physical.meta if code in (wire.TIME2, wire.DATETIME2, wire.TIMESTAMP2) else 0,
        policies=policies,
    )
