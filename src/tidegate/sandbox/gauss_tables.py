"""What the rewriting needs to know of a table, asked in the client's session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.sandbox.dialect import Lookup
from tidegate.sandbox.sqltext import identifier

_TABLE = "SELECT c.oid, c.relkind FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)"
_UNIQUE = """
SELECT i.indexrelid, a.attname, i.indisprimary, i.indimmediate, i.indpred IS NOT NULL OR i.indexprs IS NOT NULL
FROM pg_catalog.pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
LEFT JOIN LATERAL (SELECT n.attname FROM pg_catalog.pg_attribute n WHERE n.attrelid = $1::oid AND n.attnum = k.attnum) a ON true
WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND k.place <= i.indnkeyatts
ORDER BY i.indisprimary DESC, i.indexrelid, k.place
"""
_DISTRIBUTION = """
SELECT a.attname FROM tidegate_sandbox.pgxc_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.pcrelid AND a.attnum = ANY (c.pcattnum)
WHERE c.pcrelid = pg_catalog.to_regclass($1) AND c.pclocatortype = 'H'
"""


@dataclass(frozen=True)
class Unique:
    """A unique index. ``plain``: on columns only, of all rows; ``immediate``: not deferrable."""

    columns: tuple[str, ...]
    immediate: bool
    plain: bool


@dataclass(frozen=True)
class Table:
    """A table and its unique indexes, the primary key first. ``kind`` is pg_class.relkind."""

    kind: str
    unique: tuple[Unique, ...]

    @property
    def keys(self) -> frozenset[str]:
        """The columns of all unique indexes."""
        return frozenset(column for index in self.unique for column in index.columns)


def table(parts: Sequence[str], catalog: Lookup) -> Table | None:
    """The table of this name, or None: then upstream has the words for it."""
    found = catalog.rows(_TABLE, [_name(parts)])
    if not found:
        return None
    oid, kind = found[0]
    indexes: dict[str | None, list[tuple[str | None, ...]]] = {}
    for index, *rest in catalog.rows(_UNIQUE, [oid]):
        indexes.setdefault(index, []).append(tuple(rest))
    unique = tuple(
        Unique(tuple(str(row[0]) for row in rows if row[0] is not None), rows[0][2] == "t", rows[0][3] == "f")
        for rows in indexes.values()
    )
    return Table(str(kind), unique)


def distribution(parts: Sequence[str], catalog: Lookup) -> frozenset[str]:
    """The columns that say on which node a row is; none for a replicated table."""
    return frozenset(str(row[0]) for row in catalog.rows(_DISTRIBUTION, [_name(parts)]))


def _name(parts: Sequence[str]) -> str:
    return ".".join(identifier(part) for part in parts)
