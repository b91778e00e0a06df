"""What StarRocks allows as a primary key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

KEY_BYTES = 128
"""The longest encoded key (be.conf, primary_key_limit_size)."""
SIZES = {"boolean": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8, "largeint": 16, "date": 4, "datetime": 8}
"""Bytes of a value in an encoded key."""


def declared_bytes(kind: str) -> int:
    """How many bytes a value of the type can have at most, encoded in a key. Texts count as declared."""
    kind = kind.lower()
    text = re.fullmatch(r"(?:var)?(?:char|binary)\((\d+)\)", kind)
    if text:
        return int(text.group(1))
    return SIZES.get(kind.split("(")[0], 16)


def warnings(key: Sequence[tuple[str, str]]) -> list[str]:
    """``key`` are names and types. A text in a key may be declared longer than what the key can hold: values decide."""
    total = sum(declared_bytes(kind) for _, kind in key)
    if total <= KEY_BYTES:
        return []
    names = ", ".join(name for name, _ in key)
    return [
        f"the key ({names}) may be up to {total} bytes long as declared, and StarRocks takes {KEY_BYTES}: rows with longer keys "
        "are refused before they are sent"
    ]


def doubled(instants: Sequence[str], time_zone: str) -> list[str]:
    """``instants`` are key columns of instants. Where clocks are put back, two of an hour are written alike."""
    try:
        zone, year = ZoneInfo(time_zone), datetime.now().year
    except (ZoneInfoNotFoundError, ValueError):
        return []  # an offset, which is the same all year
    if len({datetime(year, month, 1, tzinfo=zone).utcoffset() for month in range(1, 13)}) == 1:
        return []
    return [
        f"key column {name}: of the hour that the clocks of {time_zone} show twice in autumn no row is taken; with time_zone='UTC' "
        "all are"
        for name in instants
    ]
