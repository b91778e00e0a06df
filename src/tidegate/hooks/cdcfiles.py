"""The hook of connections to files of change records."""

from __future__ import annotations

from tidegate.hooks.base import TidegateHook
from tidegate.providers.cdcfiles.connection import SYSTEM


class CdcfilesHook(TidegateHook):
    """Files of change records; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "cdcfiles_default"
