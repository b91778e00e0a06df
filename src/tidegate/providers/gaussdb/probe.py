"""What the server is: asked once a sink, by statements that change nothing, since versions and editions differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import PermanentError, PreflightError, SchemaError
from tidegate.providers.postgres.session import Session

Feature = Literal["odku", "odku_nothing", "odku_where", "merge", "on_conflict"]

# A table that isn't there, in every statement: a server that knows the grammar says so (42P01), another that it is a syntax
# error (42601), and neither needs a right or leaves a trace.
_ABSENT = '"tidegate probes the grammar"'
_INSERT = f"INSERT INTO {_ABSENT} (k, v) VALUES (1, 2)"
_GRAMMAR: dict[Feature, str] = {
    "odku": f"{_INSERT} ON DUPLICATE KEY UPDATE v = EXCLUDED.v",
    "odku_nothing": f"{_INSERT} ON DUPLICATE KEY UPDATE NOTHING",
    "odku_where": f"{_INSERT} ON DUPLICATE KEY UPDATE v = EXCLUDED.v WHERE {_ABSENT}.v <= EXCLUDED.v",
    "merge": (
        f"MERGE INTO {_ABSENT} AS t USING {_ABSENT} AS s ON (t.k = s.k) WHEN MATCHED THEN UPDATE SET v = s.v WHERE t.v <= s.v "
        "WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v)"
    ),
    "on_conflict": f"{_INSERT} ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v",
}

# Tables and columns of the catalog that some versions have (PostgreSQL's later ones, openGauss's own).
CATALOG = (
    "pg_attribute.attidentity",
    "pg_attribute.attgenerated",
    "pg_attrdef.adgencol",
    "pg_index.indnkeyatts",
    "pg_class.parttype",
    "pg_partition.partkey",
    "pgxc_class.pcattnum",
)

_VERSION = re.compile(r"\b(openGauss(?:-lite)?|GaussDB Kernel|GaussDB) +([\w.]+)")
_DISTRIBUTED_NAMES = {"ORA": "A", "MYSQL": "B", "TD": "C"}


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the database that the connection names."""

    version: str
    """In short: ``openGauss 6.0.0``."""
    compatibility: str | None
    """A, B, C or PG; None for a server that knows no such thing."""
    distributed: bool = False
    features: frozenset[Feature] = frozenset()
    catalog: frozenset[str] = frozenset()
    """Those of :data:`CATALOG` that are there."""
    empty_is_null: bool = False
    """Whether a text ``''`` is stored as NULL."""

    @property
    def is_postgres(self) -> bool:
        """A PostgreSQL of our time, by what it can do: no compatibility of its own, and ON CONFLICT."""
        return self.compatibility is None and "on_conflict" in self.features and "pg_attribute.attgenerated" in self.catalog

    @property
    def counts_bytes(self) -> bool:
        """Whether the n of varchar(n) is a number of bytes (openGauss, CREATE DATABASE, DBCOMPATIBILITY: all but PG)."""
        return self.compatibility not in (None, "PG")

    def __str__(self) -> str:
        parts = [self.version]
        if self.compatibility is not None:
            parts.append(f"{self.compatibility} compatibility")
        if self.distributed:
            parts.append("distributed")
        return ", ".join(parts)


def probe(session: Session) -> Server:
    """Ask the server what it is. Ends the session's transaction: nothing may have been done in it yet.

    PreflightError for a database with M compatibility, whose SQL is MySQL's and not this family's.
    """
    version = short_version(str(session.value("SELECT version()")))
    compatibility = _maybe(session, "SELECT datcompatibility FROM pg_database WHERE datname = current_database()")
    if compatibility is not None:
        compatibility = _DISTRIBUTED_NAMES.get(str(compatibility).upper(), str(compatibility).upper())
    if compatibility == "M":
        what = f"the database of {version} has M compatibility, which speaks MySQL's SQL: use one with A, B, C or PG compatibility"
        raise PreflightError(what, connection=session.name, setting="database")
    # PGXC_NODE lists the coordinators (C) and data nodes (D) of a distributed system, nothing in a centralised.
    kinds = _maybe(session, "SELECT count(DISTINCT node_type) FROM pgxc_node WHERE node_type IN ('C', 'D')")
    found = Server(
        version=version,
        compatibility=compatibility,
        distributed=kinds == 2,
        features=frozenset(feature for feature, statement in _GRAMMAR.items() if _understood(session, statement)),
        catalog=frozenset(name for name in CATALOG if _there(session, name)),
        # The constant itself tells, whatever datcompatibility and behavior_compat_options say.
        empty_is_null=bool(session.value("SELECT '' IS NULL")),
    )
    session.rollback()
    return found


def short_version(text: str) -> str:
    """``version()`` in short, in each of the forms in which openGauss, GaussDB and GaussDB(DWS) answer."""
    if match := _VERSION.search(text):
        return f"{match[1]} {match[2]}"
    return text.partition(" (")[0].partition(" on ")[0]


def _maybe(session: Session, query: str) -> object:
    """The query's value; None if the catalog lacks what it asks for, or the account may not see it."""
    try:
        return session.value(query)
    except PermanentError:
        session.rollback()
        return None


def _there(session: Session, name: str) -> bool:
    table, _, column = name.partition(".")
    try:
        session.rows(f"SELECT {column} FROM {table} LIMIT 0")
    except PermanentError:
        session.rollback()
        return False
    return True


def _understood(session: Session, statement: str) -> bool:
    try:
        session.run(statement)
    except SchemaError:
        return True
    except PermanentError:
        return False
    finally:
        session.rollback()
    return True
