"""What the server's catalog says about a table: PostgreSQL 9.2's queries, and openGauss's own columns where they are there."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tidegate.changes.schema import TableName
from tidegate.providers.postgres.catalog import Catalog, CatalogTable
from tidegate.providers.postgres.session import Session

_PLACE = (
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s"
)

# 9.2's relkind for every table is 'r'; openGauss says in parttype whether it has partitions ('p') and subpartitions ('s').
_RELATION = """
SELECT c.oid, {kind}, c.reltuples, pg_has_role(c.relowner, 'USAGE'),
       has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
       has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""

_COLUMNS = """
SELECT a.attname, coalesce(b.typname, t.typname), format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typname = 'bpchar' THEN 'bpchar' ELSE format_type(a.atttypid, NULL) END,
       CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END,
       a.attnotnull, a.atthasdef{identity}, {generated}
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd'
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

_UNIQUES = """
SELECT c.relname, i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL,
       ARRAY(SELECT a.attname::text FROM generate_series(0, i.{count} - 1) AS n
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n]),
       i.indisprimary
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s AND i.indisunique
ORDER BY i.indisprimary DESC, c.relname
"""

# PostgreSQL's query without the policies and publications that 9.2 doesn't have.
_USERS = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND f.oid = d.objid
WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = %(oid)s AND a.attname = %(column)s
  AND (d.classid IN ('pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_trigger'::regclass, 'pg_catalog.pg_proc'::regclass)
       OR f.adnum <> d.refobjsubid
       OR (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = d.refobjid AND d.objsubid = 0))
ORDER BY 1
"""

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

    column_users = _USERS

    def __init__(self, there: frozenset[str] = frozenset()) -> None:
        self._there = there
        parted = "pg_class.parttype" in there
        self.relation = _RELATION.format(
            kind="CASE WHEN c.parttype IN ('p', 's') THEN 'p' ELSE c.relkind END" if parted else "c.relkind"
        )
        generated = []
        if "pg_attrdef.adgencol" in there:
            generated.append("coalesce(d.adgencol = 's', false)")
        if "pg_attribute.attgenerated" in there:
            generated.append("a.attgenerated <> ''")
        identity = "pg_attribute.attidentity" in there
        if identity:
            generated.append("a.attidentity = 'a'")
        self.columns = _COLUMNS.format(
            identity=" OR a.attidentity <> ''" if identity else "", generated=" OR ".join(generated) or "false"
        )
        self.uniques = _UNIQUES.format(count="indnkeyatts" if "pg_index.indnkeyatts" in there else "indnatts")

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
