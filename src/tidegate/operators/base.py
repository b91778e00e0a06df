"""What all operators share: the write options by keyword, the target, and which errors Airflow may retry."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError
from tidegate.operators.values import is_template, options_from
from tidegate.sync.options import WriteOptions, check_names, names

if TYPE_CHECKING:
    from airflow.sdk import Context

_AIRFLOWS_OWN = tuple(inspect.signature(BaseOperator.__init__).parameters)


class TidegateOperator(BaseOperator):
    """Writes into the target of ``sink_conn_id`` under the write options.

    :param sink_conn_id: connection of the target.

    All other parameters are the fields of :class:`tidegate.sync.options.WriteOptions`, which says what they mean. They may be
    templates; text that a template renders is read as the type of its option, a list as JSON.
    """

    template_fields: Sequence[str] = ("sink_conn_id", *names())
    ui_color = "#d7ecf3"

    def __init__(
        self,
        *,
        sink_conn_id: str,
        write_mode: str = "upsert",
        conflict_mode: str = "upsert",
        delete_mode: str = "apply",
        on_error: str = "fail",
        initial: str = "refuse",
        on_ddl: str = "evolve",
        method: str | None = None,
        columns: Sequence[str] | str | None = None,
        version_column: str | None = None,
        ignore_nulls: bool | str = False,
        op_column: str | None = None,
        soft_delete_column: str | None = None,
        batch_rows: int | str | None = None,
        batch_bytes: int | str | None = None,
        flush_interval: float | str | None = None,
        max_retries: int | str | None = None,
        retry_wait: float | str | None = None,
        parallelism: int | str | None = None,
        properties: Mapping[str, str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        unknown = {name: None for name in kwargs if name not in _AIRFLOWS_OWN and not name.startswith("_")}
        check_names(unknown, (*self.template_fields, *_AIRFLOWS_OWN))
        super().__init__(**kwargs)
        self.sink_conn_id = sink_conn_id
        self.write_mode = write_mode
        self.conflict_mode = conflict_mode
        self.delete_mode = delete_mode
        self.on_error = on_error
        self.initial = initial
        self.on_ddl = on_ddl
        self.method = method
        self.columns = columns
        self.version_column = version_column
        self.ignore_nulls = ignore_nulls
        self.op_column = op_column
        self.soft_delete_column = soft_delete_column
        self.batch_rows = batch_rows
        self.batch_bytes = batch_bytes
        self.flush_interval = flush_interval
        self.max_retries = max_retries
        self.retry_wait = retry_wait
        self.parallelism = parallelism
        self.properties = properties

    def write_options(self) -> WriteOptions:
        """The options as they stand, which is after rendering if they hold templates. ConfigError for a wrong one."""
        return WriteOptions.of(options_from({name: getattr(self, name) for name in names()}))

    def known(self, *fields: str) -> bool:
        """Whether these template fields hold no template, so that they can be used while the DAG is read."""
        return not any(is_template(getattr(self, name)) for name in fields)

    def emit(self, table: TableName) -> None:
        """Say that a success of this task changes the table: an asset that other DAGs can be scheduled on.

        Behind a connection that a template names there is no asset: Airflow has to know assets before the task runs.
        """
        if not self.known("sink_conn_id"):
            return
        asset = target_asset(self.sink_conn_id, table)
        if asset not in self.outlets:
            self.add_outlets([asset])

    def record_event(self, context: Context, table: TableName, extra: Mapping[str, Any]) -> None:
        """What happened to the table, on its asset event. Tables that templates name have no asset, so no event."""
        asset = target_asset(self.sink_conn_id, table)
        if asset in self.outlets:
            context["outlet_events"][asset].extra = dict(extra)


def target_asset(sink_conn_id: str, table: TableName) -> Asset:
    """The asset of a target table: ``tidegate://warehouse/ods/orders`` is ods.orders behind the connection warehouse."""
    parts = [quote(part, safe="") for part in (table.schema, table.name) if part]
    return Asset(f"tidegate://{quote(sink_conn_id, safe='')}/{'/'.join(parts)}")


def run_name(context: Context) -> str:
    """Names this run of this task, the same across its tries, and apart for each mapped instance."""
    ti = context["ti"]
    name = f"{ti.dag_id}/{ti.task_id}/{ti.run_id}"
    return name if (ti.map_index or 0) < 0 else f"{name}/{ti.map_index}"


@contextmanager
def only_transient_errors_are_retried() -> Iterator[None]:
    """An error that stays until somebody changes something fails the task at once, whatever its ``retries``."""
    try:
        yield
    except PermanentError as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
