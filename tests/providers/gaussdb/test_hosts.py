"""Several hosts: which is taken, and what is said of the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.gaussdb.conftest import Connect, Gates
from tests.servers import free_port
from tidegate.errors import ConfigError, PreflightError, Unavailable
from tidegate.providers.gaussdb.hosts import Host, parse_hosts


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("cn1", [Host("cn1", 8000)]),
        ("cn1:8001, cn2 ,10.0.0.1:9", [Host("cn1", 8001), Host("cn2", 8000), Host("10.0.0.1", 9)]),
        ("[::1]:8001,[fe80::1],::1", [Host("::1", 8001), Host("fe80::1", 8000), Host("::1", 8000)]),
        ("cn1,cn1:8000", [Host("cn1", 8000)]),
    ],
)
def test_hosts_are_read_in_their_order(text: str, hosts: list[Host]) -> None:
    assert list(parse_hosts(text, 8000, "warehouse")) == hosts


NAMES = st.one_of(st.from_regex(r"[a-z][a-z0-9.-]{0,9}", fullmatch=True), st.ip_addresses().map(str))


@given(st.lists(st.builds(Host, NAMES, st.integers(1, 65535)), min_size=1, max_size=4, unique=True))
def test_hosts_written_out_are_read_back(hosts: list[Host]) -> None:
    assert list(parse_hosts(",".join(map(str, hosts)), 8000, "warehouse")) == hosts


@pytest.mark.parametrize(
    "text", ["", "cn1,", "cn1:", "cn1:x", "cn1:0", "cn1:70000", "[::1", "[::1]x", "/var/run", "a b", "u@[::1]:1"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_hosts(text, 8000, "warehouse")
    assert caught.value.setting == "host"


@pytest.mark.postgres
@pytest.mark.parametrize("login", ["sha256", "md5"])
def test_the_first_host_that_takes_writes_is_taken(gates: Gates, connect: Connect, login: str) -> None:
    standby, primary = gates(login=login, options="-c default_transaction_read_only=on"), gates(login=login)
    session = connect(primary, host=f"127.0.0.1:{free_port()},127.0.0.1:{standby.port},127.0.0.1:{primary.port}")
    session.run("CREATE TABLE t (i int)")
    assert primary.live() == 1


@pytest.mark.postgres
def test_when_none_will_do_each_is_named_with_its_reason(gates: Gates, connect: Connect) -> None:
    standby, gone = gates(options="-c default_transaction_read_only=on"), free_port()
    with pytest.raises(Unavailable) as caught:
        connect(standby, host=f"127.0.0.1:{gone},127.0.0.1:{standby.port}")
    text = str(caught.value)
    assert f"127.0.0.1:{gone}: 127.0.0.1:{gone} can't be reached: Connection refused" in text
    assert f"127.0.0.1:{standby.port} takes no writes: default_transaction_read_only is on" in text
    assert "Right@123" not in text


@pytest.mark.postgres
def test_a_refused_password_is_not_tried_on_the_next_host(gates: Gates, connect: Connect) -> None:
    first, second = gates(), gates()
    with pytest.raises(PreflightError, match=f"127.0.0.1:{first.port}"):
        connect(first, host=f"127.0.0.1:{first.port},127.0.0.1:{second.port}", password="wrong")
    assert (first.proofs, second.proofs) == (1, 0)


@pytest.mark.postgres
def test_a_host_that_says_nothing_takes_no_longer_than_connect_timeout(gates: Gates, connect: Connect) -> None:
    silent, primary = gates(silent=True), gates()
    session = connect(primary, host=f"127.0.0.1:{silent.port},127.0.0.1:{primary.port}", connect_timeout=2)
    assert session.value("SELECT 1") == 1
