"""Operators that write rows to one table: from a file, from a query on another connection, or from XCom."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.hooks.base import TidegateHook
from tidegate.operators.base import TidegateOperator, only_transient_errors_are_retried, run_name
from tidegate.operators.rows import query, read_file
from tidegate.operators.stats import report_counts
from tidegate.operators.values import names_from, structure_from
from tidegate.sync.options import names
from tidegate.sync.results import WriteResult
from tidegate.sync.rows import Rows

if TYPE_CHECKING:
    from airflow.sdk import Context


class _WriteOperator(TidegateOperator):
    template_fields: Sequence[str] = (
        "table",
        "path",
        "format",
        "sql",
        "sql_conn_id",
        "rows",
        "key",
        *TidegateOperator.template_fields,
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "rows": "json"}

    def __init__(
        self,
        *,
        table: str,
        path: str | None = None,
        format: str | None = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        rows: Any = None,
        key: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.path = path
        self.format = format
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.rows = rows
        self.key = key
        self._check_origin()
        if self.known(*names()):
            self.write_options()
        if self.known("table"):
            self.emit(TableName.parse(self.table))

    def _check_origin(self) -> None:
        given = [name for name in ("path", "sql", "rows") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigError(f"rows come from exactly one of path, sql and rows; given: {', '.join(given) or 'none'}")
        if (self.sql is None) != (self.sql_conn_id is None):
            raise ConfigError("sql and sql_conn_id go together", setting="sql_conn_id")
        if self.format is not None and self.path is None:
            raise ConfigError("goes with path", setting="format")

    @contextmanager
    def _origin(self) -> Iterator[Rows]:
        """The rows, streamed; closed afterwards."""
        if self.path is not None:
            yield read_file(self.path, self.format)
        elif self.sql is not None and self.sql_conn_id is not None:
            with query(self.sql_conn_id, self.sql) as found:
                yield found
        else:
            yield structure_from(self.rows, "rows") if isinstance(self.rows, str) else self.rows

    def execute(self, context: Context) -> dict[str, Any]:
        with only_transient_errors_are_retried():
            table = TableName.parse(self.table)
            options = asdict(self.write_options())
            key = None if self.key is None else names_from(self.key, "key")
            with self._origin() as rows:
                result = self._write(TidegateHook(self.sink_conn_id), table, rows, key, options, context)
        counts = {
            name: getattr(result, name)
            for name in ("inserted", "updated", "deleted", "not_found", "quarantined", "skipped", "filtered")
        }
        parts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        self.log.info("%s: %s rows%s in %.1f s", table, f"{result.rows:,}", f" ({parts})" if parts else "", result.seconds)
        self.record_event(context, table, {"rows": result.rows, **counts})
        report_counts(self.task_id, table, result)
        return asdict(result)

    @abstractmethod
    def _write(
        self, hook: TidegateHook, table: TableName, rows: Rows, key: list[str] | None, options: dict[str, Any], context: Context
    ) -> WriteResult:
        """The verb."""


class TidegateUpsertOperator(_WriteOperator):
    """Writes rows to a table of any target: by key, or as ``write_mode`` says.

    :param table: ``schema.table``; it is created if it is missing.
    :param path: a file, a folder or a pattern, local or any URL that Airflow's object storage knows: Parquet, CSV, JSON lines.
        Values of a CSV file are text, read as the types that the table has. A connection is given as ``s3://my_conn@bucket/…``.
    :param format: ``parquet``, ``csv`` or ``jsonl``; None: as the file's name ends.
    :param sql: a query, or a file ending in ``.sql``, on the connection ``sql_conn_id``, which is any that has a DB-API hook.
    :param rows: a list of dicts, as another task returns it.
    :param key: the key columns; None: the table's primary key.
    :param kwargs: ``sink_conn_id`` and the write options, see :class:`tidegate.operators.base.TidegateOperator`; and Airflow's own.

    Exactly one of ``path``, ``sql`` and ``rows`` is given. All rows are in, or none. With ``write_mode='append'`` the run of the
    task is the idempotency key: its retries, and clearing it, add nothing twice. Returns the
    :class:`tidegate.sync.results.WriteResult` as a dict.
    """

    def _write(
        self, hook: TidegateHook, table: TableName, rows: Rows, key: list[str] | None, options: dict[str, Any], context: Context
    ) -> WriteResult:
        match options.pop("write_mode"):
            case "append":
                return hook.append(table, rows, idempotency_key=run_name(context), **options)
            case "overwrite":
                return hook.overwrite(table, rows, key=key, **options)
        return hook.upsert(table, rows, key=key, **options)


class TidegateDeleteOperator(_WriteOperator):
    """Removes rows by key from a table of any target, or marks them with ``delete_mode='soft'``.

    The parameters are those of :class:`TidegateUpsertOperator`; of the rows only the key columns are looked at.
    """

    def _write(
        self, hook: TidegateHook, table: TableName, rows: Rows, key: list[str] | None, options: dict[str, Any], context: Context
    ) -> WriteResult:
        return hook.delete(table, rows, key=key, **options)
