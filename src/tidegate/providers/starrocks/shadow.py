"""The shadow of a table: where a copy goes that takes the table's place when it is complete (``ALTER TABLE … SWAP WITH``)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

from tidegate.changes.schema import TableName
from tidegate.errors import SchemaError
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.grants import Grants
from tidegate.providers.starrocks.inspection import inspect
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.newtable import create_statement
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Preparation

_SUFFIX = "__tidegate_copy"
RIGHTS = ("SELECT", "INSERT", "ALTER", "DROP")
"""On the copy, which is made anew whenever one begins, and on the table whose place it takes."""
_SHORT = 64
"""Bytes of a table's name before 3.0; later it is 1024 (documentation, "System limits")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowTarget(Target):
    """A target under the name of its shadow. ``of`` is the target whose place the shadow is to take."""

    of: Target


def shadow_target(target: Target) -> ShadowTarget:
    """The shadow of a target."""
    values = {item.name: getattr(target, item.name) for item in fields(Target)}
    return ShadowTarget(**values | {"table": shadow_table(target.table)}, of=target)


def shadow_table(table: TableName) -> TableName:
    """``orders__tidegate_copy``. A name too long for that is cut, and a digest of the whole keeps it apart from others."""
    name = table.name + _SUFFIX
    if len(name.encode()) > _SHORT:
        digest = hashlib.sha256(str(table).encode()).hexdigest()[:12]
        suffix = f"_{digest}{_SUFFIX}"
        name = table.name.encode()[: _SHORT - len(suffix)].decode(errors="ignore") + suffix
    return TableName(table.schema, name)


def inspect_shadow(target: ShadowTarget, metadata: Metadata) -> Preparation:
    """How a shadow stands: it is made like the table, or if what is to come no longer fits that, like the source."""
    there = metadata.table(target.table)
    found = inspect(target, metadata) if there is not None else _missing(target, metadata)
    grants, database = Grants(metadata), metadata.full(target.table).schema
    making = grants.on_database(database, "CREATE TABLE")
    return replace(found, grants=(*found.grants, *making, *grants.on_all_tables(database, RIGHTS)))


def _missing(target: ShadowTarget, metadata: Metadata) -> Preparation:
    own = inspect(target.of, metadata)
    shadow, table = metadata.full(target.table), metadata.full(target.of.table)
    misfits = [problem for problem in own.problems if isinstance(problem, SchemaError)]
    if not own.exists or misfits:
        ddl: tuple[str, ...] = (create_statement(target, shadow, metadata),)
    else:
        # Columns that the table lacks are added to it first: it is the shadow's model.
        ddl = (*own.ddl, f"CREATE TABLE {sql.table(shadow)} LIKE {sql.table(table)}")
    problems = tuple(problem for problem in own.problems if problem not in misfits)
    return replace(own, exists=False, empty=True, rows=0, ddl=ddl, problems=problems)
