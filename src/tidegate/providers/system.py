"""One declaration per system: its connection fields, and where its source and sink are.

It feeds the Airflow form, the Dagster resource, the docs and the validation. Standard library only: Airflow reads it before its own
configuration is ready.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from tidegate.sync.protocols import Sink, Source

Standard = Literal["host", "port", "login", "password", "schema"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a connection. ``standard`` names the column of an Airflow connection that holds it; else it is an extra.

    A secret that is an extra must be named so that Airflow masks it: with password, token or secret in its name.
    """

    name: str
    label: str
    type: type[str] | type[int] | type[float] | type[bool]
    default: str | int | float | bool | None = None
    secret: bool = False
    help: str = ""
    standard: Standard | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False

    def parse(self, value: Any, connection: str) -> Any:
        """The value in the field's type; ConfigError for one that isn't of it or out of range. Never shows a secret."""
        shown = "the value" if self.secret else repr(value)
        if value is None or value == "":
            if self.required:
                raise ConfigError(f"{self.label} is missing", connection=connection, setting=self.name)
            return self.default
        try:
            if self.type is bool and isinstance(value, str):
                parsed: Any = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
            else:
                parsed = self.type(value)
        except (KeyError, TypeError, ValueError):
            raise ConfigError(f"{shown} is not a {self.type.__name__}", connection=connection, setting=self.name) from None
        if self.choices and parsed not in self.choices:
            raise ConfigError(f"{shown} is not one of {', '.join(self.choices)}", connection=connection, setting=self.name)
        if (self.minimum is not None and parsed < self.minimum) or (self.maximum is not None and parsed > self.maximum):
            low, high = ("…" if bound is None else f"{bound:g}" for bound in (self.minimum, self.maximum))
            raise ConfigError(f"{shown} is outside {low} to {high}", connection=connection, setting=self.name)
        return parsed


@dataclass(frozen=True, slots=True)
class System:
    """A system that tidegate reads or writes. ``source`` and ``sink`` are ``module:callable`` of ``(values, name)``."""

    name: str
    label: str
    conn_type: str
    """Airflow's connection type: without underscore (RFC 3986), and owned by no other provider."""
    fields: tuple[Field, ...]
    accepts: tuple[str, ...] = ()
    """Connection types of other providers that carry the same fields."""
    source: str | None = None
    sink: str | None = None
    extra: str = ""
    """The pip extra that brings its driver."""
    camel: str = ""
    """Its name within names of classes; empty: the name, capitalized."""

    def values(self, given: Mapping[str, Any], connection: str) -> dict[str, Any]:
        """All fields, parsed, with defaults. ConfigError for an unknown field, with the nearest that is."""
        known = {item.name: item for item in self.fields}
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise ConfigError(f"unknown field {name} of a {self.label} connection; {hint}", connection=connection)
        return {name: item.parse(given.get(name), connection) for name, item in known.items()}

    def open_source(self, values: Mapping[str, Any], connection: str) -> Source:
        """The system as a source, over the values of its fields. ConfigError if it is none, or its driver is not installed."""
        source: Source = self._open(self.source, "source", values, connection)
        return source

    def open_sink(self, values: Mapping[str, Any], connection: str) -> Sink:
        """The system as a sink."""
        sink: Sink = self._open(self.sink, "target", values, connection)
        return sink

    def _open(self, where: str | None, role: str, values: Mapping[str, Any], connection: str) -> Any:
        if where is None:
            raise ConfigError(f"{self.label} can't be a {role}", connection=connection)
        module, _, attribute = where.partition(":")
        try:
            opener = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("tidegate"):
                raise
            raise ConfigError(
                f"{error.name} is not installed: pip install 'tidegate[{self.extra}]'", connection=connection
            ) from error
        return opener(self.values(values, connection), connection)


@cache
def systems() -> Mapping[str, System]:
    """All systems by name: every folder beside this file that has a ``connection.py``."""
    import tidegate.providers as package

    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            system: System = importlib.import_module(f"{package.__name__}.{module.name}.connection").SYSTEM
            found[system.name] = system
    return found


def system_of(conn_type: str, connection: str) -> System:
    """The system that takes connections of this type."""
    for system in systems().values():
        if conn_type == system.conn_type or conn_type in system.accepts:
            return system
    known = sorted({kind for system in systems().values() for kind in (system.conn_type, *system.accepts)})
    raise ConfigError(f"no system takes connections of type {conn_type!r}; there are {', '.join(known)}", connection=connection)
