"""What a table does with loaded rows: SQL that makes DuckDB's table what StarRocks' table of that model would be.

The rows are in the view ``incoming``: the columns that the load names, ``__position`` (order of arrival) and ``__op`` (0 upsert,
1 delete). DUP_KEYS appends; UNIQUE_KEYS and PRIMARY_KEYS keep the last row by key; AGG_KEYS folds. A merge condition is applied row
by row in order: a delete is unconditional, an upsert stands if its value is not less than the one before it. (How the real server
orders deletes and upserts of one key inside of one conditional load is unverified.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidegate.sandbox.starrocks.model import ColumnDef, TableDef
from tidegate.sandbox.starrocks.sqltypes import parse_type, quoted
from tidegate.sandbox.starrocks.stage import default_value

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def apply(connection: DuckDBPyConnection, table: TableDef, named: Sequence[str], *, partial: bool, condition: str | None) -> None:
    """Runs inside of the caller's transaction. ``named``: the columns of ``incoming`` that belong to the table."""
    target = f"{quoted(table.db)}.{quoted(table.name)}"
    known = {name.lower() for name in named}
    if table.model == "DUP_KEYS":
        values = ", ".join(_value("i", column, known, fallback=None) for column in table.columns)
        connection.execute(f"INSERT INTO {target} SELECT {values} FROM incoming i ORDER BY __position")
        return
    keys = ", ".join(quoted(name) for name in table.key)
    same = " AND ".join(f"t.{quoted(name)} IS NOT DISTINCT FROM w.{quoted(name)}" for name in table.key)
    if table.model == "AGG_KEYS":
        _fold(connection, table, target, known, keys, same)
        return
    if condition is None:
        # Not by QUALIFY row_number() … = 1, which DuckDB makes an aggregate of that loses the sign of -0.0.
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE winner AS "
            f"SELECT * FROM incoming WHERE __position IN (SELECT max(__position) FROM incoming GROUP BY {keys})"
        )
    else:
        _conditional(connection, table, target, keys, same, quoted(condition))
    old = "t" if partial else None
    values = ", ".join(_value("w", column, known, fallback=old) for column in table.columns)
    joined = f"winner w LEFT JOIN {target} t ON {same}" if partial else "winner w"
    kept = f"SELECT {values} FROM {joined} WHERE w.__op = 0 ORDER BY w.__position"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE result AS {kept}")
    connection.execute(f"DELETE FROM {target} t USING winner w WHERE {same}")
    connection.execute(f"INSERT INTO {target} SELECT * FROM result")


def _value(alias: str, column: ColumnDef, known: set[str], *, fallback: str | None) -> str:
    name = quoted(column.name)
    if column.name.lower() in known:
        return f"{alias}.{name} AS {name}"
    if fallback is None:
        return f"{default_value(column)} AS {name}"
    # A key that is new in a partial update: the default, or what a column of the backend appends where there is none.
    new = default_value(column) if column.optional else _zero(column)
    return f"CASE WHEN {fallback}.rowid IS NULL THEN {new} ELSE {fallback}.{name} END AS {name}"


def _zero(column: ColumnDef) -> str:
    type_ = parse_type(column.type)
    zeros = {"char": "''", "varchar": "''", "date": "DATE '0000-01-01'", "datetime": "TIMESTAMP '0000-01-01 00:00:00'"}
    zeros |= {
        "json": "'null'",
        "bitmap": "[]",
        "hll": "[]",
        "array": "[]",
        "map": "MAP {}",
        "boolean": "false",
        "varbinary": "''::BLOB",
    }
    return f"CAST({zeros.get(type_.kind, 'NULL' if type_.kind == 'struct' else '0')} AS {type_.duckdb})"


def _conditional(connection: DuckDBPyConnection, table: TableDef, target: str, keys: str, same: str, condition: str) -> None:
    """``winner`` from ``incoming``: per key the last delete, or the best upsert after it if that holds against the table's row."""
    inner = " AND ".join(f"d.{quoted(name)} IS NOT DISTINCT FROM i.{quoted(name)}" for name in table.key)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE winner AS WITH "
        f"deleted AS (SELECT {keys}, max(__position) AS last FROM incoming WHERE __op <> 0 GROUP BY ALL), "
        f"after AS (SELECT i.*, d.last FROM incoming i LEFT JOIN deleted d ON {inner} "
        "WHERE i.__op = 0 AND i.__position > COALESCE(d.last, -1)), "
        f"best AS (SELECT * FROM after QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {condition} DESC NULLS LAST, "
        "__position DESC) = 1), "
        f"standing AS (SELECT w.* EXCLUDE (last) FROM best w LEFT JOIN {target} t ON {same} WHERE w.last IS NOT NULL "
        f"OR t.rowid IS NULL OR t.{condition} IS NULL OR w.{condition} >= t.{condition}), "
        "gone AS (SELECT i.* FROM incoming i WHERE i.__op <> 0 "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY __position DESC) = 1) "
        "SELECT * FROM standing UNION ALL BY NAME SELECT * FROM gone w WHERE NOT EXISTS "
        f"(SELECT 1 FROM standing t WHERE {same})"
    )


_FOLDS = {
    "SUM": "sum({0})",
    "MIN": "min({0})",
    "MAX": "max({0})",
    "REPLACE": "arg_max_null({0}, __position)",
    "REPLACE_IF_NOT_NULL": "arg_max({0}, __position)",
    "BITMAP_UNION": "bitmap_union({0})",
    "HLL_UNION": "hll_union({0})",
}


def _fold(connection: DuckDBPyConnection, table: TableDef, target: str, known: set[str], keys: str, same: str) -> None:
    names = ", ".join(quoted(column.name) for column in table.columns)
    values = ", ".join(_value("i", column, known, fallback=None) for column in table.columns)
    folds = []
    for column in table.columns:
        name = quoted(column.name)
        if column.name in table.key:
            folds.append(name)
        else:
            fold = _FOLDS[column.aggregation or "REPLACE"].format(name)
            folds.append(f"CAST({fold} AS {parse_type(column.type).duckdb}) AS {name}")
    kept = f"SELECT {names}, -1::BIGINT AS __position FROM {target} t WHERE EXISTS (SELECT 1 FROM incoming w WHERE {same})"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE result AS SELECT {', '.join(folds)} "
        f"FROM ({kept} UNION ALL SELECT {values}, __position FROM incoming i) GROUP BY {keys}"
    )
    connection.execute(f"DELETE FROM {target} t USING result w WHERE {same}")
    connection.execute(f"INSERT INTO {target} SELECT {names} FROM result")
