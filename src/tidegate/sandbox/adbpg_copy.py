"""``COPY … DO ON CONFLICT``, which only AnalyticDB for PostgreSQL has: https://help.aliyun.com/document_detail/210145.htm

The rows go into a temporary table; what follows the COPY brings them from there into the table.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.sandbox.adbpg_facts import Relation, names, qualified, relation
from tidegate.sandbox.adbpg_tables import Clauses
from tidegate.sandbox.dialect import Lookup, Refused, Rewritten
from tidegate.sandbox.sqltext import Token, closing, dotted, find, identifier, listed, literal, spell

STAGE = "pg_temp.tidegate_sandbox_copy"


def conflict_clause(pieces: Sequence[Token]) -> int:
    """Where ``DO ON CONFLICT`` begins in a COPY, or -1."""
    return find(pieces, "do", "on", "conflict")


def rewrite_copy(pieces: Sequence[Token], at: int, catalog: Lookup, partitions: bool) -> Rewritten:
    """A COPY whose clause begins at ``at``. ``partitions``: the kernel takes partitioned tables (from 6.3.6.1).

    A row whose unique values are there takes that row's place, its unlisted columns their defaults. Of rows of one COPY that share
    a key the last wins under DO UPDATE, the first under DO NOTHING; the vendor's page says neither, so this is not verified.
    """
    update = _updates(pieces, at + 3)
    name, after_name = dotted(pieces, 1)
    columns: list[str] | None = None
    if after_name < at and pieces[after_name].symbol("("):
        end = closing(pieces, after_name)
        columns = [item[0].name for item in listed(pieces[after_name + 1 : end]) if item]
        after_name = end + 1
    if not name or after_name >= at or not pieces[after_name].word("from"):
        # The page says COPY FROM only. Its words for COPY TO are not known.
        raise Refused("0A000", "COPY ON CONFLICT does NOT support COPY TO")
    table = relation(catalog, name)
    tail = spell(pieces[after_name:at])
    if table is None:
        return Rewritten(f"COPY {qualified(name)} {tail}")  # the server says that there is no such table
    _check(table, name, columns, partitions)
    listed_columns = tuple(columns) if columns is not None else table.columns
    before = (
        Clauses(policy="p").remembered,
        f"CREATE TEMPORARY TABLE tidegate_sandbox_copy AS SELECT {names(listed_columns)} FROM {qualified(name)} WITH NO DATA",
    )
    merge = _merge(qualified(name), table, listed_columns, update)
    return Rewritten(f"COPY {STAGE} {tail}", before, (merge, f"DROP TABLE {STAGE}"))


def _updates(pieces: Sequence[Token], at: int) -> bool:
    """Whether the clause's action, before which ``at`` points, is DO UPDATE; refuses what the page says is refused."""
    if at < len(pieces) and (pieces[at].symbol("(") or pieces[at].word("on")):
        raise Refused("0A000", "COPY ON CONFLICT does NOT support CONFLICT index params")
    if at + 1 >= len(pieces):
        raise Refused("42601", "syntax error at end of input")
    if not pieces[at].word("do") or not pieces[at + 1].word("update", "nothing"):
        wrong = pieces[at + 1] if pieces[at].word("do") else pieces[at]
        raise Refused("42601", f'syntax error at or near "{wrong.text}"')
    update = pieces[at + 1].word("update")
    rest = pieces[at + 2 :]
    if update and rest and rest[0].word("set"):
        raise Refused("0A000", "COPY ON CONFLICT does NOT support UPDATE SET targets")
    if rest:
        raise Refused("42601", f'syntax error at or near "{rest[0].text}"')
    return update


def _check(table: Relation, name: Sequence[str], columns: Sequence[str] | None, partitions: bool) -> None:
    # The page names these limits but not the words of their errors.
    if table.kind == "v":
        raise Refused("0A000", "COPY ON CONFLICT does NOT support views")
    if table.storage != "h":
        raise Refused("0A000", "COPY ON CONFLICT does NOT support append-only tables")
    if table.kind == "p" and not partitions:
        raise Refused("0A000", "COPY ON CONFLICT does NOT support partitioned tables")
    for column in columns or ():
        if column not in table.columns:
            raise Refused("42703", f'column "{column}" of relation "{name[-1]}" does not exist')


def _merge(into: str, table: Relation, columns: Sequence[str], update: bool) -> str:
    insert = f"INSERT INTO {into} ({names(columns)}) SELECT {names(columns)} FROM {STAGE}"
    if not update:
        return f"{insert} ORDER BY ctid ON CONFLICT DO NOTHING"
    if not table.uniques:
        return f"{insert} ORDER BY ctid"
    if len(table.uniques) == 1 and set(table.uniques[0]) <= set(columns):
        key = table.uniques[0]
        last = (
            f"SELECT {names(columns)}, row_number() OVER (PARTITION BY {names(key)} ORDER BY ctid DESC) AS tidegate_sandbox_n "
            f"FROM {STAGE}"
        )
        some_null = " OR ".join(f"{identifier(column)} IS NULL" for column in key)
        sets = ", ".join(f"{identifier(column)} = excluded.{identifier(column)}" for column in table.columns)
        return (
            f"INSERT INTO {into} ({names(columns)}) SELECT {names(columns)} FROM ({last}) AS s "
            f"WHERE tidegate_sandbox_n = 1 OR {some_null} ON CONFLICT ({names(key)}) DO UPDATE SET {sets}"
        )
    same = [
        " AND ".join(f"t.{identifier(column)} = s.{identifier(column)}" for column in key)
        for key in table.uniques
        if set(key) <= set(columns)
    ]
    sets = ", ".join(
        f"{identifier(column)} = " + (f"s.{identifier(column)}" if column in columns else "DEFAULT") for column in table.columns
    )
    either = " OR ".join(f"({condition})" for condition in same) or "false"
    change = f"UPDATE {into} AS t SET {sets} FROM {STAGE} AS s WHERE s.ctid = $1 AND ({either})"
    return f"SELECT tidegate_sandbox.copy_rows({literal(change)}, {literal(f'{insert} WHERE ctid = $1')})"
