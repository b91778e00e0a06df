"""How a target table stands to what is to be written to it: what it lacks, what doesn't fit, what the account may not do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from tidegate.changes.schema import Column, TableName
from tidegate.errors import ConfigError, PermanentError, PreflightError, SchemaError, TidegateError
from tidegate.providers.starrocks import keys, sql
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.column_list import ColumnList, parse_columns
from tidegate.providers.starrocks.grants import Grants, tried
from tidegate.providers.starrocks.headers import checked, connection_properties, misspelt
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.newtable import DEFAULTS, EVENT_COLUMNS, create_statement, declared, own_columns
from tidegate.providers.starrocks.quarantine import TABLE, StarrocksShelf
from tidegate.providers.starrocks.strategy import strategy
from tidegate.providers.starrocks.types import ddl_type, misfit
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Preparation

_OPAQUE = re.compile(r"(bitmap|hll|percentile)\b")
"""Types of which no row brings a value: an expression of the header ``columns`` makes them."""


@dataclass(slots=True)
class _Found:
    ddl: list[str] = field(default_factory=list)
    problems: list[TidegateError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rights: list[str] = field(default_factory=list)
    """On the table, that a run needs, and that the account isn't known to have."""


def inspect(target: Target, metadata: Metadata, properties: Mapping[str, str] | None = None) -> Preparation:
    """Compare the table with what is to come. Reads only.

    ``properties`` are the headers of the table's loads as far as the user gave them; None: the connection's and the options'.
    """
    if properties is None:
        try:
            given = connection_properties(metadata.session.values) | checked(target.options.properties or {})
        except ConfigError as error:
            return Preparation(exists=False, empty=True, rows=None, problems=(error,))
    else:
        given = checked(properties)
    return Inspector(metadata, target, given).inspect()


