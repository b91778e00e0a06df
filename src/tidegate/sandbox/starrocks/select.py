"""Queries: StarRocks' dialect to DuckDB's, by sqlglot.

What sqlglot can't know is done here: databases and privileges, the session's functions and variables, BITMAP and HLL (which
the engine keeps as sorted sets, so that a distinct count is exact where the real HLL estimates), names and
types of the answer's columns.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from tidegate.sandbox.starrocks.coltypes import base
from tidegate.sandbox.starrocks.expressions import RETURNS
from tidegate.sandbox.starrocks.model import TableDef
from tidegate.sandbox.starrocks.result import Field, Result, Wire, single
from tidegate.sandbox.starrocks.sqlerror import SqlError, analyzing, syntax

_CURRENT_VERSION = re.compile(r"\bcurrent_version\s*\(", re.IGNORECASE)
_VERSION_NAME = "starrocks_current_version"
"""sqlglot takes VERSION() and CURRENT_VERSION() for the same; here they differ."""

Expression = Any  # sqlglot has no types that mypy could follow (it is skipped in pyproject.toml)

_WIRE = {
    "BOOLEAN": Wire.TINY,
    "TINYINT": Wire.TINY,
    "SMALLINT": Wire.SHORT,
    "UTINYINT": Wire.SHORT,
    "INTEGER": Wire.LONG,
    "USMALLINT": Wire.LONG,
    "BIGINT": Wire.LONGLONG,
    "UINTEGER": Wire.LONGLONG,
    "UBIGINT": Wire.LONGLONG,
    "FLOAT": Wire.FLOAT,
    "DOUBLE": Wire.DOUBLE,
    "DATE": Wire.DATE,
    "TIMESTAMP": Wire.DATETIME,
    "TIMESTAMP WITH TIME ZONE": Wire.DATETIME,
    "BLOB": Wire.BLOB,
    '"NULL"': Wire.NULL,
}
_SKETCHES = {"BITMAP_UNION", "HLL_UNION", "HLL_RAW_AGG", "BITMAP_AGG", "BITMAP_OR", "BITMAP_AND"}
_SKETCHES |= {name.upper() for names in RETURNS.values() for name in names}


@dataclass(frozen=True, slots=True)
class Scope:
    """What a query may ask of its session: tables (SELECT is checked by it), system tables as SQL, functions, variables."""

    database: str
    table: Callable[[str, str], TableDef]
    system_table: Callable[[str, str], str]
    """A table of ``information_schema`` (or ``mysql``, ``sys``) as a query of DuckDB."""
    function: Callable[[str], Any]
    """The value of NOW(), DATABASE(), …; KeyError for one that isn't the session's."""
    variable: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Translated:
    """A query for DuckDB. ``names`` are its columns' as StarRocks calls them, None where only DuckDB can tell (``*``)."""

    sql: str
    names: tuple[str | None, ...]
    sums: tuple[bool, ...]
    tables: tuple[TableDef, ...] = ()


def parse(sql: str) -> Expression:
    """One statement of StarRocks'. SqlError as the server's for what can't be read."""
    try:
        return sqlglot.parse_one(_CURRENT_VERSION.sub(f"{_VERSION_NAME}(", sql), read="starrocks")
    except (ParseError, TokenError) as problem:
        details: Mapping[str, Any] = problem.errors[0] if getattr(problem, "errors", None) else {}
        near = details.get("highlight") or "<EOF>"
        raise syntax(f"Unexpected input '{near}'", details.get("line") or 1, details.get("col") or 0) from None


def translate(query: Expression, scope: Scope) -> Translated:
    """A parsed query (which is changed) for DuckDB."""
    outer = query
    while isinstance(outer, exp.SetOperation | exp.Subquery):
        outer = outer.this
    items = list(outer.expressions) if isinstance(outer, exp.Select) else []
    names = tuple(None if item.is_star else _name(item) for item in items)
    sums = tuple(bool(item.find(exp.Sum, exp.Count)) for item in items)
    tables = _resolve(query, scope)
    _session_values(query, scope)
    _sketches(query, tables)
    found = tuple(table for table in tables.values() if table is not None)
    return Translated(query.sql(dialect="duckdb"), names, sums, found)


