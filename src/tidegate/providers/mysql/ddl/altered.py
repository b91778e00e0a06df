"""A table before and after a statement: what an ALTER TABLE makes of it, and what a table that takes its place leaves of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate.changes.schema import Column, TableSchema
from tidegate.errors import SchemaError
from tidegate.providers.mysql.ddl import clauses as cl
from tidegate.providers.mysql.ddl import statements as st
from tidegate.providers.mysql.ddl.coldefs import ColumnDef
from tidegate.providers.mysql.ddl.collations import Collations
from tidegate.providers.mysql.ddl.columnmaker import column_of, resized
from tidegate.providers.mysql.ddl.constants import initial
from tidegate.providers.mysql.ddl.cursor import Cursor
from tidegate.providers.mysql.ddl.lexer import NotUnderstood
from tidegate.providers.mysql.ddl.widening import loss
from tidegate.providers.mysql.policy import Policies
from tidegate.providers.mysql.types import TEXTS, MySqlColumn, MySqlTable


@dataclass(frozen=True, slots=True)
class AddedColumn:
    """A new column, and what every row that was there holds in it: a scalar of its type, None for NULL."""

    column: Column
    value: Any


@dataclass(frozen=True, slots=True)
class Altered:
    """The table has other columns; each row that was there holds what it held, and in the added ones what they say.

    ``table`` is the table after the statement. ``renamed``: old and new name. ``changed``: the columns (by their new name) whose
    canonical type, attributes or nullability are others now, all wider.
    """

    table: MySqlTable
    added: tuple[AddedColumn, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """What DDL means on a server: its collations, and whose it is."""

    collations: Collations
    mariadb: bool

    def column(self, definition: ColumnDef, collation: str, policies: Policies) -> MySqlColumn:
        """The column that a definition makes in a table, where ``collation`` is that of columns that name none."""
        return column_of(definition, collation, self.collations, policies, mariadb=self.mariadb)


def alter(before: MySqlTable, clauses: Sequence[cl.Clause], dialect: Dialect) -> Altered:
    """What the clauses of one ALTER TABLE make of a table. Raises NotUnderstood, with the reason, if its rows can't be told."""
    work = _Work(before, dialect)
    for clause in clauses:
        work.take(clause)
    return work.result()


