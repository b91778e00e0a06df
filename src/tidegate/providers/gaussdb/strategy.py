"""How rows will be merged into a table of GaussDB: by what the server was found to know, the table's keys and the options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

import pyarrow as pa

from tidegate.errors import ConfigError
from tidegate.providers.gaussdb.catalog import GaussdbTable
from tidegate.providers.gaussdb.probe import Server
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.strategy import Strategy
from tidegate.providers.postgres.strategy import strategy as postgres_strategy
from tidegate.sync.mapping import Target

Way = Literal["odku", "merge", "two"]
"""ON DUPLICATE KEY UPDATE, MERGE INTO, or UPDATE and INSERT … WHERE NOT EXISTS."""

EmptyString = Literal["kept", "null", "refuse", "space"]
"""What becomes of a text ``''``: ``kept`` where the server keeps it, otherwise as the connection's ``empty_string`` says."""

_WORDS: dict[Way, str] = {
    "odku": "INSERT … ON DUPLICATE KEY UPDATE",
    "merge": "MERGE INTO",
    "two": "UPDATE, then INSERT … WHERE NOT EXISTS",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussdbStrategy(Strategy):
    """``way``: how rows are merged in place. ``fixed``: columns outside the key that no UPDATE may set."""

    way: Way = "two"
    fixed: frozenset[str] = frozenset()
    empty_string: EmptyString = "kept"


def strategy_for(server: Server, empty_string: str) -> Callable[[Target, CatalogTable | None, str], GaussdbStrategy]:
    """The strategies of a server. ``empty_string`` is the connection's field."""
    empty: EmptyString = "kept"
    if server.empty_is_null:
        empty = "refuse" if empty_string == "refuse" else "space" if empty_string == "space" else "null"

    def strategy(target: Target, table: CatalogTable | None, connection: str) -> GaussdbStrategy:
        return _strategy(server, empty, target, table, connection)

    return strategy


def _strategy(server: Server, empty: EmptyString, target: Target, table: CatalogTable | None, connection: str) -> GaussdbStrategy:
    base = postgres_strategy(target, table, connection)
    found = GaussdbStrategy(**{item.name: getattr(base, item.name) for item in fields(Strategy)}, empty_string=empty)
    options = target.options
    warnings = [*found.warnings, *_empty_strings(empty, target, table), *_byte_lengths(server, target, table)]
    in_place = bool(target.key) and options.write_mode != "append" and base.in_place
    if in_place and isinstance(table, GaussdbTable) and options.conflict_mode != "strict":
        found = replace(found, fixed=table.fixed - set(target.key))
    if in_place and not target.existing_only and options.conflict_mode != "strict":
        way, why = _way(server, target, table)
        found = replace(found, way=way, text=f"{_WORDS[way]}: {why}")
    found = replace(found, problems=(*found.problems, *_lost_keys(empty, target, table, connection)))
    moving = sorted(found.fixed & set(target.schema.names))
    if moving:
        names = ", ".join(moving)
        text = (
            f"{found.text}; a row whose {names} changes is deleted and inserted, since a partition or distribution key can't be set"
        )
        found = replace(found, text=text)
        if table is not None and "DELETE" not in table.rights:
            what = f"a row whose {names} changes is deleted and inserted, and the account lacks DELETE: grant it"
            missing = ConfigError(what, connection=connection, table=target.table)
            found = replace(found, problems=(*found.problems, missing))
        if options.delete_mode == "soft" and (options.conflict_mode != "upsert" or options.version_column):
            what = (
                f"a marked row that comes back takes another {names}, which no UPDATE may set: with delete_mode='soft' that needs "
                "conflict_mode='upsert' without version_column, or a key that holds these columns"
            )
            error = ConfigError(what, connection=connection, table=target.table, setting="delete_mode, conflict_mode")
            found = replace(found, problems=(*found.problems, error))
    return replace(found, warnings=tuple(warnings))


def _way(server: Server, target: Target, table: CatalogTable | None) -> tuple[Way, str]:
    """The way, and why it was chosen, for people.

    GaussDB's documents: ON DUPLICATE KEY UPDATE fires no trigger (CREATE TRIGGER), sets no column of any unique index and is not to
    be used beside a second one (INSERT), and is refused where a global secondary index is (U0400021), which is what a unique key
    without the distribution key becomes. MERGE INTO is refused on a table with triggers (GaussDB(DWS), MERGE INTO).
    """
    odku = {"odku", "odku_nothing", "odku_where"} <= server.features
    if isinstance(table, GaussdbTable) and table.columnar:
        return "two", f"{server}; the table is stored by columns"
    if isinstance(table, GaussdbTable) and table.triggers:
        return "two", f"{server}; the table has triggers ({', '.join(table.triggers)}), which the other statements don't fire"
    if odku and target.options.version_column is not None:
        odku, why = False, f"{server}; enable_upsert_to_merge makes ON DUPLICATE KEY UPDATE forget its WHERE"
    elif odku and target.table.name.lower() == "excluded":
        odku, why = False, f"{server}; the table has the name that ON DUPLICATE KEY UPDATE gives to the new row"
    elif odku and table is not None and len(table.uniques) > 1:
        odku = False
        why = f"{server}; the table has several unique indexes ({', '.join(unique.name for unique in table.uniques)})"
    elif odku and isinstance(table, GaussdbTable) and not table.distribution_key <= set(target.key):
        odku = False
        why = f"{server}; the key lacks the distribution key ({', '.join(sorted(table.distribution_key))})"
    elif odku:
        return "odku", f"{server}"
    else:
        why = f"{server}, which lacks ON DUPLICATE KEY UPDATE with NOTHING and WHERE"
    return ("merge", why) if "merge" in server.features else ("two", f"{why}, and MERGE INTO")


def _lost_keys(empty: EmptyString, target: Target, table: CatalogTable | None, connection: str) -> Iterator[ConfigError]:
    """A NULL equals no other: a row whose key has one is never found again, and comes twice."""
    if empty != "null" or table is None or target.options.write_mode == "append":
        return
    for name in target.key:
        there = table.column(name)
        if target.schema.column(name).type == pa.string() and there is not None and not there.not_null:
            what = f"'' is NULL in this database, and the key column {name} takes it, so that the row is never found again"
            what += ": make it NOT NULL"
            yield ConfigError(what, connection=connection, table=target.table, setting="empty_string")


def _empty_strings(empty: EmptyString, target: Target, table: CatalogTable | None) -> Iterator[str]:
    texts = [column for column in target.schema.columns if column.type == pa.string() and "json" not in column.attributes]
    if empty == "kept" or not texts:
        return
    names = ", ".join(column.name for column in texts)
    if empty == "refuse":
        yield f"'' is NULL in this database: a row with '' in {names} goes the way of on_error (empty_string='refuse')"
        return
    if empty == "space":
        yield f"'' is NULL in this database: '' in {names} is written as one blank (empty_string='space')"
        return
    yield (
        f"'' is NULL in this database: '' in {names} becomes NULL; empty_string='refuse' sends such a row the way of on_error, "
        "empty_string='space' writes one blank"
    )
    there = {column.name for column in table.columns if column.not_null} if table is not None else set(target.key)
    if needed := [column.name for column in texts if column.name in there]:
        yield f"'' in {', '.join(needed)} (key or NOT NULL) is refused by the server; empty_string='space' writes one blank"


def _byte_lengths(server: Server, target: Target, table: CatalogTable | None) -> Iterator[str]:
    if not server.counts_bytes or table is None:
        return
    narrow = []
    for column in target.schema.columns:
        there, length = table.column(column.name), column.attributes.get("length")
        limit = None if there is None else there.length
        if column.type == pa.string() and limit is not None and length is not None and limit < 4 * int(length):
            narrow.append(column.name)
    if narrow:
        yield f"varchar(n) counts bytes in this database: a text in {', '.join(narrow)} with longer characters may be refused"
