"""Whether a copy can take a table's place without losing what belongs to the table, and what creates the copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from tidegate.changes.schema import Column, TableName
from tidegate.errors import ConfigError, PermanentError, PreflightError, SchemaError
from tidegate.providers.postgres.belongings import Belongings, Index
from tidegate.providers.postgres.catalog import Catalog, CatalogTable
from tidegate.providers.postgres.inspection import Findings, Inspector, own_columns
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.shadow import ShadowTarget, is_shadow, made_name, mark
from tidegate.providers.postgres.sql import PostgresSql
from tidegate.providers.postgres.types import PgColumn, column_type, fit
from tidegate.sync.protocols import Preparation

_WAY_OUT = "or copy the table in place (tidegate resync)"


def key_index(table: CatalogTable, owned: Belongings, key: tuple[str, ...]) -> tuple[Index | None, bool]:
    """The index by which the copy finds its rows, as the table has it.

    True with it if it is the primary key of a key that the source no longer has: the copy's is over the new one.
    """
    found = table.key_index(key)
    if found is not None:
        return next(index for index in owned.indexes if index.name == found.name), False
    primary = next((index for index in owned.indexes if index.primary), None)
    if primary is not None and not set(table.primary_key) >= set(key):
        return primary, True
    return None, False


def hindrances(
    session: Session, catalog: Catalog, target: ShadowTarget, table: CatalogTable, owned: Belongings
) -> Iterator[PermanentError]:
    """What keeps a copy from taking the place of ``table``: what would be lost with it, or what the account may not do."""
    where: dict[str, Any] = {"connection": session.name, "table": table.name}
    if not table.owned:
        what = f"a copy can't take its place while the account is no member of its owner, {owned.owner}: grant it that role"
        yield PreflightError(f"{what}, {_WAY_OUT}", **where)
    if there := catalog.in_the_way(session, table.name):
        yield SchemaError(f"a copy can't take over from it: {'; '.join(there)}. Drop or change them, {_WAY_OUT}", **where)
    known = {*target.schema.names, target.options.soft_delete_column}
    if lost := [column.name for column in table.columns if column.name not in known and not column.generated]:
        what = f"the source doesn't have {', '.join(lost)}, so a copy would lose what stands there: drop the columns"
        yield SchemaError(f"{what}, {_WAY_OUT}", **where)
    _, replaced = key_index(table, owned, target.key)
    if others := [unique.name for unique in table.other_uniques(target.key) if not (replaced and unique.primary)]:
        what = f"unique indexes besides the key ({', '.join(others)}) don't stand a copy that is read page by page"
        yield ConfigError(f"{what}: drop them, and create them again after the run, or use a new target table", **where)


def not_a_shadow(target: ShadowTarget, connection: str) -> SchemaError:
    """The name of the copy belongs to somebody else's table."""
    what = f"is there already, and is no copy of {target.of} that tidegate made: rename it"
    return SchemaError(what, connection=connection, table=target.table)


