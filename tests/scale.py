"""How much of the random tests runs: all of it in ``make soak``, a part at each ``make test``."""

from __future__ import annotations

import os

SHARE = float(os.environ.get("TIDEGATE_TEST_SHARE", "0.2"))


def examples(full: int) -> int:
    """Of so many random examples those that run now."""
    return max(min(full, 2), round(full * SHARE))
