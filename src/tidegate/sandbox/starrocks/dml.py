"""INSERT, UPDATE and DELETE. Each INSERT is a load under a label: WITH LABEL's, or one of its own.

fe-core ``analyzer/InsertAnalyzer.java``, ``UpdateAnalyzer.java``, ``DeleteAnalyzer.java``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlglot import exp

from tidegate.sandbox.starrocks import select
from tidegate.sandbox.starrocks.coltypes import base
from tidegate.sandbox.starrocks.createtable import split
from tidegate.sandbox.starrocks.model import EngineError, LoadFailed, TableDef
from tidegate.sandbox.starrocks.result import Result
from tidegate.sandbox.starrocks.select import Expression
from tidegate.sandbox.starrocks.sqlerror import SqlError, analyzing, syntax, unknown_column
from tidegate.sandbox.starrocks.sqlfront import SqlSession
from tidegate.sandbox.starrocks.sqltypes import parse_type, quoted
from tidegate.sandbox.starrocks.tokens import Cursor

_LABEL = re.compile(r"[-\w]{1,128}")
_TABLE = "tidegate_target"


def insert(session: SqlSession, cursor: Cursor) -> Result:
    """After INSERT."""
    overwrite = cursor.next.upper == "OVERWRITE"
    table, columns, label = _head(session, cursor)
    rows = _values(session, cursor, table, columns) if cursor.next.upper == "VALUES" else _selected(session, cursor, columns)
    if overwrite:
        session.engine.truncate(table.db, table.name)
    return load(session, table, columns, rows, label)


def check_insert(session: SqlSession, cursor: Cursor) -> None:
    """What EXPLAIN INSERT refuses."""
    _head(session, cursor)
    if cursor.next.upper != "VALUES":
        select.translate(select.parse(cursor.rest().rstrip("; ")), session.scope())


def _head(session: SqlSession, cursor: Cursor) -> tuple[TableDef, list[str], str]:
    """``INTO table [WITH LABEL label] [(columns)]``: the table, its columns, the label or ''."""
    if not cursor.accept("OVERWRITE"):
        cursor.expect("INTO")
    cursor.accept("TABLE")
    table = session.table(*split(cursor.qualified()))
    session.check("INSERT", table)
    label = _label(cursor)
    columns = _columns(cursor, table)
    return table, columns, label or _label(cursor)


def _label(cursor: Cursor) -> str:
    if not cursor.accept("WITH", "LABEL"):
        return ""
    label = cursor.string() if cursor.next.kind == "string" else cursor.name()
    if not _LABEL.fullmatch(label):
        raise analyzing(f"Label format error. regex: ^[-_A-Za-z0-9]{{1,128}}$, label: {label}")
    return label


def _columns(cursor: Cursor, table: TableDef) -> list[str]:
    """The columns that are named, else all of them."""
    if cursor.next.upper != "(" or cursor.peek(1).upper in ("SELECT", "WITH"):
        return [column.name for column in table.columns if column.generated is None]
    names = []
    for name in cursor.names():
        column = table.column(name)
        if column is None:
            raise unknown_column(name, table.name)
        if column.generated is not None:
            raise analyzing(f"materialized column '{column.name}' can not be specified")
        if column.name in names:
            raise analyzing(f"Column '{name}' specified twice", 1110, "42000")
        names.append(column.name)
    for column in table.columns:
        if column.name not in names and not column.optional:
            raise analyzing(f"'{column.name}' must be explicitly mentioned in column permutation", 5002)
    return names


def _mismatch(session: SqlSession, wanted: int, given: int) -> SqlError:
    if session.version >= (3, 4):
        return analyzing(f"Inserted target column count: {wanted} doesn't match select/value column count: {given}", 5604, "42601")
    return analyzing("Column count doesn't match value count", 1058, "21S01")


def _selected(session: SqlSession, cursor: Cursor, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    query = cursor.rest().rstrip("; ")
    if not query:
        raise cursor.unexpected("VALUES", "SELECT")
    translated = select.translate(select.parse(query), session.scope())
    names, rows = _ask(session, translated.sql)
    if len(names) != len(columns):
        raise _mismatch(session, len(columns), len(names))
    return rows


def _values(session: SqlSession, cursor: Cursor, table: TableDef, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of VALUES. What isn't a literal is DuckDB's to compute, all of it in one query."""
    parsed = select.parse(f"INSERT INTO {_TABLE} {cursor.rest()}").expression
    if not isinstance(parsed, exp.Values):
        raise syntax("Unexpected input after VALUES")
    pending: list[Expression] = []
    rows: list[list[Any]] = []
    for item in parsed.expressions:
        cells = list(item.expressions) if isinstance(item, exp.Tuple) else [item.this if isinstance(item, exp.Paren) else item]
        if len(cells) != len(columns):
            raise _mismatch(session, len(columns), len(cells))
        rows.append([_literal(cell, name, table, pending) for cell, name in zip(cells, columns, strict=True)])
    computed: Sequence[Any] = ()
    if pending:
        query = exp.select(*(exp.alias_(cell, f"c{place}") for place, cell in enumerate(pending)))
        computed = _ask(session, select.translate(query, session.scope()).sql)[1][0]
    return [tuple(computed[value.place] if isinstance(value, _Pending) else value for value in row) for row in rows]


