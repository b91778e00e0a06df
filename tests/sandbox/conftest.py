"""In-process sandboxes over the session's PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg2
import pytest

from tests.servers import PostgresServer
from tidegate.sandbox.authentication import Authentication, GaussSha256, Md5
from tidegate.sandbox.dialect import Dialect
from tidegate.sandbox.pgwire import Sandbox, Upstream

PASSWORD = "Secret#1"

Start = Callable[..., Sandbox]


class Client:
    """A psycopg2 connection in autocommit, with short ways to run and to look."""

    def __init__(self, box: Sandbox, database: str, user: str = "md5", **options: Any) -> None:
        self.connection: Any = psycopg2.connect(
            host="127.0.0.1", port=box.port, user=user, password=PASSWORD, dbname=database, connect_timeout=20, **options
        )
        self.connection.autocommit = True

    def run(self, sql: str, params: Sequence[Any] | None = None) -> str:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return str(cursor.statusmessage)

    def rows(self, sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def refusal(self, sql: str, params: Sequence[Any] | None = None) -> tuple[str, str]:
        """The SQLSTATE and the words of the error that this statement ends in."""
        with pytest.raises(psycopg2.Error) as caught:
            self.run(sql, params)
        return str(caught.value.pgcode), str(caught.value.diag.message_primary)

    @property
    def status(self) -> int:
        return int(self.connection.info.transaction_status)


@pytest.fixture
def start(pg_database: PostgresServer) -> Iterator[Start]:
    """Start a sandbox with a dialect; its users are ``sha`` and ``md5``."""
    with ExitStack() as stack:

        def go(dialect: Dialect, **options: Any) -> Sandbox:
            way: Authentication = GaussSha256()
            upstream = Upstream(pg_database.host, pg_database.port)
            users = {"sha": PASSWORD, "md5": PASSWORD}
            box = Sandbox(dialect, upstream, users, way, {"md5": Md5(way.denied)}, **options)
            return stack.enter_context(box)

        yield go


@pytest.fixture
def connect(pg_database: PostgresServer) -> Iterator[Callable[..., Client]]:
    """Connect to a sandbox's fresh database; closed at the end."""
    clients: list[Client] = []

    def go(box: Sandbox, **options: Any) -> Client:
        clients.append(Client(box, pg_database.database, **options))
        return clients[-1]

    yield go
    for client in clients:
        client.connection.close()
