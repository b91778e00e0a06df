"""A redirect of Stream Load, followed by hand: an HTTP client that does it strips the credentials or sends half of the body."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tidegate.errors import PreflightError, Unavailable
from tidegate.providers.starrocks.addresses import Address, BackendMap

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Hop:
    """Where to send the request next. ``named`` is the address as the frontend knows it, before the map."""

    address: Address
    named: Address
    path: str


def locate(url: str, name: str) -> tuple[Address, str]:
    """An absolute URL's server and path. User and password in it (StarRocks writes them into Location) are left out."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        # The URL itself may hold a password.
        raise Unavailable("a frontend redirects to what is no HTTP address", connection=name)
    scheme = parts.scheme.lower()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(scheme, parts.hostname, port or (443 if scheme == "https" else 80)), path


def follow(location: str, asked: Address, backends: BackendMap, name: str) -> Hop:
    """The next hop: a URL, or a path at the server ``asked``.

    PreflightError if it leads from https to http: credentials and rows would be sent in the clear. An entry of ``be_addresses``
    with a scheme decides itself.
    """
    relative = location.startswith("/") and not location.startswith("//")
    named, target = locate(f"{asked.scheme}://{asked}{location}" if relative else location, name)
    address, decided = backends.reach(named)
    if asked.scheme == "https" and address.scheme != "https" and not decided:
        raise PreflightError(
            f"the frontend {asked} speaks https and redirects to {named} by http, where credentials and rows could be read; "
            f"give the backends TLS, or say which way is meant: {named}=https://…",
            connection=name,
            setting="be_addresses",
        )
    return Hop(address, named, target)
