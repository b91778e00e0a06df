"""The headers of a load: what the connection, the table and the rows ask for."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, Literal

from tidegate.errors import ConfigError
from tidegate.providers.starrocks.format import delimiter

OP = "__op"
"""The column of a primary key table's rows that says what becomes of them: 0 upsert, 1 delete."""
OWN = ("label", "authorization", "expect", "content-length", "transfer-encoding", "db", "table")
"""Headers that only tidegate sets."""
KNOWN = (
    *("format", "columns", "where", "partitions", "temporary_partitions", "negative", "max_filter_ratio", "timeout", "strict_mode"),
    *("timezone", "load_mem_limit", "exec_mem_limit", "load_dop", "enable_replicated_storage", "warehouse"),
    *("partial_update", "partial_update_mode", "merge_condition", "log_rejected_record_num", "idle_transaction_timeout"),
    *("compression", "transmission_compression_type", "content-encoding"),
    *("column_separator", "row_delimiter", "skip_header", "trim_space", "enclose", "escape"),
    *("jsonpaths", "json_root", "strip_outer_array", "ignore_json_size", "envelope"),
    *("enable_merge_commit", "merge_commit_async", "merge_commit_interval_ms", "merge_commit_parallel"),
)
"""Headers that some version of StarRocks reads (be http_common.h, fe StreamLoadHttpHeader.java, documentation of STREAM LOAD)."""


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


def misspelt(properties: Mapping[str, str]) -> list[str]:
    """What to say of headers that are nearly ones that StarRocks has, names first: it passes over one that it doesn't know.

    Nothing of others, which a version to come may read.
    """
    near = {name: difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.8) for name in properties if name not in KNOWN}
    return [
        f"{name}: did you mean {found[0]}? StarRocks passes over a header that it doesn't know"
        for name, found in near.items()
        if found
    ]


def text_of(value: Any) -> str:
    """A header's text: true and false as StarRocks reads them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def header_delimiter(text: str) -> str:
    r"""As a header can carry it: ``\x`` and its bytes (FE ``Delimiter.convertDelimiter`` reads that form)."""
    return "\\x" + delimiter(text, "delimiter").hex()
