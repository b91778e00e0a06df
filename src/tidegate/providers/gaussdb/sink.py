"""GaussDB and openGauss as a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.providers.postgres.sink import PostgresSink


def open_sink(values: Mapping[str, Any], name: str) -> GaussdbSink:
    """The sink over parsed connection fields; connects when it is first used. ``name`` is the connection's, for messages."""
    return GaussdbSink(values, name)


class GaussdbSink(PostgresSink):
    """GaussDB: rows and ledger in one transaction, as in PostgreSQL."""
