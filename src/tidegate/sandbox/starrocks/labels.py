"""The labels of a database: every load has one, and one that succeeded can't be used again while it is remembered.

Rules: fe-core ``transaction/DatabaseTransactionMgr.java`` (beginTransaction, removeExpiredTxns, getLabelStatus): an aborted label
may be used again, the newest transaction of a label counts, finished ones are forgotten ``label_keep_max_second`` after their end,
and from ``label_keep_max_num`` of a database on, oldest first.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from tidegate.sandbox.starrocks.config import FrontendConfig
from tidegate.sandbox.starrocks.faults import Clock

State = Literal["PREPARE", "PREPARED", "COMMITTED", "VISIBLE", "ABORTED"]
FINAL: frozenset[str] = frozenset({"VISIBLE", "ABORTED"})
FIRST_ID = 1001


@dataclass
class Transaction:
    """A load. Times are seconds since the epoch, 0 for what hasn't happened yet; time-outs are seconds, -1 for none of its own."""

    id: int
    label: str
    database: str
    tables: list[str]
    state: State = "PREPARE"
    timeout: int = 600
    idle_timeout: int = -1
    prepared_timeout: int = -1
    multi: bool = False
    kind: Literal["stream_load", "transaction", "insert"] = "stream_load"
    user: str = ""
    began: float = 0.0
    touched: float = 0.0
    prepared: float = 0.0
    committed: float = 0.0
    finished: float = 0.0
    reason: str = ""
    """Why it was aborted."""
    total_rows: int = 0
    loaded_rows: int = 0
    filtered_rows: int = 0
    unselected_rows: int = 0
    load_bytes: int = 0
    error_url: str = ""
    pieces: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    """Of a prepared or committed one that outlives its process: table, headers, name of the body's file."""

    @property
    def job_status(self) -> str:
        """RUNNING or FINISHED, as ``ExistingJobStatus`` says (LabelAlreadyUsedException.java)."""
        return "FINISHED" if self.state in ("COMMITTED", "VISIBLE") else "RUNNING"


class LabelBook:
    """All transactions that are remembered. Thread-safe by :attr:`lock`, which is re-entrant and is held over a change and its
    :meth:`save`. With a ``path`` (a SQLite file) they outlive the process."""

    def __init__(self, config: FrontendConfig, clock: Clock, path: Path | None = None) -> None:
        self.lock = threading.RLock()
        self._config = config
        self._clock = clock
        self._by_id: dict[int, Transaction] = {}
        self._by_label: dict[tuple[str, str], list[int]] = {}
        self._open: dict[int, Transaction] = {}
        self._ended: dict[str, deque[Transaction]] = {}
        """By database, in the order of their ends."""
        self._next = FIRST_ID
        self._file = None if path is None else sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        if self._file is not None:
            self._file.execute("CREATE TABLE IF NOT EXISTS transactions (id INTEGER PRIMARY KEY, body TEXT)")
            self._file.execute("CREATE TABLE IF NOT EXISTS next_id (id INTEGER)")
            stored = [Transaction(**json.loads(body)) for (body,) in self._file.execute("SELECT body FROM transactions").fetchall()]
            for each in sorted(stored, key=lambda each: each.id):
                self._keep(each)
            for each in sorted(stored, key=lambda each: (each.finished, each.id)):
                self._sort(each)
            row = self._file.execute("SELECT max(id) FROM next_id").fetchone()
            self._next = row[0] or FIRST_ID

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, label: str, database: str, tables: list[str]) -> Transaction:
        """A new transaction in PREPARE, with the next id. The caller has checked the label under the same lock."""
        with self.lock:
            now = self._clock.now()
            made = Transaction(self._next, label, database, tables, began=now, touched=now)
            self._next += 1
            self._keep(made)
            return made

    def save(self, transaction: Transaction) -> None:
        """To be called after each change."""
        with self.lock:
            self._sort(transaction)
            if self._file is not None:
                body = json.dumps(asdict(transaction))
                self._file.execute("BEGIN")
                self._file.execute("INSERT OR REPLACE INTO transactions VALUES (?, ?)", (transaction.id, body))
                self._file.execute("DELETE FROM next_id")
                self._file.execute("INSERT INTO next_id VALUES (?)", (self._next,))
                self._file.execute("COMMIT")

    def find(self, database: str, label: str) -> Transaction | None:
        """The newest transaction under a label; None for a label that is unknown, or forgotten."""
        with self.lock:
            self.expire()
            ids = self._by_label.get((database, label))
            return self._by_id[ids[-1]] if ids else None

    def get(self, id: int) -> Transaction | None:
        """The transaction of this id."""
        with self.lock:
            self.expire()
            return self._by_id.get(id)

    def all(self, database: str | None = None) -> list[Transaction]:
        """Of a database, or of all: oldest first."""
        with self.lock:
            self.expire()
            return [each for each in self._by_id.values() if database in (None, each.database)]

    def open(self) -> list[Transaction]:
        """Those that have not come to their end: oldest first."""
        with self.lock:
            return list(self._open.values())

    def running(self, database: str) -> int:
        """How many of this database have not come to their end."""
        return sum(each.database == database for each in self.open())

    def expire(self) -> None:
        """Forget what is too old, or too much."""
        with self.lock:
            seconds, most = self._config.number("label_keep_max_second"), self._config.number("label_keep_max_num")
            now = self._clock.now()
            for ended in self._ended.values():
                while ended and (len(ended) > most or now - ended[0].finished > seconds):
                    self._forget(ended.popleft())

    def drop_database(self, database: str) -> None:
        """Its labels go with a database."""
        with self.lock:
            self._ended.pop(database, None)
            for each in [each for each in self._by_id.values() if each.database == database]:
                self._forget(each)

    def _keep(self, transaction: Transaction) -> None:
        self._by_id[transaction.id] = transaction
        self._by_label.setdefault((transaction.database, transaction.label), []).append(transaction.id)
        self._open[transaction.id] = transaction

    def _sort(self, transaction: Transaction) -> None:
        if transaction.state in FINAL and self._open.pop(transaction.id, None) is not None:
            self._ended.setdefault(transaction.database, deque()).append(transaction)

    def _forget(self, transaction: Transaction) -> None:
        del self._by_id[transaction.id]
        self._open.pop(transaction.id, None)
        place = (transaction.database, transaction.label)
        self._by_label[place].remove(transaction.id)
        if not self._by_label[place]:
            del self._by_label[place]
        if self._file is not None:
            self._file.execute("DELETE FROM transactions WHERE id = ?", (transaction.id,))
