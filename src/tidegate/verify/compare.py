"""Comparing two tables by key, column by column."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.fold import key_codes
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import SchemaError


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that one side lacks, and rows whose values differ; ``columns`` says in which columns, by how many rows."""

    missing: int
    unexpected: int
    changed: int
    columns: dict[str, int]

    @property
    def equal(self) -> bool:
        return not (self.missing or self.unexpected or self.changed)

    def __str__(self) -> str:
        if self.equal:
            return "equal"
        parts = [f"{self.missing} missing", f"{self.unexpected} unexpected", f"{self.changed} changed"]
        if self.columns:
            parts.append("in " + ", ".join(f"{name} ({count})" for name, count in self.columns.items()))
        return ", ".join(parts)


def compare(
    expected: pa.Table, actual: pa.Table, key: Sequence[str], *, empty_is_null: bool = False, json_values: bool = False
) -> Difference:
    """How ``actual`` differs from ``expected``, by key and in the columns of ``expected``. NULL equals NULL, NaN equals NaN.

    Columns are compared as values of the expected type: a smallint that holds a TINYINT is equal to it, a text ``-26:00:00`` to the
    TIME, where the target has no type for it. SchemaError if a column is
    missing, a value doesn't fit the expected type, or a key stands twice on one side.

    ``empty_is_null``: outside the key an empty text equals NULL, as in a database that stores it so. ``json_values``: texts of a
    JSON column (its field says ``json``) are equal if their values are, and JSON's null equals NULL, as in a database that keeps
    the value and not the text.
    """
    if missing := [name for name in expected.column_names if name not in actual.column_names]:
        raise SchemaError(f"columns that are missing: {', '.join(missing)}")
    actual = pa.table([_cast(actual.column(f.name), f) for f in expected.schema], names=expected.column_names)
    both = pa.concat_tables([expected.replace_schema_metadata(), actual.cast(expected.schema.remove_metadata())])
    schema = TableSchema.of_arrow(TableName("", "compared"), both.schema, key)
    codes = key_codes(both.select(list(key)), ChangeBatch.of(schema, both, RowKind.INSERT))
    left, right = codes[: expected.num_rows], codes[expected.num_rows :]
    for side, name in ((left, "expected"), (right, "actual")):
        if len(np.unique(side)) != len(side):
            raise SchemaError(f"a key stands twice in the {name} rows")
    _, at_left, at_right = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    differs = np.zeros(len(at_left), dtype=bool)
    columns = {}
    for name in expected.column_names:
        left_values, right_values = expected.column(name).take(pa.array(at_left)), actual.column(name).take(pa.array(at_right))
        if empty_is_null and pa.types.is_string(left_values.type):
            left_values, right_values = _nulled(left_values), _nulled(right_values)
        unequal = _unequal(left_values, right_values)
        if json_values and b"json" in (expected.schema.field(name).metadata or {}):
            unequal[unequal] = _other_values(left_values.filter(pa.array(unequal)), right_values.filter(pa.array(unequal)))
        if unequal.any():
            columns[name] = int(unequal.sum())
            differs |= unequal
    return Difference(len(left) - len(at_left), len(right) - len(at_right), int(differs.sum()), columns)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        if pa.types.is_duration(field.type) and pa.types.is_string(column.type):
            return _times(column).cast(field.type)
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"column {field.name} holds {column.type} values that {field.type} can't") from error


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts such as ``-838:59:59.5`` as durations of microseconds. ArrowInvalid for one that is none."""
    parts = pc.extract_regex(column, r"^(?P<sign>-?)(?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d)(?:\.(?P<f>\d{1,6}))?$")
    if parts.null_count > column.null_count:
        raise pa.ArrowInvalid("a text that is no time")

    def number(name: str) -> pa.ChunkedArray:
        text = pc.struct_field(parts, name)
        return pc.cast(pc.utf8_rpad(text, 6, "0") if name == "f" else text, pa.int64())

    micros = number("f")
    for name, unit in (("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)):
        micros = pc.add(micros, pc.multiply(number(name), unit))
    negative = pc.equal(pc.struct_field(parts, "sign"), "-")
    return pc.if_else(negative, pc.negate(micros), micros).cast(pa.duration("us"))


def _nulled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)


def _other_values(left: pa.ChunkedArray, right: pa.ChunkedArray) -> list[bool]:
    """Per row whether two JSON texts, or NULLs, stand for different values. Numbers are compared with all their digits."""

    def value(text: str | None) -> Any:
        return None if text is None else json.loads(text, parse_float=Decimal)

    return [value(one) != value(other) for one, other in zip(left.to_pylist(), right.to_pylist(), strict=True)]


def _unequal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    nulls = pc.xor(left.is_null(), right.is_null())
    values = pc.fill_null(pc.not_equal(left, right), False)
    if pa.types.is_floating(left.type):
        both_nan = pc.fill_null(pc.and_(pc.is_nan(left), pc.is_nan(right)), False)
        values = pc.and_not(values, both_nan)
    return np.array(pc.or_(nulls, values).to_numpy(), dtype=np.bool_)
