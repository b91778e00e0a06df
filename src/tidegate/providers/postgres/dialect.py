"""What sets a system of PostgreSQL's family apart, in one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidegate.providers.postgres.catalog import Catalog, CatalogTable
from tidegate.providers.postgres.merge import MergingWriter
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.sql import PostgresSql
from tidegate.providers.postgres.staging import STAGERS, Stager, postgres_stager
from tidegate.providers.postgres.strategy import Strategy, strategy
from tidegate.providers.postgres.writer import TableWriter
from tidegate.sync.mapping import Target
from tidegate.sync.options import Method


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server is spoken to: its statements, its catalog, and how rows are brought to it and merged."""

    sql: PostgresSql
    catalog: Catalog
    strategy: Callable[[Target, CatalogTable | None, str], Strategy] = strategy
    """Of a target, its table (None: it will be created) and the connection's name."""
    writer: type[TableWriter] = TableWriter
    stager: Callable[[Session, PostgresSql, Method], Stager] = lambda session, sql, method: STAGERS[method](session, sql)


POSTGRES = Dialect(PostgresSql(), Catalog(), writer=MergingWriter, stager=postgres_stager)
