"""CREATE, ALTER, DROP and TRUNCATE of databases and tables.

ALTER TABLE … ADD COLUMN is a job: fe-core ``alter/SchemaChangeHandler.java``. While it runs a second one is refused; how
long it runs is :attr:`~.engine.Engine.alter_seconds`.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence

from tidegate.sandbox.starrocks import admin
from tidegate.sandbox.starrocks.coltypes import shown, widens
from tidegate.sandbox.starrocks.createtable import (
    TABLE_ID,
    Written,
    check_column,
    check_generated,
    read_column,
    read_create_table,
    split,
)
from tidegate.sandbox.starrocks.model import ColumnDef, TableDef
from tidegate.sandbox.starrocks.result import OK, Result
from tidegate.sandbox.starrocks.sqlerror import SqlError, altering, analyzing, denied, no_database, table_exists, unknown_database
from tidegate.sandbox.starrocks.sqlfront import SqlSession
from tidegate.sandbox.starrocks.tokens import Cursor


def create(session: SqlSession, cursor: Cursor) -> Result:
    """After CREATE."""
    if cursor.accept("USER"):
        return admin.create_user(session, cursor)
    if cursor.accept("DATABASE") or cursor.accept("SCHEMA"):
        return _create_database(session, cursor)
    cursor.accept("TEMPORARY")
    if cursor.accept("TABLE"):
        return _create_table(session, cursor)
    raise cursor.unexpected("TABLE", "DATABASE", "USER")


def _create_database(session: SqlSession, cursor: Cursor) -> Result:
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    name = cursor.qualified()[-1]
    if not session.may("CREATE"):
        raise denied("CREATE DATABASE", "CATALOG", "default_catalog", session.user, session.version)
    if name in session.engine.databases():
        if if_not_exists:
            return OK
        raise SqlError(f"Can't create database '{name}'; database exists", 1007)
    session.engine.create_database(name)
    return OK


def _create_table(session: SqlSession, cursor: Cursor) -> Result:
    made = read_create_table(cursor, session.version)
    table = dataclasses.replace(made.table, db=made.table.db or session.database)
    if not table.db:
        raise no_database()
    if table.db not in session.engine.databases():
        raise unknown_database(table.db, session.version)
    if not session.may("CREATE", table.db):
        raise denied("CREATE TABLE", "DATABASE", table.db, session.user, session.version)
    if session.engine.table(table.db, table.name) is not None:
        if made.if_not_exists:
            return OK
        raise table_exists(table.name)
    if made.like is not None:
        source = session.table(*made.like)
        session.check("SELECT", source)
        table = dataclasses.replace(source, db=table.db, name=table.name)
    _check_replicas(session, table)
    # It keeps the id when it is renamed or swapped (fe-core AlterJobMgr.java, swapTableInternal).
    properties = {**table.properties, TABLE_ID: str(10_000 + uuid.uuid4().int % 1_000_000_000)}
    session.engine.create_table(dataclasses.replace(table, properties=properties))
    return OK


def _check_replicas(session: SqlSession, table: TableDef) -> None:
    """fe-core ``server/LocalMetastore.java`` and ``system/SystemInfoService.java``: one backend takes one replica."""
    wanted = table.properties.get("replication_num", session.front.config.text("default_replication_num"))
    if not wanted.lstrip("-").isdigit() or int(wanted) <= 0:
        raise analyzing("Replication num should larger than 0")
    if int(wanted) > 1:
        raise SqlError(
            "Table replication num should be less than or equal to the number of available BE nodes. You can change this default "
            f"by setting the replication_num table properties. Current alive backend is [10001]. , table={table.name}, "
            f"default_replication_num={session.front.config.text('default_replication_num')}"
        )


def drop(session: SqlSession, cursor: Cursor) -> Result:
    """After DROP."""
    if cursor.accept("USER"):
        return admin.drop_user(session, cursor)
    if cursor.accept("DATABASE") or cursor.accept("SCHEMA"):
        return _drop_database(session, cursor)
    cursor.accept("TEMPORARY")
    cursor.expect("TABLE")
    if_exists = cursor.accept("IF", "EXISTS")
    db, name = split(cursor.qualified())
    db = db or session.database
    if if_exists and db and (db not in session.engine.databases() or session.engine.table(db, name) is None):
        return OK
    table = session.table(db, name)
    session.check("DROP", table)
    session.engine.drop_table(table.db, table.name)
    return OK


def _drop_database(session: SqlSession, cursor: Cursor) -> Result:
    if_exists = cursor.accept("IF", "EXISTS")
    name = cursor.qualified()[-1]
    if name not in session.engine.databases():
        if if_exists:
            return OK
        raise SqlError(f"Can't drop database '{name}'; database doesn't exist", 1008)
    if not session.may("DROP", name):
        raise denied("DROP", "DATABASE", name, session.user, session.version)
    session.engine.drop_database(name)
    session.front.labels.drop_database(name)
    return OK


def truncate(session: SqlSession, cursor: Cursor) -> Result:
    """After TRUNCATE."""
    cursor.accept("TABLE")
    table = session.table(*split(cursor.qualified()))
    session.check("DELETE", table)
    _check_state(session, table)
    session.engine.truncate(table.db, table.name)
    return OK


def alter(session: SqlSession, cursor: Cursor) -> Result:
    """After ALTER."""
    if cursor.accept("USER"):
        return admin.alter_user(session, cursor)
    cursor.expect("TABLE")
    table = session.table(*split(cursor.qualified()))
    session.check("ALTER", table)
    if cursor.accept("RENAME"):
        return _rename(session, cursor, table)
    if cursor.accept("SWAP", "WITH"):
        other = session.table(table.db, cursor.name())
        session.check("ALTER", other)
        session.engine.swap(table.db, table.name, other.name)
        return OK
    if cursor.accept("SET"):
        session.engine.set_properties(table.db, table.name, cursor.properties())
        return OK
    return _columns(session, cursor, table)


def _rename(session: SqlSession, cursor: Cursor, table: TableDef) -> Result:
    if cursor.next.upper in ("COLUMN", "PARTITION", "ROLLUP") and cursor.peek(1).kind != "end":
        raise SqlError("tidegate's sandbox renames tables alone", 1235, "42000")
    new = cursor.name()
    _check_state(session, table)
    if session.engine.table(table.db, new) is not None:
        raise SqlError(f"Table name[{new}] is already used")
    session.engine.rename(table.db, table.name, new)
    return OK


def _columns(session: SqlSession, cursor: Cursor, table: TableDef) -> Result:
    added: list[ColumnDef] = []
    modified: list[ColumnDef] = []
    while True:
        if cursor.accept("ADD"):
            cursor.accept("COLUMN")
            added += _added(cursor, session.version)
        elif cursor.accept("MODIFY"):
            cursor.accept("COLUMN")
            modified.append(_modified(table, read_column(cursor, session.version)))
        else:
            raise cursor.unexpected("ADD", "MODIFY", "RENAME", "SWAP", "SET")
        if cursor.accept("FIRST"):
            raise SqlError("tidegate's sandbox adds columns at the end of a table", 1235, "42000")
        if cursor.accept("AFTER"):
            cursor.name()
        if cursor.accept("PROPERTIES"):
            cursor.properties()
        if not cursor.accept(","):
            break
    cursor.done()
    _check_state(session, table)
    names = [column.name.lower() for column in table.columns]
    for column in added:
        if column.name.lower() in names:
            raise analyzing(f"Duplicate column name '{column.name}'", 1060, "42S21")
        names.append(column.name.lower())
        _check_added(column, table)
    check_generated(added, table.columns, table.model)
    if len({column.generated is None for column in added}) > 1:
        raise analyzing("Can not add normal column and Generated Column in the same time")
    if added:
        session.engine.add_columns(table.db, table.name, added)
    if modified:
        session.engine.modify_columns(table.db, table.name, modified)
    return OK


def _added(cursor: Cursor, version: Sequence[int]) -> list[ColumnDef]:
    """One column, or several in parentheses."""
    if not cursor.accept("("):
        return [_value_column(read_column(cursor, version))]
    found = [_value_column(read_column(cursor, version))]
    while cursor.accept(","):
        found.append(_value_column(read_column(cursor, version)))
    cursor.expect(")")
    return found


def _value_column(written: Written) -> ColumnDef:
    if written.is_key or written.column.auto_increment:
        raise SqlError("tidegate's sandbox adds value columns alone, and none with AUTO_INCREMENT", 1235, "42000")
    return written.column


def _check_added(column: ColumnDef, table: TableDef) -> None:
    if table.model == "AGG_KEYS" and column.aggregation is None:
        raise analyzing(f"Column should be key or have aggregation: {column.name}")
    if table.model in ("UNIQUE_KEYS", "DUP_KEYS", "PRIMARY_KEYS") and column.aggregation is not None:
        raise analyzing(f"Can not assign aggregation method on column in {table.model} data model table: {column.name}")
    check_column(column, table.model)
    if not column.nullable and column.default is None:
        raise analyzing(f"Can't add NOT NULL column without default value: {column.name}")


def _modified(table: TableDef, written: Written) -> ColumnDef:
    column = written.column
    there = table.column(column.name)
    if there is None:
        raise SqlError(f"Column[{column.name}] does not exists")
    if not widens(there.type, column.type):
        raise SqlError(f"Can not change {shown(there.type).upper()} to {shown(column.type).upper()}")
    if there.nullable and written.null is False:
        raise SqlError("Can't change null to not null")
    if column.aggregation != there.aggregation and there.aggregation is not None:
        raise SqlError("Can not change aggregation type")
    return dataclasses.replace(column, name=there.name, key=there.key, auto_increment=there.auto_increment)


def _check_state(session: SqlSession, table: TableDef) -> None:
    if table.state != "NORMAL":
        raise altering(table.name, session.version)
