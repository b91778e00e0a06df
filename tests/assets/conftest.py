"""A warehouse to write to, as a Dagster resource, and a Dagster instance in memory."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from tests.servers import PostgresServer
from tidegate.assets import PostgresResource


@pytest.fixture
def warehouse(pg_database: PostgresServer) -> PostgresResource:
    return PostgresResource(**pg_database.values())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made
