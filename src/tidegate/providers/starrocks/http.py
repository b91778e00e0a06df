"""HTTP to a StarRocks cluster: a frontend that answers, its redirect to a backend, and who may see the credentials.

Built on http.client and not on requests, for one reason: a body has to wait for ``100 Continue`` (see :mod:`.continue_`). An empty
probe in place of the wait would do with a frontend, but anything else that listens takes it for the load, label and all: an nginx
that follows the redirect inside (StarRocks' own fe-proxy for Kubernetes), or a backend whose port was given by mistake.
No proxy of the environment is used and no .netrc: the addresses are those of the connection. A connection per request: a frontend
closes it after each redirect anyway, and there is nothing to share between threads.
"""

from __future__ import annotations

import base64
import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tidegate.errors import ConfigError, LoadUnresolved, PreflightError, TidegateError, Unavailable
from tidegate.providers.starrocks.addresses import Address, BackendMap, Rota, frontends
from tidegate.providers.starrocks.body import Body, Payload
from tidegate.providers.starrocks.continue_ import Answer, Limits, Lost, NotSent, exchange, told
from tidegate.providers.starrocks.redirect import REDIRECTS, Hop, follow, locate
from tidegate.providers.starrocks.verdict import masked, parsed

log = logging.getLogger(__name__)

MARGIN = 30.0
"""Seconds that a reply may come later than the load's own time-out."""
_HOPS = 5


