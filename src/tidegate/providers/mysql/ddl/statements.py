"""The DDL of MySQL and MariaDB, as far as it can concern the rows or columns of a table.

The grammar is closed: a word that isn't in it raises NotUnderstood, so nothing is passed over. It follows the manuals of MySQL
("ALTER TABLE Statement", "CREATE TABLE Statement") and MariaDB. sqlglot's parser isn't used: to it RENAME TABLE, ALTER TABLE …
ADD (…), CONVERT TO and partition clauses are opaque, and it moves table options behind the columns.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tidegate.changes.schema import TableName
from tidegate.providers.mysql.ddl.clauses import Clause, DefaultCharset, Refused, clauses, key_element, table_option
from tidegate.providers.mysql.ddl.coldefs import ColumnDef, column_def
from tidegate.providers.mysql.ddl.cursor import Cursor
from tidegate.providers.mysql.ddl.lexer import NotUnderstood


@dataclass(frozen=True, slots=True)
class AlterTable:
    table: TableName
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class CreateTable:
    """``like``: the table whose columns it takes. ``columns`` and ``primary`` are None where they aren't written out.

    ``filled``: it may be filled by the statement itself.
    """

    table: TableName
    replace: bool
    temporary: bool
    if_not_exists: bool
    like: TableName | None = None
    columns: tuple[ColumnDef, ...] | None = None
    primary: tuple[str, ...] = ()
    default: DefaultCharset | None = None
    filled: bool = False


@dataclass(frozen=True, slots=True)
class DropTables:
    tables: tuple[TableName, ...]
    temporary: bool


@dataclass(frozen=True, slots=True)
class RenameTables:
    pairs: tuple[tuple[TableName, TableName], ...]


@dataclass(frozen=True, slots=True)
class Truncate:
    table: TableName


@dataclass(frozen=True, slots=True)
class DropDatabase:
    name: str


@dataclass(frozen=True, slots=True)
class DropIndexOn:
    """DROP INDEX … ON, and CREATE OR REPLACE INDEX … ON."""

    table: TableName
    name: str


@dataclass(frozen=True, slots=True)
class Harmless:
    """It touches no table's rows or columns."""


@dataclass(frozen=True, slots=True)
class InText:
    """Rows are changed by the statement's text: INSERT, UPDATE and their like. ``text`` is what comes after MariaDB's prefixes."""


Statement = AlterTable | CreateTable | DropTables | RenameTables | Truncate | DropDatabase | DropIndexOn | Harmless | InText

