"""The hook of connections to StarRocks."""

from __future__ import annotations

from tidegate.hooks.base import TidegateHook
from tidegate.providers.starrocks.connection import SYSTEM


class StarrocksHook(TidegateHook):
    """StarRocks; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "starrocks_default"
