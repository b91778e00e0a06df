"""CREATE TABLE and ALTER TABLE of Greenplum: distribution, storage and partitions.

The clauses that PostgreSQL doesn't know are taken out; event triggers (:mod:`tidegate.sandbox.adbpg_catalog`) keep what they say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from tidegate.sandbox.adbpg_catalog import SCHEMA, TABLE_SETTING
from tidegate.sandbox.adbpg_facts import qualified, relation
from tidegate.sandbox.dialect import Lookup, Refused, Rewritten
from tidegate.sandbox.sqltext import Token, closing, dotted, find, listed, literal, spell

_STORAGE = frozenset(
    {"appendonly", "appendoptimized", "orientation", "compresstype", "compresslevel", "blocksize", "checksum", "oids"}
)


@dataclass
class Clauses:
    """What a CREATE TABLE says beyond PostgreSQL."""

    policy: str | None = None
    """p by key or (no columns) at random, r replicated; None: nothing is said."""
    columns: list[str] = field(default_factory=list)
    storage: str = "h"
    options: list[str] = field(default_factory=list)

    @property
    def remembered(self) -> str:
        """A statement that leaves them for the event trigger."""
        told = {"policy": self.policy, "columns": self.columns, "storage": self.storage, "options": self.options}
        return f"SELECT pg_catalog.set_config('{TABLE_SETTING}', {literal(json.dumps(told))}, true)"


def rewrite_create(pieces: list[Token], table_at: int, catalog: Lookup, classic: bool) -> Rewritten:
    """A CREATE TABLE [AS] whose TABLE is at ``table_at``. ``classic``: Greenplum 6, whose partitions are in it."""
    name_at = table_at + (4 if pieces[table_at + 1].word("if") else 1)
    name, after_name = dotted(pieces, name_at)
    query = find(pieces, "as", start=after_name)
    if classic and name_at > table_at + 1 and query >= 0:
        raise Refused("42601", _near(pieces, query))  # 9.5 brought CREATE TABLE IF NOT EXISTS … AS
    clauses = Clauses()
    rest = _without_distribution(pieces, clauses)
    body = rest[after_name] if after_name < len(rest) and rest[after_name].symbol("(") else None
    body_end = closing(rest, after_name) if body else after_name - 1
    children: tuple[str, ...] = ()
    if classic:
        rest, children = _partitions(rest, body_end + 1, name)
    rest = _without_storage(rest, body_end + 1, clauses)
    if body and clauses.policy is None:
        _like(rest[after_name + 1 : body_end], clauses, catalog)
    return Rewritten(spell(rest), before=(clauses.remembered,), after=children)


def rewrite_alter(pieces: list[Token]) -> Rewritten | None:
    """ALTER TABLE … SET [WITH (…)] DISTRIBUTED …; None for any other ALTER TABLE."""
    at = find(pieces, "distributed")
    setting = find(pieces, "set")
    if at < 0 or setting < 0:
        return None
    clauses = Clauses()
    _without_distribution(pieces, clauses)
    start = 2 + (2 if pieces[2].word("if") else 0)
    start += pieces[start].word("only")
    name, _ = dotted(pieces, start)
    table, policy = literal(qualified(name)), literal(clauses.policy or "p")
    columns = ", ".join(map(literal, clauses.columns))
    redistribute = f"SELECT {SCHEMA}.redistribute({table}::regclass, {policy}, ARRAY[{columns}]::text[])"
    return Rewritten(f"ALTER TABLE {qualified(name)} SET WITHOUT CLUSTER", before=(redistribute,))


def _without_distribution(pieces: list[Token], clauses: Clauses) -> list[Token]:
    at = find(pieces, "distributed")
    while at >= 0 and not (at + 1 < len(pieces) and pieces[at + 1].word("by", "randomly", "replicated")):
        at = find(pieces, "distributed", start=at + 1)
    if at < 0:
        return pieces
    if not pieces[at + 1].word("by"):
        clauses.policy = "r" if pieces[at + 1].word("replicated") else "p"
        return pieces[:at] + pieces[at + 2 :]
    if at + 2 >= len(pieces) or not pieces[at + 2].symbol("("):
        raise Refused("42601", _near(pieces, at + 2))
    end = closing(pieces, at + 2)
    clauses.policy = "p"
    clauses.columns = [item[0].name for item in listed(pieces[at + 3 : end]) if item]
    repeated = next((column for column in clauses.columns if clauses.columns.count(column) > 1), None)
    if repeated is not None:
        raise Refused("42701", f'duplicate column "{repeated}" in DISTRIBUTED BY clause')
    return pieces[:at] + pieces[end + 1 :]


def _without_storage(pieces: list[Token], start: int, clauses: Clauses) -> list[Token]:
    """Take append-optimization out of ``WITH (…)``; the other parameters stay."""
    at = find(pieces, "with", start=start)
    query = find(pieces, "as", start=start)
    if at < 0 or (0 <= query < at) or at + 1 >= len(pieces) or not pieces[at + 1].symbol("("):
        return pieces
    end = closing(pieces, at + 1)
    kept: list[list[Token]] = []
    told: dict[str, str] = {}
    for item in listed(pieces[at + 2 : end]):
        if item[0].name in _STORAGE:
            told[item[0].name] = (item[-1].value or item[-1].text).lower() if len(item) > 1 else "true"
        else:
            kept.append(item)
    if any(told.get(name) in ("true", "on", "1", "yes") for name in ("appendonly", "appendoptimized")):
        clauses.storage = "c" if told.get("orientation") == "column" else "a"
        clauses.options = [f"{name}={value}" for name, value in told.items()]
    inside = [Token("word", ", ".join(spell(item) for item in kept))] if kept else []
    parameters = [*pieces[at : at + 2], *inside, pieces[end]] if inside else []
    return pieces[:at] + parameters + pieces[end + 1 :]


def _like(body: Sequence[Token], clauses: Clauses, catalog: Lookup) -> None:
    """A table that is LIKE another takes over its distribution."""
    for item in listed(body):
        if item and item[0].word("like"):
            parent = relation(catalog, dotted(item, 1)[0])
            if parent is not None and parent.policy is not None:
                clauses.policy, clauses.columns = parent.policy, list(parent.distributed_by)
            return


def _partitions(pieces: list[Token], start: int, name: Sequence[str]) -> tuple[list[Token], tuple[str, ...]]:
    """PARTITION BY of Greenplum 6: the partitions are in the statement. What is left of it, and the statements that make them."""
    at = find(pieces, "partition", "by", start=start)
    if at < 0:
        if (of := find(pieces, "partition", "of", start=3)) >= 0:
            raise Refused("42601", _near(pieces, of))
        return pieces, ()
    keys_end = closing(pieces, at + 3)
    if keys_end + 1 >= len(pieces) or not pieces[keys_end + 1].symbol("("):
        raise Refused("42P16", "no partitions specified at depth 1")
    end = closing(pieces, keys_end + 1)
    children = []
    for number, item in enumerate(listed(pieces[keys_end + 2 : end]), start=1):
        children.append(_child(item, number, name))
    return pieces[: keys_end + 1] + pieces[end + 1 :], tuple(children)


def _child(item: list[Token], number: int, name: Sequence[str]) -> str:
    default = item[0].word("default")
    named = item[default].word("partition")
    label = item[default + 1].name if named else str(number)
    rest = item[default + 2 if named else 0 :]
    child = qualified([*name[:-1], f"{name[-1]}_1_prt_{label}"])
    head = f"CREATE TABLE {child} PARTITION OF {qualified(name)}"
    if default:
        return f"{head} DEFAULT"
    if rest and rest[0].word("values"):
        return f"{head} FOR VALUES IN {spell(rest[1:])}"
    if find(rest, "every") >= 0 or not rest or not rest[0].word("start"):
        raise Refused("0A000", "the sandbox makes partitions by START and END, by VALUES, and DEFAULT; not by EVERY")
    low_end = closing(rest, 1)
    high = find(rest, "end")
    if high < 0 or find(rest, "exclusive", start=1) in (low_end + 1,) or find(rest, "inclusive", start=high) >= 0:
        raise Refused("0A000", "the sandbox makes range partitions of START … INCLUSIVE and END … EXCLUSIVE alone")
    return f"{head} FOR VALUES FROM {spell(rest[1 : low_end + 1])} TO {spell(rest[high + 1 : closing(rest, high + 1) + 1])}"


def _near(pieces: Sequence[Token], at: int) -> str:
    return f'syntax error at or near "{pieces[at].text}"' if at < len(pieces) else "syntax error at end of input"