_DML = frozenset(("INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH"))
_HARMLESS = frozenset(("ANALYZE", "CHECK", "OPTIMIZE", "REPAIR", "GRANT", "REVOKE", "FLUSH", "SET", "USE", "RELEASE", "CHANGE"))
_MODIFIERS = frozenset(("ONLINE", "OFFLINE", "AGGREGATE", "UNIQUE", "FULLTEXT", "SPATIAL"))
_OBJECTS = frozenset(
    ("VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "USER", "ROLE", "SERVER", "SEQUENCE", "PACKAGE", "TABLESPACE", "LOGFILE")
)
"""What can be created, altered or dropped without a table's rows or columns changing with it."""


def verb(at: Cursor) -> str:
    """Skip what MariaDB lets stand before a statement that is run all the same (SET STATEMENT … FOR, ANALYZE); then its verb."""
    while True:
        if at.take("SET", "STATEMENT"):
            while not at.take("FOR"):
                at.skip()
        elif at.word() == "ANALYZE" and at.word(1) in _DML | {"FORMAT"}:
            at.next()
            if at.take("FORMAT"):
                at.take("=")
                at.next()
        else:
            return at.word()


def parse(at: Cursor) -> Statement:
    """The statement at hand. Raises NotUnderstood."""
    kind = verb(at)
    if kind in _DML:
        return InText()
    if kind in _HARMLESS:
        return Harmless()
    at.next()
    if kind == "TRUNCATE":
        at.take("TABLE")
        return Truncate(at.table())
    if kind == "RENAME":
        return _rename(at)
    if kind in ("CREATE", "DROP", "ALTER"):
        return _definition(at, kind)
    raise NotUnderstood(f"{kind or 'a statement'} isn't known")


def _rename(at: Cursor) -> Statement:
    if at.take("USER"):
        return Harmless()
    at.expect("TABLE", "TABLES")
    at.take("IF", "EXISTS")
    pairs = []
    while True:
        old = at.table()
        _wait(at)
        at.expect("TO")
        pairs.append((old, at.table()))
        if not at.take(","):
            at.end()
            return RenameTables(tuple(pairs))


def _wait(at: Cursor) -> None:
    if at.take("WAIT"):
        at.next()
    else:
        at.take("NOWAIT")


def _definition(at: Cursor, kind: str) -> Statement:
    """CREATE, DROP or ALTER of whatever it is."""
    replace, temporary, ignore = at.take("OR", "REPLACE"), False, False
    while True:
        if at.word() in _MODIFIERS:
            at.next()
        elif at.take("TEMPORARY"):
            temporary = True
        elif at.take("IGNORE"):
            ignore = True
        elif at.take("ALGORITHM") or at.take("DEFINER"):
            at.expect("=")
            at.next()
            if at.take("("):
                at.expect(")")
            if at.take("@"):
                at.next()
        elif at.take("SQL", "SECURITY"):
            at.next()
        else:
            break
    if at.word() in _OBJECTS:
        return Harmless()
    if at.take("DATABASE") or at.take("SCHEMA"):
        if kind != "DROP":
            return Harmless()
        at.take("IF", "EXISTS")
        return DropDatabase(at.name())
    if at.take("INDEX"):
        return _index(at, kind == "DROP" or replace)
    at.expect(*("TABLE", "TABLES") if kind == "DROP" else ("TABLE",))
    if kind == "CREATE":
        return _create(at, replace, temporary)
    if kind == "DROP":
        at.take("IF", "EXISTS")
        tables = [at.table()]
        while at.take(","):
            tables.append(at.table())
        return DropTables(tuple(tables), temporary)
    at.take("IF", "EXISTS")
    table = at.table()
    _wait(at)
    if ignore:
        return AlterTable(table, (Refused("IGNORE drops or changes rows that don't fit"),))
    try:
        return AlterTable(table, clauses(at))
    except NotUnderstood as reason:
        return AlterTable(table, (Refused(str(reason)),))


def _index(at: Cursor, drops: bool) -> Statement:
    at.take("IF", "NOT", "EXISTS") or at.take("IF", "EXISTS")
    name = at.name()
    if at.take("USING"):
        at.next()
    at.expect("ON")
    table = at.table()
    return DropIndexOn(table, name) if drops else Harmless()


_FILLS = frozenset(("SELECT", "AS", "VALUES", "TABLE", "WITH", "IGNORE", "REPLACE"))


def _create(at: Cursor, replace: bool, temporary: bool) -> CreateTable:
    optional = at.take("IF", "NOT", "EXISTS")
    table = at.table()
    start = at.mark()
    filled = False
    while not at.ended():
        # A generated column's expression can't hold a subquery, so SELECT in parentheses fills the table as well.
        filled = filled or at.word() in _FILLS or (at.word() == "(" and at.word(1) == "SELECT")
        at.skip()
    at.back(start)
    if at.take("LIKE"):
        return CreateTable(table, replace, temporary, optional, like=at.table())
    if at.word() == "(" and at.word(1) == "LIKE":
        at.next()
        at.next()
        return CreateTable(table, replace, temporary, optional, like=at.table())
    plain = CreateTable(table, replace, temporary, optional, filled=filled)
    if filled:
        return plain
    try:
        return _written_out(at, plain)
    except NotUnderstood:
        # A new, empty table all the same.
        return plain


def _written_out(at: Cursor, plain: CreateTable) -> CreateTable:
    """The columns and the primary key of CREATE TABLE … (…)."""
    at.expect("(")
    columns: list[ColumnDef] = []
    primary: tuple[str, ...] = ()
    first = True
    while first or at.take(","):
        first = False
        if at.take("PRIMARY", "KEY"):
            while at.word() != "(":
                at.next()
            primary = at.names()
            at.clause()
        elif not key_element(at)[1]:
            column = column_def(at, at.column())
            columns.append(column)
            if column.primary:
                primary = (column.name,)
    at.expect(")")
    default: DefaultCharset | None = None
    while not at.ended() and at.word() not in ("PARTITION", "START"):
        for option in table_option(at):
            if not isinstance(option, DefaultCharset):
                raise NotUnderstood("a table option")
            default = option
        at.take(",")
    return dataclasses.replace(plain, columns=tuple(columns), primary=primary, default=default)
