"""Where the frontends are, and where a backend is really reached: ``host``, ``load_url`` and ``be_addresses`` of a connection."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tidegate.errors import ConfigError

DOWN_SECONDS = 30.0
"""For so long a frontend that did not answer is asked after the others."""

_ADDRESS = re.compile(r"(?:(https?)://)?(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:/\[\]\s@=]+))(?::(\d{1,5}))?/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """An HTTP server. ``host`` of IPv6 is without its brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def same(self, other: Address) -> bool:
        """The same host and port, whatever the scheme."""
        return (self.host.lower(), self.port) == (other.host.lower(), other.port)


def frontends(values: Mapping[str, Any], name: str) -> list[Address]:
    """The HTTP addresses of the frontends: ``load_url``, else ``host`` at ``http_port``.

    Where no scheme is given it is https if ``ssl_mode`` asks for TLS. ConfigError for what can't be read.
    """
    scheme = "http" if values["ssl_mode"] == "disabled" else "https"
    setting = "load_url" if values["load_url"] else "host"
    texts = [text for text in re.split(r"[;,\s]+", values[setting] or "") if text]
    if not texts:
        raise ConfigError("names no frontend", connection=name, setting=setting)
    found = []
    for text in texts:
        if setting == "host" and text.count(":") > 1 and not text.startswith("["):
            text = f"[{text}]"
        matched = _ADDRESS.fullmatch(text)
        if matched is None:
            raise ConfigError("can't be read: it is host:port;host:port without user or path", connection=name, setting=setting)
        given, v6, host, port = matched.groups()
        if setting == "host":
            # A port here is the query port's: the HTTP port has a field of its own.
            port = None
        found.append(Address((given or scheme).lower(), v6 or host, _port(port or values["http_port"], name, setting)))
    return found


@dataclass(frozen=True, slots=True)
class BackendMap:
    """Registered address of a backend → the one at which it is reached from here."""

    entries: tuple[tuple[str, int | None, str | None, str, int | None], ...]
    """(registered host in lower case, its port or None for any, scheme or None, host, port or None for the registered one)"""

    @classmethod
    def parse(cls, text: str | None, name: str) -> BackendMap:
        """``be1:8040=203.0.113.7:18040, be2=https://proxy:8443``. A scheme on the right overrides the one that was named."""
        entries = []
        for item in re.split(r"[;,\s]+", text or ""):
            if not item:
                continue
            left, equals, right = item.partition("=")
            there, here = _ADDRESS.fullmatch(left), _ADDRESS.fullmatch(right)
            if not equals or there is None or here is None or there.group(1):
                raise ConfigError(f"{item!r} is not registered:port=reached:port", connection=name, setting="be_addresses")
            ports = [None if m.group(4) is None else _port(m.group(4), name, "be_addresses") for m in (there, here)]
            host = (there.group(2) or there.group(3)).lower()
            scheme = here.group(1).lower() if here.group(1) else None
            entries.append((host, ports[0], scheme, here.group(2) or here.group(3), ports[1]))
        # An entry with the port goes before the one for the whole host.
        return cls(tuple(sorted(entries, key=lambda entry: entry[1] is None)))

    def reach(self, named: Address) -> tuple[Address, bool]:
        """Where a server of this registered address is, and whether the map sets its scheme."""
        for there, port, scheme, host, here in self.entries:
            if there == named.host.lower() and port in (None, named.port):
                return replace(named, scheme=scheme or named.scheme, host=host, port=here or named.port), scheme is not None
        return named, False


class Rota:
    """The frontends in the order in which to ask them: round robin, those that did not answer lately last. Thread-safe."""

    def __init__(self, addresses: Sequence[Address], down_seconds: float = DOWN_SECONDS) -> None:
        self._addresses = list(addresses)
        self._down_seconds = down_seconds
        self._down: dict[Address, float] = {}
        self._next = 0
        self._lock = threading.Lock()

    def order(self) -> list[Address]:
        """All of them."""
        with self._lock:
            turned = self._addresses[self._next :] + self._addresses[: self._next]
            self._next = (self._next + 1) % len(self._addresses)
            now = time.monotonic()
            return sorted(turned, key=lambda address: self._down.get(address, 0.0) > now)

    def down(self, address: Address) -> None:
        """It did not answer."""
        with self._lock:
            self._down[address] = time.monotonic() + self._down_seconds

    def up(self, address: Address) -> None:
        """It answered."""
        with self._lock:
            self._down.pop(address, None)


def _port(text: str | int, name: str, setting: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ConfigError(f"{port} is not a port", connection=name, setting=setting)
    return port
