"""Arrow to the wire for StarRocks, against rows written one by one; needs no server: ``python -m benchmarks.run encode``.

JSON is paired with orjson (with the standard library's json where that isn't installed), CSV with the standard library's csv. The
peers get Arrow too, and turn it into rows of Python values first, as they have to. Seconds are of the processor: both sides use one
thread and nothing else. CSV is also measured with enclose and escape, which the texts of the table need unless the delimiters are
control characters.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from benchmarks.load import report, rows_of

PAIRS = 3
PEER_ROWS = 100_000
TYPES = {
    "id": "bigint",
    "customer": "int",
    "name": "varchar(160)",
    "total": "decimal(12,2)",
    "at": "datetime",
    "day": "date",
    "paid": "smallint",
    "score": "double",
    "attrs": "json",
    "note": "varchar(65533)",
}


def encode(rows: int) -> None:
    """Print the ratios, and the memory beyond the rows themselves."""
    from tidegate.providers.starrocks.format import Format

    table = rows_of(rows)
    name, dumps = _dumps()
    _case("encode json", table, Format(), name, lambda part: _json_rows(part, dumps))
    _case("encode csv", table, Format.of("csv", "\\x01", "\\x02"), "csv", _csv_rows)
    _case("encode csv, enclose and escape", table, Format.of("csv", enclose='"', escape="\\"), "csv", _csv_rows)


def _case(case: str, table: pa.Table, format: Any, peer: str, theirs: Callable[[pa.Table], Iterator[bytes]]) -> None:
    from tidegate.providers.starrocks.catalog import CatalogColumn
    from tidegate.providers.starrocks.encode import pieces

    there = [CatalogColumn(name, TYPES[name]) for name in table.column_names]
    few = table.slice(0, PEER_ROWS)
    before, largest, rounds = pa.total_allocated_bytes(), 0, []
    for _ in range(PAIRS + 1):
        began = time.process_time()
        for piece in pieces(table, there, format):
            largest = max(largest, len(piece))
        mine = time.process_time() - began
        began = time.process_time()
        for _ in theirs(few):
            pass
        rounds.append((mine, {peer: (time.process_time() - began) * table.num_rows / few.num_rows}))
    report(case, rounds[1:], table.num_rows)
    peak = pa.default_memory_pool().max_memory() - before
    print(f"    pieces of up to {largest / 2**20:.1f} MB; at most {peak / 2**20:.0f} MB of Arrow beside the rows", flush=True)


def _dumps() -> tuple[str, Callable[[Any], bytes]]:
    if importlib.util.find_spec("orjson") is None:
        return "json", lambda row: json.dumps(row, default=str).encode()
    orjson = importlib.import_module("orjson")
    return "orjson", lambda row: bytes(orjson.dumps(row, default=str))


def _json_rows(table: pa.Table, dumps: Callable[[Any], bytes]) -> Iterator[bytes]:
    for batch in table.to_batches(max_chunksize=16_384):
        rows = batch.to_pylist()
        for row in rows:
            row["attrs"] = json.loads(row["attrs"])
        yield b",".join(dumps(row) for row in rows)


def _csv_rows(table: pa.Table) -> Iterator[bytes]:
    for batch in table.to_batches(max_chunksize=16_384):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        columns = [column.to_pylist() for column in batch.columns]
        writer.writerows(tuple("\\N" if value is None else value for value in row) for row in zip(*columns, strict=True))
        yield out.getvalue().encode()
