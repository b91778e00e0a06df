"""The words of an SQL statement, by the rules of MySQL's and MariaDB's own lexer.

sqlglot's tokenizer is not used for DDL: it takes executable comments for comments, ``--5`` for one, and knows no SQL mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

ANSI_QUOTES = 1 << 2
NO_BACKSLASH_ESCAPES = 1 << 20
"""Bits of the SQL mode, as query events have them (MySQL's ``sql/query_options.h``, MariaDB's ``sql/sql_class.h``)."""


class Kind(Enum):
    """What a token is. A WORD may be a keyword or a name, a NAME is quoted and can only be a name."""

    WORD = "word"
    NAME = "name"
    STRING = "string"
    NUMBER = "number"
    HEX = "hex"
    BITS = "bits"
    SIGN = "sign"
    END = "end"


class Token(NamedTuple):
    """A token; ``text`` is without quotes, escapes and prefixes, ``start`` where it begins in the statement."""

    kind: Kind
    text: str
    start: int


class NotUnderstood(Exception):
    """A statement, or a part of one, that isn't in the grammar; the message says what, without values."""


_TOKEN = re.compile(
    r"""
      (?P<space>   \s+ | \#[^\n]* | --(?=[\s\x00-\x1f]|\Z)[^\n]* )
    | (?P<begin>   /\*M?!\d* )
    | (?P<comment> /\*.*?(?:\*/|\Z) )
    | (?P<end>     \*/ )
    | (?P<hex>     0x[0-9a-fA-F]+(?![\w$]) | [xX]'[0-9a-fA-F]*' )
    | (?P<bits>    0b[01]+(?![\w$]) | [bB]'[01]*' )
    | (?P<number>  (?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w$\u0080-\U0010ffff]) )
    | (?P<word>    [\w$\u0080-\U0010ffff]+ )
    | (?P<name>    `(?:[^`]|``)*` )
    | (?P<quote>   ['"] )
    | (?P<sign>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_AFTER_DOT = re.compile(r"[\w$\u0080-\U0010ffff]+")
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def tokens(text: str, sql_mode: int = 0) -> Iterator[Token]:
    """The tokens of a statement, one after the other; what stands in an executable comment counts as if it stood outside.

    (In the log such a comment was executed: the server takes the mark away from those that it passed over.) Raises NotUnderstood
    for a string without end.
    """
    pos, named = 0, False
    while pos < len(text):
        if named and text[pos] == ".":
            # After a name, a dot begins no number, and what follows it is a name though it begin with digits.
            yield Token(Kind.SIGN, ".", pos)
            pos += 1
            word = _AFTER_DOT.match(text, pos)
            if word:
                yield Token(Kind.WORD, word[0], pos)
                pos = word.end()
            continue
        found = _TOKEN.match(text, pos)
        assert found is not None
        kind, value = str(found.lastgroup), found[0]
        pos = found.end()
        if kind == "quote":
            value, pos = _string(text, pos, value, sql_mode)
            named = found[0] == '"' and bool(sql_mode & ANSI_QUOTES)
            yield Token(Kind.NAME if named else Kind.STRING, value, found.start())
        elif kind not in ("space", "begin", "comment", "end"):
            named = kind in ("word", "name")
            yield _token(kind, value, found.start())


def _token(kind: str, value: str, start: int) -> Token:
    if kind == "name":
        return Token(Kind.NAME, value[1:-1].replace("``", "`"), start)
    if kind in ("hex", "bits"):
        return Token(Kind(kind), value[2:].rstrip("'"), start)
    return Token(Kind(kind), value, start)


def _string(text: str, pos: int, quote: str, sql_mode: int) -> tuple[str, int]:
    """The string that begins at ``pos``, after its quote, and where the text goes on."""
    escapes = not sql_mode & NO_BACKSLASH_ESCAPES and not (quote == '"' and sql_mode & ANSI_QUOTES)
    parts: list[str] = []
    stops = re.compile(rf"[{quote}\\]" if escapes else quote)
    while found := stops.search(text, pos):
        parts.append(text[pos : found.start()])
        following = text[found.end() : found.end() + 1]
        if found[0] == "\\":
            parts.append(_ESCAPES.get(following, following))
        elif following == quote:
            parts.append(quote)
        else:
            return "".join(parts), found.end()
        pos = found.end() + 1
    raise NotUnderstood("a string without end")
