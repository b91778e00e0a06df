"""What a stand-in of the PostgreSQL family brings to the proxy of :mod:`tidegate.sandbox.pgwire`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Refused(Exception):
    """The real server refuses the statement; the client gets this SQLSTATE and these words, and its transaction has failed.

    42601 is said of the grammar: the client gets it before anything of the same string runs, and in a failed transaction too.
    """

    def __init__(self, sqlstate: str, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.sqlstate, self.message, self.detail, self.hint = sqlstate, message, detail, hint


@dataclass(frozen=True)
class Rewritten:
    """What runs upstream instead. ``before`` and ``after`` run around the statement in its transaction, or in one with it where
    there is none; their results are swallowed, their errors sent on. After a COPY: once the rows are in, before its
    CommandComplete goes to the client.

    ``tag`` replaces the statement's CommandComplete; ``{rows}`` in it is the row count of the last of ``after`` with one.
    """

    statement: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tag: str = ""


class Lookup(Protocol):
    """Queries upstream in the client's own session: its search path, temporary tables and uncommitted tables count."""

    def rows(self, sql: str, params: Sequence[str | None] = ()) -> list[tuple[str | None, ...]]:
        """The rows of one query with parameters ``$1``, ``$2``, all values as PostgreSQL's text (``t``, ``f``, ``{1,2}``)."""
        ...


class Dialect(Protocol):
    """One system's ways. An instance serves all connections, from several threads."""

    server_version: str
    """ParameterStatus server_version."""

    def bootstrap(self) -> Sequence[str]:
        """SQL that a superuser runs in each upstream database before the first client's statement: catalogs, views, triggers.
        Each must do no harm where it ran before."""
        ...

    def rewrite(self, sql: str, catalog: Lookup) -> Rewritten:
        """One statement (no semicolon at its end) as upstream runs it; :class:`Refused` with the real server's words."""
        ...
