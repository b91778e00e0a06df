"""The SQL of a copy: what is selected for each column, and where a page begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tidegate.errors import SchemaError
from tidegate.providers.mysql.session import quote
from tidegate.providers.mysql.types import BINARIES, TEXTS, MySqlColumn, MySqlTable

_EXACT = {
    # The text of a FLOAT has six digits, that of FLOAT(M,D) and DOUBLE(M,D) has D decimals; a product with 1e0 has all there are.
    "float": "{} * 1e0",
    "double": "{} * 1e0",
    # Bits come as bytes, and ZEROFILL pads.
    "bit": "CAST({} AS UNSIGNED)",
}


def expression(column: MySqlColumn) -> str:
    """What is selected so that the text of the value is exact."""
    return _EXACT.get(column.data_type, "{}").format(quote(column.name))


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The rows whose key lies behind ``after`` (None: from the first on), up to and with ``upto`` (None: to the last).

    Both are keys as :func:`key_texts` gives them, and compared by the server, in the order of the columns' own collations.
    """

    after: tuple[str, ...] | None = None
    upto: tuple[str, ...] | None = None


def page_query(
    table: MySqlTable,
    within: KeyRange,
    limit: int | None,
    expressions: Callable[[MySqlColumn], str] = expression,
    more: Sequence[str] = (),
) -> str:
    """The first rows of a range, in the order of the key as the server has it. Without a key: all rows, in any order.

    ``more`` is selected behind the columns.
    """
    columns = ", ".join([*(expressions(column) for column in table.columns), *more])
    if not table.schema.key:
        return f"SELECT {columns} FROM {quote(table.where.schema)}.{quote(table.where.name)}"
    page = f" LIMIT {limit}" if limit is not None else ""
    return f"SELECT {columns}{_from_range(table, within)} ORDER BY {_keys(table)}{page}"


def bound_query(table: MySqlTable, within: KeyRange, rows: int) -> str:
    """The key of the range's row number ``rows``; none if it has fewer."""
    keys = ", ".join(expression(column) for column in table.key_columns())
    return f"SELECT {keys}{_from_range(table, within)} ORDER BY {_keys(table)} LIMIT 1 OFFSET {rows - 1}"


def last_query(table: MySqlTable) -> str:
    """The last key that there is."""
    keys = ", ".join(expression(column) for column in table.key_columns())
    order = ", ".join(f"{quote(name)} DESC" for name in table.schema.key)
    return f"SELECT {keys}{_from_range(table, KeyRange())} ORDER BY {order} LIMIT 1"


def _keys(table: MySqlTable) -> str:
    return ", ".join(quote(name) for name in table.schema.key)


def _from_range(table: MySqlTable, within: KeyRange) -> str:
    columns = table.key_columns()
    conditions = [_beyond(columns, within.after, ">", ">")] if within.after else []
    conditions += [_beyond(columns, within.upto, "<", "<=")] if within.upto else []
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f" FROM {quote(table.where.schema)}.{quote(table.where.name)} FORCE INDEX ({quote(table.index)}){where}"


def _beyond(columns: Sequence[MySqlColumn], key: Sequence[str], sign: str, last: str) -> str:
    """``(a, b) > (x, y)``, spelled so that the server reads a range of the index: it can't for row constructors.

    ``sign`` compares all columns but the last, which ``last`` compares.
    """
    first, literals = columns[0], [literal(column, text) for column, text in zip(columns, key, strict=True)]
    condition = ""
    for column, value in reversed(list(zip(columns, literals, strict=True))):
        name = quote(column.name)
        condition = f"({name} {sign} {value} OR ({name} = {value} AND {condition}))" if condition else f"{name} {last} {value}"
    return f"{quote(first.name)} {sign}= {literals[0]} AND {condition}" if len(columns) > 1 else condition


def key_texts(table: MySqlTable, rows: pa.Table) -> tuple[str, ...]:
    """The key of the last row, each value as text that :func:`literal` turns back into SQL, exact."""
    texts = []
    for column in table.key_columns():
        value = rows.column(column.name)[rows.num_rows - 1]
        if not value.is_valid:
            raise SchemaError(f"the key column {column.name} holds a date that no calendar has", table=table.name)
        texts.append(_text(column, value))
    return tuple(texts)


def _text(column: MySqlColumn, value: Any) -> str:
    kind = column.column.type
    if pa.types.is_binary(kind):
        return str(value.as_py().hex())
    if pa.types.is_floating(kind):
        return repr(float(value.as_py()))
    if pa.types.is_temporal(kind):
        # Days or microseconds as a number: Python's own types begin with year 1.
        return str(value.value)
    if pa.types.is_decimal(kind):
        return format(value.as_py(), "f")
    if pa.types.is_boolean(kind):
        return str(int(value.as_py()))
    return str(value.as_py())


def literal(column: MySqlColumn, text: str) -> str:
    """A text of :func:`key_texts` as an SQL literal that compares with the column by the column's own rules."""
    kind = column.column.type
    if column.data_type == "set" and len(column.labels) == 64:
        # Its index is in unsigned order, and the server compares it as a signed number (seen on MariaDB 10.11 and MySQL 5.6).
        what = f"the key column {column.name} is a SET of 64 members, by which no page can begin: name another key"
        raise SchemaError(what, setting="key=[...], or more batch_rows than the table has")
    if column.data_type in ("enum", "set"):
        return str(_ordinal(column, text))
    if column.data_type in TEXTS or column.data_type == "json":
        return f"_utf8mb4 x'{text.encode().hex()}'" if text else "''"
    if column.data_type in BINARIES:
        return f"x'{bytes.fromhex(text).hex()}'" if text else "''"
    if pa.types.is_date(kind):
        return f"'{_moment(int(text) * 86_400_000_000)[:10]}'"
    if pa.types.is_timestamp(kind):
        return f"'{_moment(int(text))}'"
    if pa.types.is_duration(kind):
        return f"'{_duration(int(text))}'"
    if pa.types.is_floating(kind):
        return f"{float(text)!r}e0" if "e" not in repr(float(text)) else repr(float(text))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return str(int(text))
    if pa.types.is_decimal(kind) and all(character in "0123456789.-" for character in text):
        return text
    raise SchemaError(f"the stored key value of column {column.name} is not a {column.data_type}")


def _ordinal(column: MySqlColumn, text: str) -> int:
    """ENUM and SET sort and compare by number, not by label."""
    try:
        if column.data_type == "enum":
            return column.labels.index(text) + 1 if text else 0
        return sum(1 << column.labels.index(label) for label in text.split(",") if label)
    except ValueError:
        raise SchemaError(
            f"the copy stopped at a value of {column.name} that is not among its labels {json.dumps(column.labels)} any more"
        ) from None


def _moment(micros: int) -> str:
    text = pa.scalar(micros, pa.timestamp("us")).cast(pa.string()).as_py()
    return str(text)


def _duration(micros: int) -> str:
    sign, rest = ("-", -micros) if micros < 0 else ("", micros)
    seconds, fraction = divmod(rest, 1_000_000)
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
