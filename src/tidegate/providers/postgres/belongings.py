"""What belongs to a table besides its columns and rows: the catalog's answers, and the queries that ask for it."""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
SELECT c.oid, pg_get_userbyid(c.relowner), coalesce(c.reloptions, '{}'),
       ARRAY(SELECT 'toast.' || o FROM pg_catalog.pg_class t, unnest(t.reloptions) AS o WHERE t.oid = c.reltoastrelid),
       obj_description(c.oid, 'pg_class')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND c.relkind IN ('r', 'p')
"""

# Without an entry the owner has every right and nobody else any.
GRANTS = """
SELECT '' AS "column", CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
FROM pg_catalog.pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a
WHERE c.oid = %(oid)s
UNION ALL
SELECT t.attname, CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
FROM pg_catalog.pg_attribute t, aclexplode(t.attacl) AS a
WHERE t.attrelid = %(oid)s AND NOT t.attisdropped
ORDER BY 1, 2, 3, 4
"""

COLUMNS = """
SELECT a.attname, coalesce(a.attstattarget, -1), coalesce(a.attoptions, '{}'), col_description(a.attrelid, a.attnum)
FROM pg_catalog.pg_attribute a WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

# The definition, and what it begins with: the table is named in short where the search path finds it.
INDEXES = """
SELECT x.relname, i.indisprimary, i.indisunique, pg_get_indexdef(x.oid),
       CASE WHEN i.indisunique THEN 'CREATE UNIQUE INDEX ' ELSE 'CREATE INDEX ' END || quote_ident(x.relname) || ' ON '
         || CASE WHEN x.relkind = 'I' THEN 'ONLY ' ELSE '' END,
       ARRAY[quote_ident(t.relname) || ' ', quote_ident(n.nspname) || '.' || quote_ident(t.relname) || ' '],
       CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' ELSE '' END,
       CASE WHEN k.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END,
       obj_description(x.oid, 'pg_class'), obj_description(k.oid, 'pg_constraint')
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.oid AND k.conrelid = t.oid AND k.contype IN ('p', 'u')
WHERE i.indrelid = %(oid)s
ORDER BY x.relname
"""

DEFINITION = """
SELECT concat_ws(' ', 'column', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, a.attcollation,
                 a.attstorage, pg_get_expr(d.adbin, d.adrelid))
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT concat_ws(' ', 'constraint', k.conname, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint'))
FROM pg_catalog.pg_constraint k WHERE k.conrelid = %(oid)s AND k.contype = 'c'
ORDER BY 1
"""

# Everything that depends on the table, or that it depends on, but for what is carried over; then what the catalog keeps elsewhere.
OBSTACLES = """
SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_catalog.pg_depend d
LEFT JOIN pg_catalog.pg_class x ON d.classid = 'pg_catalog.pg_class'::regclass AND x.oid = d.objid
LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid
WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = %(oid)s
  AND d.classid NOT IN ('pg_catalog.pg_attrdef'::regclass, 'pg_catalog.pg_publication_rel'::regclass)
  AND (x.oid IS NULL OR (x.oid <> d.refobjid AND x.relkind NOT IN ('i', 't')))
  AND (k.oid IS NULL OR k.conrelid <> d.refobjid OR k.contype NOT IN ('p', 'u', 'c', 'n'))
  AND NOT (d.classid = 'pg_catalog.pg_type'::regclass AND d.deptype = 'i')
UNION
SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)
WHERE t.typrelid = %(oid)s AND NOT (d.classid = 'pg_catalog.pg_type'::regclass AND d.deptype = 'i')
UNION
SELECT pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
FROM pg_catalog.pg_depend d
WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = %(oid)s AND d.objsubid = 0
  AND d.refclassid <> 'pg_catalog.pg_namespace'::regclass AND NOT (d.refclassid = d.classid AND d.refobjid = d.objid)
UNION
SELECT 'publication ' || p.pubname
FROM pg_catalog.pg_publication_tables p WHERE p.schemaname = %(schema)s AND p.tablename = %(name)s
UNION
SELECT 'index ' || x.relname || ' (invalid, clustered, or with a tablespace or statistics of its own)'
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
WHERE i.indrelid = %(oid)s AND (NOT i.indisvalid OR i.indisclustered OR x.reltablespace <> 0 OR EXISTS (
  SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.oid AND coalesce(a.attstattarget, -1) >= 0))
UNION
SELECT 'security label of ' || l.provider
FROM pg_catalog.pg_seclabel l WHERE l.classoid = 'pg_catalog.pg_class'::regclass AND l.objoid = %(oid)s
UNION
SELECT 'grant to ' || pg_get_userbyid(a.grantee) || ' by ' || pg_get_userbyid(a.grantor) || ', who is not the owner'
FROM pg_catalog.pg_class c,
     (SELECT relacl AS acl FROM pg_catalog.pg_class WHERE oid = %(oid)s
      UNION ALL SELECT attacl FROM pg_catalog.pg_attribute WHERE attrelid = %(oid)s AND NOT attisdropped) AS s,
     aclexplode(s.acl) AS a
WHERE c.oid = %(oid)s AND a.grantor <> c.relowner
UNION
SELECT f.what
FROM pg_catalog.pg_class c CROSS JOIN LATERAL (VALUES
  (c.relkind = 'p', 'its partitions'),
  (c.relpersistence <> 'p', 'being UNLOGGED'),
  (c.reltablespace <> 0, 'a tablespace of its own'),
  (c.relrowsecurity OR c.relforcerowsecurity, 'row level security'),
  (c.relreplident <> 'd', 'a replica identity'),
  (c.relam <> (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'heap'), 'an access method of its own')
) AS f (holds, what)
WHERE c.oid = %(oid)s AND f.holds
UNION
SELECT 'owner ' || pg_get_userbyid(c.relowner) || ', to whom the account may not give a table in this schema'
FROM pg_catalog.pg_class c
WHERE c.oid = %(oid)s AND pg_get_userbyid(c.relowner) <> current_user
  AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
  AND NOT (pg_has_role(c.relowner, 'MEMBER') AND has_schema_privilege(c.relowner, c.relnamespace, 'CREATE'))
ORDER BY 1
"""

