"""The connections that loads and inspections share."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tidegate.errors import Unavailable
from tidegate.providers.postgres.session import Session

WAIT_SECONDS = 300.0
"""How long to wait for a connection where their number is bounded: longer than a page of a copy takes."""


class Pool:
    """Connections, each of one user at a time, kept for the next. Safe to share by threads.

    ``limit``: how many there may be, None for any number; ``setting`` is what an error calls it.
    """

    def __init__(
        self,
        connect: Callable[[], Session],
        name: str,
        limit: int | None = None,
        setting: str | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._connect, self._name = connect, name
        self._limit, self._setting, self._wait = limit, setting, wait_seconds
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._opening = 0
        self._free = threading.Condition()

    def take(self) -> Session:
        """A connection that nobody else uses. Unavailable if none became free in time."""
        with self._free:
            if not self._free.wait_for(self._has_room, self._wait):
                what = f"all {self._limit} connections for loads are in use, and none became free in {self._wait:.0f} s"
                raise Unavailable(what, connection=self._name, setting=self._setting)
            session = self._reserve()
        return session or self._open()

    def take_free(self) -> Session | None:
        """The same without waiting: None if there is none. For what can do without."""
        with self._free:
            if not self._has_room():
                return None
            session = self._reserve()
        return session or self._open()

    def give_back(self, session: Session) -> None:
        """Done with it. A closed one is forgotten; one that isn't known (any more) is left alone."""
        with self._free:
            if session in self._busy:
                self._busy.discard(session)
                if not session.closed:
                    self._idle.append(session)
                self._free.notify()

    def close(self) -> None:
        """Close all, those in use too; what was not committed is undone."""
        with self._free:
            sessions = [*self._idle, *self._busy]
            self._idle, self._busy = [], set()
            self._free.notify_all()
        for session in sessions:
            session.close()

    def _has_room(self) -> bool:
        return bool(self._idle) or self._limit is None or len(self._busy) + self._opening < self._limit

    def _reserve(self) -> Session | None:
        """An idle one, or the right to open another."""
        if self._idle:
            session = self._idle.pop()
            self._busy.add(session)
            return session
        self._opening += 1
        return None

    def _open(self) -> Session:
        session: Session | None = None
        try:
            session = self._connect()
            return session
        finally:
            with self._free:
                self._opening -= 1
                if session is not None:
                    self._busy.add(session)
                else:
                    self._free.notify()
