"""The canonical types: the contract between N sources and M sinks.

A provider maps only canonical types to and from its own. The set is closed; what a source can't map to it, it refuses.

=====================================  =============================  ==========================================================
MySQL                                  Arrow                          column attributes
=====================================  =============================  ==========================================================
TINYINT … BIGINT, signed and unsigned  int8 … int64, uint8 … uint64   ``display_width`` = 1 for TINYINT(1)
DECIMAL(p, s)                          decimal128, decimal256         decimal256 past 38 digits
FLOAT, DOUBLE                          float32, float64
BIT(n)                                 uint64                         ``bits``
DATE, DATETIME(f), TIMESTAMP(f)        date32, timestamp[us],         ``fsp``; TIMESTAMP is an instant, DATETIME a wall clock
                                       timestamp[us, UTC]
TIME(f), YEAR                          duration[us], int16            ``fsp``
CHAR, VARCHAR, TEXT, ENUM, SET         string                         ``length`` (characters), ``charset``, ``collation``,
                                                                      ``labels``
BINARY, VARBINARY, BLOB                binary                         ``length`` in bytes
JSON                                   string, the exact text         ``json``
GEOMETRY                               binary, EWKB                   ``geometry``
=====================================  =============================  ==========================================================
"""

from __future__ import annotations

import re

import pyarrow as pa

from tidegate.errors import SchemaError

_FIXED: dict[str, pa.DataType] = {
    str(kind): kind
    for kind in (
        pa.bool_(),
        pa.int8(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
        pa.uint8(),
        pa.uint16(),
        pa.uint32(),
        pa.uint64(),
        pa.float32(),
        pa.float64(),
        pa.date32(),
        pa.timestamp("us"),
        pa.timestamp("us", tz="UTC"),
        pa.duration("us"),
        pa.string(),
        pa.binary(),
    )
}
_DECIMAL = re.compile(r"decimal(?:128|256)\((\d+), (-?\d+)\)")


def decimal(precision: int, scale: int) -> pa.DataType:
    """decimal128 up to 38 digits, decimal256 beyond (MySQL goes to 65)."""
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def type_name(kind: pa.DataType) -> str:
    """The text of a canonical type, as stored in ledgers and manifests; SchemaError for any other type."""
    text = str(kind)
    if text in _FIXED or _DECIMAL.fullmatch(text):
        return text
    raise SchemaError(f"{text} is not a canonical type")


def parse_type(text: str) -> pa.DataType:
    """The canonical type that :func:`type_name` wrote as ``text``."""
    if text in _FIXED:
        return _FIXED[text]
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise SchemaError(f"{text!r} is not a canonical type")
    return decimal(int(match[1]), int(match[2]))


def canonical(kind: pa.DataType) -> pa.DataType:
    """The canonical type that holds every value of ``kind``; for tables that users bring.

    Dictionaries become their values, large and view strings plain ones, timestamps microseconds, time of day a duration.
    Raises SchemaError for nested types, intervals and half floats.
    """
    text = str(kind)
    if text in _FIXED or _DECIMAL.fullmatch(text):
        return kind
    if pa.types.is_dictionary(kind):
        return canonical(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return pa.duration("us")
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_decimal(kind):
        return decimal(max(kind.precision, 1), kind.scale)
    if pa.types.is_null(kind):
        return pa.string()
    raise SchemaError(f"{text} has no canonical type: store it as JSON text or as separate columns")