class Http:
    """The HTTP side of a connection (its parsed fields in ``values``). Safe to use from several threads."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self.name = name
        self._frontends = frontends(values, name)
        self._rota = Rota(self._frontends)
        self._backends = BackendMap.parse(values["be_addresses"], name)
        self._context = _context(values, name)
        login = f"{values['login']}:{values['password'] or ''}"
        self._authorization = "Basic " + base64.b64encode(login.encode()).decode()
        self._values = values
        self._frontend_setting = "load_url" if values["load_url"] else "http_port"
        self._limits = Limits(
            connect=values["connect_timeout_ms"] / 1000,
            headers=values["wait_for_continue_timeout_ms"] / 1000,
            socket=patience(values),
        )
        self._named: set[tuple[str, int]] = set()
        """The backends that frontends redirected to: they may have the credentials."""

    def put(self, path: str, headers: Mapping[str, str], body: Payload) -> Answer:
        """PUTs a body where a frontend says. The answer's status is 200 at every verdict: that is in its text.

        Unavailable: nothing of the body was taken by anyone. LoadUnresolved: it may have been. PreflightError: HTTP 401 or 403, or
        a redirect from https to http. ConfigError: another status, such as 404 or 413.
        """
        limits = replace(self._limits, socket=patience(self._values, headers.get("timeout", "")))
        return self._ask("PUT", path, headers, Body(body), limits, True)

    def call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, *, brief: bool = False, once: bool = False
    ) -> Answer:
        """A request without a body, asked of the next frontend where one gives no answer: it must be one that can be made twice.

        ``brief``: it needs no longer than ``wait_for_continue_timeout_ms``. ``once``: if it may have arrived it isn't repeated.

        Unavailable: it reached nobody. LoadUnresolved: somebody may have done it. PreflightError: HTTP 401 or 403. Other statuses
        below 500 come back.
        """
        limits = self._limits
        if brief:
            limits = replace(limits, socket=limits.headers)
        return self._ask(method, path, headers or {}, None, limits, once)

    def reach(self, path: str) -> Address:
        """The backend that a frontend sends a load on this path to, which takes a connection; nothing is sent to it.

        Unavailable if it takes none, or no frontend answers. PreflightError: HTTP 401 or 403.
        """
        headers = {"Authorization": self._authorization, "Expect": "100-continue"}
        limits = replace(self._limits, socket=self._limits.headers)
        failures: list[str] = []
        for frontend in self._rota.order():
            try:
                answer = exchange(frontend, "PUT", path, headers, None, limits, self._context)
            except (NotSent, Lost) as error:
                failures.append(str(error))
                continue
            if answer.status not in REDIRECTS or not answer.location:
                return self._judged(answer, None).address  # a proxy that goes on by itself
            hop = follow(answer.location, frontend, self._backends, self.name)
            try:
                socket.create_connection((hop.address.host, hop.address.port), self._limits.connect).close()
            except OSError as error:
                what = f"loads go to the backend {hop.address}, which can't be reached from here: {told(error)}"
                raise Unavailable(what, connection=self.name, setting="be_addresses") from error
            return hop.address
        raise Unavailable("; ".join(failures), connection=self.name, setting=self._frontend_setting)

    def fetch(self, url: str) -> bytes:
        """What is at a URL that a server named (the ErrorURL), at most 4 MB of it, through the map of backends.

        Unavailable if it can't be had. The credentials go along only to a server that a frontend has named.
        """
        named, path = locate(url, self.name)
        address, _ = self._backends.reach(named)
        known = (named.host.lower(), named.port) in self._named or any(named.same(frontend) for frontend in self._frontends)
        plain = address.scheme == "http" and self._frontends[0].scheme == "https"
        headers = {"Authorization": self._authorization} if known and not plain else {}
        limits = replace(self._limits, socket=self._limits.headers)
        try:
            answer = exchange(address, "GET", path, headers, None, limits, self._context)
        except (NotSent, Lost) as error:
            raise Unavailable(str(error), connection=self.name) from error
        if answer.status != 200:
            raise Unavailable(f"{address} answered HTTP {answer.status}", connection=self.name)
        return answer.body

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: Body | None, limits: Limits, once: bool) -> Answer:
        failures: list[str] = []
        cause: BaseException | None = None
        lost = False
        for frontend in self._rota.order():
            try:
                answer = self._through(frontend, method, path, headers, body, limits)
            except NotSent as error:
                cause = error
            except Lost as error:
                cause, lost = error, True
            else:
                if answer.status < 500 and answer.status != 429:
                    self._rota.up(frontend)
                    return self._judged(answer, body)
                cause = NotSent(f"{answer.address} answered HTTP {answer.status}")
                # An answer to the headers alone says that nothing was done, one to the whole request may come from a proxy.
                lost = lost or answer.sent
            failures.append(str(cause))
            log.warning("starrocks %s: frontend %s: %s", self.name, frontend, cause)
            if not isinstance(cause, _Beyond):
                self._rota.down(frontend)
            if lost and once:
                break
        kind: type[TidegateError] = LoadUnresolved if lost else Unavailable
        setting = "be_addresses" if isinstance(cause, _Beyond) else self._frontend_setting
        if cause is not None and isinstance(cause.__cause__, ssl.SSLCertVerificationError):
            kind, setting = PreflightError, "ssl_ca"
        raise kind("; ".join(dict.fromkeys(failures)), connection=self.name, setting=None if lost else setting) from cause

    def _through(
        self, frontend: Address, method: str, path: str, headers: Mapping[str, str], body: Body | None, limits: Limits
    ) -> Answer:
        """To a frontend, and on to where it says. A leader that a follower names is a frontend too."""
        address = frontend
        hop: Hop | None = None
        headers = {"Authorization": self._authorization} | dict(headers)
        for _ in range(_HOPS):
            # A frontend answers at once or is ill; a backend may take its time to begin the transaction.
            asked = hop is None or any(hop.named.same(known) for known in self._frontends)
            try:
                answer = exchange(address, method, path, headers, body, limits, self._context, "fail" if asked else "send")
            except NotSent as error:
                if hop is None:
                    raise
                elsewhere = "" if hop is None or hop.address.same(hop.named) else f" (registered as {hop.named})"
                raise _Beyond(
                    f"{frontend} redirects to {address}{elsewhere}: {error}; be_addresses says where a backend is reached from here"
                ) from error.__cause__
            if answer.status not in REDIRECTS or not answer.location:
                return answer
            hop = follow(answer.location, address, self._backends, self.name)
            self._named.add((hop.named.host.lower(), hop.named.port))
            address, path = hop.address, hop.path
        raise NotSent(f"{frontend} redirects without end")

    def _judged(self, answer: Answer, body: Body | None) -> Answer:
        if answer.status in (401, 403):
            # Said of a wrong password, and by a frontend also of a privilege that is missing.
            said = masked(parsed(answer.body).message)[:300] or "the user or its password"
            raise PreflightError(f"{answer.address} refuses (HTTP {answer.status}): {said}", connection=self.name, setting="login")
        if body is not None and answer.status != 200:
            raise ConfigError(
                f"{answer.address} answered HTTP {answer.status}: no frontend of StarRocks is there, or a proxy before it doesn't "
                "let a load of this size through",
                connection=self.name,
                setting="load_url",
            )
        return answer


class _Beyond(NotSent):
    """The frontend did its part, the server that it redirects to did not."""


def patience(values: Mapping[str, Any], timeout: str = "") -> float:
    """Seconds for which a socket waits: ``socket_timeout_ms``, or as long as a load with this header ``timeout`` may take."""
    if values["socket_timeout_ms"] > 0:
        return float(values["socket_timeout_ms"]) / 1000
    return max(int(timeout) if timeout.isdecimal() else 0, int(values["load_timeout"])) + MARGIN


def _context(values: Mapping[str, Any], name: str) -> ssl.SSLContext | None:
    """By ``ssl_mode``. None is http.client's default, which checks all: for a load_url of https where nobody asked for less."""
    mode = values["ssl_mode"]
    if mode == "disabled" and not values["ssl_ca"]:
        return None
    try:
        context = ssl.create_default_context(cafile=values["ssl_ca"] or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"can't be read: {error}", connection=name, setting="ssl_ca") from error
    if mode in ("required", "verify_ca"):
        context.check_hostname = False
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    return context
