"""AnalyticDB for PostgreSQL as a target."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tidegate.providers.adbpg.catalog import AdbpgCatalog
from tidegate.providers.adbpg.names import NamingSink
from tidegate.providers.adbpg.probe import EVERYWHERE, Server, look, probe
from tidegate.providers.adbpg.sql import AdbpgSql
from tidegate.providers.adbpg.staging import stagers
from tidegate.providers.adbpg.strategy import Chooser
from tidegate.providers.adbpg.writer import AdbpgWriter
from tidegate.providers.postgres.catalog import Catalog
from tidegate.providers.postgres.dialect import Dialect
from tidegate.providers.postgres.session import Session, connect
from tidegate.providers.postgres.sink import CAPABILITIES as POSTGRES_CAPABILITIES

# The vendor's defaults, but for on_error, which stays 'fail' (theirs is ignore: our skip). Of batchwritetimeoutms its document says
# 50000, its code 10000. No shadow: 9.4 can't make the copy of a table that takes its place (LIKE without its indexes, generated
# and identity columns), and neither LIKE nor the grants carry over how a table is distributed or stored.
CAPABILITIES = replace(
    POSTGRES_CAPABILITIES,
    options={name: values for name, values in POSTGRES_CAPABILITIES.options.items() if name != "parallelism"},
    refusals={},
    defaults={
        **POSTGRES_CAPABILITIES.defaults,
        "method": "copy",
        "batch_rows": 50_000,
        "flush_interval": 50.0,
        "max_retries": 3,
        "retry_wait": 0.1,
    },
    shadow=False,
)


def open_sink(values: Mapping[str, Any], name: str) -> AdbpgSink:
    """The sink over parsed connection fields; connects when it is first used. ``name`` is the connection's, for messages."""
    return AdbpgSink(values, name)


class AdbpgSink(NamingSink):
    """AnalyticDB PostgreSQL: rows and ledger in one transaction, as in PostgreSQL."""

    capabilities = CAPABILITIES

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._server: Server | None = None
        self._probed: Dialect | None = None
        self._probing = threading.Lock()
        self._sql = AdbpgSql(self.server)
        self.plain = Dialect(self._sql, Catalog())
        super().__init__(values, name)

    def server(self) -> Server:
        """What the server is; asked once, on a connection of its own unless there was one before."""
        if self._server is None:
            self.connect().close()
        assert self._server is not None
        return self._server

    def connect(self) -> Session:
        """A new connection, set up with what the server knows."""
        session = self._open()
        try:
            if self._server is None:
                self._server = look(session)
            if self._server.settings:
                session.run("; ".join(f"SET {setting} = '{value}'" for setting, value in self._server.settings))
            session.commit()
        except BaseException:
            session.close()
            raise
        return session

    def _open(self) -> Session:
        return connect(self._values, self._name, EVERYWHERE)

    def dialect(self, session: Session) -> Dialect:
        """How the server is spoken to. Tried out once, in the transaction of ``session``, which is left as it was."""
        server = self.server()
        with self._probing:
            if self._probed is None:
                features = probe(session, self._sql, server)
                self._probed = Dialect(self._sql, AdbpgCatalog(server), Chooser(server, features), AdbpgWriter, stagers(self._sql))
            return self._probed
