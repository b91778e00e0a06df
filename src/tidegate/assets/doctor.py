"""The doctor as Dagster asset checks: one a table of a sync."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import dagster as dg

from tidegate.assets.runs import permanent_errors_end_the_step
from tidegate.assets.sync import TableTranslator, resource_of
from tidegate.changes.schema import TableName
from tidegate.sync.doctor import Report, doctor
from tidegate.sync.mapping import Sync, TableMapping
from tidegate.sync.options import WriteOptions

CHECK = "tidegate_doctor"


def build_doctor_checks(
    *,
    sync: str,
    source: str,
    sink: str,
    tables: Sequence[str | TableName | TableMapping],
    schema: str = "",
    table_options: Mapping[str, Mapping[str, Any]] | None = None,
    interval: timedelta | float | None = None,
    translator: TableTranslator | None = None,
    **options: Any,
) -> dg.AssetChecksDefinition:
    """A check ``tidegate_doctor`` on each asset of a sync: would its next run succeed, and will it still find its place?

    Takes what :func:`tidegate.assets.tidegate_assets` takes, so that both can be given the same arguments. ``interval`` is the time
    between runs, a timedelta or seconds: a log that may be purged within it fails the check with severity ERROR, one that may be
    purged within twice that with WARN, as do the other warnings of the doctor. The checks write nothing; schedule them more often
    than the sync, or before it.
    """
    whole = Sync.of(sync, tables, schema=schema, options=WriteOptions.of(options), overrides=table_options)
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    keys = {(translator or TableTranslator()).get_asset_spec(whole, table).key: table for table in whole.tables}

    @dg.multi_asset_check(
        name=f"{re.sub(r'[^A-Za-z0-9_]', '_', sync)}_doctor",
        specs=[
            dg.AssetCheckSpec(CHECK, asset=key, description=f"Whether the next run of {sync} finds all it needs.") for key in keys
        ],
        can_subset=True,
        required_resource_keys={source, sink},
    )
    def tidegate_doctor(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        selected = {key.asset_key: keys[key.asset_key] for key in context.selected_asset_check_keys}
        part = whole.subset([table.source for table in selected.values()])
        with (
            permanent_errors_end_the_step(),
            closing(resource_of(context, source).source(source)) as reader,
            closing(resource_of(context, sink).sink(sink)) as writer,
        ):
            report = doctor(part, reader, writer, interval=seconds)
        for key, table in selected.items():
            yield _result(key, report.of(table.source))

    return tidegate_doctor


def _result(key: dg.AssetKey, report: Report) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"tidegate/verdict": report.verdict, "tidegate/report": dg.MetadataValue.text(str(report))}
    for kept in report.retention:
        figures = {"bytes_behind": kept.bytes_behind, "seconds_behind": kept.seconds_behind, "seconds_left": kept.seconds_left}
        metadata |= {f"tidegate/{name}": value for name, value in figures.items() if value is not None}
    texts = [item.text for item in report.findings] + [kept.text(report.interval) for kept in report.retention]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=CHECK,
        passed=report.verdict == "ok",
        severity=dg.AssetCheckSeverity.ERROR if report.verdict == "critical" else dg.AssetCheckSeverity.WARN,
        description="\n".join(texts),
        metadata=metadata,
    )
