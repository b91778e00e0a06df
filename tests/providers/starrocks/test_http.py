"""HTTP: redirects by hand, the wait for 100 Continue, frontends that fail, credentials, TLS, memory."""

from __future__ import annotations

import io
import logging
import ssl
import subprocess
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.providers.starrocks.scripted import Conversation, Scripted, values
from tidegate.errors import ConfigError, LoadUnresolved, PermanentError, PreflightError, TidegateError, Unavailable
from tidegate.providers.starrocks.body import SLICE, Body, Payload
from tidegate.providers.starrocks.connection import SYSTEM
from tidegate.providers.starrocks.http import Http, patience

PATH = "/api/shop/orders/_stream_load"
EXPECT = {"Expect": "100-continue", "label": "l"}
BASIC = "Basic bG9hZGVyOnBhOnNz"  # loader:pa:ss


def to(backend: Scripted | str) -> Callable[[Conversation], None]:
    """A frontend that redirects as StarRocks does: with user and password in the URL."""
    address = backend if isinstance(backend, str) else backend.address
    return lambda conversation: conversation.redirect(f"http://root:geheim@{address}{conversation.path}")


def takes(conversation: Conversation) -> None:
    conversation.go_on()
    conversation.reply(conversation.body())


def lacks(conversation: Conversation) -> None:
    """Closes without a word."""


def http(*frontends: Scripted | str, **more: Any) -> Http:
    return Http(values(*frontends, **more), "sr")


def test_the_body_goes_to_the_backend_alone_and_credentials_to_both() -> None:
    with Scripted(takes, "127.0.0.2") as backend, Scripted(to(backend)) as frontend:
        answer = http(frontend).put(PATH, EXPECT, [b"one", b"", b"two"])
    assert (answer.body, answer.sent, str(answer.address)) == (b"onetwo", True, backend.address)
    assert frontend.requests == backend.requests == [("PUT", PATH)]
    assert [headers["authorization"] for headers in (frontend.headers[0], backend.headers[0])] == [BASIC, BASIC]
    assert frontend.headers[0]["expect"] == "100-continue"
    assert backend.headers[0]["content-length"] == "6"


def test_no_byte_of_the_body_is_sent_before_it_is_wanted() -> None:
    seen: list[bool] = []

    def frontend_script(conversation: Conversation) -> None:
        seen.append(conversation.quiet())
        conversation.redirect(f"http://{backend.address}{conversation.path}")

    def backend_script(conversation: Conversation) -> None:
        seen.append(conversation.quiet())
        takes(conversation)

    with Scripted(backend_script, "127.0.0.2") as backend, Scripted(frontend_script) as frontend:
        http(frontend).put(PATH, EXPECT, b"rows")
    assert seen == [True, True]


def test_a_follower_leads_to_the_leader_and_that_to_the_backend() -> None:
    with Scripted(takes, "127.0.0.2") as backend, Scripted(to(backend)) as leader, Scripted(to(leader)) as follower:
        assert http(follower).put(PATH, EXPECT, b"rows").body == b"rows"
        assert http(follower, leader).put(PATH, EXPECT, b"rows").body == b"rows"
    assert [headers["authorization"] for headers in leader.headers] == [BASIC, BASIC]


def test_a_redirect_without_end_is_not_followed_for_ever() -> None:
    def around(conversation: Conversation) -> None:
        conversation.redirect(f"http://{frontend.address}{conversation.path}")

    with Scripted(around) as frontend, pytest.raises(Unavailable, match="without end"):
        http(frontend).put(PATH, EXPECT, b"rows")


def test_a_backend_is_reached_where_the_map_says() -> None:
    with Scripted(takes, "127.0.0.2") as backend, Scripted(to("be1.cluster.local:8040")) as frontend:
        client = http(frontend, be_addresses=f"be1.cluster.local:8040={backend.address}")
        assert client.put(PATH, EXPECT, b"rows").body == b"rows"


def test_a_backend_that_can_not_be_reached_names_the_map_and_no_password(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        Scripted(to("127.0.0.3:1")) as frontend,
        pytest.raises(Unavailable, match=r"be_addresses") as caught,
    ):
        http(frontend).put(PATH, EXPECT, b"rows")
    assert "127.0.0.3:1" in str(caught.value)
    assert "geheim" not in str(caught.value) + caplog.text
    assert "pa:ss" not in str(caught.value) + caplog.text


