"""What the demo did, as a table: rows read and written, and whether the target equals what the source held in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from demo.targets import Target


def report(results: Sequence[Mapping[str, Any]], target: Target, values: Mapping[str, Any], expected: Path) -> bool:
    """Print the table; whether all of the target's tables equal the files in ``expected``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tidegate.changes.schema import TableName
    from tidegate.verify.compare import compare

    rows, all_equal = [], True
    with closing(target.system.open_sink(values, target.conn_id)) as sink:
        for source in results[-1]["tables"]:
            runs = [result["tables"][source] for result in results]
            name = TableName("ods", source.partition(".")[2])
            existing = sink.describe(name)
            assert existing is not None
            actual = pa.Table.from_batches(sink.read(name))
            source_rows = pq.read_table(expected / f"{name.name}.parquet")
            difference = compare(
                source_rows, actual, existing.key, empty_is_null=target.empty_is_null, json_values=target.json_values
            )
            all_equal &= difference.equal
            counts = [_total(run["read"] for run in runs)]
            counts += [_total(run["write"][kind] for run in runs) for kind in ("inserted", "updated", "deleted")]
            origin = runs[-1]["position"].get("origin") or {}
            position = f"{origin.get('file')}:{origin.get('offset')}"
            verdict = f"{actual.num_rows:,} rows, {'equal to the source' if difference.equal else str(difference)}"
            rows.append([f"{source} → {name}", *counts, position, verdict])
    _print(["table", "read", "inserted", "updated", "deleted", "position", "target"], rows)
    if target.note:
        print(f"\n{target.note}")
    which = "" if target.name == "postgres" else f" SINK={target.name}"
    print(
        "\nNext:\n"
        f"  {f'make demo{which}':<30}once more: nothing is left to do, so nothing is done\n"
        f"  {f'make demo-page{which}':<30}the same DAG on its schedule, with Airflow's page on http://localhost:8080\n"
        f"  {'make test':<30}the tests, against MariaDB and PostgreSQL servers of their own"
    )
    return all_equal


def _total(counts: Iterable[int | None]) -> str:
    """The sum; a dash if the target couldn't tell one of them."""
    total = 0
    for count in counts:
        if count is None:
            return "–"
        total += count
    return f"{total:,}"


def _print(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    print()
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if 1 <= n <= 4 else cell.ljust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
