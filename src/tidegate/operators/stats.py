"""The counts of a write as Airflow's own metrics (StatsD or OpenTelemetry, as Airflow is configured)."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import timedelta

from airflow.sdk.observability.stats import Stats

from tidegate.changes.schema import TableName
from tidegate.sync.results import WriteResult


def report_counts(name: str, table: TableName | str, write: WriteResult) -> None:
    """Counters ``tidegate.<name>.<table>.rows``, ``.bytes``, ``.loads``, ``.failed_loads``, ``.filtered``, …; a timer ``.seconds``

    ``name`` is the sync, or the task of a write outside one. What is 0 and what the target can't tell is left out. Characters that
    Airflow takes in no name become ``_``.
    """
    counts = asdict(write)
    seconds = counts.pop("seconds")
    stem = "tidegate." + ".".join(re.sub(r"[^a-zA-Z0-9_.-]", "_", part) for part in (name, str(table)))
    for count, value in counts.items():
        if value:
            Stats.incr(f"{stem}.{count}", value)
    if seconds:
        Stats.timing(f"{stem}.seconds", timedelta(seconds=seconds))
