"""Our paths against the limit each, pair by pair in one run; the ratios are what counts, the seconds are this machine's.

``make bench`` runs all cases on a million rows; ``make bench BENCH="--rows 100000 read upsert"`` some of them on fewer.
Servers are started for it, on private data directories, and stopped at the end.

read
    a first copy read and thrown away, against ``mariadb --batch --quick`` of the same table
end-to-end
    a first copy into PostgreSQL, against psql's ``\\copy`` of a ready CSV file into the same table
load, upsert, microbatch, airflow
    writing alone, against the bare statements and what people use instead (:mod:`benchmarks.load`)
decode
    changes read from the binlog into Arrow, against mysql-replication and ``mariadb-binlog -v`` (:mod:`benchmarks.decode`)
encode
    rows from Arrow to what StarRocks is sent, against orjson and csv row by row (:mod:`benchmarks.encode`)
memory
    the peak memory of a first copy of the rows, of one transaction that updates them all, and of a first copy of ten times as
    many rows (only with ``memory`` named)
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import decode
from benchmarks.encode import encode
from benchmarks.load import LoadBench
from tests.servers import MySqlServer, PostgresServer, start_mariadb, start_postgres

PAIRS = 3
CASES = ("read", "end-to-end", "load", "upsert", "microbatch", "airflow", "decode", "encode", "memory")
WRITING = {"load", "upsert", "microbatch", "airflow"}
"""Cases that need PostgreSQL alone."""
TABLE = """
CREATE TABLE bench.orders (
    id BIGINT PRIMARY KEY, customer INT NOT NULL, name VARCHAR(40), total DECIMAL(12,2), at DATETIME(6), day DATE,
    paid TINYINT(1), score DOUBLE, attrs JSON, note TEXT
)
"""
FILL = """
INSERT INTO bench.orders
SELECT seq, seq * 7919 % 100003,
    ELT(1 + seq % 5, 'plain name', 'h\u00e9llo w\u00f6rld', 'quote " and ''', 'tab\\tand\\nline', 'back\\\\slash'),
    (seq * 104729 % 100000000) / 100, '2024-01-01' + INTERVAL seq * 997 MICROSECOND + INTERVAL seq SECOND,
    '2024-01-01' + INTERVAL seq % 1000 DAY, seq % 2, SQRT(seq),
    CONCAT('{{"tags": ["a", "b"], "n": ', seq % 1000, '}}'),
    CASE WHEN seq % 10 < 3 THEN NULL WHEN seq % 10 = 3 THEN '' ELSE REPEAT('note ', 1 + seq % 12) END
