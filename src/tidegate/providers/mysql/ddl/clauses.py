"""The clauses of ALTER TABLE, and the options of tables, as far as they can concern rows, columns or the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidegate.changes.schema import TableName
from tidegate.providers.mysql.ddl.coldefs import ColumnDef, column_def
from tidegate.providers.mysql.ddl.cursor import Cursor
from tidegate.providers.mysql.ddl.lexer import NotUnderstood


@dataclass(frozen=True, slots=True)
class AddColumn:
    """ADD COLUMN. ``after``: None is at the end, "" is FIRST."""

    column: ColumnDef
    after: str | None
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropColumn:
    name: str
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class ChangeColumn:
    """CHANGE and MODIFY. ``after``: None is where it stands, "" is FIRST."""

    old: str
    column: ColumnDef
    after: str | None
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class RenameColumn:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class DropIndex:
    """DROP INDEX, KEY, CONSTRAINT, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class RenameIndex:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class AddUnique:
    """A unique index is added: rows stay as they are, but for tools that drop the duplicates."""


@dataclass(frozen=True, slots=True)
class DefaultCharset:
    """The character set and collation of columns that name none; either may be empty. ``convert``: of those that are there too."""

    charset: str
    collation: str
    convert: bool = False


@dataclass(frozen=True, slots=True)
class RenameTable:
    new: TableName


@dataclass(frozen=True, slots=True)
class Altered:
    """ALTER of a column's default: it changes no row, unless the statement adds the column."""

    column: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A clause after which the rows can't be told; ``why`` says so, for people."""

    why: str


Clause = (
    AddColumn
    | DropColumn
    | ChangeColumn
    | RenameColumn
    | DropIndex
    | RenameIndex
    | AddUnique
    | DefaultCharset
    | RenameTable
    | Altered
    | Refused
)
"""What an ALTER TABLE does that matters; a clause that leaves rows, columns and keys alone is none of them."""


def clauses(at: Cursor) -> tuple[Clause, ...]:
    found: list[Clause] = []
    while not at.ended():
        if at.take("PARTITION", "BY") or at.take("REMOVE", "PARTITIONING"):
            # Rows are put into other partitions, or the statement fails; nothing can follow.
            at.rest()
            break
        found += _clause(at)
        # Between table options, commas may be left out.
        at.take(",")
    return tuple(found)


_PARTITION_KEEPS = frozenset(("ADD", "REORGANIZE", "COALESCE", "REBUILD", "OPTIMIZE", "ANALYZE", "CHECK", "REPAIR"))


def _clause(at: Cursor) -> list[Clause]:
    """One clause of ALTER TABLE; nothing if it leaves rows, columns and keys alone."""
    if at.word(1) in ("PARTITION", "PARTITIONS") and at.word() not in ("", "BY"):
        operation = at.word()
        at.rest()
        return [] if operation in _PARTITION_KEEPS else [Refused(f"{operation} PARTITION moves or drops rows")]
    kind = at.word()
    if kind in _CLAUSES:
        at.next()
        return _CLAUSES[kind](at)
    return table_option(at)


def _position(at: Cursor) -> str | None:
    if at.take("FIRST"):
        return ""
    return at.column() if at.take("AFTER") else None


def _add(at: Cursor) -> list[Clause]:
    if at.word() in ("INDEX", "KEY", "FULLTEXT", "SPATIAL", "UNIQUE", "PRIMARY", "CONSTRAINT", "FOREIGN", "CHECK", "VECTOR"):
        return key_element(at)[0]
    if at.word() in ("PERIOD", "SYSTEM"):
        at.rest()
        return [Refused("the table is versioned by the server")]
    at.take("COLUMN")
    absent = at.take("IF", "NOT", "EXISTS")
    if at.take("("):
        found: list[Clause] = []
        while not found or at.take(","):
            key = key_element(at)
            found += key[0] if key[1] else [AddColumn(column_def(at, at.column()), None, absent)]
        at.expect(")")
        return found
    column = column_def(at, at.column())
    return [AddColumn(column, _position(at), absent)]


