"""What the SHOW statements share: their rows under LIKE, WHERE, ORDER BY and LIMIT, which are DuckDB's to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.sandbox.starrocks import virtual
from tidegate.sandbox.starrocks.model import TableDef
from tidegate.sandbox.starrocks.result import Result
from tidegate.sandbox.starrocks.result import table as texts
from tidegate.sandbox.starrocks.select import parse, refused
from tidegate.sandbox.starrocks.sqlerror import no_database, unknown_database
from tidegate.sandbox.starrocks.sqlfront import SqlSession
from tidegate.sandbox.starrocks.tokens import Cursor, tokens

Rows = Sequence[Sequence[Any]]


def answer(session: SqlSession, cursor: Cursor, names: Sequence[str], rows: Rows, like: int = 0) -> Result:
    """The rows under LIKE (on the column ``like``), WHERE, ORDER BY and LIMIT."""
    if cursor.accept("LIKE"):
        pattern = cursor.string().replace("'", "''")
        tail = f"WHERE `{names[like]}` LIKE '{pattern}'"
    else:
        tail = cursor.rest().rstrip("; ")
    if not tail:
        return texts(names, rows)
    query = parse(f"SELECT * FROM tidegate_show {_quoted(tail, names)}").sql(dialect="duckdb")
    source = virtual.query(virtual.typed(names, rows), rows)
    try:
        found = session.engine.query(f"WITH tidegate_show AS ({source}) {query}")[1]
    except Exception as problem:
        refusal = refused(problem)
        if refusal is None:
            raise
        raise refusal from problem
    return texts(names, found)


def _quoted(tail: str, names: Sequence[str]) -> str:
    """With the columns' names in backticks, since some of them are keywords."""
    known = {name.upper() for name in names}
    out, at = [], 0
    for token in tokens(tail):
        name = token.kind == "word" and token.upper in known
        out += [tail[at : token.start], f"`{token.text}`" if name else tail[token.start : token.stop]]
        at = token.stop
    return "".join(out)


def database(session: SqlSession, cursor: Cursor) -> str:
    """The database of FROM or IN, else the session's."""
    name = cursor.qualified()[-1] if cursor.accept("FROM") or cursor.accept("IN") else session.database
    if not name:
        raise no_database()
    if name not in session.engine.databases() and name.lower() != "information_schema":
        raise unknown_database(name, session.version)
    return name


def check_seen(session: SqlSession, table: TableDef) -> None:
    """SqlError for a table on which the user has no privilege."""
    if not session.sees(table):
        session.check("SELECT", table)
