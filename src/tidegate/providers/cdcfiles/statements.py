"""What a statement that stands among the records means for tables: known, or the table is broken. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.providers.cdcfiles.types import ColumnType, Declared, Word, column_of, create_table, split, table_name, words

_HARMLESS_ACTIONS = frozenset(
    ("COMMENT", "ENGINE", "AUTO_INCREMENT", "ROW_FORMAT", "ALGORITHM", "LOCK", "FORCE", "ENABLE", "DISABLE", "STATS_PERSISTENT")
)
_INDEXES = frozenset(("INDEX", "KEY", "FULLTEXT", "SPATIAL", "UNIQUE", "CONSTRAINT", "FOREIGN", "CHECK"))
_NO_TABLES = frozenset(
    ("GRANT", "REVOKE", "ANALYZE", "OPTIMIZE", "FLUSH", "SET", "USE", "BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE")
)


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of ``table``, or of all tables of its schema (``schema_dropped``).

    ``created`` tells its columns in ``declared``, ``column_added`` the new one.
    """

    table: TableName
    kind: Literal["truncated", "column_added", "broken", "created", "schema_dropped"]
    what: str
    column: ColumnType | None = None
    declared: Declared | None = None
    if_missing: bool = False
    """Whether nothing is added if the table has the column."""


def effects(sql: str, schema: str, table: TableName) -> list[Effect]:
    """The effects of statements, ``schema`` being the database of names without one.

    ``table`` is the one that the record names: it is broken by a statement that can't be read.
    """
    found: list[Effect] = []
    try:
        statements = list(split(words(_EXECUTABLE.sub(_unwrapped, sql)), ";"))
        for tokens in statements:
            if tokens:
                found += _statement(tokens)
    except (ConfigError, IndexError, StopIteration, ValueError):
        return [Effect(table, "broken", "a statement that can't be read")]
    return [_in_schema(effect, schema) for effect in found]


def _in_schema(effect: Effect, schema: str) -> Effect:
    if effect.table.schema:
        return effect
    return replace(effect, table=TableName(schema, effect.table.name))


_EXECUTABLE = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|--\s[^\n]*|\#[^\n]*|/\*(?!M?!).*?\*/|/\*M?!\d*(?P<sql>.*?)\*/""", re.DOTALL
)
"""A comment that the server executes, or what only looks as if one were in it."""


def _unwrapped(found: re.Match[str]) -> str:
    sql = found["sql"]
    return found[0] if sql is None else f" {sql} "


def _statement(tokens: Sequence[Word]) -> Iterator[Effect]:
    upper = [token.upper for token in tokens]
    verb = upper[0]
    if verb in _NO_TABLES:
        return
    if verb == "TRUNCATE":
        yield Effect(table_name(tokens, 2 if upper[1:2] == ["TABLE"] else 1)[0], "truncated", "TRUNCATE TABLE")
    elif verb == "CREATE":
        if "TABLE" in upper[:4] and "TEMPORARY" not in upper[:3]:
            declared = create_table(tokens)
            at = upper.index("TABLE") + 1
            name = table_name(tokens, at + 3 if upper[at : at + 1] == ["IF"] else at)[0]
            kind: Literal["created", "broken"] = "broken" if upper[1] == "OR" else "created"
            yield Effect(name, kind, "CREATE TABLE", declared=declared)
    elif verb == "DROP":
        if upper[1:2] in (["DATABASE"], ["SCHEMA"]):
            schema = table_name(tokens, 4 if upper[2:4] == ["IF", "EXISTS"] else 2)[0].name
            yield Effect(TableName(schema, ""), "schema_dropped", "DROP DATABASE")
            return
        if "TABLE" in upper[:3] and "TEMPORARY" not in upper[:3]:
            at = upper.index("TABLE") + 1
            for part in split(tokens[at + 2 if upper[at : at + 1] == ["IF"] else at :]):
                yield Effect(table_name(part, 0)[0], "broken", "DROP TABLE")
    elif verb == "RENAME":
        for part in split(tokens[2:]):
            old, at = table_name(part, 0)
            yield Effect(old, "broken", "RENAME TABLE")
            yield Effect(table_name(part, at + 1)[0], "broken", "RENAME TABLE")
    elif verb == "ALTER" and "TABLE" in upper[:4]:
        name, at = table_name(tokens, upper.index("TABLE") + 1)
        for action in split(tokens[at:]):
            yield from _action(name, action)
            if (new := _renamed_to(action)) is not None:
                yield Effect(new, "broken", "ALTER TABLE … RENAME")
                if name.schema and not new.schema:
                    yield Effect(TableName(name.schema, new.name), "broken", "ALTER TABLE … RENAME")


def _action(table: TableName, action: Sequence[Word]) -> Iterator[Effect]:
    """One clause of ALTER TABLE."""
    upper = [token.upper for token in action]
    verb = upper[0]
    if verb in _HARMLESS_ACTIONS:
        return
    if verb == "ADD" and upper[1] not in _INDEXES and upper[1] not in ("PRIMARY", "PARTITION", "PERIOD", "SYSTEM"):
        at = 2 if upper[1] == "COLUMN" else 1
        if_missing = upper[at : at + 3] == ["IF", "NOT", "EXISTS"]
        at += 3 if if_missing else 0
        inner = list(split(action[at + 1 : -1])) if action[at].text == "(" else [_without_place(action[at:])]
        for item in inner:
            column = column_of(item)
            yield Effect(table, "column_added", f"ALTER TABLE … ADD COLUMN {column.name}", column, if_missing=if_missing)
        return
    if verb == "ADD" and upper[1] in _INDEXES and "PRIMARY" not in upper:
        return
    if verb == "DROP" and (upper[1] in _INDEXES or upper[1] not in ("PRIMARY", "PARTITION")):
        # A column that is gone stays in the target as it is; rows that follow leave it out.
        return
    if verb == "RENAME" and upper[1] in ("INDEX", "KEY"):
        return
    yield Effect(table, "broken", f"ALTER TABLE … {verb} changes rows or columns in a way that is in no record")


def _renamed_to(action: Sequence[Word]) -> TableName | None:
    """The table's new name, if the clause gives it one."""
    upper = [token.upper for token in action]
    if upper[0] != "RENAME" or upper[1] in ("COLUMN", "INDEX", "KEY"):
        return None
    return table_name(action, 2 if upper[1] in ("TO", "AS", "=") else 1)[0]


def _without_place(item: Sequence[Word]) -> list[Word]:
    """A column's definition without FIRST or AFTER at its end."""
    if item[-1].upper == "FIRST":
        return list(item[:-1])
    return list(item[:-2]) if len(item) > 2 and item[-2].upper == "AFTER" else list(item)
