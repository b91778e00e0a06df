"""The hook of connections to binlog files on disk."""

from __future__ import annotations

from tidegate.hooks.base import TidegateHook
from tidegate.providers.binlogfiles.connection import SYSTEM


class BinlogfilesHook(TidegateHook):
    """Binlog files on disk; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "binlogfiles_default"