@dataclass(slots=True)
class _Work:
    """An ALTER TABLE while it is put together."""

    before: MySqlTable
    dialect: Dialect
    collation: str = ""
    convert: tuple[str, str] | None = None
    alters: set[str] = field(default_factory=set)
    index: str = ""
    dropped: set[str] = field(default_factory=set)
    changes: dict[str, cl.ChangeColumn] = field(default_factory=dict)
    renames: dict[str, str] = field(default_factory=dict)
    placed: list[cl.AddColumn | cl.ChangeColumn] = field(default_factory=list)
    columns: list[MySqlColumn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.collation, self.index = self.before.collation, self.before.index

    def take(self, clause: cl.Clause) -> None:
        """Note what a clause asks for; all clauses speak of the table as it was."""
        match clause:
            case cl.Refused(why):
                raise NotUnderstood(why)
            case cl.DropIndex(name):
                if name.upper() == "PRIMARY" or name.lower() == self.index.lower():
                    raise NotUnderstood("the index of the key is dropped")
            case cl.Altered():
                self.alters.add(clause.column.lower())
            case cl.RenameIndex(old, new) if old.lower() == self.index.lower():
                self.index = new
            case cl.DefaultCharset(charset, collation, convert):
                found, self.collation = self.dialect.collations.resolve(charset, collation, self.before.collation)
                self.convert = (found, self.collation) if convert else self.convert
            case cl.DropColumn(name, if_exists):
                if self._has(name, optional=if_exists):
                    self.dropped.add(name.lower())
            case cl.RenameColumn(old, new):
                self._has(old)
                self.renames[old.lower()] = new
            case cl.ChangeColumn():
                if self._has(clause.old, optional=clause.if_exists):
                    self.changes[clause.old.lower()] = clause
                    if clause.after is not None:
                        self.placed.append(clause)
            case cl.AddColumn():
                if clause.if_not_exists and clause.column.name.lower() in self._by_name():
                    return
                self.placed.append(clause)
            case _:
                pass

    def _by_name(self) -> dict[str, MySqlColumn]:
        return {column.name.lower(): column for column in self.before.columns}

    def _has(self, name: str, *, optional: bool = False) -> bool:
        found = name.lower() in self._by_name()
        if not found and not optional:
            raise NotUnderstood(f"it names the column {name}, which the table isn't known to have")
        return found

    def result(self) -> Altered:
        """Put the columns together as the server does: those that stay, in place; then those that are given a place, in order."""
        both = [self.dropped & self.changes.keys(), self.dropped & self.renames.keys(), self.changes.keys() & self.renames.keys()]
        if any(both):
            raise NotUnderstood("it names a column twice")
        keyed = {name.lower() for name in self.before.schema.key}
        if keyed & self.dropped:
            raise NotUnderstood("a column of the key is dropped")
        if self.changes or self.convert:
            self._check_computed()
        changed_to = {
            column.name.lower(): self._changed(column, self.changes[column.name.lower()])
            for column in self.before.columns
            if column.name.lower() in self.changes
        }
        for column in self.before.columns:
            name = column.name.lower()
            if name in self.dropped or (name in self.changes and self.changes[name].after is not None):
                continue
            self.columns.append(changed_to[name] if name in changed_to else self._kept(column))
        added = []
        for clause in self.placed:
            if isinstance(clause, cl.ChangeColumn):
                self._place(changed_to[clause.old.lower()], clause.after)
                continue
            column = self.dialect.column(clause.column, self.collation, self.before.policies_of(clause.column.name))
            if clause.column.primary:
                raise NotUnderstood("the primary key changes")
            if clause.column.name.lower() in self.alters:
                raise NotUnderstood(f"it adds {clause.column.name} and gives it another default at once")
            value = initial(clause.column, column, mariadb=self.dialect.mariadb)
            self._place(column, clause.after)
            added.append(AddedColumn(column.column, value))
        return self._altered(tuple(added), {old: column.name for old, column in changed_to.items()})

    def _check_computed(self) -> None:
        if any(column.generated for column in self.before.columns):
            raise NotUnderstood("columns are changed from which the server may compute others")

    def _kept(self, column: MySqlColumn) -> MySqlColumn:
        if self.convert and column.data_type in TEXTS | {"enum", "set"}:
            made = resized(column, *self.convert, self.dialect.collations)
            if why := loss(column, made, self.dialect.collations):
                raise NotUnderstood(why)
            column = made
        elif self.convert and column.data_type == "json" and self.dialect.mariadb:
            raise NotUnderstood("the character set of a JSON column changes")
        new = self.renames.get(column.name.lower())
        return _named(column, new) if new is not None else column

    def _changed(self, old: MySqlColumn, clause: cl.ChangeColumn) -> MySqlColumn:
        definition = clause.column
        in_key = old.name in self.before.schema.key
        if in_key and definition.null is None and self.index == "PRIMARY":
            definition.null = False
        new = self.dialect.column(definition, self.collation, self.before.policies_of(old.name))
        if definition.primary:
            raise NotUnderstood("the primary key changes")
        if in_key and not new.required:
            raise NotUnderstood(f"{old.name} belongs to the key and may become NULL")
        if definition.data_type in ("float", "double") and len(definition.numbers) == 2:
            raise NotUnderstood(f"{old.name} is rounded to {definition.numbers[1]} decimals")
        if old.data_type == "timestamp" and definition.null is None and not old.required:
            raise NotUnderstood(f"whether {old.name} takes NULL depends on explicit_defaults_for_timestamp")
        if why := loss(old, new, self.dialect.collations):
            raise NotUnderstood(why)
        return new

    def _place(self, column: MySqlColumn, after: str | None) -> None:
        names = [other.name.lower() for other in self.columns]
        if after is None:
            self.columns.append(column)
        elif after == "":
            self.columns.insert(0, column)
        else:
            moved = {old for old, clause in self.changes.items() if clause.column.name.lower() != old} | self.renames.keys()
            if after.lower() not in names or after.lower() in moved | {self.renames[old].lower() for old in self.renames}:
                raise NotUnderstood(f"the place after {after}, which isn't known to stay where it is")
            self.columns.insert(names.index(after.lower()) + 1, column)

    def _altered(self, added: tuple[AddedColumn, ...], changed_to: Mapping[str, str]) -> Altered:
        new_names = {**self.renames, **changed_to}
        key = tuple(new_names.get(name.lower(), name) for name in self.before.schema.key)
        # MySQL 5.6 passes over a CONVERT where there is no text, sometimes: then it isn't known what new columns will have.
        untold = self.convert and not self.dialect.mariadb and not any(column.charset for column in self.before.columns)
        table = _table(self.before, tuple(self.columns), key, self.index, "" if untold else self.collation)
        after = {column.name: column for column in table.columns}
        stayed = [(old, after[new_names.get(name, old.name)]) for name, old in self._by_name().items() if name not in self.dropped]
        dropped = tuple(old.name for name, old in self._by_name().items() if name in self.dropped)
        return Altered(table, added, dropped, *_differences(stayed))


def _differences(pairs: Sequence[tuple[MySqlColumn, MySqlColumn]]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The columns that are renamed, and those that are changed otherwise, by their new names."""
    renamed = tuple((old.name, new.name) for old, new in pairs if new.name != old.name)
    return renamed, tuple(new.name for old, new in pairs if replace(new.column, name=old.name) != old.column)


def _named(column: MySqlColumn, name: str) -> MySqlColumn:
    return replace(column, column=replace(column.column, name=name))


def _table(like: MySqlTable, columns: tuple[MySqlColumn, ...], key: tuple[str, ...], index: str, collation: str) -> MySqlTable:
    try:
        schema = TableSchema(like.name, tuple(column.column for column in columns), key)
    except SchemaError as error:
        raise NotUnderstood("its columns don't make a table that tidegate takes") from error
    return replace(like, schema=schema, columns=columns, index=index, collation=collation)


@dataclass(frozen=True, slots=True)
class Ghost:
    """A table that a tool fills with another one's rows, to take its place.

    ``values``: what the filled rows hold in columns that the other doesn't have, or why that can't be told. ``problem``: why its
    rows aren't the other's, "" if they are.
    """

    table: MySqlTable
    values: Mapping[str, AddedColumn | NotUnderstood]
    problem: str = ""


def ghost_like(base: MySqlTable) -> Ghost:
    """The ghost that CREATE TABLE … LIKE makes."""
    return Ghost(base, {})


def ghost_written(base: MySqlTable, created: st.CreateTable, dialect: Dialect) -> Ghost | None:
    """The ghost that a CREATE TABLE with columns makes; None if it doesn't say all that it takes."""
    if created.columns is None or not created.primary:
        return None
    default = created.default or cl.DefaultCharset("", "")
    try:
        _, collation = dialect.collations.resolve(default.charset, default.collation, "" if default.charset else base.collation)
        made = []
        for definition in created.columns:
            if definition.name in created.primary:
                definition.null = False
            made.append(dialect.column(definition, collation, base.policies_of(definition.name)))
        table = _table(base, tuple(made), created.primary, "PRIMARY", collation)
    except NotUnderstood:
        return None
    return Ghost(table, _values(created.columns, table, dialect))


def _values(definitions: Sequence[ColumnDef], table: MySqlTable, dialect: Dialect) -> dict[str, AddedColumn | NotUnderstood]:
    columns = {column.name.lower(): column for column in table.columns}
    values: dict[str, AddedColumn | NotUnderstood] = {}
    for definition in definitions:
        column = columns.get(definition.name.lower())
        if column is None:
            continue
        try:
            values[column.name.lower()] = AddedColumn(column.column, initial(definition, column, mariadb=dialect.mariadb))
        except NotUnderstood as reason:
            values[column.name.lower()] = reason
    return values


def alter_ghost(ghost: Ghost, clauses: Sequence[cl.Clause], dialect: Dialect) -> Ghost:
    """The ghost after an ALTER TABLE."""
    if any(isinstance(clause, cl.AddUnique) for clause in clauses):
        return replace(ghost, problem="a unique index is added, and the tool drops the rows that violate it")
    try:
        altered = alter(ghost.table, clauses, dialect)
    except NotUnderstood as reason:
        return replace(ghost, problem=str(reason))
    if altered.renamed:
        return replace(ghost, problem="a column is renamed, and what becomes of its values is the tool's affair")
    added = {item.column.name.lower(): item for item in altered.added}
    return replace(ghost, table=altered.table, values={**ghost.values, **added})


def swap(before: MySqlTable, ghost: Ghost, collations: Collations) -> Altered:
    """The table once a ghost has taken its place: columns of the same name hold the same. Raises NotUnderstood, with the reason."""
    if ghost.problem:
        raise NotUnderstood(ghost.problem)
    key, index = before.schema.key, before.index
    if [name.lower() for name in key] != [name.lower() for name in ghost.table.schema.key] or index != ghost.table.index:
        raise NotUnderstood("the key changes")
    old = {column.name.lower(): column for column in before.columns}
    added, stayed = [], []
    for column in ghost.table.columns:
        known = old.pop(column.name.lower(), None)
        if known is None:
            value = ghost.values.get(column.name.lower(), NotUnderstood(f"what {column.name} holds isn't known"))
            if isinstance(value, NotUnderstood):
                raise value
            added.append(value)
            continue
        if why := loss(known, column, collations):
            raise NotUnderstood(why)
        stayed.append((known, column))
    table = _table(before, ghost.table.columns, ghost.table.schema.key, index, ghost.table.collation)
    return Altered(table, tuple(added), tuple(column.name for column in old.values()), *_differences(stayed))


def swapped(before: MySqlTable, now: MySqlTable, create: str, dialect: Dialect) -> Altered:
    """The same for a ghost whose making wasn't seen, once it stands in the table's place: the table before, as it is now, and
    what SHOW CREATE TABLE says of it now.

    Raises NotUnderstood, with the reason. That a unique index was added, over which the tool may have dropped rows, can't be seen
    here.
    """
    created = st.parse(Cursor(create, now.where.schema))
    columns = created.columns if isinstance(created, st.CreateTable) else None
    if columns is None:
        raise NotUnderstood("what its columns hold by default isn't understood")
    return swap(before, Ghost(now, _values(columns, now, dialect)), dialect.collations)
