"""How a target table stands to what is to be written to it: what it lacks, what doesn't fit, what the account may not do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from tidegate.changes.schema import Column
from tidegate.errors import ConfigError, PreflightError, SchemaError, TidegateError
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.dialect import Dialect
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.types import PgColumn, Widened, column_type, fit, widened
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Preparation

_SIZE = """
SELECT pg_relation_size(c.oid) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""


@dataclass(slots=True)
class Findings:
    """What an inspection has found so far."""

    ddl: list[str] = field(default_factory=list)
    grants: list[str] = field(default_factory=list)
    problems: list[TidegateError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Inspector:
    """Compares a target with its table; reads only. ``role`` is the account that messages name in grants."""

    def __init__(self, session: Session, dialect: Dialect, role: str) -> None:
        self._session, self._dialect, self._role = session, dialect, role
        self._catalog, self._sql = dialect.catalog, dialect.sql

    def inspect(self, target: Target) -> Preparation:
        """``target.table`` has its schema."""
        try:
            for name in (target.table.name, *target.schema.names):
                self._sql.name(name)
            table = self._catalog.table(self._session, target.table)
        except (ConfigError, SchemaError) as error:
            return Preparation(exists=False, empty=True, rows=None, problems=(error,))
        found = Findings()
        plan = self._dialect.strategy(target, table, self._session.name)
        found.problems += plan.problems
        found.warnings += plan.warnings
        empty = True
        if table is None:
            self._missing_table(target, found)
        else:
            self._columns(target, table, found)
            self._rights(target, table, found)
            empty = self._empty(table)
        return Preparation(
            exists=table is not None,
            empty=empty,
            rows=table.rows if table is not None else None,
            ddl=tuple(found.ddl),
            grants=tuple(found.grants),
            strategy=plan.text,
            needs_consistent=plan.needs_consistent,
            problems=tuple(found.problems),
            warnings=tuple(found.warnings),
        )

    def _empty(self, table: CatalogTable) -> bool:
        if "SELECT" not in table.rights:
            # The server's estimate is 0 for a table that was never analyzed, too.
            return not table.partitioned and self._session.value(_SIZE, (table.name.schema, table.name.name)) == 0
        return not self._session.value(self._sql.any_row(table.name))

    # A table that isn't there

    def _missing_table(self, target: Target, found: Findings) -> None:
        if target.existing_only:
            found.problems.append(SchemaError("there is no such table", connection=self._session.name, table=target.table))
            return
        if not self._may_create(target, found):
            # Whoever creates it instead owns it.
            found.grants.append(f"GRANT USAGE ON SCHEMA {self._sql.name(target.table.schema)} TO {self._sql.name(self._role)}")
            found.grants.append(self._grant(target, _needed(target)))
        found.ddl.append(self._create_table(target))

    def _may_create(self, target: Target, found: Findings) -> bool:
        schema = target.table.schema
        role = self._sql.name(self._role)
        may = self._catalog.may_create(self._session, schema)
        if may is None:
            found.ddl.append(self._sql.create_schema(schema))
            may = self._catalog.may_create_schema(self._session)
            if not may:
                fix = f"{self._sql.create_schema(schema)} AUTHORIZATION {role}"
                found.problems.append(
                    self._forbidden(target, f"there is no schema {schema}, and the account may not create it: {fix}")
                )
        elif not may:
            fix = f"GRANT USAGE, CREATE ON SCHEMA {self._sql.name(schema)} TO {role}"
            found.problems.append(self._forbidden(target, f"the account may not create the table: {fix}"))
        return may

    def _grant(self, target: Target, rights: Iterable[str]) -> str:
        return f"GRANT {', '.join(sorted(rights))} ON {self._sql.table(target.table)} TO {self._sql.name(self._role)}"

    def _create_table(self, target: Target) -> str:
        """Columns are nullable but for the key: the source may come to allow NULL, and a partial row has no values to give."""
        merged = target.options.write_mode != "append"
        key = target.key if merged else ()
        columns = [
            (column.name, column_type(column) + (" NOT NULL" if column.name in key else "")) for column in target.schema.columns
        ]
        return self._sql.create_table(target.table, [*columns, *own_columns(target)], key)

    def _forbidden(self, target: Target, what: str) -> PreflightError:
        return PreflightError(what, connection=self._session.name, table=target.table)

    # A table that is there

    def _columns(self, target: Target, table: CatalogTable, found: Findings) -> None:
        missing, wider, left_out = [], [], []
        follows = target.options.on_ddl in ("evolve", "resync")
        for column in target.schema.columns:
            there = table.column(column.name)
            if there is None:
                if target.options.on_ddl == "ignore":
                    left_out.append(column.name)
                else:
                    missing.append((column.name, column_type(column)))
                continue
            how = fit(column, there)
            if how.problem is not None and follows and (wide := widened(column, there)) is not None:
                wider.append((there, wide))
            elif how.problem is not None:
                what = f"column {column.name} {how.problem}"
                found.problems.append(SchemaError(what, connection=self._session.name, table=target.table))
            elif how.warning is not None:
                found.warnings.append(f"column {column.name}: {how.warning}")
        for name, declared in own_columns(target):
            there = table.column(name)
            if there is None:
                missing.append((name, declared))
            elif problem := _own_problem(target, there):
                found.problems.append(SchemaError(problem, connection=self._session.name, table=target.table))
        if left_out:
            what = f"the table lacks {', '.join(left_out)}, and on_ddl='ignore' adds no column: they are left out"
            found.warnings.append(what)
        if wider:
            self._widen_columns(target, table, wider, found)
        if lost := [name for name in target.key if table.column(name) is None]:
            what = f"the table lacks the key column {', '.join(lost)}: its rows can't be found by it"
            found.problems.append(SchemaError(what, connection=self._session.name, table=target.table))
        elif missing:
            self._add_columns(target, table, missing, found)
        if not target.existing_only:
            found.problems += self._unfilled(target, table)

    def _add_columns(self, target: Target, table: CatalogTable, missing: list[tuple[str, str]], found: Findings) -> None:
        statement = self._sql.add_columns(target.table, missing)
        found.ddl.append(statement)
        if not table.owned:
            what = f"the table lacks {', '.join(name for name, _ in missing)}, and the account may not alter it: {statement}"
            found.problems.append(self._forbidden(target, what))

    def _widen_columns(self, target: Target, table: CatalogTable, columns: list[tuple[PgColumn, Widened]], found: Findings) -> None:
        statement = self._sql.alter_types(target.table, [(there.name, wide.type) for there, wide in columns])
        for there, wide in columns:
            cost = "which rewrites the table while nobody can read it" if wide.rewrites else "without a rewrite"
            found.warnings.append(f"column {there.name}: {there.text} becomes {wide.type}, {cost}")
            if users := self._catalog.users(self._session, table.name, there.name):
                what = f"column {there.name} ({there.text}) has to become {wide.type}, and can't while there is {', '.join(users)}"
                found.problems.append(SchemaError(what, connection=self._session.name, table=target.table))
        found.ddl.append(statement)
        if not table.owned:
            names = ", ".join(there.name for there, _ in columns)
            what = f"column {names} is too narrow for the source, and the account may not alter the table: {statement}"
            found.problems.append(self._forbidden(target, what))

    def _unfilled(self, target: Target, table: CatalogTable) -> Iterator[SchemaError]:
        given = {*target.schema.names, *(name for name, _ in own_columns(target))}
        for column in table.columns:
            if column.not_null and not column.default and column.name not in given:
                what = (
                    f"column {column.name} is NOT NULL without a default, and the source doesn't have it: new rows would be refused"
                )
                yield SchemaError(what, connection=self._session.name, table=target.table)

    def _rights(self, target: Target, table: CatalogTable, found: Findings) -> None:
        if lacking := sorted(_needed(target) - table.rights):
            grant = self._grant(target, lacking)
            found.grants.append(grant)
            found.problems.append(self._forbidden(target, f"the account lacks {', '.join(lacking)}: {grant}"))


def _needed(target: Target) -> set[str]:
    """The rights on the table that writing to it takes."""
    options = target.options
    if options.write_mode == "append":
        return {"INSERT"}
    if target.existing_only:
        return {"SELECT", "UPDATE"}
    needed = {"SELECT", "INSERT", "UPDATE"}
    if options.delete_mode == "apply" or options.write_mode == "overwrite":
        needed.add("DELETE")
    return needed


def own_columns(target: Target) -> list[tuple[str, str]]:
    """Columns that only the target has, and how they are declared."""
    found = []
    if target.options.op_column:
        found.append((target.options.op_column, "text"))
    if target.options.soft_delete_column:
        found.append((target.options.soft_delete_column, "boolean NOT NULL DEFAULT false"))
    return found


def _own_problem(target: Target, there: PgColumn) -> str | None:
    if there.name == target.options.soft_delete_column:
        return None if there.type == "bool" else f"soft_delete_column {there.name} is {there.text}, and has to be boolean"
    how = fit(Column(there.name, pa.string(), attributes={"length": "13"}), there)
    return f"op_column {there.name} {how.problem}" if how.problem is not None else None
