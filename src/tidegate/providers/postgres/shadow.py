"""The shadow of a table: where a copy goes that is to take the table's place when it is complete."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

from tidegate.changes.schema import TableName
from tidegate.providers.postgres.sql import IDENTIFIER_BYTES
from tidegate.sync.mapping import Target

_SUFFIX = "__tidegate_shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowTarget(Target):
    """A target under the name of its shadow. ``of`` is the table, with its schema, whose place the shadow is to take."""

    of: TableName


def shadow_target(target: Target, of: TableName) -> ShadowTarget:
    """The shadow of ``target``, whose table with its schema is ``of``."""
    values = {item.name: getattr(target, item.name) for item in fields(Target)}
    return ShadowTarget(**values | {"table": shadow_table(of)}, of=of)


def shadow_table(table: TableName) -> TableName:
    """``orders__tidegate_shadow``. A name too long for that is cut, and a digest of the whole keeps it apart from others."""
    name = table.name + _SUFFIX
    if len(name.encode()) > IDENTIFIER_BYTES:
        suffix = f"_{_digest(table)[:12]}{_SUFFIX}"
        name = table.name.encode()[: IDENTIFIER_BYTES - len(suffix)].decode(errors="ignore") + suffix
    return TableName(table.schema, name)


def is_shadow_name(table: TableName) -> bool:
    """Whether the name is one that :func:`shadow_table` makes."""
    return table.name.endswith(_SUFFIX)


def made_name(table: TableName, number: int) -> str:
    """What an index of the shadow of ``table`` is called until it takes the name of the old table's."""
    return f"tidegate_{_digest(table)[:16]}_{number}"


def mark(table: TableName, definition: str) -> str:
    """The comment by which a shadow is known for one of ``table``, and for one of its present definition."""
    return f"tidegate: a copy of {table} under way, which takes its place when it is complete [{_short(definition)}]"


def is_shadow(comment: str | None, table: TableName) -> bool:
    """Whether ``comment`` is the :func:`mark` of a shadow of ``table``, whatever the definition."""
    return comment is not None and comment.rpartition(" [")[0] == mark(table, "").rpartition(" [")[0]


def _digest(table: TableName) -> str:
    return _short(f"{table.schema}\0{table.name}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
