"""GaussDB and openGauss as a target."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from tidegate.providers.gaussdb.session import Connector, GaussdbSession
from tidegate.providers.postgres.sink import PostgresSink


def open_sink(values: Mapping[str, Any], name: str) -> GaussdbSink:
    """The sink over parsed connection fields; connects when it is first used. ``name`` is the connection's, for messages."""
    return GaussdbSink(values, name)


class GaussdbSink(PostgresSink):
    """GaussDB: rows and ledger in one transaction, as in PostgreSQL."""

    @cached_property
    def _connector(self) -> Connector:
        return Connector(self._values, self._name)

    def connect(self) -> GaussdbSession:
        """A new connection, to the first host that takes writes."""
        return self._connector.connect()
