"""What the lines of all formats come down to: rows of a table, and what happened to whole tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import pyarrow as pa

from tidegate.changes.batch import RowKind, TableEventKind
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError
from tidegate.providers.cdcfiles.statements import Effect
from tidegate.providers.cdcfiles.types import ColumnType, Declared
from tidegate.providers.cdcfiles.values import Hints, Reader, Undecided, plain, texts

INSERT, BEFORE, AFTER, DELETE = (int(kind) for kind in RowKind)


class Broken(ValueError):
    """A line that is no record: cut, not JSON, or nothing that the format knows."""


class Refused(ValueError):
    """A record that can't be applied; ``setting`` would change the outcome."""

    def __init__(self, message: str, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The columns that records of a table have from here on, and how each is read."""

    schema: TableSchema
    readers: Mapping[str, Reader]
    defaults: Mapping[str, pa.Scalar] = field(default_factory=dict)
    """What a row holds in columns that it was written before, where the records say so."""


LAST = 2**62
"""The number, at its place, of the last record of a transaction: none follows there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands in its log, as far as it says.

    Places of one ``epoch`` are ordered by ``at``. ``ties``: several records may have the same. ``log`` is the place in the log's
    files, by which rows of a copy are told to be older than a change.
    """

    epoch: str
    at: tuple[int, ...]
    ties: bool = False
    log: tuple[str, int, int] | None = None
    copy: bool = False
    ends: bool = False
    """Whether the last of those with the same place is marked by ``LAST``: one that may be a repeat or not goes on before it."""
    committed: int | None = None
    """When the source says that it was committed, in milliseconds since 1970: the same in every repeat of the record."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of a whole table."""

    kind: TableEventKind
    what: str
    column: Column | None = None
    value: pa.Scalar | None = None
    unless: str | None = None
    """Nothing happens if the table has this column."""


@dataclass(slots=True)
class Record:
    """A line. ``rows`` are kinds and values, both rows of an update next to each other; a column that a row leaves out is absent.

    ``transaction`` is equal for neighbours of one transaction; ``ends`` says that it ends here. ``time`` is when it was committed,
    in milliseconds since 1970.
    """

    table: TableName | None = None
    shape: Shape | None = None
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    happenings: list[tuple[TableName, Happening]] = field(default_factory=list)
    place: Place | None = None
    transaction: object = None
    ends: bool = True
    time: int | None = None


class Tables:
    """The tables that are read, by the names that records have for them, with what is declared of each."""

    def __init__(self, wanted: list[TableName] | None, ddl: list[Declared], hints: Hints, default: TableName | None) -> None:
        self.hints = hints
        self.default = default
        self._wanted = wanted
        self._known: dict[tuple[str, str], TableName | None] = {}
        self.declared: dict[TableName, Declared] = {item.table: item for item in ddl}
        self.version = 0
        """Grows with each change of a declaration."""
        self.told: dict[TableName, Declared] = {}
        """Declarations that statements among the records made or changed, by the sync's names."""

    def find(self, schema: str | None, name: str | None) -> TableName | None:
        """The sync's name of a record's table; None if it isn't read. Refused if the record names none and nothing else does."""
        if not name:
            if self.default is None:
                raise Refused("the record doesn't name its table", "table")
            schema, name = self.default.schema, self.default.name
        pair = (schema or "", name)
        if pair not in self._known:
            self._known[pair] = self._match(*pair)
        return self._known[pair]

    def _match(self, schema: str, name: str) -> TableName | None:
        if self._wanted is None:
            return TableName(schema, name)
        exact = TableName(schema, name)
        if exact in self._wanted:
            return exact
        bare = TableName("", name)
        others = [pair for pair, table in self._known.items() if table == bare and pair[0] != schema]
        if bare in self._wanted and others:
            raise Refused(f"tables {name} of several databases: {others[0][0]} and {schema}", "tables=['database.table']")
        return bare if bare in self._wanted else None

    def declaration(self, table: TableName, schema: str | None, name: str | None) -> Declared | None:
        """What the ddl says of a table: under the record's full name, the sync's, or its bare name."""
        for key in (TableName(schema or "", name or table.name), table, TableName("", table.name)):
            if key in self.declared:
                return self.declared[key]
        if not table.schema:
            found = [item for item in self.declared.values() if item.table.name == table.name]
            return found[0] if len(found) == 1 else None
        return None

    def happen(self, effects: list[Effect]) -> list[tuple[TableName, Happening]]:
        """Effects of a statement on the tables that are read, in the terms of a run; declared tables follow it."""
        found: list[tuple[TableName, Happening]] = []
        for effect in effects:
            if effect.kind == "schema_dropped":
                found += [(table, Happening("broken", effect.what)) for table in self._of_schema(effect.table.schema)]
                continue
            table = self.find(effect.table.schema, effect.table.name)
            if table is None:
                continue
            if effect.kind == "created":
                if effect.declared is not None and self.declaration(table, *_pair(effect.table)) is None:
                    self._tell(table, Declared(table, effect.declared.columns, effect.declared.key))
                continue
            if effect.kind != "column_added":
                found.append((table, Happening(effect.kind, effect.what)))
                continue
            found.append((table, self._added(table, effect)))
        return found

    def _of_schema(self, schema: str) -> list[TableName]:
        """The tables that are read whose records are of this database, as far as that is known."""
        if self._wanted is None:
            return [table for pair, table in self._known.items() if table is not None and pair[0] == schema]
        met = {table: {pair[0] for pair, other in self._known.items() if other == table} for table in self._wanted}
        return [
            table
            for table in self._wanted
            if table.schema == schema or (not table.schema and (not met[table] or schema in met[table]))
        ]

    def _added(self, table: TableName, effect: Effect) -> Happening:
        assert effect.column is not None
        new = effect.column
        column = new.type.column(new.name, nullable=new.nullable)
        unless = new.name if effect.if_missing else None
        broken = Happening("broken", f"{effect.what}: what the column holds in older rows is in no record", unless=unless)
        if column is None or not new.filled:
            return broken
        try:
            value = plain(new.type, self.hints, lambda values: texts(values).cast(pa.binary()))([new.default])[0]
        except Undecided as error:
            raise Refused(f"{effect.what}: {error}", error.setting) from None
        except (ValueError, TypeError, ArithmeticError, pa.ArrowException):
            return broken
        self._add(table, (new,))
        return Happening("column_added", effect.what, column, value if value.is_valid else None, unless)

    def restore(self, told: Declared) -> None:
        """What statements had told when the reading was stopped; the ddl goes before it."""
        if self.declaration(told.table, told.table.schema, told.table.name) is None:
            self._tell(told.table, told)
        else:
            self._add(told.table, told.columns)

    def _add(self, table: TableName, columns: Sequence[ColumnType]) -> None:
        """Let the table's declaration, if there is one, have these columns too."""
        known = self.declaration(table, table.schema, table.name)
        if known is not None and (new := [column for column in columns if column.name not in known.types()]):
            self._tell(table, Declared(known.table, (*known.columns, *new), known.key))

    def _tell(self, table: TableName, declared: Declared) -> None:
        self.version += 1
        self.declared[declared.table] = declared
        self.told[table] = Declared(table, declared.columns, declared.key)


def _pair(table: TableName) -> tuple[str, str]:
    return table.schema, table.name


class Format(Protocol):
    """A format of records."""

    name: str

    def parse(self, line: bytes) -> Record:
        """The record of a line. Broken if it is none, Refused if it can't be applied."""


_DECODER = json.JSONDecoder(parse_float=Decimal)


def loads(line: bytes) -> Any:
    """JSON with exact numbers; Broken for a line that is none."""
    try:
        return _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        raise Broken("not JSON") from None


def shape_of(
    table: TableName,
    columns: list[tuple[Column, Reader]],
    key: tuple[str, ...] | None,
    connection: str,
    defaults: Mapping[str, pa.Scalar] | None = None,
) -> Shape:
    """A shape; key columns that the table lacks are a mistake of the ``ddl``."""
    names = {column.name for column, _ in columns}
    if missing := [name for name in key or () if name not in names]:
        raise ConfigError(
            f"key columns that no record has: {', '.join(missing)}", connection=connection, table=table, setting="ddl"
        )
    schema = TableSchema(table, tuple(column for column, _ in columns), key or ())
    return Shape(schema, {column.name: reader for column, reader in columns}, defaults or {})


def moment(value: Any) -> int | None:
    """A time in milliseconds since 1970; Refused for what is none."""
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value < 10**14:
        raise Refused("a time that isn't in milliseconds since 1970", "format")
    return value


def numbered(gtid: Any, otherwise: str) -> tuple[str, tuple[int, ...]]:
    """A GTID as who counts and the number: MySQL's ``uuid:7``, MariaDB's ``0-1-7``; ``otherwise`` if it is neither."""
    if isinstance(gtid, str):
        who, _, number = gtid.rpartition(":")
        if who and number.isdigit():
            return f"gtid {who}", (int(number),)
        parts = gtid.split("-")
        if len(parts) == 3 and all(part.isdigit() for part in parts):
            return f"gtid {parts[0]}", (int(parts[2]),)
    return otherwise, ()