USERS = ("pg_rewrite", "pg_trigger", "pg_proc")
"""The catalogs of every PostgreSQL whose objects keep a column from being given another type."""


def users_query(*catalogs: str, partition_key: bool = True) -> str:
    """What keeps a column from being given another type: objects of these catalogs, and columns computed from it.

    Indexes, defaults and plain constraints follow it. ``partition_key``: the table itself, too, where it depends on the columns of
    its partition key (PostgreSQL 10 on). A catalog that the server lacks must not be named: a cast to its name would fail.
    """
    kinds = ", ".join(f"'pg_catalog.{catalog}'::regclass" for catalog in catalogs)
    itself = "d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = d.refobjid AND d.objsubid = 0"
    return f"""
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND f.oid = d.objid
WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = %(oid)s AND a.attname = %(column)s
  AND (d.classid IN ({kinds}) OR f.adnum <> d.refobjsubid{f" OR ({itself})" if partition_key else ""})
ORDER BY 1
"""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A right on a table, or on one column of it (empty: the table). ``grantee``: a role; empty for PUBLIC."""

    column: str
    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True)
class ColumnSettings:
    """What was set for a column besides its definition. ``statistics``: its target, -1 for the default."""

    name: str
    statistics: int
    options: tuple[str, ...]
    comment: str | None


@dataclass(frozen=True, slots=True)
class Index:
    """An index. ``rest`` is its definition from USING on; ``constraint`` PRIMARY KEY, UNIQUE or empty."""

    name: str
    primary: bool
    unique: bool
    rest: str
    constraint: str
    deferrable: str
    comment: str | None
    constraint_comment: str | None


@dataclass(frozen=True, slots=True)
class Belongings:
    """What goes over to the table that takes this one's place."""

    oid: int
    owner: str
    options: tuple[str, ...]
    """Storage parameters as ``name=value``, those of the toast table as ``toast.name=value``."""
    comment: str | None
    grants: tuple[Grant, ...]
    columns: tuple[ColumnSettings, ...]
    indexes: tuple[Index, ...]
    definition: str
    """Its columns and CHECK constraints, to see whether they were changed meanwhile."""


def rest_of_index(definition: str, head: str, names: list[str]) -> str:
    """An index definition from USING on. ``head`` is what it begins with, followed by one of ``names``."""
    rest = definition.removeprefix(head)
    for name in names:
        if definition.startswith(head) and rest.startswith(f"{name}USING "):
            return rest.removeprefix(name)
    raise AssertionError(f"an index definition that doesn't begin with {head}")
