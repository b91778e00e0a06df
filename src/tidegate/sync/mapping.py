"""Which tables go where: a Sync and its table mappings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError
from tidegate.sync.options import WriteOptions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class TableMapping:
    """One source table to one sink table. ``key`` replaces the source's primary key; ``options`` are this table's own.

    ``start`` is where its first run begins: ``snapshot`` copies the table; ``latest``, a position in the source's own words
    (``binlog.000003:4711``) or a time (``2026-11-21T10:00:00Z``) take the changes from there on, and the target's rows as they are.
    """

    source: TableName
    target: TableName
    key: tuple[str, ...] | None = None
    options: WriteOptions = field(default_factory=WriteOptions)
    start: str = "snapshot"


@dataclass(frozen=True, slots=True)
class Sync:
    """A named pairing of source and sink tables. The name is the user's and the ledger's key: keep it when the DAG is renamed."""

    name: str
    tables: tuple[TableMapping, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} is not a name: letters, digits, dot, dash and underscore, 128 at most", setting="sync"
            )
        if not self.tables:
            raise ConfigError("no tables", setting="tables")
        for which in ("source", "target"):
            seen = [getattr(table, which) for table in self.tables]
            if twice := {str(name) for name in seen if seen.count(name) > 1}:
                raise ConfigError(f"{which} tables named more than once: {', '.join(sorted(twice))}", setting="tables")

    @classmethod
    def of(
        cls,
        name: str,
        tables: Sequence[str | TableName | TableMapping],
        *,
        schema: str = "",
        options: WriteOptions | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        start: str = "snapshot",
    ) -> Sync:
        """From table names, each going to the table of its own name in ``schema``.

        ``overrides`` maps a source table (``shop.orders``) to the write options that differ for it; beside them it takes ``target``
        (``ods.shop_orders``), ``key`` (column names) and ``start``. ConfigError for one that names no table of the sync.
        """
        options = options or WriteOptions()
        rest = {str(TableName.parse(table)): dict(values) for table, values in (overrides or {}).items()}
        mappings = []
        for table in tables:
            if isinstance(table, TableMapping):
                mappings.append(table)
                continue
            source = TableName.parse(table)
            own = rest.pop(str(source), {})
            target = own.pop("target", None)
            key = own.pop("key", None)
            begin = own.pop("start", start)
            if isinstance(key, str):
                key = [key]
            mappings.append(
                TableMapping(
                    source,
                    TableName.parse(target) if target else TableName(schema, source.name),
                    tuple(key) if key else None,
                    options.override(own),
                    begin,
                )
            )
        if rest:
            raise ConfigError(f"options for tables that the sync doesn't have: {', '.join(rest)}", setting="table_options")
        return cls(name, tuple(mappings))

    def table(self, source: TableName) -> TableMapping:
        for mapping in self.tables:
            if mapping.source == source:
                return mapping
        raise ConfigError(f"the sync {self.name} has no table {source}", setting="tables")

    def subset(self, sources: Sequence[TableName]) -> Sync:
        """The same sync for some of its tables; the ledger knows each table by itself."""
        return Sync(self.name, tuple(self.table(source) for source in sources))


@dataclass(frozen=True, slots=True)
class Target:
    """A sink table as a sink is asked to write it: what will come, by which key, under which options.

    ``existing_only`` sets the columns of rows that are there and inserts none (the ``update`` verb).
    """

    table: TableName
    schema: TableSchema
    options: WriteOptions
    existing_only: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        return self.schema.key
