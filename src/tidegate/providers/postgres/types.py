"""Canonical types to PostgreSQL's and back, and whether a column that exists can hold what is to come."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from tidegate.changes.schema import Column
from tidegate.changes.types import decimal

VARCHAR_MAX = 10_485_760
"""The longest varchar(n), in characters."""

_TYPES = {
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",
    pa.uint16(): "integer",
    pa.uint32(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp(6)",
    pa.timestamp("us", tz="UTC"): "timestamptz(6)",
    # MySQL's TIME is signed and goes past 24 hours, which PostgreSQL's time can't hold.
    pa.duration("us"): "interval",
    pa.binary(): "bytea",
}

_INTEGER_BITS = {"int2": 16, "int4": 32, "int8": 64}
_TEXT = ("text", "varchar", "bpchar", "citext", "name")


@dataclass(frozen=True, slots=True)
class PgColumn:
    """A column as the catalog has it."""

    name: str
    type: str
    """``pg_type.typname``: int4, varchar, numeric …"""
    text: str
    """As PostgreSQL writes it in full: ``character varying(40)``."""
    cast: str
    """The type without its modifier: a cast to it neither cuts nor rounds."""
    modifier: int = -1
    not_null: bool = False
    default: bool = False
    generated: bool = False
    """Always computed by the server: it takes no values."""

    @property
    def length(self) -> int | None:
        """Characters of a varchar(n) or char(n)."""
        return self.modifier - 4 if self.type in ("varchar", "bpchar") and self.modifier >= 4 else None

    @property
    def numeric(self) -> tuple[int, int] | None:
        """Precision and scale of a numeric(p, s); None for one without bounds."""
        if self.type != "numeric" or self.modifier < 4:
            return None
        scale = (self.modifier - 4) & 0x7FF
        # Since PostgreSQL 15 the scale is a signed number of 11 bits.
        return (self.modifier - 4) >> 16, scale - 2048 if scale > 1023 else scale

    @property
    def fraction(self) -> int:
        """Digits after the second of a timestamp, interval or time."""
        digits = self.modifier & 0xFFFF if self.type == "interval" else self.modifier
        return 6 if self.modifier < 0 or digits > 6 else digits


def column_type(column: Column) -> str:
    """What a new column for the canonical one is declared as."""
    kind = column.type
    if kind == pa.uint64():
        return "bigint" if 0 < int(column.attributes.get("bits", 64)) < 64 else "numeric(20,0)"
    if pa.types.is_decimal(kind):
        # A negative scale (not MySQL's) is known only to PostgreSQL 15 and later.
        return f"numeric({kind.precision},{kind.scale})" if kind.scale >= 0 else f"numeric({kind.precision - kind.scale},0)"
    if kind == pa.string():
        if "json" in column.attributes:
            return "json"
        length = _length(column)
        return f"varchar({length})" if length is not None and 0 < length <= VARCHAR_MAX else "text"
    return _TYPES[kind]


def canonical_type(column: PgColumn) -> tuple[pa.DataType, dict[str, str]]:
    """The canonical type, and attributes, in which the column's values are read. What has none is read as its text."""
    attributes: dict[str, str] = {}
    match column.type:
        case "bool":
            return pa.bool_(), attributes
        case "int2" | "int4" | "int8":
            return {"int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64()}[column.type], attributes
        case "float4" | "float8":
            return pa.float32() if column.type == "float4" else pa.float64(), attributes
        case "numeric" if (bounds := column.numeric) is not None and 0 <= bounds[1] <= bounds[0] <= 76:
            return decimal(*bounds), attributes
        case "date":
            return pa.date32(), attributes
        case "timestamp" | "timestamptz":
            kind = pa.timestamp("us", tz="UTC" if column.type == "timestamptz" else None)
            return kind, {"fsp": str(column.fraction)}
        case "interval" | "time":
            return pa.duration("us"), {"fsp": str(column.fraction)}
        case "bytea":
            return pa.binary(), attributes
        case "json" | "jsonb":
            return pa.string(), {"json": "1"}
    if column.length is not None:
        attributes["length"] = str(column.length)
    return pa.string(), attributes


@dataclass(frozen=True, slots=True)
class Fit:
    """How a canonical column goes into one that exists: what makes it impossible, or what to know."""

    problem: str | None = None
    warning: str | None = None


def fit(column: Column, there: PgColumn) -> Fit:
    """Whether every value of ``column`` arrives unchanged. What the server would refuse row by row is a warning."""
    if there.generated:
        return Fit(f"is computed by the server ({there.text}) and takes no values")
    found = _fit(column, there)
    if found is None:
        found = Fit(f"{_shown(column)} doesn't fit into {there.text}; as {column_type(column)} it would")
    if found.problem is None and found.warning is None and there.not_null and column.nullable:
        return Fit(warning="may be NULL at the source and is NOT NULL in the target: such a row will be refused")
    return found


def _shown(column: Column) -> str:
    length = column.attributes.get("length")
    return f"{column.type}({length} characters)" if length and column.type == pa.string() else str(column.type)


def _length(column: Column) -> int | None:
    length = column.attributes.get("length")
    return int(length) if length is not None else None


def _fit(column: Column, there: PgColumn) -> Fit | None:
    """None: it doesn't fit."""
    kind = column.type
    if kind == pa.string():
        return _fit_string(column, there)
    if kind == pa.binary():
        return Fit() if there.type == "bytea" else None
    if there.type in ("varchar", "bpchar") and there.length is not None:
        return Fit(warning=f"{kind} as text in {there.text}: longer values will be refused") if there.type == "varchar" else None
    if there.type in ("text", "varchar"):
        return Fit()
    if pa.types.is_integer(kind):
        return _fit_integer(column, there)
    if pa.types.is_decimal(kind):
        return _fit_digits(there, kind.precision - kind.scale, kind.scale)
    if pa.types.is_floating(kind):
        wide = there.type == "float8" or (there.type == "float4" and kind == pa.float32())
        return Fit() if wide or (there.type == "numeric" and there.numeric is None) else None
    if kind == pa.bool_():
        return Fit() if there.type == "bool" else None
    return _fit_time(column, there)


def _fit_string(column: Column, there: PgColumn) -> Fit | None:
    if there.type in _TEXT:
        if there.length is None:
            return Fit()
        length = _length(column)
        if length is None:
            return Fit(warning=f"may be longer than {there.text}: such a row will be refused")
        if length > there.length:
            return None
        return Fit(warning=f"{there.text} pads with blanks") if there.type == "bpchar" else Fit()
    if there.type == "bytea":
        return None
    if there.type == "jsonb" and "json" in column.attributes:
        return Fit(warning="jsonb keeps the meaning of the JSON text, not its spelling")
    if there.type == "json" and "json" in column.attributes:
        return Fit()
    return Fit(warning=f"text into {there.text}: the server reads each value, and refuses what it can't")


def _fit_integer(column: Column, there: PgColumn) -> Fit | None:
    kind = column.type
    signed = pa.types.is_signed_integer(kind)
    bits = int(column.attributes.get("bits", kind.bit_width)) if kind == pa.uint64() else kind.bit_width
    needed = bits if signed else bits + 1
    if there.type in _INTEGER_BITS:
        return Fit() if needed <= _INTEGER_BITS[there.type] else None
    if there.type == "numeric":
        return _fit_digits(there, len(str(2 ** (bits - 1 if signed else bits) - 1)), 0)
    if there.type in ("float4", "float8"):
        return Fit() if bits <= (24 if there.type == "float4" else 53) else None
    if there.type == "bool" and (column.attributes.get("display_width") == "1" or bits == 1):
        return Fit(warning="0 and 1 as boolean: another number will be refused")
    return None


def _whole_digits(kind: pa.DataType) -> int:
    """Digits of the longest integer."""
    return len(str(2 ** (kind.bit_width - (1 if pa.types.is_signed_integer(kind) else 0)) - 1))


def _fit_digits(there: PgColumn, before: int, after: int) -> Fit | None:
    """``before`` and ``after`` digits around the point."""
    if there.type == "numeric":
        if there.numeric is None:
            return Fit()
        precision, scale = there.numeric
        return Fit() if scale >= after and precision - scale >= before else None
    if after <= 0 and there.type in _INTEGER_BITS:
        return Fit() if before <= {"int2": 4, "int4": 9, "int8": 18}[there.type] else None
    return None


def _fit_time(column: Column, there: PgColumn) -> Fit | None:
    kind = column.type
    digits = int(column.attributes.get("fsp", 6))
    if kind == pa.date32():
        return Fit() if there.type in ("date", "timestamp", "timestamptz") else None
    if kind == pa.duration("us"):
        if there.type == "interval" and there.fraction >= digits:
            return Fit()
        if there.type == "time" and there.fraction >= digits:
            return Fit(warning="time of day holds 0 to 24 hours: other values will be refused")
        return None
    if there.type not in ("timestamp", "timestamptz") or there.fraction < digits:
        return None
    if kind.tz and there.type == "timestamp":
        return Fit(warning="an instant into a column without time zone: it is written as UTC")
    if not kind.tz and there.type == "timestamptz":
        return Fit(warning="a time without zone into a column of instants: it is taken as UTC")
    return Fit()


@dataclass(frozen=True, slots=True)
class Widened:
    """The type that a column has to be given, in which each of its values stays what it is."""

    type: str
    rewrites: bool
    """Whether the server writes every row anew (PostgreSQL's ALTER TABLE, "Notes"), while nobody can read the table."""


_IN_FULL = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "numeric": "numeric",
    "varchar": "character varying",
    "bpchar": "character",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "interval": "interval",
    "time": "time without time zone",
}


