"""Canonical types to StarRocks' and back, and whether a column that exists can hold what is to come.

Some of StarRocks' types take a load only through an expression, which :func:`expression` gives: VARBINARY, JSON where the text is a
scalar, and with the user's own BITMAP and HLL. There is no type for a time of day or a duration: MySQL's TIME becomes text, as
MySQL writes it.
"""

from __future__ import annotations

import re

import pyarrow as pa

from tidegate.changes.schema import Column
from tidegate.changes.types import decimal
from tidegate.errors import SchemaError
from tidegate.providers.starrocks.catalog import CatalogColumn
from tidegate.providers.starrocks.texts import NESTED, base

VARCHAR_MAX = 1_048_576
"""Bytes of the longest VARCHAR and VARBINARY (documentation, "System limits")."""
STRING_BYTES = 65_533
"""Bytes of STRING, which is VARCHAR(65533)."""

_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.uint8(): "SMALLINT",
    pa.uint16(): "INT",
    pa.uint32(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    # StarRocks has no time zones: an instant is written in the connection's time_zone.
    pa.timestamp("us"): "DATETIME",
    pa.timestamp("us", tz="UTC"): "DATETIME",
    # Of 26 characters is the longest that 64 bits of microseconds can make.
    pa.duration("us"): "VARCHAR(32)",
}
INTEGER_BITS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64, "largeint": 128}
_CANONICAL = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
}
KEY_TYPES = ("boolean", "tinyint", "smallint", "int", "bigint", "largeint", "varchar", "date", "datetime")
"""Of primary keys (BE, ``PrimaryKeyEncoder::is_supported``)."""
_EXPRESSIONS = {"bitmap": "to_bitmap", "hll": "hll_hash", "percentile": "percentile_hash"}


# A new column


def ddl_type(column: Column, *, key: bool = False, version: tuple[int, ...] = (3, 3)) -> str:
    """What a new column for the canonical one is declared as, on a server of ``version``.

    ``key``: it is of a primary key, which takes no DECIMAL and no VARBINARY: whole numbers become integers, other decimals and
    binary values text. SchemaError for what can't be a key at all: FLOAT, DOUBLE and JSON.
    """
    kind = column.type
    if key and (pa.types.is_floating(kind) or "json" in column.attributes):
        raise SchemaError(f"column {column.name}: StarRocks takes no {_shown(column)} in a primary key; choose other key columns")
    if kind == pa.uint64():
        return "BIGINT" if 0 < int(column.attributes.get("bits", 64)) < 64 else "LARGEINT"
    if pa.types.is_decimal(kind):
        return _decimal_type(kind, key=key, version=version)
    if kind == pa.string():
        if "json" in column.attributes and version >= (2, 2):
            return "JSON"
        return _varchar(4 * _length(column) if _length(column) else VARCHAR_MAX)
    if kind == pa.binary():
        if key or version < (3, 0):
            return _varchar(2 * _length(column) if _length(column) else VARCHAR_MAX)
        return f"VARBINARY({min(_length(column) or VARCHAR_MAX, VARCHAR_MAX)})"
    return _TYPES[kind]


def _decimal_type(kind: pa.DataType, *, key: bool, version: tuple[int, ...]) -> str:
    whole, scale = kind.precision - kind.scale, max(kind.scale, 0)
    if key and scale == 0 and whole <= 38:
        return "BIGINT" if whole <= 18 else "LARGEINT"
    # DECIMAL256 came with 4.0.
    if not key and whole + scale <= (76 if version >= (4, 0) else 38) and whole >= 0:
        return f"DECIMAL({whole + scale},{scale})"
    return _varchar(max(whole, 1) + scale + 2)


def _varchar(size: int) -> str:
    return f"VARCHAR({min(size, VARCHAR_MAX)})"


def _length(column: Column) -> int:
    """Characters, or bytes of binary; 0 if it is unknown."""
    return max(int(column.attributes.get("length", 0)), 0)


# A column that exists


def size(there: CatalogColumn) -> int | None:
    """Bytes of a VARCHAR, CHAR or VARBINARY column; None for others."""
    kind = base(there.type)
    if kind not in ("varchar", "char", "varbinary"):
        return None
    if match := re.search(r"\((\d+)\)", there.type):
        return int(match[1])
    if kind == "char":
        return 1
    return STRING_BYTES if kind == "varchar" else VARCHAR_MAX


def numeric(there: CatalogColumn) -> tuple[int, int]:
    """Precision and scale of a DECIMAL column; (10, 0) if it says none, as StarRocks has it."""
    match = re.search(r"\((\d+)\s*(?:,\s*(\d+))?\)", there.type)
    return (int(match[1]), int(match[2] or 0)) if match else (10, 0)


