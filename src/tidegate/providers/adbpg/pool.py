"""At most ``connection_max_active`` connections: the ledger's own, and those that loads, inspections and lanes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.errors import ConfigError
from tidegate.providers.postgres.pool import WAIT_SECONDS, Pool
from tidegate.providers.postgres.sink import PostgresSink

SETTING = "connection_max_active"
LEAST = 2


class BoundedSink(PostgresSink):
    """A sink that never has more connections open than the setting says.

    One is kept for the ledger, whose heartbeat must not wait for a load. Lanes take what is free and wait for none.
    """

    wait_seconds = WAIT_SECONDS

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        if values[SETTING] < LEAST:
            what = f"the ledger's heartbeat needs a connection of its own beside the load's: {LEAST} at least"
            raise ConfigError(what, connection=name, setting=SETTING)
        super().__init__(values, name)

    def pool(self) -> Pool:
        """One less than the setting says: that one is the ledger's."""
        return Pool(self.connect, self._name, self._values[SETTING] - 1, SETTING, self.wait_seconds)
