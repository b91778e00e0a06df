"""SHOW, DESC and EXPLAIN: databases, tables, columns, variables, nodes.

Columns: fe-core ``sql/ast/Show*Stmt.java`` (getMetaData) and ``common/proc``, docs ``sql-statements``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidegate.sandbox.starrocks import admin, dml, show_jobs, virtual
from tidegate.sandbox.starrocks.answers import answer, check_seen, database
from tidegate.sandbox.starrocks.coltypes import shown
from tidegate.sandbox.starrocks.createtable import PARTITION_BY, split
from tidegate.sandbox.starrocks.information_schema import BACKEND_ID, sort_key
from tidegate.sandbox.starrocks.model import ColumnDef, TableDef
from tidegate.sandbox.starrocks.result import Result
from tidegate.sandbox.starrocks.result import table as texts
from tidegate.sandbox.starrocks.select import parse, translate
from tidegate.sandbox.starrocks.sqlerror import unknown_database
from tidegate.sandbox.starrocks.sqlfront import SqlSession
from tidegate.sandbox.starrocks.tokens import Cursor, listed

_MODEL_WORDS = {
    "PRIMARY_KEYS": "PRIMARY KEY",
    "UNIQUE_KEYS": "UNIQUE KEY",
    "DUP_KEYS": "DUPLICATE KEY",
    "AGG_KEYS": "AGGREGATE KEY",
}


def show(session: SqlSession, cursor: Cursor) -> Result:
    """After SHOW."""
    full = cursor.accept("FULL")
    if cursor.next.upper in ("GLOBAL", "SESSION", "LOCAL"):
        cursor.take()
    if cursor.next.upper in ("COLUMNS", "FIELDS", "TABLES"):
        return _SHOWN[cursor.take().upper](session, cursor, full)
    for words, handler in _PLAIN.items():
        if cursor.accept(*words):
            return handler(session, cursor)
    raise cursor.unexpected("TABLES", "DATABASES", "COLUMNS", "CREATE", "VARIABLES")


def describe(session: SqlSession, cursor: Cursor) -> Result:
    """DESC table: Key says true or false (docs, DESCRIBE)."""
    table = session.table(*split(cursor.qualified()))
    check_seen(session, table)
    rows = [_described(column, "true" if column.key else "false") for column in table.columns]
    return texts(("Field", "Type", "Null", "Key", "Default", "Extra"), rows)


def explain(session: SqlSession, cursor: Cursor) -> Result:
    """EXPLAIN of a query or of an INSERT: privileges and names are checked, the plan is one line."""
    for word in ("VERBOSE", "COSTS", "LOGICAL", "ANALYZE"):
        cursor.accept(word)
    if cursor.next.upper not in ("SELECT", "WITH", "INSERT"):
        return describe(session, cursor)
    if cursor.accept("INSERT"):
        dml.check_insert(session, cursor)
    else:
        translate(parse(cursor.rest().rstrip("; ")), session.scope())
    return texts(("Explain String",), [("PLAN FRAGMENT 0",)])


# -- databases, tables, columns


def _databases(session: SqlSession, cursor: Cursor) -> Result:
    return answer(session, cursor, ("Database",), [(name,) for name in sorted({*session.engine.databases(), "information_schema"})])


def _tables(session: SqlSession, cursor: Cursor, full: bool) -> Result:
    db = database(session, cursor)
    names = sorted(table.name for table in session.engine.tables(db) if session.sees(table))
    header = (f"Tables_in_{db}", "Table_type") if full else (f"Tables_in_{db}",)
    return answer(session, cursor, header, [(name, "BASE TABLE")[: len(header)] for name in names])


def _columns(session: SqlSession, cursor: Cursor, full: bool) -> Result:
    if not (cursor.accept("FROM") or cursor.accept("IN")):
        raise cursor.unexpected("FROM", "IN")
    db, name = split(cursor.qualified())
    if cursor.accept("FROM") or cursor.accept("IN"):
        db = cursor.name()
    table = session.table(db, name)
    check_seen(session, table)
    rows: list[tuple[Any, ...]] = []
    for column in table.columns:
        short = _described(column, "YES" if column.key else "NO")
        rows.append((*short[:2], "", *short[2:], "", column.comment) if full else short)
    header = ("Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment")
    return answer(session, cursor, header if full else ("Field", "Type", "Null", "Key", "Default", "Extra"), rows)


def _described(column: ColumnDef, key: str) -> tuple[Any, ...]:
    """``canonicalName`` is in lower case and without display widths (fe-core ``qe/ShowExecutor.java``, SHOW COLUMNS)."""
    return (column.name, column.type, "YES" if column.nullable else "NO", key, column.default, column.aggregation or "")


def _create_table(session: SqlSession, cursor: Cursor) -> Result:
    table = session.table(*split(cursor.qualified()))
    check_seen(session, table)
    return texts(("Table", "Create Table"), [(table.name, create_statement(table, session.version))])


def create_statement(table: TableDef, version: Sequence[int]) -> str:
    """As SHOW CREATE TABLE writes it (fe-core ``catalog/OlapTable`` by ``sql/analyzer/AstToStringBuilder.getDdlStmt``)."""
    lines = ["CREATE TABLE `" + table.name + "` (", ",\n".join(f"  {_column_clause(column)}" for column in table.columns)]
    lines.append(") ENGINE=OLAP ")
    lines.append(f"{_MODEL_WORDS[table.model]}({listed(table.key)})")
    if table.comment:
        lines.append(f'COMMENT "{table.comment}"')
    if PARTITION_BY in table.properties:
        lines.append(f"PARTITION BY {table.properties[PARTITION_BY]}")
    buckets = f" BUCKETS {table.buckets} " if table.buckets > 1 else ""
    lines.append(
        f"DISTRIBUTED BY HASH({listed(table.distribution)}){buckets}" if table.distribution else f"DISTRIBUTED BY RANDOM{buckets}"
    )
    if sort_key(table) != table.key:
        lines.append(f"ORDER BY({listed(sort_key(table))})")
    properties = {"compression": "LZ4", "replicated_storage": "true", "replication_num": "1"}
    if tuple(version) >= (3, 2):
        properties["fast_schema_evolution"] = "true"
    if table.model == "PRIMARY_KEYS":
        properties["enable_persistent_index"] = "true"
    properties |= {name: value for name, value in table.properties.items() if not name.startswith("tidegate.")}
    lines.append("PROPERTIES (\n" + ",\n".join(f'"{name}" = "{value}"' for name, value in sorted(properties.items())) + "\n);")
    return "\n".join(lines)


def _column_clause(column: ColumnDef) -> str:
    words = [f"`{column.name}`", shown(column.type)]
    if column.aggregation:
        words.append(column.aggregation)
    words.append("NULL" if column.nullable else "NOT NULL")
    if column.auto_increment:
        words.append("AUTO_INCREMENT")
    if column.generated is not None:
        words.append(f"AS {column.generated}")
    if column.default is not None:
        words.append(f"DEFAULT {column.default}" if column.default == "CURRENT_TIMESTAMP" else f'DEFAULT "{column.default}"')
    words.append(f'COMMENT "{column.comment}"')
    return " ".join(words)


def _create_database(session: SqlSession, cursor: Cursor) -> Result:
    name = cursor.qualified()[-1]
    if name not in session.engine.databases():
        raise unknown_database(name, session.version)
    return texts(("Database", "Create Database"), [(name, f"CREATE DATABASE `{name}`")])


def _table_status(session: SqlSession, cursor: Cursor) -> Result:
    db = database(session, cursor)
    names = virtual.words(
        "Name Engine Version Row_format Rows Avg_row_length Data_length Max_data_length Index_length Data_free Auto_increment "
        "Create_time Update_time Check_time Collation Checksum Create_options Comment"
    )
    rows = []
    for table in session.engine.tables(db):
        if session.sees(table):
            count = session.engine.row_count(db, table.name)
            rows.append(
                (table.name, "StarRocks", None, None, count, 0, 0, *[None] * 7, "utf8_general_ci", None, None, table.comment)
            )
    return answer(session, cursor, names, rows)


# -- the cluster


def _variables(session: SqlSession, cursor: Cursor) -> Result:
    return answer(session, cursor, ("Variable_name", "Value"), session.variables.all())


def _backends(session: SqlSession, cursor: Cursor) -> Result:
    session.check_system()
    there = session.front.cluster()
    names = virtual.words("BackendId IP HeartbeatPort BePort HttpPort BrpcPort Alive SystemDecommissioned TabletNum Version")
    tablets = sum(table.buckets for db in session.engine.databases() for table in session.engine.tables(db))
    row = (BACKEND_ID, there.be_host, 9050, 9060, there.be_http_port, 8060, "true", "false", tablets, session.front.current_version)
    return answer(session, cursor, names, [row])


def _frontends(session: SqlSession, cursor: Cursor) -> Result:
    session.check_system()
    there = session.front.cluster()
    names = virtual.words("Name IP EditLogPort HttpPort QueryPort RpcPort Role ClusterId Join Alive Version")
    row = (f"{there.fe_host}_9010", there.fe_host, 9010, there.fe_http_port, there.fe_query_port, 9020, "LEADER", 1, "true", "true")
    return answer(session, cursor, names, [(*row, session.front.current_version)])


def _processlist(session: SqlSession, cursor: Cursor) -> Result:
    names = virtual.words("ServerName Id User Host Db Command ConnectionStartTime Time State Info IsPending Warehouse")
    row = (
        "127.0.0.1",
        session.number,
        session.user,
        "127.0.0.1",
        session.database,
        "Query",
        session.now(),
        0,
        "OK",
        "",
        "false",
        "",
    )
    return answer(session, cursor, names, [row])


def _empty(names: str) -> Callable[[SqlSession, Cursor], Result]:
    def handler(session: SqlSession, cursor: Cursor) -> Result:
        return texts(names.split(), [])

    return handler


def _constant(names: str, *rows: tuple[str, ...]) -> Callable[[SqlSession, Cursor], Result]:
    def handler(session: SqlSession, cursor: Cursor) -> Result:
        return answer(session, cursor, names.split(), rows)

    return handler


_SHOWN: dict[str, Callable[[SqlSession, Cursor, bool], Result]] = {"TABLES": _tables, "COLUMNS": _columns, "FIELDS": _columns}
_INDEX = (
    "Table Non_unique Key_name Seq_in_index Column_name Collation Cardinality Sub_part Packed Null Index_type Comment "
    "Index_comment Properties"
)
_PLAIN: dict[tuple[str, ...], Callable[[SqlSession, Cursor], Result]] = {
    ("DATABASES",): _databases,
    ("SCHEMAS",): _databases,
    ("CREATE", "TABLE"): _create_table,
    ("CREATE", "DATABASE"): _create_database,
    ("TABLE", "STATUS"): _table_status,
    ("VARIABLES",): _variables,
    ("GRANTS",): admin.show_grants,
    ("BACKENDS",): _backends,
    ("FRONTENDS",): _frontends,
    ("PROCESSLIST",): _processlist,
    ("PARTITIONS",): show_jobs.partitions,
    ("TABLET",): show_jobs.tablet,
    ("ALTER", "TABLE"): show_jobs.alter_table,
    ("TRANSACTION",): show_jobs.transaction,
    ("STREAM", "LOAD"): show_jobs.stream_load,
    ("LOAD",): show_jobs.load,
    ("PROC",): show_jobs.proc,
    ("WARNINGS",): _empty("Level Code Message"),
    ("ERRORS",): _empty("Level Code Message"),
    ("STATUS",): _empty("Variable_name Value"),
    ("TRIGGERS",): _empty("Trigger Event Table Statement Timing Created sql_mode Definer"),
    ("EVENTS",): _empty("Db Name Definer"),
    ("PLUGINS",): _empty("Name Status Type Library License"),
    ("PROCEDURE", "STATUS"): _empty("Db Name Type Definer Modified Created Security_type Comment"),
    ("FUNCTION", "STATUS"): _empty("Db Name Type Definer Modified Created Security_type Comment"),
    ("INDEX",): _empty(_INDEX),
    ("INDEXES",): _empty(_INDEX),
    ("KEYS",): _empty(_INDEX),
    ("KEY",): _empty(_INDEX),
    ("ENGINES",): _constant(
        "Engine Support Comment Transactions XA Savepoints",
        ("OLAP", "YES", "Default storage engine of StarRocks", "NO", "NO", "NO"),
    ),
    ("COLLATION",): _constant(
        "Collation Charset Id Default Compiled Sortlen", ("utf8_general_ci", "utf8", "33", "Yes", "Yes", "1")
    ),
    ("CHARSET",): _constant("Charset Description Default_collation Maxlen", ("utf8", "UTF-8 Unicode", "utf8_general_ci", "3")),
    ("CHARACTER", "SET"): _constant(
        "Charset Description Default_collation Maxlen", ("utf8", "UTF-8 Unicode", "utf8_general_ci", "3")
    ),
    ("CATALOGS",): _constant(
        "Catalog Type Comment",
        ("default_catalog", "Internal", "An internal catalog contains this cluster's self-managed tables."),
    ),
}
