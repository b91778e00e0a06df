"""An AnalyticDB sink over PostgreSQL: as it is, and through a session that answers as kernel 6.6.

The latter takes what the plain server can't parse: it drops DISTRIBUTED, and does what COPY … ON CONFLICT is documented to do
(every column is overwritten; one that is not brought gets its default) by a staging table. What it was sent is kept word for word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.providers.adbpg.sinks import AdbpgBox as AdbpgBox
from tests.servers import PostgresServer
from tidegate.errors import PermanentError
from tidegate.providers.adbpg.connection import SYSTEM
from tidegate.providers.adbpg.sink import AdbpgSink
from tidegate.providers.postgres.driver import Params, Readable
from tidegate.providers.postgres.session import Session

VERSION = "PostgreSQL 9.4.26 (Greenplum Database 6.6.0 build dev) on x86_64-unknown-linux-gnu, compiled by gcc"
_DISTRIBUTED = re.compile(r" DISTRIBUTED (RANDOMLY|BY \((?P<key>.*)\))$")
_COPY = re.compile(r"COPY (?P<table>\S+) \((?P<columns>.*)\) FROM STDIN WITH CSV DO ON CONFLICT DO (?P<action>UPDATE|NOTHING)$")


class GreenplumSession(Session):
    """A session with a server that says it is kernel ``kernel`` of AnalyticDB PostgreSQL."""

    kernel: str = "6.6.1.0"
    version: str = VERSION
    copies: bool = True
    sent: ClassVar[list[str]] = []

    def run(self, statement: str, params: Params | None = None, *, table: object | None = None) -> int:
        self.sent.append(statement)
        plain = _DISTRIBUTED.sub("", statement)
        if statement.startswith(("CREATE TABLE", "CREATE TEMPORARY TABLE")):
            assert plain != statement, f"where do the rows of this table lie? {statement}"
        assert "ADD COLUMN IF NOT EXISTS" not in statement
        assert not (" IF NOT EXISTS" in statement and " AS SELECT" in statement)
        return super().run(plain, params, table=table)

    def rows(self, statement: str, params: Params | None = None, *, table: object | None = None) -> list[tuple[Any, ...]]:
        if statement == "SHOW adbpg_version":
            return [(self.kernel,)] if self.kernel else super().rows("SHOW tidegate_nothing")
        found = super().rows(statement, params, table=table)
        return [(self.version, *row[1:]) for row in found] if "version()" in statement else found

    def copy_in(self, statement: str, source: Readable, *, table: object | None = None) -> int:
        self.sent.append(statement)
        match = _COPY.fullmatch(statement)
        if match is None or not self.copies:
            return super().copy_in(statement, source, table=table)
        super().run("DROP TABLE IF EXISTS native_copy")
        super().run(f"CREATE TEMPORARY TABLE native_copy (LIKE {match['table']} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        count = super().copy_in(f"COPY native_copy ({match['columns']}) FROM STDIN WITH CSV", source, table=table)
        all_columns = [
            f'"{row[0]}"'
            for row in super().rows(
                "SELECT attname FROM pg_attribute WHERE attrelid = 'native_copy'::regclass AND attnum > 0 ORDER BY attnum"
            )
        ]
        key = super().value(
            "SELECT (SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a "
            "WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) "
            "FROM pg_index i WHERE i.indrelid = %s::regclass AND i.indisprimary",
            (match["table"],),
        )
        if key is None:
            raise PermanentError("COPY ON CONFLICT into a table without a unique index")
        sets = ", ".join(f"{name} = excluded.{name}" for name in all_columns)
        action = f"({key}) DO UPDATE SET {sets}" if match["action"] == "UPDATE" else "DO NOTHING"
        names = ", ".join(all_columns)
        super().run(f"INSERT INTO {match['table']} ({names}) SELECT {names} FROM native_copy ON CONFLICT {action}", table=table)
        return count


class GreenplumSink(AdbpgSink):
    """The sink, its connections wrapped."""

    session: type[GreenplumSession] = GreenplumSession

    def _open(self) -> Session:
        plain = super()._open()
        return self.session(plain._driver, plain.name)


class GreenplumBox(AdbpgBox):
    """The same through :class:`GreenplumSession`."""

    def open(self, **values: Any) -> AdbpgSink:
        sink = GreenplumSink(SYSTEM.values(self.server.values(**values), "warehouse"), "warehouse")
        self.sent: list[str] = []
        sink.session = type("OneSession", (GreenplumSession,), {"sent": self.sent})
        return sink

    def says(self, **answers: Any) -> None:
        """Other answers than kernel 6.6's, from a sink that has not asked yet."""
        sink = self.open()
        assert isinstance(sink, GreenplumSink)
        sink.session = type("OtherSession", (sink.session,), answers)
        self.sink.close()
        self.sink = sink


@pytest.fixture
def plain(pg_database: PostgresServer) -> Iterator[AdbpgBox]:
    box = AdbpgBox(pg_database)
    yield box
    box.sink.close()


@pytest.fixture
def box(pg_database: PostgresServer) -> Iterator[GreenplumBox]:
    box = GreenplumBox(pg_database)
    yield box
    box.sink.close()
