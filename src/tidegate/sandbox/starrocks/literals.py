"""Python values of an INSERT as text that the conversions read, and time zones in DuckDB's words."""

from __future__ import annotations

import datetime
import decimal
import re
from typing import Any

from tidegate.sandbox.starrocks.model import ColumnDef
from tidegate.sandbox.starrocks.parse_json import Number, dumps
from tidegate.sandbox.starrocks.sqltypes import parse_type


def duckdb_zone(zone: str) -> str:
    """``+08:00`` as Etc/GMT-8 (the sign is turned around there); half hours don't exist there and are cut."""
    if zone == "CST":
        return "Asia/Shanghai"
    found = re.fullmatch(r"([+-])(\d{1,2}):\d{2}", zone)
    return f"Etc/GMT{'-' if found[1] == '+' else '+'}{int(found[2])}" if found else zone


def value_text(value: Any, column: ColumnDef | None) -> str | None:
    """None for NULL; lists and dicts as JSON, numbers with all their digits."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if column and parse_type(column.type).kind == "json" else "1" if value else "0"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple | dict):
        return dumps(_plain(value))
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, int | decimal.Decimal) and not isinstance(value, bool):
        return Number(value)
    if isinstance(value, datetime.date):
        return str(value)
    return value
