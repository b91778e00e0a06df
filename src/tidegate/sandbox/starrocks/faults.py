"""Faults on demand: what goes wrong with the n-th request that matches, and a clock that can be put forward."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Kind = Literal["lost_reply", "dead", "slow", "publish_timeout", "too_many_versions", "refuse", "busy"]
"""lost_reply: the request takes effect, the connection ends without an answer. dead: the backend goes away in the middle of the
body (once at its end, for a request without one), nothing takes effect. slow: the answer comes after ``seconds``.
publish_timeout: a commit stays COMMITTED until :meth:`Sandbox.publish` or for ``seconds``. too_many_versions: the load fails with
these words. refuse: the connection is closed before the request is read. busy: TXN_IN_PROCESSING."""

Operation = Literal["stream_load", "begin", "load", "prepare", "commit", "rollback", "state", "cancel", "any"]

Place = Literal["fe", "be", "any"]


@dataclass
class Fault:
    """What to do to a request: the ``nth`` that matches (1: the next one), and the ``times - 1`` after it."""

    kind: Kind
    on: Operation = "any"
    at: Place = "any"
    """any: where the request is really done, and not where it is only redirected. fe: also the frontend's redirect."""
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    label: str = ""
    """Only requests whose label begins with this."""
    seen: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        for value, known in ((self.kind, Kind), (self.on, Operation), (self.at, Place)):
            if value not in get_args(known):
                raise ValueError(f"{value} is none of {', '.join(get_args(known))}")


class Faults:
    """The faults that were asked for, in order; each request meets at most one. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, kind: Kind, **fields: Any) -> Fault:
        """Ask for a fault; fields as :class:`Fault`'s. TypeError for one that there is none of, ValueError for its value."""
        fault = Fault(kind, **fields)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def meet(self, place: Literal["fe", "be"], operation: str, label: str = "", *, redirected: bool = False) -> Fault | None:
        """The fault of this request, which is thereby counted."""
        with self._lock:
            for fault in self._faults:
                if fault.on not in ("any", operation) or not label.startswith(fault.label):
                    continue
                if fault.at != place and (fault.at != "any" or redirected):
                    continue
                fault.seen += 1
                if fault.nth <= fault.seen < fault.nth + fault.times:
                    fault.hits += 1
                    return fault
        return None


class Clock:
    """Seconds since the epoch, by a clock that can be put forward: labels expire and transactions time out by it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead = 0.0

    def now(self) -> float:
        with self._lock:
            return time.time() + self._ahead

    def forward(self, seconds: float) -> None:
        """Put it forward; ValueError for a step back."""
        if seconds < 0:
            raise ValueError("the clock goes forward only")
        with self._lock:
            self._ahead += seconds
