"""Writing to PostgreSQL against the bare statements, and against what people use instead; on the same rows, which are in memory.

load
    Arrow batches of 100,000 rows into an empty table, against psql's ``\\copy`` of a ready CSV file
upsert
    rows of which half are present, against the fastest of ON CONFLICT, MERGE and DELETE + INSERT from a temporary table that
    psql filled with ``\\copy``
microbatch
    1,000 rows a transaction, each with its entry in the ledger, against COPY of ready CSV into a temporary table, which is kept
    and emptied by the commit, and ON CONFLICT
airflow
    the verb insert into an empty table, against ``PostgresHook.insert_rows``; the verb upsert, against ``insert_rows`` with
    ``replace`` and ``execute_values`` with ON CONFLICT; theirs in pages of 1,000 rows
"""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.servers import PostgresServer

PAIRS = 3
BATCH_ROWS = 100_000
MICRO_ROWS, MICRO_BATCHES = 1_000, 100
AIRFLOW_ROWS = 50_000
TABLE = """
CREATE TABLE ods.orders (
    id bigint PRIMARY KEY, customer integer NOT NULL, name varchar(40), total numeric(12,2), at timestamp(6), day date,
    paid smallint, score double precision, attrs json, note text
)
"""
Child = Callable[..., float]
"""Runs a function in a process of its own, and returns its seconds."""


def rows_of(count: int) -> pa.Table:
    """The rows: numbers, times, texts with quotes and line ends, NULL and empty ones."""
    n = np.arange(1, count + 1, dtype=np.int64)
    names = pa.array(["plain name", "héllo wörld", "quote \" and '", "tab\tand\nline", "back\\slash"])
    notes = pa.array([None, None, None, "", *("note " * (1 + size) for size in range(6))])
    attrs = pa.array([f'{{"tags": ["a", "b"], "n": {number}}}' for number in range(1000)])
    cents = np.column_stack([n * 104_729 % 100_000_000, np.zeros(count, np.int64)])
    since = np.datetime64("2024-01-01", "us").astype(np.int64)
    return pa.table(
        {
            "id": n,
            "customer": (n * 7919 % 100_003).astype(np.int32),
            "name": names.take(pa.array(n % 5)),
            "total": pa.Array.from_buffers(pa.decimal128(12, 2), count, [None, pa.py_buffer(cents.tobytes())]),
            "at": pa.array(since + n * 1_000_997, pa.timestamp("us")),
            "day": pa.array((19_723 + n % 1000).astype(np.int32), pa.date32()),
            "paid": (n % 2).astype(np.int16),
            "score": np.sqrt(n),
            "attrs": attrs.take(pa.array(n % 1000)),
            "note": notes.take(pa.array(n % 10)),
        }
    )


