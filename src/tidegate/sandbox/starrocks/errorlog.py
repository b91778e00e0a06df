"""The lines that an ErrorURL leads to."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence

KEPT = 1000
"""Of so many loads; older ones are removed, as load_error_log_reserve_hours does."""


class ErrorLogs:
    """Error logs by the name of their file. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[str, str] = {}

    def put(self, lines: Sequence[str]) -> str:
        """The name under which they are found."""
        name = f"error_log_{uuid.uuid4().hex}"
        with self._lock:
            self._logs[name] = "".join(f"{line}\n" for line in lines)
            while len(self._logs) > KEPT:
                del self._logs[next(iter(self._logs))]
        return name

    def get(self, name: str) -> str | None:
        with self._lock:
            return self._logs.get(name)
