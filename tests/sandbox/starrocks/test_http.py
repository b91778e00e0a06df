"""The HTTP ports by hand: redirect before the body, 100-continue, refusals before the body, credentials, what is said when."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.starrocks.conftest import Start
from tests.sandbox.starrocks.wire import PASSWORD, USER, Client, line

LOAD = "/api/d/t/_stream_load"
CSV = {"column_separator": ","}


def test_the_frontend_redirects_before_the_body_and_hangs_up(client: Client) -> None:
    with line(client.box.fe_host, client.box.fe_http_port) as to:
        to.head("PUT", LOAD, {"Expect": "100-continue", "Content-Length": "1000000", "label": "a"})
        said = to.answer()
    assert (said.status, said.closed) == (307, True)
    assert said.headers["location"] == f"http://{client.box.be_host}:{client.box.be_port}{LOAD}"
    assert client.state("a") == "UNKNOWN"


def test_frontend_and_backend_are_on_different_addresses(client: Client) -> None:
    box = client.box
    assert (box.fe_host, box.be_host, box.follower_host) == ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def test_without_the_100_continue_header_the_frontend_fails_the_load_with_http_200(client: Client) -> None:
    with line(client.box.fe_host, client.box.fe_http_port) as to:
        to.head("PUT", LOAD, {"Content-Length": "4"})
        to.send(b"1,a\n")
        said = to.answer()
    words = "class com.starrocks.common.DdlException: There is no 100-continue header"
    assert (said.status, said.closed, said.json) == (200, True, {"Status": "FAILED", "Message": words})


@pytest.mark.parametrize("login", [None, (USER, "wrong"), ("nobody", PASSWORD)])
@pytest.mark.parametrize(
    ("method", "path"), [("PUT", LOAD), ("GET", "/api/d/get_load_state?label=x"), ("POST", "/api/transaction/begin")]
)
def test_the_frontend_asks_for_a_login(client: Client, login: tuple[str, str] | None, method: str, path: str) -> None:
    with line(client.box.fe_host, client.box.fe_http_port) as to:
        to.head(method, path, {"Expect": "100-continue", "Content-Length": "0"}, login)
        said = to.answer()
    assert said.status == 401
    assert said.headers["www-authenticate"].startswith("Basic")


def test_the_backend_says_continue_and_only_then_reads(client: Client) -> None:
    with line(client.box.be_host, client.box.be_port) as to:
        to.head("PUT", LOAD, {**CSV, "Expect": "100-continue", "Content-Length": "4", "label": "a"})
        assert to.answer().status == 100
        assert client.state("a") == "PREPARE"
        to.send(b"1,a\n")
        said = to.answer()
    assert (said.json["Status"], said.json["Message"], said.json["NumberLoadedRows"]) == ("Success", "OK", 1)
    assert client.rows() == [(1, "a")]


def test_a_backend_reads_chunks(client: Client) -> None:
    with line(client.box.be_host, client.box.be_port) as to:
        to.head("PUT", LOAD, {**CSV, "Transfer-Encoding": "chunked", "label": "a"})
        to.send(b"4\r\n1,a\n\r\n6;x=y\r\n2,bb\n3\r\n3\r\n,c\n\r\n0\r\n\r\n")
        said = to.answer()
    assert (said.json["NumberLoadedRows"], said.json["LoadBytes"]) == (3, 13)
    assert client.rows() == [(1, "a"), (2, "bb"), (3, "c")]


def test_a_connection_to_the_backend_serves_several_requests(client: Client) -> None:
    with line(client.box.be_host, client.box.be_port) as to:
        for label in ("a", "b"):
            to.head("PUT", LOAD, {**CSV, "Content-Length": "4", "label": label})
            to.send(b"1,a\n")
            assert to.answer().json["Status"] == "Success"


def refused(client: Client, headers: dict[str, str], login: tuple[str, str] | None = (USER, PASSWORD), path: str = LOAD) -> str:
    """The message of a load that the backend refuses by its head: without a 100, and hanging up."""
    with line(client.box.be_host, client.box.be_port) as to:
        to.head("PUT", path, {**CSV, "Expect": "100-continue", "Content-Length": "1000", **headers}, login)
        said = to.answer()
    assert (said.status, said.closed) == (200, True)
    assert said.json["Status"] in ("Fail", "Label Already Exists")
    return str(said.json["Message"])


def test_what_a_backend_refuses_by_the_head_it_answers_without_the_body(client: Client) -> None:
    assert client.load("used", b"1,a\n")["Status"] == "Success"
    client.box.backend.config.streaming_load_max_mb = 1
    assert refused(client, {}, None) == "no valid Basic authorization"
    assert refused(client, {}, (USER, "wrong")).startswith("Access denied for root@")
    assert refused(client, {"label": "used"}) == "Label [used] has already been used."
    assert "exceed limit" in refused(client, {"Content-Length": str(2 << 20)})
    assert refused(client, {"format": "xml"}) == "unknown data format, format=xml"
    assert refused(client, {"timeout": "soon"}) == "Invalid timeout format"
    assert refused(client, {"timeout": "0"}) == "Invalid timeout. Timeout should between 1 and 259200 seconds"
    assert refused(client, {"label": "not a label"}).startswith("Label format error")
    assert refused(client, {}, path="/api/none/t/_stream_load") == "unknown database, database=none"
    assert refused(client, {}, path="/api/d/none/_stream_load") == 'unknown table "d.none"'
    assert client.rows() == [(1, "a")]


def test_json_beyond_the_batch_limit_needs_ignore_json_size(client: Client) -> None:
    client.box.backend.config.streaming_load_max_batch_size_mb = 0
    assert "ignore_json_size" in refused(client, {"format": "json"})
    said = client.load("a", b'{"id": 1, "v": "a"}', format="json", ignore_json_size="true")
    assert said["Status"] == "Success", said


def test_a_label_in_use_is_named_with_its_state(client: Client) -> None:
    client.load("used", b"1,a\n")
    said = client.load("used", b"2,b\n")
    assert (said["Status"], said["ExistingJobStatus"], said["TxnId"]) == ("Label Already Exists", "FINISHED", -1)
    client.step("begin", "open")
    assert client.load("open", b"2,b\n")["ExistingJobStatus"] == "RUNNING"
    assert client.rows() == [(1, "a")]


def test_a_load_without_a_label_gets_one(client: Client) -> None:
    said = client.follow("PUT", LOAD, CSV, b"1,a\n").json
    assert client.state(said["Label"]) == "VISIBLE"


def test_a_load_needs_the_insert_privilege(client: Client) -> None:
    client.box.users.add("reader", "r")
    client.box.users.grant("reader", "SELECT", "d", "t")
    reader = Client(client.box, ("reader", "r"))
    said = reader.at("fe", "PUT", LOAD, {})
    assert said.status == 401
    assert said.json["msg"].startswith("Access denied; you need (at least one of) the INSERT privilege(s) on TABLE t")
    assert reader.at("be", "PUT", LOAD, {"label": "a"}).json["Message"].startswith("Access denied; ")
    assert reader.step("begin", "a")["Message"].startswith("Access denied; ")
    client.box.users.grant("reader", "INSERT", "d", "t")
    assert reader.load("a", b"1,a\n")["Status"] == "Success"


def test_filtered_rows_are_told_at_the_error_url(client: Client) -> None:
    said = client.load("a", b"1,a\nx,b\n", strict_mode="true")
    assert (said["Status"], said["Message"], said["NumberFilteredRows"]) == ("Fail", "too many filtered rows", 1)
    assert client.state("a") == "ABORTED"
    path = said["ErrorURL"].removeprefix(f"http://{client.box.be_host}:{client.box.be_port}")
    with line(client.box.be_host, client.box.be_port) as to:
        to.head("GET", path, {}, None)
        lines = to.answer()
    assert (lines.status, b"x,b" in lines.body) == (200, True)
    assert client.rows() == []
    said = client.load("a", b"1,a\nx,b\n", strict_mode="true", max_filter_ratio="0.5")
    assert (said["Status"], said["NumberLoadedRows"], said["NumberFilteredRows"]) == ("Success", 1, 1)
    assert "ErrorURL" in said


def test_an_error_log_that_is_gone_is_not_found(client: Client) -> None:
    assert client.at("be", "GET", "/api/_load_error_log?file=error_log_none", {}).status == 404


def test_a_client_that_goes_in_mid_body_leaves_nothing(client: Client) -> None:
    from tests.servers import wait_until

    with line(client.box.be_host, client.box.be_port) as to:
        to.head("PUT", LOAD, {**CSV, "Content-Length": "8", "label": "a"})
        to.send(b"1,a\n")
    wait_until(lambda: client.state("a") == "ABORTED", "the abort")
    assert client.rows() == []
    assert client.load("a", b"2,b\n")["Status"] == "Success"


def test_a_follower_sends_to_the_leader_first(client: Client) -> None:
    box = client.box
    leader = f"http://{box.fe_host}:{box.fe_http_port}"
    client.load("a", b"1,a\n")
    for method, path in (("GET", "/api/d/get_load_state?label=a"), ("POST", "/api/transaction/begin")):
        said = client.at("follower", method, path, {"db": "d", "table": "t", "label": "b"})
        assert (said.status, said.headers["location"]) == (307, leader + path)
    said = client.at("follower", "PUT", LOAD, {})
    assert said.headers["location"] == f"http://{box.be_host}:{box.be_port}{LOAD}"


def test_a_path_that_there_is_none_of_is_not_found(client: Client) -> None:
    assert client.at("fe", "GET", "/api/none", {}).status == 404
    assert client.at("be", "GET", "/api/none", {}).status == 404


def test_get_load_state_of_an_unknown_database(client: Client) -> None:
    said = client.at("fe", "GET", "/api/none/get_load_state?label=a", {})
    assert (said.status, said.json["status"], said.json["msg"]) == (200, "FAILED", "unknown database, database=none")


def test_a_merged_load_has_a_label_of_the_servers(client: Client) -> None:
    for _ in range(2):
        said = client.load("mine", b"1,a\n", enable_merge_commit="true")
        assert (said["Status"], said["RequestId"], said["Label"].startswith("merge_commit_")) == ("Success", "mine", True)
    assert client.rows() == [(1, "a"), (1, "a")]


def test_loads_of_one_window_with_the_same_headers_are_merged(client: Client) -> None:
    window = {"enable_merge_commit": "true", "merge_commit_interval_ms": "500"}

    def load(number: int) -> dict[str, Any]:
        other = {"max_filter_ratio": "0.5"} if number == 3 else {}
        said = client.load(f"mine-{number}", f"{number},a\n".encode(), **window, **other)
        assert isinstance(said, dict)
        return said

    with ThreadPoolExecutor(4) as pool:
        *merged, apart = pool.map(load, range(4))
    assert [said["Status"] for said in (*merged, apart)] == ["Success"] * 4
    assert [said["RequestId"] for said in merged] == ["mine-0", "mine-1", "mine-2"]
    assert len({(said["Label"], said["TxnId"]) for said in merged}) == 1
    assert merged[0]["NumberLoadedRows"] == 3
    assert apart["TxnId"] != merged[0]["TxnId"]
    assert client.state(merged[0]["Label"]) == "VISIBLE"
    assert [row[0] for row in client.rows()] == [0, 1, 2, 3]


def test_a_faulty_row_fails_all_loads_of_its_window(client: Client) -> None:
    window = {"enable_merge_commit": "true", "merge_commit_interval_ms": "500", "strict_mode": "true"}
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda body: client.load("", body, **window), [b"1,a\n", b"x,b\n"]))
    assert [one["Message"] for one in said] == ["too many filtered rows"] * 2
    assert client.rows() == []


def test_with_a_certificate_all_is_encrypted(start: Start, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=sandbox -addext subjectAltName=IP:127.0.0.1,IP:127.0.0.2"
    try:
        subprocess.run([*command.split(), "-keyout", str(key), "-out", str(certificate)], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    client = start(certificate=(str(certificate), str(key)))
    box, trusted = client.box, ssl.create_default_context(cafile=str(certificate))

    def asked(host: str, port: int, method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
        connection = stack.enter_context(closing(http.client.HTTPSConnection(host, port, timeout=20, context=trusted)))
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {**CSV, "label": "a", "Expect": "100-continue", "Authorization": f"Basic {token}"}
        connection.request(method, path, body, headers)
        return stack.enter_context(closing(connection.getresponse()))

    with ExitStack() as stack:
        answer = asked(box.fe_host, box.fe_http_port, "PUT", LOAD)
        assert answer.headers["Location"] == f"https://{box.be_host}:{box.be_port}{LOAD}"
        answer = asked(box.be_host, box.be_port, "PUT", LOAD, b"1,a\n")
        assert json.loads(answer.read())["Status"] == "Success"
    with line(box.fe_host, box.fe_http_port) as to:
        to.head("PUT", LOAD, {})
        assert to.answer().status == 0
    assert client.rows() == [(1, "a")]


def test_a_password_may_hold_a_colon(start: Start) -> None:
    client = start()
    client.box.users.add("c", "a:b")
    client.box.users.grant("c", "INSERT")
    token = base64.b64encode(b"c:a:b").decode()
    with line(client.box.fe_host, client.box.fe_http_port) as to:
        to.head("PUT", LOAD, {"Expect": "100-continue", "Content-Length": "0", "Authorization": f"Basic {token}"}, None)
        assert to.answer().status == 307


def test_a_large_body_is_spooled_and_loaded(client: Client) -> None:
    body = b"".join(b"%d,%d\n" % (number, number) for number in range(120_000))
    said = client.load("a", body)
    assert (said["NumberLoadedRows"], said["LoadBytes"]) == (120_000, len(body))
