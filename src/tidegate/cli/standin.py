"""What the stand-ins of ``tidegate sandbox`` share: one password, one line of JSON, and an end when they are told."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from tidegate.errors import ConfigError

PASSWORD = "TIDEGATE_SANDBOX_PASSWORD"


def password() -> str:
    return os.environ.get(PASSWORD) or "sandbox"


def serve(box: AbstractContextManager[Mapping[str, Any]], settings: str) -> int:
    """Enter ``box``, print what it gives, and leave it on SIGTERM or Ctrl-C; the exit code.

    ConfigError, which names ``settings``, if it can't start.
    """
    # SIGTERM ends it as Ctrl-C does, and what it has started with it, also while it is only starting.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with box as fields:
            print(json.dumps(dict(fields)), flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        raise ConfigError(f"the sandbox can't start: {error}", setting=settings) from error
