"""Types of columns: read from DDL, refused where the server refuses them, and shown as its catalogs show them.

Limits: fe-core ``analyzer/TypeDefAnalyzer.java``, ``ColumnDefAnalyzer.java`` and docs ``sql-reference/data-types``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tidegate.sandbox.starrocks.sqlerror import SqlError, analyzing
from tidegate.sandbox.starrocks.tokens import Cursor

MAX_VARCHAR = 1_048_576
STRING = "varchar(65533)"

_WIDTHS = {"tinyint": "4", "smallint": "6", "int": "11", "bigint": "20", "largeint": "40"}
_PLAIN = {"boolean", "float", "double", "date", "datetime", "json", "bitmap", "hll", "percentile"}
_SYNONYMS = {"integer": "int", "bool": "boolean", "text": "string", "jsonb": "json", "numeric": "decimal", "number": "decimal"}
_DECIMALS = {"decimal", "decimal32", "decimal64", "decimal128", "decimalv2", "decimal256"}
_PRECISION = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19, "largeint": 20, "float": 7, "double": 15}
_KEYS = {
    "boolean",
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "largeint",
    "decimal",
    "char",
    "varchar",
    "varbinary",
    "date",
    "datetime",
}
_PRIMARY_KEYS = {"boolean", "tinyint", "smallint", "int", "bigint", "largeint", "varchar", "date", "datetime"}


def read_type(cursor: Cursor) -> str:
    """The type that comes next, as ``ColumnDef.type`` has it: ``int`` for ``int(11)``, ``varchar(65533)`` for ``STRING``."""
    written = cursor.next
    name = cursor.name().lower()
    name = _SYNONYMS.get(name, name)
    if name in ("array", "map", "struct"):
        return _nested(cursor, name)
    arguments = _arguments(cursor)
    if name in _WIDTHS or name in _PLAIN:
        return name
    if name == "string":
        return STRING
    if name in ("char", "varchar"):
        return _characters(name, arguments)
    if name in ("binary", "varbinary"):
        return "varbinary" if not arguments else f"varbinary({arguments[0]})"
    if name in _DECIMALS:
        return _decimal(name, arguments)
    raise SqlError(
        f"Getting syntax error at line 1, column {written.start}. Detail message: No viable statement for input '{written.text}'."
    )


def _arguments(cursor: Cursor) -> list[int]:
    if not cursor.accept("("):
        return []
    found = []
    while not cursor.accept(")"):
        found.append(cursor.number() if not cursor.accept("*") else MAX_VARCHAR)
        cursor.accept(",")
    return found


def _nested(cursor: Cursor, name: str) -> str:
    cursor.expect("<")
    inner = []
    while True:
        field = f"{cursor.name()} " if name == "struct" else ""
        if field:
            cursor.accept(":")
        inner.append(field + read_type(cursor))
        if not cursor.accept(","):
            break
    cursor.expect(">")
    return f"{name}<{', '.join(inner) if name == 'struct' else ','.join(inner)}>"


def _characters(name: str, arguments: list[int]) -> str:
    length = arguments[0] if arguments else 1
    limit = 255 if name == "char" else MAX_VARCHAR
    label = name.capitalize()
    if length <= 0:
        raise analyzing(f"{label} size must be > 0: {length}")
    if length > limit:
        raise analyzing(f"{label} size must be <= {limit}: {length}")
    return f"{name}({length})"


def _decimal(name: str, arguments: list[int]) -> str:
    precision, scale = (*arguments, *((10, 0), (0,))[min(len(arguments), 1)])[:2]
    if not 1 <= precision <= (76 if name == "decimal256" else 38):
        raise analyzing(f"DECIMAL's precision should range from 1 to 38, got {precision}")
    if scale > precision:
        raise analyzing(f"DECIMAL's scale should be less than or equal to precision: {scale} > {precision}")
    return f"decimal({precision},{scale})"


def base(type: str) -> str:
    """The name of a type without its arguments."""
    return re.split(r"[(<]", type, maxsplit=1)[0].strip()


def key_refusal(column: str, type: str, *, primary: bool) -> SqlError | None:
    """Why a column of this type can't be a key, in the server's words."""
    name = base(type)
    if primary and name not in _PRIMARY_KEYS:
        return analyzing(f"primary key column[{column}] type not supported: {type.upper()}")
    if not primary and name in ("float", "double"):
        return analyzing(f"Invalid data type of key column '{column}': '{type.upper()}', use decimal instead")
    if not primary and name not in _KEYS:
        return analyzing(f"Invalid data type of key column '{column}': '{type.upper()}'")
    return None


def shown(type: str) -> str:
    """As SHOW CREATE TABLE writes it: with display widths."""

    def widen(found: re.Match[str]) -> str:
        return f"{found.group()}({_WIDTHS[found.group()]})"

    text = re.sub(r"\b(?:tinyint|smallint|int|bigint|largeint)\b(?!\()", widen, type)
    return re.sub(r"decimal\((\d+),\s*(\d+)\)", r"decimal(\1, \2)", text)


@dataclass(frozen=True, slots=True)
class Facts:
    """What ``information_schema.columns`` says of a type."""

    data_type: str
    column_type: str
    characters: int | None = None
    precision: int | None = None
    scale: int | None = None
    fraction: int | None = None


def facts(type: str) -> Facts:
    """BOOLEAN shows as tinyint(1), LARGEINT as bigint(20) unsigned (BE ``schema_columns_scanner.cpp``)."""
    name = base(type)
    if name == "boolean":
        return Facts("tinyint", "tinyint(1)")
    if name == "largeint":
        return Facts("bigint unsigned", "bigint(20) unsigned", precision=20, scale=0)
    if name == "decimal":
        precision, scale = (int(part) for part in re.findall(r"\d+", type))
        return Facts("decimal", f"decimal({precision},{scale})", precision=precision, scale=scale)
    if name in ("char", "varchar"):
        return Facts(name, type, characters=int(re.findall(r"\d+", type)[0]))
    if name in ("float", "double"):
        return Facts(name, name, precision=_PRECISION[name], scale=7 if name == "float" else 15)
    if name in _WIDTHS:
        return Facts(name, shown(type), precision=_PRECISION[name], scale=0)
    if name == "datetime":
        return Facts(name, name, fraction=6)
    return Facts(name, shown(type))


def widens(old: str, new: str) -> bool:
    """May MODIFY COLUMN make ``new`` of ``old``? Wider numbers, longer VARCHAR, numbers to text (fe-core ``ColumnType``)."""
    before, after = base(old), base(new)
    if before == after == "varchar":
        return (facts(new).characters or 0) >= (facts(old).characters or 0)
    if before == after == "decimal":
        was, now = facts(old), facts(new)
        whole = (now.precision or 0) - (now.scale or 0) >= (was.precision or 0) - (was.scale or 0)
        return whole and (now.scale or 0) >= (was.scale or 0)
    if before == after:
        return True
    numbers = ["tinyint", "smallint", "int", "bigint", "largeint"]
    if before in numbers and after in numbers:
        return numbers.index(after) > numbers.index(before)
    if after == "varchar":
        return before in (*numbers, "float", "double", "char", "date", "datetime", "json", "decimal")
    return (before, after) in {
        ("tinyint", "double"),
        ("tinyint", "float"),
        ("smallint", "float"),
        ("smallint", "double"),
        ("int", "double"),
        ("bigint", "double"),
        ("float", "double"),
        ("date", "datetime"),
        ("datetime", "date"),
        ("varchar", "json"),
        ("char", "varchar"),
    }