def run(translated: Translated, ask: Callable[[str], tuple[list[str], list[tuple[Any, ...]]]]) -> Result:
    """Asks DuckDB, and gives its answer the types that StarRocks sends."""
    types = [str(row[1]) for row in _asked(ask, f"DESCRIBE {translated.sql}")[1]]
    columns, rows = _asked(ask, translated.sql)
    starred = any(name is None for name in translated.names) or len(translated.names) != len(columns)
    names = columns if starred else [name or "" for name in translated.names]
    sums = [False] * len(columns) if starred else list(translated.sums)
    fields = tuple(_field(name, type, summed) for name, type, summed in zip(names, types, sums, strict=True))
    hidden = {place for place, type in enumerate(types) if type == "UBIGINT[]"}  # a BITMAP or HLL is NULL in an answer
    floats = {place for place, type in enumerate(types) if type == "FLOAT"}
    if hidden or floats:
        rows = [tuple(_printed(value, place, hidden, floats) for place, value in enumerate(row)) for row in rows]
    return Result(fields, rows)


def refused(problem: Exception) -> SqlError | None:
    """DuckDB's error as the frontend's; None if it isn't DuckDB's."""
    import duckdb

    if not isinstance(problem, duckdb.Error):
        return None
    text = str(problem).split("\n", 1)[0]
    if isinstance(problem, duckdb.BinderException) and "Referenced column" in text:
        return analyzing(f"Column '{text.split(chr(34))[1]}' cannot be resolved")
    if isinstance(problem, duckdb.CatalogException) and "Function with name" in text:
        name = text.split("Function with name ")[1].split(" ")[0].strip('"')
        return analyzing(f"No matching function with signature: {name}")
    return analyzing(text.split(": ", 1)[-1])


def _asked(ask: Callable[[str], tuple[list[str], list[tuple[Any, ...]]]], sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    try:
        return ask(sql)
    except Exception as problem:
        refusal = refused(problem)
        if refusal is None:
            raise
        raise refusal from problem


def _printed(value: Any, place: int, hidden: set[int], floats: set[int]) -> Any:
    if place in hidden:
        return None
    return single(value) if place in floats and value is not None else value


def _field(name: str, type: str, summed: bool) -> Field:
    if type.startswith("DECIMAL"):
        scale = int(type.rstrip(")").split(",")[1])
        return Field(name, Wire.NEWDECIMAL, scale)
    if type == "HUGEINT":  # SUM of integers is BIGINT in StarRocks; LARGEINT goes as text
        return Field(name, Wire.LONGLONG if summed else Wire.STRING)
    return Field(name, _WIRE.get(type, Wire.VAR_STRING))


def _name(item: Expression) -> str:
    """What the answer calls a column without an alias: its name as written, or its text."""
    if isinstance(item, exp.Alias):
        return str(item.alias)
    if isinstance(item, exp.Column):
        return str(item.name)
    text = str(item.sql(dialect="starrocks", normalize_functions="lower"))
    return text.replace("`", "").replace("CURRENT_VERSION()", "version()").replace(_VERSION_NAME, "current_version")


# -- tables


def _resolve(query: Expression, scope: Scope) -> dict[int, TableDef | None]:
    """Every table under its database; which definition stands behind each node."""
    found: dict[int, TableDef | None] = {}
    for node in list(query.find_all(exp.Table)):
        if not isinstance(node.this, exp.Identifier):
            continue
        name, db = node.name, node.db
        if not db and _is_cte(node, name):
            continue
        if not db and name.lower() == "dual":
            node.parent.pop()
            continue
        db = db or scope.database
        if db.lower() in ("information_schema", "mysql", "sys"):
            source = sqlglot.parse_one(scope.system_table(db.lower(), name.lower()), read="duckdb")
            node.replace(exp.Subquery(this=source, alias=exp.TableAlias(this=exp.to_identifier(node.alias or name))))
            continue
        table = scope.table(db, name)
        node.set("catalog", None)
        node.set("db", exp.to_identifier(table.db, quoted=True))
        node.set("partition", None)
        if not node.alias:
            node.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
        for column in query.find_all(exp.Column):
            if column.table == name and column.args.get("db"):
                column.set("db", None)
                column.set("catalog", None)
        found[id(node)] = table
    return found


def _is_cte(node: Expression, name: str) -> bool:
    above = node.parent
    while above is not None:
        with_ = above.args.get("with_") or above.args.get("with")
        if with_ is not None and any(cte.alias_or_name.lower() == name.lower() for cte in with_.expressions):
            return True
        above = above.parent
    return False


# -- what the session says


def _session_values(query: Expression, scope: Scope) -> None:
    for node in list(query.walk()):
        if isinstance(node, exp.SessionParameter | exp.Parameter):
            mark = "@" if isinstance(node, exp.Parameter) else ""
            node.replace(_literal(scope.variable(f"{mark}{node.this.name}")))
        elif isinstance(node, exp.Like) and "\\" in node.expression.name and not isinstance(node.parent, exp.Escape):
            node.replace(exp.Escape(this=node.copy(), expression=exp.Literal.string("\\")))
        elif isinstance(node, exp.Func):
            name, arguments = _call(node)
            if arguments and name not in ("NOW", "CURRENT_TIMESTAMP", "CURTIME", "CURRENT_TIME"):
                continue
            try:
                value = scope.function(name)
            except KeyError:
                continue
            node.replace(_literal(value))


def _literal(value: Any) -> Expression:
    if value is None:
        return exp.null()
    if isinstance(value, bool):
        return exp.Literal.number(int(value))
    if isinstance(value, int):
        return exp.cast(exp.Literal.number(value), "BIGINT")
    if isinstance(value, dt.datetime):
        return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), "TIMESTAMP")
    if isinstance(value, dt.date):
        return exp.cast(exp.Literal.string(value.isoformat()), "DATE")
    return exp.Literal.string(str(value))


