"""A lexer for PostgreSQL's SQL. What rewrites a statement works on its tokens, so that no string and no comment is taken for SQL.

The tokens' texts, joined, give the statement back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["word", "quoted", "string", "number", "symbol", "comment", "space"]

_LETTER = r"A-Za-z_\x80-\U0010ffff"
_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r\n\f\v]+)
    | (?P<comment>--[^\r\n]*)
    | (?P<nested>/\*)
    | (?P<escaped>[eE]'(?:[^'\\]|''|\\.)*(?:'|\\?\Z))
    | (?P<string>(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z)
        | (?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$).*?(?:(?P=dollar)|\Z))
    | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*(?:"|\Z))
    | (?P<word>[{_LETTER}][{_LETTER}0-9$]*)
    | (?P<number>(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<symbol>\$[0-9]+|::|:=|\.\.|(?P<operator>(?:(?!--|/\*)[-+*/<>=~!@\#%^&|`?])+)|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: dict[str, Kind] = {"nested": "comment", "escaped": "string", "dollar": "string", "operator": "symbol"}
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_SPECIAL = frozenset("~!@#%^&|`?")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL text. ``quoted`` is a delimited identifier; ``symbol`` an operator, a parameter or punctuation."""

    kind: Kind
    text: str

    @property
    def blank(self) -> bool:
        """Whether the server skips it: space or a comment."""
        return self.kind == "space" or self.kind == "comment"

    @property
    def name(self) -> str:
        """The identifier it spells: a word folded to lower case, a delimited one without its quotes; "" for anything else."""
        if self.kind == "word":
            return self.text.lower()
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" else ""

    @property
    def value(self) -> str:
        """A string constant's value; "" for anything else."""
        if self.kind != "string":
            return ""
        if self.text.startswith("$"):
            edge = self.text.index("$", 1) + 1
            return self.text[edge:-edge]
        start = self.text.index("'")
        inside = self.text[start + 1 : -1].replace("''", "'")
        if self.text[:start] in ("e", "E"):
            return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), inside, flags=re.DOTALL)
        return inside

    def word(self, *words: str) -> bool:
        """Whether it is one of these keywords, written in lower case here."""
        return self.kind == "word" and self.text.lower() in words

    def symbol(self, *symbols: str) -> bool:
        """Whether it is one of these symbols."""
        return self.kind == "symbol" and self.text in symbols


def tokens(sql: str) -> list[Token]:
    """The tokens of ``sql``. A string, identifier or comment that isn't ended reaches to the end: the server will complain."""
    return list(_scan(sql))


def _scan(sql: str) -> Iterator[Token]:
    at = 0
    while found := _TOKEN.match(sql, at):
        end = found.end()
        group = found.lastgroup or "symbol"
        if found["nested"]:
            end = _comment_end(sql, end)
        elif found["operator"]:
            end = at + len(_operator(found["operator"]))
        yield Token(_KINDS.get(group, group), sql[at:end])  # type: ignore[arg-type]
        at = end


def _comment_end(sql: str, at: int) -> int:
    """Where the comment that was opened before ``at`` ends: comments nest."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(sql, at)
        if edge is None:
            return len(sql)
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return at


def _operator(text: str) -> str:
    """The operator that the server reads: one without ``~!@#%^&|`?`` doesn't end in a sign (``=-1`` is ``=`` and ``-1``)."""
    if not _SPECIAL & set(text):
        while len(text) > 1 and text[-1] in "+-":
            text = text[:-1]
    return text


def join(pieces: Iterable[Token]) -> str:
    """The SQL that these tokens spell."""
    return "".join(piece.text for piece in pieces)


def code(sql: str | Sequence[Token]) -> list[Token]:
    """The tokens that count: without space and comments."""
    return [token for token in (tokens(sql) if isinstance(sql, str) else sql) if not token.blank]


def spell(pieces: Iterable[Token]) -> str:
    """SQL from tokens of :func:`code`, a space between any two."""
    return " ".join(piece.text for piece in pieces)


def split(sql: str) -> list[str]:
    """The statements of ``sql``, without their semicolons; none for text that holds only space and comments."""
    statements: list[str] = []
    current: list[Token] = []
    depth = 0
    for token in [*tokens(sql), Token("symbol", ";")]:
        depth += token.symbol("(") - token.symbol(")")
        if not token.symbol(";") or depth > 0:
            current.append(token)
            continue
        if any(not piece.blank for piece in current):
            statements.append(join(current).strip())
        current, depth = [], 0
    if any(not piece.blank for piece in current[:-1]):
        statements.append(join(current[:-1]).strip())
    return statements


def closing(pieces: Sequence[Token], opening: int) -> int:
    """The index of the bracket that closes the one at ``opening``; the last index where nothing does."""
    depth = 0
    for index in range(opening, len(pieces)):
        depth += pieces[index].symbol("(", "[") - pieces[index].symbol(")", "]")
        if depth == 0:
            return index
    return len(pieces) - 1


def listed(pieces: Sequence[Token]) -> list[list[Token]]:
    """The items of a list that is separated by commas outside any brackets."""
    items: list[list[Token]] = [[]]
    depth = 0
    for piece in pieces:
        depth += piece.symbol("(", "[") - piece.symbol(")", "]")
        if depth == 0 and piece.symbol(","):
            items.append([])
        else:
            items[-1].append(piece)
    return items if any(items) else []


def find(pieces: Sequence[Token], *words: str, start: int = 0) -> int:
    """Where this sequence of keywords begins outside any brackets, or -1. ``pieces`` come from :func:`code`."""
    depth = 0
    for index in range(start, len(pieces)):
        depth += pieces[index].symbol("(", "[") - pieces[index].symbol(")", "]")
        if depth or len(pieces) - index < len(words):
            continue
        if all(pieces[index + offset].word(word) for offset, word in enumerate(words)):
            return index
    return -1


def dotted(pieces: Sequence[Token], at: int) -> tuple[list[str], int]:
    """The name that starts at ``at`` (``schema.table`` gives two parts) and the index behind it."""
    parts: list[str] = []
    while at < len(pieces) and pieces[at].name:
        parts.append(pieces[at].name)
        at += 1
        if at + 1 >= len(pieces) or not pieces[at].symbol("."):
            break
        at += 1
    return parts, at


def identifier(name: str) -> str:
    """A name as a delimited identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a string constant."""
    escaped = text.replace("'", "''")
    return " E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in text else f"'{escaped}'"
