"""What the server's catalog says about a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.changes.schema import TableName
from tidegate.errors import SchemaError
from tidegate.providers.postgres import belongings
from tidegate.providers.postgres.belongings import Belongings, ColumnSettings, Grant, Index
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.types import PgColumn


def relation_query(kind: str = "c.relkind") -> str:
    """A table's oid, kind, rows and rights. ``kind``: what it is by pg_class ``c``: p with partitions, f if foreign, v, m or r."""
    return f"""
SELECT c.oid, {kind}, c.reltuples, pg_has_role(c.relowner, 'USAGE'),
       has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
       has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""


def columns_query(generated: Sequence[str], *, identity: bool) -> str:
    """A table's columns by its oid; a domain is taken for the type that it restricts.

    ``generated``: conditions over pg_attribute ``a``, any of which says that nobody may write the column. ``identity``: whether the
    server knows identity columns (PostgreSQL 10 on).
    """
    return f"""
SELECT a.attname, coalesce(b.typname, t.typname), format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typname = 'bpchar' THEN 'bpchar' ELSE format_type(a.atttypid, NULL) END,
       CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END,
       a.attnotnull, {"a.atthasdef OR a.attidentity <> ''" if identity else "a.atthasdef"}, {" OR ".join(generated) or "false"}
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd'
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


def uniques_query(*, included: bool = True) -> str:
    """A table's unique indexes by its oid. ``included``: an index may have columns besides its key (PostgreSQL 11 on)."""
    key = "pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
    if included:
        key = """generate_series(0, i.indnkeyatts - 1) AS n
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n]"""
    return f"""
SELECT c.relname, i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL,
       ARRAY(SELECT a.attname::text FROM {key}),
       i.indisprimary
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s AND i.indisunique
ORDER BY i.indisprimary DESC, c.relname
"""


_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


@dataclass(frozen=True, slots=True)
class Unique:
    """A unique index."""

    name: str
    columns: frozenset[str]
    whole: bool
    """It holds for every row, by plain columns, at once: ON CONFLICT can name it."""
    primary: bool


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """A table that exists."""

    name: TableName
    partitioned: bool
    rows: int | None
    """The server's estimate."""
    owned: bool
    """Whether the account may alter it."""
    rights: frozenset[str]
    columns: tuple[PgColumn, ...]
    uniques: tuple[Unique, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> PgColumn | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The primary key's columns in the table's order; empty if it has none."""
        key = next((unique.columns for unique in self.uniques if unique.primary), frozenset[str]())
        return tuple(name for name in self.names if name in key)

    def key_index(self, key: tuple[str, ...]) -> Unique | None:
        """The unique index over exactly the key, by which ON CONFLICT can find a row."""
        return next((unique for unique in self.uniques if unique.whole and unique.columns == set(key)), None)

    def other_uniques(self, key: tuple[str, ...]) -> tuple[Unique, ...]:
        """Unique indexes that two rows with different keys can violate."""
        return tuple(unique for unique in self.uniques if not unique.columns >= set(key))


class Catalog:
    """Reads the catalog. A system of PostgreSQL's family whose catalog differs overrides the queries."""

    relation, uniques = relation_query(), uniques_query()
    columns = columns_query(["a.attgenerated <> ''", "a.attidentity = 'a'"], identity=True)
    column_users = belongings.users_query(*belongings.USERS, "pg_policy", "pg_publication_rel")
    owned_table, grants, column_settings = belongings.TABLE, belongings.GRANTS, belongings.COLUMNS
    indexes, definition, obstacles = belongings.INDEXES, belongings.DEFINITION, belongings.OBSTACLES

    def table(self, session: Session, table: TableName) -> CatalogTable | None:
        """The table; None if there is none. SchemaError if the name is that of a view or a foreign table."""
        found = session.rows(self.relation, (table.schema, table.name))
        if not found:
            return None
        oid, kind, rows, owned, *rights = found[0]
        if kind in _KINDS:
            raise SchemaError(f"is {_KINDS[kind]}; rows are written to tables", connection=session.name, table=table)
        return CatalogTable(
            name=table,
            partitioned=kind == "p",
            rows=int(rows) if rows >= 0 else None,
            owned=owned,
            rights=frozenset(right for right, has in zip(("SELECT", "INSERT", "UPDATE", "DELETE"), rights, strict=True) if has),
            columns=tuple(PgColumn(*row) for row in session.rows(self.columns, (oid,))),
            uniques=tuple(
                Unique(name, frozenset(names), whole, primary) for name, whole, names, primary in session.rows(self.uniques, (oid,))
            ),
        )

    def comment(self, session: Session, table: TableName) -> tuple[str | None, bool]:
        """The table's comment, and whether there is such a table."""
        rows = session.rows(self.owned_table, {"schema": table.schema, "name": table.name})
        return (rows[0][4], True) if rows else (None, False)

    def belongings(self, session: Session, table: TableName) -> Belongings | None:
        """What the table has besides columns and rows; None if there is no such table."""
        found = session.rows(self.owned_table, {"schema": table.schema, "name": table.name})
        if not found:
            return None
        oid, owner, options, toast_options, comment = found[0]
        here = {"oid": oid}
        return Belongings(
            oid=oid,
            owner=owner,
            options=(*options, *toast_options),
            comment=comment,
            grants=tuple(sorted(Grant(*row) for row in session.rows(self.grants, here))),
            columns=tuple(
                ColumnSettings(name, statistics, tuple(options), comment)
                for name, statistics, options, comment in session.rows(self.column_settings, here)
            ),
            indexes=tuple(
                Index(name, primary, unique, belongings.rest_of_index(text, head, names), *more)
                for name, primary, unique, text, head, names, *more in session.rows(self.indexes, here)
            ),
            definition="\n".join(row[0] for row in session.rows(self.definition, here)),
        )

    def in_the_way(self, session: Session, table: TableName) -> tuple[str, ...]:
        """What the table has, or what depends on it, that no other table can take over from it, in the server's words."""
        found = session.rows(self.owned_table, {"schema": table.schema, "name": table.name})
        params = {"oid": found[0][0], "schema": table.schema, "name": table.name} if found else None
        return tuple(row[0] for row in session.rows(self.obstacles, params)) if params else ()

    def users(self, session: Session, table: TableName, column: str) -> tuple[str, ...]:
        """What depends on a column of the table and keeps it from being given another type."""
        found = session.rows(self.owned_table, {"schema": table.schema, "name": table.name})
        return tuple(row[0] for row in session.rows(self.column_users, {"oid": found[0][0], "column": column})) if found else ()

    def may_create(self, session: Session, schema: str) -> bool | None:
        """Whether the account may create tables in the schema; None if there is no such schema."""
        may: bool | None = session.value(
            "SELECT has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = %s", (schema,)
        )
        return may

    def may_create_schema(self, session: Session) -> bool:
        return bool(session.value("SELECT has_database_privilege(current_database(), 'CREATE')"))
