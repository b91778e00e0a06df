"""INSERT … ON DUPLICATE KEY UPDATE, as PostgreSQL's ON CONFLICT.

The rules and words are openGauss-server's: gram.y (WITH and RETURNING, both spelled "whithin" there), analyze.cpp
(checkUpsertTargetlist, transformUpsertClause).
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.sandbox.dialect import Lookup, Refused
from tidegate.sandbox.gauss_refusals import near
from tidegate.sandbox.gauss_tables import Table, distribution, table
from tidegate.sandbox.sqltext import Token, closing, dotted, find, identifier, listed, tokens

_IT = "INSERT ON DUPLICATE KEY UPDATE"
_KEYS = f"{_IT} don't allow update on primary key or unique key."
DISTRIBUTION = "Distributed key column can't be updated in current version"


def upsert(pieces: Sequence[Token], catalog: Lookup, *, distributed: bool) -> list[Token] | None:
    """The statement with an ON CONFLICT clause; None if it has no ON DUPLICATE KEY UPDATE."""
    at = find(pieces, "on", "duplicate", "key", "update")
    if at < 0:
        return None
    clause = list(pieces[at + 4 :])
    if pieces[0].word("with"):
        raise Refused("0A000", f"WITH clause is not yet supported whithin {_IT} statement.")
    if find(clause, "returning") >= 0:
        raise Refused("0A000", f"RETURNING clause is not yet supported whithin {_IT} statement.")
    into = find(pieces, "into") + 1
    parts, _ = dotted(pieces, into)
    target = table(parts, catalog)
    if target is None or not clause:
        # Upstream has the words: there is no such table, or the statement ends too soon.
        return [*pieces[:at], *tokens(" ON CONFLICT DO NOTHING")]
    _check_kind(target)
    if clause[0].word("nothing"):
        if len(clause) > 1:
            raise near(clause[1])
        _check_indexes(target)
        return [*pieces[:at], *tokens(" ON CONFLICT DO NOTHING")]
    where = find(clause, "where")
    sets = [_assignment(item) for item in listed(clause if where < 0 else clause[:where])]
    condition = [] if where < 0 else clause[where:]
    named = {name for names, _ in sets for name in names}
    if target.unique and named & target.keys:
        raise Refused("0A000", _KEYS)
    if distributed:
        if named & distribution(parts, catalog):
            raise Refused("0A000", DISTRIBUTION)
        if any(piece.word("select") for piece in condition):
            raise Refused("0A000", f"Feature is not supported for {_IT}.", detail="Do not support sublink in where clause.")
    _check_indexes(target)
    arbiters = [index for index in target.unique if index.plain]
    if not arbiters:
        return list(pieces[:at])
    if len(arbiters) > 1:
        raise Refused(
            "0A000",
            "the sandbox can't stand for ON DUPLICATE KEY UPDATE on a table with several unique constraints",
            detail="The real server updates the row of whichever constraint it checks first.",
        )
    conflict = ", ".join(identifier(column) for column in arbiters[0].columns)
    assignments: list[Token] = []
    for _, item in sets:
        assignments += [*([Token("symbol", ",")] if assignments else []), *item]
    return [*pieces[:at], *tokens(f" ON CONFLICT ({conflict}) DO UPDATE SET"), *assignments, *condition]


def _check_kind(target: Table) -> None:
    if target.kind == "v":
        raise Refused("0A000", f"{_IT} is not supported on VIEW.")
    if target.kind == "f":
        raise Refused("0A000", f"{_IT} is not supported on foreign table.")


def _check_indexes(target: Table) -> None:
    if not all(index.immediate for index in target.unique):
        raise Refused("55000", f"{_IT} does not support deferrable unique constraints/exclusion constraints.")


def _assignment(item: Sequence[Token]) -> tuple[list[str], list[Token]]:
    """The columns that one item sets, and the item as PostgreSQL has it: ``VALUES(c)`` is ``EXCLUDED.c`` there."""
    if not item:
        raise Refused("42601", "syntax error at end of input")
    if item[0].symbol("("):
        end = closing(item, 0)
        names = [piece.name for piece in item[1:end] if piece.name]
        return names, list(item)
    parts, at = dotted(item, 0)
    if at >= len(item) or not item[at].symbol("="):
        raise near(item[min(at, len(item) - 1)])
    target = Token("quoted", identifier(parts[-1]))
    value = list(item[at + 1 :])
    if value and value[0].word("values"):
        end = closing(value, 1) if len(value) > 1 else 0
        column, behind = dotted(value, 2)
        if not column or behind != end:
            raise Refused("42601", "only allow column name within VALUES")
        if end + 1 < len(value):
            raise near(value[end + 1])
        value = tokens(f"EXCLUDED.{identifier(column[-1])}")
    else:
        for index, piece in enumerate(value):
            # As part of an expression VALUES(c) isn't in the grammar; a VALUES list in a subquery is.
            if piece.word("values") and not (index and value[index - 1].symbol("(")):
                raise near(piece)
    return [parts[-1]], [target, Token("symbol", "="), *value]
