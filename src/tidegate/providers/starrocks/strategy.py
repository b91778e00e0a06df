"""What the model of a table makes of the rows that are loaded into it, and what can't be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidegate.errors import ConfigError, PermanentError, SchemaError
from tidegate.providers.starrocks import keys
from tidegate.providers.starrocks.catalog import CatalogTable, Model
from tidegate.sync.mapping import Target

MODELS: Mapping[Model, str] = {
    "PRIMARY_KEYS": "primary key",
    "UNIQUE_KEYS": "unique key",
    "DUP_KEYS": "duplicate key",
    "AGG_KEYS": "aggregate",
}


@dataclass(frozen=True, slots=True)
class Strategy:
    """``text`` is for people."""

    text: str
    problems: tuple[PermanentError, ...] = ()
    warnings: tuple[str, ...] = ()


def strategy(target: Target, table: CatalogTable | None, connection: str, properties: Mapping[str, str]) -> Strategy:
    """For a table that exists, or (None) that will be created. ``properties`` are headers of its loads, names in lower case."""
    if target.options.write_mode == "append":
        return _append(target, table)
    if table is None:
        return Strategy(_merged(target, properties))
    if table.model != "PRIMARY_KEYS":
        what = (
            f"is a {MODELS[table.model]} table, which takes no deletes and no updates by key: StarRocks has them on primary key "
            "tables alone. Load into one, or append"
        )
        return Strategy("", problems=(ConfigError(what, connection=connection, table=table.name, setting="write_mode='append'"),))
    if {name.lower() for name in table.key} != {name.lower() for name in target.key}:
        what = f"the table's primary key is ({', '.join(table.key)}), and rows are to be merged by ({', '.join(target.key)})"
        return Strategy(
            "", problems=(SchemaError(what, connection=connection, table=table.name, setting=f"key={list(table.key)}"),)
        )
    declared = [(column.name, column.type) for column in table.columns if column.key]
    return Strategy(_merged(target, properties), warnings=tuple(keys.warnings(declared)))


def _merged(target: Target, properties: Mapping[str, str]) -> str:
    options = target.options
    text = f"Stream Load by PRIMARY KEY ({', '.join(target.key)}), the row's last change wins"
    if options.delete_mode == "apply":
        text += "; deletes by __op"
    elif options.delete_mode == "soft":
        text += f"; a deleted row is marked in {options.soft_delete_column}"
    if properties.get("partial_update", "").lower() == "true":
        text += "; partial update: columns that a row leaves out keep their values"
    condition = options.version_column or properties.get("merge_condition")
    if condition:
        text += f"; a row replaces one whose {condition} is lower or the same, deletes ask nothing"
    return text


def _append(target: Target, table: CatalogTable | None) -> Strategy:
    what = "a row for each change" if target.options.op_column else "a row for each insert"
    if table is None or table.model == "DUP_KEYS":
        return Strategy(f"Stream Load, {what}")
    key = ", ".join(table.key)
    if table.model == "AGG_KEYS":
        values = ", ".join(f"{column.name} by {column.aggregation}" for column in table.columns if not column.key)
        return Strategy(f"Stream Load, {what}, aggregated by ({key}): {values}")
    warning = (
        f"the {MODELS[table.model]} table keeps one row of a key ({key}), the last that was loaded: it is no log of the changes"
    )
    return Strategy(f"Stream Load, {what}; the last of each ({key}) stays", warnings=(warning,))
