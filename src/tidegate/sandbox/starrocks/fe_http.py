"""The frontend's HTTP port: who may load, where to, and what became of a label.

fe ``http/rest/LoadAction.java``, ``TransactionLoadAction.java``, ``transaction/TransactionWithoutChannelHandler.java``,
``transaction/MultiStatementTransactionHandler.java``, ``GetStreamLoadState.java``, ``CancelStreamLoad.java``,
``RestBaseAction.java``. The body of a load is never read here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tidegate.sandbox.starrocks import replies
from tidegate.sandbox.starrocks.be_http import hold_of, seconds_of
from tidegate.sandbox.starrocks.contexts import Context, Contexts
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.faults import Fault, Faults
from tidegate.sandbox.starrocks.httpd import Answer, Interrupted, Request
from tidegate.sandbox.starrocks.labels import LabelBook
from tidegate.sandbox.starrocks.model import LoadFailed
from tidegate.sandbox.starrocks.transactions import Refused, Transactions, denied
from tidegate.sandbox.starrocks.users import Users

OPERATIONS = frozenset({"begin", "load", "prepare", "commit", "rollback"})


class Failed(Exception):
    """What Java throws: its message follows the name of its class."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind


class Frontend:
    """Answers the requests of a frontend's port. ``leader`` tells where the leader is, None if it is this one; ``backend`` where
    loads go."""

    def __init__(
        self,
        engine: Engine,
        users: Users,
        labels: LabelBook,
        transactions: Transactions,
        contexts: Contexts,
        faults: Faults,
        leader: Callable[[], str | None],
        backend: Callable[[], str],
        stopping: threading.Event,
        scheme: str = "http",
    ) -> None:
        self._scheme = scheme
        self._engine = engine
        self._users = users
        self._labels = labels
        self._transactions = transactions
        self._contexts = contexts
        self._faults = faults
        self._leader = leader
        self._backend = backend
        self._stopping = stopping

    def handle(self, request: Request) -> Answer | None:
        parts, method = request.parts, request.method
        if parts == ["api", "health"] and method == "GET":
            return replies.rest(total_backend_num=1, online_backend_num=1)
        label = request.headers.get("label", "") or request.query.get("label", "")
        if len(parts) == 4 and parts[0] == "api" and parts[3] == "_stream_load" and method == "PUT":
            return self._faulty("stream_load", request, label, lambda user, _: self._stream_load(request, user, parts[1], parts[2]))
        if len(parts) == 3 and parts[:2] == ["api", "transaction"] and method in ("POST", "PUT"):
            if self._engine.version < (2, 4):
                return replies.rest("Not implemented", failed=True)
            operation = parts[2].lower()
            return self._faulty(operation, request, label, lambda user, fault: self._transaction(request, user, operation, fault))
        if len(parts) == 3 and parts[0] == "api" and parts[2] == "get_load_state" and method == "GET":
            return self._faulty("state", request, label, lambda _, __: self._state(request, parts[1]))
        if len(parts) == 4 and parts[0] == "api" and parts[3] == "_cancel" and method == "POST":
            return self._faulty("cancel", request, label, lambda _, __: self._cancel(request, parts[1], parts[2]))
        return Answer(b"Not found", 404, content_type="text/html")

    def _faulty(
        self, operation: str, request: Request, label: str, work: Callable[[str, Fault | None], Answer | None]
    ) -> Answer | None:
        fault = self._faults.meet("fe", operation, label, redirected=self._redirects(request, operation, label))
        if fault is not None and fault.kind == "refuse":
            return None
        if fault is not None and fault.kind == "slow":
            self._stopping.wait(fault.seconds)
        login = request.login()
        if login is None:
            return replies.unauthorized("Need auth information.")
        if self._users.authenticate(*login) is None:
            return replies.unauthorized(f"Access denied for {login[0]}@127.0.0.1")
        try:
            answer = work(login[0], fault)
        except Interrupted as error:
            error.spool.close()
            return None
        return None if fault is not None and fault.kind == "lost_reply" else answer

    def _redirects(self, request: Request, operation: str, label: str) -> bool:
        """Is the request done elsewhere?"""
        if operation in ("stream_load", "load") or self._leader() is not None:
            return True
        if operation not in OPERATIONS or self._wants_several(request):
            return False
        found = self._labels.find(request.headers.get("db", ""), label)
        return operation in ("begin", "prepare") or (found is not None and found.state == "PREPARE")

    def _stream_load(self, request: Request, user: str, database: str, table: str) -> Answer:
        """Force closed, whatever is said: the body, if one comes, is nobody's."""
        if request.version != "HTTP/1.0" and not request.expects_continue:
            words = "class com.starrocks.common.DdlException: There is no 100-continue header"
            return replies.frontend("FAILED", words, close=True)
        merged = request.headers.get("enable_merge_commit", "").lower() == "true"
        if merged and (there := self._leader()) is not None:
            return self._redirect(request, there)
        if not self._users.may(user, "INSERT", database, table):
            return replies.unauthorized(denied(table))
        return self._redirect(request, self._backend())

    def _redirect(self, request: Request, address: str) -> Answer:
        """To the same path elsewhere; the connection is closed, since the body wasn't read."""
        where = f"{self._scheme}://{address}{request.target}"
        return Answer(b"", 307, {"Location": where}, close=True, content_type="text/html")

    def _state(self, request: Request, database: str) -> Answer:
        request.skip()
        if (there := self._leader()) is not None:
            return self._redirect(request, there)
        label = request.query.get("label", "")
        if not label:
            return replies.rest("No label selected.", failed=True)
        if database not in self._engine.databases():
            return replies.rest(f"unknown database, database={database}", failed=True)
        self._transactions.tick()
        found = self._labels.find(database, label)
        state, reason = (found.state, found.reason) if found else ("UNKNOWN", "")
        return replies.rest(state=state, reason=reason)

    def _cancel(self, request: Request, database: str, label: str) -> Answer:
        """The label is the path's last part but one, or a parameter: then a table stands in the path."""
        request.skip()
        if (there := self._leader()) is not None:
            return self._redirect(request, there)
        label = request.query.get("label") or label
        if database not in self._engine.databases():
            return replies.rest(f"unknown database, database={database}", failed=True)
        self._transactions.tick()
        found = self._labels.find(database, label)
        if found is None:
            return replies.rest(f"transaction not found, label={label}", failed=True)
        if found.state not in ("PREPARE", "PREPARED"):
            return replies.rest(f"running transactions not found, label={label}", failed=True)
        self._transactions.abort(found, "user cancel")
        return replies.rest()

    def _transaction(self, request: Request, user: str, operation: str, fault: Fault | None) -> Answer:
        if operation != "load":
            request.skip()
        if (there := self._leader()) is not None:
            return self._redirect(request, there)
        try:
            if operation not in OPERATIONS:
                raise Failed(f"Unknown transaction operation: {operation}")
            database, label = request.headers.get("db", ""), request.headers.get("label", "")
            if not database:
                raise Failed("No database selected.")
            if not label:
                raise Failed("Empty label.")
            if self._wants_several(request):
                return self._several(request, user, operation, database, label, fault)
            if database not in self._engine.databases():
                raise Failed(f"Database[{database}] does not exist.")
            if operation == "begin":
                return self._redirect(request, self._backend())
            return self._single(request, operation, database, label, fault)
        except Failed as error:
            return replies.frontend("FAILED", f"class {error.kind or self._exception}: {error.message}")
        except Refused as error:
            if error.status == "LABEL_ALREADY_EXISTS":
                return replies.frontend(error.status, error.message, ExistingJobStatus=error.job_status)
            return replies.frontend("FAILED", f"class {self._exception}: {error.message}")

    @property
    def _exception(self) -> str:
        """Renamed in 3.4."""
        return "com.starrocks.common." + ("StarRocksException" if self._engine.version >= (3, 4) else "UserException")

    def _single(self, request: Request, operation: str, database: str, label: str, fault: Fault | None) -> Answer:
        self._transactions.tick()
        found = self._labels.find(database, label)
        if found is None:
            if self._contexts.find(label) is not None:
                return self._redirect(request, self._backend())
            raise Failed(f"No transaction found with db[{database}] and label[{label}]")
        if operation in ("load", "prepare") or found.state == "PREPARE":
            return self._redirect(request, self._backend())
        number, entries = found.id, _entries(found.id, label)
        committed = found.state in ("COMMITTED", "VISIBLE")
        if found.state == "PREPARED" and operation == "commit":
            if not self._transactions.commit(found, hold=hold_of(fault)):
                milliseconds = (seconds_of(request.headers, "timeout") or 20) * 1000
                raise Failed(f"publish timeout: {milliseconds}")
            return replies.frontend("OK", "", **entries)
        if found.state == "PREPARED":
            self._transactions.abort(found, "User Aborted")
            return replies.frontend("OK", "", **entries)
        if committed == (operation == "commit"):
            done = "committed" if committed else "aborted"
            return replies.frontend("OK", f"Transaction {number} has already {done}, label is {label}", **entries)
        verb = "commit" if operation == "commit" else "abort"
        raise Failed(f"Can not {verb} {found.state} transaction {number}, label is {label}")

    def _wants_several(self, request: Request) -> bool:
        """``transaction_type`` is not looked at before 4.0."""
        return self._engine.version >= (4, 0) and request.headers.get("transaction_type", "").lower() == "multi"

    def _several(self, request: Request, user: str, operation: str, database: str, label: str, fault: Fault | None) -> Answer:
        """Of several tables: the frontend does it all but the receiving."""
        if operation == "prepare":
            raise Failed("Unsupported operation: TXN_PREPARE")
        if operation == "begin":
            if database not in self._engine.databases():
                raise Failed(f"unknown database, database={database}")
            self._contexts.begin(database, "", label, user, seconds_of(request.headers, "timeout"), multi=True)
            return replies.frontend("OK", "", Label=label, **self._number(self._contexts.find(label)))
        context = self._contexts.find(label)
        if context is None:
            return self._ended(operation, database, label)
        if operation == "load":
            return self._redirect(request, self._backend())
        if operation == "rollback":
            self._contexts.rollback(label, database)
            return replies.frontend("OK", f"stream load {label} abort")
        if context.committed:
            number = context.transaction.id if context.transaction else -1
            words = f"Transaction {number} has already committed, label is {label}"
            return replies.frontend("OK", words, Label=label, TxnId=number)
        try:
            self._contexts.commit(label, database, hold_of(fault))
        except LoadFailed as error:
            return replies.frontend("FAILED", error.message)
        return replies.frontend("OK", "", Label=label, **self._number(context))

    def _ended(self, operation: str, database: str, label: str) -> Answer:
        """What the labels still know of a transaction whose context has gone."""
        self._transactions.tick()
        found = self._labels.find(database, label)
        if found is not None and operation == "commit" and found.state in ("COMMITTED", "VISIBLE"):
            words = f"Transaction {found.id} has already committed, label is {label}"
            return replies.frontend("OK", words, Label=label, TxnId=found.id)
        if found is not None and operation == "rollback" and found.state == "ABORTED":
            words = f"Transaction {found.id} has already aborted, label is {label}"
            return replies.frontend("OK", words, Label=label, TxnId=found.id)
        if found is not None and operation == "commit" and found.state == "ABORTED":
            return replies.frontend("FAILED", f"Can not commit CANCELLED transaction {found.id}, label is {label}")
        raise Failed(f"stream load task {label} does not exist")

    def _number(self, context: Context | None) -> dict[str, Any]:
        return {"TxnId": context.transaction.id} if context is not None and context.transaction is not None else {}


def _entries(number: int, label: str) -> dict[str, Any]:
    return {"TxnId": number, "Label": label}