def key_element(at: Cursor) -> tuple[list[Clause], bool]:
    """An index or a constraint, and whether there was one."""
    start = at.word()
    if at.take("CONSTRAINT") and at.word() not in ("PRIMARY", "UNIQUE", "FOREIGN", "CHECK"):
        at.name()
    kind = at.word()
    if kind == "PRIMARY":
        at.clause()
        return [Refused("the primary key changes")], True
    if kind == "UNIQUE":
        at.clause()
        return [AddUnique()], True
    if kind in ("INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "VECTOR"):
        at.clause()
        return [], True
    if start == "CONSTRAINT":
        raise NotUnderstood("a constraint of an unknown kind")
    return [], False


def _drop(at: Cursor) -> list[Clause]:
    if at.take("PRIMARY", "KEY"):
        return [Refused("the primary key changes")]
    if at.take("FOREIGN", "KEY") or at.take("CHECK"):
        at.take("IF", "EXISTS")
        at.name()
        return []
    if at.take("INDEX") or at.take("KEY") or at.take("CONSTRAINT"):
        at.take("IF", "EXISTS")
        return [DropIndex(at.name())]
    if at.word() in ("PERIOD", "SYSTEM"):
        at.rest()
        return [Refused("the table is versioned by the server")]
    at.take("COLUMN")
    present = at.take("IF", "EXISTS")
    name = at.column()
    at.take("RESTRICT") or at.take("CASCADE")
    return [DropColumn(name, present)]


def _modify(at: Cursor) -> list[Clause]:
    at.take("COLUMN")
    present = at.take("IF", "EXISTS")
    name = at.column()
    column = column_def(at, name)
    return [ChangeColumn(name, column, _position(at), present)]


def _change(at: Cursor) -> list[Clause]:
    at.take("COLUMN")
    present = at.take("IF", "EXISTS")
    old = at.column()
    column = column_def(at, at.column())
    return [ChangeColumn(old, column, _position(at), present)]


def _rename_clause(at: Cursor) -> list[Clause]:
    if at.take("COLUMN"):
        at.take("IF", "EXISTS")
        old = at.column()
        at.expect("TO")
        return [RenameColumn(old, at.name())]
    if at.take("INDEX") or at.take("KEY"):
        old = at.name()
        at.expect("TO")
        return [RenameIndex(old, at.name())]
    at.take("TO") or at.take("AS") or at.take("=")
    return [RenameTable(at.table())]


def _alter(at: Cursor) -> list[Clause]:
    # Defaults of later rows, and what the server does with an index or a constraint.
    index = at.take("INDEX") or at.take("CHECK") or at.take("CONSTRAINT") or at.take("KEY")
    at.take("COLUMN")
    name = "" if index else at.name()
    at.clause()
    return [Altered(name)] if name else []


def _convert(at: Cursor) -> list[Clause]:
    at.expect("TO")
    at.take("CHARACTER", "SET") or at.expect("CHARSET")
    charset = at.text()
    collation = at.text() if at.take("COLLATE") else ""
    return [DefaultCharset(charset, collation, convert=True)]


def _order(at: Cursor) -> list[Clause]:
    # ORDER BY can only end the list; a comma in it goes on with the columns.
    at.rest()
    return []


def _without_value(at: Cursor) -> list[Clause]:
    return []


def _keys(at: Cursor) -> list[Clause]:
    at.expect("KEYS")
    return []


def _tablespace(at: Cursor) -> list[Clause]:
    at.rest()
    return [Refused("the tablespace's rows are replaced")]


_CLAUSES: dict[str, Callable[[Cursor], list[Clause]]] = {
    "ADD": _add,
    "DROP": _drop,
    "MODIFY": _modify,
    "CHANGE": _change,
    "RENAME": _rename_clause,
    "ALTER": _alter,
    "CONVERT": _convert,
    "ORDER": _order,
    "FORCE": _without_value,
    "ENABLE": _keys,
    "DISABLE": _keys,
    "DISCARD": _tablespace,
    "IMPORT": _tablespace,
}

# fmt: off
_OPTIONS = frozenset((
    "ALGORITHM", "AUTO_INCREMENT", "AUTOEXTEND_SIZE", "AVG_ROW_LENGTH", "CHECKSUM", "COMMENT", "COMPRESSION",
    "DELAY_KEY_WRITE", "ENCRYPTED", "ENCRYPTION", "ENCRYPTION_KEY_ID", "ENGINE_ATTRIBUTE", "IETF_QUOTES", "ITEF_QUOTES",
    "KEY_BLOCK_SIZE", "LOCK", "MAX_ROWS", "MIN_ROWS", "PACK_KEYS", "PAGE_CHECKSUM", "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL", "PASSWORD", "ROW_FORMAT", "SECONDARY_ENGINE", "SECONDARY_ENGINE_ATTRIBUTE", "STATS_AUTO_RECALC",
    "STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "TABLE_CHECKSUM", "TABLESPACE", "TRANSACTIONAL",
))
# fmt: on
_ENGINES = frozenset(("INNODB", "MYISAM", "ARIA", "ROCKSDB", "TOKUDB", "XTRADB", "MEMORY", "HEAP", "ARCHIVE", "NDB", "NDBCLUSTER"))
"""Engines that keep the rows they are given (not BLACKHOLE; and not those whose rows lie in other tables or files)."""


def table_option(at: Cursor) -> list[Clause]:
    """An option of ALTER TABLE or CREATE TABLE."""
    at.take("DEFAULT")
    if at.take("CHARACTER", "SET") or at.take("CHARSET"):
        at.take("=")
        charset = at.text()
        if at.take("DEFAULT", "COLLATE") or at.take("COLLATE"):
            at.take("=")
            return [DefaultCharset(charset, at.text())]
        return [DefaultCharset(charset, "")]
    if at.take("COLLATE"):
        at.take("=")
        return [DefaultCharset("", at.text())]
    if at.take("ENGINE") or at.take("TYPE"):
        at.take("=")
        engine = at.text()
        return [] if engine.upper() in _ENGINES else [Refused(f"the engine {engine} may not keep the rows")]
    if at.take("STORAGE", "ENGINE"):
        raise NotUnderstood("STORAGE ENGINE")
    if (at.take("DATA") or at.take("INDEX")) and at.take("DIRECTORY"):
        at.take("=")
        at.next()
        return []
    if (at.take("WITH") or at.take("WITHOUT")) and at.take("VALIDATION"):
        return []
    if at.word() in _OPTIONS:
        at.next()
        at.take("=")
        at.next()
        return []
    raise NotUnderstood(f"the clause {at.shown()}")
