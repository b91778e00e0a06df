"""Merge commit: the loads of a table that come with the same headers inside of one window end in one transaction.

be ``runtime/batch_write/isomorphic_batch_write.cpp``: their bodies run together in one pipe. They succeed or fail as one, and each
is answered with the label and the id of their transaction; the label that it brought means nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from tidegate.sandbox.starrocks.labels import Transaction
from tidegate.sandbox.starrocks.staging import Piece

Outcome = tuple[str, str]
"""Status and message of a reply."""


@dataclass
class _Window:
    transaction: Transaction
    pieces: list[Piece] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome = ("Fail", "")


class MergeCommits:
    """The windows that are open. Thread-safe; who opens a window ends it, the others wait for that."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._lock = threading.Lock()
        self._open: dict[Hashable, _Window] = {}

    def load(
        self,
        same: Hashable,
        piece: Piece,
        seconds: float,
        begin: Callable[[], Transaction],
        commit: Callable[[Transaction, list[Piece]], Outcome],
    ) -> tuple[Transaction, Outcome]:
        """Returns when the window is over that ``piece`` came into: the one of what is the ``same``, or a new one.

        A new one begins with ``begin``, whose exceptions are let through, and ends with ``commit`` after so many seconds.
        """
        with self._lock:
            window = self._open.get(same)
            mine = window is None
            if window is None:
                window = self._open[same] = _Window(begin())
            window.pieces.append(piece)
        if mine:
            self._stopping.wait(seconds)
            with self._lock:
                del self._open[same]
            try:
                window.outcome = commit(window.transaction, window.pieces)
            finally:
                window.over.set()
        window.over.wait()
        return window.transaction, window.outcome