class ShadowInspector(Inspector):
    """Inspects the shadow of a target; reads only."""

    def inspect_shadow(self, target: ShadowTarget) -> Preparation:
        """``target.table`` and ``target.of`` have their schema."""
        try:
            for name in (target.of.name, *target.schema.names):
                self._sql.name(name)
            shadow = self._catalog.table(self._session, target.table)
            table = self._catalog.table(self._session, target.of)
        except (ConfigError, SchemaError) as error:
            return Preparation(exists=False, empty=True, rows=None, problems=(error,))
        owned = self._catalog.belongings(self._session, target.of)
        found = Findings()
        if table is not None and owned is not None:
            found.problems += hindrances(self._session, self._catalog, target, table, owned)
        plan = self._dialect.strategy(target, shadow, self._session.name)
        empty = True
        if shadow is None:
            self._may_create(target, found)
            found.ddl.append(";\n".join(self._create(target, table, owned, found)))
        elif not is_shadow(self._catalog.comment(self._session, target.table)[0], target.of):
            found.problems.append(not_a_shadow(target, self._session.name))
        else:
            found.problems += plan.problems
            self._columns(target, shadow, found)
            empty = self._empty(shadow)
        return Preparation(
            exists=shadow is not None,
            empty=empty,
            rows=shadow.rows if shadow is not None else None,
            ddl=tuple(found.ddl),
            strategy=plan.text,
            problems=tuple(found.problems),
            warnings=tuple(found.warnings),
        )

    def _create(self, target: ShadowTarget, table: CatalogTable | None, owned: Belongings | None, found: Findings) -> Iterator[str]:
        """Statements to be run in one transaction, so that no shadow is there without its mark."""
        if table is None or owned is None:
            yield self._create_table(target)
            yield self._mark(target, "")
            return
        yield self._sql.create_like(target.table, target.of)
        missing, retyped = [], False
        for column in target.schema.columns:
            there = table.column(column.name)
            if there is None:
                missing.append((column.name, column_type(column)))
                continue
            how = fit(column, there)
            if there.generated and how.problem is not None:
                found.problems.append(
                    SchemaError(f"column {column.name} {how.problem}", connection=self._session.name, table=target.of)
                )
            elif how.problem is not None or _would_read(column, there):
                kind = column_type(column)
                lost = "; its default is dropped" if there.default else ""
                found.warnings.append(f"column {column.name}: {there.text} becomes {kind}{lost}")
                yield self._sql.retype_empty(target.table, column.name, kind)
                retyped = True
            elif how.warning is not None:
                found.warnings.append(f"column {column.name}: {how.warning}")
        missing += [own for own in own_columns(target) if table.column(own[0]) is None]
        if missing:
            yield self._sql.add_columns(target.table, missing)
        yield from self._key(target, table, owned, found)
        if retyped:
            yield from self._try_indexes(target, table, owned)
        yield self._mark(target, owned.definition)

    def _key(self, target: ShadowTarget, table: CatalogTable, owned: Belongings, found: Findings) -> Iterator[str]:
        index, replaced = key_index(table, owned, target.key)
        name = made_name(target.of, 0)
        if index is not None and replaced:
            found.warnings.append(f"the primary key ({', '.join(table.primary_key)}) becomes ({', '.join(target.key)})")
            yield self._sql.add_primary_key(name, target.table, target.key)
        elif index is not None:
            yield from make_index(self._sql, name, target.table, index)

    def _try_indexes(self, target: ShadowTarget, table: CatalogTable, owned: Belongings) -> Iterator[str]:
        """An index that doesn't take a column's new type is to fail now, not when all rows have been copied."""
        key, _ = key_index(table, owned, target.key)
        for number, index in enumerate(owned.indexes, 1):
            if index is not key:
                name = made_name(target.of, number)
                yield self._sql.create_index(name, target.table, index.rest, unique=index.unique)
                yield self._sql.drop_index(name, target.table.schema)

    def _mark(self, target: ShadowTarget, definition: str) -> str:
        return self._sql.comment(f"TABLE {self._sql.table(target.table)}", mark(target.of, definition))


_READ = frozenset(
    ("int2", "int4", "int8", "numeric", "float4", "float8", "bool", "date", "timestamp", "timestamptz", "interval", "time")
)


def _would_read(column: Column, there: PgColumn) -> bool:
    """Whether a text would be read as a number or time: '007' would become 7, and 'n/a' be refused for good."""
    return column.type == pa.string() and there.type in _READ


def make_index(sql: PostgresSql, name: str, table: TableName, index: Index) -> Iterator[str]:
    """Statements that give ``table`` the same index, and its constraint, under another name."""
    yield sql.create_index(name, table, index.rest, unique=index.unique)
    if index.constraint:
        yield sql.constraint_by_index(name, table, index.constraint, index.deferrable)
