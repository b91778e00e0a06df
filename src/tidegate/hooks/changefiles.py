"""The hook of connections to a folder of change files."""

from __future__ import annotations

from tidegate.hooks.base import TidegateHook
from tidegate.providers.changefiles.connection import SYSTEM


class ChangefilesHook(TidegateHook):
    """A folder of change files; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "changefiles_default"
