"""What the tests of the MySQL source have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tests.servers import MySqlServer
from tidegate.changes.batch import ChangeBatch, Chunk, RowKind
from tidegate.changes.position import Position
from tidegate.changes.schema import TableName
from tidegate.providers.mysql.connection import SYSTEM
from tidegate.providers.mysql.ranges import Routes
from tidegate.providers.mysql.routes import Route
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.source import MysqlSource
from tidegate.sync.protocols import Limits, Window

NAME = "shop_mysql"


class Database:
    """A database of one's own on a server, and sources over it that are closed with it."""

    def __init__(self, server: MySqlServer, name: str) -> None:
        self.server = server
        self.name = name
        self._sources: list[MysqlSource] = []

    def execute(self, *statements: str) -> None:
        connection = self.server.connect(database=self.name)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def rows(self, sql: str, args: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        connection = self.server.connect(database=self.name)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, args or None)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def table(self, name: str) -> TableName:
        return TableName(self.name, name)

    def source(self, **values: Any) -> MysqlSource:
        source = SYSTEM.open_source(self.server.values() | values, NAME)
        assert isinstance(source, MysqlSource)
        self._sources.append(source)
        return source

    def close(self) -> None:
        for source in self._sources:
            source.close()


def copy_chunks(
    source: MysqlSource, table: TableName, limits: Limits | None = None, *, consistent: bool = False, start: Position | None = None
) -> list[Chunk]:
    """A table's whole copy, or the rest of it from ``start``."""
    position = start or source.start([table], consistent=consistent)[table]
    return list(source.read(Window({table: position}, None), limits or Limits()))


def one_route(session: Session, route: Route) -> Routes:
    """A copy over one route alone."""
    return Routes(session, 1, lambda: route)


def changes(source: MysqlSource, after: Mapping[TableName, Position], limits: Limits | None = None) -> list[Chunk]:
    """Everything from ``after`` to the head of the log."""
    return list(source.read(Window(after, source.head()), limits or Limits()))


def batches(chunks: Sequence[Chunk], table: TableName | None = None) -> Iterator[ChangeBatch]:
    for chunk in chunks:
        for batch in chunk.batches:
            if table is None or batch.schema.table == table:
                yield batch


def rows(chunks: Sequence[Chunk], table: TableName | None = None) -> pa.Table:
    """The tables' own columns of all chunks, as one."""
    return pa.concat_tables([batch.rows for batch in batches(chunks, table)])


def events(chunks: Sequence[Chunk], table: TableName | None = None) -> list[tuple[Any, ...]]:
    """``("+I", first column, second column, …)`` of each row."""
    found = []
    for batch in batches(chunks, table):
        for kind, row in zip(batch.kinds, batch.rows.to_pylist(), strict=True):
            found.append((RowKind(int(kind)).short, *row.values()))
    return found


def apply(state: dict[tuple[Any, ...], dict[str, Any]], chunks: Sequence[Chunk], table: TableName | None = None) -> None:
    """Bring a dict by key to the state after the chunks; an insert or update replaces, as an upsert does."""
    for batch in batches(chunks, table):
        key = batch.schema.key
        for kind, row in zip(batch.kinds, batch.rows.to_pylist(), strict=True):
            identity = tuple(row[name] for name in key)
            if kind in (RowKind.INSERT, RowKind.UPDATE_AFTER):
                state[identity] = row
            else:
                state.pop(identity, None)
