"""A sync as Dagster assets: one multi-asset, a table each."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import dagster as dg

from tidegate.assets.metadata import column_schema, write_metadata
from tidegate.assets.resources import TidegateResource
from tidegate.assets.runs import origin, permanent_errors_end_the_step
from tidegate.changes.position import to_json
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, TransientError
from tidegate.sync.mapping import Sync, TableMapping
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Sink
from tidegate.sync.results import TableResult
from tidegate.sync.run import run


class TableTranslator:
    """How a table of a sync becomes an asset. Override :meth:`get_asset_spec`, usually by changing what it returns::

    class Bronze(TableTranslator):
        def get_asset_spec(self, sync, table):
            spec = super().get_asset_spec(sync, table)
                return spec.replace_attributes(key=["bronze", table.source.name], owners=["team:data"])
    """

    def get_asset_spec(self, sync: Sync, table: TableMapping) -> dg.AssetSpec:
        """The asset of one table: by default keyed by the target's schema and name, downstream of the source's."""
        key, source = asset_key(table.target), asset_key(table.source)
        own = {asset_key(other.target) for other in sync.tables}
        return dg.AssetSpec(
            key,
            deps=[] if source in own else [source],
            description=f"{table.source}, kept in step by the sync {sync.name}.",
            metadata={
                "dagster/table_name": str(table.target),
                "tidegate/sync": sync.name,
                "tidegate/source": str(table.source),
                "tidegate/table": str(table.target),
            },
        )


def asset_key(table: TableName) -> dg.AssetKey:
    """``ods.orders`` as an asset key: ``ods/orders``."""
    return dg.AssetKey([table.schema, table.name] if table.schema else [table.name])


def tidegate_assets(
    *,
    sync: str,
    source: str,
    sink: str,
    tables: Sequence[str | TableName | TableMapping],
    schema: str = "",
    start: str = "snapshot",
    table_options: Mapping[str, Mapping[str, Any]] | None = None,
    group_name: str | None = None,
    kinds: Collection[str] | None = None,
    automation_condition: dg.AutomationCondition[dg.AssetKey] | None = None,
    retry_policy: dg.RetryPolicy | None = None,
    translator: TableTranslator | None = None,
    **options: Any,
) -> dg.AssetsDefinition:
    """The assets of a sync: each materialization copies a table once, then brings it to where the source stands.

    Any subset of the tables can be materialized; each table knows its own position. A run that fails writes nothing of the window
    it was in, and the next one goes on from there, whatever Dagster remembers: the truth is in the target.

    ``sync``
        the name that the target's ledger knows the sync by. Keep it when code locations, jobs or groups are renamed.
    ``source``, ``sink``
        the keys of two resources in ``Definitions``; messages name them so.
    ``tables``, ``schema``
        source tables (``shop.orders``), each going to the table of its own name in the target's ``schema``.
    ``start``
        where a table's first run begins: ``snapshot`` copies it; ``latest``, a position (``binlog.000003:4711``) or a time
        (``2026-11-21T10:00:00Z``) take the changes from there on, onto the rows that the target has.
    ``table_options``
        per source table the write options that differ for it, and beside them ``target`` (``ods.shop_orders``), ``key``, ``start``.
    ``kinds``
        the badges of the assets, such as mysql and postgres.
    ``retry_policy``
        repeats the step after a transient error. A permanent one (a wrong option, a purged position) is never repeated.
    ``options``
        the fields of :class:`tidegate.sync.options.WriteOptions`.

    The step is in the pool ``tidegate_<sync>``: give pools a limit of one, and ticks queue up instead of meeting a run under way.
    Without that a second run ends with SyncBusy before it has read anything. Raises ConfigError for options that are unknown or
    don't go together.
    """
    whole = Sync.of(sync, tables, schema=schema, options=WriteOptions.of(options), overrides=table_options, start=start)
    name = re.sub(r"[^A-Za-z0-9_]", "_", sync)
    by_key = {}
    for table in whole.tables:
        spec = (translator or TableTranslator()).get_asset_spec(whole, table)
        spec = spec.replace_attributes(
            group_name=group_name or spec.group_name or ...,
            kinds=spec.kinds or set(kinds or ()),
            automation_condition=automation_condition or spec.automation_condition,
        )
        if spec.key in by_key:
            raise ConfigError(f"two tables have the asset key {spec.key.to_user_string()}", setting="translator")
        by_key[spec.key] = spec, table

    @dg.multi_asset(
        name=name,
        specs=[spec for spec, _ in by_key.values()],
        can_subset=True,
        pool=f"tidegate_{name}",
        retry_policy=retry_policy,
        required_resource_keys={source, sink},
    )
    def tidegate_sync(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        selected = {key: table for key, (_, table) in by_key.items() if key in context.selected_asset_keys}
        part = whole.subset([table.source for table in selected.values()])
        owner = f"{origin(context.instance, context.run)}/{name}"
        with (
            permanent_errors_end_the_step(),
            closing(resource_of(context, source).source(source)) as reader,
            closing(resource_of(context, sink).sink(sink)) as writer,
        ):
            result = run(part, reader, writer, owner=owner, progress=context.log.info)
            for warning in result.warnings:
                context.log.warning(warning)
            schemas = {key: _described(writer, table.target, context.log) for key, table in selected.items()}
        for key, table in selected.items():
            metadata = _metadata(result.table(str(table.source))) | schemas[key]
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)

    return tidegate_sync


def resource_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, key: str) -> TidegateResource:
    """The resource of that key; ConfigError if it isn't one of tidegate's."""
    resource = getattr(context.resources, key)
    if not isinstance(resource, TidegateResource):
        raise ConfigError(f"the resource {key} is a {type(resource).__name__}, and none of tidegate's", setting=key)
    return resource


def _described(sink: Sink, table: TableName, log: dg.DagsterLogManager) -> dict[str, Any]:
    try:
        schema = sink.describe(table)
    except TransientError as error:
        # The rows are in: what the page shows of the columns is not worth failing for.
        log.warning(f"the columns of {table} could not be read: {error}")
        return {}
    return {} if schema is None else column_schema(schema)


def _metadata(result: TableResult) -> dict[str, Any]:
    lag = {} if result.lag_seconds is None else {"tidegate/lag_seconds": dg.MetadataValue.float(result.lag_seconds)}
    warnings = {"tidegate/warnings": "\n".join(result.warnings)} if result.warnings else {}
    return {
        **write_metadata(result.write),
        **lag,
        **warnings,
        "tidegate/read": result.read,
        "tidegate/phase": result.phase,
        "tidegate/position": dg.MetadataValue.json(to_json(result.position)),
        "dagster/table_name": result.target,
    }
