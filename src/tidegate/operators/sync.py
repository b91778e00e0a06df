"""The main operator: one run of a sync per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from tidegate.hooks.base import TidegateHook
from tidegate.operators.base import TidegateOperator, only_transient_errors_are_retried, run_name
from tidegate.operators.stats import report_counts
from tidegate.operators.values import mapping_from, names_from, options_from
from tidegate.sync.mapping import Sync, TableMapping
from tidegate.sync.options import names
from tidegate.sync.results import SyncResult, TableResult
from tidegate.sync.run import run

if TYPE_CHECKING:
    from airflow.sdk import Context


class TidegateSyncOperator(TidegateOperator):
    """Brings the target's tables to where the source stands now: a first copy, then the changes since the last run.

    :param sync: the sync's name, under which the target keeps how far it has come. Keep it when the DAG or task is renamed.
    :param source_conn_id: connection of the source.
    :param tables: the source's tables, ``shop.orders``; each goes to the table of its own name in ``schema``.
    :param schema: the target's schema; empty: the connection's default.
    :param start: where a table's first run begins: ``snapshot`` copies it; ``latest``, a position (``binlog.000003:4711``) or a
        time (``2026-11-21T10:00:00Z``) take the changes from there on, onto the rows that the target has.
    :param table_options: per source table what differs for it: write options, ``target`` (``ods.shop_orders``), ``key`` (columns),
        ``start``.
    :param kwargs: ``sink_conn_id`` and the write options, see :class:`tidegate.operators.base.TidegateOperator`; and Airflow's own.

    Returns the run's :class:`tidegate.sync.results.SyncResult` as JSON, the XCom. Each target table is an asset,
    ``tidegate://<sink_conn_id>/<schema>/<table>``, whose event says the rows, the position and the lag; if tables, names or
    connections are templates there are none.

    Wrong options raise ConfigError while the DAG is read, or when the task runs if any of them is a template. At run time what
    somebody has to change first fails the task at once; what may pass by itself (a server that is away, another run that holds
    the sync) is retried as ``retries`` and ``retry_delay`` say. A task that is killed leaves nothing half-written: what it had
    committed stands, the rest is done by the next run. Give the DAG ``max_active_runs=1``: a second run at a time finds the sync
    busy and does nothing but wait.
    """

    template_fields: Sequence[str] = (
        "sync",
        "source_conn_id",
        "tables",
        "schema",
        "start",
        "table_options",
        *TidegateOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"table_options": "json"}

    def __init__(
        self,
        *,
        sync: str,
        source_conn_id: str,
        tables: Sequence[str | TableMapping] | str,
        schema: str = "",
        start: str = "snapshot",
        table_options: Mapping[str, Mapping[str, Any]] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sync = sync
        self.source_conn_id = source_conn_id
        self.tables = tables
        self.schema = schema
        self.start = start
        self.table_options = table_options
        if self.known("sync", "tables", "schema", "start", "table_options", *names()):
            for mapping in self.as_sync().tables:
                self.emit(mapping.target)

    def as_sync(self) -> Sync:
        """What the parameters say, after rendering if they hold templates. ConfigError for a wrong one."""
        overrides = {}
        for table, values in mapping_from(self.table_options, "table_options").items():
            overrides[table] = options_from(mapping_from(values, f"table_options[{table}]"))
            if overrides[table].get("key") is not None:
                overrides[table]["key"] = names_from(overrides[table]["key"], f"table_options[{table}]['key']")
        return Sync.of(
            str(self.sync),
            names_from(self.tables, "tables"),
            schema=str(self.schema or ""),
            options=self.write_options(),
            overrides=overrides,
            start=str(self.start or "snapshot"),
        )

    def execute(self, context: Context) -> dict[str, Any]:
        with only_transient_errors_are_retried():
            sync = self.as_sync()
            with (
                closing(TidegateHook(self.source_conn_id).source()) as source,
                closing(TidegateHook(self.sink_conn_id).sink()) as sink,
            ):
                result = run(sync, source, sink, owner=run_name(context), progress=self._say)
        self._report(result)
        for mapping, table in zip(sync.tables, result.tables, strict=True):
            self.record_event(context, mapping.target, event_extra(sync.name, table))
            report_counts(sync.name, mapping.target, table.write)
        return result.to_json()

    def _say(self, line: str) -> None:
        self.log.info("%s", line)

    def _report(self, result: SyncResult) -> None:
        for text in (*result.warnings, *(f"{table.target}: {text}" for table in result.tables for text in table.warnings)):
            self.log.warning("%s", text)
        self.log.info("%s", summary(result))


def summary(result: SyncResult) -> str:
    """``shop_to_ods: 1,234 rows into 2 of 3 tables in 2.1 s; 0.5 s behind the source``."""
    moved = [table for table in result.tables if table.write.rows]
    if not moved:
        return f"{result.sync}: nothing new in {len(result.tables)} tables, {result.seconds:.1f} s"
    lags = [table.lag_seconds for table in result.tables if table.lag_seconds is not None]
    behind = f"; {max(lags):.1f} s behind the source" if lags else ""
    return f"{result.sync}: {result.rows:,} rows into {len(moved)} of {len(result.tables)} tables in {result.seconds:.1f} s{behind}"


def event_extra(sync: str, table: TableResult) -> dict[str, Any]:
    """What an asset event says about a table."""
    return {
        "sync": sync,
        "source": table.source,
        "phase": table.phase,
        "rows": table.write.rows,
        "inserted": table.write.inserted,
        "updated": table.write.updated,
        "deleted": table.write.deleted,
        "position": str(table.position),
        "lag_seconds": table.lag_seconds,
    }
