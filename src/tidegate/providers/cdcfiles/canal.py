"""Canal's flat messages, and Flink CDC's canal-json, whose values are native JSON.

By ``com.alibaba.otter.canal.protocol.FlatMessage`` and what Canal's parser makes of each type (``RowsLogBuffer``,
``LogEventConvert``): all values are texts, ENUM and SET are numbers, bytes are ISO-8859-1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tidegate.changes.schema import Column, TableName
from tidegate.providers.cdcfiles import values as v
from tidegate.providers.cdcfiles.records import (
    AFTER,
    BEFORE,
    DELETE,
    INSERT,
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
from tidegate.providers.cdcfiles.types import MySqlType, parse_type

_NO_CHANGE = frozenset(("CREATE", "CINDEX", "DINDEX", "QUERY"))


class Canal:
    """The format ``canal``."""

    name = "canal"

    def __init__(self, tables: Tables, connection: str) -> None:
        self._tables = tables
        self._connection = connection
        self._shapes: dict[tuple[Any, ...], Shape] = {}

    def parse(self, line: bytes) -> Record:
        message = loads(line)
        if not isinstance(message, dict) or "type" not in message:
            raise Broken("not a message of Canal's")
        kind = message["type"]
        record = Record(time=moment(message.get("es")), place=_place(message))
        schema, name = message.get("database"), message.get("table")
        if message.get("isDdl"):
            record.happenings = self._statement(message, str(kind), schema or "", name or "")
            return record
        if kind not in ("INSERT", "UPDATE", "DELETE"):
            raise Refused(f"a message of the unknown type {kind!r}")
        table = record.table = self._tables.find(schema, name)
        if table is None:
            return record
        data, old = message.get("data"), message.get("old")
        if not isinstance(data, list):
            raise Refused(f"{kind} without rows")
        if not all(isinstance(row, dict) for row in data):
            raise Refused(f"{kind} with a row that isn't an object")
        if kind == "UPDATE" and old is not None:
            if len(old) != len(data):
                raise Refused("rows before and after an UPDATE that don't pair")
            for after, changed in zip(data, old, strict=True):
                record.rows += [(BEFORE, {**after, **(changed or {})}), (AFTER, after)]
        else:
            each = {"INSERT": INSERT, "UPDATE": AFTER, "DELETE": DELETE}[kind]
            record.rows = [(each, row) for row in data]
        if record.rows:
            record.shape = self._shape(table, message)
        return record

    def _statement(self, message: dict[str, Any], kind: str, schema: str, name: str) -> Any:
        sql = message.get("sql")
        named = TableName(schema, name)
        if sql:
            # The message's database is the session's; the statement may name another.
            return self._tables.happen(effects(sql, schema, named))
        if kind in _NO_CHANGE:
            return []
        return self._tables.happen([Effect(named, "truncated" if kind == "TRUNCATE" else "broken", kind)])

    def _shape(self, table: TableName, message: dict[str, Any]) -> Shape:
        types = message.get("mysqlType")
        keys = tuple(message.get("pkNames") or ())
        cache = (table, message.get("database"), tuple(types.items()) if types else None, keys, self._tables.version)
        if cache in self._shapes:
            return self._shapes[cache]
        declared = self._tables.declaration(table, message.get("database"), message.get("table"))
        hints = self._tables.hints
        columns: list[tuple[Column, v.Reader]] = []
        if types:
            nullable = {item.name: item.nullable for item in declared.columns} if declared else {}
            told = declared.types() if declared else {}
            for name, text in types.items():
                kind = _better(parse_type(text), told.get(name))
                column = kind.column(name, nullable=nullable.get(name, name not in keys))
                if column is None:
                    raise Refused(f"column {name} has the type {text}, which has no canonical type", "mysqlType in the message")
                columns.append((column, reader(kind, hints)))
        elif declared is not None:
            known = {column.name: column for column in declared.schema(table, self._connection).columns}
            columns = [(known[item.name], native(item.type, hints)) for item in declared.columns]
        else:
            names = ", ".join(message["data"][0])
            raise Refused(f"the messages of {table} carry no mysqlType, so what its columns ({names}) hold can't be told", "ddl")
        here = {column.name for column, _ in columns}
        key = tuple(name for name in (declared.key if declared and declared.key else keys) if name in here)
        shape = self._shapes[cache] = shape_of(table, columns, key, self._connection)
        return shape


def _better(named: MySqlType, told: MySqlType | None) -> MySqlType:
    """The declared type, if there is one, with the labels that the message has: those that its numbers mean."""
    if told is None:
        return named
    return replace(told, labels=named.labels) if told.base == named.base and named.labels else told


def _place(message: dict[str, Any]) -> Place | None:
    """By the transaction's GTID, else by when and in which batch Canal made the message; several messages may share either."""
    epoch, at = numbered(message.get("gtid"), "")
    committed = message.get("es")
    committed = committed if isinstance(committed, int) else None
    if at:
        return Place(epoch, at, True, committed=committed)
    made, batch = message.get("ts"), message.get("id")
    if isinstance(made, int) and isinstance(batch, int):
        return Place("canal", (made, batch), True, committed=committed)
    return None


def reader(kind: MySqlType, hints: v.Hints) -> v.Reader:
    """The reader of a type by Canal's own writing."""
    if kind.base == "enum" and kind.labels:
        return v.labels(kind.labels)
    if kind.base == "set" and kind.labels:
        return v.masks(kind.labels)
    return v.plain(kind, hints, v.latin1)


def native(kind: MySqlType, hints: v.Hints) -> v.Reader:
    """The reader of a type by Flink CDC's writing: labels as texts, bytes in base64."""
    return v.plain(kind, hints, v.binaries("base64"))
