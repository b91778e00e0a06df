"""The headers of a load: what the connection, the table and the rows ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from tidegate.errors import ConfigError
from tidegate.providers.starrocks.format import delimiter

OP = "__op"
"""The column of a primary key table's rows that says what becomes of them: 0 upsert, 1 delete."""
OWN = ("label", "authorization", "expect", "content-length", "transfer-encoding", "db", "table")
"""Headers that only tidegate sets."""


def load_headers(values: Mapping[str, Any], kind: Literal["json", "csv"], columns: str | None, *, array: bool) -> dict[str, str]:
    """The headers that the connection's fields and the data ask for. ``array``: the JSON is an array of objects."""
    headers = {"format": kind, "timezone": values["time_zone"], "timeout": str(values["load_timeout"])}
    headers |= {"max_filter_ratio": f"{values['max_filter_ratio']:g}", "strict_mode": text_of(values["strict_mode"])}
    if kind == "json":
        headers["ignore_json_size"] = "true"
        if array:
            headers["strip_outer_array"] = "true"
    else:
        headers["column_separator"] = header_delimiter(values["column_separator"])
        headers["row_delimiter"] = header_delimiter(values["row_delimiter"])
    if columns:
        headers["columns"] = columns
    return headers | connection_properties(values)


def connection_properties(values: Mapping[str, Any]) -> dict[str, str]:
    """The connection's ``properties``. ConfigError if they are no JSON object, or name a header that only tidegate sets."""
    try:
        found = json.loads(values["properties"] or "{}")
    except ValueError:
        raise ConfigError("not a JSON object", setting="properties") from None
    if not isinstance(found, dict):
        raise ConfigError("not a JSON object", setting="properties")
    return checked(found)


def checked(properties: Mapping[str, Any]) -> dict[str, str]:
    """Headers that a user gives, in lower case and as text."""
    if wrong := [name for name in properties if name.lower() in OWN]:
        raise ConfigError(f"{', '.join(wrong)} can't be set: tidegate sets it for each load", setting="properties")
    return {name.lower(): text_of(value) for name, value in properties.items() if value is not None}


def text_of(value: Any) -> str:
    """A header's text: true and false as StarRocks reads them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def header_delimiter(text: str) -> str:
    r"""As a header can carry it: ``\x`` and its bytes (FE ``Delimiter.convertDelimiter`` reads that form)."""
    return "\\x" + delimiter(text, "delimiter").hex()
