"""AnalyticDB for PostgreSQL's dialect of the sandbox: Greenplum 6 on a PostgreSQL 9.4 kernel with the vendor's ON CONFLICT.

What it says and refuses is taken from the vendor's pages (named where they are used), from the vendor's connector, and from the
source of Greenplum 6. Where a page names a limit but not the error's words, the code says that they are not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from tidegate.sandbox import adbpg_catalog
from tidegate.sandbox.adbpg_catalog import ABSENT, NEW_SETTINGS, SCHEMA, VIEWS
from tidegate.sandbox.adbpg_copy import conflict_clause, rewrite_copy
from tidegate.sandbox.adbpg_tables import rewrite_alter, rewrite_create
from tidegate.sandbox.adbpg_writes import check_writes
from tidegate.sandbox.dialect import Lookup, Refused, Rewritten
from tidegate.sandbox.sqltext import Token, code, find, identifier, literal, spell, tokens

KERNEL = "6.3.6.1"
"""The first kernel whose ON CONFLICT takes partitioned tables."""

_PARTITIONS_SINCE = (6, 3, 6, 1)
# The form is Greenplum 6's. What follows the version in the vendor's own build is not known.
_BUILD = "on x86_64-pc-linux-gnu, compiled by gcc (GCC) 9.2.1, 64-bit"


class Adbpg:
    """One instance's ways. ``kernel``: the vendor's version, as ``SHOW adbpg_version`` gives it: 6.x is V6.0, 7.x is V7.0, and 1.x
    an instance in Serverless mode, which has no COPY ON CONFLICT, as V7.0 has none.
    """

    def __init__(self, kernel: str = KERNEL) -> None:
        numbers = tuple(int(part) for part in kernel.split("."))
        if numbers[0] not in (1, 6, 7):
            raise ValueError(f"no AnalyticDB PostgreSQL has the kernel {kernel}: 6.x is V6.0, 7.x V7.0, 1.x Serverless")
        self._seven = numbers[0] == 7
        self._copies = numbers[0] == 6
        self._partitions = numbers[0] != 6 or numbers >= _PARTITIONS_SINCE
        self.server_version = "12.12" if self._seven else "9.4.26"
        greenplum = "7.0.0" if self._seven else "6.6.0"
        self._settings = {
            "version": f"PostgreSQL {self.server_version} (Greenplum Database {greenplum} build dev) {_BUILD}",
            "server_version": self.server_version,
            "server_version_num": "120012" if self._seven else "90426",
            "adbpg_version": kernel,
            "gp_server_version": greenplum,
            "optimizer": "on",
        }

    def bootstrap(self) -> Sequence[str]:
        """See :class:`tidegate.sandbox.dialect.Dialect`."""
        return adbpg_catalog.statements(self._settings, not self._seven)

    def rewrite(self, sql: str, catalog: Lookup) -> Rewritten:
        """See :class:`tidegate.sandbox.dialect.Dialect`."""
        pieces = code(sql)
        if not pieces:
            return Rewritten(sql)
        if not self._seven:
            _check_kernel(pieces)
        first = pieces[0]
        if first.word("copy") and (at := conflict_clause(pieces)) >= 0:
            if not self._copies:
                raise Refused("42601", f'syntax error at or near "{pieces[at].text}"')
            return rewrite_copy(pieces, at, catalog, self._partitions)
        if first.word("set", "reset", "show"):
            return self._setting(sql, pieces)
        if first.word("create"):
            return self._create(sql, pieces, catalog)
        if first.word("alter"):
            return (rewrite_alter(pieces) if pieces[1].word("table") else None) or Rewritten(sql)
        if first.word("insert", "update", "delete", "with", "explain"):
            check_writes(pieces, catalog, self._partitions)
        return Rewritten(self._mapped(sql))

    def _create(self, sql: str, pieces: list[Token], catalog: Lookup) -> Rewritten:
        at = 1
        while at < len(pieces) and pieces[at].word("global", "local", "temp", "temporary", "unlogged"):
            at += 1
        if at + 1 < len(pieces) and pieces[at].word("table"):
            made = rewrite_create(pieces, at, catalog, classic=not self._seven)
            return replace(made, statement=self._mapped(made.statement))
        trigger = pieces[2 if pieces[1].word("constraint") else 1] if len(pieces) > 2 else pieces[-1]
        if trigger.word("trigger"):
            # https://help.aliyun.com/document_detail/157891.htm: no triggers. The words are not known.
            raise Refused("0A000", "CREATE TRIGGER is not supported")
        return Rewritten(self._mapped(sql))

    def _setting(self, sql: str, pieces: list[Token]) -> Rewritten:
        """SET, RESET and SHOW of settings that only Greenplum has, or answers otherwise."""
        at = 2 if len(pieces) > 2 and pieces[1].word("session", "local") else 1
        name = pieces[at].name if at < len(pieces) else ""
        if name not in self._settings or name == "version":
            return Rewritten(sql)
        if pieces[0].word("show"):
            return Rewritten(f"SELECT {SCHEMA}.current_setting({literal(name)}) AS {identifier(name)}", tag="SHOW")
        if name != "optimizer":
            raise Refused("55P02", f'parameter "{name}" cannot be changed')
        renamed = [*pieces[:at], Token("word", f"{SCHEMA}.{name}"), *pieces[at + 1 :]]
        return Rewritten(spell(renamed))

    def _mapped(self, sql: str) -> str:
        """The statement with the catalogs and functions of the kernel in place of PostgreSQL 15's."""
        views, functions = (VIEWS, {"version", "current_setting"}) if not self._seven else (frozenset[str](), {"version"})
        words = tokens(sql)
        solid = [index for index, word in enumerate(words) if not word.blank]
        put: dict[int, str] = {}
        for place, index in enumerate(solid):
            name = words[index].name
            if name not in views and name not in functions:
                continue
            before = [words[solid[place - back]] if place >= back else Token("space", "") for back in (1, 2)]
            after = words[solid[place + 1]] if place + 1 < len(solid) else Token("space", "")
            if name in functions and not after.symbol("("):
                continue
            if before[0].symbol("."):
                if before[1].name == "pg_catalog":
                    put[solid[place - 2]] = SCHEMA
            elif name in functions or not (after.symbol(".", "(") or before[0].word("as")):
                put[index] = f"{SCHEMA}.{words[index].text}"
        return "".join(put.get(index, word.text) for index, word in enumerate(words)) if put else sql


