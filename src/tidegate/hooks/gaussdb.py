"""The hook of connections to GaussDB."""

from __future__ import annotations

from tidegate.hooks.base import TidegateHook
from tidegate.providers.gaussdb.connection import SYSTEM


class GaussdbHook(TidegateHook):
    """GaussDB; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "gaussdb_default"
