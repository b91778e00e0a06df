"""INSERT, UPDATE and their like in the log as text: which tables they change. sqlglot parses them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import sqlglot
import sqlglot.errors
from sqlglot import exp

from tidegate.changes.schema import TableName

_EXECUTABLE_COMMENT = re.compile(r"/\*M?!\d*(.*?)\*/", re.DOTALL)


def changed_by(text: str, schema: str, tables: Iterable[TableName]) -> list[TableName]:
    """Those of the tables that a statement (run in ``schema``) may change; all that it may name, if it isn't understood."""
    text = _EXECUTABLE_COMMENT.sub(r" \1 ", text)
    named = named_in(text, schema, tables)
    if not named:
        return []
    statement = _parsed(text)
    return named if statement is None else [table for table in named if _changes(statement, schema, table)]


def named_in(text: str, schema: str, tables: Iterable[TableName]) -> list[TableName]:
    """Those of the tables whose name is among the words of a statement."""
    return [
        table
        for table in tables
        if (schema.lower() == table.schema.lower() or _has_word(text, table.schema)) and _has_word(text, table.name)
    ]


def _has_word(text: str, word: str) -> bool:
    # In backticks, a backtick of the name is doubled.
    spelled = re.escape(word).replace("`", "``?")
    return re.search(rf"(?<![\w$]){spelled}(?![\w$])", text, re.IGNORECASE) is not None


_quiet: ContextVar[bool] = ContextVar("_quiet", default=False)
# sqlglot logs the text of what it can't parse, and a statement holds rows' values.
logging.getLogger("sqlglot").addFilter(lambda record: not _quiet.get())


def _parsed(text: str) -> Any:
    """sqlglot's tree of a statement; None if it doesn't understand it."""
    token = _quiet.set(True)
    try:
        statement = sqlglot.parse_one(text, dialect="mysql")
    except sqlglot.errors.SqlglotError:
        return None
    finally:
        _quiet.reset(token)
    return None if isinstance(statement, exp.Command) else statement


def _changes(statement: Any, schema: str, table: TableName) -> bool:
    """Whether the parsed statement names the table, other than to insert from it into another."""
    where = statement.this if isinstance(statement, exp.Insert) else statement
    return any(_same(found.name, table.name) and _same(found.db or schema, table.schema) for found in where.find_all(exp.Table))


def _same(left: str, right: str) -> bool:
    # Servers may fold the case of table names; taking two for one only stops a run too many.
    return left.lower() == right.lower()
