"""Rows in the words of a target that takes them under labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Payload:
    """Rows of one table, to be loaded at once. The same batch under the same options gives the same bytes.

    ``settings`` is how the target is to read them; rows of different settings can't be in one load. ``keyed``: loading them again
    does no harm. ``proof``: by what the rows can be found in the table, None if by nothing. ``asks``: which of the rows go is
    decided when they are sent, by what the table holds then; it may be none.
    """

    body: Sequence[bytes]
    rows: int
    settings: Mapping[str, str] = field(default_factory=dict)
    keyed: bool = True
    proof: Mapping[str, Any] | None = None
    asks: bool = False

    @cached_property
    def checksum(self) -> str:
        digest = hashlib.sha256(repr(sorted(self.settings.items())).encode())
        for piece in self.body:
            digest.update(piece)
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))
