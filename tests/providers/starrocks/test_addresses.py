"""Where frontends and backends are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.starrocks.scripted import values
from tidegate.errors import ConfigError, PreflightError, Unavailable
from tidegate.providers.starrocks.addresses import Address, BackendMap, Rota, frontends
from tidegate.providers.starrocks.redirect import follow, locate


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"load_url": "fe1:8030;fe2:8031"}, ["http fe1:8030", "http fe2:8031"]),
        ({"load_url": "http://fe1:8030, https://fe2"}, ["http fe1:8030", "https fe2:8030"]),
        ({"load_url": "[::1]:8030/"}, ["http [::1]:8030"]),
        ({"load_url": None, "host": "fe1,fe2", "http_port": 18030}, ["http fe1:18030", "http fe2:18030"]),
        ({"load_url": None, "host": "::1"}, ["http [::1]:8030"]),
        ({"load_url": None, "host": "fe1:9030"}, ["http fe1:8030"]),
        ({"load_url": "fe1;http://fe2", "ssl_mode": "required"}, ["https fe1:8030", "http fe2:8030"]),
    ],
)
def test_frontends_come_from_load_url_or_host(given: dict[str, object], expected: list[str]) -> None:
    assert [f"{a.scheme} {a}" for a in frontends(values() | given, "sr")] == expected


@pytest.mark.parametrize("url", ["fe1:0", "fe1:99999", "http://user:geheim@fe1:8030", "fe1:8030/path/more", ";"])
def test_what_is_no_frontend_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="load_url") as caught:
        frontends(values() | {"load_url": url, "host": ""}, "sr")
    assert "geheim" not in str(caught.value)


def test_the_map_prefers_the_port_and_keeps_what_it_does_not_say() -> None:
    backends = BackendMap.parse("be1=10.0.0.1, BE1:8041=10.0.0.2:18041; be2:8040=https://[::1]:8443", "sr")
    assert backends.reach(Address("http", "be1", 8040)) == (Address("http", "10.0.0.1", 8040), False)
    assert backends.reach(Address("http", "Be1", 8041)) == (Address("http", "10.0.0.2", 18041), False)
    assert backends.reach(Address("http", "be2", 8040)) == (Address("https", "::1", 8443), True)
    assert backends.reach(Address("http", "be2", 8041)) == (Address("http", "be2", 8041), False)


@pytest.mark.parametrize("text", ["be1", "be1=", "http://be1=x", "a=b=c", "be1:0=x"])
def test_what_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="be_addresses"):
        BackendMap.parse(text, "sr")


hosts = st.from_regex(r"[a-z][a-z0-9.-]{0,20}[a-z0-9]|\[[0-9a-f]{1,4}::[0-9a-f]{1,4}\]", fullmatch=True)
ports = st.integers(1, 65535)


@given(st.lists(st.tuples(hosts, ports), min_size=1, max_size=5), st.sampled_from([";", ",", "; ", " "]))
def test_any_list_of_hosts_and_ports_is_read_back(pairs: list[tuple[str, int]], separator: str) -> None:
    text = separator.join(f"{host}:{port}" for host, port in pairs)
    found = frontends(values() | {"load_url": text}, "sr")
    assert [str(address) for address in found] == [f"{host}:{port}" for host, port in pairs]


@given(hosts, ports, hosts, ports)
def test_any_mapped_backend_is_reached_where_the_map_says(there: str, at: int, here: str, to: int) -> None:
    backends = BackendMap.parse(f"{there}:{at}={here}:{to}", "sr")
    named, _ = locate(f"http://{there}:{at}/x", "sr")
    assert str(backends.reach(named)[0]) == f"{here}:{to}"


def test_the_rota_turns_and_puts_those_that_are_down_last() -> None:
    addresses = [Address("http", f"fe{n}", 8030) for n in (1, 2, 3)]
    rota = Rota(addresses)
    assert [rota.order()[0].host for _ in range(4)] == ["fe1", "fe2", "fe3", "fe1"]
    rota.down(addresses[1])
    assert [address.host for address in rota.order()] == ["fe3", "fe1", "fe2"]
    rota.up(addresses[1])
    assert [address.host for address in rota.order()] == ["fe3", "fe1", "fe2"]
    assert [address.host for address in rota.order()] == ["fe1", "fe2", "fe3"]


def test_a_frontend_is_asked_first_again_after_a_while() -> None:
    addresses = [Address("http", f"fe{n}", 8030) for n in (1, 2)]
    rota = Rota(addresses, down_seconds=0)
    rota.down(addresses[0])
    assert rota.order()[0].host == "fe1"


def test_a_redirect_is_followed_without_its_credentials() -> None:
    asked = Address("http", "fe", 8030)
    hop = follow("http://root:geheim@be1:8040/api/a/b/_stream_load?x=1", asked, BackendMap.parse("be1=10.0.0.1", "sr"), "sr")
    assert (str(hop.address), str(hop.named), hop.path) == ("10.0.0.1:8040", "be1:8040", "/api/a/b/_stream_load?x=1")
    assert "geheim" not in repr(hop)


def test_a_relative_redirect_stays_at_the_server() -> None:
    hop = follow("/elsewhere", Address("http", "::1", 8030), BackendMap(()), "sr")
    assert (str(hop.address), hop.path) == ("[::1]:8030", "/elsewhere")


def test_a_redirect_from_https_to_http_is_refused_unless_the_map_says_so() -> None:
    asked = Address("https", "fe", 8030)
    with pytest.raises(PreflightError, match=r"be_addresses"):
        follow("http://root:geheim@be1:8040/x", asked, BackendMap.parse("be1=10.0.0.1", "sr"), "sr")
    for scheme in ("http", "https"):
        hop = follow("http://be1:8040/x", asked, BackendMap.parse(f"be1={scheme}://10.0.0.1", "sr"), "sr")
        assert hop.address == Address(scheme, "10.0.0.1", 8040)


@pytest.mark.parametrize("location", ["ftp://be/x", "http://", "http://be:99999/x", "http://user:geheim@[::1/x"])
def test_what_is_no_address_is_not_followed(location: str) -> None:
    with pytest.raises(Unavailable) as caught:
        follow(location, Address("http", "fe", 8030), BackendMap(()), "sr")
    assert "geheim" not in str(caught.value)
