"""Tables and columns in canonical terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from tidegate.changes.types import canonical, parse_type, type_name
from tidegate.errors import ConfigError, SchemaError


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table and the schema (in MySQL: the database) it lives in. ``schema`` may be empty: the connection's default."""

    schema: str
    name: str

    @classmethod
    def parse(cls, text: str | TableName) -> TableName:
        """``shop.orders`` or ``orders``. A name with a dot in it is given as a TableName."""
        if isinstance(text, TableName):
            return text
        parts = text.split(".")
        if len(parts) > 2 or not all(parts):
            raise ConfigError(f"{text!r} is not a table: write schema.table, or pass a TableName for names with dots")
        return cls(parts[0], parts[1]) if len(parts) == 2 else cls("", parts[0])

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its canonical type, and what its system says about it in ``attributes`` (see :mod:`tidegate.changes.types`)."""

    name: str
    type: pa.DataType
    nullable: bool = True
    attributes: Mapping[str, str] = field(default_factory=dict)

    def arrow(self) -> pa.Field:
        """The Arrow field, the attributes as its metadata."""
        return pa.field(self.name, self.type, self.nullable, metadata=dict(self.attributes) or None)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "type": type_name(self.type), "nullable": self.nullable, "attributes": dict(self.attributes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Column:
        return cls(value["name"], parse_type(value["type"]), bool(value["nullable"]), dict(value.get("attributes", {})))


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table's columns in source order, and its key: the primary key, or what the user named; empty if there is none."""

    table: TableName
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = self.names
        if len(set(names)) != len(names):
            raise SchemaError("two columns share a name", table=self.table)
        if hidden := [name for name in names if name.startswith(HIDDEN)]:
            raise SchemaError(f"column names that begin with {HIDDEN} are reserved: {', '.join(hidden)}", table=self.table)
        if missing := [name for name in self.key if name not in names]:
            raise SchemaError(f"key columns that the table lacks: {', '.join(missing)}", table=self.table)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"no column {name}", table=self.table)

    def select(self, names: Iterable[str]) -> TableSchema:
        """The same table with these columns only, in this order."""
        return TableSchema(self.table, tuple(self.column(name) for name in names), self.key)

    def called(self, names: Sequence[str]) -> TableSchema:
        """The same table as its user calls it: a column that one of ``names`` differs from in case only has that name."""
        given = {fold(name): name for name in reversed(names) if name not in self.names}
        new = {name: given.get(fold(name), name) for name in self.names if name not in names}
        columns = tuple(replace(column, name=new.get(column.name, column.name)) for column in self.columns)
        return TableSchema(self.table, columns, tuple(new.get(name, name) for name in self.key))

    def arrow(self) -> pa.Schema:
        return pa.schema([column.arrow() for column in self.columns])

    @classmethod
    def of_arrow(cls, table: TableName, schema: pa.Schema, key: Sequence[str] = ()) -> TableSchema:
        """The schema of an Arrow table that a user brings; hidden columns are left out."""
        columns = []
        for item in schema:
            if not item.name.startswith(HIDDEN):
                meta = {k.decode(): v.decode() for k, v in (item.metadata or {}).items()}
                columns.append(Column(item.name, canonical(item.type), item.nullable, meta))
        return cls(table, tuple(columns), tuple(key))

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": self.table.schema,
            "table": self.table.name,
            "columns": [column.to_json() for column in self.columns],
            "key": list(self.key),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TableSchema:
        return cls(
            TableName(value["schema"], value["table"]),
            tuple(Column.from_json(column) for column in value["columns"]),
            tuple(value["key"]),
        )


_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def fold(name: str) -> str:
    """The name with A to Z in lower case, as SQL reads one without quotes."""
    return name.translate(_LOWER)


def called(name: str, names: Iterable[str]) -> str:
    """The one of ``names`` that is the same, or differs in case only; else the name."""
    there = list(names)
    return name if name in there else next((item for item in there if fold(item) == fold(name)), name)


HIDDEN = "__tidegate_"
"""The prefix of the hidden columns of a ChangeBatch; no table's own column may begin with it."""