class Inspector:
    """One inspection of one target."""

    def __init__(self, metadata: Metadata, target: Target, properties: Mapping[str, str]) -> None:
        self._metadata, self._target, self._properties = metadata, target, properties
        self._table = metadata.full(target.table)
        self._append = target.options.write_mode == "append"
        self._partial = properties.get("partial_update", "").lower() == "true" or target.options.conflict_mode == "update"
        self._found = _Found(warnings=[f"properties: {note}" for note in misspelt(properties)])
        self._grants = Grants(metadata)

    def inspect(self) -> Preparation:
        try:
            header = parse_columns(self._properties["columns"]) if "columns" in self._properties else None
            there = self._metadata.table(self._table)
        except (ConfigError, SchemaError) as error:
            return Preparation(exists=False, empty=True, rows=None, problems=(error,))
        plan = strategy(self._target, there, self._metadata.name, self._properties)
        self._found.problems += plan.problems
        self._found.warnings += plan.warnings
        if not self._append:
            instants = [column.name for column in _key(self._target) if pa.types.is_timestamp(column.type) and column.type.tz]
            self._found.warnings += keys.doubled(instants, self._metadata.session.values["time_zone"])
        if there is None:
            self._missing_table()
            rows, empty = None, True
        else:
            self._columns(there, header)
            self._generated(there, header)
            self._version_column(there)
            self._rights(there)
            rows = self._metadata.rows_estimate(self._table)
            empty = self._is_empty(rows)
        return Preparation(
            exists=there is not None,
            empty=empty,
            rows=rows,
            ddl=tuple(self._found.ddl),
            grants=(*self._grants.on_table(self._table, self._found.rights), *self._quarantine()),
            strategy=plan.text,
            problems=tuple(self._found.problems),
            warnings=tuple(self._found.warnings),
        )

    def _is_empty(self, rows: int | None) -> bool:
        try:
            return self._metadata.empty(self._table)
        except PreflightError:  # without SELECT, which is among the problems already, the estimate has to do
            return rows == 0

    def _problem(self, kind: type[PermanentError], what: str, setting: str | None = None) -> None:
        self._found.problems.append(kind(what, connection=self._metadata.name, table=self._table, setting=setting))

    # A table that isn't there

    def _missing_table(self) -> None:
        if self._target.existing_only:
            self._problem(SchemaError, "there is no such table")
            return
        if "columns" in self._properties:
            what = "there is no such table, and what its columns are to be can't be told from expressions: create it"
            self._problem(SchemaError, what, "properties.columns")
            return
        if self._hidden():
            fix = self._grants.statement(("SELECT", "INSERT"), f"TABLE {sql.table(self._table)}")
            self._problem(PreflightError, f"the account may do nothing with the table, which is there: {fix}")
            self._found.rights += ("SELECT", "INSERT")
            return
        database = self._table.schema
        privileges = self._grants.privileges
        if not self._metadata.database_exists(database):
            self._found.ddl.append(sql.create_database(database))
        elif privileges.complete and not privileges.on_database(database, "CREATE TABLE"):
            fix = self._grants.statement(("CREATE TABLE",), f"DATABASE {sql.name(database)}")
            self._problem(PreflightError, f"the account may not create the table: {fix}")
        try:
            self._found.ddl.append(create_statement(self._target, self._table, self._metadata))
        except (ConfigError, SchemaError) as error:
            self._found.problems.append(error)
            return
        self._found.rights += ("SELECT", "INSERT")
        if self._target.key and not self._append:
            self._found.warnings += keys.warnings([(c.name, declared(self._metadata, self._target, c)) for c in _key(self._target)])

    def _hidden(self) -> bool:
        """The catalog doesn't list a table on which the account has no right; a query tells it from one that isn't there."""
        try:
            return not self._metadata.may_select(self._table)
        except SchemaError:
            return False

    # A table that is there

    def _columns(self, there: CatalogTable, header: ColumnList | None) -> None:
        options = self._target.options
        missing: list[Column] = []
        left_out: list[str] = []
        for column in self._target.schema.columns:
            found = there.column(column.name)
            if header is not None and header.computes(column.name):
                continue
            listed = header is None or header.field(column.name)
            if not listed or (found is None and header is None and options.on_ddl == "ignore"):
                left_out.append(column.name)
            elif found is not None:
                self._column(column, found, there)
            elif header is None:
                missing.append(column)
        if left_out:
            why = "the header columns doesn't name" if header is not None else "on_ddl='ignore' adds no column, and the table lacks"
            self._found.warnings.append(f"{why} {', '.join(left_out)}: left out of the loads")
        own = {name: kind for name, kind in own_columns(self._target).items() if there.column(name) is None}
        self._own_columns(there, own)
        if lost := [column.name for column in missing if column.name in self._target.key and not self._append]:
            self._problem(SchemaError, f"the table lacks the key column {', '.join(lost)}: its rows can't be found by it")
            return
        self._add(there, missing, own)
        if not self._target.existing_only:
            self._unfilled(there, header)

    def _column(self, column: Column, there: CatalogColumn, table: CatalogTable) -> None:
        """A source column that the table has."""
        if there.generated:
            self._problem(SchemaError, f"column {there.name} is generated by the server, so no load may bring it", "columns")
            return
        if _OPAQUE.match(there.type):
            return  # judged with the columns that nothing fills
        wider = self._widened(column, there, table)
        if wider is not None:
            self._found.ddl.append(sql.modify_column(self._table, wider, there.aggregation))
            self._found.warnings.append(f"column {there.name}: {there.type} becomes {wider.type}, as it is longer at the source")
            self._may_alter(there.name)
        elif not self._own_type(column, there) and (why := misfit(column, there)) is not None:
            self._problem(SchemaError, f"column {there.name}: {why}")
        elif self._tight(column, there):
            self._found.warnings.append(
                f"column {there.name}: {there.type} counts bytes, and the source's {column.attributes.get('length')} characters "
                "may have up to four each: longer values are refused"
            )

    def _widened(self, column: Column, there: CatalogColumn, table: CatalogTable) -> sql.NewColumn | None:
        """The declaration that a VARCHAR needs, when the source has come to hold more characters than it has bytes."""
        here, length = _length(there.type), _characters(column)
        if here is None or length is None or length <= here or self._target.options.on_ddl not in ("evolve", "resync"):
            return None
        if there.key and table.model != "DUP_KEYS":
            return None  # the server changes no key column; misfit says what is wrong
        kind = ddl_type(column, version=self._metadata.version())
        if (_length(kind) or 0) <= here:
            return None
        return sql.NewColumn(there.name, kind, there.nullable, None if there.default is None else sql.literal(there.default))

    def _own_type(self, column: Column, there: CatalogColumn) -> bool:
        """Whether the column is what would be declared for it, as wide as StarRocks has it: values decide then."""
        try:
            return ddl_type(column, key=there.key, version=self._metadata.version()).lower() == there.type
        except SchemaError:
            return False

    def _tight(self, column: Column, there: CatalogColumn) -> bool:
        here, length = _length(there.type), _characters(column)
        return here is not None and length is not None and length <= here < 4 * length

    def _own_columns(self, there: CatalogTable, missing: dict[str, str]) -> None:
        options = self._target.options
        mark = options.soft_delete_column and there.column(options.soft_delete_column)
        if mark and mark.type not in ("boolean", "tinyint"):
            self._problem(
                SchemaError, f"soft_delete_column {mark.name} is {mark.type}, and has to be BOOLEAN", "soft_delete_column"
            )
        kind = options.op_column and there.column(options.op_column)
        if kind and (_length(kind.type) or 0) < len("UPDATE_BEFORE"):
            self._problem(SchemaError, f"op_column {kind.name} is {kind.type}, and has to be VARCHAR(13) or longer", "op_column")
        if self._append and (absent := [name for name in EVENT_COLUMNS if there.column(name) is None]):
            for name in absent:
                missing.pop(name, None)
            self._found.warnings.append(
                f"the table lacks {', '.join(absent)}, by which the events of its rows are told apart: if StarRocks forgets the "
                "label of a load that was cut off, whether it is in can't be decided, and the sync stops there"
            )

    def _add(self, there: CatalogTable, missing: list[Column], own: dict[str, str]) -> None:
        version = self._metadata.version()
        try:
            columns = [sql.NewColumn(column.name, ddl_type(column, version=version)) for column in missing]
        except (ConfigError, SchemaError) as error:
            self._found.problems.append(error)
            return
        columns += [sql.NewColumn(name, kind, default=DEFAULTS.get(kind)) for name, kind in own.items()]
        if not columns:
            return
        names = ", ".join(column.name for column in columns)
        if there.model == "AGG_KEYS":
            what = f"the table lacks {names}; how a column is aggregated has to be said: ALTER TABLE … ADD COLUMN … SUM, REPLACE, …"
            self._problem(SchemaError, what)
            return
        self._found.ddl.append(sql.add_columns(self._table, columns))
        self._may_alter(names)

    def _may_alter(self, names: str) -> None:
        self._found.rights.append("ALTER")
        privileges = self._grants.privileges
        if privileges.complete and not privileges.on_table(self._table, "ALTER"):
            fix = self._grants.statement(("ALTER",), f"TABLE {sql.table(self._table)}")
            self._problem(PreflightError, f"column {names} has to be altered, and the account may not: {fix}")

    def _unfilled(self, there: CatalogTable, header: ColumnList | None) -> None:
        """Columns of the table that no load brings, and that can't do without."""
        brought = {*own_columns(self._target), *EVENT_COLUMNS}
        source = {column.name.lower() for column in self._target.schema.columns}
        for column in there.columns:
            if column.generated or (header is not None and header.computes(column.name)) or column.name in brought:
                continue
            if _OPAQUE.match(column.type):
                kind = column.type.split("(")[0]
                what = (
                    f"column {column.name} is {kind.upper()}, which no row brings: name an expression for it, as "
                    f"{column.name}={_EXPRESSIONS[kind]}(…)"
                )
                self._problem(SchemaError, what, "properties={'columns': …}")
                continue
            filled = column.name.lower() in source if header is None else header.field(column.name)
            if filled or column.optional:
                continue
            what = f"column {column.name} is NOT NULL without a default, and no load brings it: new rows would be refused"
            if self._partial:
                self._found.warnings.append(what)
            else:
                self._problem(SchemaError, what)

    def _generated(self, there: CatalogTable, header: ColumnList | None) -> None:
        """No load may bring a generated column, and one that doesn't bring whole rows has to bring what it is computed from."""
        named = [
            column.name for column in there.columns if column.generated and header is not None and header.computes(column.name)
        ]
        if named:
            self._problem(SchemaError, f"column {', '.join(named)} is generated by the server, so no load may bring it", "columns")
        for brought, why, setting in self._partial_loads(header):
            for name, lacks in there.uncomputed(brought).items():
                what = f"column {name} is computed from {', '.join(lacks)}, and {why}: StarRocks refuses such a load"
                self._problem(SchemaError, what, setting)

    def _partial_loads(self, header: ColumnList | None) -> Iterator[tuple[set[str], str, str | None]]:
        """Columns of loads that don't bring whole rows, why that is, and what would change it."""
        options, key = self._target.options, set(self._target.key)
        brought = {column.name for column in self._target.schema.columns} | set(own_columns(self._target))
        if header is not None:
            brought = {*header.fields, *header.derived}
        if not self._target.existing_only and (not self._append or self._partial):
            yield brought, "no load brings it", None
        if options.soft_delete_column is not None:
            yield key | {options.soft_delete_column}, "a deleted row is marked by a load of its key alone", "delete_mode='apply'"
        if options.columns is not None:
            yield key | set(options.columns), "it is not among the columns that are set", "columns"
        if options.ignore_nulls:
            nullable = {column.name for column in self._target.schema.columns if column.nullable} - key
            yield brought - nullable, "a NULL in it is left out", "ignore_nulls"

    def _version_column(self, there: CatalogTable) -> None:
        name = self._target.options.version_column
        if name is None:
            return
        column = there.column(name)
        if column is None:
            self._problem(SchemaError, f"the table has no column {name}", "version_column")
        elif column.key:
            self._problem(ConfigError, f"{name} is part of the key, which no update changes", "version_column")
        elif column.nullable:
            self._found.warnings.append(f"version_column {name} may be NULL, and how StarRocks compares NULLs is not documented")

    def _rights(self, there: CatalogTable) -> None:
        rights = tried(self._metadata, there)
        unknown = [right for right, may in rights.items() if not may]
        self._found.rights += unknown
        if lacking := [right for right, may in rights.items() if may is False]:
            fix = self._grants.statement(unknown, f"TABLE {sql.table(self._table)}")
            self._problem(PreflightError, f"the account lacks {', '.join(lacking)}: {fix}")

    def _quarantine(self) -> tuple[str, ...]:
        """What makes the table of refused changes, which the first of them makes else, and lets the account use it."""
        if self._target.options.on_error != "quarantine":
            return ()
        values = self._metadata.session.values
        shelf = StarrocksShelf(self._metadata, TableName(values["ledger_database"], TABLE), "", self._table, "")
        there = self._metadata.table(shelf.table)
        if there is not None:
            return self._grants.to_load(there)
        return (shelf.ddl(values["replication_num"]), *self._grants.on_table(shelf.table, ("SELECT", "INSERT")))


_EXPRESSIONS = {"bitmap": "to_bitmap", "hll": "hll_hash", "percentile": "percentile_hash"}


def _key(target: Target) -> Iterator[Column]:
    return (target.schema.column(name) for name in target.key)


def _length(kind: str) -> int | None:
    """Of a VARCHAR or CHAR, in bytes."""
    match = re.fullmatch(r"(?:var)?char\((\d+)\)", kind.lower())
    return int(match.group(1)) if match else None


def _characters(column: Column) -> int | None:
    length = column.attributes.get("length")
    return int(length) if length and pa.types.is_string(column.type) else None
