"""Records the demo's data: a scripted shop on a private MariaDB, captured by tidegate itself.

Run from the checkout, with the packages of the tests installed::

    PYTHONPATH=src:. python tools/record_shop.py

It writes example_dags/data/shop (a stream of change files: the first copy, then a segment for each act of the script) and in it
expected/ (the rows that the source holds in the end), and fails unless replaying the one gives the other.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tools.shop import ACTS, DATABASE, TABLES, Shop

from tests.providers.changefiles.reference import Replica
from tests.servers import running, start_mariadb
from tidegate.changes.batch import concat
from tidegate.changes.schema import TableName, TableSchema
from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Limits, Source, Window
from tidegate.sync.run import run

SHOP = Path(__file__).parents[1] / "example_dags" / "data" / "shop"
NAMES = [TableName(DATABASE, table) for table in TABLES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=SHOP, help="folder to write, which is replaced (default: %(default)s)")
    record(parser.parse_args().to)


def record(folder: Path) -> None:
    """Record into ``folder``, replacing what it holds once the new recording has been checked."""
    with tempfile.TemporaryDirectory(prefix="tidegate-recording-") as scratch:
        stream = Path(scratch, "shop")
        with running(start_mariadb) as server:
            capture(server, stream)
            tables = final_rows(server)
        check(stream, tables)
        write_expected(tables, stream / "expected")
        # The lease is the recording's own; those who replay the stream take none.
        shutil.rmtree(stream / "leases")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(stream, folder)


def capture(server: Any, stream: Path) -> None:
    """Play the script, and capture what happened after each act."""
    sync = Sync.of("shop_capture", [str(name) for name in NAMES], schema=DATABASE, options=WriteOptions(write_mode="append"))
    sink = systems()["changefiles"].open_sink({"url": str(stream)}, "shop_changes")
    shop = Shop(server.connect)
    try:
        shop.fill()
        for act in (None, *ACTS):
            if act is not None:
                act(shop)
            source = mysql_source(server)
            result = run(sync, source, sink, owner="record_shop")
            source.close()
            print(f"{act.__name__ if act else 'first copy':24}{result.rows:6} changes")
    finally:
        shop.close()
        sink.close()


def mysql_source(server: Any) -> Source:
    return systems()["mysql"].open_source(server.values(), "shop_mysql")


def final_rows(server: Any) -> dict[TableName, tuple[TableSchema, pa.Table]]:
    """Every table as it is now, in canonical types, by key."""
    source = mysql_source(server)
    found = {}
    for name, position in source.start(NAMES, consistent=True).items():
        batches = [batch for chunk in source.read(Window({name: position}, None), Limits()) for batch in chunk.batches]
        batch = concat(batches)
        found[name] = (batch.schema, batch.rows.combine_chunks().sort_by([(column, "ascending") for column in batch.schema.key]))
    source.close()
    return found


def write_expected(tables: Mapping[TableName, tuple[TableSchema, pa.Table]], folder: Path) -> None:
    folder.mkdir()
    for name, (_, rows) in tables.items():
        # NOT NULL says nothing here: a zero date in such a column is NULL in canonical terms.
        rows = rows.cast(pa.schema([item.with_nullable(True) for item in rows.schema]))
        pq.write_table(rows, folder / f"{name.name}.parquet", compression="zstd")


def check(stream: Path, tables: Mapping[TableName, tuple[TableSchema, pa.Table]]) -> None:
    """Replay the stream change by change, by the tests' reference model, and compare with the source's own rows."""
    source = systems()["changefiles"].open_source({"url": str(stream)}, "shop_changes")
    replica = Replica({name: schema for name, (schema, _) in tables.items()})
    replica.apply(source.read(Window(source.start(NAMES, consistent=False), source.head()), Limits()))
    for name, (_, rows) in tables.items():
        if differing := replica.differing(name, rows):
            raise SystemExit(f"{name}: {len(differing)} of {rows.num_rows} rows differ between the source and the replay")
        print(f"{name!s:24}{rows.num_rows:6} rows, equal")


if __name__ == "__main__":
    main()
