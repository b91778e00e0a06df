"""What StarRocks allows as a primary key."""

from __future__ import annotations

import re
from collections.abc import Sequence

KEY_BYTES = 128
"""The longest encoded key (be.conf, primary_key_limit_size)."""

_SIZES = {"boolean": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8, "largeint": 16, "date": 4, "datetime": 8}


def declared_bytes(kind: str) -> int:
    """How many bytes a value of the type can have at most, encoded in a key. Texts count as declared."""
    kind = kind.lower()
    text = re.fullmatch(r"(?:var)?(?:char|binary)\((\d+)\)", kind)
    if text:
        return int(text.group(1))
    return _SIZES.get(kind.split("(")[0], 16)


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
