"""MERGE INTO as openGauss has it: a WHERE in each branch, no AND, no DELETE; as PostgreSQL 15 has it."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.sandbox.dialect import Lookup, Refused
from tidegate.sandbox.gauss_refusals import near
from tidegate.sandbox.gauss_tables import distribution
from tidegate.sandbox.gauss_upsert import DISTRIBUTION
from tidegate.sandbox.sqltext import Token, dotted, find, listed, tokens


def merge(pieces: Sequence[Token], catalog: Lookup, *, distributed: bool) -> list[Token]:
    """The statement with its conditions before THEN, and its SET targets without the table's alias."""
    starts = _branches(pieces)
    if not starts:
        return list(pieces)
    head = list(pieces[: starts[0]])
    parts, _ = dotted(pieces, find(pieces, "into") + 1)
    fixed = distribution(parts, catalog) if distributed else frozenset()
    made = head
    for start, end in zip(starts, [*starts[1:], len(pieces)], strict=True):
        made += _branch(list(pieces[start:end]), fixed)
    return made


def _branches(pieces: Sequence[Token]) -> list[int]:
    starts: list[int] = []
    at = -1
    while (at := find(pieces, "when", start=at + 1)) >= 0:
        if at + 1 < len(pieces) and pieces[at + 1].word("matched", "not"):
            starts.append(at)
    return starts


def _branch(branch: list[Token], fixed: frozenset[str]) -> list[Token]:
    negative = branch[1].word("not")
    then = 3 if negative else 2
    if negative and not (len(branch) > 2 and branch[2].word("matched")):
        raise near(branch[2])
    if then >= len(branch) or not branch[then].word("then"):
        raise near(branch[min(then, len(branch) - 1)])
    action = branch[then + 1 :]
    if not action or not action[0].word("insert" if negative else "update"):
        raise near(action[0] if action else branch[then])
    where = find(action, "where")
    condition = [] if where < 0 else action[where + 1 :]
    body = action if where < 0 else action[:where]
    if not negative:
        body = _sets(body, fixed)
    guard = [*tokens(" AND ("), *condition, Token("symbol", ")")] if condition else []
    return [*branch[:then], *guard, branch[then], *body]


def _sets(body: Sequence[Token], fixed: frozenset[str]) -> list[Token]:
    """``UPDATE SET t.c = …`` is ``UPDATE SET c = …`` in PostgreSQL."""
    start = find(body, "set") + 1
    made = list(body[:start])
    for number, item in enumerate(listed(body[start:])):
        if number:
            made.append(Token("symbol", ","))
        parts, at = dotted(item, 0)
        if parts and parts[-1] in fixed:
            raise Refused("42P10", DISTRIBUTION)
        made += item[at - 1 :] if len(parts) > 1 else item
    return made
