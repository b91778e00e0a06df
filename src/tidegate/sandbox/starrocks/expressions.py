"""The headers ``columns`` and ``where``: names, and expressions in StarRocks' SQL that DuckDB computes.

The rules and words are those of ``Load.initColumns`` and ``StreamLoadScanNode`` in the frontend. BITMAP and HLL functions are
macros (:data:`MACROS`); a source column that the table doesn't have is text, as there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tidegate.sandbox.starrocks.model import LoadFailed

_SET = "CASE WHEN {0} IS NULL THEN NULL ELSE list_sort(list_distinct({0})) END"
MACROS = (
    "to_bitmap(x) AS CASE WHEN TRY_CAST(x AS UBIGINT) IS NULL THEN NULL::UBIGINT[] ELSE [TRY_CAST(x AS UBIGINT)] END",
    "bitmap_hash(x) AS CASE WHEN x IS NULL THEN [0]::UBIGINT[] ELSE [hash(CAST(x AS VARCHAR)) % 4294967296]::UBIGINT[] END",
    "bitmap_hash64(x) AS CASE WHEN x IS NULL THEN [0]::UBIGINT[] ELSE [hash(CAST(x AS VARCHAR))]::UBIGINT[] END",
    "bitmap_empty() AS []::UBIGINT[]",
    "bitmap_from_string(x) AS " + _SET.format("TRY_CAST(string_split(x, ',') AS UBIGINT[])"),
    "bitmap_to_string(x) AS array_to_string(x, ',')",
    "bitmap_count(x) AS COALESCE(len(x), 0)",
    "bitmap_contains(x, y) AS list_contains(x, CAST(y AS UBIGINT))",
    "bitmap_union(x) AS list_sort(list_distinct(flatten(COALESCE(list(x) FILTER (x IS NOT NULL), []))))",
    "bitmap_agg(x) AS list_sort(list_distinct(list(TRY_CAST(x AS UBIGINT))))",
    "bitmap_union_count(x) AS len(list_distinct(flatten(COALESCE(list(x) FILTER (x IS NOT NULL), []))))",
    "hll_hash(x) AS CASE WHEN x IS NULL THEN []::UBIGINT[] ELSE [hash(CAST(x AS VARCHAR))]::UBIGINT[] END",
    "hll_empty() AS []::UBIGINT[]",
    "hll_cardinality(x) AS COALESCE(len(x), 0)",
    "hll_union(x) AS list_sort(list_distinct(flatten(COALESCE(list(x) FILTER (x IS NOT NULL), []))))",
    "hll_raw_agg(x) AS list_sort(list_distinct(flatten(COALESCE(list(x) FILTER (x IS NOT NULL), []))))",
    "from_unixtime(x) AS strftime(to_timestamp(TRY_CAST(x AS DOUBLE)), '%Y-%m-%d %H:%M:%S')",
    "json_query(x, p) AS json_extract(x, p)",
    "json_string(x) AS CAST(x AS VARCHAR)",
    "array_avg(x) AS list_avg(x)",
    "to_base64(x) AS base64(CAST(x AS BLOB))",
    "from_binary(x, f := 'hex') AS CASE f WHEN 'hex' THEN hex(x) WHEN 'encode64' THEN to_base64(x) ELSE decode(x) END",
    "hll_union_agg(x) AS len(list_distinct(flatten(COALESCE(list(x) FILTER (x IS NOT NULL), []))))",
)
"""``CREATE MACRO`` bodies. COUNT(DISTINCT b) of a BITMAP is ``bitmap_union_count(b)``, of an HLL ``hll_union_agg(h)``."""

RETURNS = {
    "bitmap": ("to_bitmap", "bitmap_hash", "bitmap_hash64", "bitmap_empty", "bitmap_from_string"),
    "hll": ("hll_hash", "hll_empty"),
}


@dataclass(frozen=True, slots=True)
class Mapping:
    """``name = expression``; ``sql`` is DuckDB's, ``function`` the outermost function's name in lower case or ''."""

    name: str
    sql: str
    function: str
    refers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ColumnList:
    """The header ``columns``: the source's fields in order (empty if it names none), and what is computed."""

    fields: tuple[str, ...]
    mappings: tuple[Mapping, ...]


def split_list(text: str) -> list[str]:
    """At commas outside of quotes and parentheses."""
    parts, depth, quote, start = [], 0, "", 0
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"`":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return [part.strip() for part in parts]