class _Pending:
    """A value that is still to be computed: the ``place`` among them."""

    def __init__(self, place: int) -> None:
        self.place = place


def _literal(cell: Expression, column: str, table: TableDef, pending: list[Expression]) -> Any:
    if isinstance(cell, exp.Null):
        return None
    if isinstance(cell, exp.Literal):
        return str(cell.this) if cell.is_string else _number(str(cell.this))
    if isinstance(cell, exp.Neg) and isinstance(cell.this, exp.Literal) and not cell.this.is_string:
        return -_number(str(cell.this.this))
    if isinstance(cell, exp.Boolean):
        return bool(cell.this)
    if isinstance(cell, exp.Var | exp.Column) and cell.name.upper() == "DEFAULT":
        there = table.column(column)
        assert there is not None
        if not there.optional:
            raise analyzing(f"Column has no default value, column={there.name}")
        return there.default
    pending.append(cell.copy())
    return _Pending(len(pending) - 1)


def _number(text: str) -> Any:
    return int(text) if text.isdigit() else float(text) if "e" in text.lower() else Decimal(text)


def load(session: SqlSession, table: TableDef, columns: Sequence[str], rows: Sequence[Sequence[Any]], label: str) -> Result:
    """One load of rows: begun, published and remembered under its label."""
    rows = _named(table, columns, rows)
    labels = session.front.labels
    label = label or f"insert_{uuid.uuid4()}"
    with labels.lock:
        there = labels.find(table.db, label)
        if there is not None and there.state != "ABORTED":
            raise SqlError(f"Label [{label}] has already been used.")
        transaction = labels.add(label, table.db, [table.name])
        transaction.kind, transaction.user = "insert", session.user
        labels.save(transaction)
    try:
        session.engine.insert(table.db, table.name, columns, rows)
    except (LoadFailed, EngineError) as failure:
        with labels.lock:
            transaction.state, transaction.reason, transaction.finished = "ABORTED", str(failure), session.front.now()
            labels.save(transaction)
        raise SqlError(f"{failure}, txn_id = {transaction.id}") from failure
    with labels.lock:
        transaction.state = "VISIBLE"
        transaction.committed = transaction.finished = session.front.now()
        transaction.total_rows = transaction.loaded_rows = len(rows)
        labels.save(transaction)
    info = f"{{'label':'{label}', 'status':'VISIBLE', 'txnId':'{transaction.id}'}}"
    return Result(affected=len(rows), info=info)


