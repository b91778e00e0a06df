"""What Greenplum and AnalyticDB for PostgreSQL refuse of INSERT, UPDATE, DELETE and of WITH around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tidegate.sandbox.adbpg_facts import Relation, relation
from tidegate.sandbox.dialect import Lookup, Refused
from tidegate.sandbox.sqltext import Token, closing, dotted, find, listed

_ONE_WRITER = "Greenplum Database currently only support CTEs with one writable clause"


@dataclass(frozen=True, slots=True)
class _Command:
    verb: str
    pieces: Sequence[Token]
    """From its verb to its end."""
    inner: bool
    """It is a query of WITH."""


def check_writes(pieces: Sequence[Token], catalog: Lookup, partitions: bool) -> None:
    """Refused if the statement writes what may not be. ``partitions``: the kernel takes ON CONFLICT on partitioned tables."""
    commands = list(_commands(pieces))
    _check_with(pieces, commands)
    for command in commands:
        if command.verb == "update":
            _check_update(command.pieces, catalog)
        elif command.verb == "insert":
            _check_insert(command.pieces, catalog, partitions)


def _commands(pieces: Sequence[Token]) -> Iterator[_Command]:
    for index, piece in enumerate(pieces):
        if not piece.word("insert", "update", "delete"):
            continue
        before = pieces[index - 1] if index else None
        begins = before is None or before.symbol("(", ")") or before.word("explain", "analyze", "verbose")
        if not begins:
            continue
        inner = before is not None and before.symbol("(")
        end = closing(pieces, index - 1) if inner else len(pieces)
        yield _Command(piece.text.lower(), pieces[index:end], inner)


def _check_with(pieces: Sequence[Token], commands: Sequence[_Command]) -> None:
    """Greenplum has one writer a query (``parse_cte.c``, ``analyze.c``)."""
    if find(pieces, "with") < 0:
        return
    inner = sum(command.inner for command in commands)
    if inner > 1:
        hint = "Rewrite the query to only include one writable CTE clause."
        raise Refused("0A000", "only one modifying WITH clause allowed per query", detail=f"{_ONE_WRITER}.", hint=hint)
    if inner and len(commands) > inner:
        raise Refused(
            "0A000",
            "writable CTE queries cannot be themselves writable",
            detail=f"{_ONE_WRITER}, called in a non-writable context.",
            hint="Rewrite the query to only include one writable clause.",
        )


def _check_update(pieces: Sequence[Token], catalog: Lookup) -> None:
    name, _ = dotted(pieces, 2 if len(pieces) > 1 and pieces[1].word("only") else 1)
    table = relation(catalog, name) if name else None
    setting = find(pieces, "set")
    if table is None or setting < 0:
        return
    # The vendor's page says so: https://help.aliyun.com/document_detail/118884.html (Greenplum 6 itself moves the row, the kernel
    # before it said this, with ERRCODE_GP_FEATURE_NOT_YET: planner.c).
    if _targets(pieces, setting + 1) & set(table.distributed_by):
        raise Refused("0AM01", "Cannot parallelize an UPDATE statement that updates the distribution columns")


def _check_insert(pieces: Sequence[Token], catalog: Lookup, partitions: bool) -> None:
    at = find(pieces, "on", "conflict")
    if at < 0:
        return
    name, _ = dotted(pieces, 2)
    table = relation(catalog, name) if name else None
    if table is None:
        return
    _check_conflict_table(table, partitions)
    setting = find(pieces, "do", "update", "set", start=at)
    if setting < 0:
        return
    targets = _targets(pieces, setting + 3)
    if targets & set(table.distributed_by):
        raise Refused("0A000", "modification of distribution columns in OnConflictUpdate is not supported")
    # Two limits of https://help.aliyun.com/document_detail/162380.html, whose errors' words are not known.
    if targets & table.primary_key:
        raise Refused("0A000", "modification of primary key columns in OnConflictUpdate is not supported")
    where = find(pieces, "where", start=setting)
    if where >= 0 and any(piece.word("select") for piece in pieces[where:]):
        raise Refused("0A000", "a subquery in the WHERE clause of OnConflictUpdate is not supported")


def _check_conflict_table(table: Relation, partitions: bool) -> None:
    if table.storage != "h":
        raise Refused("0A000", "INSERT ON CONFLICT is not supported for appendoptimized relations")
    if table.kind == "p" and not partitions:
        raise Refused("0A000", "ON CONFLICT clause is not supported with partitioned tables")
    if table.kind == "v":
        raise Refused("0A000", "INSERT ON CONFLICT is not supported for views")


def _targets(pieces: Sequence[Token], start: int) -> set[str]:
    """The columns that a SET list from ``start`` on assigns."""
    ends = [at for word in ("from", "where", "returning") if (at := find(pieces, word, start=start)) >= 0]
    columns: set[str] = set()
    for item in listed(pieces[start : min(ends, default=len(pieces))]):
        if item and item[0].symbol("("):
            columns.update(column[0].name for column in listed(item[1 : closing(item, 0)]) if column)
        elif item:
            columns.add(item[0].name)
    return columns
