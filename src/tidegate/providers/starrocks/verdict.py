"""What an answer means. StarRocks says it in ``Status`` and ``Message``; HTTP's status is 200 either way."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tidegate.errors import (
    ConfigError,
    PermanentError,
    PreflightError,
    RowRefused,
    SchemaError,
    TidegateError,
    Unavailable,
)
from tidegate.providers.starrocks.reply import Reply

Outcome = Literal["done", "exists", "busy", "gone", "failed", "unknown"]

_OUTCOMES: dict[str, Outcome] = {
    "SUCCESS": "done",
    "OK": "done",
    # Committed, only not visible yet: sent again it would be there twice.
    "PUBLISH_TIMEOUT": "done",
    "LABEL_ALREADY_EXISTS": "exists",
    "TXN_IN_PROCESSING": "busy",
    "TXN_NOT_EXISTS": "gone",
    "FAIL": "failed",
    "FAILED": "failed",
    "INTERNAL_ERROR": "failed",
    "INVALID_ARGUMENT": "failed",
}
_SHOWN = 3000
"""Characters of refused rows in a message, as the vendor's SDK has it."""
_MESSAGE = 500


def parsed(body: bytes) -> Reply:
    """The reply in an answer's body; one without a status where there is none: a proxy's page, or half an answer."""
    return Reply.of(fields(body))


