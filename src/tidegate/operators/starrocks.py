"""An operator of StarRocks' own: a file into a table by one Stream Load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, ObjectStoragePath

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.hooks.starrocks import StarRocksHook
from tidegate.operators.base import only_transient_errors_are_retried, run_name, target_asset
from tidegate.operators.stats import report_counts
from tidegate.operators.values import is_template, mapping_from, structure_from

if TYPE_CHECKING:
    from airflow.sdk import Context


class StarRocksStreamLoadOperator(BaseOperator):
    """Loads a file of CSV or JSON as it is, by one Stream Load, into a table that exists.

    :param table: ``database.table``; without a database that of the connection.
    :param path: the file: local, or any URL that Airflow's object storage knows, a connection given as ``s3://my_conn@bucket/…``.
        A packed one (``.gz``, …) is unpacked on the way.
    :param sink_conn_id: a connection of the type StarRocks.
    :param format: ``csv`` or ``json``; None: as the file's name ends.
    :param columns: Stream Load's ``columns``, as a list or as text: names in the order of the fields, and expressions. None: CSV
        fields come in the table's order, JSON fields by their names.
    :param properties: further headers of Stream Load: ``{"skip_header": 1, "partial_update": True}``.

    All are templates. The run of the task is the load's label, so its tries, and clearing it, load the file once as long as
    StarRocks remembers labels (three days by default). Returns the counts of
    :class:`tidegate.sync.results.WriteResult` and, as ``reply``, what StarRocks answered.
    """

    template_fields: Sequence[str] = ("table", "path", "sink_conn_id", "format", "columns", "properties")
    template_fields_renderers: ClassVar[dict[str, str]] = {"properties": "json"}
    ui_color = "#d7ecf3"

    def __init__(
        self,
        *,
        table: str,
        path: str,
        sink_conn_id: str = StarRocksHook.default_conn_name,
        format: str | None = None,
        columns: Sequence[str] | str | None = None,
        properties: Mapping[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.path = path
        self.sink_conn_id = sink_conn_id
        self.format = format
        self.columns = columns
        self.properties = properties
        if not is_template(table):
            name = TableName.parse(table)
            if not is_template(sink_conn_id):
                self.add_outlets([target_asset(sink_conn_id, name)])

    def execute(self, context: Context) -> dict[str, Any]:
        with only_transient_errors_are_retried():
            table = TableName.parse(self.table)
            hook = StarRocksHook(self.sink_conn_id)
            loaded = hook.stream_load(
                table,
                self._file(),
                format=self.format or None,
                label=hook.label(run_name(context)),
                columns=self._columns(),
                **mapping_from(self.properties, "properties"),
            )
        write = loaded.write
        left_out = f", {write.filtered:,} left out as faulty" if write.filtered else ""
        self.log.info("%s: %s rows%s in %.1f s", table, f"{write.rows:,}", left_out, write.seconds)
        report_counts(self.task_id, table, write)
        asset = target_asset(self.sink_conn_id, table)
        if asset in self.outlets:
            context["outlet_events"][asset].extra = {"rows": write.rows, "filtered": write.filtered, "loads": write.loads}
        return {**asdict(write), "reply": None if loaded.reply is None else asdict(loaded.reply)}

    def _file(self) -> ObjectStoragePath:
        found = ObjectStoragePath(self.path)
        if not found.is_file():
            raise ConfigError(f"no file {self.path}", setting="path")
        return found

    def _columns(self) -> Sequence[str] | str | None:
        if isinstance(self.columns, str) and self.columns.strip().startswith("["):
            return [str(item) for item in structure_from(self.columns, "columns")]
        return self.columns or None
