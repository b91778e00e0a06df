"""What a session asks of a driver. psycopg2 is one; a system whose login it can't speak brings its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Params = Sequence[Any] | Mapping[str, Any]
"""What ``%s``, or ``%(name)s``, stands for in a statement."""


class Readable(Protocol):
    """What COPY FROM STDIN reads."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """What COPY TO STDOUT writes to."""

    def write(self, rows: bytes, /) -> int: ...


class Driver(Protocol):
    """A connection. A transaction begins with the first statement. Every error is a DriverError, without a cause."""

    @property
    def closed(self) -> bool:
        """True once it was closed or found to be lost."""

    def run(self, statement: str, params: Params | None) -> int:
        """How many rows the statement touched; the last one's, if they are several."""

    def rows(self, statement: str, params: Params | None) -> list[tuple[Any, ...]]:
        """The rows of the statement's result."""

    def copy_in(self, statement: str, source: Readable) -> int:
        """How many rows arrived. An exception of ``source`` ends the COPY and is raised as it is."""

    def copy_out(self, statement: str, sink: Writable) -> None:
        """``sink`` gets whole rows, one or more at a time."""

    def literals(self, row: Sequence[str | None]) -> str:
        """The values as SQL literals, comma separated."""

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...
