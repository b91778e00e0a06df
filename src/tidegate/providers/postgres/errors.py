"""What a server of PostgreSQL's family says went wrong, in tidegate's own classes."""

from __future__ import annotations

import re
from typing import Any

from tidegate.errors import PermanentError, PreflightError, RowRefused, SchemaError, TidegateError, Unavailable


class DriverError(Exception):
    """What went wrong, in terms that every driver has: the fields of the server's message, or its own words.

    ``code`` is the SQLSTATE, None if the server said nothing. ``lost``: the connection is gone. The texts can hold a row's values.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        detail: str | None = None,
        column: str | None = None,
        context: str | None = None,
        lost: bool = False,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.detail, self.column, self.context, self.lost = message, code, detail, column, context, lost


class Deadlock(Unavailable):
    """The server ended this transaction, so that the other one can go on."""


class DuplicateKey(RowRefused):
    """A unique constraint refused a row."""


class AlreadyThere(PermanentError):
    """A schema, table or column that was to be created exists: somebody else was faster."""


_TRANSIENT = ("08", "57P0", "40001", "40P01", "53", "55P03", "57014", "25P03", "58")
_COLUMN = re.compile(r"COPY .*?, line \d+, column (.+?)(?:: |$)", re.MULTILINE)
_QUOTED = re.compile(r'".*"', re.DOTALL)


def translate(error: DriverError, connection: str, table: object | None = None) -> TidegateError:
    """A driver's error as one of ours, by SQLSTATE; values that the server quotes go to an attribute, never to the message."""
    code, text = error.code, error.message.strip()
    where: dict[str, Any] = {"connection": connection, "table": table}
    if code is None:
        if error.lost:
            return Unavailable(f"the connection was lost: {text}", **where)
        return PermanentError(text, **where)
    message = f"{text} (SQLSTATE {code})"
    if code == "40P01":
        return Deadlock(message, **where)
    if code.startswith(_TRANSIENT):
        hint = {"55P03": "lock_timeout", "57014": "statement_timeout"}.get(code)
        return Unavailable(message, setting=hint, **where)
    if code.startswith("28"):
        return PreflightError(message, setting="login, password", **where)
    if code == "42501":
        return PreflightError(f"{message}: {_grant(text)}", **where)
    if code == "25006":
        return PreflightError(f"{message}: a standby, or default_transaction_read_only is on", setting="host", **where)
    if code in ("42P06", "42P07", "42701", "42710"):
        return AlreadyThere(message, **where)
    if code in ("42P01", "42703", "3F000"):
        return SchemaError(message, **where)
    if code.startswith(("22", "23", "P0001", "44")):
        return _row_refused(error, code, text, where)
    return PermanentError(message, **where)


def _grant(text: str) -> str:
    """What to grant, as far as the server's words tell."""
    match = re.search(r"permission denied (?:for|to create) (\w+)\s*(.*)", text)
    if match is None:
        return "the account lacks a right"
    kind, name = match[1], match[2].strip()
    rights = {
        "table": "SELECT, INSERT, UPDATE, DELETE ON",
        "schema": "USAGE, CREATE ON SCHEMA",
        "database": "CREATE, TEMPORARY ON DATABASE",
    }
    return f"GRANT {rights.get(kind, f'the right on {kind}')} {name} TO its role"


def _row_refused(error: DriverError, code: str, text: str, where: dict[str, Any]) -> TidegateError:
    if code == "23505":
        return DuplicateKey(f"{text} (SQLSTATE {code})", rows=error.detail, **where)
    column = error.column
    if column is None and error.context and (match := _COLUMN.search(error.context)):
        column = match[1]
    if code == "P0001":
        text = "a trigger refused it"
    elif not code.startswith("23"):
        text = _QUOTED.sub("…", text)
    rows = error.detail or "\n".join(filter(None, (error.message, error.context)))
    return RowRefused(f"{text} (SQLSTATE {code})", column=column, rows=rows, **where)
