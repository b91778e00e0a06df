"""An IO manager that writes what assets return, with the same options as a sync, and reads it back."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from tidegate.assets.metadata import write_metadata
from tidegate.assets.resources import TidegateResource
from tidegate.assets.runs import origin, permanent_errors_end_the_step
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.sync.options import WriteOptions, check_names, names
from tidegate.sync.results import WriteResult
from tidegate.sync.rows import Rows

PREFIX = "tidegate/"
_OWN = ("table", "key", "row_kind_column")


class TidegateIOManager(dg.ConfigurableIOManager):
    """Writes an asset's rows by key, in one piece, and counts what became of them.

    An asset returns an Arrow table, batch or reader, dicts, dataclasses, a pandas or a polars frame. Rows that have the column
    ``row_kind_column`` are a changelog: +I, -U, +U or -D (or INSERT, UPDATE_BEFORE, UPDATE_AFTER, DELETE), so that deletes travel
    too. None writes nothing.

    The table is ``tidegate/table`` of the asset's metadata, else the last part of its key, in ``schema`` or the schema that the
    part before names. Every field below is a default that an asset can override in its metadata, as ``tidegate/<field>``; there
    ``tidegate/key`` names the key columns too (default: the table's primary key)::

        @dg.asset(io_manager_key="warehouse", metadata={"tidegate/key": ["id"], "tidegate/delete_mode": "ignore"})
        def customers() -> pa.Table: ...

    An input comes as what its annotation asks for: pandas, polars, ``list`` (of dicts), else an Arrow table. pandas frames have
    Arrow-backed columns, which keep integers with NULLs exact. ``AssetIn(metadata={"tidegate/columns": [...]})`` reads these alone.
    """

    sink: dg.ResourceDependency[TidegateResource]
    schema_: str | None = Field(default=None, alias="schema", description="The schema of tables whose metadata don't name one.")
    row_kind_column: str = Field(default="row_kind", description="The column that makes rows a changelog.")

    write_mode: str | None = Field(default=None, description="upsert, append or overwrite.")
    conflict_mode: str | None = Field(default=None, description="upsert, update, ignore or strict.")
    delete_mode: str | None = Field(default=None, description="apply, ignore or soft.")
    on_error: str | None = Field(default=None, description="fail, quarantine or skip.")
    initial: str | None = Field(default=None, description="refuse, replace or merge.")
    on_ddl: str | None = Field(default=None, description="Of syncs: what a changed source table means. A write of rows meets none.")
    method: str | None = Field(default=None, description="copy, insert or upsert.")
    columns: list[str] | None = Field(default=None, description="With conflict_mode update: the columns to set.")
    version_column: str | None = Field(default=None, description="An older version of a row is ignored.")
    ignore_nulls: bool | None = Field(default=None, description="A NULL outside the key counts as left out.")
    op_column: str | None = Field(default=None, description="With write_mode append: the column that takes the kind.")
    soft_delete_column: str | None = Field(default=None, description="With delete_mode soft: the column that marks a deleted row.")
    batch_rows: int | None = Field(default=None, description="Rows in memory at once.")
    batch_bytes: int | None = Field(default=None, description="Bytes in memory at once.")
    flush_interval: float | None = Field(default=None, description="Seconds.")
    max_retries: int | None = Field(default=None, description="n retries are n + 1 attempts.")
    retry_wait: float | None = Field(default=None, description="Seconds before the first retry; doubled each time.")
    parallelism: int | None = Field(default=None, description="Connections that load one table at a time.")
    properties: dict[str, str] | None = Field(default=None, description="Settings of the load in the target's own words.")

    def handle_output(self, context: dg.OutputContext, obj: Rows) -> None:
        """Write what the asset returned. Failure, never retried, for a permanent error."""
        if obj is None:
            return
        with permanent_errors_end_the_step():
            result, table = self._write(context, obj)
        context.add_output_metadata({**write_metadata(result), "dagster/table_name": str(table)})
        context.log.info(f"{table}: {result.rows:,} rows written")

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the upstream asset's table, as the type that the input is annotated with."""
        with permanent_errors_end_the_step():
            _refuse_partitions(context)
            upstream = _settings(context.upstream_output.definition_metadata if context.upstream_output else {})
            table = self._table(context.asset_key, upstream.get("table"))
            columns = _settings(context.definition_metadata).get("columns")
            return _as(context.dagster_type.typing_type, self.sink.read(table, columns))

    def _write(self, context: dg.OutputContext, rows: Rows) -> tuple[WriteResult, TableName]:
        settings = _settings(context.definition_metadata)
        check_names({f"{PREFIX}{name}": value for name, value in settings.items()}, tuple(PREFIX + name for name in names() + _OWN))
        table = self._table(context.asset_key, settings.pop("table", None))
        key = settings.pop("key", None)
        kind_column = settings.pop("row_kind_column", self.row_kind_column)
        given = {name: value for name in names() if (value := getattr(self, name)) is not None} | settings
        options = WriteOptions.of(given)
        given.pop("write_mode", None)
        key = [key] if isinstance(key, str) else key
        if isinstance(rows, Iterator) and not isinstance(rows, pa.RecordBatchReader):
            rows = list(rows)
        changelog = _has_column(rows, kind_column)
        if options.write_mode == "overwrite":
            if changelog:
                raise ConfigError("a changelog can't replace a table", table=table, setting="tidegate/write_mode")
            if context.has_asset_partitions:
                what = "a partition's rows would replace those of all partitions: upsert them"
                raise ConfigError(what, table=table, setting="tidegate/write_mode")
            return self.sink.overwrite(table, rows, key=key, **given), table
        if changelog:
            mode = options.write_mode
            return self.sink.apply(table, rows, key=key, kind_column=kind_column, write_mode=mode, **given), table
        if options.write_mode == "append":
            return self.sink.append(table, rows, idempotency_key=_idempotency_key(context), **given), table
        return self.sink.upsert(table, rows, key=key, **given), table

    def _table(self, key: dg.AssetKey, named: str | None) -> TableName:
        if named is not None:
            table = TableName.parse(named)
            return table if table.schema else TableName(self.schema_ or "", table.name)
        *before, name = key.path
        return TableName(self.schema_ or (before[-1] if before else ""), name)


def _settings(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata under ``tidegate/``, without the prefix, as plain values."""
    return {
        name.removeprefix(PREFIX): value.value if isinstance(value, dg.MetadataValue) else value
        for name, value in metadata.items()
        if name.startswith(PREFIX)
    }


def _has_column(rows: Rows, name: str) -> bool:
    if isinstance(rows, pa.RecordBatch | pa.RecordBatchReader | pa.Table):
        return name in rows.schema.names
    if hasattr(rows, "columns"):
        return name in rows.columns
    return any(name in _names(row) for row in rows)


def _names(row: Any) -> Collection[str]:
    if isinstance(row, Mapping):
        return row.keys()
    return [item.name for item in fields(row)] if is_dataclass(row) else ()


def _idempotency_key(context: dg.OutputContext) -> str:
    """The same for every attempt at this output, so that a retry after a lost reply appends nothing twice."""
    step = context.step_context
    parts = [origin(step.instance, step.dagster_run), context.step_key, context.name]
    return "/".join([*parts, *context.asset_partition_keys] if context.has_asset_partitions else parts)


def _refuse_partitions(context: dg.InputContext) -> None:
    """An input of some partitions can't be cut out of the table: nothing says which rows they are."""
    if not context.has_asset_partitions:
        return
    every = context.asset_partitions_def.get_partition_keys(dynamic_partitions_store=context.instance)
    if set(context.asset_partition_keys) != set(every):
        what = "the input is some partitions of a table that is read whole: map all of them, or read the rows with the resource"
        raise ConfigError(what, table=context.asset_key.to_user_string(), setting="partition_mapping")


def _as(wanted: Any, table: pa.Table) -> Any:
    package = getattr(wanted, "__module__", "").partition(".")[0]
    if package == "pandas":
        import pandas as pd

        return table.to_pandas(types_mapper=pd.ArrowDtype)
    if package == "polars":
        import polars as pl

        frame = pl.from_arrow(table)
        return frame.lazy() if isinstance(frame, pl.DataFrame) and wanted is pl.LazyFrame else frame
    if wanted is list or getattr(wanted, "__origin__", None) is list:
        return table.to_pylist()
    return table
