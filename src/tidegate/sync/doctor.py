"""The doctor: whether the next run would succeed, and whether its place in the source will still be there. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError, TidegateError
from tidegate.sync.mapping import Sync
from tidegate.sync.plan import plan
from tidegate.sync.protocols import Sink, Source
from tidegate.sync.retention import Expiring, Keeping, Retention, Verdict, span

_RANK: dict[Verdict, int] = {"ok": 0, "warn": 1, "critical": 2}


@runtime_checkable
class Scheduled(Protocol):
    """A sink whose server keeps what a run left unfinished for a limited time only. Sinks without this method keep it for good."""

    def health(self, targets: Sequence[TableName], interval: float | None) -> Sequence[str]:
        """Settings of the server that don't fit a sync of these tables, run every ``interval`` seconds. Reads only."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``critical``: the next run fails over it; ``warn``: worth a look. ``table`` is the source's; None if it concerns them all."""

    verdict: Verdict
    text: str
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found. ``str(report)`` is for people, :meth:`to_json` for machines.

    ``interval`` is the time between runs in seconds, None if it wasn't said.
    """

    sync: str
    findings: tuple[Finding, ...]
    retention: tuple[Keeping, ...]
    interval: float | None

    @property
    def verdict(self) -> Verdict:
        """``critical``: the next run fails, or may find its place gone; ``warn``: something is worth a look."""
        return _worst([*(item.verdict for item in self.findings), *(item.verdict(self.interval) for item in self.retention)])

    def of(self, table: TableName) -> Report:
        """What concerns one table, named as in the source: its own findings, and those of no table in particular."""
        own = tuple(item for item in self.findings if item.table in (None, str(table)))
        return Report(self.sync, own, tuple(item for item in self.retention if item.table == table), self.interval)

    def to_json(self) -> dict[str, Any]:
        return {
            "sync": self.sync,
            "verdict": self.verdict,
            "interval": self.interval,
            "findings": [{"verdict": item.verdict, "table": item.table, "text": item.text} for item in self.findings],
            "retention": [item.to_json(self.interval) for item in self.retention],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"sync {self.sync}: {self.verdict}"
        for item in sorted(self.findings, key=lambda item: -_RANK[item.verdict]):
            yield f"{item.verdict}: {item.text}"
        for kept in self.retention:
            yield f"{kept.verdict(self.interval)}: {kept.table}: {kept.text(self.interval)}{_behind(kept)}"


def doctor(sync: Sync, source: Source, sink: Sink, *, interval: float | None = None) -> Report:
    """Look at all that a run of the sync needs: the source's settings and privileges, the tables on both sides, the stored
    positions, and how long the source keeps what comes after them. Writes nothing.

    ``interval`` is the time between runs, in seconds. Raises TransientError if a server can't be reached; whatever else is wrong is
    in the report.
    """
    findings: list[Finding] = []
    kept = Retention()
    try:
        found = plan(sync, source, sink)
        findings += [_critical(problem) for problem in found.problems]
        findings += [Finding("warn", text) for text in found.warnings]
        findings += [Finding("warn", f"{item.source}: {text}", str(item.source)) for item in found.tables for text in item.warnings]
        if isinstance(source, Expiring):
            last = sink.ledger.last(sync.name)
            kept = source.retention(
                {item.source: last[item.source].position if item.source in last else None for item in sync.tables}
            )
            findings += [Finding("warn", text) for text in kept.warnings]
        if isinstance(sink, Scheduled):
            findings += [Finding("warn", text) for text in sink.health([item.target for item in sync.tables], interval)]
    except PermanentError as error:
        # What keeps one side from being asked mostly stands among the findings already.
        if str(error) not in [item.text for item in findings]:
            findings.append(_critical(error))
    return Report(sync.name, tuple(findings), kept.tables, interval)


def _critical(problem: TidegateError) -> Finding:
    return Finding("critical", str(problem), problem.table)


def _worst(verdicts: list[Verdict]) -> Verdict:
    return max(verdicts, key=_RANK.__getitem__, default="ok")


def _behind(item: Keeping) -> str:
    parts = []
    if item.bytes_behind is not None:
        parts.append(f"{item.bytes_behind:,} bytes")
    if item.seconds_behind is not None:
        parts.append(span(item.seconds_behind))
    return f"; {' and '.join(parts)} behind" if parts else ""
