"""Which keys a table has: what StarRocks can't be told to look at while it loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.catalog import CatalogTable
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.texts import texts

KEYS_AT_ONCE = 2000
"""Keys of one question; StarRocks takes expressions of 10,000 parts (fe.conf, expr_children_limit)."""


def present(
    metadata: Metadata, table: CatalogTable, rows: pa.Table, key: Sequence[str], mark: str | None, time_zone: str
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Per row whether its key is in the table, and whether the row that is there is marked as deleted.

    ``mark`` is the soft_delete_column, None if there is none. Keys are compared by the server.
    """
    there, marked = np.zeros(rows.num_rows, dtype=bool), np.zeros(rows.num_rows, dtype=bool)
    columns = [_literals(rows, name, table, time_zone) for name in key]
    for start in range(0, rows.num_rows, KEYS_AT_ONCE):
        end = min(start + KEYS_AT_ONCE, rows.num_rows)
        listed = [tuple(column[at] for column in columns) for at in range(start, end)]
        # Each key brings its own number back, so nothing has to be compared here.
        lines = ", ".join(f"({', '.join([str(at), *values])})" for at, values in enumerate(listed, start))
        names = ", ".join(["`tidegate_at`", *(f"`k{n}`" for n in range(len(key)))])
        asked = f"(VALUES {lines}) AS `asked` ({names})"
        on = " AND ".join(f"`t`.{sql.name(name)} = `asked`.`k{n}`" for n, name in enumerate(key))
        shown = "0" if mark is None else f"IF(`t`.{sql.name(mark)}, 1, 0)"
        question = f"SELECT `asked`.`tidegate_at`, {shown} FROM {asked} JOIN {sql.table(table.name)} AS `t` ON {on}"
        for at, is_marked in metadata.session.rows(question, table=table.name):
            there[int(at)], marked[int(at)] = True, bool(int(is_marked or 0))
    return there, marked


def _literals(rows: pa.Table, name: str, table: CatalogTable, time_zone: str) -> list[str]:
    column = table.column(name)
    assert column is not None
    written, _ = texts(rows.column(name).combine_chunks(), column, time_zone)
    kind = column.type.split("(")[0]
    typed = "date" if kind == "date" else "datetime" if kind == "datetime" else None
    return [_literal(value, rows.schema.field(name).type, typed) for value in written.to_pylist()]


def _literal(text: Any, kind: pa.DataType, typed: str | None) -> str:
    if typed is not None:
        return f"CAST({sql.literal(str(text))} AS {typed.upper()})"
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
        return str(text)
    return sql.literal(str(text))