class LoadBench:
    """The cases, over a running server. ``psql`` runs a script and returns its seconds."""

    def __init__(self, postgres: PostgresServer, folder: Path, rows: int, child: Child, psql: Callable[[str], float]) -> None:
        self._postgres, self._rows, self._child, self._psql = postgres, rows, child, psql
        self._csv = folder / f"written-{rows}.csv"
        pq.write_table(rows_of(rows), folder / f"written-{rows}.parquet")
        postgres.execute("DROP SCHEMA IF EXISTS ods CASCADE", "CREATE SCHEMA ods", TABLE)
        child(_load)
        psql(f"\\copy ods.orders to '{self._csv}' csv")
        postgres.execute("CREATE TABLE ods.half AS SELECT * FROM ods.orders WHERE id % 2 = 0")

    def _empty(self) -> None:
        self._postgres.execute("TRUNCATE ods.orders", "CHECKPOINT")

    def _half(self) -> None:
        self._empty()
        self._postgres.execute("INSERT INTO ods.orders SELECT * FROM ods.half", "VACUUM ANALYZE ods.orders", "CHECKPOINT")

    def load(self) -> None:
        self._compare(
            "load", self._empty, {"\\copy": lambda: self._psql(f"\\copy ods.orders from '{self._csv}' csv")}, _load, self._rows
        )

    def upsert(self) -> None:
        sets = ", ".join(f"{name} = s.{name}" for name in _names() if name != "id")
        put = "INSERT INTO ods.orders SELECT * FROM staged"
        ways = {
            "ON CONFLICT": f"{put} ON CONFLICT (id) DO UPDATE SET {sets.replace('s.', 'excluded.')}",
            "MERGE": f"MERGE INTO ods.orders t USING staged s ON t.id = s.id WHEN MATCHED THEN UPDATE SET {sets} "
            f"WHEN NOT MATCHED THEN INSERT VALUES ({', '.join(f's.{name}' for name in _names())})",
            "DELETE + INSERT": f"DELETE FROM ods.orders t USING staged s WHERE t.id = s.id; {put}",
        }

        def bare(statements: str) -> Callable[[], float]:
            begin = f"BEGIN; CREATE TEMP TABLE staged (LIKE ods.orders) ON COMMIT DROP;\n\\copy staged from '{self._csv}' csv\n"
            return lambda: self._psql(f"{begin}{statements}; COMMIT;\n")

        self._compare("upsert", self._half, {name: bare(way) for name, way in ways.items()}, _upsert, self._rows)

    def microbatch(self) -> None:
        limits = {"bare statements": lambda: self._child(_bare_microbatches)}
        self._compare("microbatch", self._half, limits, _microbatches, MICRO_ROWS * MICRO_BATCHES)

    def airflow(self) -> None:
        rows = min(self._rows, AIRFLOW_ROWS)
        ways: dict[str, tuple[Callable[..., float], Callable[[], float]]] = {
            "insert_rows": (_insert_verb, lambda: self._child(_insert_rows, rows, "")),
            "insert_rows, replace": (_upsert_verb, lambda: self._child(_insert_rows, rows, "replace")),
            "execute_values": (_upsert_verb, lambda: self._child(_execute_values, rows)),
        }
        for name, (verb, way) in ways.items():
            self._compare("airflow", self._empty, {name: way}, verb, rows)

    def _compare(
        self,
        case: str,
        before: Callable[[], None],
        limits: Mapping[str, Callable[[], float]],
        ours: Callable[..., float],
        rows: int,
    ) -> None:
        rounds = []
        for _ in range(PAIRS + 1):
            before()
            mine = self._child(ours, rows)
            theirs = {}
            for name, limit in limits.items():
                before()
                theirs[name] = limit()
            rounds.append((mine, theirs))
        rounds = rounds[1:]  # the first warms the caches
        report(case, rounds, rows)


def report(case: str, rounds: list[tuple[float, dict[str, float]]], rows: int) -> None:
    """Print the ratio to the fastest of each round, and the rates."""
    ratios = sorted(min(theirs.values()) / mine for mine, theirs in rounds)
    rates = ", ".join(f"{rows / statistics.median(theirs[name] for _, theirs in rounds):,.0f} {name}" for name in rounds[0][1])
    print(
        f"{case}: {statistics.median(ratios):.2f} of the limit's speed ({ratios[0]:.2f} to {ratios[-1]:.2f}, {len(rounds)} pairs); "
        f"{rows / statistics.median(mine for mine, _ in rounds):,.0f} rows/s against {rates}",
        flush=True,
    )


def _names() -> list[str]:
    return list(rows_of(1).column_names)


def _of(folder: str, rows: int) -> pa.Table:
    files = sorted(Path(folder).glob("written-*.parquet"))
    return pq.read_table(files[0]).slice(0, rows).combine_chunks()


def _write(sink_values: Mapping[str, Any], table: pa.Table, copy: Any) -> float:
    from tidegate.changes.batch import ChangeBatch, RowKind
    from tidegate.changes.schema import TableName, TableSchema
    from tidegate.providers.system import systems
    from tidegate.sync.mapping import Target
    from tidegate.sync.options import WriteOptions
    from tidegate.sync.protocols import resolve

    name = TableName("ods", "orders")
    schema = TableSchema.of_arrow(name, table.schema, ("id",))
    with closing(systems()["postgres"].open_sink(sink_values, "bench")) as sink:
        target = Target(name, schema, resolve(WriteOptions(), sink.capabilities))
        began = time.monotonic()
        load = sink.begin([target], None)
        for start in range(0, table.num_rows, BATCH_ROWS):
            load.write(target, ChangeBatch.of(schema, table.slice(start, BATCH_ROWS), RowKind.INSERT), copy)
        load.commit([])
        return time.monotonic() - began


