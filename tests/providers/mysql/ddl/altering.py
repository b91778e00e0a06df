"""Running DDL on a server, and holding what tidegate says of it against what the server made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pymysql

from tests.providers.mysql.reading import NAME, Database, one_route, rows
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.providers.mysql.binlog.query import Query
from tidegate.providers.mysql.ddl.altered import Altered, Dialect
from tidegate.providers.mysql.ddl.collations import read_collations
from tidegate.providers.mysql.ddl.history import Effect, SchemaHistory
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.types import read_table
from tidegate.sync.protocols import Limits


class Followed:
    """A table with rows, and the history that is told of every statement that the server took."""

    def __init__(self, db: Database, create: str, *inserts: str) -> None:
        db.execute("SET SESSION sql_mode = ''", create, *inserts)
        self.db = db
        self.name = db.table("t")
        self.session = Session(db.source()._values, NAME)
        collations = read_collations(self.session)
        self.server = Dialect(collations, self.session.server().mariadb)
        self.history = SchemaHistory(lambda: self.server)
        self.again()

    def again(self, *statements: str) -> None:
        """Begin anew; with statements, with the table that they make."""
        if statements:
            self.db.execute("SET SESSION sql_mode = ''", "DROP TABLE IF EXISTS t", *statements)
        self.table = read_table(self.session, self.name)
        self.rows = self.read()

    def close(self) -> None:
        self.session.close()

    def read(self) -> Any:
        start = SnapshotPosition(BinlogPosition("binlog.000001", 4, "any"))
        return rows(
            list(copy(one_route(self.session, PyMySqlRoute(self.session)), read_table(self.session, self.name), start, Limits()))
        )

    def effects(self, text: str) -> list[Effect]:
        return self.history.effects(Query(self.db.name, text), {self.table.where: self.table})

    def run(self, text: str) -> list[Effect] | None:
        """Run a statement, and return what the history makes of it; None if the server refuses it."""
        try:
            self.db.execute("SET SESSION sql_mode = ''", text)
        except pymysql.err.Error:
            return None
        return self.effects(text)

    def check(self, text: str, effects: list[Effect]) -> None:
        """What was said must be what is: the columns, and every value of every row. A broken table is begun anew."""
        now, held = read_table(self.session, self.name), self.read()
        (effect,) = effects or [Altered(self.table)]
        if isinstance(effect, Altered):
            assert effect.table.columns == now.columns, text
            assert effect.table == replace(now, collation=effect.table.collation and now.collation), text
            renamed = dict(effect.renamed)
            added = {item.column.name for item in effect.added}
            gone = [name for name in self.table.schema.names if renamed.get(name, name) not in set(now.schema.names) - added]
            assert sorted(effect.dropped) == sorted(gone), text
            stayed = {renamed.get(name, name): name for name in self.table.schema.names if name not in effect.dropped}
            for item in effect.added:
                expected = [None if item.value is None else item.value.as_py()] * held.num_rows
                assert held.column(item.column.name).to_pylist() == expected, (text, item.column)
            for new, old in stayed.items():
                before, after = self.rows.column(old), held.column(new)
                assert before.cast(after.type).equals(after), (text, new)
                assert (before.type == after.type) or new in effect.changed, (text, new)
        self.table, self.rows = now, held
