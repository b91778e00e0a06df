"""Labels: what became of one, and how long to wait until that is known."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, cast, get_args
from urllib.parse import quote

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, LoadUnresolved, PreflightError, TidegateError, TransientError, Unavailable
from tidegate.providers.starrocks.continue_ import Answer
from tidegate.providers.starrocks.http import Http
from tidegate.providers.starrocks.reply import LabelState, Reply
from tidegate.providers.starrocks.verdict import failure, fields, masked, parsed, permanent

log = logging.getLogger(__name__)

_STATES = frozenset(get_args(LabelState))

PATIENCE = 60.0
"""Seconds for which a state that will change is waited for, as in the vendor's SDK (DefaultStreamLoader.getLabelState)."""


class Patience:
    """Pauses that grow to ``longest`` seconds, :data:`PATIENCE` in all."""

    def __init__(self, pause: Callable[[float], None], first: float = 0.1, longest: float = 5.0) -> None:
        self._pause = pause
        self._next = first
        self._longest = longest
        self._left = PATIENCE

    def again(self) -> bool:
        """False when it is used up, else True after a pause."""
        if self._left <= 0:
            return False
        seconds = min(self._next, self._longest, self._left)
        self._pause(seconds)
        self._left -= seconds
        self._next *= 2
        return True


class Labels:
    """State and cancel, over the frontends. Safe to use from several threads. ``pause`` is time.sleep but in tests."""

    def __init__(self, http: Http, values: Mapping[str, Any], name: str, pause: Callable[[float], None] = time.sleep) -> None:
        self.http = http
        self.values = values
        self.name = name
        self.pause = pause

    def state(self, database: str, label: str) -> LabelState:
        """What the frontend knows of a label. UNKNOWN: it was never used, or is forgotten (label_keep_max_second, …_num).

        Unavailable or LoadUnresolved if nobody answers; PreflightError and SchemaError as for a load.
        """
        answer = self.http.call("GET", f"/api/{quote(database, safe='')}/get_load_state?label={quote(label, safe='')}", brief=True)
        state = str(fields(answer.body).get("state", "")).upper()
        if state in _STATES:
            return cast(LabelState, state)
        reply = parsed(answer.body)
        if permanent(reply):
            raise failure(reply, connection=self.name, table=None, label=label)
        said = f"state {state[:40]!r}" if state else masked(reply.message)[:200]
        raise Unavailable(
            f"{answer.address} does not tell what became of label {label}: HTTP {answer.status} {said}", connection=self.name
        )

    def settled(self, database: str, label: str, running: tuple[LabelState, ...] = ("PREPARE",)) -> LabelState:
        """Its state once it is none of ``running``. LoadUnresolved if it stays so, or nobody tells, for :data:`PATIENCE`."""
        patience = Patience(self.pause)
        told = ""
        while True:
            try:
                state = self.state(database, label)
            except TransientError as error:
                told = str(error)
            else:
                if state not in running:
                    return state
                told = f"is still {state}"
            if not patience.again():
                raise LoadUnresolved(f"label {label} of {database}: {told}", connection=self.name)

    def cancel(self, database: str, label: str) -> LabelState:
        """Aborts the transaction of a label that was neither committed nor aborted, and returns the state that it then has.

        For one that rollback can't reach: its backend is gone. The server reads the label from the path in older versions
        (CancelStreamLoad.java) and from the query in newer ones (CancelStreamLoadAction.java); it stands in both here.
        """
        text = quote(label, safe="")
        try:
            self.http.call("POST", f"/api/{quote(database, safe='')}/{text}/_cancel?label={text}", brief=True)
        except TransientError as error:
            # The state tells whether it was done.
            log.info("starrocks %s: cancel of label %s: %s", self.name, label, error)
        return self.state(database, label)

    def rejected(self, reply: Reply) -> list[str]:
        """The lines of a reply's ErrorURL: a reason each, with the row. Empty where there is none or it can't be reached."""
        if not reply.error_url:
            return []
        try:
            text = self.http.fetch(reply.error_url).decode("utf-8", "replace")
        except TidegateError as error:
            log.warning("starrocks %s: label %s: the refused rows can't be read: %s", self.name, reply.label, error)
            return []
        return [line for line in text.splitlines() if line.strip()]

    def database(self, table: TableName) -> str:
        """Of a table, or the connection's. ConfigError if neither names one."""
        database = table.schema or self.values["database"]
        if not database:
            raise ConfigError("no database is named", connection=self.name, table=table, setting="database")
        return str(database)

    def nobody(self, answer: Answer, table: object) -> PreflightError:
        """For a success that was reported before any row was sent."""
        what = f"{answer.address} reports a load that it took no row of: it is no frontend or backend"
        return PreflightError(what, connection=self.name, table=table, setting="load_url")

    def error(self, reply: Reply, label: str, table: object | None) -> TidegateError:
        """The exception for a reply that is a failure, with the lines of its ErrorURL."""
        return failure(
            reply,
            connection=self.name,
            table=table,
            label=label,
            lines=self.rejected(reply),
            show_rows=bool(self.values["show_rows"]),
        )