def _load(source_values: Any, sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    return _write(sink_values, _of(folder, rows), "fresh")


def _upsert(source_values: Any, sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    return _write(sink_values, _of(folder, rows), None)


def _insert_verb(source_values: Any, sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    return _verb(sink_values, folder, rows, "insert")


def _upsert_verb(source_values: Any, sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    return _verb(sink_values, folder, rows, "upsert")


def _verb(sink_values: Mapping[str, Any], folder: str, rows: int, verb: str) -> float:
    from tidegate.providers.system import systems
    from tidegate.sync.verbs import Verbs

    table = _of(folder, rows)
    verbs = Verbs(lambda: systems()["postgres"].open_sink(sink_values, "bench"))
    began = time.monotonic()
    getattr(verbs, verb)("ods.orders", table)
    return time.monotonic() - began


def _microbatches(source_values: Any, sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    from tidegate.changes.batch import ChangeBatch, RowKind
    from tidegate.changes.position import SplitsPosition
    from tidegate.changes.schema import TableName, TableSchema
    from tidegate.providers.system import systems
    from tidegate.sync.mapping import Target
    from tidegate.sync.options import WriteOptions
    from tidegate.sync.protocols import Entry, resolve

    table = _of(folder, rows)
    name = TableName("ods", "orders")
    schema = TableSchema.of_arrow(name, table.schema, ("id",))
    with closing(systems()["postgres"].open_sink(sink_values, "bench")) as sink:
        target = Target(name, schema, resolve(WriteOptions(), sink.capabilities))
        sink.ledger.setup()
        lease = sink.ledger.acquire("bench", "bench", 600)
        began = time.monotonic()
        for number in range(MICRO_BATCHES):
            batch = ChangeBatch.of(schema, table.slice(number * MICRO_ROWS, MICRO_ROWS), RowKind.UPDATE_AFTER)
            load = sink.begin([target], lease)
            load.write(target, batch)
            load.commit([Entry("bench", name, name, SplitsPosition("bench", frozenset({str(number)})), rows=MICRO_ROWS)])
        return time.monotonic() - began


def _connect(values: Mapping[str, Any]) -> Any:
    import psycopg2

    return psycopg2.connect(host=values["host"], port=values["port"], user=values["login"], dbname=values["database"])


def _bare_microbatches(source_values: Any, sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    (csv,) = Path(folder).glob("written-*.csv")
    # A line ends where its quotes are closed: one of the texts has a newline.
    lines: list[bytes] = []
    with csv.open("rb") as file:
        for line in file:
            if lines and lines[-1].count(b'"') % 2:
                lines[-1] += line
            elif len(lines) == MICRO_ROWS * MICRO_BATCHES:
                break
            else:
                lines.append(line)
    batches = [b"".join(lines[at : at + MICRO_ROWS]) for at in range(0, len(lines), MICRO_ROWS)]
    sets = ", ".join(f"{name} = excluded.{name}" for name in _names() if name != "id")
    with closing(_connect(sink_values)) as connection, connection.cursor() as cursor:
        began = time.monotonic()
        cursor.execute("CREATE TEMP TABLE staged (LIKE ods.orders) ON COMMIT DELETE ROWS")
        for batch in batches:
            cursor.copy_expert("COPY staged FROM STDIN CSV", io.BytesIO(batch))
            cursor.execute(f"INSERT INTO ods.orders SELECT * FROM staged ON CONFLICT (id) DO UPDATE SET {sets}")
            connection.commit()
        return time.monotonic() - began


def _insert_rows(source_values: Any, sink_values: Mapping[str, Any], folder: str, rows: int, replace: str) -> float:
    os.environ["AIRFLOW_HOME"] = folder
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
    os.environ["AIRFLOW_CONN_BENCH"] = (
        f"postgres://{sink_values['login']}@{sink_values['host']}:{sink_values['port']}/{sink_values['database']}"
    )
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    table = _of(folder, rows)
    tuples = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    hook: Any = PostgresHook(postgres_conn_id="bench")
    more = {"replace": True, "replace_index": "id"} if replace else {}
    began = time.monotonic()
    hook.insert_rows("ods.orders", tuples, target_fields=_names(), commit_every=1000, **more)
    return time.monotonic() - began


def _execute_values(source_values: Any, sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    from psycopg2.extras import execute_values

    table = _of(folder, rows)
    tuples = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    sets = ", ".join(f"{name} = excluded.{name}" for name in _names() if name != "id")
    statement = f"INSERT INTO ods.orders ({', '.join(_names())}) VALUES %s ON CONFLICT (id) DO UPDATE SET {sets}"
    with closing(_connect(sink_values)) as connection, connection.cursor() as cursor:
        began = time.monotonic()
        execute_values(cursor, statement, tuples, page_size=1000)
        connection.commit()
        return time.monotonic() - began
