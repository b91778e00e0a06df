"""Whether a column that is changed into another leaves the value of every row what it was."""

from __future__ import annotations

from itertools import pairwise

from tidegate.providers.mysql.charsets import UTF8
from tidegate.providers.mysql.ddl.collations import Collations
from tidegate.providers.mysql.types import BINARIES, GEOMETRIES, TEXTS, MySqlColumn

_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_ALL_OF_UNICODE = frozenset(("utf8mb4", "utf16", "utf16le", "utf32", "gb18030"))
_FIRST_PLANE = frozenset(("utf8", "utf8mb3", "ucs2"))
# fmt: off
_ASCII_INSIDE = frozenset((
    "latin1", "latin2", "latin5", "latin7", "greek", "hebrew", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852",
    "cp866", "koi8r", "koi8u", "macce", "macroman", "gbk", "gb2312", "big5", "euckr", "ujis", "eucjpms", "ascii",
))
# fmt: on


def loss(old: MySqlColumn, new: MySqlColumn, collations: Collations) -> str:
    """Why values may change when ``old`` becomes ``new``, for people; "" if none can."""
    name = old.name
    if new.required and not old.required:
        return f"{name} becomes NOT NULL: the server puts values where there were none"
    if new.auto_increment and not old.auto_increment:
        return f"{name} becomes AUTO_INCREMENT: the server numbers the rows that have none"
    if new.generated or old.generated:
        return f"{name} is computed by the server"
    if old.data_type == new.data_type and _same_parameters(old, new):
        return ""
    change = f"{name} turns from {_shown(old)} to {_shown(new)}"
    return "" if _fits(old, new, collations) else f"{change}, which may change values"


def _shown(column: MySqlColumn) -> str:
    return f"{column.data_type.upper()}{' UNSIGNED' if column.unsigned else ''}"


def _same_parameters(old: MySqlColumn, new: MySqlColumn) -> bool:
    def parameters(column: MySqlColumn) -> tuple[object, ...]:
        size = () if column.data_type == "json" else (column.charset, column.length, column.octets)
        return column.unsigned, column.labels, column.precision, column.scale, column.fsp, *size

    return old.data_type not in ("float", "double") and parameters(old) == parameters(new)


def _fits(old: MySqlColumn, new: MySqlColumn, collations: Collations) -> bool:
    kind, other = old.data_type, new.data_type
    if kind in _INTEGERS and other in _INTEGERS:
        wider = _INTEGERS.index(other) - _INTEGERS.index(kind)
        return wider >= 0 if old.unsigned == new.unsigned else wider > 0 and old.unsigned
    if kind in ("float", "double") and other in ("float", "double"):
        return _signs(old, new) and (kind, other) != ("double", "float")
    if kind == other == "decimal":
        return _signs(old, new) and new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
    if kind == other == "bit":
        return new.length >= old.length
    if kind == other and kind in ("datetime", "timestamp", "time"):
        return new.fsp >= old.fsp
    if kind == other and kind in ("date", "year", "json"):
        return True
    if kind in GEOMETRIES and other in GEOMETRIES:
        return other in (kind, "geometry")
    if kind in BINARIES and other in BINARIES:
        # BINARY is filled with zeros, which count as part of the value.
        return kind == other and new.octets == old.octets if other == "binary" else new.octets >= old.octets
    if kind == other == "enum":
        return set(old.labels) <= set(new.labels) and _characters(old, new)
    if kind == other == "set":
        return _in_order(old.labels, new.labels) and _characters(old, new)
    if kind in TEXTS | {"enum", "set"} and other in TEXTS:
        return (other != "char" or kind in ("char", "enum")) and _characters(old, new) and _room(old, new, collations)
    return False


def _signs(old: MySqlColumn, new: MySqlColumn) -> bool:
    return old.unsigned or not new.unsigned


def _in_order(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Whether a SET's labels are all there, in the order in which its values name them."""
    places = [new.index(label) if label in new else -1 for label in old]
    return -1 not in places and all(left < right for left, right in pairwise(places))


def _characters(old: MySqlColumn, new: MySqlColumn) -> bool:
    """Whether the new set has every character of the old one, and gives back the same."""
    if old.charset == new.charset or new.charset in _ALL_OF_UNICODE:
        return True
    if new.charset in _FIRST_PLANE:
        return old.charset not in _ALL_OF_UNICODE
    return old.charset == "ascii" and new.charset in _ASCII_INSIDE


def _room(old: MySqlColumn, new: MySqlColumn, collations: Collations) -> bool:
    """Whether the longest value of the old column has its place in the new one."""
    counted = ("char", "varchar")
    if old.data_type in counted or old.data_type in ("enum", "set"):
        characters, octets = old.length, old.length * collations.width(new.charset)
    else:
        # So many bytes may be as many characters.
        characters, octets = old.octets, old.octets * collations.width(new.charset)
        if old.charset == new.charset or (old.charset in UTF8 | {"ascii"} and new.charset in UTF8):
            octets = old.octets
    return new.length >= characters if new.data_type in counted else new.octets >= octets
