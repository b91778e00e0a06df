"""From files of each format into PostgreSQL by runs of a sync, in two parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.model import Change, Model
from tests.providers.cdcfiles import writers
from tests.providers.cdcfiles.reading import line_of, open_source
from tests.providers.cdcfiles.writers import DDL, KEY, TABLE
from tests.servers import PostgresServer
from tests.strategies import SCHEMA
from tidegate.providers.postgres.connection import SYSTEM
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.run import run

pytestmark = pytest.mark.postgres


def row(number: int, **values: Any) -> dict[str, Any]:
    return {"id": number, "region": "x", "a": "it's", "b": number, "v": None} | values


LOG = [
    [Change(None, row(number)) for number in range(1, 6)],
    [Change(row(1), row(1, a="é\n", v=2**62)), Change(row(2), row(20))],
    [Change(row(3), None)],
    [Change(None, row(3, a=None)), Change(row(4), row(4, b=-1))],
    [Change(row(5), None), Change(row(20), row(2))],
]


def rows(server: PostgresServer) -> dict[Any, Any]:
    connection = server.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, region, a, b, v FROM ods.orders")
            return {found[:2]: dict(zip(SCHEMA.names, found, strict=True)) for found in cursor.fetchall()}
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("writer", "fields"),
    [(writers.debezium, {"ddl": DDL}), (writers.canal, {}), (writers.maxwell, {"ddl": DDL})],
    ids=["debezium", "canal", "maxwell"],
)
def test_a_sync_follows_files_into_postgresql(
    tmp_path: Path, pg_database: PostgresServer, writer: Callable[[Any], Iterator[bytes]], fields: Any
) -> None:
    lines = list(writer(LOG))
    sync = Sync.of("files", [TABLE], schema="ods", options=WriteOptions(batch_rows=2))
    sink = SYSTEM.open_sink(pg_database.values(), "warehouse")
    url = tmp_path / "records"
    url.mkdir()
    with closing(sink):
        for number, part in enumerate((lines[: len(lines) // 2], lines[len(lines) // 2 - 2 :])):
            (url / f"{number}.json").write_bytes(b"".join(part))
            run(sync, open_source(url, **fields), sink, owner="test")
        assert rows(pg_database) == Model(SCHEMA.names, KEY).apply(change for transaction in LOG for change in transaction).rows
        again = run(sync, open_source(url, **fields), sink, owner="test")
        assert again.tables[0].write.rows == 0


def test_a_default_reaches_old_rows_if_the_statement_ends_a_run(tmp_path: Path, pg_database: PostgresServer) -> None:
    path = tmp_path / "a.json"
    sync = Sync.of("files", [TABLE], schema="ods")
    added = {
        "database": "shop",
        "table": "orders",
        "type": "ALTER",
        "isDdl": True,
        "es": 1_800_000_000_000,
        "ts": 1_800_000_000_000,
    }
    added |= {"id": 100, "sql": "ALTER TABLE orders ADD n INT DEFAULT 7"}
    with closing(SYSTEM.open_sink(pg_database.values(), "warehouse")) as sink:
        for line in (b"".join(writers.canal(LOG[:1])), line_of(added)):
            with path.open("ab") as file:
                file.write(line)
            run(sync, open_source(path), sink, owner="test")
    with closing(pg_database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT n FROM ods.orders")
        assert cursor.fetchall() == [(7,)]
