"""GaussDB's login, and which driver speaks it."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.gaussdb.conftest import Connect, Gates, connector
from tests.providers.gaussdb.gate import Stored
from tests.servers import PostgresServer, wait_until
from tidegate.errors import PreflightError, TidegateError, Unavailable
from tidegate.providers.gaussdb.auth import Login, Sha256, is_sasl

pytestmark = pytest.mark.postgres


@given(st.text(min_size=1), st.integers(1, 50), st.binary(min_size=4, max_size=4), st.booleans())
def test_the_proof_is_what_the_server_accepts_and_only_for_this_password(
    password: str, iterations: int, token: bytes, other: bool
) -> None:
    stored = Stored.of(password, iterations)
    body = struct.pack("!i", 2) + stored.salt.hex().encode() + token.hex().encode() + struct.pack("!i", iterations)
    challenge = Sha256.parse(body)
    assert challenge is not None
    proof = challenge.proof((password + "x" * other).encode())
    assert proof is not None
    assert stored.accepts(proof, token) is not other


@given(st.binary(max_size=150))
def test_a_challenge_of_another_form_is_none(body: bytes) -> None:
    assert Sha256.parse(body) is None


@pytest.mark.parametrize("body", [b"", b"\0\0\0\2" + b"a" * 72])
def test_gaussdbs_request_is_told_from_sasl(body: bytes) -> None:
    assert is_sasl(b"SCRAM-SHA-256\0\0")
    assert not is_sasl(body)


@pytest.mark.parametrize(
    ("request_body", "said"),
    [
        (struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0", "set driver to psycopg2"),
        (struct.pack("!ii", 10, 1) + b"0" * 76, "unknown form"),
        (struct.pack("!i", 14), "IAM"),
        (struct.pack("!i", 7), "login method 7"),
    ],
)
def test_a_login_that_cant_be_answered_says_what_to_change(request_body: bytes, said: str) -> None:
    with pytest.raises(PreflightError, match=said) as caught:
        Login("user", "hush-hush", "warehouse").answer(request_body)
    assert "hush" not in str(caught.value)


def test_without_a_password_none_is_made_up() -> None:
    with pytest.raises(PreflightError, match="there is none"):
        Login("user", "", "warehouse").answer(struct.pack("!i", 3))


@pytest.mark.parametrize("driver", ["auto", "pg8000"])
@pytest.mark.parametrize(
    "fields", [{}, {"iterations": 20_000}, {"newest": 196608}, {"newest": 196608, "iterations": 2048}], ids=str
)
def test_sha256_is_answered_by_any_protocol(gates: Gates, connect: Connect, driver: str, fields: dict[str, Any]) -> None:
    gate = gates(**fields)
    assert connect(gate, driver=driver).value("SELECT 1") == 1
    assert gate.proofs == 1


def test_a_password_outside_ascii(gates: Gates, connect: Connect) -> None:
    gate = gates(password="Gauß@密码 1")
    assert connect(gate).value("SELECT 1") == 1


@pytest.mark.parametrize("newest", [196659, 196608])
@pytest.mark.parametrize("login", ["sha256", "md5"])
@pytest.mark.parametrize("driver", ["auto", "pg8000"])
def test_a_wrong_password_is_permanent_tried_once_and_not_shown(
    gates: Gates, connect: Connect, newest: int, login: str, driver: str
) -> None:
    gate = gates(newest=newest, login=login)
    with pytest.raises(PreflightError) as caught:
        connect(gate, password="wrong secret", driver=driver)
    assert "password" in (caught.value.setting or "")
    assert "secret" not in str(caught.value)
    assert gate.proofs <= 1
    wait_until(lambda: gate.live() == 0, "the end of the connections")


def test_psycopg2_against_sha256_names_the_setting_to_change(gates: Gates, connect: Connect) -> None:
    with pytest.raises(PreflightError, match=r"set driver to auto or pg8000.*\[driver\]") as caught:
        connect(gates(), driver="psycopg2")
    assert caught.value.setting == "driver"
    assert "Right@123" not in str(caught.value)


@pytest.mark.parametrize(
    ("login", "said"), [("sm3", "SM3.*password_encryption_type to 2"), ("md5_sha256", "pg_hba.conf say sha256")]
)
@pytest.mark.parametrize("driver", ["auto", "pg8000"])
def test_logins_that_nobody_can_answer_say_what_to_change(
    gates: Gates, connect: Connect, login: str, said: str, driver: str
) -> None:
    gate = gates(login=login)
    with pytest.raises(PreflightError, match=said):
        connect(gate, driver=driver)
    assert gate.proofs == 0


@pytest.mark.parametrize("login", ["sm3", "md5_sha256"])
def test_psycopg2_against_gaussdbs_other_logins_names_the_driver(gates: Gates, connect: Connect, login: str) -> None:
    with pytest.raises(PreflightError) as caught:
        connect(gates(login=login), driver="psycopg2")
    assert caught.value.setting == "driver"


@pytest.mark.parametrize(("login", "driver"), [("md5", "psycopg2"), ("trust", "psycopg2"), ("sha256", "pg8000")])
def test_auto_takes_psycopg2_where_it_can_and_remembers(gates: Gates, warehouse: PostgresServer, login: str, driver: str) -> None:
    gate = gates(login=login)
    opener = connector(gate, warehouse, sslmode="disable")
    for attempt in (1, 2):
        session = opener.connect()
        assert type(session._driver).__name__ == {"psycopg2": "Psycopg2Driver", "pg8000": "Pg8000Driver"}[driver]
        session.close()
        # The question is asked once.
        assert len(gate.protocols) == attempt + 1
    wait_until(lambda: gate.live() == 0, "the end of the connections")


def test_auto_asks_again_once_the_account_has_another_password(gates: Gates, warehouse: PostgresServer) -> None:
    gate = gates(login="md5")
    opener = connector(gate, warehouse)
    opener.connect().close()
    gate.login = "sha256"
    with pytest.raises(PreflightError, match="driver"):
        opener.connect()
    opener.connect().close()


def test_auto_leaves_the_vendors_libpq_to_itself(gates: Gates, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg2.extensions, "libpq_version", lambda: 90204)
    gate = gates(login="md5")
    connect(gate, sslmode="disable")
    assert len(gate.protocols) == 1


@pytest.mark.parametrize("driver", ["auto", "pg8000", "psycopg2"])
def test_an_account_that_pg_hba_refuses_is_permanent(gates: Gates, connect: Connect, driver: str) -> None:
    with pytest.raises(PreflightError, match=r"no pg_hba\.conf entry"):
        connect(gates(login="none"), driver=driver)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def _tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


@pytest.mark.parametrize("driver", ["auto", "pg8000"])
@pytest.mark.parametrize("sslmode", ["allow", "prefer", "require", "verify-ca", "verify-full"])
def test_encryption_where_the_server_wants_it(
    gates: Gates, connect: Connect, certificate: tuple[Path, Path], sslmode: str, driver: str
) -> None:
    gate = gates(tls=_tls(certificate), only_tls=True)
    session = connect(gate, host="localhost", driver=driver, sslmode=sslmode, sslrootcert=str(certificate[0]))
    assert session.value("SELECT 1") == 1
    assert gate.proofs == 1


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_no_encryption_where_the_server_has_none(gates: Gates, connect: Connect, sslmode: str) -> None:
    assert connect(gates(), sslmode=sslmode).value("SELECT 1") == 1


@pytest.mark.parametrize(
    ("fields", "said", "setting"),
    [
        ({"sslmode": "verify-full", "host": "127.0.0.1"}, "refused: IP address mismatch", "sslmode, sslrootcert"),
        ({"sslmode": "verify-ca", "sslrootcert": "other"}, "refused: self-signed", "sslmode, sslrootcert"),
        ({"sslmode": "verify-ca", "sslrootcert": "/no/such/file"}, "No such file", "sslrootcert"),
        ({"sslmode": "require", "sslcert": "/no/such/file"}, "No such file", "sslcert, sslkey"),
        ({"sslmode": "disable"}, r"no pg_hba\.conf entry", "login, password, database, sslmode, options"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_with_the_encryption_is_permanent(
    gates: Gates,
    connect: Connect,
    certificate: tuple[Path, Path],
    fields: dict[str, str],
    said: str,
    setting: str,
) -> None:
    gate = gates(tls=_tls(certificate), only_tls=True)
    values = {"host": "localhost", "sslrootcert": str(certificate[0])} | fields
    if values["sslrootcert"] == "other":
        values["sslrootcert"] = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    with pytest.raises(PreflightError, match=said) as caught:
        connect(gate, driver="pg8000", **values)
    assert caught.value.setting == setting
    assert gate.proofs == 0


def test_a_server_without_ssl_is_refused_where_ssl_is_required(gates: Gates, connect: Connect) -> None:
    gate = gates()
    with pytest.raises(PreflightError, match="does not support SSL"):
        connect(gate, sslmode="require")
    assert gate.proofs == 0


def test_a_server_that_says_nothing_is_given_up_after_connect_timeout(gates: Gates, connect: Connect) -> None:
    with pytest.raises(Unavailable, match="timed out"):
        connect(gates(silent=True), connect_timeout=2)


def test_md5_is_what_postgresql_has_it() -> None:
    inner = hashlib.md5(b"secretjoe").hexdigest().encode()
    expected = b"md5" + hashlib.md5(inner + b"salt").hexdigest().encode()
    assert Login("joe", "secret", "w").answer(struct.pack("!i", 5) + b"salt") == expected


def test_postgresql_itself_is_for_psycopg2(gates: Gates, connect: Connect, postgres: PostgresServer) -> None:
    gate = gates()
    with pytest.raises(PreflightError, match="as no GaussDB does") as caught:
        connect(gate, port=postgres.port, driver="pg8000")
    assert caught.value.setting == "driver"
    assert connect(gate, port=postgres.port).value("SELECT 1") == 1


@pytest.mark.parametrize("driver", ["auto", "pg8000"])
def test_a_server_of_another_kind_is_no_crash(gates: Gates, connect: Connect, driver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(4096)
                sock.sendall(b"H\0\0\0\0 400 Bad Request")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(TidegateError):
            connect(gates(), port=listener.getsockname()[1], driver=driver, sslmode="disable")
        thread.join()
