"""AnalyticDB for PostgreSQL as a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tidegate.providers.adbpg.names import NamingSink
from tidegate.providers.postgres.sink import CAPABILITIES as POSTGRES_CAPABILITIES
from tidegate.sync.protocols import Capabilities

CAPABILITIES = replace(
    POSTGRES_CAPABILITIES,
    options={name: values for name, values in POSTGRES_CAPABILITIES.options.items() if name != "parallelism"},
    refusals={},
)


def open_sink(values: Mapping[str, Any], name: str) -> AdbpgSink:
    """The sink over parsed connection fields; connects when it is first used. ``name`` is the connection's, for messages."""
    return AdbpgSink(values, name)


class AdbpgSink(NamingSink):
    """AnalyticDB PostgreSQL: rows and ledger in one transaction, as in PostgreSQL."""

    capabilities: Capabilities = CAPABILITIES
