"""What a frontend does with loads: begin, prepare, commit, publish, abort, and the time-outs.

Rules: fe-core ``transaction/DatabaseTransactionMgr.java``, ``service/FrontendServiceImpl.java`` (loadTxnBegin), be
``runtime/stream_load/transaction_mgr.cpp`` (time-outs). Messages are StarRocks' own where a client may look at them.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from typing import Literal

from tidegate.sandbox.starrocks.config import FrontendConfig
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.faults import Clock
from tidegate.sandbox.starrocks.labels import LabelBook, Transaction
from tidegate.sandbox.starrocks.model import LoadFailed, Staged
from tidegate.sandbox.starrocks.users import Users

_log = logging.getLogger(__name__)

_LABEL = re.compile(r"[-\w]{1,128}", re.ASCII)
"""FeNameFormat.java: ``LABEL_REGEX = "^[-\\w]{1,128}$"``."""

ENDED = "coordinate BE is down"
"""Why a transaction was aborted whose backend has gone (GlobalTransactionMgr.abortTxnWhenCoordinateBeDown)."""


class Refused(Exception):
    """A load, or a step of one, that is refused: ``status`` is a TStatusCode's name, as the transaction interface says it."""

    def __init__(self, status: str, message: str, *, job_status: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.job_status = job_status


class Transactions:
    """Begins and ends loads. Every step looks first at what has timed out meanwhile. Thread-safe, by the lock of the labels."""

    def __init__(
        self,
        engine: Engine,
        labels: LabelBook,
        users: Users,
        config: FrontendConfig,
        clock: Clock,
        restage: Callable[[Transaction], list[Staged]],
        *,
        kept: bool = False,
    ) -> None:
        """``restage`` makes the rows of a prepared transaction again; ``kept``: there is somebody to ask it after a crash."""
        self._engine = engine
        self._labels = labels
        self._users = users
        self._config = config
        self._clock = clock
        self._restage = restage
        self._kept = kept
        self._staged: dict[int, list[Staged]] = {}
        self._held: dict[int, float] = {}
        self._lost: dict[int, float] = {}

    def recover(self) -> None:
        """After a restart: what was being received is lost with its backend, what was prepared or committed goes on.

        Rows that were published just before the end tell it themselves, whatever is written of their transaction.
        """
        published = self._engine.published()
        for each in self._labels.open():
            if each.id in published:
                self._visible(each)
            elif each.state == "PREPARE":
                self.abort(each, ENDED)
            elif each.state in ("PREPARED", "COMMITTED"):
                self._staged[each.id] = self._restage(each)
        self.tick()

    def check(self, database: str, table: str, user: str) -> None:
        """May this user load into this table, and is there one?"""
        if not self._users.may(user, "INSERT", database, table):
            raise Refused("ANALYSIS_ERROR", denied(table))
        if database not in self._engine.databases():
            raise Refused("ANALYSIS_ERROR", f"unknown database, database={database}")
        if self._engine.table(database, table) is None:
            raise Refused("ANALYSIS_ERROR", f'unknown table "{database}.{table}"')

    def check_label(self, database: str, label: str) -> None:
        """Can a load begin under this label?"""
        if not _LABEL.fullmatch(label):
            raise Refused("ANALYSIS_ERROR", f"Label format error. regex: ^[-\\w]{{1,128}}$, label: {label}")
        there = self._labels.find(database, label)
        if there is not None and there.state != "ABORTED":
            words = f"Label [{label}] has already been used."
            raise Refused("LABEL_ALREADY_EXISTS", words, job_status=there.job_status)

    def check_timeout(self, given: int | None) -> int:
        """The time-out of a load in seconds, or else the default."""
        if given is None:
            return self._config.number("stream_load_default_timeout_second")
        least, most = self._config.number("min_load_timeout_second"), self._config.number("max_stream_load_timeout_second")
        if not least <= given <= most:
            raise Refused("ANALYSIS_ERROR", f"Invalid timeout. Timeout should between {least} and {most} seconds")
        return given

    def begin(
        self,
        database: str,
        tables: Sequence[str],
        label: str,
        kind: Literal["stream_load", "transaction"],
        user: str,
        timeout: int | None = None,
        idle_timeout: int = -1,
        multi: bool = False,
    ) -> Transaction:
        """A transaction in PREPARE; Refused for a label in use, a time-out out of range, too many of them in the database."""
        with self._labels.lock:
            self.tick()
            seconds = self.check_timeout(timeout)
            self.check_label(database, label)
            running, most = self._labels.running(database), self._config.number("max_running_txn_num_per_db")
            if running >= most:
                words = f"current running txns on db {database} is {running}, larger than limit {most}"
                raise Refused("ANALYSIS_ERROR", words)
            made = self._labels.add(label, database, list(tables))
            made.kind, made.user, made.timeout, made.idle_timeout, made.multi = kind, user, seconds, idle_timeout, multi
            self._labels.save(made)
            return made

    def touch(self, transaction: Transaction) -> None:
        """Something was done in it: the idle time begins anew. Refused if it was aborted meanwhile."""
        with self._labels.lock:
            self.tick()
            self._running(transaction)
            transaction.touched = self._clock.now()

    def prepare(
        self,
        transaction: Transaction,
        staged: Sequence[Staged],
        prepared_timeout: int = -1,
        pieces: Sequence[tuple[str, dict[str, str], str]] = (),
    ) -> None:
        """PREPARE becomes PREPARED: the rows are safe, and seen by nobody."""
        with self._labels.lock:
            self.tick()
            self._running(transaction)
            self._check_versions(transaction)
            self._engine.check(staged)
            self._staged[transaction.id] = list(staged)
            transaction.state, transaction.prepared = "PREPARED", self._clock.now()
            transaction.prepared_timeout, transaction.pieces = prepared_timeout, list(pieces)
            self._labels.save(transaction)

    def commit(self, transaction: Transaction, staged: Sequence[Staged] | None = None, hold: float | None = None) -> bool:
        """Commit what was staged, and publish it. True if its rows can be seen now.

        ``staged``: of a load that wasn't prepared. ``hold``: don't publish for so many seconds; :data:`math.inf`: until
        :meth:`publish`. Refused with PUBLISH_TIMEOUT never: that is the caller's word for False.
        """
        with self._labels.lock:
            self.tick()
            self._running(transaction, prepared=staged is None)
            if staged is not None:
                self._check_versions(transaction)
                self._engine.check(staged)
                self._staged[transaction.id] = list(staged)
            transaction.state, transaction.committed = "COMMITTED", self._clock.now()
            if hold is not None:
                self._held[transaction.id] = self._clock.now() + hold
                self._labels.save(transaction)
            self._publish()
            return transaction.id not in self._staged

    def abort(self, transaction: Transaction, reason: str) -> None:
        """PREPARE or PREPARED becomes ABORTED; in any other state nothing happens."""
        with self._labels.lock:
            if transaction.state not in ("PREPARE", "PREPARED"):
                return
            transaction.state, transaction.reason, transaction.finished = "ABORTED", reason, self._clock.now()
            self._staged.pop(transaction.id, None)
            self._lost.pop(transaction.id, None)
            self._labels.save(transaction)

    def lose_backend(self, seconds: float) -> None:
        """The backend is gone: the frontend aborts what it was receiving once it knows, after so many seconds of the clock."""
        with self._labels.lock:
            for each in self._labels.open():
                if each.state == "PREPARE":
                    self._lost.setdefault(each.id, self._clock.now() + seconds)
            self.tick()

    def publish(self) -> int:
        """Publish what was held back, now. How many transactions became visible."""
        with self._labels.lock:
            self._held.clear()
            return self._publish()

    def tick(self) -> None:
        """Abort what has timed out, publish what is due, forget old labels."""
        with self._labels.lock:
            now = self._clock.now()
            self._labels.expire()
            for each in self._labels.open():
                if each.state == "PREPARE":
                    if self._lost.get(each.id, math.inf) <= now:
                        self.abort(each, ENDED)
                        continue
                    idle = each.idle_timeout > 0 and now - each.touched > each.idle_timeout
                    if idle or now - each.began > each.timeout:
                        self.abort(each, "transaction is aborted by timeout.")
                elif each.state == "PREPARED":
                    most = each.prepared_timeout
                    if most < 0:
                        most = self._config.number("prepared_transaction_default_timeout_second")
                    if now - each.prepared > most:
                        self.abort(each, "timeout by txn manager")
            self._publish()

    def _running(self, transaction: Transaction, *, prepared: bool = False) -> None:
        wanted = "PREPARED" if prepared else "PREPARE"
        if transaction.state != wanted:
            raise Refused("INTERNAL_ERROR", transaction.reason or f"transaction {transaction.id} is {transaction.state}")

    def _check_versions(self, transaction: Transaction) -> None:
        """A tablet that has too many versions refuses the write (delta_writer.cpp), long before the commit."""
        for table in transaction.tables:
            held, most = self._engine.versions(transaction.database, table), self._engine.tablet_max_versions
            if held > most:
                raise LoadFailed(too_many_versions(held, most))

    def _publish(self) -> int:
        """In the order of the commits: one that is held back holds the later ones of its tables back too."""
        waiting = sorted(
            (each for each in self._labels.open() if each.state == "COMMITTED" and each.id in self._staged),
            key=lambda each: (each.committed, each.id),
        )
        blocked: set[tuple[str, str]] = set()
        done = 0
        for each in waiting:
            tables = {(each.database, table) for table in each.tables}
            if blocked & tables or self._held.get(each.id, -math.inf) > self._clock.now():
                blocked |= tables
                continue
            # A table that was dropped meanwhile takes its rows along.
            staged = [one for one in self._staged[each.id] if self._engine.table(one.db, one.table) is not None]
            try:
                self._engine.publish(staged, each.id if self._kept else None)
            except LoadFailed as error:
                _log.warning("transaction %s stays committed: %s", each.id, error)
                blocked |= tables
                continue
            del self._staged[each.id]
            self._held.pop(each.id, None)
            self._visible(each)
            done += 1
        return done

    def _visible(self, transaction: Transaction) -> None:
        transaction.state, transaction.finished, transaction.pieces = "VISIBLE", self._clock.now(), []
        self._labels.save(transaction)


def denied(table: str) -> str:
    """A missing privilege, in the words of StarRocks 3 (ErrorCode.ERR_ACCESS_DENIED_FOR_EXTERNAL_ACCESS_CONTROLLER)."""
    return (
        f"Access denied; you need (at least one of) the INSERT privilege(s) on TABLE {table} for this operation. "
        "Please ask the admin to grant permission(s) or try activating existing roles using <set [default] role>. "
        "Current role(s): NONE. Inactivated role(s): NONE."
    )


def too_many_versions(held: int, most: int) -> str:
    """As a tablet says it that compaction hasn't kept up with (delta_writer.cpp, since 2.5)."""
    return (
        f"Failed to load data into tablet 10101, because of too many versions, current/limit: {held}/{most}. "
        "You can reduce the loading job concurrency, or increase loading data batch size."
    )