def test_a_load_that_is_refused_by_its_headers_is_answered_and_nothing_is_sent() -> None:
    def refuses(conversation: Conversation) -> None:
        conversation.reply({"Status": "Label Already Exists"})

    with Scripted(refuses, "127.0.0.2") as backend, Scripted(to(backend)) as frontend:
        answer = http(frontend).put(PATH, EXPECT, bytes(50_000_000))
    assert (answer.body, answer.sent) == (b'{"Status": "Label Already Exists"}', False)


@pytest.mark.parametrize("reset", [False, True])
def test_a_backend_that_answers_in_the_middle_of_the_body_is_heard(reset: bool) -> None:
    def interrupts(conversation: Conversation) -> None:
        conversation.go_on()
        conversation.body(100_000)
        conversation.reply({"Status": "Fail", "Message": "body size 50000000 exceed limit"})
        if reset:
            conversation.reset()

    with Scripted(interrupts, "127.0.0.2") as backend, Scripted(to(backend)) as frontend:
        answer = http(frontend).put(PATH, EXPECT, bytes(50_000_000))
    assert b"exceed limit" in answer.body
    assert not answer.sent


def test_a_backend_that_has_answered_and_reads_no_more_is_not_waited_for() -> None:
    released = threading.Event()
    first: list[bool] = []

    def stops(conversation: Conversation) -> None:
        conversation.go_on()
        conversation.body(100_000)
        conversation.reply({"Status": "Fail"})
        # True: the client had its answer before the connection was closed.
        first.append(released.wait(15))

    with Scripted(stops, "127.0.0.2") as backend, Scripted(to(backend)) as frontend:
        answer = http(frontend).put(PATH, EXPECT, bytes(50_000_000))
        released.set()
    assert (answer.body, answer.sent, first) == (b'{"Status": "Fail"}', False, [True])


def test_a_backend_that_reads_no_more_and_says_nothing_is_given_up() -> None:
    released = threading.Event()

    def stops(conversation: Conversation) -> None:
        conversation.go_on()
        released.wait(20)

    with Scripted(stops, "127.0.0.2") as backend, Scripted(to(backend)) as frontend:
        with pytest.raises(LoadUnresolved, match="socket_timeout_ms"):
            http(frontend, socket_timeout_ms=200).put(PATH, EXPECT, bytes(50_000_000))
        released.set()


@pytest.mark.parametrize("taken", [100, 50_000_000])
def test_a_backend_that_dies_under_the_body_leaves_the_load_unresolved(taken: int) -> None:
    def dies(conversation: Conversation) -> None:
        conversation.go_on()
        conversation.body(taken)
        conversation.reset()

    with Scripted(dies, "127.0.0.2") as backend, Scripted(to(backend)) as frontend, pytest.raises(LoadUnresolved):
        http(frontend).put(PATH, EXPECT, bytes(50_000_000))


def test_a_reply_that_breaks_off_leaves_the_load_unresolved() -> None:
    def breaks(conversation: Conversation) -> None:
        conversation.go_on()
        conversation.body()
        conversation.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"Status": "Succ')

    with Scripted(breaks, "127.0.0.2") as backend, Scripted(to(backend)) as frontend, pytest.raises(LoadUnresolved):
        http(frontend).put(PATH, EXPECT, b"rows")


def test_a_backend_that_closes_before_it_wants_the_body_has_taken_nothing() -> None:
    with Scripted(lacks, "127.0.0.2") as backend, Scripted(to(backend)) as frontend, pytest.raises(Unavailable):
        http(frontend).put(PATH, EXPECT, b"rows")


def test_a_backend_that_says_nothing_is_sent_the_body_and_a_late_continue_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(conversation: Conversation) -> None:
        conversation.body(10)
        conversation.go_on()
        rest = conversation.body(conversation.length - 10)
        conversation.reply(str(len(rest)).encode())

    with Scripted(late, "127.0.0.2") as backend, Scripted(to(backend)) as frontend:
        client = impatient(http(frontend))
        answer = client.put(PATH, EXPECT, bytes(30_000_000))
    assert (answer.body, answer.sent) == (b"29999990", True)


def impatient(client: Http, seconds: float = 0.2) -> Http:
    """Waits less than the field's least."""
    limits = client._limits
    client._limits = type(limits)(limits.connect, seconds, limits.socket)
    return client


def test_a_slow_frontend_is_given_up_without_the_body_and_the_next_is_asked() -> None:
    released = threading.Event()
    seen: list[bytes] = []

    def slow(conversation: Conversation) -> None:
        seen.append(conversation.body())
        released.wait(20)

    with Scripted(takes, "127.0.0.2") as backend, Scripted(slow) as ill, Scripted(to(backend)) as well:
        client = impatient(http(ill, well))
        assert client.put(PATH, EXPECT, b"rows").body == b"rows"
        assert client.put(PATH, EXPECT, b"rows").body == b"rows"
        assert client.put(PATH, EXPECT, b"rows").body == b"rows"
        released.set()
    assert seen == [b""]


