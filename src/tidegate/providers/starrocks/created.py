"""What SHOW CREATE TABLE says: the model, the key, and which columns StarRocks fills by itself.

All versions say it there (fe AstToStringBuilder.java, getDdlStmt, and Column.java, toSql). ``information_schema.columns`` tells
nothing of AUTO_INCREMENT (StarRocks issue 63730), and of generated columns only since 3.3.3 (its pull request 49734);
``information_schema.tables_config`` is not in all versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidegate.changes.schema import TableName
from tidegate.errors import SchemaError
from tidegate.providers.starrocks.catalog import Model

_CLAUSES: Mapping[str, Model] = {
    "PRIMARY": "PRIMARY_KEYS",
    "UNIQUE": "UNIQUE_KEYS",
    "DUPLICATE": "DUP_KEYS",
    "AGGREGATE": "AGG_KEYS",
}
_KEY_CLAUSE = re.compile(
    r"^\s*\)?\s*(?:ENGINE\s*=\s*\w+\s*)?(PRIMARY|UNIQUE|DUPLICATE|AGGREGATE)\s+KEY\s*\((.*?)\)\s*$", re.M | re.I
)
_FILLED = re.compile(
    r"^\s*`(?P<name>(?:[^`]|``)+)` [^\"'\n]*?\bNULL (?:(?P<numbered>AUTO_INCREMENT)\b|AS (?P<made>.+?)(?: COMMENT \".*)?,?$)", re.M
)
"""``\\`n\\` bigint(20) NOT NULL AUTO_INCREMENT COMMENT "",`` and ``\\`total\\` int(11) NULL AS price * 2 COMMENT ""``."""
_STRING = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"")
_NAME = re.compile(r"`((?:[^`]|``)+)`|\b([^\W\d]\w*)\b(?!\s*\()")


@dataclass(frozen=True, slots=True)
class Created:
    """``numbered`` are the columns with AUTO_INCREMENT, ``generated`` the generated ones and their expressions."""

    model: Model
    key: tuple[str, ...]
    numbered: frozenset[str]
    generated: Mapping[str, str]


def parse_create(text: str, connection: str, table: TableName) -> Created:
    """SHOW CREATE TABLE, read. SchemaError for a view or an external table."""
    clause = _KEY_CLAUSE.search(text)
    if clause is None:
        raise SchemaError("is no table that rows can be loaded into: it has no key clause", connection=connection, table=table)
    filled = [(match["name"].replace("``", "`"), match) for match in _FILLED.finditer(text[: clause.start()])]
    return Created(
        _CLAUSES[clause[1].upper()],
        parse_key(clause[2]),
        frozenset(name for name, match in filled if match["numbered"]),
        {name: match["made"] for name, match in filled if match["made"]},
    )


def parse_key(text: str) -> tuple[str, ...]:
    """The columns of a key clause: ``\\`a\\`, \\`b\\``` or ``a, b``."""
    quoted = re.findall(r"`((?:[^`]|``)+)`", text)
    if quoted:
        return tuple(item.replace("``", "`") for item in quoted)
    return tuple(item.strip() for item in text.split(",") if item.strip())


def refers(expression: str, columns: Iterable[str]) -> tuple[str, ...]:
    """Which of the columns the expression of a generated column names."""
    named = {(quoted.replace("``", "`") or bare).lower() for quoted, bare in _NAME.findall(_STRING.sub(" ", expression))}
    return tuple(name for name in columns if name.lower() in named)
