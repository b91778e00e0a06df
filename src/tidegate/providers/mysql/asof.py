"""Tables as they were at a position of the log: from the schema that the ledger keeps with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from tidegate.changes.schema import Column, TableSchema
from tidegate.providers.mysql.types import MySqlColumn, MySqlTable, generated, make_column

Width = Callable[[str], int]
"""The greatest number of bytes of a character of a set."""


def table_as_of(known: TableSchema, now: MySqlTable, width: Width) -> MySqlTable:
    """The table with the columns of ``known``, in their order; what these don't tell is taken from the table as it is now.

    A column whose description is of an older tidegate, and which isn't as it was, is left as it is now: events that don't fit it
    are refused when they come.
    """
    present = {column.name: column for column in now.columns}
    columns = []
    for column in known.columns:
        found = present.get(column.name)
        if found is None or found.column != column:
            found = _described(column, now, width) or found
        if found is None:
            return now
        columns.append(found)
    names = {column.name for column in columns}
    key = now.schema.key if names.issuperset(now.schema.key) else ()
    return replace(now, schema=TableSchema(now.name, tuple(column.column for column in columns), key), columns=tuple(columns))


def _described(column: Column, now: MySqlTable, width: Width) -> MySqlColumn | None:
    """A column from its canonical description alone; None if that doesn't say its type in MySQL's words."""
    about = column.attributes
    kind = about.get("mysql_type")
    if kind is None:
        return None
    charset = about.get("charset", "")
    labels = tuple(json.loads(about["labels"])) if "labels" in about else ()
    length = int(about.get("bits" if kind == "bit" else "length", 0))
    decimal = pa.types.is_decimal(column.type)
    made = make_column(
        column.name,
        kind,
        nullable=column.nullable,
        unsigned=pa.types.is_unsigned_integer(column.type) and kind not in ("bit", "year"),
        charset=charset,
        collation=about.get("collation", ""),
        labels=labels,
        length=length,
        octets=length * (width(charset) if charset else 1),
        precision=column.type.precision if decimal else 0,
        scale=column.type.scale if decimal else 0,
        fsp=int(about.get("fsp", 0)),
        display_width=int(about["display_width"]) if "display_width" in about else None,
        policies=now.policies_of(column.name),
    )
    return generated(made) if made is not None and "generated" in about else made
