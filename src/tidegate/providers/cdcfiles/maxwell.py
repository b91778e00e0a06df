"""Maxwell's JSON. By Maxwell's documentation, "Data Format" and "Reference", and the output that its own tests expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tidegate.changes.schema import TableName
from tidegate.providers.cdcfiles import values as v
from tidegate.providers.cdcfiles.records import (
    AFTER,
    BEFORE,
    DELETE,
    INSERT,
    LAST,
    Broken,
    Place,
    Record,
    Refused,
    Shape,
    Tables,
    loads,
    moment,
    numbered,
    shape_of,
)
from tidegate.providers.cdcfiles.statements import Effect, effects
from tidegate.providers.cdcfiles.types import GEOMETRIES, MySqlType

_DDL = frozenset(("table-create", "table-alter", "table-drop", "database-create", "database-alter", "database-drop"))


class Maxwell:
    """The format ``maxwell``."""

    name = "maxwell"

    def __init__(self, tables: Tables, connection: str) -> None:
        self._tables = tables
        self._connection = connection
        self._shapes: dict[tuple[Any, ...], Shape] = {}

    def parse(self, line: bytes) -> Record:
        message = loads(line)
        if not isinstance(message, dict) or "type" not in message:
            raise Broken("not a message of Maxwell's")
        kind = message["type"]
        schema, name = message.get("database"), message.get("table")
        if kind in _DDL:
            return Record(place=_place(message), happenings=self._statement(message, kind, schema or "", name or ""))
        if kind in ("bootstrap-start", "bootstrap-complete", "heartbeat"):
            return Record()
        if kind not in ("insert", "update", "delete", "bootstrap-insert"):
            raise Refused(f"a message of the unknown type {kind!r}")
        xid = message.get("xid")
        record = Record(
            place=_place(message),
            transaction=xid,
            ends=xid is None or bool(message.get("commit")),
            time=_milliseconds(message.get("ts")),
        )
        table = record.table = self._tables.find(schema, name)
        if table is None:
            return record
        data = message.get("data")
        if not isinstance(data, dict):
            raise Refused(f"{kind} without its row")
        if kind == "update":
            record.rows = [(BEFORE, {**data, **(message.get("old") or {})}), (AFTER, data)]
        else:
            record.rows = [(DELETE if kind == "delete" else INSERT, data)]
        record.shape = self._shape(table, message, data)
        return record

    def _statement(self, message: dict[str, Any], kind: str, schema: str, name: str) -> Any:
        if not name and kind != "database-drop":
            return []
        sql = message.get("sql")
        named = TableName(schema, name)
        if sql:
            return self._tables.happen(effects(sql, schema, named))
        return [] if kind == "table-create" else self._tables.happen([Effect(named, "broken", kind)])

    def _shape(self, table: TableName, message: dict[str, Any], data: dict[str, Any]) -> Shape:
        keys = tuple(message.get("primary_key_columns") or ())
        cache = (table, message.get("database"), keys, self._tables.version)
        if cache in self._shapes:
            return self._shapes[cache]
        declared = self._tables.declaration(table, message.get("database"), message.get("table"))
        if declared is None:
            what = f"Maxwell doesn't say what the columns of {table} ({', '.join(data)}) hold"
            raise Refused(what, "ddl")
        known = {column.name: column for column in declared.schema(table, self._connection).columns}
        columns = [(known[item.name], reader(item.type, self._tables.hints)) for item in declared.columns]
        shape = self._shapes[cache] = shape_of(table, columns, declared.key or keys, self._connection)
        return shape


def _place(message: dict[str, Any]) -> Place | None:
    """By the log's position where Maxwell was told to write it, else by GTID; rows that share either are counted without xoffset.

    Not by ``xid``: a server numbers transactions as they begin and logs them as they commit.
    """
    committed = _milliseconds(message.get("ts"))
    row = message.get("xoffset")
    if message.get("commit"):
        row = LAST  # it has no xoffset, and comes after all that have one
    own: tuple[int, ...] = (row,) if isinstance(row, int) else ()
    position = message.get("position")
    if isinstance(position, str):
        file, _, offset = position.rpartition(":")
        base, _, number = file.rpartition(".")
        if number.isdigit() and offset.isdigit():
            log = (base, int(number), int(offset))
            return Place(f"log {base}", (*log[1:], *own), not own, log, ends=True, committed=committed)
    epoch, at = numbered(message.get("gtid"), "")
    return Place(epoch, (*at, *own), not own, ends=True, committed=committed) if at else None


def _milliseconds(time: Any) -> int | None:
    """Rows have seconds, statements milliseconds."""
    return moment(time * 1000 if isinstance(time, int) and time < 10**11 else time)


def reader(kind: MySqlType, hints: v.Hints) -> v.Reader:
    """The reader of a type by Maxwell's writing: bytes in base64, documents and sets as such."""
    if kind.base == "json":
        return v.json_texts
    if kind.base in GEOMETRIES:
        return _no_geometry
    return v.plain(kind, hints, v.binaries("base64"))


def _no_geometry(values: Sequence[Any]) -> pa.Array:
    if any(value is not None for value in values):
        raise ValueError("a geometry as Maxwell writes it has lost its SRID")
    return pa.nulls(len(values), pa.binary())