def fields(body: bytes) -> dict[str, Any]:
    """The answer's JSON, empty where it is no JSON object."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def outcome(reply: Reply) -> Outcome:
    """By its status. Stream Load writes ``Label Already Exists``, the transaction interface ``LABEL_ALREADY_EXISTS``.

    «unknown» is a missing status, ``Commit Timeout``, and any other (``THRIFT_RPC_ERROR``, …): the label's state decides.
    """
    return _OUTCOMES.get(re.sub(r"[\s_]+", "_", reply.status.strip()).upper(), "unknown")


@dataclass(frozen=True, slots=True)
class Rule:
    """A message that says which kind of failure it is, and what would change it."""

    pattern: str
    error: type[TidegateError]
    advice: str = ""
    setting: str | None = None


RULES: tuple[Rule, ...] = (
    # The five that the vendor's SDK does not repeat (ErrorUtils.java).
    Rule("too many filtered rows", RowRefused, "", "on_error, max_filter_ratio"),
    Rule("tape_error|failed to (parse|iterate).{0,30}json", RowRefused, "it is no JSON as its headers say", "format"),
    Rule(
        "primary key size exceed the limit",
        RowRefused,
        "the encoded key of a row is longer than 128 bytes (primary_key_limit_size in be.conf)",
        "on_error",
    ),
    Rule("only primary key table support partial update", ConfigError, "write whole rows, or into a primary key table", "columns"),
    Rule(
        "needs to be used for expression evaluation",
        SchemaError,
        "rows that leave columns out have to bring those that generated columns are computed from: have the source send whole rows",
    ),
    Rule("access denied", PreflightError, "the user needs SELECT and INSERT on the table", "login"),
    Rule(
        "current running txns on db",
        PreflightError,
        "transactions of the database are left open, or too many load at once: see SHOW PROC '/transactions', and raise it with "
        'ADMIN SET FRONTEND CONFIG ("max_running_txn_num_per_db" = "…")',
        "max_running_txn_num_per_db",
    ),
    # Others that stay as they are until somebody changes something.
    Rule(
        "no valid basic authorization",
        PreflightError,
        "the credentials did not reach the backend: does a proxy drop them?",
        "load_url",
    ),
    Rule("there is no 100-continue header", PreflightError, "a proxy before the frontend drops the header Expect", "load_url"),
    Rule(r"body size .* exceed limit", ConfigError, "smaller loads, or streaming_load_max_mb in be.conf", "batch_bytes"),
    Rule(r"exceed the max size .* json", ConfigError, "smaller loads, or ignore_json_size=true", "batch_bytes, properties"),
    Rule("unknown data format", ConfigError, "", "format"),
    Rule("invalid (max_filter_ratio|strict_mode|timeout|timezone)", ConfigError, "", "properties"),
    Rule("no partitions have data available for loading", ConfigError, "there is no row in what was sent"),
    Rule("not implemented|unsupport(ed)? transaction operation", ConfigError, "the server has no such interface", "sink_version"),
    Rule("hasn't send any data yet", ConfigError, "a transaction without rows can only be rolled back"),
    Rule("unknown database|unknown table|unknown column|no database selected", SchemaError),
    Rule("(database|table).{0,80} (does not|doesn't) exist", SchemaError),
    Rule("multi-statement transaction requests can only be sent to fe", ConfigError, "a backend's address was given", "load_url"),
    # These pass.
    Rule(
        "too many versions|too many tablet versions|too large compaction score|-235",
        Unavailable,
        "compaction does not keep up with the loads: fewer and larger ones, and loads wait from tablet_versions on",
        "tablet_versions, flush_interval",
    ),
    Rule("timeout by txn manager", Unavailable, "it took longer than it may", "load_timeout, batch_bytes"),
    Rule("exceed http cuncurrent limit", Unavailable, "fewer loads at once", "parallelism"),
)


def rule(reply: Reply) -> Rule | None:
    """The first rule that its message matches. An argument that the server can't read is the caller's mistake."""
    text = reply.message.lower()
    found = next((item for item in RULES if re.search(item.pattern, text)), None)
    if found is None and reply.status.upper() == "INVALID_ARGUMENT":
        return Rule("", ConfigError)
    return found


def permanent(reply: Reply) -> bool:
    """Whether sending the same again changes nothing."""
    found = rule(reply)
    return found is not None and issubclass(found.error, PermanentError)


def failure(
    reply: Reply, *, connection: str, table: object | None, label: str, lines: Sequence[str] = (), show_rows: bool = False
) -> TidegateError:
    """The exception for a load that did not happen. ``lines`` are those of its ErrorURL: RowRefused has them in ``rows``.

    Without ``show_rows`` the message holds the reasons, but no value.
    """
    found = rule(reply) or Rule("", Unavailable)
    said = (reply.message if show_rows else masked(reply.message))[:_MESSAGE].strip() or f"Status {reply.status or 'missing'}"
    text = f"load {label}: StarRocks says: {said}"
    if reply.filtered_rows:
        text += f"; {reply.filtered_rows} of {reply.total_rows} rows refused"
    if found.advice:
        text += f"; {found.advice}"
    if lines:
        shown = "\n".join(lines)[:_SHOWN] if show_rows else "; ".join(reasons(lines))
        text += f":\n{shown}" if show_rows else f": {shown} (show_rows shows the values)"
    if found.error is RowRefused:
        return RowRefused(text, rows=list(lines), connection=connection, table=table, setting=found.setting)
    return found.error(text, connection=connection, table=table, setting=found.setting)


def reasons(lines: Sequence[str], most: int = 5) -> list[str]:
    """Why rows were refused, without their values, the most frequent first: ``3 × NULL value in non-nullable column 'k'``."""
    counts: dict[str, int] = {}
    for line in lines:
        why = masked(line).strip(" .")
        if why:
            counts[why] = counts.get(why, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return [f"{count} × {why[:200]}" for why, count in ranked[:most]]


_ROW = re.compile(r"\b(?:src[ _])?(?:row|line|record|data|source)\s*[:=].*", re.IGNORECASE | re.DOTALL)
_VALUE = re.compile(r"\b(values?)\s*([:=])\s*[^,;]*", re.IGNORECASE)
_QUOTED = re.compile(
    r"(\b(?:column|columns|field|name|of|table|database|db|user|label|partition|format|header|function|(?:delimiter|separator):)\s*\(?|@)?"
    r"((?<![A-Za-z])'[^']*'|\"[^\"]*\")",
    re.IGNORECASE,
)
_LEADS = re.compile(r"^\s*(?:Reason|Error|\[?ERROR\]?)\s*:\s*", re.IGNORECASE)


def masked(text: str) -> str:
    """A message or error line without a row's values: what follows ``Row:`` is cut, and a quoted text stays only as a name."""
    text = _ROW.sub("", _LEADS.sub("", text))
    text = _VALUE.sub(r"\1\2 …", text)
    return _QUOTED.sub(lambda found: found.group(0) if found.group(1) else "'…'", text)
