"""GaussDB and openGauss as a target."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from tidegate.providers.gaussdb.catalog import GaussdbCatalog
from tidegate.providers.gaussdb.probe import Server, probe
from tidegate.providers.gaussdb.session import Connector, GaussdbSession
from tidegate.providers.gaussdb.sql import GaussdbSql
from tidegate.providers.gaussdb.strategy import strategy_for
from tidegate.providers.gaussdb.writer import GaussdbWriter
from tidegate.providers.postgres.dialect import POSTGRES, Dialect
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.sink import CAPABILITIES as POSTGRES_CAPABILITIES
from tidegate.providers.postgres.sink import PostgresSink
from tidegate.sync.protocols import Capabilities

# PostgreSQL's defaults stand. The vendor's connector sends 100 rows, or what came within a second, as one batch of single-row
# statements; here a chunk is staged by COPY and merged by one statement, whose fixed cost wants many rows: 100,000 or 32 MiB, a
# minute at most. Three tries, a second apart, are the vendor's too.
CAPABILITIES = replace(
    POSTGRES_CAPABILITIES,
    # A shadow takes over grants, indexes and settings by catalog queries of later PostgreSQL versions, and knows nothing of
    # distribution, partitions or storage by columns: a table is copied anew in place.
    shadow=False,
)


def open_sink(values: Mapping[str, Any], name: str) -> GaussdbSink:
    """The sink over parsed connection fields; connects when it is first used. ``name`` is the connection's, for messages."""
    return GaussdbSink(values, name)


class GaussdbSink(PostgresSink):
    """GaussDB: rows and ledger in one transaction, as in PostgreSQL."""

    capabilities: Capabilities = CAPABILITIES
    plain: Dialect = Dialect(GaussdbSql(), GaussdbCatalog())

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        super().__init__(values, name)
        self._server: Server | None = None
        self._server_dialect: Dialect | None = None
        self._probe_lock = threading.Lock()

    @cached_property
    def _connector(self) -> Connector:
        return Connector(self._values, self._name)

    def connect(self) -> GaussdbSession:
        """A new connection, to the first host that takes writes."""
        return self._connector.connect()

    def dialect(self, session: Session) -> Dialect:
        """How the server is spoken to. Probed at the first call, in a session whose transaction has done nothing yet."""
        with self._probe_lock:
            if self._server_dialect is None:
                self._server = probe(session)
                self._server_dialect = dialect_of(self._server, self._values["empty_string"])
            dialect = self._server_dialect
        if isinstance(dialect.sql, GaussdbSql):
            for (stage,) in session.rows(dialect.sql.leftovers()):
                session.run(dialect.sql.drop_staging(stage))
        return dialect

    @property
    def server(self) -> Server:
        """What the server is."""
        if self._server is None:
            session = self._take()
            try:
                self.dialect(session)
            finally:
                session.rollback()
                self._give_back(session)
        assert self._server is not None
        return self._server

    @property
    def empty_is_null(self) -> bool:
        """Whether a text ``''`` is read back as NULL: to be told to :func:`tidegate.verify.compare.compare`."""
        return self.server.empty_is_null


def dialect_of(server: Server, empty_string: str) -> Dialect:
    """How a probed server is spoken to; as PostgreSQL, if it is one."""
    if server.is_postgres:
        return POSTGRES
    return Dialect(
        sql=GaussdbSql(counts_bytes=server.counts_bytes, dates_have_times=server.compatibility == "A"),
        catalog=GaussdbCatalog(server.catalog),
        strategy=strategy_for(server, empty_string),
        writer=GaussdbWriter,
    )