def _call(node: Expression) -> tuple[str, list[Expression]]:
    """Name and arguments of a function call, whether sqlglot knows the function or not."""
    if isinstance(node, exp.Anonymous):
        return str(node.this).upper().removeprefix("STARROCKS_"), list(node.expressions)
    arguments: list[Expression] = []
    for value in node.args.values():
        arguments += [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, exp.Expression)]
    return _CLASSES.get(type(node).__name__, node.sql_name()).upper(), arguments


_CLASSES = {
    "CurrentTimestamp": "NOW",
    "CurrentTimestampLTZ": "NOW",
    "Localtimestamp": "NOW",
    "Localtime": "NOW",
    "CurrentDatetime": "NOW",
    "CurrentDate": "CURDATE",
    "CurrentTime": "CURTIME",
    "UtcTimestamp": "UTC_TIMESTAMP",
    "CurrentSchema": "DATABASE",
    "CurrentDatabase": "DATABASE",
    "CurrentUser": "CURRENT_USER",
    "SessionUser": "USER",
    "CurrentVersion": "VERSION",
    "CurrentCatalog": "CATALOG",
    "TimeToUnix": "UNIX_TIMESTAMP",
}


# -- BITMAP and HLL


def _sketches(query: Expression, tables: Mapping[int, TableDef | None]) -> None:
    for node in reversed(list(query.walk())):
        if isinstance(node, exp.Count) and isinstance(node.this, exp.Distinct):
            values = node.this.expressions
            if len(values) == 1 and _is_sketch(values[0], tables):
                node.replace(_duckdb("bitmap_union_count({0})", values[0]))
        elif isinstance(node, exp.ToMap):
            node.replace(_map(node.this.expressions))
        elif isinstance(node, exp.Func):
            name, arguments = _call(node)
            written = _sketch_call(name, arguments, tables)
            if written is not None:
                node.replace(written)


