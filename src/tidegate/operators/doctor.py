"""A check before it is too late: whether the next run of a sync would succeed and still find its place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.hooks.base import TidegateHook
from tidegate.operators.base import only_transient_errors_are_retried
from tidegate.operators.sync import TidegateSyncOperator
from tidegate.sync.retention import Verdict

if TYPE_CHECKING:
    from airflow.sdk import Context

_FAILS: dict[str, tuple[Verdict, ...]] = {"critical": ("critical",), "warn": ("critical", "warn")}


class TidegateDoctorOperator(TidegateSyncOperator):
    """Looks at what a run of the sync would meet, and how long the source keeps what the sync has still to read. Writes nothing.

    :param interval: the time between runs of the sync: a timedelta, or seconds. A log that may be purged within it is critical, one
        that may be purged within twice that a warning.
    :param fail_on: ``critical`` (the default) or ``warn``: the verdict from which on the task fails, at once and without retries.
    :param kwargs: those of :class:`tidegate.operators.sync.TidegateSyncOperator`, the same as in the sync's own task.

    Returns the :class:`tidegate.sync.doctor.Report` as JSON, the XCom. Run it on a schedule of its own, more often than the sync.
    """

    template_fields: Sequence[str] = ("fail_on", *TidegateSyncOperator.template_fields)

    def __init__(self, *, interval: timedelta | float | None = None, fail_on: str = "critical", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.interval = interval.total_seconds() if isinstance(interval, timedelta) else interval
        self.fail_on = fail_on
        if self.known("fail_on"):
            self._fails()

    def emit(self, table: TableName) -> None:
        """A look changes no table: it emits no asset."""

    def execute(self, context: Context) -> dict[str, Any]:
        with only_transient_errors_are_retried():
            fails = self._fails()
            report = TidegateHook(self.source_conn_id).preflight(self.as_sync(), self.sink_conn_id, interval=self.interval)
        self.log.info("%s", report)
        if report.verdict in fails:
            raise AirflowFailException(str(report))
        return report.to_json()

    def _fails(self) -> tuple[Verdict, ...]:
        if self.fail_on not in _FAILS:
            raise ConfigError(f"{self.fail_on!r} is not one of {', '.join(_FAILS)}", setting="fail_on")
        return _FAILS[self.fail_on]