def _check_kernel(pieces: Sequence[Token]) -> None:
    """Refused if the statement needs more than PostgreSQL 9.4's grammar, settings and catalogs."""
    first = pieces[0]
    if first.word("merge", "call"):
        raise _near(first)
    if first.word("copy") and (where := find(pieces, "where")) >= 0:
        raise _near(pieces[where])
    if first.word("create") and len(pieces) > 1 and pieces[1].word("procedure", "statistics", "publication", "subscription"):
        raise _near(pieces[1])
    for index, (piece, following) in enumerate(pairwise([*pieces, Token("space", "")])):
        before = pieces[index - 1] if index else Token("space", "")
        if piece.word("if") and following.word("not") and not before.word("table", "schema", "extension"):
            raise _near(following)  # only these take IF NOT EXISTS: others came with 9.5 and 9.6
        if piece.word("generated") and following.word("always", "by"):
            raise _near(piece)
        if piece.word("overriding") and following.word("system", "user"):
            raise _near(piece)
        if piece.word("skip") and following.word("locked"):
            raise _near(piece)
        if piece.word("lateral") and (following.symbol("(") or following.name):
            # https://help.aliyun.com/document_detail/157891.htm: no LATERAL. The words are not known.
            raise Refused("0A000", "LATERAL is not supported")
        if before.word("as") and piece.word("materialized", "not") and following.word("materialized") | following.symbol("("):
            raise _near(piece)
        if piece.name in ABSENT and piece.kind != "string" and not following.symbol(".", "(") and not before.word("as"):
            written = f"pg_catalog.{piece.name}" if before.symbol(".") else piece.name
            raise Refused("42P01", f'relation "{written}" does not exist')
        if piece.word("set_config") and following.symbol("("):
            _check_setting(pieces[index + 2].value if index + 2 < len(pieces) else "")
    if first.word("set", "reset", "show") and len(pieces) > 1:
        _check_setting(pieces[2 if pieces[1].word("session", "local") and len(pieces) > 2 else 1].name)


def _check_setting(name: str) -> None:
    if name.lower() in NEW_SETTINGS:
        raise Refused("42704", f'unrecognized configuration parameter "{name}"')


def _near(piece: Token) -> Refused:
    return Refused("42601", f'syntax error at or near "{piece.text}"')