def test_a_slow_frontend_alone_is_unavailable_and_names_the_wait() -> None:
    released = threading.Event()

    def slow(conversation: Conversation) -> None:
        released.wait(20)

    with Scripted(slow) as ill:
        with pytest.raises(Unavailable, match="wait_for_continue_timeout_ms"):
            impatient(http(ill)).put(PATH, EXPECT, b"rows")
        released.set()


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_frontend_that_fails_is_passed_over(status: int) -> None:
    def ill(conversation: Conversation) -> None:
        conversation.reply(b"oh", status=status)

    with Scripted(takes, "127.0.0.2") as backend, Scripted(ill) as first, Scripted(to(backend)) as second:
        client = http(first, "127.0.0.3:1", second)
        for _ in range(3):
            assert client.put(PATH, EXPECT, b"rows").body == b"rows"
        assert len(first.requests) == 1
        with pytest.raises(Unavailable, match=str(status)):
            http(first).put(PATH, EXPECT, b"rows")


def test_a_backend_that_fails_after_the_body_leaves_the_load_unresolved() -> None:
    def fails(conversation: Conversation) -> None:
        conversation.go_on()
        conversation.body()
        conversation.reply(b"oh", status=502)

    with (
        Scripted(fails, "127.0.0.2") as backend,
        Scripted(to(backend)) as first,
        Scripted(to(backend)) as second,
    ):
        with pytest.raises(LoadUnresolved, match="502"):
            http(first, second).put(PATH, EXPECT, b"rows")
        assert len(backend.requests) == 1


def test_frontends_take_turns() -> None:
    with Scripted(takes, "127.0.0.2") as backend, Scripted(to(backend)) as first, Scripted(to(backend)) as second:
        client = http(first, second)
        for _ in range(4):
            client.put(PATH, EXPECT, b"rows")
    assert len(first.requests) == len(second.requests) == 2


def test_bodies_of_several_threads_do_not_mix() -> None:
    with Scripted(takes, "127.0.0.2") as backend, Scripted(to(backend)) as first, Scripted(to(backend)) as second:
        client = http(first, second)
        wanted = [bytes([number]) * 100_000 for number in range(8)]
        found: list[bytes] = [b""] * 8

        def put(number: int) -> None:
            found[number] = client.put(PATH, EXPECT, wanted[number]).body

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == wanted


@pytest.mark.parametrize("where", ["frontend", "backend"])
@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_the_users_to_mend(where: str, status: int) -> None:
    def refuses(conversation: Conversation) -> None:
        conversation.reply({"status": "FAILED", "msg": "Access denied; you need INSERT"}, status=status)

    with Scripted(refuses, "127.0.0.2") as backend, Scripted(refuses if where == "frontend" else to(backend)) as frontend:
        with pytest.raises(PreflightError, match=r"you need INSERT \[login\]"):
            http(frontend).put(PATH, EXPECT, b"rows")
        with pytest.raises(PreflightError, match="login"):
            http(frontend).call("POST", "/api/transaction/begin")


@pytest.mark.parametrize("status", [404, 413])
def test_a_server_that_is_no_frontend_is_named_as_such(status: int) -> None:
    with (
        Scripted(lambda conversation: conversation.reply(b"nginx", status=status)) as other,
        pytest.raises(ConfigError, match=f"{status}.*load_url"),
    ):
        http(other).put(PATH, EXPECT, b"rows")


def test_a_socket_waits_as_long_as_the_load_may_take_unless_told_otherwise() -> None:
    assert patience(values("fe:8030", load_timeout=60)) == 90
    assert patience(values("fe:8030", load_timeout=60), "1000") == 1030
    assert patience(values("fe:8030", load_timeout=60, socket_timeout_ms=500), "1000") == 0.5


def test_a_server_that_does_not_speak_http_is_unavailable() -> None:
    with Scripted(lambda conversation: conversation.raw(b"J\x00\x00\x00\n8.0.33\n")) as other, pytest.raises(Unavailable):
        http(other).put(PATH, EXPECT, b"rows")


