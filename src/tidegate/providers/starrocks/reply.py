"""What a frontend or backend answers to a load: always with HTTP 200, so the verdict is in the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

LabelState = Literal["UNKNOWN", "PREPARE", "PREPARED", "COMMITTED", "VISIBLE", "ABORTED"]
"""What ``get_load_state`` says of a label."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. Field names vary in case between versions, fields that nobody here knows are left out, missing counts are 0."""

    status: str
    message: str = ""
    label: str = ""
    txn_id: int = -1
    existing_job_status: str = ""
    total_rows: int = 0
    loaded_rows: int = 0
    filtered_rows: int = 0
    unselected_rows: int = 0
    load_bytes: int = 0
    load_ms: int = 0
    error_url: str = ""
    settled: bool = False
    """Known from the label's state and not from an answer: the counts are not known, whatever they say."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Reply:
        """From the JSON of the body."""
        found = {name.lower(): value for name, value in body.items()}

        def text(*names: str) -> str:
            return next((str(found[name]) for name in names if found.get(name) not in (None, "")), "")

        def number(name: str, default: int = 0) -> int:
            try:
                return int(found.get(name, default))
            except (TypeError, ValueError):
                return default

        return cls(
            status=text("status"),
            message=text("message", "msg"),
            label=text("label"),
            txn_id=number("txnid", -1),
            existing_job_status=text("existingjobstatus"),
            total_rows=number("numbertotalrows"),
            loaded_rows=number("numberloadedrows"),
            filtered_rows=number("numberfilteredrows"),
            unselected_rows=number("numberunselectedrows"),
            load_bytes=number("loadbytes"),
            load_ms=number("loadtimems"),
            error_url=text("errorurl"),
        )
