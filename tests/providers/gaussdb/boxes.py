"""GaussDB's statements on a real PostgreSQL: each way of merging is forced, and respelled where PostgreSQL's clause differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.providers.postgres.conftest import Box
from tests.servers import PostgresServer
from tidegate.changes.schema import TableName
from tidegate.providers.gaussdb.catalog import GaussdbCatalog
from tidegate.providers.gaussdb.connection import SYSTEM
from tidegate.providers.gaussdb.probe import Feature, Server
from tidegate.providers.gaussdb.sink import GaussdbSink, dialect_of
from tidegate.providers.gaussdb.sql import GaussdbSql
from tidegate.providers.gaussdb.strategy import Way
from tidegate.providers.postgres.dialect import Dialect
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.sql import Put

FEATURES: dict[Way, frozenset[Feature]] = {
    "odku": frozenset(("odku", "odku_nothing", "odku_where", "merge")),
    "merge": frozenset(("merge",)),
    "two": frozenset(),
}
"""What a server knows that takes each way."""


def server(way: Way = "odku", **more: Any) -> Server:
    catalog = frozenset(("pg_attribute.attidentity", "pg_attribute.attgenerated", "pg_index.indnkeyatts"))
    return Server("openGauss 6.0.0", **({"compatibility": "PG", "features": FEATURES[way], "catalog": catalog} | more))


class Respelled(GaussdbSql):
    """The same statements in PostgreSQL 15's spelling."""

    def upsert(self, put: Put) -> str:
        head, _, action = super().upsert(put).partition(" ON DUPLICATE KEY UPDATE ")
        return f"{head} ON CONFLICT ({self.names(put.key)}) DO " + ("NOTHING" if action == "NOTHING" else f"UPDATE SET {action}")

    def matched(self, sets: str, condition: str) -> str:
        return f"WHEN MATCHED {f'AND {condition} ' if condition else ''}THEN UPDATE SET {sets} "


class PartitionKeys(GaussdbCatalog):
    """Knows which columns of the test's tables would be partition keys."""

    def partition_key(self, session: Session, table: TableName) -> frozenset[str]:
        return frozenset(("region", "b")) if table.name == "fixed" else frozenset()

    def triggers(self, session: Session, table: TableName) -> tuple[str, ...]:
        """The trigger of that table is the stand-in for the server, which refuses to set the column."""
        return () if table.name == "fixed" else super().triggers(session, table)


class ForcedSink(GaussdbSink):
    """A sink that takes the server for what a test says it is."""

    forced: Server = server()

    def dialect(self, session: Session) -> Dialect:
        if self._server_dialect is None:
            self._server = self.forced
            known = dialect_of(self.forced, self._values["empty_string"])
            self._server_dialect = replace(known, sql=Respelled(), catalog=PartitionKeys(self.forced.catalog))
        return super().dialect(session)


class GaussdbBox(Box):
    """A database with a sink on it that takes one way of merging."""

    sink: ForcedSink

    def __init__(self, server: PostgresServer, forced: Server, **values: Any) -> None:
        self.forced, self.values = forced, values
        super().__init__(server)

    def open(self, **values: Any) -> ForcedSink:
        sink = ForcedSink(SYSTEM.values(self.server.values(**self.values, **values), "warehouse"), "warehouse")
        sink.forced = self.forced
        return sink