def widened(column: Column, there: PgColumn) -> Widened | None:
    """The wider type of the same kind into which ``column`` fits where it doesn't fit into ``there``; None if there is none.

    A column of a domain is never widened: that would take its checks away.
    """
    if there.generated or re.sub(r"\(.*?\)", "", there.text) != _IN_FULL.get(there.type):
        return None
    return _wider(column, there)


def _wider(column: Column, there: PgColumn) -> Widened | None:
    kind = column.type
    match there.type:
        case "int2" | "int4" | "int8" if pa.types.is_integer(kind):
            return Widened(column_type(column), rewrites=True)
        case "numeric" if there.numeric is not None and (pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
            precision, scale = there.numeric
            before, after = (kind.precision - kind.scale, kind.scale) if pa.types.is_decimal(kind) else (_whole_digits(kind), 0)
            wide = max(scale, after, 0)
            return Widened(f"numeric({max(precision - scale, before) + wide},{wide})", rewrites=wide != scale)
        case "varchar" | "bpchar" if kind == pa.string() and "json" not in column.attributes:
            wider = column_type(column)
            if there.type == "bpchar":
                return Widened(wider.replace("varchar", "char"), rewrites=True) if wider != "text" else None
            return Widened(wider, rewrites=False)
        case "float4" if kind == pa.float64():
            return Widened("double precision", rewrites=True)
        case "timestamp" | "timestamptz" if pa.types.is_timestamp(kind):
            return Widened(f"{there.type}(6)", rewrites=False)
        case "interval" | "time" if kind == pa.duration("us"):
            return Widened(f"{there.type}(6)", rewrites=False)
    return None
