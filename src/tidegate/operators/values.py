"""Rendered templates, which are text, back into the values that they stand for."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from tidegate.errors import ConfigError
from tidegate.sync.options import WriteOptions

_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def is_template(value: Any) -> bool:
    """Whether a value is only known once the task runs: a Jinja expression, an XComArg, or a list or dict with one in it."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(is_template(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(is_template(item) for item in value)
    return hasattr(value, "resolve") or callable(value)


def options_from(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write options in their types. What is None, or rendered to it or to nothing, is the default. Names are not checked."""
    return {name: _DEFAULTS.get(name) if _absent(value) else parse_option(name, value) for name, value in values.items()}


def parse_option(name: str, value: Any) -> Any:
    """One option in the type that WriteOptions gives it; ConfigError for text that isn't of it."""
    kind = _KINDS.get(name)
    if kind is tuple:
        return tuple(names_from(value, name))
    if kind is dict:
        return mapping_from(value, name)
    if kind is str:
        return str(value)
    if kind is None or not isinstance(value, str):
        return value
    try:
        return _BOOLS[value.strip().lower()] if kind is bool else kind(value.strip())
    except (KeyError, ValueError):
        what = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ConfigError(f"{value!r} is not {what}", setting=name) from None


def names_from(value: Any, setting: str) -> list[Any]:
    """A list of names: given as one, or as text that holds one (JSON, or as Jinja prints a list), or as a single name."""
    if isinstance(value, str):
        text = value.strip()
        value = structure_from(text, setting) if text.startswith(("[", "(")) else [text]
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{value!r} is not a list of names", setting=setting)
    return list(value)


def mapping_from(value: Any, setting: str) -> dict[str, Any]:
    """A dict: given as one, or as text that holds one."""
    if _absent(value):
        return {}
    if isinstance(value, str):
        value = structure_from(value, setting)
    if not isinstance(value, Mapping):
        raise ConfigError(f"a {type(value).__name__} is not a dict", setting=setting)
    return dict(value)


def structure_from(text: str, setting: str) -> Any:
    """A list or dict from JSON, or from Python's notation, in which Jinja prints lists and dicts."""
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError):
            return read(text.strip())
    raise ConfigError("the rendered text is neither JSON nor a Python list or dict", setting=setting)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def _kind(hint: Any) -> type:
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is tuple:
        return tuple
    if get_origin(hint) is Mapping or any(get_origin(part) is Mapping for part in parts):
        return dict
    if isinstance(hint, type):
        return hint
    # A Literal of names, or one type beside None.
    return str if isinstance(parts[0], str) else _kind(parts[0])


_DEFAULTS = asdict(WriteOptions())
_KINDS: dict[str, type] = {name: _kind(hint) for name, hint in get_type_hints(WriteOptions).items()}
