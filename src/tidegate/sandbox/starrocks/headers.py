"""The headers of a load, read as the server of a given version reads them: what it doesn't know yet it ignores.

Since which version: enclose, escape, skip_header, trim_space 3.0; merge_condition 2.5; partial_update_mode and
log_rejected_record_num 3.1; compressed JSON 3.2.7 (docs.starrocks.io, STREAM LOAD). ``envelope`` is in the newest documentation
only and is taken from 4.0 on here (unverified).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tidegate.sandbox.starrocks.model import LoadFailed

Version = tuple[int, ...]
_COMPRESSIONS = ("gzip", "bzip2", "bz2", "lz4", "lz4_frame", "zstd", "deflate")


@dataclass(frozen=True, slots=True)
class LoadHeaders:
    """A load's settings. Separators are decoded text; ``enclose`` and ``escape`` are one character or ''."""

    format: str
    columns: str = ""
    where: str = ""
    column_separator: str = "\t"
    row_delimiter: str = "\n"
    enclose: str = ""
    escape: str = ""
    skip_header: int = 0
    trim_space: bool = False
    strip_outer_array: bool = False
    ignore_json_size: bool = False
    jsonpaths: str = ""
    json_root: str = ""
    debezium: bool = False
    compression: str = ""
    max_filter_ratio: float = 0.0
    strict: bool = False
    timezone: str = "Asia/Shanghai"
    partial: str | None = None
    merge_condition: str | None = None
    log_rejected: int = 0


def read_headers(headers: Mapping[str, str], version: Version) -> LoadHeaders:
    """An empty header is as good as none. Raises LoadFailed where the server refuses one."""
    said = {name.lower(): value for name, value in headers.items()}

    def text(name: str, since: Version = (0,), default: str = "") -> str:
        return (said.get(name) or default) if version >= since else default

    kind = text("format", default="csv").strip().lower()
    if kind not in ("csv", "json"):
        raise LoadFailed(f"unknown data format, format={text('format')}")
    compression = (text("compression") or text("content-encoding")).strip().lower()
    if kind == "json" and version < (3, 2, 7):
        compression = ""
    if compression and compression not in _COMPRESSIONS:
        raise LoadFailed(f"unsupported compression type: {compression}")
    debezium = text("envelope", (4, 0)).lower() == "debezium"
    if debezium and (text("json_root") or _true(text("strip_outer_array"))):
        raise LoadFailed("envelope can not be used with json_root or strip_outer_array")
    zone = text("timezone", default="Asia/Shanghai")
    _check_zone(zone)
    mode = text("partial_update_mode", (3, 1), "row").lower()
    if mode not in ("row", "column", "auto"):
        raise LoadFailed(f"Unknown partial update mode: {mode}")
    return LoadHeaders(
        format=kind,
        columns=text("columns"),
        where=text("where"),
        column_separator=_delimiter(text("column_separator", default="\t"), "column separator"),
        row_delimiter=_delimiter(text("row_delimiter", default="\n"), "row delimiter"),
        enclose=_character(text("enclose", (3, 0)), "enclose"),
        escape=_character(text("escape", (3, 0)), "escape"),
        skip_header=_number(text("skip_header", (3, 0), "0"), "skip_header"),
        trim_space=_true(text("trim_space", (3, 0))),
        strip_outer_array=_true(text("strip_outer_array")),
        ignore_json_size=_true(text("ignore_json_size")),
        jsonpaths=text("jsonpaths"),
        json_root=text("json_root"),
        debezium=debezium,
        compression=compression,
        max_filter_ratio=_ratio(text("max_filter_ratio", default="0")),
        strict=_true(text("strict_mode")),
        timezone=zone,
        partial=("column" if mode == "column" else "row") if _true(text("partial_update")) else None,
        merge_condition=text("merge_condition", (2, 5)).strip() or None,
        log_rejected=_number(text("log_rejected_record_num", (3, 1), "0"), "log_rejected_record_num"),
    )


def _true(value: str) -> bool:
    return value.strip().lower() == "true"


def _number(value: str, name: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise LoadFailed(f"Invalid {name} format. Must be a number") from None


def _ratio(value: str) -> float:
    try:
        ratio = float(value)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise LoadFailed(f"Invalid max_filter_ratio value: {value}. It must be between 0.0 and 1.0")
    return ratio


def _check_zone(zone: str) -> None:
    if re.fullmatch(r"[+-]\d{1,2}:\d{2}|CST", zone):
        return
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise LoadFailed(f"Unknown or incorrect time zone: '{zone}'") from None


def _character(value: str, name: str) -> str:
    if len(value.encode()) > 1:
        value = _delimiter(value, name)
    if len(value.encode()) > 1:
        raise LoadFailed(f"{name} must be a single byte character")
    return value


def _delimiter(value: str, name: str) -> str:
    """``\\x01``, ``0x0102`` and ``\\n`` as the frontend's ``Delimiter.convertDelimiter`` understands them; 1 to 50 bytes."""

    def refuse(why: str) -> NoReturn:
        raise LoadFailed(f"Invalid delimiter '{value}': {why}")

    result = value
    if value[:2].upper() in ("\\X", "0X"):
        digits = value[2:]
        if not digits:
            refuse("empty hex string")
        if len(digits) % 2 or not re.fullmatch(r"[0-9a-fA-F]+", digits):
            refuse("invalid hex format")
        result = bytes.fromhex(digits).decode("utf-8", "surrogateescape")
    else:
        for said, meant in (("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r"), ("\\\\", "\\")):
            result = result.replace(said, meant)
    if not 1 <= len(result.encode("utf-8", "surrogateescape")) <= 50:
        raise LoadFailed(f"the valid bytes length for {name} is [1, 50]")
    return result