def _sketch_call(name: str, arguments: list[Expression], tables: Mapping[int, TableDef | None]) -> Expression | None:
    if name in ("NDV", "APPROX_COUNT_DISTINCT", "APPROX_DISTINCT"):
        form = "bitmap_union_count({0})" if _is_sketch(arguments[0], tables) else "COUNT(DISTINCT {0})"
        return _duckdb(form, arguments[0])
    known = _FORMS.get(name)
    return None if known is None else _duckdb(known, *arguments)


_FORMS = {
    "BITMAP_TO_ARRAY": "CAST({0} AS BIGINT[])",
    "BITMAP_OR": "LIST_SORT(LIST_DISTINCT(LIST_CONCAT({0}, {1})))",
    "BITMAP_AND": "LIST_SORT(LIST_INTERSECT({0}, {1}))",
    "BITMAP_HAS_ANY": "LIST_HAS_ANY({0}, {1})",
    "BITMAP_MIN": "LIST_MIN({0})",
    "BITMAP_MAX": "LIST_MAX({0})",
    "PARSE_JSON": "JSON_OR_STRING({0})",
    "GET_JSON_STRING": "JSON_EXTRACT_STRING({0}, {1})",
    "GET_JSON_INT": "CAST(JSON_EXTRACT_STRING({0}, {1}) AS BIGINT)",
    "GET_JSON_DOUBLE": "CAST(JSON_EXTRACT_STRING({0}, {1}) AS DOUBLE)",
}
"""What :data:`~.expressions.MACROS` doesn't have, or sqlglot has a name of its own for."""


def _map(pairs: list[Expression]) -> Expression:
    """``map{k: v}``, which sqlglot reads as a struct with names."""
    keys, values = (
        [side.sql(dialect="duckdb") for side in sides] for sides in zip(*((p.this, p.expression) for p in pairs), strict=True)
    )
    return sqlglot.parse_one(f"MAP([{', '.join(keys)}], [{', '.join(values)}])", read="duckdb")


def _duckdb(form: str, *arguments: Expression) -> Expression:
    return sqlglot.parse_one(form.format(*(f"({argument.sql(dialect='duckdb')})" for argument in arguments)), read="duckdb")


def _is_sketch(value: Expression, tables: Mapping[int, TableDef | None], depth: int = 0) -> bool:
    """Is it a BITMAP or HLL? By the columns of tables, through subqueries and CTEs."""
    if isinstance(value, exp.Paren | exp.Alias):
        return _is_sketch(value.this, tables, depth)
    if isinstance(value, exp.Column):
        select = value.find_ancestor(exp.Select)
        sources = _sources(select) if select is not None and depth < 20 else []
        return any(_column_is_sketch(value, source, tables, depth) for source in sources)
    if isinstance(value, exp.Func):
        return _call(value)[0] in _SKETCHES
    return isinstance(value, exp.List | exp.Cast) and "UBIGINT[]" in value.sql(dialect="duckdb")


def _sources(select: Expression) -> Iterator[Expression]:
    source = select.args.get("from_") or select.args.get("from")
    if source is not None:
        yield source.this
    for join in select.args.get("joins") or ():
        yield join.this


def _column_is_sketch(column: Expression, source: Expression, tables: Mapping[int, TableDef | None], depth: int) -> bool:
    if column.table and column.table.lower() != source.alias_or_name.lower():
        return False
    if isinstance(source, exp.Table):
        table = tables.get(id(source))
        if table is not None:
            there = table.column(column.name)
            return there is not None and base(there.type) in ("bitmap", "hll")
        inner = _cte(source)
    else:
        inner = source.this
    if not isinstance(inner, exp.Select):
        return False
    named = (item for item in inner.expressions if item.alias_or_name.lower() == column.name.lower())
    return any(_is_sketch(item, tables, depth + 1) for item in named)


def _cte(table: Expression) -> Expression | None:
    above = table.parent
    while above is not None:
        with_ = above.args.get("with_") or above.args.get("with")
        for cte in with_.expressions if with_ is not None else ():
            if cte.alias_or_name.lower() == table.name.lower():
                return cte.this
        above = above.parent
    return None
