"""The hook of connections to PostgreSQL."""

from __future__ import annotations

from tidegate.hooks.base import TidegateHook
from tidegate.providers.postgres.connection import SYSTEM


class PostgresHook(TidegateHook):
    """PostgreSQL; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "postgres_default"
