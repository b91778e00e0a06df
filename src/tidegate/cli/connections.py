"""Connections on a command line: a URL or a JSON file, their secrets from the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tidegate.errors import ConfigError
from tidegate.providers.system import System, systems
from tidegate.sync.protocols import Sink, Source

SYNTAX = "mysql://user@host:3306/database?field=value, changefiles:/folder, or @file.json with a system and its fields"


@dataclass(frozen=True, slots=True)
class Connection:
    """A system and the values of its fields."""

    name: str
    system: System
    values: Mapping[str, Any]

    def source(self) -> Source:
        return self.system.open_source(self.values, self.name)

    def sink(self) -> Sink:
        return self.system.open_sink(self.values, self.name)


def connection(text: str, role: str, environment: Mapping[str, str] = os.environ) -> Connection:
    """The connection that ``text`` describes; ``role`` is source or sink.

    A secret field is read from ``TIDEGATE_<ROLE>_<FIELD>`` (``TIDEGATE_SOURCE_PASSWORD``), or stands in the JSON file. ConfigError
    for a secret in a URL, which everybody on the machine could read, and for unknown systems and fields.
    """
    system, values = _of_file(Path(text[1:]), role) if text.startswith("@") else _of_url(text, role)
    for field in system.fields:
        variable = _variable(role, field.name)
        if field.secret and variable in environment:
            values[field.name] = environment[variable]
    name = " ".join([role, system.name, *(str(values[field]) for field in ("host",) if values.get(field))])
    return Connection(name, system, system.values(values, name))


def _variable(role: str, field: str) -> str:
    return f"TIDEGATE_{role}_{field}".upper()


def _system(name: str, role: str) -> System:
    for system in systems().values():
        if name in (system.name, system.conn_type, *system.accepts) or (name == "postgresql" and system.name == "postgres"):
            return system
    raise ConfigError(f"no system {name!r}; there are {', '.join(systems())}", setting=f"--{role}")


def _of_file(path: Path, role: str) -> tuple[System, dict[str, Any]]:
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}", setting=f"--{role}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON", setting=f"--{role}") from error
    if not isinstance(values, dict) or not isinstance(values.get("system"), str):
        raise ConfigError(f'{path} is not an object with a "system"', setting=f"--{role}")
    return _system(values.pop("system"), role), values


def _of_url(text: str, role: str) -> tuple[System, dict[str, Any]]:
    scheme, colon, rest = text.partition(":")
    if not colon or not rest:
        # The text may be a password that went astray, so it isn't repeated.
        raise ConfigError(f"not a connection: write {SYNTAX}", setting=f"--{role}")
    system = _system(scheme, role)
    names = {field.name: field for field in system.fields}
    if "host" not in names:
        return system, {"url": rest}
    try:
        parts = urlsplit(text)
        password, port = parts.password, parts.port
    except ValueError:
        what = "not a URL: the port is a number up to 65535, an IPv6 address stands in [ ]"
        raise ConfigError(what, setting=f"--{role}") from None
    if password is not None:
        _refuse_secret("password", role)
    given = {"host": parts.hostname, "port": port, "login": parts.username and unquote(parts.username)}
    given["database"] = unquote(parts.path.removeprefix("/"))
    values = {name: value for name, value in given.items() if value}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in names and names[name].secret:
            _refuse_secret(name, role)
        values[name] = value
    return system, values


def _refuse_secret(field: str, role: str) -> None:
    what = f"a {field} in a URL can be read by everybody on this machine: set {_variable(role, field)}, or write @file.json"
    raise ConfigError(what, setting=f"--{role}")
