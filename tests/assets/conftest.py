"""A warehouse to write to, as a Dagster resource, and a Dagster instance of its own."""

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
    with dg.instance_for_test() as made:
        yield made
