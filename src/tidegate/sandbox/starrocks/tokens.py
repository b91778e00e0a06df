"""Words of a statement, and a cursor over them: for everything that is not a query (DDL, SHOW, SET, GRANT, INSERT's head)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate.sandbox.starrocks.sqlerror import SqlError, syntax

Kind = Literal["word", "name", "string", "number", "sign", "end"]

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--(?=\s|$)[^\n]*|\#[^\n]*|/\*.*?\*/)
    |`(?P<name>[^`]*(?:``[^`]*)*)`
    |(?P<string>'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'|"[^"\\]*(?:(?:\\.|"")[^"\\]*)*")
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![A-Za-z_]))
    |(?P<word>[@\w$]+)
    |(?P<sign><=>|<=|>=|<>|!=|\|\||&&|:=|->|.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a"}


@dataclass(frozen=True, slots=True)
class Token:
    """``text`` is a name without its backticks, a string without its quotes and escapes, else as written."""

    kind: Kind
    text: str
    start: int
    stop: int

    @property
    def upper(self) -> str:
        """A keyword's form; of quoted names and strings, nothing."""
        return self.text.upper() if self.kind in ("word", "sign", "number") else ""


def tokens(sql: str) -> list[Token]:
    """All tokens of a text, and an end token. SqlError for a quote that isn't closed."""
    found: list[Token] = []
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        kind = match.lastgroup if match else None
        if match is None or (kind == "sign" and match.group() in "'\"`"):
            line = sql.count("\n", 0, at) + 1
            raise syntax(f"Unexpected input '{sql[at]}', the most similar input is {{<EOF>, ';'}}", line, at)
        at = match.end()
        text = match.group(kind) if kind else ""
        if kind == "name":
            found.append(Token("name", text.replace("``", "`"), match.start(), at))
        elif kind == "string":
            found.append(Token("string", unquote(text), match.start(), at))
        elif kind in ("number", "word", "sign"):
            found.append(Token(kind, text, match.start(), at))  # type: ignore[arg-type]
    found.append(Token("end", "", len(sql), len(sql)))
    return found


def unquote(text: str) -> str:
    """What a quoted string of MySQL's kind says: escapes with a backslash, doubled quotes."""
    inner = text[1:-1].replace(text[0] * 2, text[0])
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found.group(1), found.group(1)), inner, flags=re.DOTALL)


def statements(sql: str) -> Iterator[str]:
    """The statements of a text, cut at its semicolons; empty ones are left out."""
    start, empty = 0, True
    for token in tokens(sql):
        if token.kind != "end" and token.upper != ";":
            empty = False
            continue
        if not empty:
            yield sql[start : token.start].strip()
        start, empty = token.stop, True


class Cursor:
    """Reads the tokens of one statement from left to right."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._tokens = tokens(sql)
        self._at = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def peek(self, ahead: int) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        token = self.next
        if token.kind != "end":
            self._at += 1
        return token

    def accept(self, *words: str) -> bool:
        """Takes these keywords or signs if they come next, all of them or none."""
        if all(self.peek(place).upper == word for place, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.accept(word):
                raise self.unexpected(word)

    def unexpected(self, *wanted: str) -> SqlError:
        token = self.next
        shown = self.sql[token.start : token.stop] or "<EOF>"
        line = self.sql.count("\n", 0, token.start) + 1
        column = token.start - (self.sql.rfind("\n", 0, token.start) + 1)
        likely = ", ".join(f"'{word}'" for word in wanted) or "a legal identifier"
        return syntax(f"Unexpected input '{shown}', the most similar input is {{{likely}}}", line, column)

    def name(self) -> str:
        """An identifier, quoted or bare."""
        token = self.next
        if token.kind == "name" or (token.kind == "word" and not token.text.startswith("@")):
            return self.take().text
        raise self.unexpected()

    def names(self) -> tuple[str, ...]:
        """``(a, b, c)``"""
        self.expect("(")
        found = [self.name()]
        while self.accept(","):
            found.append(self.name())
        self.expect(")")
        return tuple(found)

    def qualified(self) -> tuple[str, ...]:
        """``catalog.db.table``, as many parts as there are."""
        found = [self.name()]
        while self.accept("."):
            found.append(self.name())
        return tuple(found)

    def string(self) -> str:
        if self.next.kind != "string":
            raise self.unexpected("'string'")
        return self.take().text

    def number(self) -> int:
        if self.next.kind != "number":
            raise self.unexpected("'INTEGER_VALUE'")
        return int(self.take().text)

    def properties(self) -> dict[str, str]:
        """``("a" = "1", "b" = "2")``"""
        self.expect("(")
        found: dict[str, str] = {}
        while True:
            name = self.string() if self.next.kind == "string" else self.name()
            self.expect("=")
            found[name] = self.string() if self.next.kind == "string" else self.take().text
            if not self.accept(","):
                break
        self.expect(")")
        return found

    def parenthesis(self) -> str:
        """The text between a parenthesis and the one that closes it."""
        self.expect("(")
        start, depth = self.next.start, 1
        while depth:
            token = self.take()
            if token.kind == "end":
                raise self.unexpected(")")
            depth += {"(": 1, ")": -1}.get(token.upper, 0)
        return self.sql[start : self._tokens[self._at - 1].start].strip()

    def rest(self) -> str:
        """What is left, as written."""
        return self.sql[self.next.start :].strip()

    def done(self) -> None:
        self.accept(";")
        if self.next.kind != "end":
            raise self.unexpected("<EOF>")


def like(pattern: str, text: str) -> bool:
    """MySQL's LIKE, whatever the case."""
    rule = re.sub(r"\\(.)|(%)|(_)|(.)", _like_part, pattern, flags=re.DOTALL)
    return re.fullmatch(rule, text, re.IGNORECASE | re.DOTALL) is not None


def _like_part(found: re.Match[str]) -> str:
    escaped, many, one, other = found.groups()
    return ".*" if many else "." if one else re.escape(escaped or other)


def listed(names: Sequence[str]) -> str:
    """Names in backticks, with commas."""
    return ", ".join(f"`{name}`" for name in names)
