"""The decoder of the binlog against mysql-replication and ``mariadb-binlog``, on the same changes.

Each kind of log is written to a file of its own: inserts in transactions of 5000, 100 and one row, and updates (two images each) in
transactions of 100. A round reads it three times: by us over the network into Arrow, by mysql-replication over the network (its
first rows; the rate is what counts), and by ``mariadb-binlog -v --base64-output=decode-rows`` from a copy of the file.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from tests.servers import MySqlServer

ROUNDS = 3
ONE_ROW_TRANSACTIONS = 200_000
PEER_ROWS = 20_000
Child = Callable[[Callable[..., float], int, str], float]
"""Runs a function in a process of its own, and returns its seconds."""

_LOOP = """
BEGIN NOT ATOMIC
    DECLARE low BIGINT DEFAULT 1;
    WHILE low <= {rows} DO
        {statement};
        SET low = low + {step};
    END WHILE;
END
"""
_INSERT = "INSERT INTO bench.changed SELECT * FROM bench.orders WHERE id BETWEEN low AND low + {step} - 1"
_UPDATE = "UPDATE bench.changed SET score = score + 1, note = CONCAT('x', note) WHERE id BETWEEN low AND low + {step} - 1"


def decode(mariadb: MySqlServer, child: Child, folder: Path, rows: int) -> None:
    """Print the ratios. ``bench.orders`` holds the rows."""
    few = min(rows, ONE_ROW_TRANSACTIONS)
    for name, statement, count, step in (
        ("transactions of 5000 rows", _INSERT, rows, 5000),
        ("transactions of 100 rows", _INSERT, rows, 100),
        ("updates, transactions of 100 rows", _UPDATE, rows, 100),
        ("transactions of one row", _INSERT, few, 1),
    ):
        if statement is _INSERT:
            mariadb.execute(
                "SET SESSION sql_log_bin = 0", "DROP TABLE IF EXISTS bench.changed", "CREATE TABLE bench.changed LIKE bench.orders"
            )
        mariadb.execute("FLUSH BINARY LOGS")
        file = _current(mariadb)
        mariadb.execute(_LOOP.format(rows=count, statement=statement.format(step=step), step=step), "FLUSH BINARY LOGS")
        _compare(name, mariadb, child, folder, file, count)


def _current(mariadb: MySqlServer) -> str:
    with closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW MASTER STATUS")
        return str(cursor.fetchone()[0])


def _compare(name: str, mariadb: MySqlServer, child: Child, folder: Path, file: str, rows: int) -> None:
    client = shutil.which("mariadb-binlog") or "mariadb-binlog"
    address = ["--read-from-remote-server", "--host=127.0.0.1", f"--port={mariadb.port}", "--user=root"]
    subprocess.run([client, *address, "--raw", f"--result-file={folder}/", file], check=True)
    ours, peer, limit = [], [], []
    for _ in range(ROUNDS + 1):
        ours.append(rows / child(_ours, rows, file))
        peer.append(min(rows, PEER_ROWS) / child(_peer, min(rows, PEER_ROWS), file))
        began = time.monotonic()
        command = [client, "-v", "--base64-output=decode-rows", str(folder / file)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        limit.append(rows / (time.monotonic() - began))
    (folder / file).unlink()
    ours, peer, limit = ours[1:], peer[1:], limit[1:]
    print(
        f"decode, {name}: {_ratio(ours, peer)} times mysql-replication, {_ratio(ours, limit)} of mariadb-binlog -v; "
        f"{statistics.median(ours):,.0f} against {statistics.median(peer):,.0f} and {statistics.median(limit):,.0f} rows/s",
        flush=True,
    )


def _ratio(ours: list[float], theirs: list[float]) -> str:
    ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _ours(source_values: Mapping[str, Any], _: Any, folder: str, rows: int, file: str) -> float:
    """A file of the log, from its beginning to the next, as a run reads it."""
    from tidegate.changes.position import BinlogPosition
    from tidegate.changes.schema import TableName
    from tidegate.providers.system import systems
    from tidegate.sync.protocols import Limits, Window

    with closing(systems()["mysql"].open_source(source_values, "bench")) as source:
        head = source.head()
        assert isinstance(head, BinlogPosition)
        stem, _, number = file.rpartition(".")
        begin = BinlogPosition(file, 4, head.server)
        until = BinlogPosition(f"{stem}.{int(number) + 1:06}", 4, head.server)
        began = time.monotonic()
        window = Window({TableName("bench", "changed"): begin}, until)
        events = sum(batch.events() for chunk in source.read(window, Limits()) for batch in chunk.batches)
        seconds = time.monotonic() - began
    assert events == rows, events
    return seconds


def _peer(source_values: Mapping[str, Any], _: Any, folder: str, rows: int, file: str) -> float:
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import UpdateRowsEvent, WriteRowsEvent

    stream = BinLogStreamReader(
        connection_settings={"host": "127.0.0.1", "port": int(source_values["port"]), "user": "root", "passwd": ""},
        server_id=4711,
        log_file=file,
        log_pos=4,
        resume_stream=True,
        only_events=[WriteRowsEvent, UpdateRowsEvent],
    )
    began = time.monotonic()
    found = sum(1 for _ in islice((row for event in stream for row in event.rows), rows))
    seconds = time.monotonic() - began
    stream.close()
    assert found == rows, found
    return seconds
