"""The backend's HTTP port: loads themselves, the steps of transactions, and error logs.

be ``http/action/stream_load.cpp``, ``transaction_stream_load.cpp``, ``download_action.cpp``. A request is looked at by its head
first; what is refused then is answered without ``100 Continue`` and without reading the body.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tidegate.sandbox.starrocks import replies, staging
from tidegate.sandbox.starrocks.contexts import BUSY, Contexts
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.errorlog import ErrorLogs
from tidegate.sandbox.starrocks.faults import Fault, Faults
from tidegate.sandbox.starrocks.httpd import Answer, Interrupted, Request
from tidegate.sandbox.starrocks.labels import Transaction
from tidegate.sandbox.starrocks.mergecommit import MergeCommits, Outcome
from tidegate.sandbox.starrocks.model import LoadFailed
from tidegate.sandbox.starrocks.staging import Piece, Shelf
from tidegate.sandbox.starrocks.transactions import Refused, Transactions, too_many_versions
from tidegate.sandbox.starrocks.users import Users

MB = 1 << 20
_NOT_YET = "Publish timeout. The data will be visible after a while"
FORMATS = frozenset({"csv", "json", "gzip", "bzip2", "lz4", "deflate", "zstd"})


@dataclass
class BackendConfig:
    """be.conf, as far as loads depend on it. MB."""

    streaming_load_max_mb: int = 10_240
    streaming_load_max_batch_size_mb: int = 100


class Backend:
    """Answers the requests of the backend's port. ``die`` is what a fault calls when the backend has to go away."""

    def __init__(
        self,
        engine: Engine,
        users: Users,
        transactions: Transactions,
        contexts: Contexts,
        faults: Faults,
        logs: ErrorLogs,
        error_url: Callable[[LoadFailed], str],
        shelf: Shelf | None,
        stopping: threading.Event,
    ) -> None:
        self.config = BackendConfig()
        self._engine = engine
        self._users = users
        self._transactions = transactions
        self._contexts = contexts
        self._faults = faults
        self._logs = logs
        self._error_url = error_url
        self._shelf = shelf
        self._stopping = stopping
        self._merges = MergeCommits(stopping)

    def handle(self, request: Request) -> Answer | None:
        parts = request.parts
        if len(parts) == 4 and parts[0] == "api" and parts[3] == "_stream_load" and request.method == "PUT":
            return self._faulty("stream_load", request, lambda fault: self._stream_load(request, parts[1], parts[2], fault))
        if len(parts) == 3 and parts[:2] == ["api", "transaction"] and request.method in ("POST", "PUT"):
            operation = parts[2].lower()
            return self._faulty(operation, request, lambda fault: self._transaction(request, operation, fault))
        if parts == ["api", "_load_error_log"] and request.method == "GET":
            text = self._logs.get(request.query.get("file", ""))
            words = text if text is not None else "file not exist"
            return Answer(words.encode(), 200 if text is not None else 404, content_type="text/plain")
        if parts == ["api", "health"]:
            return Answer(b'{"status": "OK","msg": "To Be Added"}')
        return Answer(b"Not found", 404, content_type="text/plain")

    def _faulty(self, operation: str, request: Request, work: Callable[[Fault | None], Answer | None]) -> Answer | None:
        fault = self._faults.meet("be", operation, request.headers.get("label", ""))
        if fault is not None and fault.kind == "refuse":
            return None
        if fault is not None and fault.kind == "slow":
            self._stopping.wait(fault.seconds)
        answer = work(fault)
        return None if fault is not None and fault.kind == "lost_reply" else answer

    # _stream_load

    def _stream_load(self, request: Request, database: str, table: str, fault: Fault | None) -> Answer | None:
        headers = request.headers
        given = headers.get("label", "")
        merged = headers.get("enable_merge_commit", "").lower() == "true" and self._engine.version >= (3, 4)
        label = f"merge_commit_{uuid.uuid4()}" if merged else given or str(uuid.uuid4())

        def begin() -> Transaction:
            return self._transactions.begin(database, [table], label, "stream_load", user, seconds_of(headers, "timeout"))

        try:
            user = self._user(request)
            self._check_head(request)
            self._transactions.check(database, table, user)
            if merged:
                return self._merged(request, database, table, begin, fault)
            transaction = begin()
        except Refused as error:
            if error.status == "LABEL_ALREADY_EXISTS":
                return replies.stream_load("Label Already Exists", error.message, label, existing=error.job_status)
            return replies.stream_load("Fail", error.message, label, request_id=given if merged else "")
        except LoadFailed as error:
            return replies.stream_load("Fail", error.message, label, request_id=given if merged else "")
        if fault is not None and fault.kind == "dead":
            self._die(request, transaction, fault)
            return None
        try:
            body = request.body()
        except Interrupted as error:
            error.spool.close()
            self._transactions.abort(transaction, "cancelled: the sender is gone")
            return None
        with body:
            pieces = [Piece(table, _load_headers(request), body, request.received)]
            return replies.stream_load(*self._commit(transaction, pieces, fault), label, transaction)

    def _merged(
        self, request: Request, database: str, table: str, begin: Callable[[], Transaction], fault: Fault | None
    ) -> Answer | None:
        interval = request.headers.get("merge_commit_interval_ms", "0")
        if not interval.isdecimal():
            raise Refused("INVALID_ARGUMENT", f"Invalid merge_commit_interval_ms: {interval}")
        headers = {name: value for name, value in _load_headers(request).items() if name != "label"}
        try:
            body = request.body()
        except Interrupted as error:
            error.spool.close()
            return None
        with body:
            piece = Piece(table, headers, body, request.received)
            same = (database, table, frozenset(headers.items()))
            transaction, outcome = self._merges.load(
                same, piece, int(interval) / 1000, begin, lambda made, pieces: self._commit(made, pieces, fault)
            )
        return replies.stream_load(*outcome, transaction.label, transaction, request_id=request.headers.get("label", ""))

    def _commit(self, transaction: Transaction, pieces: list[Piece], fault: Fault | None) -> Outcome:
        """Status and message of the reply."""
        try:
            if fault is not None and fault.kind == "too_many_versions":
                raise LoadFailed(too_many_versions(1001, 1000))
            transaction.load_bytes = sum(piece.size for piece in pieces)
            self._check_size(transaction.load_bytes)
            staged = staging.stage(self._engine, transaction.database, pieces)
            staging.count(transaction, staged)
            if lines := [line for each in staged for line in each.error_lines]:
                transaction.error_url = self._error_url(LoadFailed("", lines))
            hold = hold_of(fault)
            if hold is not None and self._shelf is not None:
                transaction.pieces = self._shelf.put(transaction, pieces)
            visible = self._transactions.commit(transaction, staged, hold)
        except LoadFailed as error:
            transaction.total_rows, transaction.loaded_rows = error.total, error.loaded
            transaction.filtered_rows, transaction.unselected_rows = error.filtered, error.unselected
            transaction.error_url = self._error_url(error) if error.error_lines else ""
            self._transactions.abort(transaction, error.message)
            return "Fail", error.message
        except Refused as error:
            return "Fail", error.message
        return ("Success", "OK") if visible else ("Publish Timeout", _NOT_YET)

    def _user(self, request: Request) -> str:
        login = request.login()
        if login is None:
            raise Refused("INTERNAL_ERROR", "no valid Basic authorization")
        if self._users.authenticate(*login) is None:
            raise Refused("ANALYSIS_ERROR", f"Access denied for {login[0]}@127.0.0.1")
        return login[0]

    def _check_head(self, request: Request) -> None:
        self._check_size(request.length)
        kind = request.headers.get("format", "csv").lower()
        if kind not in FORMATS:
            raise Refused("INTERNAL_ERROR", f"unknown data format, format={request.headers['format']}")
        most = self.config.streaming_load_max_batch_size_mb * MB
        if kind == "json" and request.length > most and request.headers.get("ignore_json_size", "").lower() != "true":
            words = f"The size of this batch exceed the max size [{most}]  of json type data  data [ {request.length} ]. "
            words += "Set ignore_json_size to skip the check, although it may lead huge memory consuming."
            raise Refused("INTERNAL_ERROR", words)

    def _check_size(self, size: int) -> None:
        most = self.config.streaming_load_max_mb * MB
        if size > most:
            hint = "You can increase the limit by setting streaming_load_max_mb in be.conf."
            raise LoadFailed(f"body size {size} exceed limit: {most}. {hint}")

    def _die(self, request: Request, transaction: Transaction, fault: Fault) -> None:
        """Half the body is read. The frontend aborts what this backend was at once it knows, ``seconds`` later."""
        try:
            request.body(stop_after=max(1, request.length // 2)).close()
        except Interrupted as error:
            error.spool.close()
        self._contexts.die()
        self._transactions.lose_backend(fault.seconds)

    # /api/transaction/…

    def _transaction(self, request: Request, operation: str, fault: Fault | None) -> Answer | None:
        label = request.headers.get("label", "")
        database = request.headers.get("db", "")
        context_of = self._contexts.find(label)
        transaction = context_of.transaction if context_of else None
        try:
            if operation == "load":
                return self._load(request, label, database, fault)
            request.skip()
            if not label:
                raise Refused("INVALID_ARGUMENT", "empty label")
            if request.headers.get("transaction_type"):
                words = "Multi-statement transaction requests can only be sent to FE nodes, not BE nodes"
                raise Refused("INVALID_ARGUMENT", words)
            if fault is not None and fault.kind == "dead":
                self._contexts.die()
                self._transactions.lose_backend(fault.seconds)
                return None
            if fault is not None and fault.kind == "busy":
                raise Refused("TXN_IN_PROCESSING", BUSY)
            if operation == "begin":
                user = self._user(request)
                table, timeout = request.headers.get("table", ""), seconds_of(request.headers, "timeout")
                idle = seconds_of(request.headers, "idle_transaction_timeout") or -1
                made = self._contexts.begin(database, table, label, user, timeout, idle)
                assert made.transaction is not None
                return replies.begun(made.transaction)
            if fault is not None and fault.kind == "too_many_versions" and context_of is not None:
                self._contexts.failed(context_of, LoadFailed(too_many_versions(1001, 1000)))
                raise Refused("INTERNAL_ERROR", too_many_versions(1001, 1000))
            if operation == "prepare":
                timeout = seconds_of(request.headers, "prepared_timeout") if self._engine.version >= (3, 5, 4) else None
                return replies.ended(self._contexts.prepare(label, database, -1 if timeout is None else timeout))
            if operation == "commit":
                done, visible = self._contexts.commit(label, database, hold_of(fault))
                assert done is not None
                if not visible:
                    return replies.backend("PUBLISH_TIMEOUT", _NOT_YET, label)
                return replies.ended(done)
            if operation == "rollback":
                self._contexts.rollback(label, database)
                return replies.backend("OK", "", label)
            raise Refused("INVALID_ARGUMENT", f"unsupport transaction operation {operation}")
        except Interrupted as error:
            error.spool.close()
            return None
        except Refused as error:
            return replies.backend(error.status, error.message, label, existing=error.job_status)
        except LoadFailed as error:
            return replies.backend("INTERNAL_ERROR", error.message, label, transaction=transaction)

    def _load(self, request: Request, label: str, database: str, fault: Fault | None) -> Answer | None:
        if not label:
            raise Refused("INVALID_ARGUMENT", "Invalid label ")
        if fault is not None and fault.kind == "busy":
            raise Refused("TXN_IN_PROCESSING", BUSY)
        table = request.headers.get("table", "")
        context = self._contexts.enter(label, database, table, request.headers)
        try:
            transaction = context.transaction
            assert transaction is not None
            try:
                self._check_head(request)
                if fault is not None and fault.kind == "too_many_versions":
                    raise LoadFailed(too_many_versions(1001, 1000))
            except (LoadFailed, Refused) as error:
                self._contexts.failed(context, LoadFailed(error.message))
                raise
            if fault is not None and fault.kind == "dead":
                self._die(request, transaction, fault)
                return None
            try:
                body = request.body()
            except Interrupted as error:
                # The bytes that came stay in the pipe: free_handler_ctx gives back the lock, and does no more.
                self._contexts.receive(context, table, request.headers, error.spool, request.received, cut=True)
                return None
            self._contexts.receive(context, table, request.headers, body, request.received, cut=False)
        finally:
            self._contexts.leave(context, table)
        return replies.received(transaction, request.received)


_OURS = frozenset({"authorization", "expect", "host", "content-length", "transfer-encoding", "connection", "user-agent", "accept"})
"""Headers that are the transport's: they aren't kept with a body."""


def _load_headers(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name not in _OURS}


def hold_of(fault: Fault | None) -> float | None:
    """For how long a commit isn't published; no ``seconds``: until it is asked for."""
    if fault is None or fault.kind != "publish_timeout":
        return None
    return fault.seconds or math.inf


def seconds_of(headers: Mapping[str, str], name: str) -> int | None:
    given = headers.get(name)
    if not given:
        return None
    if not given.isascii() or not given.isdigit():
        raise Refused("INVALID_ARGUMENT", "Invalid timeout format")
    return int(given)
