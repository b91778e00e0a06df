"""What the server's catalog says about a table: PostgreSQL 9.2's queries, and openGauss's own columns where they are there."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tidegate.changes.schema import TableName
from tidegate.providers.postgres.belongings import USERS, users_query
from tidegate.providers.postgres.catalog import Catalog, CatalogTable, columns_query, relation_query, uniques_query
from tidegate.providers.postgres.session import Session

_PLACE = (
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s"
)

# 9.2's relkind for every table is 'r'; openGauss says in parttype whether it has partitions ('p') and subpartitions ('s').
_KIND = "CASE WHEN c.parttype IN ('p', 's') THEN 'p' ELSE c.relkind END"

_GENERATED = """EXISTS (
         SELECT 1 FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND d.adgencol = 's')"""

# PG_PARTITION: the table's own line ('r') has the partition key, its partitions' lines ('p') the key of the subpartitions.
_PARTITION_KEY = f"""
SELECT DISTINCT a.attname
FROM pg_partition p JOIN pg_catalog.pg_attribute a ON a.attrelid = p.parentid
WHERE p.parentid = (SELECT c.oid {_PLACE}) AND p.parttype IN ('r', 'p')
  AND a.attnum > 0 AND a.attnum::text = ANY (string_to_array(CAST(p.partkey AS text), ' '))
"""

# PGXC_CLASS: of a distributed system's tables, empty elsewhere.
_DISTRIBUTION_KEY = f"""
SELECT a.attname
FROM pgxc_class x JOIN pg_catalog.pg_attribute a ON a.attrelid = x.pcrelid
WHERE x.pcrelid = (SELECT c.oid {_PLACE})
  AND a.attnum > 0 AND a.attnum::text = ANY (string_to_array(CAST(x.pcattnum AS text), ' '))
"""

_TRIGGERS = f"""
SELECT t.tgname FROM pg_catalog.pg_trigger t WHERE t.tgrelid = (SELECT c.oid {_PLACE}) AND NOT t.tgisinternal ORDER BY 1
"""

_ORIENTATION = f"SELECT coalesce(array_to_string(c.reloptions, ','), '') LIKE '%%orientation=column%%' {_PLACE}"


@dataclass(frozen=True, slots=True)
class GaussdbTable(CatalogTable):
    """A table with what openGauss adds."""

    partition_key: frozenset[str] = frozenset()
    distribution_key: frozenset[str] = frozenset()
    columnar: bool = False
    """Stored by columns: ON DUPLICATE KEY UPDATE is refused."""
    triggers: tuple[str, ...] = ()
    """The triggers that somebody made."""

    @property
    def fixed(self) -> frozenset[str]:
        """Columns that no UPDATE may set: a row's place follows from them."""
        return self.partition_key | self.distribution_key


class GaussdbCatalog(Catalog):
    """Reads the catalog. ``there``: those of :data:`tidegate.providers.gaussdb.probe.CATALOG` that the server has."""

    # 9.2 has neither policies nor publications.
    column_users = users_query(*USERS)

    def __init__(self, there: frozenset[str] = frozenset()) -> None:
        self._there = there
        if "pg_class.parttype" in there:
            self.relation = relation_query(_KIND)
        conditions = {
            "pg_attrdef.adgencol": _GENERATED,
            "pg_attribute.attgenerated": "a.attgenerated <> ''",
            "pg_attribute.attidentity": "a.attidentity = 'a'",
        }
        generated = [condition for column, condition in conditions.items() if column in there]
        self.columns = columns_query(generated, identity="pg_attribute.attidentity" in there)
        self.uniques = uniques_query(included="pg_index.indnkeyatts" in there)

    def table(self, session: Session, table: TableName) -> GaussdbTable | None:
        found = super().table(session, table)
        if found is None:
            return None
        place = (table.schema, table.name)
        return GaussdbTable(
            **{item.name: getattr(found, item.name) for item in fields(CatalogTable)},
            partition_key=self.partition_key(session, table),
            distribution_key=self._names(session, "pgxc_class.pcattnum", _DISTRIBUTION_KEY, place),
            columnar=bool(session.value(_ORIENTATION, place)),
            triggers=self.triggers(session, table),
        )

    def triggers(self, session: Session, table: TableName) -> tuple[str, ...]:
        """The table's triggers but for those of its foreign keys."""
        return tuple(row[0] for row in session.rows(_TRIGGERS, (table.schema, table.name)))

    def partition_key(self, session: Session, table: TableName) -> frozenset[str]:
        """The columns that decide in which partition, or subpartition, a row is."""
        return self._names(session, "pg_partition.partkey", _PARTITION_KEY, (table.schema, table.name))

    def _names(self, session: Session, needs: str, query: str, place: tuple[str, str]) -> frozenset[str]:
        return frozenset(row[0] for row in session.rows(query, place)) if needs in self._there else frozenset()