def canonical(column: CatalogColumn) -> Column:
    """The column whose values StarRocks' column holds. SchemaError where there is none: BITMAP, HLL, ARRAY, MAP, STRUCT."""
    kind, attributes = base(column.type), {}
    if kind in ("varchar", "char"):
        found, attributes = pa.string(), {"length": str(size(column))}
    elif kind == "varbinary":
        found, attributes = pa.binary(), {"length": str(size(column))}
    elif kind == "json":
        found, attributes = pa.string(), {"json": "1"}
    elif kind == "decimal":
        found = decimal(*numeric(column))
    elif kind == "largeint":
        found = decimal(39, 0)
    elif kind == "datetime":
        found, attributes = _CANONICAL[kind], {"fsp": "6"}
    elif kind in _CANONICAL:
        found = _CANONICAL[kind]
    else:
        raise SchemaError(f"column {column.name}: {column.type} has no canonical type; leave it out of the columns that are read")
    return Column(column.name, found, column.nullable, attributes)


def expression(there: CatalogColumn, name: str, *, wrapped: bool = False) -> str | None:
    """What the ``columns`` of a load have to make of the field ``name`` for this column; None if the field goes as it is.

    ``wrapped``: it is JSON text that isn't an object, an array or a string, which ``parse_json`` reads only inside of one.
    """
    if base(there.type) == "varbinary":
        return f"to_binary(`{name}`, 'hex')"
    return f"json_query(parse_json(concat('{{\"v\":', `{name}`, '}}')), '$.v')" if wrapped else None


def misfit(source: Column, there: CatalogColumn) -> str | None:
    """Why values of that column can't go there; None if they can, but for single ones, which are refused before a load."""
    kind = base(there.type)
    if there.generated:
        return f"{there.name} is computed by StarRocks and takes no values"
    if kind in _EXPRESSIONS:
        function = _EXPRESSIONS[kind]
        return f"{there.type} takes values only from an expression: columns = …, {there.name}={function}({source.name}_value)"
    if not _fits(source, there, kind):
        return f"{_shown(source)} doesn't fit into {there.type}; {_advice(source)}"
    return None


def _advice(source: Column) -> str:
    try:
        return f"as {ddl_type(source)} it would"
    except SchemaError:
        return "no type of StarRocks' takes it"


def _shown(column: Column) -> str:
    if "json" in column.attributes:
        return "JSON"
    length = column.attributes.get("length")
    return f"{column.type}({length} characters)" if length and column.type == pa.string() else str(column.type)


def _fits(source: Column, there: CatalogColumn, target: str) -> bool:
    kind = source.type
    if kind == pa.string():
        if target in NESTED:
            # Any text may be JSON text: one that isn't is refused before a load.
            return True
        return target in ("varchar", "char") and ("length" not in source.attributes or _length(source) <= (size(there) or 0))
    if kind == pa.binary():
        return target == "varbinary" or target == "varchar"
    if target in ("varchar", "char"):
        return True
    if pa.types.is_integer(kind):
        return _integer_fits(source, there, target)
    if pa.types.is_decimal(kind):
        return _digits_fit(there, target, kind.precision - kind.scale, kind.scale)
    if pa.types.is_floating(kind):
        return target == "double" or (target == "float" and kind == pa.float32())
    if kind == pa.bool_():
        return target in ("boolean", *INTEGER_BITS)
    if kind == pa.date32():
        return target in ("date", "datetime")
    return pa.types.is_timestamp(kind) and target == "datetime"


def _integer_fits(source: Column, there: CatalogColumn, target: str) -> bool:
    kind = source.type
    signed = pa.types.is_signed_integer(kind)
    bits = int(source.attributes.get("bits", kind.bit_width)) if kind == pa.uint64() else kind.bit_width
    if target in INTEGER_BITS:
        return (bits if signed else bits + 1) <= INTEGER_BITS[target]
    if target == "boolean":
        return source.attributes.get("display_width") == "1" or bits == 1
    if target in ("float", "double"):
        return bits <= (24 if target == "float" else 53)
    return _digits_fit(there, target, len(str(2 ** (bits - 1 if signed else bits) - 1)), 0)


def _digits_fit(there: CatalogColumn, target: str, before: int, after: int) -> bool:
    """``before`` and ``after`` digits around the point."""
    if target == "decimal":
        precision, scale = numeric(there)
        return scale >= after and precision - scale >= before
    # Not all numbers of 39 digits are a LARGEINT: those that aren't are refused before a load.
    return after <= 0 and before <= {"tinyint": 2, "smallint": 4, "int": 9, "bigint": 18, "largeint": 39}.get(target, 0)
