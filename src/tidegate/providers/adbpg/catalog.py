"""What the catalog says about a table: where its rows lie besides, and in words that Greenplum 6 (PostgreSQL 9.4) has, too."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from tidegate.changes.schema import TableName
from tidegate.providers.adbpg.probe import Server
from tidegate.providers.postgres.belongings import USERS, users_query
from tidegate.providers.postgres.catalog import Catalog, CatalogTable, columns_query, relation_query, uniques_query
from tidegate.providers.postgres.session import Session

# Up to Greenplum 6 an external table is an ordinary one without storage, and so is a partitioned one with an entry elsewhere.
_KIND_6 = """CASE WHEN c.relstorage = 'x' THEN 'f'
            WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_partition p WHERE p.parrelid = c.oid) THEN 'p'
            ELSE c.relkind::text END"""

_OID = """
SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""

_NAMES = "SELECT a.attnum, a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped"

# Of the table and its partitions.
_TREE = """
WITH RECURSIVE tree AS (
  SELECT %s::oid AS oid UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree t ON t.oid = i.inhparent
)
"""
_STORAGE_6 = _TREE + "SELECT DISTINCT c.relstorage::text FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid"
_STORAGE = (
    _TREE
    + "SELECT DISTINCT coalesce(m.amname::text, '') FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind <> 'p' "
    "LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam"
)


@dataclass(frozen=True, slots=True)
class AdbpgTable(CatalogTable):
    """A table that exists, and where its rows lie."""

    distribution: tuple[str, ...] = ()
    """The distribution key in its order; empty if rows lie at random, everywhere, or aren't distributed."""
    heap: bool = True
    """Whether all its rows lie in heap storage: no other has unique indexes, or COPY … ON CONFLICT."""


class AdbpgCatalog(Catalog):
    """The catalog of Greenplum 6 and 7, and of plain PostgreSQL."""

    def __init__(self, server: Server) -> None:
        self._server = server
        if server.relstorage and server.partition_catalog:
            self.relation = relation_query(_KIND_6)
        if server.postgres < (12, 0):
            # Greenplum 6 is PostgreSQL 9.4: neither identity nor generated columns, policies nor publications.
            self.columns, self.uniques = columns_query([], identity=False), uniques_query(included=False)
            self.column_users = users_query(*USERS, partition_key=False)

    def table(self, session: Session, table: TableName) -> AdbpgTable | None:
        """The table; None if there is none. SchemaError if the name is that of a view or an external table."""
        found = super().table(session, table)
        if found is None:
            return None
        oid = session.value(_OID, (table.schema, table.name))
        storage = session.rows(_STORAGE_6 if self._server.relstorage else _STORAGE, (oid,))
        return AdbpgTable(
            **{item.name: getattr(found, item.name) for item in fields(CatalogTable)},
            distribution=self._distribution(session, oid),
            heap=set(storage) <= {("h",) if self._server.relstorage else ("heap",)},
        )

    def _distribution(self, session: Session, oid: int) -> tuple[str, ...]:
        if not self._server.policies:
            return ()
        # An int2vector, as '2 1'. Greenplum 6 on: 4.3, with another column, has no ON CONFLICT and isn't supported.
        key = session.value("SELECT distkey::text FROM gp_distribution_policy WHERE localoid = %s", (oid,))
        names = dict(session.rows(_NAMES, (oid,)))
        return tuple(names[int(number)] for number in re.findall(r"\d+", key or ""))

    def users(self, session: Session, table: TableName, column: str) -> tuple[str, ...]:
        """What keeps a column from being given another type; its place in the distribution key does."""
        found = super().users(session, table, column)
        oid = session.value(_OID, (table.schema, table.name))
        return (*found, "its place in the distribution key") if oid and column in self._distribution(session, oid) else found