def test_the_field_that_was_filled_in_is_the_one_that_is_named() -> None:
    with pytest.raises(Unavailable, match=r"\[http_port\]"):
        Http(SYSTEM.values({"host": "127.0.0.1", "http_port": 1, "login": "root"}, "sr"), "sr").put(PATH, EXPECT, b"rows")
    with pytest.raises(Unavailable, match=r"\[load_url\]"):
        Http(values("127.0.0.1:1"), "sr").put(PATH, EXPECT, b"rows")


def test_a_proxy_that_follows_the_redirect_itself_gets_the_whole_body() -> None:
    """StarRocks' fe-proxy: an empty probe would be the load."""
    with Scripted(takes) as proxy:
        answer = http(proxy).put(PATH, EXPECT, b"rows")
    assert (answer.body, answer.sent, len(proxy.requests)) == (b"rows", True, 1)


def test_a_proxy_that_reads_the_body_before_the_frontend_redirects_loses_nothing() -> None:
    def swallows(conversation: Conversation) -> None:
        conversation.go_on()
        conversation.body()
        conversation.redirect(f"http://{backend.address}{conversation.path}")

    with Scripted(takes, "127.0.0.2") as backend, Scripted(swallows) as proxy:
        assert http(proxy).put(PATH, EXPECT, io.BytesIO(b"rows")).body == b"rows"


def test_headers_are_utf_8_and_can_hold_no_second_header() -> None:
    with Scripted(takes) as proxy:
        http(proxy).put(PATH, EXPECT | {"columns": "`编号`,__op"}, b"rows")
        with pytest.raises(ConfigError, match="row_delimiter"):
            http(proxy).put(PATH, EXPECT | {"row_delimiter": "\n"}, b"rows")
    assert proxy.headers[0]["columns"] == "`编号`,__op"


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Scripted(takes) as frontend:
        assert http(frontend).put(PATH, EXPECT, b"rows").body == b"rows"


def test_ipv6() -> None:
    with Scripted(takes, "::1") as backend, Scripted(to(backend), "::1") as frontend:
        assert http(frontend).put(PATH, EXPECT, b"rows").body == b"rows"
    assert backend.headers[0]["host"] == backend.address


def test_a_call_without_a_reply_is_asked_of_the_next_frontend_but_not_if_it_is_for_once() -> None:
    def answers(conversation: Conversation) -> None:
        conversation.reply({"state": "VISIBLE"})

    with Scripted(lacks) as dead, Scripted(answers) as living:
        assert http(dead, living).call("GET", "/x").body == b'{"state": "VISIBLE"}'
        with pytest.raises(LoadUnresolved):
            http(dead, living).call("POST", "/x", once=True)
        assert http("127.0.0.3:1", living).call("POST", "/x", once=True).status == 200
        with pytest.raises(LoadUnresolved):
            http(dead).call("GET", "/x")
    with pytest.raises(Unavailable):
        http("127.0.0.3:1").call("GET", "/x")


def test_a_call_follows_to_the_leader() -> None:
    with Scripted(lambda conversation: conversation.reply(b"{}", status=404)) as leader, Scripted(to(leader)) as follower:
        assert http(follower).call("GET", "/x?label=l").status == 404
    assert leader.requests == [("GET", "/x?label=l")]


def test_an_error_log_is_fetched_through_the_map_with_credentials_only_for_known_servers() -> None:
    with Scripted(lambda c: c.reply(b"Error: x"), "127.0.0.2") as backend, Scripted(to("be1:8040")) as frontend:
        client = http(frontend, be_addresses=f"be1={backend.address}, be2={backend.address}")
        assert client.fetch("http://be2:8040/api/_load_error_log?file=f") == b"Error: x"
        client.put(PATH, EXPECT, b"rows")
        assert client.fetch("http://be1:8040/api/_load_error_log?file=f") == b"Error: x"
    fetched = [headers for headers, (method, _) in zip(backend.headers, backend.requests, strict=True) if method == "GET"]
    assert ["authorization" in headers for headers in fetched] == [False, True]


@pytest.mark.parametrize("url", ["http://127.0.0.3:1/x", "nonsense", "file:///etc/passwd"])
def test_an_error_log_that_can_not_be_had_is_unavailable(url: str) -> None:
    with pytest.raises(Unavailable):
        http("127.0.0.3:1").fetch(url)


# Bodies


