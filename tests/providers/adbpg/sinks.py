"""A sink of the adbpg kind over plain PostgreSQL: what is tested beside this file needs nothing of the vendor's server."""

from __future__ import annotations

from typing import Any

from tests.providers.postgres.conftest import Box
from tests.servers import PostgresServer
from tidegate.providers.adbpg.sink import AdbpgSink


class AdbpgBox(Box):
    """A database with such a sink on it."""

    sink: AdbpgSink

    def __init__(self, server: PostgresServer) -> None:
        super().__init__(server, "adbpg")

    def open(self, **values: Any) -> AdbpgSink:
        sink = super().open(**values)
        assert isinstance(sink, AdbpgSink)
        return sink

    def close(self) -> None:
        self.sink.close()
