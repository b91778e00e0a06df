"""Text of any character set, converted as the server converts it.

The snapshot's texts come in UTF-8, converted by the server; the binlog's come in the column's own character set. Both must give the
same text, so the server's mapping is what counts: for sets of one byte its table is fetched once, for those that Python maps
alike (checked for every character by the tests) its codec is used, all others are sent to the server to convert.

A code that a set has no character for, which a column holds all the same, is "?" from the server and so here: by that every client
of the server sees it. A surrogate by itself is no text of any target: both ways of reading refuse it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from tidegate.errors import SchemaError
from tidegate.providers.mysql.session import Session

UTF8 = frozenset(("utf8", "utf8mb3", "utf8mb4"))
_UNICODE = {"ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}
_SAME_IN_PYTHON = {"gbk": "gbk", "gb2312": "gb2312", "euckr": "cp949", "cp932": "cp932"}
"""Where Python has a character, it is the server's; where it has none, the server is asked."""
_ASKED_AT_ONCE = 500

Texts = Callable[[Sequence[bytes | None]], Any]
"""From values as stored to an Arrow string array."""


class Charsets:
    """The server's character sets. ``session`` is asked for what isn't known yet, at most once each."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session
        self._by_collation: dict[int, str] | None = None
        self._widths: dict[str, int] | None = None
        self._texts: dict[str, Texts] = {}

    def of_collation(self, number: int) -> str:
        """The character set of a collation's number, as table maps give it."""
        if self._by_collation is None:
            self._by_collation = self._collations()
        if number not in self._by_collation:
            raise SchemaError(f"the server has no collation {number}", connection=self._session().name)
        return self._by_collation[number]

    def width(self, charset: str) -> int:
        """The greatest number of bytes of a character."""
        if self._widths is None:
            found = self._session().rows("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
            self._widths = {name or "": int(width or 1) for name, width in found}
        return self._widths[charset]

    def texts(self, charset: str) -> Texts:
        """The conversion of a column's values from ``charset``."""
        if charset not in self._texts:
            self._texts[charset] = self._converter(charset)
        return self._texts[charset]

    def text(self, charset: str, value: bytes) -> str:
        """One value: a label, a name."""
        return str(self.texts(charset)([value])[0].as_py())

    def _collations(self) -> dict[int, str]:
        session = self._session()
        found = session.rows("SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL")
        known = {int(number or 0): name or "" for number, name in found}
        if session.server().at_least(mysql=(99,), mariadb=(10, 10)):
            # MariaDB's contextual collations have a number per character set.
            more = session.rows(
                "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL"
            )
            known |= {int(number or 0): name or "" for number, name in more}
        return known

    def _converter(self, charset: str) -> Texts:
        if charset in UTF8:
            return lambda values: pa.array(values, pa.binary()).cast(pa.string())
        if charset in _UNICODE:
            read = _ucs2 if charset == "ucs2" else _decoder(_UNICODE[charset])
            return lambda values: pa.array([None if value is None else read(value) for value in values], pa.string())
        if charset in _SAME_IN_PYTHON:
            return self._by_codec(charset, _decoder(_SAME_IN_PYTHON[charset]))
        if self.width(charset) == 1:
            return self._by_table(charset)
        return lambda values: self._ask(charset, values)

    def _by_codec(self, charset: str, decode: Callable[[bytes], str]) -> Texts:
        def texts(values: Sequence[bytes | None]) -> Any:
            try:
                return pa.array([None if value is None else decode(value) for value in values], pa.string())
            except UnicodeDecodeError:
                return self._ask(charset, values)

        return texts

    def _by_table(self, charset: str) -> Texts:
        sql = f"SELECT CONVERT(_{charset} x'{bytes(range(256)).hex()}' USING utf8mb4)"
        table = str(self._session().rows(sql)[0][0])
        decode = codecs.charmap_decode

        def texts(values: Sequence[bytes | None]) -> Any:
            return pa.array([None if value is None else decode(value, "strict", table)[0] for value in values], pa.string())

        return texts

    def _ask(self, charset: str, values: Sequence[bytes | None]) -> Any:
        """Have the server convert each distinct value."""
        distinct = list(dict.fromkeys(value for value in values if value is not None))
        known: dict[bytes | None, str | None] = {None: None}
        for start in range(0, len(distinct), _ASKED_AT_ONCE):
            part = distinct[start : start + _ASKED_AT_ONCE]
            questions = ", ".join(f"CONVERT(_{charset} x'{value.hex()}' USING utf8mb4)" for value in part)
            known |= zip(part, self._session().rows(f"SELECT {questions}")[0], strict=True)
        return pa.array([known[value] for value in values], pa.string())


def _decoder(codec: str) -> Callable[[bytes], str]:
    decode = codecs.getdecoder(codec)
    return lambda value: decode(value)[0]


def _ucs2(value: bytes) -> str:
    """UCS-2 knows no pairs of surrogates: to the server they are two codes, neither of them a character."""
    text = value.decode("utf-16-be")
    if len(text) * 2 != len(value):
        raise ValueError("a surrogate in UCS-2")
    return text
