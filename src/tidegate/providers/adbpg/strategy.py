"""How rows will be merged into a table, by what the server takes, where the table's rows lie, and the options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from tidegate.changes.rules import ConflictMode, Rules
from tidegate.errors import ConfigError
from tidegate.providers.adbpg.catalog import AdbpgTable
from tidegate.providers.adbpg.probe import Features, Server
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.strategy import Strategy, replaced
from tidegate.providers.postgres.strategy import strategy as plain_strategy
from tidegate.sync.mapping import Target


@dataclass(frozen=True, slots=True)
class AdbpgStrategy(Strategy):
    """``native``: rows that bring every column are written by COPY … ON CONFLICT, the others through a staging table."""

    native: bool = False


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses the way for a table of one server."""

    server: Server
    features: Features

    def __call__(self, target: Target, table: CatalogTable | None, connection: str) -> AdbpgStrategy:
        assert table is None or isinstance(table, AdbpgTable)
        plan = plain_strategy(target, table, connection)
        if _merges(target):
            plan = self._merging(target, table, connection, plan)
        native = plan.in_place and _merges(target) and self._native(target, table)
        if native:
            action = "NOTHING" if target.options.conflict_mode == "ignore" else "UPDATE"
            text = f"COPY … DO ON CONFLICT DO {action}; rows that leave out columns by a staging table and INSERT … ON CONFLICT"
            plan = replace(plan, text=text)
        elif target.existing_only:
            plan = replace(plan, problems=(*plan.problems, *_moved(target, table, connection)))
        plan = replace(plan, warnings=(*plan.warnings, *self.server.warnings))
        return AdbpgStrategy(**{item.name: getattr(plan, item.name) for item in fields(Strategy)}, native=native)

    def _merging(self, target: Target, table: AdbpgTable | None, connection: str, plan: Strategy) -> Strategy:
        """Deleting and inserting anew, where ON CONFLICT is not to be had."""
        if table is not None and not table.heap and not plan.in_place:
            why = "its storage is append-optimized, which has no unique indexes"
            return replaced(target, table, connection, why, "use a heap table with a primary key")
        if not plan.in_place:
            return plan
        if not self.features.insert_conflict:
            return replaced(target, table, connection, "the server takes no INSERT … ON CONFLICT", "use a server that does")
        if table is not None and table.partitioned and not self.server.partitions_conflict:
            why = "ON CONFLICT takes partitioned tables from kernel 6.3.6.1 on"
            return replaced(target, table, connection, why, "upgrade the instance's minor version")
        return plan

    def _native(self, target: Target, table: AdbpgTable | None) -> bool:
        """Whether COPY … ON CONFLICT does what the options say.

        It checks every constraint and overwrites every column, the distribution key with the value that is there: a unique index
        holds the distribution key. A table that will be created is a heap table with one unique index.
        """
        options = target.options
        # With every column in the row, update without a list of columns is the same as upsert.
        modes: tuple[ConflictMode, ...] = ("upsert", "update", "ignore")
        plain = options.rules in [Rules(mode, options.delete_mode) for mode in modes]
        if not self.features.copy_conflict or options.method not in (None, "copy") or not plain or options.soft_delete_column:
            return False
        if (options.parallelism or 1) > 1:
            return False  # several connections bring rows to staging tables; one merges them, with the ledger
        if table is None:
            return True
        only = len(table.uniques) == 1 and table.key_index(target.key) is not None
        return table.heap and only


def _merges(target: Target) -> bool:
    """Whether rows meet rows that are there, and either may win."""
    options = target.options
    return bool(target.key) and not target.existing_only and options.write_mode != "append" and options.conflict_mode != "strict"


def _moved(target: Target, table: AdbpgTable | None, connection: str) -> Iterator[ConfigError]:
    """No UPDATE may change a distribution key (document 162380); where rows may be inserted, they are replaced whole instead."""
    listed = target.options.columns or target.schema.names
    set_there = [name for name in table.distribution if name not in target.key and name in listed] if table is not None else []
    if set_there and target.options.conflict_mode != "ignore":
        what = f"{', '.join(set_there)} is in the distribution key, which no UPDATE may set: leave it out"
        yield ConfigError(what, connection=connection, table=target.table, setting="columns")