@pytest.mark.parametrize("kind", ["bytes", "pieces", "path", "handle"])
def test_a_body_is_sent_whole_and_again(kind: str, tmp_path: Path) -> None:
    whole = bytes(range(256)) * 9000
    file = tmp_path / "rows.csv"
    file.write_bytes(b"head" + whole)
    with file.open("rb") as handle:
        handle.read(4)
        (tmp_path / "whole").write_bytes(whole)
        bodies: dict[str, Payload] = {
            "bytes": whole,
            "pieces": [whole[:5], whole[5:2_000_000], b"", whole[2_000_000:]],
            "path": tmp_path / "whole",
            "handle": handle,
        }
        body = Body(bodies[kind])
        assert body.length == len(whole)
        for _ in range(2):
            slices = list(body.slices())
            assert max(map(len, slices)) <= SLICE
            assert b"".join(slices) == whole


def test_a_body_that_can_not_be_read_again_is_refused() -> None:
    bodies: list[Any] = [(piece for piece in (b"a", b"b")), "text", bytearray(b"x"), None]
    for body in bodies:
        with pytest.raises(ConfigError, match=type(body).__name__):
            Body(body)


def test_a_file_that_shrinks_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(bytes(3_000_000))

    def shrinks(conversation: Conversation) -> None:
        file.write_bytes(bytes(10))
        conversation.go_on()
        assert len(conversation.body()) < 3_000_000

    with Scripted(shrinks) as backend, pytest.raises(PermanentError, match="shorter"):
        http(backend).put(PATH, EXPECT, file)


def test_memory_stays_flat_over_80_megabytes(tmp_path: Path) -> None:
    def counts(conversation: Conversation) -> None:
        conversation.go_on()
        conversation.reply(str(conversation.drain()).encode())

    piece = bytes(8 << 20)
    file = tmp_path / "rows"
    with file.open("wb") as sink:
        sink.truncate(80 << 20)
    bodies: list[Payload] = [[piece] * 10, file]
    with Scripted(counts, "127.0.0.2") as backend, Scripted(to(backend)) as frontend:
        client = http(frontend)
        for body in bodies:
            tracemalloc.start()
            answer = client.put(PATH, EXPECT, body)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert answer.body == str(80 << 20).encode()
            assert peak < 8 << 20


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of a server that is called localhost."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    try:
        made = subprocess.run([*command.split(), "-keyout", str(file), "-out", str(file) + ".crt"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert made.returncode == 0, made.stderr
    file.write_bytes(file.read_bytes() + Path(str(file) + ".crt").read_bytes())
    return file


def secured(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_tls_by_ssl_mode(certificate: Path) -> None:
    context = secured(certificate)

    def redirects(conversation: Conversation) -> None:
        conversation.redirect(f"https://{backend.host}:{backend.port}{conversation.path}")

    body = bytes(3_000_000)
    with Scripted(takes, "127.0.0.1", context) as backend, Scripted(redirects, "127.0.0.1", context) as frontend:
        named = f"localhost:{frontend.port}"
        mapped = {"be_addresses": f"127.0.0.1:{backend.port}=localhost:{backend.port}", "ssl_ca": str(certificate)}
        assert http(frontend, ssl_mode="required").put(PATH, EXPECT, body).body == body
        assert http(frontend, ssl_mode="verify_ca", ssl_ca=str(certificate)).put(PATH, EXPECT, body).body == body
        assert http(named, ssl_mode="verify_identity", **mapped).put(PATH, EXPECT, body).body == body
        refused: list[Http] = [
            http(frontend, ssl_mode="verify_identity", ssl_ca=str(certificate)),
            http(frontend, ssl_mode="verify_ca"),
            http(f"https://{frontend.address}"),
        ]
        for client in refused:
            with pytest.raises(PreflightError, match="ssl_ca"):
                client.put(PATH, EXPECT, body)


def test_a_redirect_to_http_sends_nothing(certificate: Path) -> None:
    with (
        Scripted(takes, "127.0.0.2") as backend,
        Scripted(to(backend), "127.0.0.1", secured(certificate)) as frontend,
    ):
        with pytest.raises(PreflightError, match="be_addresses"):
            http(frontend, ssl_mode="required").put(PATH, EXPECT, b"rows")
        assert backend.requests == []
        client = http(frontend, ssl_mode="required", be_addresses=f"127.0.0.2=http://{backend.address}")
        assert client.put(PATH, EXPECT, b"rows").body == b"rows"


def test_a_frontend_without_tls_is_not_spoken_to_in_the_clear() -> None:
    seen: list[object] = []
    with Scripted(seen.append) as frontend, pytest.raises(TidegateError):
        http(frontend, ssl_mode="required").put(PATH, EXPECT, b"rows")
    assert seen == []


def test_an_unreadable_ca_names_its_setting() -> None:
    with pytest.raises(ConfigError, match="ssl_ca"):
        http("fe:8030", ssl_mode="verify_ca", ssl_ca="/nowhere")