def _named(table: TableDef, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """``row(1, 'x')`` has no names: a STRUCT's fields get those of its column."""
    fields: dict[int, tuple[str, ...]] = {}
    for place, name in enumerate(columns):
        column = table.column(name)
        if column is not None and base(column.type) == "struct":
            fields[place] = parse_type(column.type).names
    if not fields:
        return rows
    return [
        [
            dict(zip(fields[place], value, strict=True)) if place in fields and isinstance(value, tuple | list) else value
            for place, value in enumerate(row)
        ]
        for row in rows
    ]


def _ask(session: SqlSession, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    try:
        return session.engine.query(sql)
    except Exception as problem:
        refusal = select.refused(problem)
        if refusal is None:
            raise
        raise refusal from problem


# -- UPDATE and DELETE


def update(session: SqlSession, cursor: Cursor) -> Result:
    """After UPDATE: primary key tables alone, and no column of the key."""
    parsed = select.parse(f"UPDATE {cursor.rest()}")
    table = session.table(parsed.this.db, parsed.this.name)
    session.check("UPDATE", table)
    if table.model != "PRIMARY_KEYS":
        raise analyzing(f"table {table.name} does not support update")
    where = parsed.args.get("where")
    if where is None:
        raise analyzing("must specify where clause to prevent full table update")
    given: dict[str, Expression] = {}
    for assignment in parsed.expressions:
        column = table.column(assignment.this.name)
        if column is None:
            raise unknown_column(assignment.this.name, table.name)
        if column.key:
            raise analyzing(f"primary key column cannot be updated: {column.name}")
        if column.generated is not None:
            raise analyzing(f"materialized column '{column.name}' can not be specified")
        given[column.name] = assignment.expression
    names = [column.name for column in table.columns if column.generated is None]
    items = [exp.alias_(given.get(name, exp.column(name)).copy(), name) for name in names]
    query = exp.select(*items).from_(exp.table_(table.name, db=table.db)).where(where.this.copy())
    rows = _ask(session, select.translate(query, session.scope()).sql)[1]
    if not rows:
        return Result(info="Rows matched: 0")
    return load(session, table, names, rows, "")


def delete(session: SqlSession, cursor: Cursor) -> Result:
    """After DELETE: any condition on primary key tables; on the others comparisons with constants, joined by AND."""
    parsed = select.parse(f"DELETE {cursor.rest()}")
    table = session.table(parsed.this.db, parsed.this.name)
    session.check("DELETE", table)
    where = parsed.args.get("where")
    if where is None:
        raise analyzing("Delete must specify where clause to prevent full table delete")
    if table.model != "PRIMARY_KEYS":
        _check_condition(where.this, table)
    query = exp.select("1").from_(exp.table_(table.name, db=table.db)).where(where.this.copy())
    select.translate(query, session.scope("DELETE"))
    condition = query.args["where"].this.sql(dialect="duckdb").replace(f"{quoted(table.name)}.", "")
    try:
        count = session.engine.delete_where(table.db, table.name, condition)
    except Exception as problem:
        refusal = select.refused(problem)
        if refusal is None:
            raise
        raise refusal from problem
    label = f"delete_{uuid.uuid4()}"
    info = f"{{'label':'{label}', 'status':'VISIBLE', 'txnId':'-1'}}"
    return Result(affected=count if table.model == "PRIMARY_KEYS" else 0, info=info)


def _check_condition(condition: Expression, table: TableDef) -> None:
    if isinstance(condition, exp.And):
        _check_condition(condition.this, table)
        _check_condition(condition.expression, table)
        return
    if isinstance(condition, exp.Paren | exp.Not):
        _check_condition(condition.this, table)
        return
    simple = exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Is
    if not isinstance(condition, simple):
        raise SqlError("Where clause only supports compound predicate, binary predicate, is_null predicate and in predicate")
    if not isinstance(condition.this, exp.Column):
        raise SqlError("Left expr of binary predicate should be column name")
    column = table.column(condition.this.name)
    if column is None:
        raise unknown_column(condition.this.name, table.name)
    if (table.model != "DUP_KEYS" and not column.key) or base(column.type) in ("float", "double"):
        raise SqlError(
            f"Column[{column.name}] is not key column or storage model is not duplicate or column type is float or double."
        )
