"""The transaction interface of Stream Load (V2): begin, load, prepare, commit, rollback. StarRocks 2.4 and later.

https://docs.starrocks.io/docs/loading/Stream_Load_transaction_interface/: all requests go to a frontend, which redirects to the
backend that coordinates the label; an error in begin, load or prepare rolls the transaction back; a repeated commit is OK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tidegate.changes.schema import TableName
from tidegate.errors import LoadUnresolved, TidegateError, TransientError, Unavailable
from tidegate.providers.starrocks.body import Payload
from tidegate.providers.starrocks.labels import Labels, Patience
from tidegate.providers.starrocks.reply import LabelState, Reply
from tidegate.providers.starrocks.verdict import outcome, parsed, permanent


class Transactions(Labels):
    """One transaction is a label; its loads are made one after the other, by whatever thread."""

    def transactions(self) -> bool:
        """Whether the server has the interface: where it has, a begin without a label is refused for its label."""
        answer = self.http.call("POST", "/api/transaction/begin", {"Expect": "100-continue"}, brief=True)
        reply = parsed(answer.body)
        return answer.status == 200 and "not implemented" not in reply.message.lower()

    def begin(
        self,
        label: str,
        database: str,
        table: str | None = None,
        *,
        multi: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Opens a transaction. ``multi``: over several tables of the database (StarRocks 4.0), ``table`` is then None.

        A label that has been committed before comes back with ``existing_job_status`` FINISHED: there is nothing left to send.
        LoadUnresolved: somebody has it open; roll it back first. Unavailable: begin again.
        """
        known: Reply | TransientError
        patience = Patience(self.pause)
        while True:
            ours = False
            try:
                reply = self._call(
                    "begin", label, database, table, multi, {"timeout": self.timeout} | dict(headers or {}), once=True
                )
            except LoadUnresolved as lost:
                known, ours = lost, True
                break
            verdict = outcome(reply)
            if verdict == "done":
                return reply
            if verdict == "busy" and patience.again():
                continue
            if verdict != "exists":
                raise self.error(reply, label, table)
            known = reply
            break
        state = self.settled(database, label, running=())
        if state in ("VISIBLE", "COMMITTED"):
            return Reply(status="LABEL_ALREADY_EXISTS", label=label, existing_job_status="FINISHED", settled=True)
        if state == "PREPARE" and ours:
            # The reply was lost, the transaction is there.
            return Reply(status="OK", label=label, settled=True)
        if state in ("PREPARE", "PREPARED"):
            raise LoadUnresolved(
                f"label {label} has a transaction that is {state}: roll it back first", connection=self.name, table=table
            )
        raise self.absent(known, label, table, state)

    def send(self, label: str, table: TableName, headers: Mapping[str, str], body: Payload, *, multi: bool = False) -> Reply:
        """Sends rows into an open transaction. Repeatable, with the same format; a CSV body must end with its row delimiter.

        LoadUnresolved: the reply was lost, and whether the rows are in can't be told of a part: roll the transaction back.
        Unavailable, or a PermanentError: the server has rolled it back, or never had it.
        """
        database = self.database(table)
        patience = Patience(self.pause)
        while True:
            sent = self.headers(dict(headers) | self._of(database, table.name, multi), label=label)
            answer = self.http.put("/api/transaction/load", sent, body)
            reply = parsed(answer.body)
            verdict = outcome(reply)
            if verdict == "done":
                if not answer.sent:
                    raise self.nobody(answer, table)
                return reply
            if verdict == "busy" and patience.again():
                # The backend still has the channel of the load before; nothing of this one was taken.
                continue
            if verdict == "unknown" and answer.sent and not permanent(reply):
                raise LoadUnresolved(
                    f"load {label}: {answer.address} answered with status {reply.status or 'none'}: the rows may be in the "
                    "transaction or not; roll it back",
                    connection=self.name,
                    table=table,
                )
            raise self.error(reply, label, table)

    def prepare(self, label: str, database: str, table: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Makes what was sent durable: it can be committed after a crash, within prepared_transaction_default_timeout_second.

        Not for a transaction over several tables: there is no such step there (MultiStatementTransactionHandler.java). The reply
        has the counts; a lost one is settled by the label's state (``settled``). Unavailable: the transaction is gone, begin again.
        RowRefused: too many rows are faulty.
        """
        patience = Patience(self.pause)
        while True:
            known: Reply | TransientError
            try:
                known = self._call("prepare", label, database, table, False, headers)
            except TransientError as error:
                known = error
            if isinstance(known, Reply):
                verdict = outcome(known)
                if verdict == "done":
                    return known
                if verdict == "busy" and patience.again():
                    continue
                if permanent(known):
                    raise self.error(known, label, table)
            state = self.settled(database, label, running=())
            if state in ("PREPARED", "COMMITTED", "VISIBLE"):
                return Reply(status="OK", label=label, settled=True)
            if state == "PREPARE" and not isinstance(known, Reply):
                if patience.again():
                    continue
                raise LoadUnresolved(f"label {label} is not prepared yet: {known}", connection=self.name, table=table)
            raise self.absent(known, label, table, state)

    def commit(self, label: str, database: str, table: str | None = None, *, multi: bool = False) -> Reply:
        """Commits, and repeats that until the outcome is known: a commit can be asked for twice.

        Unavailable: it was aborted, nothing of it is there, begin again. LoadUnresolved: nobody tells, or the label is forgotten.
        """
        seconds = self.values["publish_timeout_ms"] // 1000
        headers = {"timeout": str(max(1, seconds))} if self.values["publish_timeout_ms"] > 0 else None
        patience = Patience(self.pause)
        while True:
            known: Reply | TransientError
            try:
                known = self._call("commit", label, database, table, multi, headers)
            except TransientError as error:
                known = error
            if isinstance(known, Reply) and outcome(known) == "done":
                return known
            # Whatever it says: «Transaction … has no backend» after a change of leader is said of one that is committed.
            state = self.settled(database, label, running=())
            if state in ("COMMITTED", "VISIBLE"):
                return Reply(status="OK", label=label, existing_job_status="FINISHED", settled=True)
            if state == "ABORTED":
                raise self.absent(known, label, table, state)
            if isinstance(known, Reply) and permanent(known):
                raise self.error(known, label, table)
            if state == "UNKNOWN" or not patience.again():
                told = "the server has forgotten it" if state == "UNKNOWN" else f"it is still {state}"
                raise LoadUnresolved(f"commit of label {label}: {told}", connection=self.name, table=table)

    def rollback(self, label: str, database: str, table: str | None = None, *, multi: bool = False) -> LabelState:
        """Rolls back and returns the label's state after it: ABORTED or UNKNOWN; VISIBLE or COMMITTED if it was too late.

        A transaction that rollback doesn't reach is cancelled. LoadUnresolved if it is open after that.
        """
        patience = Patience(self.pause)
        while True:
            try:
                reply = self._call("rollback", label, database, table, multi, None, brief=True)
            except TransientError:
                break
            verdict = outcome(reply)
            if verdict == "done":
                return "ABORTED"
            if verdict != "busy" or not patience.again():
                break
        state = self.settled(database, label, running=())
        if state in ("PREPARE", "PREPARED"):
            state = self.cancel(database, label)
        if state in ("PREPARE", "PREPARED"):
            raise LoadUnresolved(
                f"label {label} is {state} and can be neither rolled back nor cancelled", connection=self.name, table=table
            )
        return state

    @property
    def timeout(self) -> str:
        """Seconds for which the server lets a load or an open transaction live, as header."""
        return str(self.values["load_timeout"])

    def headers(self, given: Mapping[str, str], **ours: str) -> dict[str, str]:
        """A load's headers: what is given goes before the connection's time zone and timeout, but not before the label."""
        label = ours.pop("label")
        lowered = {name.lower(): value for name, value in given.items()}
        return {"timezone": self.values["time_zone"]} | ours | lowered | {"label": label, "Expect": "100-continue"}

    def absent(self, known: Reply | TransientError, label: str, table: object | None, state: LabelState) -> TidegateError:
        """The exception for a load or transaction that is not there: the server's own words, or those of the lost connection."""
        if isinstance(known, Reply) and outcome(known) != "exists":
            return self.error(replace(known, label=label), label, table)
        said = "" if isinstance(known, Reply) else f": {known}"
        return Unavailable(f"load {label}: its label is {state}, so it is not there{said}", connection=self.name, table=table)

    def _of(self, database: str, table: str | None, multi: bool) -> dict[str, str]:
        found = {"db": database}
        if table is not None:
            found["table"] = table
        # The frontend picks the transaction's handler by it, at every step (TransactionLoadAction.java).
        return found | {"transaction_type": "multi"} if multi else found

    def _call(
        self,
        step: str,
        label: str,
        database: str,
        table: str | None,
        multi: bool,
        headers: Mapping[str, str] | None,
        *,
        brief: bool = False,
        once: bool = False,
    ) -> Reply:
        sent = self._of(database, table, multi) | dict(headers or {}) | {"label": label, "Expect": "100-continue"}
        return parsed(self.http.call("POST", f"/api/transaction/{step}", sent, brief=brief, once=once).body)
