"""The query port over TLS: what is checked of the server's certificate, and that nothing goes in the clear."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.starrocks.scripted_sql import fields
from tidegate.errors import PreflightError
from tidegate.providers.starrocks.session import Session
from tidegate.sandbox.starrocks.mysql import QueryPort
from tidegate.sandbox.starrocks.server import StarrocksSandbox


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this name, signed by itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", f"subjectAltName=DNS:{name}", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True)
    return paths


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[QueryPort, Path]]:
    """A query port that has TLS, and its certificate for localhost."""
    pem, key = certificate(tmp_path_factory.mktemp("tls"), "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    box = StarrocksSandbox()
    box.users.add("app", "geheim")
    with QueryPort(box.engine, box.users, box.labels, box.config, ssl=context) as port:
        yield port, pem
    box.engine.close()


def connect(port: QueryPort, host: str = "localhost", **more: str) -> Session:
    return Session(fields(host=host, port=port.port, connect_timeout_ms=10_000, **more), "sr")


def test_what_is_required_is_encrypted(served: tuple[QueryPort, Path]) -> None:
    session = connect(served[0], ssl_mode="required")
    assert session.value("SELECT @@time_zone") == "UTC"
    assert isinstance(session._driver._sock, ssl.SSLSocket)
    session.close()


def test_a_certificate_of_the_right_authority_and_name_is_taken(served: tuple[QueryPort, Path]) -> None:
    session = connect(served[0], ssl_mode="verify_identity", ssl_ca=str(served[1]))
    assert session.value("SELECT 1") == 1
    session.close()


def test_one_of_another_name_is_refused_if_names_count(served: tuple[QueryPort, Path]) -> None:
    session = connect(served[0], host="127.0.0.1", ssl_mode="verify_identity", ssl_ca=str(served[1]))
    with pytest.raises(PreflightError, match="certificate"):
        session.value("SELECT 1")
    anyone = connect(served[0], host="127.0.0.1", ssl_mode="verify_ca", ssl_ca=str(served[1]))
    assert anyone.value("SELECT 1") == 1
    anyone.close()


def test_one_of_another_authority_is_refused(served: tuple[QueryPort, Path], tmp_path: Path) -> None:
    other, _ = certificate(tmp_path, "elsewhere")
    session = connect(served[0], ssl_mode="verify_ca", ssl_ca=str(other))
    with pytest.raises(PreflightError, match="certificate"):
        session.value("SELECT 1")


def test_a_server_without_tls_gets_no_password() -> None:
    box = StarrocksSandbox()
    with QueryPort(box.engine, box.users, box.labels, box.config) as port:
        session = connect(port, host="127.0.0.1", ssl_mode="required")
        with pytest.raises(PreflightError, match="SSL"):
            session.value("SELECT 1")
    box.engine.close()
