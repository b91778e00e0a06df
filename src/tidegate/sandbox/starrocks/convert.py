"""Text to values: DuckDB's SQL for what the backend's converters do (``be/src/formats/csv``, ``be/src/formats/json``, the casts).

A value that can't be converted is NULL here; strict mode then finds it by "text was there, value is not".
"""

from __future__ import annotations

import json

from tidegate.sandbox.starrocks.sqltypes import INTEGERS, Type, quoted, text_literal

_INT = r"\s*[+-]?[0-9]+\s*"
_REAL = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
_DATE = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([ T]([01]?[0-9]|2[0-3]):[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]{1,6})?)?)?"

_SEPARATOR, _SPACE = "[:punct:]", r"\s\x0b"
_CUT = rf"[{_SEPARATOR}]*(?:[^\d{_SEPARATOR}{_SPACE}].*)?"
"""What may follow hours or minutes that nothing follows: no space."""
_MINUTES = rf"[{_SEPARATOR}]+(\d+)(?:[{_SEPARATOR}]+(\d+)(?:\.(\d{{0,6}}))?.*|{_CUT})"
_NO_TIME = rf"[{_SEPARATOR}{_SPACE}]+(?:[^\d{_SEPARATOR}{_SPACE}].*)?|[^\dT{_SEPARATOR}{_SPACE}].*|T(?:\D.*)?"
_LOOSE_DATE = (
    rf"(?s)[{_SPACE}]*(\d+)[{_SEPARATOR}]+(\d+)[{_SEPARATOR}]+(\d+)"
    rf"(?:(?:T|[{_SEPARATOR}{_SPACE}]+)(\d+)(?:{_MINUTES}|{_CUT})|(?:{_NO_TIME})?)[{_SPACE}]*"
)
_FULL_YEAR = "lpad(CASE WHEN len(p.y) <> 2 THEN p.y WHEN p.y < '70' THEN '20' || p.y ELSE '19' || p.y END, 4, '0')"
_TIME = "lpad(p.h, 2, '0'), ':', lpad(p.i, 2, '0'), ':', lpad(p.s, 2, '0'), '.', p.u, '0'"

MACROS = (
    f"loose_datetime(x) AS list_transform([regexp_extract(x, '^{_LOOSE_DATE}$', ['y', 'm', 'd', 'h', 'i', 's', 'u'])], "
    "lambda p: CASE WHEN len(p.y) <= 4 AND TRY_CAST('0' || p.h AS INTEGER) < 24 THEN "
    f"TRY_CAST(concat({_FULL_YEAR}, '-', p.m, '-', p.d, ' ', {_TIME}) AS TIMESTAMP) END)[1]",
    rf"""json_or_string(x) AS CASE WHEN regexp_matches(x, '^[{_SPACE}]*[\[{{"]') """
    "THEN CASE WHEN json_valid(x) THEN CAST(x AS JSON) END ELSE to_json(CAST(x AS VARCHAR)) END",
)
"""``loose_datetime`` is be ``runtime/time_types.cpp``, date::from_string: it ignores what follows the seconds, a zone too, and what
follows the day and is no time; fraction digits past the sixth are cut.

``json_or_string`` is be ``types/json_value.cpp``, parse_json_or_string, which is behind ``parse_json`` and CAST: what begins as
an object, an array or a string is parsed, and NULL if it can't be; anything else, ``null`` and numbers too, is a JSON string."""


def conversion(text: str, type_: Type, *, lenient: bool) -> str:
    """SQL for the value of the VARCHAR expression ``text``. ``lenient`` as JSON and CAST are: 12.7 is 12 in an INT column."""
    kind = type_.kind
    if kind in INTEGERS:
        whole = f"WHEN regexp_full_match({text}, {text_literal(_INT)}) THEN TRY_CAST(trim({text}) AS {type_.duckdb})"
        truncated = f"TRY_CAST(trunc(TRY_CAST({text} AS DOUBLE)) AS {type_.duckdb})"
        cut = f" WHEN regexp_full_match({text}, {text_literal(_REAL)}) THEN {truncated}"
        return f"CASE {whole}{cut if lenient and kind != 'largeint' else ''} END"
    if kind in ("float", "double"):
        value = f"TRY_CAST({text} AS {type_.duckdb})"
        return f"CASE WHEN regexp_full_match({text}, {text_literal(_REAL)}) AND isfinite({value}) THEN {value} END"
    if kind == "decimal":
        return f"CASE WHEN regexp_full_match({text}, {text_literal(_REAL)}) THEN TRY_CAST(trim({text}) AS {type_.duckdb}) END"
    if kind == "boolean":
        number = f"WHEN regexp_full_match({text}, {text_literal(_REAL)}) THEN TRY_CAST({text} AS DOUBLE) <> 0"
        return f"CASE lower(trim({text})) WHEN 'true' THEN true WHEN 'false' THEN false ELSE CASE {number} END END"
    if kind in ("date", "datetime"):
        dashed = f"WHEN regexp_full_match({text}, {text_literal(_DATE)}) THEN TRY_CAST({text} AS TIMESTAMP)"
        day = f"WHEN regexp_full_match({text}, '[0-9]{{8}}') THEN try_strptime({text}, '%Y%m%d')"
        moment = f"WHEN regexp_full_match({text}, '[0-9]{{14}}') THEN try_strptime({text}, '%Y%m%d%H%M%S')"
        return f"CAST(CASE {dashed} {day} {moment} ELSE loose_datetime({text}) END AS {type_.duckdb})"
    if kind == "json":
        return f"CASE WHEN json_valid({text}) THEN CAST({text} AS JSON) END"
    if kind == "varbinary":
        return f"CASE WHEN strlen({text}) <= {type_.length} THEN encode({text}) END"
    if type_.nested:
        opening = "[" if kind == "array" else "{"
        structure = text_literal(json.dumps(type_.structure()))
        value = f"TRY_CAST(from_json({text}, {structure}) AS {type_.duckdb})"
        return f"CASE WHEN json_valid({text}) AND starts_with(ltrim({text}), '{opening}') THEN {value} END"
    return text  # CHAR and VARCHAR: the length is looked at by who knows what a longer one means


def key_bytes(columns: list[tuple[str, Type]]) -> str:
    """SQL for the bytes of an encoded primary key (``PrimaryKeyEncoder``): a string before the last column has two bytes more."""
    sizes = []
    for at, (name, type_) in enumerate(columns):
        if type_.kind in ("char", "varchar"):
            sizes.append(f"strlen({quoted(name)}) + {0 if at == len(columns) - 1 else 2}")
        else:
            sizes.append(str(type_.width))
    return " + ".join(sizes)


def shown(name: str, type_: Type | None) -> str:
    """SQL for a value in a row of the error log (``Chunk::debug_row``): text in quotes, NULL as NULL."""
    column = quoted(name)
    if type_ is None or type_.kind in ("char", "varchar"):
        return f"COALESCE('''' || {column} || '''', 'NULL')"
    if type_.kind == "boolean":
        return f"COALESCE(CAST(CAST({column} AS TINYINT) AS VARCHAR), 'NULL')"
    return f"COALESCE(CAST({column} AS VARCHAR), 'NULL')"
