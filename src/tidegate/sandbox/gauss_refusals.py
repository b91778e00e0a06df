"""What GaussDB and openGauss lack of what PostgreSQL has since 9.3, and the words they have for it.

The grammar is openGauss-server's src/common/backend/parser/gram.y: it has no CONFLICT, OVERRIDING, LATERAL or ORDINALITY among its
keywords; the ALTER TABLE page of its SQL reference has no ADD COLUMN IF NOT EXISTS. A token that its parser can't place is the one
in the message.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.sandbox.dialect import Refused
from tidegate.sandbox.sqltext import Token, closing

UNKNOWN_SETTINGS = frozenset(
    {
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "lock_timeout",
        "transaction_timeout",
        "jit",
        "row_security",
        "max_parallel_workers_per_gather",
        "enable_partitionwise_join",
    }
)
"""PostgreSQL's settings that GaussDB doesn't know."""

OWN_SETTINGS = frozenset(
    {
        "behavior_compat_options",
        "enable_upsert_to_merge",
        "idle_in_transaction_timeout",
        "lockwait_timeout",
        "session_timeout",
        "sql_compatibility",
        "update_lockwait_timeout",
    }
)
"""GaussDB's settings that PostgreSQL doesn't know: they are kept, and change nothing."""

NO_COLUMNS = frozenset({"attidentity", "attgenerated", "atthasmissing", "attmissingval", "relispartition", "indnullsnotdistinct"})
"""Columns of PostgreSQL's catalogs that GaussDB's don't have."""


def near(token: Token) -> Refused:
    """The parser's refusal of this token."""
    return Refused("42601", f'syntax error at or near "{token.text}"')


def unknown_setting(name: str) -> Refused:
    """The refusal of a setting that the server doesn't know."""
    return Refused("42704", f'unrecognized configuration parameter "{name}"')


def check(pieces: Sequence[Token]) -> None:
    """Refuse what the server doesn't know. ``pieces`` are a statement's tokens that count."""
    first = pieces[0].name if pieces[0].kind == "word" else ""
    catalogs = any(piece.name.startswith("pg_") for piece in pieces)
    for index, piece in enumerate(pieces):
        if piece.kind not in ("word", "quoted"):
            continue
        name = piece.name
        following = pieces[index + 1 : index + 4]
        if catalogs and name in NO_COLUMNS:
            before = pieces[index - 2 : index] if index >= 2 and pieces[index - 1].symbol(".") else []
            raise Refused(
                "42703", f"column {before[0].name}.{name} does not exist" if before else f'column "{name}" does not exist'
            )
        if piece.kind == "word":
            _check_word(name, following, first, pieces, index)


def _check_word(name: str, following: Sequence[Token], first: str, pieces: Sequence[Token], index: int) -> None:
    after = following[0] if following else Token("space", "")
    if name == "on" and after.word("conflict") and first in ("insert", "with"):
        raise near(after)
    if name == "filter" and after.symbol("(") and len(following) > 1 and following[1].word("where"):
        raise near(after)
    if name == "lateral" and after.symbol("(") and len(following) > 1 and following[1].word("select", "values", "with"):
        raise near(following[1])
    if name == "with" and after.word("ordinality"):
        raise near(after)
    if name == "overriding" and first == "insert" and after.word("system", "user"):
        raise near(after)
    if name == "on" and after.word("commit") and len(following) > 1 and following[1].word("drop") and first == "create":
        # 42P16 is what users report.
        raise Refused("42P16", "ON COMMIT only support PRESERVE ROWS or DELETE ROWS option")
    if name == "add" and first == "alter":
        rest = following[1:] if after.word("column") else following
        if len(rest) > 1 and rest[0].word("if") and rest[1].word("not"):
            raise near(rest[1])
    if name == "generated" and first in ("create", "alter"):
        if after.word("by"):
            raise near(after)
        if after.word("always") and len(following) > 2 and following[2].word("identity"):
            raise near(following[2])


def settings(pieces: Sequence[Token]) -> list[Token] | None:
    """SET, RESET or SHOW of a setting of the server's own, as a custom setting; None for one that PostgreSQL knows as well."""
    at = 1
    if len(pieces) > 2 and pieces[1].word("session", "local"):
        at = 2
    if at >= len(pieces):
        return None
    name = pieces[at].name
    if name in UNKNOWN_SETTINGS:
        raise unknown_setting(name)
    if name not in OWN_SETTINGS:
        return None
    return [*pieces[:at], Token("word", f"tidegate_sandbox.{name}"), *pieces[at + 1 :]]


def set_config(pieces: Sequence[Token]) -> None:
    """Refuse ``set_config('lock_timeout', …)`` and ``current_setting`` of what the server doesn't know."""
    for index, piece in enumerate(pieces[:-2]):
        if piece.word("set_config", "current_setting") and pieces[index + 1].symbol("("):
            end = closing(pieces, index + 1)
            if end > index + 2 and pieces[index + 2].value.lower() in UNKNOWN_SETTINGS:
                raise unknown_setting(pieces[index + 2].value.lower())
