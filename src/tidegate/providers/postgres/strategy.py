"""How rows will be merged into a table, by its unique indexes and the options."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidegate.changes.rules import Rules
from tidegate.errors import ConfigError
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.sync.mapping import Target


@dataclass(frozen=True, slots=True)
class Strategy:
    """``in_place``: by ON CONFLICT; otherwise touched keys are deleted and inserted anew."""

    text: str
    in_place: bool = True
    needs_consistent: bool = False
    problems: tuple[ConfigError, ...] = ()
    warnings: tuple[str, ...] = field(default_factory=tuple)


def strategy(target: Target, table: CatalogTable | None, connection: str) -> Strategy:
    """The way for a table that exists, or (None) that will be created with the primary key alone."""
    options = target.options
    if options.write_mode == "append":
        return Strategy("rows are appended by COPY, one a change" if options.op_column else "inserts are appended")
    if options.write_mode == "overwrite" and not target.key:
        return Strategy("all rows are deleted, the new ones appended, in one transaction")
    if not target.key:
        return Strategy("no way to merge rows without a key")
    if target.existing_only:
        return Strategy("UPDATE of rows that are there")
    indexed = table is None or table.key_index(target.key) is not None
    if options.conflict_mode == "strict":
        warning = "no unique index on the key: a row that another writer inserts at the same moment is not noticed"
        return Strategy("keys are looked up, then inserted", warnings=() if indexed else (warning,))
    others = table.other_uniques(target.key) if table is not None else ()
    if indexed and not others:
        return Strategy("INSERT … ON CONFLICT")
    if others:
        names = ", ".join(unique.name for unique in others)
        return replaced(target, table, connection, f"there are unique indexes besides the key ({names})", "drop them", others=True)
    fix = f"CREATE UNIQUE INDEX on ({', '.join(target.key)})"
    return replaced(target, table, connection, "there is no unique index on the key", fix)


def replaced(target: Target, table: CatalogTable | None, connection: str, why: str, fix: str, *, others: bool = False) -> Strategy:
    """Touched rows are deleted and inserted anew. ``why`` goes on after "since"; ``others``: other unique indexes can be met."""
    return Strategy(
        f"DELETE and INSERT, since {why}",
        in_place=False,
        needs_consistent=others,
        problems=tuple(_replacing(target, table, connection, why, fix, others)),
    )


def _replacing(target: Target, table: CatalogTable | None, connection: str, why: str, fix: str, others: bool) -> list[ConfigError]:
    """What deleting and inserting anew can't do."""
    options = target.options

    def problem(what: str, setting: str | None) -> ConfigError:
        return ConfigError(
            f"{why}, so touched rows are deleted and inserted anew, and {what}; {fix}",
            connection=connection,
            table=target.table,
            setting=setting,
        )

    found = []
    if options.rules != Rules(delete_mode=options.delete_mode) or options.delete_mode == "soft":
        settings = "conflict_mode, columns, version_column, ignore_nulls, delete_mode"
        found.append(problem("that needs plain upserts of full rows", settings))
    columns = table.columns if table is not None else ()
    missing = [column.name for column in columns if column.name not in target.schema.names and not column.generated]
    if missing:
        found.append(problem(f"the values of {', '.join(missing)}, which the source doesn't have, would be lost", None))
    if others and options.on_error != "fail":
        found.append(problem("a refused row could keep a unique value that the next ones need", "on_error='fail'"))
    return found
