"""Character sets without a server: the numbers of collations, and conversions that are known to be the server's.

Both are held against real servers by the tests, for every collation and every byte.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pymysql.charset import charset_by_id

from tidegate.errors import SchemaError
from tidegate.providers.mysql.charsets import Charsets, Texts
from tidegate.providers.mysql.session import Session

_NUMBERS = {
    "ucs2": ((35, 35), (90, 90), (128, 151), (159, 159), (640, 642)),
    "utf16": ((54, 55), (101, 124), (672, 674)),
    "utf16le": ((56, 56), (62, 62)),
    "utf32": ((60, 61), (160, 183), (736, 738)),
    "utf8mb3": ((576, 578),),
    "utf8mb4": ((608, 610),),
}
"""Collations that a client can't have, and so PyMySQL doesn't know."""
_NO_PAD = range(1024, 2048)
"""MariaDB's copies of others that don't pad: their number plus 1024."""
_UCA1400 = range(2048, 3328)
"""MariaDB's newest, 256 numbers for each of these."""
_UCA1400_SETS = ("utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32")

_WIDTHS = {"utf8mb3": 3, "utf8mb4": 4, "utf16": 4, "utf16le": 4, "utf32": 4, "ujis": 3, "eucjpms": 3, "gb18030": 4} | dict.fromkeys(
    ("ucs2", "big5", "sjis", "euckr", "gb2312", "gbk", "cp932"), 2
)
"""Bytes of the longest character; of all others 1."""

_WIDE = {
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "gbk": "gbk",
    "gb2312": "gb2312",
    "euckr": "cp949",
    "cp932": "cp932",
}
"""Sets of several bytes that Python maps as the server does."""
_QUESTION, _REPLACED = "?", "\ufffd"
_NARROW: dict[str, tuple[str, str | None, dict[int, str]]] = {
    "ascii": ("ascii", _QUESTION, {}),
    "cp850": ("cp850", None, {}),
    "cp852": ("cp852", None, {}),
    "cp866": ("cp866", None, {0xFC: "ⁿ", 0xFD: "²"}),
    "cp1250": ("cp1250", _QUESTION, {}),
    "cp1251": ("cp1251", _QUESTION, {}),
    "cp1256": ("cp1256", None, dict.fromkeys((0x8A, 0x8F, 0x98, 0x9A, 0x9F, 0xAA, 0xC0, 0xFF), _QUESTION)),
    "cp1257": ("cp1257", _QUESTION, {}),
    "greek": ("iso8859-7", _QUESTION, {0xA1: "ʽ", 0xA2: "ʼ", 0xA4: _QUESTION, 0xA5: _QUESTION, 0xAA: _QUESTION}),
    "hp8": ("hp-roman8", _QUESTION, {}),
    "koi8r": ("koi8-r", None, {}),
    "koi8u": ("koi8-u", None, {0x95: "•"}),
    # What MySQL calls latin1 is cp1252, with the five bytes that this leaves out as in Latin-1.
    "latin1": ("cp1252", None, {byte: chr(byte) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}),
    "latin2": ("iso8859-2", None, {}),
    "latin5": ("iso8859-9", None, {}),
    "latin7": ("iso8859-13", None, {}),
    "macce": ("mac-latin2", None, {}),
    "macroman": ("mac-roman", None, {}),
    "tis620": ("tis-620", _REPLACED, {}),
}
"""Sets of one byte: Python's codec, what the server makes of bytes that it has no character for, and where else it differs."""


class OfflineCharsets(Charsets):
    """What :class:`~tidegate.providers.mysql.charsets.Charsets` asks a server for, as far as it is known without one."""

    def __init__(self, connection: str) -> None:
        def no_session() -> Session:
            raise SchemaError("there is no server to ask about character sets", connection=connection)

        super().__init__(no_session)
        self._connection = connection
        self._known: dict[str, Texts] = {}

    def of_collation(self, number: int) -> str:
        """The character set of a collation's number. SchemaError for one that isn't known."""
        base = number - _NO_PAD.start if number in _NO_PAD else number
        if base in _UCA1400:
            return _UCA1400_SETS[(base - _UCA1400.start) >> 8]
        for charset, ranges in _NUMBERS.items():
            if any(low <= base <= high for low, high in ranges):
                return charset
        try:
            charset_of: Any = charset_by_id
            name = str(charset_of(base).name)
        except KeyError:
            what = f"the collation number {number} isn't known without a server; read the log from the server"
            raise SchemaError(what, connection=self._connection) from None
        return "utf8mb3" if name == "utf8" else name

    def width(self, charset: str) -> int:
        return _WIDTHS.get(charset, 1)

    def texts(self, charset: str) -> Texts:
        if charset not in self._known:
            self._known[charset] = self._conversion(charset)
        return self._known[charset]

    def _conversion(self, charset: str) -> Texts:
        if charset in ("utf8mb3", "utf8mb4"):
            return lambda values: pa.array(values, pa.binary()).cast(pa.string())
        if charset in _WIDE:
            decode = codecs.getdecoder(_WIDE[charset])
            return lambda values: pa.array([None if value is None else decode(value)[0] for value in values], pa.string())
        if charset in _NARROW:
            return _by_table(_table(*_NARROW[charset]))
        what = f"the character set {charset} can't be converted as the server does without it; read the log from the server"
        raise SchemaError(what, connection=self._connection)


def _table(codec: str, undefined: str | None, others: dict[int, str]) -> str:
    """The characters of all 256 bytes."""
    characters = []
    for byte in range(256):
        try:
            found = bytes([byte]).decode(codec)
        except UnicodeDecodeError:
            found = undefined or ""
        characters.append(others.get(byte, found))
    return "".join(characters)


def _by_table(table: str) -> Texts:
    def texts(values: Sequence[bytes | None]) -> Any:
        decoded = [None if value is None else codecs.charmap_decode(value, "strict", table)[0] for value in values]
        return pa.array(decoded, pa.string())

    return texts
