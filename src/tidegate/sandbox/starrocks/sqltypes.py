"""StarRocks' types: read from their text, mapped to DuckDB's, named as the backend names them.

LARGEINT is HUGEINT; BITMAP and HLL are sorted sets (UBIGINT[]), so that a distinct count is exact where the real HLL estimates;
VARCHAR keeps its length here, because it counts bytes and DuckDB doesn't.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from tidegate.sandbox.starrocks.model import EngineError

_SIMPLE = {
    "boolean": ("BOOLEAN", 1),
    "tinyint": ("TINYINT", 1),
    "smallint": ("SMALLINT", 2),
    "int": ("INTEGER", 4),
    "bigint": ("BIGINT", 8),
    "largeint": ("HUGEINT", 16),
    "float": ("FLOAT", 4),
    "double": ("DOUBLE", 8),
    "date": ("DATE", 4),
    "datetime": ("TIMESTAMP", 8),
    "json": ("JSON", 0),
    "bitmap": ("UBIGINT[]", 0),
    "hll": ("UBIGINT[]", 0),
    "varbinary": ("BLOB", 0),
    "char": ("VARCHAR", 0),
    "varchar": ("VARCHAR", 0),
    "decimal": ("DECIMAL", 0),
    "array": ("", 0),
    "map": ("", 0),
    "struct": ("", 0),
}
_ALIASES = {"integer": "int", "string": "varchar", "text": "varchar", "bool": "boolean", "binary": "varbinary"}
_ALIASES |= dict.fromkeys(("decimalv2", "decimal32", "decimal64", "decimal128", "numeric"), "decimal")
INTEGERS = ("tinyint", "smallint", "int", "bigint", "largeint")
KEY_TYPES = ("boolean", *INTEGERS, "char", "varchar", "date", "datetime")
"""What a primary key may hold."""


@dataclass(frozen=True, slots=True)
class Type:
    """``kind`` is the bare name (``varchar``); ``length`` counts bytes; ``inner`` are the types inside of ARRAY, MAP and STRUCT."""

    kind: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    inner: tuple[Type, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def duckdb(self) -> str:
        """The type in DuckDB's words."""
        if self.kind == "decimal":
            return f"DECIMAL({self.precision},{self.scale})"
        if self.kind == "array":
            return f"{self.inner[0].duckdb}[]"
        if self.kind == "map":
            return f"MAP({self.inner[0].duckdb}, {self.inner[1].duckdb})"
        if self.kind == "struct":
            fields = ", ".join(f"{quoted(name)} {inner.duckdb}" for name, inner in zip(self.names, self.inner, strict=True))
            return f"STRUCT({fields})"
        return _SIMPLE[self.kind][0]

    @property
    def width(self) -> int:
        """Bytes in an encoded key; 0 for strings."""
        return _SIMPLE[self.kind][1]

    @property
    def nested(self) -> bool:
        return bool(self.inner)

    def __str__(self) -> str:
        """As the backend's ``TypeDescriptor::debug_string`` says it: INT, VARCHAR(20), DECIMAL64(10, 2)."""
        if self.kind in ("char", "varchar", "varbinary"):
            return f"{self.kind.upper()}({self.length})"
        if self.kind == "decimal":
            width = 32 if self.precision <= 9 else 64 if self.precision <= 18 else 128
            return f"DECIMAL{width}({self.precision}, {self.scale})"
        if self.kind == "struct":
            fields = ", ".join(f"{name} {inner}" for name, inner in zip(self.names, self.inner, strict=True))
            return f"STRUCT{{{fields}}}"
        if self.inner:
            return f"{self.kind.upper()}<{', '.join(map(str, self.inner))}>"
        return self.kind.upper()

    def structure(self) -> object:
        """What DuckDB's ``from_json`` wants to know of it."""
        if self.kind == "array":
            return [self.inner[0].structure()]
        if self.kind == "struct":
            return {name: inner.structure() for name, inner in zip(self.names, self.inner, strict=True)}
        return self.duckdb


def quoted(name: str) -> str:
    """An identifier for DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(value: str) -> str:
    """A string literal for DuckDB."""
    return "'" + value.replace("'", "''") + "'"


@lru_cache(maxsize=4096)
def parse_type(text: str) -> Type:
    """``decimal(10, 2)``, ``array<map<int,varchar(20)>>``, ``int(11)``. Raises EngineError for what StarRocks doesn't have."""
    found = re.fullmatch(r"\s*([a-z0-9_]+)\s*(.*?)\s*", text.strip().lower(), re.DOTALL)
    if not found:
        raise EngineError(f"Unknown data type '{text}'")
    word, rest = found.groups()
    name = _ALIASES.get(word, word)
    if name not in _SIMPLE:
        raise EngineError(f"Unknown data type '{text}'")
    if rest.startswith("<") and rest.endswith(">"):
        return _nested(name, text.strip()[text.strip().index("<") + 1 : -1])
    if rest and not re.fullmatch(r"\(\s*\d+\s*(,\s*\d+\s*)?\)", rest):
        raise EngineError(f"Unknown data type '{text}'")
    numbers = [int(number) for number in re.findall(r"\d+", rest)]
    if name == "decimal":
        precision, scale = [*numbers, 0][:2] if numbers else ((27, 9) if word == "decimalv2" else (10, 0))
        if not 1 <= precision <= 38 or not 0 <= scale <= precision:
            raise EngineError(f"Decimal's precision should range from 1 to 38: '{text}'")
        return Type(name, precision=precision, scale=scale)
    if name in ("char", "varchar", "varbinary"):
        longest = 255 if name == "char" else 1048576
        length = numbers[0] if numbers else {"char": 1, "varchar": 1 if word == "varchar" else 65533}.get(name, longest)
        if not 1 <= length <= longest:
            raise EngineError(f"{name.capitalize()} size must be <= {longest}: {length}")
        return Type(name, length=length)
    return Type(name)


def _nested(kind: str, body: str) -> Type:
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(body):
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and depth == 0:
            parts.append(body[start:at])
            start = at + 1
    parts.append(body[start:])
    if kind == "struct":
        pairs = [re.fullmatch(r"\s*`?(\w+)`?\s*:?\s*(.+)", part, re.DOTALL) for part in parts]
        fields = [(pair.group(1), parse_type(pair.group(2))) for pair in pairs if pair]
        return Type(kind, inner=tuple(inner for _, inner in fields), names=tuple(name for name, _ in fields))
    inner = tuple(parse_type(part) for part in parts)
    if len(inner) != (1 if kind == "array" else 2):
        raise EngineError(f"Unknown data type '{kind}<{body}>'")
    return Type(kind, inner=inner)
