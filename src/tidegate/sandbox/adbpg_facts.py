"""What the rewriting of AnalyticDB's statements asks the upstream server about a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.sandbox.dialect import Lookup
from tidegate.sandbox.sqltext import identifier

_FACTS = """
SELECT c.relkind, coalesce(s.storage, 'h'), p.policytype,
       (SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]') FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT coalesce(json_agg(a.attname ORDER BY k.n), '[]') FROM unnest(p.distkey::int2[]) WITH ORDINALITY AS k (attnum, n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum),
       (SELECT coalesce(json_agg(
            (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)
            ORDER BY i.indisprimary DESC, i.indexrelid), '[]')
        FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL),
       (SELECT coalesce(json_agg(a.attname), '[]') FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary)
FROM pg_catalog.pg_class c
LEFT JOIN tidegate_sandbox.storage s ON s.relation = c.oid
LEFT JOIN pg_catalog.gp_distribution_policy p ON p.localoid = c.oid
WHERE c.oid = pg_catalog.to_regclass($1)
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, or something else of that name."""

    kind: str
    """``relkind`` as PostgreSQL 15 has it: r, p (partitioned), v …"""
    storage: str
    """h heap, a append-optimized by row, c by column."""
    policy: str | None
    """p by key or at random, r replicated; None: not a table of a user."""
    columns: tuple[str, ...]
    distributed_by: tuple[str, ...]
    uniques: tuple[tuple[str, ...], ...]
    """The columns of each unique index over plain columns and all rows."""
    primary_key: frozenset[str]


def relation(catalog: Lookup, name: Sequence[str]) -> Relation | None:
    """What there is of that name, as the client's session would find it."""
    found = catalog.rows(_FACTS, [qualified(name)])
    if not found:
        return None
    kind, storage, policy, columns, distributed_by, uniques, primary_key = found[0]
    return Relation(
        kind or "",
        storage or "",
        policy,
        tuple(json.loads(columns or "[]")),
        tuple(json.loads(distributed_by or "[]")),
        tuple(tuple(unique) for unique in json.loads(uniques or "[]")),
        frozenset(json.loads(primary_key or "[]")),
    )


def qualified(name: Sequence[str]) -> str:
    """A name's parts as SQL."""
    return ".".join(map(identifier, name))


def names(columns: Sequence[str], prefix: str = "") -> str:
    """Columns as SQL, comma separated."""
    return ", ".join(prefix + identifier(column) for column in columns)
