"""Text to values: DuckDB's SQL for what the backend's converters do (``be/src/formats/csv``, ``be/src/formats/json``, the casts).

A value that can't be converted is NULL here; strict mode then finds it by "text was there, value is not".
"""

from __future__ import annotations

import json

from tidegate.sandbox.starrocks.sqltypes import INTEGERS, Type, quoted, text_literal

_INT = r"\s*[+-]?[0-9]+\s*"
_REAL = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
_DATE = r"\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([ T][0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]{1,6})?)?)?\s*"
# Without seconds, too, as the Flink connector writes them where they are 0 (be runtime/time_types.cpp, date::from_string; in one
# version the fast path took such a text for the date alone).


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
        dashed = f"WHEN regexp_full_match({text}, {text_literal(_DATE)}) THEN TRY_CAST(trim({text}) AS TIMESTAMP)"
        day = f"WHEN regexp_full_match({text}, '[0-9]{{8}}') THEN try_strptime({text}, '%Y%m%d')"
        moment = f"WHEN regexp_full_match({text}, '[0-9]{{14}}') THEN try_strptime({text}, '%Y%m%d%H%M%S')"
        return f"CAST(CASE {dashed} {day} {moment} END AS {type_.duckdb})"
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
