"""Whether the cluster's settings fit the schedule: what the doctor says of StarRocks.

A run that died leaves an open intent. The next run, after the pause between runs or after an outage, asks what became of its labels
and commits what was prepared. So labels have to be remembered, and prepared transactions kept, for longer than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from tidegate.changes.schema import TableName
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.sync.retention import span

DOWNTIME = 43_200.0
"""Seconds of an outage to be prepared for, if nothing else is said: a night."""
SETTINGS = (
    "prepared_transaction_default_timeout_second",
    "label_keep_max_second",
    "label_keep_max_num",
    "max_running_txn_num_per_db",
)


def findings(
    metadata: Metadata, tables: Sequence[TableName], *, interval: float | None = None, downtime: float = DOWNTIME
) -> Iterator[str]:
    """Warnings for people, each with the statement that removes it.

    ``tables`` are a sync's target tables, ``interval`` the seconds between its runs, ``downtime`` the outage to be prepared for.
    """
    found = {setting: metadata.number(setting) for setting in SETTINGS}
    if unknown := [setting for setting, value in found.items() if value is None]:
        yield (
            f"{', '.join(unknown)}: the account may not see it (ADMIN SHOW FRONTEND CONFIG needs OPERATE ON SYSTEM), so whether "
            "it fits the schedule can't be told"
        )
    gap = (interval or 0.0) + downtime
    why = f"{span(gap)} may pass between two runs (with an outage of {span(downtime)})"
    prepared = found["prepared_transaction_default_timeout_second"]
    if prepared is not None and prepared < gap:
        yield (
            f"prepared transactions are rolled back after {span(prepared)}, and {why}: their rows would be sent again. "
            f"{_set('prepared_transaction_default_timeout_second', gap)}"
        )
    kept = found["label_keep_max_second"]
    if kept is not None and kept < gap:
        yield (
            f"labels are forgotten after {span(kept)}, and {why}: whether a load of a run that died is in has then to be looked up "
            f"among the rows, or the run stops. {_set('label_keep_max_second', gap)}"
        )
    databases = sorted({metadata.full(table).schema for table in tables})
    for database in databases:
        yield from _evicted(metadata, database, found["label_keep_max_num"], gap, why)
        number = sum(metadata.full(table).schema == database for table in tables)
        yield from _crowded(metadata, database, found["max_running_txn_num_per_db"], number)


def _evicted(metadata: Metadata, database: str, most: int | None, gap: float, why: str) -> Iterator[str]:
    """The labels of a database are forgotten by number too (fe DatabaseTransactionMgr): other jobs' loads push ours out."""
    if most is None:
        return
    finished = _finished(metadata, database)
    if finished is None or len(finished) < 2 or len(finished) < most * 0.9:
        return
    age = (max(finished) - min(finished)).total_seconds()
    if age < gap:
        needed = math.ceil(len(finished) * gap / max(age, 1.0) * 1.2)
        yield (
            f"database {database}: {len(finished)} loads ended within {span(age)}, and {most} labels are remembered, while {why}. "
            f"{_set('label_keep_max_num', needed)}"
        )


def _crowded(metadata: Metadata, database: str, most: int | None, tables: int) -> Iterator[str]:
    if most is None:
        return
    running = metadata.running_labels(database, "")
    now = 0 if running is None else len(running)
    if now + 2 * tables > most:
        yield (
            f"database {database}: {now} transactions are open and this sync opens up to {tables} at a time, of {most} that are "
            f"allowed: loads would be refused. {_set('max_running_txn_num_per_db', 2 * (now + 2 * tables))}"
        )


def _finished(metadata: Metadata, database: str) -> list[datetime] | None:
    """When the transactions that the server remembers ended (2000 of them at most); None if the account may not see them."""
    rows = metadata.transactions(database, "finished")
    if rows is None:
        return None
    return [when for row in rows if (when := _time(str(row.get("finishtime") or ""))) is not None]


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _set(setting: str, value: float) -> str:
    return f"{sql.set_frontend_config(setting, math.ceil(value))}, and the same in fe.conf"
