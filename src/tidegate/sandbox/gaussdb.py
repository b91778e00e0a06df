"""GaussDB and openGauss, as a dialect of the sandbox.

What it stands for: the version's and catalogs' answers, ON DUPLICATE KEY UPDATE, MERGE, '' as NULL in compatibility A, DISTRIBUTE
BY in a distributed server, and refusals in the server's own words. What it can't do is refused, except that two rows with one key
in one ON DUPLICATE KEY UPDATE fail here: a centralised server takes them in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tidegate.errors import ConfigError
from tidegate.sandbox.dialect import Lookup, Refused, Rewritten
from tidegate.sandbox.gauss_catalog import RELATIONS, SCHEMA, bootstrap
from tidegate.sandbox.gauss_merge import merge
from tidegate.sandbox.gauss_refusals import check, near, set_config, settings
from tidegate.sandbox.gauss_tables import distribution
from tidegate.sandbox.gauss_upsert import DISTRIBUTION, upsert
from tidegate.sandbox.sqltext import Token, closing, code, dotted, find, identifier, listed, literal, spell

VERSIONS = {
    "gaussdb": (
        "gaussdb (GaussDB Kernel 505.2.0 build bc83d8f3) compiled at 2024-12-03 16:58:12 commit 9967 last mr 19934 release "
        "on x86_64-unknown-linux-gnu, compiled by g++ (GCC) 10.3.1, 64-bit"
    ),
    "opengauss": (
        "(openGauss 6.0.0 build aee4abd5) compiled at 2024-09-29 18:39:56 commit 0 last mr  "
        "on x86_64-unknown-linux-gnu, compiled by g++ (GCC) 10.3.1, 64-bit"
    ),
}
"""What ``version()`` says, by product."""

Compatibility = Literal["A", "B", "C", "PG"]

_QUERIES = ("select", "insert", "update", "delete", "merge", "with", "values", "explain")
_EMPTY = Token("string", "''")


class GaussdbDialect:
    """A GaussDB. ``distributed`` has several nodes: tables have a distribution key."""

    server_version = "9.2.4"

    def __init__(self, product: str = "gaussdb", compatibility: str = "A", *, distributed: bool = False) -> None:
        if product not in VERSIONS:
            raise ConfigError(f"product {product!r} isn't one of {', '.join(VERSIONS)}")
        if compatibility not in ("A", "B", "C", "PG"):
            raise ConfigError(f"compatibility {compatibility!r} isn't one of A, B, C, PG")
        self.version = VERSIONS[product]
        self.compatibility = compatibility
        self.distributed = distributed

    def bootstrap(self) -> Sequence[str]:
        """GaussDB's catalogs, and the triggers that make '' NULL."""
        return bootstrap(self.version, self.compatibility, distributed=self.distributed)

    def rewrite(self, sql: str, catalog: Lookup) -> Rewritten:
        """The statement for PostgreSQL; :class:`Refused` with GaussDB's words."""
        pieces = code(sql)
        first = pieces[0]
        if first.word("copy"):
            return Rewritten(sql)
        check(pieces)
        if first.word("set", "reset", "show"):
            if first.word("show") and len(pieces) == 2 and pieces[1].word("server_version"):
                return Rewritten(f"SELECT {literal(self.server_version)}::text AS server_version")
            changed = settings(pieces)
            return Rewritten(sql if changed is None else spell(changed))
        if first.word("create"):
            return self._create(sql, pieces)
        if not first.word(*_QUERIES) and not first.symbol("("):
            return Rewritten(sql)
        set_config(pieces)
        made = list(pieces)
        if first.word("insert", "with"):
            made = upsert(pieces, catalog, distributed=self.distributed) or made
        elif first.word("merge"):
            made = merge(pieces, catalog, distributed=self.distributed)
        elif first.word("update") and self.distributed:
            _keep_distribution(pieces, catalog)
        made = _own_names(made)
        if self.compatibility == "A":
            made = _empty_is_null(made)
        return Rewritten(sql if made == pieces else spell(made))

    def _create(self, sql: str, pieces: Sequence[Token]) -> Rewritten:
        """CREATE TABLE: its DISTRIBUTE BY becomes an entry of pgxc_class."""
        at = find(pieces, "distribute", "by")
        if at < 0 or find(pieces[:5], "table") < 0:
            return Rewritten(sql)
        if not self.distributed:
            raise Refused("0A000", "Un-support feature", detail="The distributed capability is not supported currently.")
        if at + 2 >= len(pieces):
            raise Refused("42601", "syntax error at end of input")
        way, end = pieces[at + 2], at + 3
        columns: list[str] = []
        if way.word("hash"):
            if end >= len(pieces) or not pieces[end].symbol("("):
                raise near(pieces[end] if end < len(pieces) else way)
            last = closing(pieces, end)
            columns = [piece.name for piece in pieces[end:last] if piece.name]
            end = last + 1
        elif not way.word("replication"):
            raise near(way)
        start = find(pieces, "table") + 1
        if pieces[start].word("if"):
            start += 3
        name = ".".join(identifier(part) for part in dotted(pieces, start)[0])
        names = "ARRAY[" + ", ".join(literal(column) for column in columns) + "]::text[]"
        locator = "H" if columns else "R"
        entry = f"SELECT {SCHEMA}.distribute({literal(name)}, {literal(locator)}, {names})"
        return Rewritten(spell([*pieces[:at], *pieces[end:]]), after=(entry,))


def _keep_distribution(pieces: Sequence[Token], catalog: Lookup) -> None:
    """Refuse an UPDATE of the column that says where a row is."""
    start = 2 if pieces[1].word("only") else 1
    parts, _ = dotted(pieces, start)
    at = find(pieces, "set") + 1
    ends = [place for word in ("from", "where", "returning") if (place := find(pieces, word, start=at)) >= 0]
    fixed = distribution(parts, catalog)
    for item in listed(pieces[at : min(ends, default=len(pieces))]):
        targets = item[1 : closing(item, 0)] if item[0].symbol("(") else item[: dotted(item, 0)[1]]
        if fixed & {piece.name for piece in targets if piece.name}:
            raise Refused("0A000", DISTRIBUTION)


def _own_names(pieces: list[Token]) -> list[Token]:
    """``version()`` and the catalogs that differ, out of our schema."""
    made: list[Token] = []
    for index, piece in enumerate(pieces):
        called = piece.word("version") and [each.text for each in pieces[index + 1 : index + 3]] == ["(", ")"]
        behind = index > 0 and pieces[index - 1].symbol(".")
        ours = called or (piece.name in RELATIONS and not (index + 1 < len(pieces) and pieces[index + 1].symbol(".")))
        if ours and behind and pieces[index - 2].name == "pg_catalog":
            del made[-2:]
            behind = False
        if ours and not behind:
            made += [Token("word", SCHEMA), Token("symbol", ".")]
        made.append(piece)
    return made


def _empty_is_null(pieces: list[Token]) -> list[Token]:
    """The constant '' is NULL in compatibility A. Beside ``||`` it stays: there NULL counts as '', and LIKE's ESCAPE '' is none."""
    made: list[Token] = []
    for index, piece in enumerate(pieces):
        around = pieces[max(index - 1, 0)], pieces[min(index + 1, len(pieces) - 1)]
        stays = any(each.symbol("||") for each in around) or around[0].word("escape")
        # A type's name before it (date '') makes one constant of the two.
        made.append(Token("word", "NULL") if piece == _EMPTY and not stays else piece)
    return made
