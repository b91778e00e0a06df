"""The hook of connections to MySQL."""

from __future__ import annotations

from tidegate.hooks.base import TidegateHook
from tidegate.providers.mysql.connection import SYSTEM


class MysqlHook(TidegateHook):
    """MySQL; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "mysql_default"
