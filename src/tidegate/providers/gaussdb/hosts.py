"""The field ``host``: one server or several."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tidegate.errors import ConfigError

_FORMS = re.compile(
    r"\[(?P<v6>[^\[\]]+)\](?::(?P<v6port>\d+))?|(?P<bare6>[^\[\]:]*:[^\[\]:]*:[^\[\]]*)|(?P<name>[^\[\]:]+)(?::(?P<port>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Host:
    """Where a server listens."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def parse_hosts(text: str, port: int, connection: str) -> tuple[Host, ...]:
    """``cn1:8000,cn2,[::1]:8001``; ``port`` is that of a host without one. ConfigError for what is no host."""
    hosts = []
    for item in (part.strip() for part in text.split(",")):
        match = _FORMS.fullmatch(item)
        if match is None or "/" in item or any(char.isspace() for char in item):
            what = f"{item!r} is no host: write name, name:port, an address, or [IPv6 address]:port, comma separated"
            raise ConfigError(what, connection=connection, setting="host")
        number = int(match["v6port"] or match["port"] or port)
        if not 1 <= number <= 65535:
            raise ConfigError(f"{item!r}: the port is outside 1 to 65535", connection=connection, setting="host")
        host = Host(match["v6"] or match["bare6"] or match["name"], number)
        if host not in hosts:
            hosts.append(host)
    return tuple(hosts)
