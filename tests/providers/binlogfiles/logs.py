"""A log worth reading, and how it is read: from the server and from its files."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.servers import MySqlServer, wait_until
from tidegate.changes.batch import Chunk
from tidegate.changes.position import BinlogPosition
from tidegate.changes.schema import TableName
from tidegate.providers.binlogfiles.connection import SYSTEM
from tidegate.providers.binlogfiles.source import BinlogFilesSource
from tidegate.providers.mysql import connection as mysql
from tidegate.sync.protocols import Limits, Window

ALL, SMALL = TableName("shop", "all_types"), TableName("shop", "small")
NAME = "archive"
COLUMNS = """
    id BIGINT UNSIGNED NOT NULL, part CHAR(3) CHARACTER SET latin1 NOT NULL, t TINYINT, tu TINYINT UNSIGNED, m MEDIUMINT,
    i INT, d DECIMAL(20,6), f FLOAT, g DOUBLE, b BIT(9), da DATE, dt DATETIME(6), ts TIMESTAMP(3) NULL, ti TIME(2), y YEAR,
    v VARCHAR(40) CHARACTER SET utf8mb4, w VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_bin, x VARCHAR(20) CHARACTER SET utf16,
    te MEDIUMTEXT CHARACTER SET utf8, bi BINARY(4), vb VARBINARY(20), bl BLOB,
    e ENUM('a','it''s','ü'), s SET('x','y','z'), ge GEOMETRY,
    PRIMARY KEY (id, part)
"""


@dataclass(frozen=True)
class Log:
    """``begin`` and ``end`` as the server's own source has them; ``folder`` holds copies of the files."""

    server: MySqlServer
    folder: Path
    begin: BinlogPosition
    end: BinlogPosition
    ddl: str
    places: frozenset[str]
    """Where the server said that its log ended, after each statement outside a transaction and each commit."""

    @property
    def mariadb(self) -> bool:
        return self.begin.server.startswith("mariadb")

    def source(self, folder: Path | str | None = None, **values: Any) -> BinlogFilesSource:
        given = {"url": str(folder or self.folder)} | ({} if self.mariadb else {"ddl": self.ddl}) | values
        source = SYSTEM.open_source(given, NAME)
        assert isinstance(source, BinlogFilesSource)
        return source

    def here(self, position: BinlogPosition, source: BinlogFilesSource) -> BinlogPosition:
        """A live position as one of the files: MySQL's server goes by another name there, and GTIDs aren't told."""
        return replace(position, server=source.head().server, gtid="")


def write_log(server: MySqlServer) -> tuple[BinlogPosition, BinlogPosition, str, frozenset[str]]:
    """Changes of every kind over four files; where they begin and end, the tables' DDL, and all the places in between."""
    source = mysql.SYSTEM.open_source(server.values(), "live")
    server.execute("CREATE DATABASE shop DEFAULT CHARACTER SET utf8mb4", "CREATE DATABASE other", "CREATE TABLE other.t (k INT)")
    server.execute(f"CREATE TABLE shop.all_types ({COLUMNS})", "CREATE TABLE shop.small (k INT PRIMARY KEY, v INT)")
    server.execute("CREATE TABLE shop.japanese (k INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET sjis)")
    begin = source.head()
    shuffled = random.Random(7)
    places: set[str] = set()
    connection = server.connect(database="shop")
    with connection.cursor() as cursor:
        for round_ in range(4):
            for number in range(30):
                places |= _one(cursor, shuffled, round_ * 30 + number)
            if round_ < 3:
                cursor.execute("FLUSH BINARY LOGS")
        cursor.execute("SHOW CREATE TABLE shop.all_types")
        ddl = f"USE shop; {cursor.fetchone()[1]};"
        cursor.execute("SHOW CREATE TABLE shop.small")
        ddl += f" {cursor.fetchone()[1]};"
        cursor.execute("INSERT INTO japanese VALUES (1, 'x')")
        places.add(_place(cursor))
        if isinstance(begin, BinlogPosition) and begin.server.startswith("mariadb"):
            wait_until(lambda: _settled(cursor), "the checkpoint of the newest file")
    connection.close()
    end = source.head()
    source.close()
    assert isinstance(begin, BinlogPosition)
    assert isinstance(end, BinlogPosition)
    return begin, end, ddl, frozenset(places)


def _one(cursor: Any, shuffled: random.Random, number: int) -> set[str]:
    """One transaction, and now and then a statement; where the log ended after each."""

    def some(*values: object) -> object:
        return shuffled.choice([None, *values])

    row = (
        2**64 - 1 - number, "k\xff", some(-128, 127), some(255), some(-(2**23)), some(2**31 - 1), some("-12345678901234.123456"),
        some(1.5, -0.25), some(1e300, -1e-300), some(511), some("1000-01-01", "9999-12-31"), some("2026-11-21 10:00:00.123456"),
        some("2038-01-19 03:14:07.999"), some("-838:59:59", "00:00:00.01"), some(1901, 2155), some("é€😀", ""), some("\x81€ÿ"),
        some("☃x"), some("text " * 100), some(b"\x01\0"), some(b"\xff\0"), some(b"\0" * 300), some("a", "it's", "ü"),
        some("x,z", ""), some(1),
    )  # fmt: skip
    marks = ", ".join(["%s"] * (len(row) - 1))
    cursor.execute("BEGIN")
    cursor.execute(f"REPLACE INTO all_types VALUES ({marks}, IF(%s IS NULL, NULL, GeomFromText('POINT(1 2)', 4326)))", row)
    if number % 3 == 0:
        cursor.execute("UPDATE all_types SET id = id - 1000, t = 1 WHERE id = %s", (row[0],))
    if number % 5 == 0:
        cursor.execute("DELETE FROM all_types ORDER BY id DESC LIMIT 1")
    cursor.execute("REPLACE INTO small VALUES (%s, %s)", (number % 7, number))
    cursor.execute("INSERT INTO other.t VALUES (%s)", (number,))
    cursor.execute("ROLLBACK" if number % 11 == 10 else "COMMIT")
    found = {_place(cursor)}
    if number % 10 == 0:
        cursor.execute(f"CREATE TABLE other.t{number} (k INT)")
        found.add(_place(cursor))
    return found


def _settled(cursor: Any) -> bool:
    """Whether MariaDB wrote the last checkpoint event for now: the one that names the newest file itself."""
    newest = _place(cursor).partition(":")[0]
    cursor.execute(f"SHOW BINLOG EVENTS IN '{newest}'")
    return any(kind == "Binlog_checkpoint" and info == newest for _, _, kind, _, _, info in cursor.fetchall())


def _place(cursor: Any) -> str:
    cursor.execute("SHOW MASTER STATUS")
    file, offset, *_ = cursor.fetchone()
    return f"{file}:{offset}"


def chunks(source: Any, begin: BinlogPosition, end: BinlogPosition, limits: Limits | None = None) -> list[Chunk]:
    """The changes of both tables."""
    return list(source.read(Window({ALL: begin, SMALL: begin}, end), limits or Limits()))


def plain(found: Iterable[Chunk]) -> list[Any]:
    """What chunks hold, with hidden columns and types, and where each ends."""
    return [
        (
            None if chunk.end is None else str(chunk.end),
            [
                (str(batch.schema.table), batch.data.schema.names, batch.data.schema.types, batch.data.to_pylist())
                for batch in chunk.batches
            ],
        )
        for chunk in found
    ]
