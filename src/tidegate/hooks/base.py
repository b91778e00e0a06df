"""From an Airflow connection to a source, a sink, and the verbs on it."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from tidegate.errors import ConfigError, TidegateError
from tidegate.providers.probe import probe
from tidegate.providers.system import System, system_of
from tidegate.sync.doctor import Report, doctor
from tidegate.sync.mapping import Sync
from tidegate.sync.protocols import Sink, Source
from tidegate.sync.verbs import Verbs

if TYPE_CHECKING:
    from airflow.sdk import Connection

log = logging.getLogger(__name__)


class TidegateHook(Verbs, BaseHook):
    """Any connection that tidegate knows: of its own types, or of another provider's that carry the same fields.

    :param conn_id: the connection; its type decides which system it is.

    Beside :meth:`source` and :meth:`sink` it offers the verbs of :class:`tidegate.sync.verbs.Verbs`: ``insert``, ``update``,
    ``upsert``, ``delete``, ``append``, ``apply`` and ``read``.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "tidegate_default"
    conn_type = ""
    hook_name = "tidegate"

    def __init__(self, conn_id: str | None = None, **kwargs: Any) -> None:
        BaseHook.__init__(self, **kwargs)
        Verbs.__init__(self, self.sink)
        self.conn_id = conn_id or self.default_conn_name

    def source(self) -> Source:
        """The system as a source; close it. ConfigError for a field that is missing or wrong, or if it can't be a source."""
        system, values = self._system()
        return system.open_source(values, self.conn_id)

    def sink(self) -> Sink:
        """The system as a target; close it."""
        system, values = self._system()
        return system.open_sink(values, self.conn_id)

    def preflight(self, sync: Sync, sink_conn_id: str, *, interval: float | None = None) -> Report:
        """What a run of the sync from this connection into ``sink_conn_id`` would meet: :func:`tidegate.sync.doctor.doctor`.

        ``interval`` is the time between runs, in seconds. Writes nothing. Raises TransientError if a server can't be reached.
        """
        with closing(self.source()) as source, closing(TidegateHook(sink_conn_id).sink()) as sink:
            return doctor(sync, source, sink, interval=interval)

    def test_connection(self) -> tuple[bool, str]:
        """What the Test button shows: each role that the system can have is tried; one that works is enough."""
        try:
            system, values = self._system()
        except TidegateError as error:
            return False, str(error)
        return probe(system, values, self.conn_id)

    def _system(self) -> tuple[System, dict[str, Any]]:
        connection = self.get_connection(self.conn_id)
        system = system_of(connection.conn_type or "", self.conn_id)
        return system, given_fields(system, connection)


def given_fields(system: System, connection: Connection) -> dict[str, Any]:
    """The fields that a connection sets: extras, and the standard columns under the names that the system has for them.

    A type of another provider may have extras of its own, which are left out; on one of tidegate's own types they would be
    mistakes, and are passed on to be refused.
    """
    extras = connection.extra_dejson
    if not isinstance(extras, dict):
        raise ConfigError("the extra is not a JSON object", connection=connection.conn_id, setting="extra")
    if connection.conn_type != system.conn_type:
        names = {field.name for field in system.fields}
        if foreign := [name for name in extras if name not in names]:
            log.debug("connection %s: extras that tidegate has no use for: %s", connection.conn_id, ", ".join(foreign))
        extras = {name: value for name, value in extras.items() if name in names}
    columns = {field.name: getattr(connection, field.standard) for field in system.fields if field.standard}
    return {**extras, **{name: value for name, value in columns.items() if value not in (None, "")}}
