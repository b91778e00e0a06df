"""Transactions of the transaction interface while they are open: what the backend keeps of each between two requests.

be ``runtime/stream_load/transaction_mgr.cpp`` and ``http/action/transaction_stream_load.cpp``; for several tables fe
``load/streamload/StreamLoadMultiStmtTask.java``, whose state the frontend keeps. Contexts are found by the label alone,
whatever the database. An error in a step rolls the transaction back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from tidegate.sandbox.starrocks import staging
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.labels import LabelBook, Transaction
from tidegate.sandbox.starrocks.model import LoadFailed, Staged
from tidegate.sandbox.starrocks.staging import Piece, Shelf
from tidegate.sandbox.starrocks.transactions import Refused, Transactions, too_many_versions

BUSY = "Transaction in processing, please retry later"


@dataclass
class Context:
    """An open transaction. Of one table there is one lock, of several one for each table."""

    label: str
    database: str
    table: str
    user: str
    multi: bool
    timeout: int | None
    began: float
    transaction: Transaction | None = None
    """None with several tables until the first load: till then nobody but this context knows the label."""
    pieces: list[Piece] = field(default_factory=list)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    locks: dict[str, threading.Lock] = field(default_factory=dict)
    committed: bool = False

    def close(self) -> None:
        for piece in self.pieces:
            piece.body.close()
        self.pieces = []


class Contexts:
    """The open transactions, and the steps that they go through."""

    def __init__(
        self,
        engine: Engine,
        labels: LabelBook,
        transactions: Transactions,
        error_url: Callable[[LoadFailed], str],
        shelf: Shelf | None,
        now: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._labels = labels
        self._transactions = transactions
        self._error_url = error_url
        self._shelf = shelf
        self._now = now
        self._lock = threading.RLock()
        self._open: dict[str, Context] = {}

    def find(self, label: str) -> Context | None:
        """The open transaction of this label; one that was aborted meanwhile is none."""
        self._transactions.tick()
        with self._lock:
            context = self._open.get(label)
            if context is None:
                return None
            if context.committed:
                return context if self._remembered(context) else None
            gone = context.transaction is not None and context.transaction.state != "PREPARE"
            late = context.transaction is None and self._now() - context.began > self._transactions.check_timeout(context.timeout)
            if gone or late:
                self._drop(context)
                return None
            return context

    def begin(
        self, database: str, table: str, label: str, user: str, timeout: int | None, idle_timeout: int = -1, multi: bool = False
    ) -> Context:
        """Open one. With several tables (``multi``) the label is taken at the first load."""
        with self._lock:
            there = self.find(label)
            if there is not None:
                words = f"Label [{label}] has already been used."
                raise Refused("LABEL_ALREADY_EXISTS", words, job_status="FINISHED" if there.committed else "RUNNING")
            made = Context(label, database, table, user, multi, timeout, self._now())
            if multi:
                self._transactions.check_timeout(timeout)
                self._transactions.check_label(database, label)
            else:
                self._transactions.check(database, table, user)
                made.transaction = self._transactions.begin(database, [table], label, "transaction", user, timeout, idle_timeout)
            self._open[label] = made
            return made

    def enter(self, label: str, database: str, table: str, headers: Mapping[str, str]) -> Context:
        """Begin a load, before its body is read: the table is locked till :meth:`leave`."""
        context = self.find(label)
        if context is None or context.committed:
            raise Refused("TXN_NOT_EXISTS", f"Transaction with label {label} not exists")
        if context.database != database:
            raise Refused("INVALID_ARGUMENT", f"Request database {database} not equal transaction database {context.database}")
        if not context.multi and context.table != table:
            raise Refused("INVALID_ARGUMENT", f"Request table {table} not equal transaction table {context.table}")
        with self._lock:
            lock = context.locks.setdefault(table if context.multi else "", threading.Lock())
        if not lock.acquire(blocking=False):
            raise Refused("TXN_IN_PROCESSING", BUSY)
        try:
            self._open_load(context, table, headers)
        except (Refused, LoadFailed) as error:
            lock.release()
            self._fail(context, error.message)
            raise
        return context

    def leave(self, context: Context, table: str) -> None:
        """The load is over, one way or the other."""
        context.locks[table if context.multi else ""].release()

    def receive(self, context: Context, table: str, headers: Mapping[str, str], body: BinaryIO, size: int, *, cut: bool) -> None:
        """Keep a body, also one that broke off: its bytes are in the pipe. The context closes it."""
        kept = staging.honoured(headers, self._engine.version, multi=context.multi)
        transaction = context.transaction
        assert transaction is not None
        context.pieces.append(Piece(table, kept, body, size, cut))
        transaction.load_bytes += size
        try:
            if not cut:
                self._transactions.touch(transaction)
        finally:
            with self._lock:
                if self._open.get(context.label) is not context:
                    context.close()

    def prepare(self, label: str, database: str, prepared_timeout: int) -> Transaction:
        """The rows are parsed, counted and kept; the backend forgets the transaction."""
        context, locks = self._lock_all(label, database)
        try:
            staged = self._parse(context)
            assert context.transaction is not None
            kept = self._shelf.put(context.transaction, context.pieces) if self._shelf else []
            self._ending(context, lambda made: self._transactions.prepare(made, staged, prepared_timeout, kept))
            with self._lock:
                self._drop(context)
            return context.transaction
        finally:
            for lock in locks:
                lock.release()

    def commit(self, label: str, database: str, hold: float | None = None) -> tuple[Transaction | None, bool]:
        """Without ``prepare``. The transaction (None: of several tables, without a load), and whether its rows can be seen."""
        context, locks = self._lock_all(label, database)
        try:
            visible = True
            if context.transaction is not None or not context.multi:
                staged = self._parse(context)
                assert context.transaction is not None
                if self._shelf is not None and hold is not None:
                    context.transaction.pieces = self._shelf.put(context.transaction, context.pieces)
                results: list[bool] = []
                self._ending(context, lambda made: results.append(self._transactions.commit(made, staged, hold)))
                visible = results[0]
            with self._lock:
                context.committed = True
                context.close()
                if not context.multi:
                    self._drop(context)
            return context.transaction, visible
        finally:
            for lock in locks:
                lock.release()

    def rollback(self, label: str, database: str) -> Transaction | None:
        """None for one of several tables without a load."""
        context = self.find(label)
        if context is None:
            raise Refused("TXN_NOT_EXISTS", f"transaction with label {label} not exists")
        if context.database != database:
            raise Refused("INVALID_ARGUMENT", f"request db {database} transaction db {context.database} not match")
        if context.committed:
            number = context.transaction.id if context.transaction else -1
            raise Refused("FAILED", f"Can not abort VISIBLE transaction {number}, label is {label}")
        self._fail(context, "transaction is aborted by user.")
        return context.transaction

    def die(self) -> None:
        """The backend is gone, and all that it had in its memory. One of several tables without a load is the frontend's alone."""
        with self._lock:
            for context in list(self._open.values()):
                if context.transaction is not None and not context.committed:
                    self._drop(context)

    def close(self) -> None:
        with self._lock:
            for context in list(self._open.values()):
                self._drop(context)

    def _remembered(self, context: Context) -> bool:
        """One of several tables is known as long as its label; without a load it has none, and is known as long as it is open."""
        if context.transaction is not None and self._labels.get(context.transaction.id) is not None:
            return True
        if context.transaction is None and self._now() - context.began <= self._transactions.check_timeout(context.timeout):
            return True
        self._drop(context)
        return False

    def _open_load(self, context: Context, table: str, headers: Mapping[str, str]) -> None:
        self._transactions.check(context.database, table, context.user)
        known = staging.honoured(headers, self._engine.version, multi=context.multi)
        parameters = {name: value for name, value in known.items() if name in staging.PARAMETERS}
        first = context.parameters.setdefault(table, parameters)
        if first != parameters:
            raise Refused("INTERNAL_ERROR", "load request not equal last.")
        staging.check_plan(self._engine, context.database, table, known)
        if context.transaction is None:
            with self._lock:
                if context.transaction is None:
                    context.transaction = self._transactions.begin(
                        context.database, [], context.label, "transaction", context.user, context.timeout, multi=True
                    )
        transaction = context.transaction
        self._transactions.touch(transaction)
        if table not in transaction.tables:
            with self._labels.lock:
                transaction.tables.append(table)
                self._labels.save(transaction)
        held, most = self._engine.versions(context.database, table), self._engine.tablet_max_versions
        if held > most:
            raise LoadFailed(too_many_versions(held, most))

    def _lock_all(self, label: str, database: str) -> tuple[Context, list[threading.Lock]]:
        context = self.find(label)
        if context is None or (context.committed and not context.multi):
            raise Refused("TXN_NOT_EXISTS", f"transaction with label {label} not exists")
        if context.database != database:
            raise Refused("INVALID_ARGUMENT", f"request db {database} transaction db {context.database} not match")
        with self._lock:
            wanted = list(context.locks.values()) or [context.locks.setdefault("", threading.Lock())]
        held: list[threading.Lock] = []
        for lock in wanted:
            if not lock.acquire(blocking=False):
                for one in held:
                    one.release()
                raise Refused("TXN_IN_PROCESSING", BUSY)
            held.append(lock)
        return context, held

    def _parse(self, context: Context) -> list[Staged]:
        transaction = context.transaction
        assert transaction is not None
        try:
            if not context.pieces:
                brief = f"job_id=-1, txn_id: {transaction.id}, label={context.label}, db={context.database}"
                raise Refused("INTERNAL_ERROR", f"transaction {brief} hasn't send any data yet")
            staged = staging.stage(self._engine, context.database, context.pieces)
        except LoadFailed as error:
            self.failed(context, error)
            raise
        except Refused as error:
            self._fail(context, error.message)
            raise
        staging.count(transaction, staged)
        if any(each.error_lines for each in staged):
            lines = [line for each in staged for line in each.error_lines]
            transaction.error_url = self._error_url(LoadFailed("", lines))
        return staged

    def failed(self, context: Context, error: LoadFailed) -> None:
        """Note what the scanner counted, and roll back."""
        transaction = context.transaction
        if transaction is not None:
            transaction.total_rows, transaction.loaded_rows = error.total, error.loaded
            transaction.filtered_rows, transaction.unselected_rows = error.filtered, error.unselected
            if error.error_lines:
                transaction.error_url = self._error_url(error)
        self._fail(context, error.message)

    def _ending(self, context: Context, step: Callable[[Transaction], object]) -> None:
        assert context.transaction is not None
        try:
            step(context.transaction)
        except LoadFailed as error:
            self.failed(context, error)
            raise
        except Refused as error:
            self._fail(context, error.message)
            raise

    def _fail(self, context: Context, reason: str) -> None:
        if context.transaction is not None:
            self._transactions.abort(context.transaction, reason)
        with self._lock:
            self._drop(context)

    def _drop(self, context: Context) -> None:
        if self._open.get(context.label) is context:
            del self._open[context.label]
        context.close()
