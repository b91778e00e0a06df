"""AnalyticDB for PostgreSQL as a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.providers.postgres.sink import PostgresSink


def open_sink(values: Mapping[str, Any], name: str) -> AdbpgSink:
    """The sink over parsed connection fields; connects when it is first used. ``name`` is the connection's, for messages."""
    return AdbpgSink(values, name)


class AdbpgSink(PostgresSink):
    """AnalyticDB PostgreSQL: rows and ledger in one transaction, as in PostgreSQL."""
