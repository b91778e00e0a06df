"""Stream Load: one request, one transaction (V1). The transaction interface (V2) is in :mod:`.transactions`, on the same class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

from tidegate.changes.schema import TableName
from tidegate.errors import LoadUnresolved, TransientError
from tidegate.providers.starrocks.body import Payload
from tidegate.providers.starrocks.reply import Reply
from tidegate.providers.starrocks.transactions import Transactions
from tidegate.providers.starrocks.verdict import outcome, parsed, permanent


class StreamLoad(Transactions):
    """Loads into a cluster. Repeats nothing that could be there already; what is worth a retry is a TransientError."""

    def load(self, label: str, table: TableName, headers: Mapping[str, str], body: Payload) -> Reply:
        """Loads a body under a label, and returns once its rows are committed.

        ``headers`` say the format (``format``, ``columns``, …); label, timeout and timezone are added. A label that has been loaded
        already is success (``settled``: its counts are not known): the same label must stand for the same rows.

        Unavailable: it is not there, send it again under the same label. LoadUnresolved: what became of it is not known yet, ask
        with the same label again. RowRefused, SchemaError, ConfigError, PreflightError: it is not there and won't be.
        """
        try:
            answer = self.http.put(self._path(table), self.headers(headers, label=label, timeout=self.timeout), body)
        except LoadUnresolved as lost:
            return self._by_state(label, table, lost)
        reply = parsed(answer.body)
        verdict = outcome(reply)
        if verdict == "done":
            if not answer.sent:
                raise self.nobody(answer, table)
            return reply
        if verdict == "exists" and reply.existing_job_status.upper() == "FINISHED":
            return replace(reply, settled=True)
        if verdict != "exists" and permanent(reply):
            raise self.error(reply, label, table)
        # Also after «Fail»: the backend says it when its commit at the frontend times out, and the frontend may have committed.
        return self._by_state(label, table, reply)

    def reach(self, table: TableName) -> str:
        """The backend that a load into the table would go to: :meth:`tidegate.providers.starrocks.http.Http.reach`."""
        return str(self.http.reach(self._path(table)))

    def _path(self, table: TableName) -> str:
        return f"/api/{quote(self.database(table), safe='')}/{quote(table.name, safe='')}/_stream_load"

    def _by_state(self, label: str, table: TableName, known: Reply | TransientError) -> Reply:
        state = self.settled(self.database(table), label)
        if state in ("VISIBLE", "COMMITTED"):
            return Reply(status="Success", label=label, existing_job_status="FINISHED", settled=True)
        if state == "PREPARED":
            raise LoadUnresolved(
                f"label {label} belongs to a prepared transaction, not to a Stream Load: commit it or roll it back",
                connection=self.name,
                table=table,
            )
        raise self.absent(known, label, table, state)
