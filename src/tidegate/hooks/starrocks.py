"""The hook of connections to StarRocks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tidegate.changes.schema import TableName
from tidegate.hooks.base import TidegateHook
from tidegate.providers.starrocks.connection import SYSTEM

if TYPE_CHECKING:
    from tidegate.providers.starrocks.tools import Loaded


class StarRocksHook(TidegateHook):
    """StarRocks; see :class:`tidegate.hooks.base.TidegateHook`."""

    conn_type = SYSTEM.conn_type
    hook_name = SYSTEM.label
    default_conn_name = "starrocks_default"

    def stream_load(
        self,
        table: str | TableName,
        data: Any,
        *,
        format: str | None = None,
        label: str | None = None,
        columns: str | Sequence[str] | None = None,
        **properties: Any,
    ) -> Loaded:
        """One Stream Load, as it is: :func:`tidegate.providers.starrocks.tools.stream_load`."""
        from tidegate.providers.starrocks.tools import stream_load

        system, values = self._system()
        values = system.values(values, self.conn_id)
        return stream_load(values, self.conn_id, table, data, format=format, label=label, columns=columns, properties=properties)

    def label(self, name: str) -> str:
        """The label of a load that is to happen once per ``name``, under the connection's label prefix."""
        system, values = self._system()
        prefix = system.values(values, self.conn_id)["label_prefix"]
        return f"{prefix}-{hashlib.sha256(name.encode()).hexdigest()[:40]}"

    def sql(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement over the query port: its rows, or none. ``%s`` in it stands for a parameter, if there are any."""
        from tidegate.providers.starrocks.tools import query

        system, values = self._system()
        return query(system.values(values, self.conn_id), self.conn_id, statement, parameters)
