"""A place in the tokens of a statement, and the steps that the grammar is made of."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.changes.schema import TableName
from tidegate.providers.mysql.ddl.lexer import Kind, NotUnderstood, Token, tokens


class Cursor:
    """Reads a statement from left to right, lexing no further than it is asked. ``schema`` is the database it ran in."""

    def __init__(self, text: str, schema: str, sql_mode: int = 0) -> None:
        self.sql_mode = sql_mode
        self._schema = schema
        self._more: Iterator[Token] = tokens(text, sql_mode)
        self._tokens: list[Token] = []
        self._at = 0
        self._size = len(text)

    def peek(self, ahead: int = 0) -> Token:
        """A token that is still to come; END after the last."""
        while len(self._tokens) <= self._at + ahead:
            token = next(self._more, None)
            if token is None:
                return Token(Kind.END, "", self._size)
            self._tokens.append(token)
        return self._tokens[self._at + ahead]

    def word(self, ahead: int = 0) -> str:
        """The word (in capitals) or sign to come; "" if it is anything else: a quoted name is no keyword."""
        token = self.peek(ahead)
        return token.text.upper() if token.kind in (Kind.WORD, Kind.SIGN) else ""

    def next(self) -> Token:
        """The token at hand, which is passed. Raises NotUnderstood at the end."""
        token = self.peek()
        if token.kind is Kind.END:
            raise NotUnderstood("the statement ends too early")
        self._at += 1
        return token

    def take(self, *words: str) -> bool:
        """Pass these words, if they come one after the other."""
        if all(self.word(ahead) == word for ahead, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def expect(self, *alternatives: str) -> str:
        """Pass one of the words. Raises NotUnderstood if another comes."""
        word = self.word()
        if word not in alternatives:
            raise NotUnderstood(f"{self.shown()}, where {alternatives[0]} was expected")
        self._at += 1
        return word

    def name(self) -> str:
        """Pass a name, quoted or not."""
        token = self.next()
        if token.kind not in (Kind.WORD, Kind.NAME):
            raise NotUnderstood("something else, where a name was expected")
        return token.text

    def text(self) -> str:
        """Pass a word, a name or a string: the name of a character set, the value of an option."""
        token = self.next()
        if token.kind not in (Kind.WORD, Kind.NAME, Kind.STRING):
            raise NotUnderstood("something else, where a word was expected")
        return token.text

    def table(self) -> TableName:
        """Pass a table's name, with or without its database."""
        if self.take("."):
            return TableName(self._schema, self.name())
        name = self.name()
        return TableName(name, self.name()) if self.take(".") else TableName(self._schema, name)

    def column(self) -> str:
        """Pass a column's name; the table's and the database's may stand before it."""
        name = self.name()
        while self.take("."):
            name = self.name()
        return name

    def names(self) -> tuple[str, ...]:
        """Pass ``(a, b(10), c DESC)`` and return the names; a part of a column counts as another name than the column's."""
        self.expect("(")
        found: list[str] = []
        while not found or self.take(","):
            name = self.name()
            if self.word() == "(":
                self.skip()
                name += "(…)"
            self.take("ASC") or self.take("DESC")
            found.append(name)
        self.expect(")")
        return tuple(found)

    def skip(self) -> None:
        """Pass a token, or all that stands in parentheses."""
        depth = 0
        while True:
            word = self.word()
            self.next()
            depth += (word == "(") - (word == ")")
            if depth <= 0:
                return

    def clause(self) -> None:
        """Pass what is left of a clause: up to the next comma, a closing parenthesis or the end."""
        while not self.ended() and self.word() not in (",", ")"):
            self.skip()

    def rest(self) -> None:
        """Pass everything."""
        while not self.ended():
            self.skip()

    def ended(self) -> bool:
        """Whether nothing is left, but for a semicolon."""
        return self.peek(self.word() == ";").kind is Kind.END

    def end(self) -> None:
        """Raises NotUnderstood if something is left."""
        if not self.ended():
            raise NotUnderstood(f"{self.shown()} at the end")

    def mark(self) -> int:
        """The place, for :meth:`back`."""
        return self._at

    def back(self, place: int) -> None:
        self._at = place

    def shown(self) -> str:
        """The word to come, as a message may show it: words are the grammar's or names, anything else is a value."""
        return self.word() or "a value"
