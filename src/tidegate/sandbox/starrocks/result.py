"""What a statement answers: columns with their types on the wire, rows, how many rows were changed."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Any


class Wire(IntEnum):
    """Types of columns in MySQL's protocol, those that StarRocks uses (fe-core ``PrimitiveType.toMysqlType``)."""

    TINY = 0x01
    SHORT = 0x02
    LONG = 0x03
    FLOAT = 0x04
    DOUBLE = 0x05
    NULL = 0x06
    LONGLONG = 0x08
    DATE = 0x0A
    DATETIME = 0x0C
    NEWDECIMAL = 0xF6
    BLOB = 0xFC
    VAR_STRING = 0xFD
    STRING = 0xFE


@dataclass(frozen=True, slots=True)
class Field:
    """A column of an answer."""

    name: str
    wire: Wire = Wire.VAR_STRING
    scale: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """Rows if there are ``fields``, else an OK packet with ``affected`` and ``info``."""

    fields: tuple[Field, ...] = ()
    rows: Sequence[Sequence[Any]] = ()
    affected: int = 0
    info: str = ""


OK = Result()


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Result:
    """An answer of texts, as SHOW gives them: StarRocks declares all their columns VARCHAR."""
    return Result(tuple(Field(name) for name in names), rows)


def encode(value: Any) -> bytes | None:
    """A value as the text protocol carries it; None for NULL."""
    if value is None:
        return None
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    return text(value).encode("utf-8", "surrogateescape")


def text(value: Any) -> str:
    """A value as StarRocks prints it: 1 for true, no zero fraction, ``[1,2]``, ``{"a":1}``."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ")
    if isinstance(value, list | tuple | Mapping):
        return _nested(value)
    return str(value)


def single(value: float) -> str:
    """A FLOAT in as few digits as tell it from its neighbours."""
    for digits in range(6, 10):
        shown = f"{value:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(shown)))[0] == value:
            return _number(float(shown))
    return _number(value)


def _number(value: float) -> str:
    shown = repr(value)
    return shown[:-2] if shown.endswith(".0") else shown


def _nested(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        if set(value) == {"key", "value"} and isinstance(value["key"], list):  # a MAP, as DuckDB's older drivers give it
            value = dict(zip(value["key"], value["value"], strict=True))
        return "{" + ",".join(f"{_nested(key)}:{_nested(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_nested(item) for item in value) + "]"
    if isinstance(value, str | dt.date):
        return '"' + text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text(value)
