"""What the rows of a load are written as: JSON, or CSV with its delimiters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import ConfigError

DELIMITER_BYTES = 50
"""The longest column separator or row delimiter (StarRocks' documentation, STREAM LOAD, "CSV parameters")."""

NULL = b"\\N"
"""The field that is NULL."""
_HEX = re.compile(r"(?:\\x|0x)((?:[0-9a-fA-F]{2})+)")
_NAMED = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\r\\n": "\r\n", "\\\\": "\\"}


def delimiter(text: str, name: str) -> bytes:
    """The bytes of a delimiter as users write it: itself, ``\\t``, ``\\n``, ``\\r\\n``, ``\\x01`` or ``0x01``, also repeated."""
    left, found = text, b""
    while left:
        if match := _HEX.match(left):
            found, left = found + bytes.fromhex(match[1]), left[match.end() :]
        elif left[:2] in _NAMED:
            found, left = found + _NAMED[left[:2]].encode(), left[2:]
        else:
            found, left = found + left[0].encode(), left[1:]
    if not 1 <= len(found) <= DELIMITER_BYTES:
        raise ConfigError(f"{name} has {len(found)} bytes: StarRocks takes 1 to {DELIMITER_BYTES}")
    try:
        found.decode()
    except UnicodeDecodeError:
        # The server checks whole lines, delimiters and all ("Invalid UTF-8 row").
        raise ConfigError(f"{name} isn't UTF-8, which StarRocks takes only") from None
    return found


@dataclass(frozen=True, slots=True)
class Format:
    """``kind`` and, for CSV, the delimiters in bytes. ``enclose`` and ``escape`` are a byte each, or empty: none (before 3.0)."""

    kind: Literal["json", "csv"] = "json"
    column_separator: bytes = b"\t"
    row_delimiter: bytes = b"\n"
    enclose: bytes = b""
    escape: bytes = b""

    def __post_init__(self) -> None:
        column, row = self.column_separator, self.row_delimiter
        if column in row or row in column:
            raise ConfigError("column_separator and row_delimiter: one contains the other, so rows can't be told from columns")
        for name in ("enclose", "escape"):
            value = getattr(self, name)
            if value and (len(value) != 1 or value[0] >= 0x80 or value[0] == 0):
                raise ConfigError(f"{name} has to be one ASCII character")
            if value and value in column + row:
                raise ConfigError(f"{name} is part of a delimiter")
        if self.escape and (not self.enclose or self.enclose == self.escape):
            raise ConfigError("escape needs an enclose of another character: set enclose, too")
        if not self.enclose and self.splits(NULL):
            raise ConfigError(r"a delimiter is in \N, the sign of NULL: choose another, or set enclose and escape")

    def splits(self, value: bytes) -> bool:
        """Whether a delimiter is in the value, or is made by it with the delimiters that may be around it."""
        column, row = self.column_separator, self.row_delimiter
        return (
            column in value
            or row in column + value + column
            or (value + column).find(column) != len(value)
            or (column + value + row).find(row) != len(column) + len(value)
        )

    @classmethod
    def of(
        cls, kind: str = "json", column_separator: str = "\\t", row_delimiter: str = "\\n", enclose: str = "", escape: str = ""
    ) -> Format:
        """From what users write. ConfigError for what StarRocks doesn't take, or reads ambiguously."""
        if kind.lower() == "json":
            return cls()
        if kind.lower() != "csv":
            raise ConfigError(f"format {kind!r}: json or csv")
        return cls(
            "csv",
            delimiter(column_separator, "column_separator"),
            delimiter(row_delimiter, "row_delimiter"),
            _character(enclose, "enclose"),
            _character(escape, "escape"),
        )


def _character(text: str, name: str) -> bytes:
    # A lone backslash is itself here: it is what escape mostly is.
    return text.encode() if len(text) < 2 else delimiter(text, name)
