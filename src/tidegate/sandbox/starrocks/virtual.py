"""Rows that no table holds, as a query of DuckDB: what information_schema and SHOW are asked through."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

Column = tuple[str, str]
"""Name and DuckDB type."""

TEXT, NUMBER, MOMENT = "VARCHAR", "BIGINT", "TIMESTAMP"


def words(text: str) -> tuple[str, ...]:
    """Names of columns, written with blanks between them."""
    return tuple(text.split())


def columns(texts: str, numbers: str = "", moments: str = "") -> tuple[Column, ...]:
    """Columns of a system table: all its names in order; ``numbers`` and ``moments`` name those that aren't text."""
    kinds = dict.fromkeys(numbers.split(), NUMBER) | dict.fromkeys(moments.split(), MOMENT)
    return tuple((name, kinds.get(name, TEXT)) for name in texts.split())


def query(shape: Sequence[Column], rows: Sequence[Sequence[Any]]) -> str:
    """A SELECT of these rows under these names and types."""
    if not rows:
        items = ", ".join(f"CAST(NULL AS {type}) AS {_name(name)}" for name, type in shape)
        return f"SELECT {items} WHERE 1 = 0"
    items = ", ".join(f"CAST(c{place} AS {type}) AS {_name(name)}" for place, (name, type) in enumerate(shape))
    names = ", ".join(f"c{place}" for place in range(len(shape)))
    values = ", ".join("(" + ", ".join(_literal(value) for value in row) + ")" for row in rows)
    return f"SELECT {items} FROM (VALUES {values}) AS v({names})"


def typed(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[Column, ...]:
    """The columns of rows in Python: BIGINT where every value is a number, else text."""
    kinds = [NUMBER if rows and all(isinstance(row[place], int) for row in rows) else TEXT for place in range(len(names))]
    return tuple(zip(names, kinds, strict=True))


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return f"'{str(value).lower()}'"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dt.datetime):
        return f"'{value.isoformat(sep=' ')}'"
    return "'" + str(value).replace("'", "''") + "'"
