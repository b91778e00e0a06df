"""The options of a folder behind a URL, which every system over files takes as two fields: one shown, one masked."""

from __future__ import annotations

import json
from typing import Any

from tidegate.errors import ConfigError


def storage_options(options: str | None, secrets: str | None, connection: str) -> dict[str, Any]:
    """fsspec's options, from the fields ``storage_options`` and ``storage_secrets``. ConfigError for one that is no JSON object."""
    return _object(options, "storage_options", connection) | _object(secrets, "storage_secrets", connection)


def _object(text: str | None, setting: str, connection: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError("not a JSON object", connection=connection, setting=setting)
    return value
