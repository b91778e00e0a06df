"""Statements for the query port: text in, text out, no connection.

CREATE TABLE is made by SQLAlchemy with the dialect ``starrocks``, which knows the table models, ``DISTRIBUTED BY`` and
``PROPERTIES``. The rest is written here, since the dialect has nothing for it: ADD and MODIFY COLUMN, SWAP WITH, SHOW. Neither does
its reflection carry what is needed: it gives SQLAlchemy types for the types as StarRocks writes them, asks five questions a table,
and leaves out which columns are generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tidegate.changes.schema import TableName

KeyClause = Literal["PRIMARY KEY", "DUPLICATE KEY"]


@dataclass(frozen=True, slots=True)
class NewColumn:
    """A column of a statement. ``type`` and ``default`` are SQL (``varchar(20)``, ``'0'``)."""

    name: str
    type: str
    nullable: bool = True
    default: str | None = None


def name(text: str) -> str:
    """An identifier in backticks."""
    return "`" + text.replace("`", "``") + "`"


def names(texts: Sequence[str]) -> str:
    return ", ".join(name(text) for text in texts)


def table(table: TableName) -> str:
    """A table with its database. An empty schema is the session's own, which no session here has: see ``Metadata.full``."""
    return f"{name(table.schema)}.{name(table.name)}" if table.schema else name(table.name)


def literal(text: str) -> str:
    """A string; a backslash escapes in StarRocks as in MySQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def create_database(database: str) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {name(database)}"


def create_table(
    target: TableName,
    columns: Sequence[NewColumn],
    clause: KeyClause,
    key: Sequence[str],
    distributed: Sequence[str],
    properties: Mapping[str, str],
    *,
    if_not_exists: bool = False,
) -> str:
    """CREATE TABLE with the key columns first, in the key's order, as StarRocks demands.

    ``distributed`` are the columns to hash by; empty: RANDOM (duplicate key tables, StarRocks 3.1).
    """
    from sqlalchemy import Column, MetaData, Table, text
    from sqlalchemy.schema import CreateTable
    from sqlalchemy.sql.elements import quoted_name
    from sqlalchemy.types import UserDefinedType
    from starrocks.dialect import StarRocksDialect

    class Written(UserDefinedType[object]):
        """A type by its name."""

        cache_ok = True

        def __init__(self, written: str) -> None:
            self.written = written

        def get_col_spec(self, **_: object) -> str:
            return self.written

    ordered = [*(column for item in key for column in columns if column.name == item), *(c for c in columns if c.name not in key)]
    # The options in capitals: in small letters the dialect takes the key for a list of bare names, and finds no quoted one.
    options: dict[str, Any] = {
        f"starrocks_{clause.replace(' ', '_')}": names(key),
        "starrocks_DISTRIBUTED_BY": f"HASH({names(distributed)})" if distributed else "RANDOM",
        "starrocks_PROPERTIES": dict(properties),
    }
    made = Table(
        quoted_name(target.name, True),
        MetaData(),
        *(
            Column(
                quoted_name(column.name, True),
                Written(column.type),
                nullable=column.nullable,
                server_default=text(column.default) if column.default is not None else None,
            )
            for column in ordered
        ),
        schema=quoted_name(target.schema, True) if target.schema else None,
        **options,
    )
    # A paramstyle without % keeps the names as they are: the driver's doubles every % for its own formatting.
    compiled = CreateTable(made, if_not_exists=if_not_exists).compile(dialect=StarRocksDialect(paramstyle="named"))
    lines = [line.strip() for line in str(compiled).splitlines() if line.strip()]
    return "".join(
        line if line.endswith("(") or following.startswith(")") else f"{line} "
        for line, following in zip(lines, [*lines[1:], ")"], strict=True)
    )


def _declared(column: NewColumn) -> str:
    null = "NULL" if column.nullable else "NOT NULL"
    default = f" DEFAULT {column.default}" if column.default is not None else ""
    return f"{name(column.name)} {column.type} {null}{default}"


def add_columns(target: TableName, columns: Sequence[NewColumn]) -> str:
    """One ALTER for all of them: a table takes one ALTER at a time."""
    return f"ALTER TABLE {table(target)} " + ", ".join(f"ADD COLUMN {_declared(column)}" for column in columns)


def modify_column(target: TableName, column: NewColumn, aggregation: str | None = None) -> str:
    """The whole declaration is repeated, as StarRocks wants it: what is left out would be changed too."""
    declared = _declared(column)
    if aggregation:
        declared = declared.replace(f" {column.type} ", f" {column.type} {aggregation} ", 1)
    return f"ALTER TABLE {table(target)} MODIFY COLUMN {declared}"


def drop_table(target: TableName, *, force: bool = False) -> str:
    """``force``: at once; else the server keeps it for a day, to be recovered."""
    return f"DROP TABLE IF EXISTS {table(target)}{' FORCE' if force else ''}"


def truncate(target: TableName) -> str:
    return f"TRUNCATE TABLE {table(target)}"


def rename(target: TableName, new: str) -> str:
    """Within its database."""
    return f"ALTER TABLE {table(target)} RENAME {name(new)}"


def swap(target: TableName, other: str) -> str:
    """Exchange the table with another of its database, atomically."""
    return f"ALTER TABLE {table(target)} SWAP WITH {name(other)}"


def grant(rights: Sequence[str], where: str, user: str) -> str:
    """``where`` is a TABLE, a DATABASE or ALL TABLES IN DATABASE. In the syntax of StarRocks 3."""
    return f"GRANT {', '.join(rights)} ON {where} TO USER {literal(user)}"


def any_row(target: TableName) -> str:
    return f"SELECT 1 FROM {table(target)} LIMIT 1"


def frontend_config(setting: str) -> str:
    return f"ADMIN SHOW FRONTEND CONFIG LIKE {literal(setting)}"


def set_frontend_config(setting: str, value: int) -> str:
    """For people: it holds until the frontend restarts, so fe.conf needs it too."""
    return f'ADMIN SET FRONTEND CONFIG ("{setting}" = "{value}")'


def show_alter(target: TableName) -> str:
    """All changes of the table's columns that the server remembers. Not its latest alone: CreateTime is in whole seconds."""
    return f"SHOW ALTER TABLE COLUMN FROM {name(target.schema)} WHERE TableName = {literal(target.name)}"


TRANSACTIONS = "SHOW PROC '/transactions'"
"""The databases that have transactions: DbId and DbName. StarRocks 2.5 takes no names in the paths below."""


def transactions(database_id: int, state: Literal["running", "finished"]) -> str:
    """2000 of them at most (fe TransProcDir.MAX_SHOW_ENTRIES)."""
    return f"SHOW PROC {literal(f'/transactions/{database_id}/{state}')}"