FROM bench_seq.seq_1_to_{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"{', '.join(CASES)}; default: all but the last")
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    cases = arguments.cases or list(CASES[:-1])
    if unknown := set(cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if "encode" in cases:
        encode(arguments.rows)
    cases = [case for case in cases if case != "encode"]
    if not cases:
        return
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        os.chmod(folder, 0o755)
        with ExitStack() as stack:
            postgres = start_postgres("-c", "shared_buffers=512MB", "-c", "max_wal_size=8GB")
            stack.callback(postgres.stop)
            mariadb = None
            if set(cases) - WRITING:
                mariadb = start_mariadb("--innodb-buffer-pool-size=1G")
                stack.callback(mariadb.stop)
            bench = Bench(mariadb, postgres, Path(folder), arguments.rows)
            if mariadb is not None:
                bench.fill(arguments.rows)
            for case in cases:
                getattr(bench, case.replace("-", "_"))()


class Bench:
    """The cases, over running servers. ``mariadb`` may be None for those of :data:`WRITING`."""

    def __init__(self, mariadb: MySqlServer | None, postgres: PostgresServer, folder: Path, rows: int) -> None:
        self._mariadb, self.postgres, self.folder, self.rows = mariadb, postgres, folder, rows

    @property
    def mariadb(self) -> MySqlServer:
        assert self._mariadb is not None
        return self._mariadb

    def fill(self, rows: int) -> None:
        print(f"filling {rows:,} rows ...", flush=True)
        self.mariadb.execute("DROP DATABASE IF EXISTS bench", "CREATE DATABASE bench", TABLE)
        fill = FILL.format(rows=rows).replace("bench_seq.", "")
        connection = self.mariadb.connect(database="bench")
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_log_bin = 0")
            cursor.execute(fill)
            cursor.execute("ANALYZE TABLE orders")
        connection.close()

    def read(self) -> None:
        client = shutil.which("mariadb") or "mariadb"
        command = [client, f"--port={self.mariadb.port}", "--host=127.0.0.1", "--user=root", "--batch", "--quick"]
        command += ["-e", "SELECT * FROM bench.orders"]
        self._pairs("read", lambda: self._child(_read), lambda: _timed(command))

    def end_to_end(self) -> None:
        csv = self._csv()
        self._child(_copy)  # makes the table, so that both load into the very same

        def limit() -> float:
            self.postgres.execute("TRUNCATE ods.orders")
            return self._psql(f"\\copy ods.orders from '{csv}' csv")

        self._pairs("end-to-end", lambda: self._child(_copy), limit)

    def load(self) -> None:
        self._written.load()

    def upsert(self) -> None:
        self._written.upsert()

    def microbatch(self) -> None:
        self._written.microbatch()

    def airflow(self) -> None:
        self._written.airflow()

    @cached_property
    def _written(self) -> LoadBench:
        return LoadBench(self.postgres, self.folder, self.rows, self._child, self._psql)

    def decode(self) -> None:
        decode.decode(self.mariadb, self._child, self.folder, self.rows)

    def memory(self) -> None:
        for rows in (self.rows, self.rows * 10):
            if rows != self.rows:
                self.fill(rows)
            self._child(_copy, rows)
            print(f"memory: a first copy of {rows:,} rows peaked at {self.peak / 1024:,.0f} MB", flush=True)
            if rows == self.rows:
                self.mariadb.execute("UPDATE bench.orders SET score = score + 1")
                self._child(_sync, rows)
                print(f"memory: one transaction that updates them all peaked at {self.peak / 1024:,.0f} MB", flush=True)

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = self.postgres.connect()
        with connection.cursor() as cursor:
            cursor.execute(sql)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        connection.close()
        return found

    def _csv(self) -> Path:
        """The target's rows as psql writes them; made once."""
        path = self.folder / f"orders-{self.rows}.csv"
        if not path.exists():
            self._child(_copy)
            self._psql(f"\\copy ods.orders to '{path}' csv")
        return path

    def _psql(self, script: str) -> float:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"), reverse=True)
        command = [str(found[0]) if found else "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]
        return _timed([*command, "-p", str(self.postgres.port), "-d", "postgres", "-f", "-"], script)

    def _child(self, work: Callable[..., float], rows: int = 0, *more: str) -> float:
        """Seconds of the work in a process of its own, whose peak memory is kept."""
        receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
        source = self._mariadb.values() if self._mariadb is not None else {}
        arguments = (sender, work, source, self.postgres.values(), str(self.folder), rows or self.rows, *more)
        process = multiprocessing.get_context("spawn").Process(target=_in_child, args=arguments)
        process.start()
        process.join()
        if process.exitcode != 0:
            raise SystemExit("the case failed")
        seconds, self.peak = receiver.recv()
        return float(seconds)

    def _pairs(self, name: str, ours: Callable[[], float], limit: Callable[[], float]) -> None:
        times = [(ours(), limit()) for _ in range(PAIRS + 1)][1:]  # the first pair warms the caches
        ratios = sorted(theirs / mine for mine, theirs in times)
        mine, theirs = (statistics.median(side) for side in zip(*times, strict=True))
        print(
            f"{name}: {statistics.median(ratios):.2f} of the limit's speed ({ratios[0]:.2f} to {ratios[-1]:.2f}, {PAIRS} pairs); "
            f"{self.rows / mine:,.0f} against {self.rows / theirs:,.0f} rows/s; peak {self.peak / 1024:,.0f} MB",
            flush=True,
        )


def _timed(command: list[str], script: str = "") -> float:
    began = time.monotonic()
    subprocess.run(command, input=script.encode(), stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def _in_child(out: Any, work: Callable[..., float], *arguments: Any) -> None:
    seconds = work(*arguments)
    out.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def _read(source_values: Mapping[str, Any], sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    from tidegate.changes.schema import TableName
    from tidegate.providers.system import systems
    from tidegate.sync.protocols import Limits, Window

    table = TableName("bench", "orders")
    with closing(systems()["mysql"].open_source(source_values, "bench")) as source:
        began = time.monotonic()
        start = source.start([table], consistent=False)
        count = sum(chunk.num_rows for chunk in source.read(Window(start, None), Limits()))
    assert count == rows, count
    return time.monotonic() - began


def _copy(source_values: Mapping[str, Any], sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    """A first copy: the target emptied, its ledger too."""
    import psycopg2

    values = sink_values
    connection = psycopg2.connect(host=values["host"], port=values["port"], user=values["login"], dbname=values["database"])
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('ods.orders')")
        (exists,) = cursor.fetchone() or (None,)
        if exists:
            cursor.execute("TRUNCATE ods.orders")
        cursor.execute(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relname = 'tidegate_ledger'"
        )
        for (schema,) in cursor.fetchall():
            cursor.execute(f'TRUNCATE "{schema}".tidegate_ledger, "{schema}".tidegate_lease')
    connection.close()
    return _sync(source_values, sink_values, folder, rows)


def _sync(source_values: Mapping[str, Any], sink_values: Mapping[str, Any], folder: str, rows: int) -> float:
    """A run, which has that many changes to bring."""
    from tidegate.providers.system import systems
    from tidegate.sync.mapping import Sync
    from tidegate.sync.options import WriteOptions
    from tidegate.sync.run import run

    source = systems()["mysql"].open_source(source_values, "bench")
    sink = systems()["postgres"].open_sink(sink_values, "bench")
    with closing(source), closing(sink):
        began = time.monotonic()
        result = run(Sync.of("bench", ["bench.orders"], schema="ods", options=WriteOptions()), source, sink, owner="bench")
        seconds = time.monotonic() - began
    assert result.rows == rows, json.dumps(result.to_json())
    return seconds


if __name__ == "__main__":
    main()
