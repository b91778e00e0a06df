"""A sink of the adbpg kind over plain PostgreSQL: what is tested beside this file needs nothing of the vendor's server."""

from __future__ import annotations

from typing import Any

from tests.providers.postgres.conftest import Box
from tidegate.providers.adbpg.connection import SYSTEM
from tidegate.providers.adbpg.sink import AdbpgSink, open_sink


class AdbpgBox(Box):
    """A database with such a sink on it."""

    sink: AdbpgSink

    def open(self, **values: Any) -> AdbpgSink:
        return open_sink(SYSTEM.values(self.server.values(**values), "warehouse"), "warehouse")
