"""The hook of connections to AnalyticDB PostgreSQL."""

from __future__ import annotations

from tidegate.hooks.base import TidegateHook
from tidegate.providers.adbpg.connection import SYSTEM


class AdbpgHook(TidegateHook):
    """AnalyticDB PostgreSQL; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "adbpg_default"