_name = re.compile(r"`([^`]+)`|([A-Za-z_][\w$]*)", re.UNICODE)


def parse_columns(text: str) -> ColumnList:
    """Raises LoadFailed for what can't be read, and for a column that is there twice."""
    fields: list[str] = []
    mappings: list[Mapping] = []
    for item in split_list(text) if text.strip() else []:
        found = _name.match(item)
        if not found:
            raise LoadFailed(f"parsing columns header failed: Getting syntax error at '{item}'")
        name = found[1] or found[2]
        rest = item[found.end() :].strip()
        taken = [mapping.name for mapping in mappings] if rest else fields
        if name.lower() in (one.lower() for one in taken):
            raise LoadFailed(f"Duplicate column mapping: {name}" if rest else f"Duplicate column: {name}")
        if not rest:
            fields.append(name)
        elif rest.startswith("=") and rest[1:].strip():
            mappings.append(_mapping(name, rest[1:].strip()))
        else:
            raise LoadFailed(f"parsing columns header failed: Getting syntax error at '{item}'")
    return ColumnList(tuple(fields), tuple(mappings))


def _mapping(name: str, text: str) -> Mapping:
    tree = _parsed(text)
    from sqlglot import exp

    function = ""
    if isinstance(tree, exp.Anonymous):
        function = str(tree.this).lower()
    elif isinstance(tree, exp.Func):
        function = tree.sql_name().lower()
    if isinstance(tree, exp.Literal) and tree.is_string and name == "__op":
        ops = {"upsert": "0", "delete": "1"}
        if str(tree.this).lower() not in ops:
            raise LoadFailed(f"load op type string not supported: {tree.this}")
        return Mapping(name, ops[str(tree.this).lower()], "", ())
    refers = tuple(dict.fromkeys(column.name for column in tree.find_all(exp.Column)))
    return Mapping(name, _duckdb(tree), function, refers)


def condition(text: str) -> tuple[str, tuple[str, ...]]:
    """The header ``where`` for DuckDB, and the columns that it names."""
    tree = _parsed(text)
    from sqlglot import exp

    return _duckdb(tree), tuple(dict.fromkeys(column.name for column in tree.find_all(exp.Column)))


def generated(text: str) -> tuple[str, tuple[str, ...]]:
    """A generated column's expression for DuckDB, and the columns that it names; these have their types already."""
    tree = _parsed(text)
    from sqlglot import exp

    return _duckdb(tree, typed=True), tuple(dict.fromkeys(column.name for column in tree.find_all(exp.Column)))


def _parsed(text: str) -> Any:
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        selected = sqlglot.parse_one(f"SELECT {text}", read="starrocks").expressions
    except SqlglotError:
        selected = []
    if len(selected) != 1:
        raise LoadFailed(f"Getting syntax error at expression '{text}'")
    return selected[0]


def _duckdb(tree: Any, *, typed: bool = False) -> str:
    """In DuckDB's words: casts give NULL where they fail, arithmetic on text is arithmetic on DOUBLE, as in StarRocks."""
    from sqlglot import exp

    def changed(node: Any) -> Any:
        if isinstance(node, exp.UnixToTime | exp.ParseJSON):
            name = "from_unixtime" if isinstance(node, exp.UnixToTime) else "json_or_string"
            return exp.Anonymous(this=name, expressions=[node.this.transform(changed)])
        if not isinstance(node, exp.Column):
            return node
        column = exp.column(exp.to_identifier(node.name, quoted=True))
        if typed:
            return column
        arithmetic = isinstance(node.parent, exp.Add | exp.Sub | exp.Mul | exp.Div | exp.Mod | exp.Neg)
        compared = isinstance(node.parent, exp.EQ | exp.NEQ | exp.LT | exp.LTE | exp.GT | exp.GTE) and any(
            isinstance(other, exp.Literal) and not other.is_string for other in node.parent.args.values()
        )
        return exp.TryCast(this=column, to=exp.DataType.build("double")) if arithmetic or compared else column

    sql = str(tree.transform(changed).sql(dialect="duckdb"))
    return _strict_call.sub(lambda found: f"TRY_{found[1]}(" if found[1] else found[0], sql)


_strict_call = re.compile(r"'(?:[^']|'')*'|(?<![\w])(CAST|STRPTIME)\(")
