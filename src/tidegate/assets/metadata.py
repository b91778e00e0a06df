"""What a materialization says of a write, under names that stay: numbers are plotted by Dagster over time."""

from typing import Any

import dagster as dg

from tidegate.changes.schema import TableSchema
from tidegate.changes.types import type_name
from tidegate.sync.results import WriteResult

COUNTS = (
    *("rows", "inserted", "updated", "deleted", "ignored", "not_found", "quarantined", "skipped", "filtered"),
    *("bytes", "loads", "failed_loads", "retries"),
)


def write_metadata(write: WriteResult) -> dict[str, Any]:
    """``tidegate/rows``: the rows changed by this run, not those in the table. A count that the target can't tell is left out."""
    counts = {f"tidegate/{name}": getattr(write, name) for name in COUNTS}
    return {name: count for name, count in counts.items() if count is not None} | {
        "tidegate/seconds": dg.MetadataValue.float(round(write.seconds, 3))
    }


def column_schema(schema: TableSchema) -> dict[str, Any]:
    """``dagster/column_schema``: names, canonical types, which may be NULL, which are the key."""
    columns = [
        dg.TableColumn(
            column.name,
            type_name(column.type),
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
            tags={"tidegate/key": ""} if column.name in schema.key else {},
        )
        for column in schema.columns
    ]
    return {"dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns))}
