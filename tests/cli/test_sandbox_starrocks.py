"""``tidegate sandbox starrocks`` as a process: it says where it is, answers on all ports, ends when told, and keeps its folder."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.servers import StarrocksServer, running, start_starrocks

TABLE = "CREATE TABLE t (id INT, v VARCHAR(20)) DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)"


def load(server: StarrocksServer, label: str, body: bytes) -> str:
    """By curl, as the documentation has it."""
    headers = [word for each in (f"label:{label}", "Expect:100-continue", "column_separator:,") for word in ("-H", each)]
    url = f"http://{server.hosts[0]}:{server.http_port}/api/{server.database}/t/_stream_load"
    command = ["curl", "-sS", "--location-trusted", "-u", f"{server.user}:{server.password}", *headers, "-T", "-", "-XPUT", url]
    return subprocess.run(command, input=body, capture_output=True, check=True, timeout=60).stdout.decode()


def test_it_answers_and_ends() -> None:
    with running(start_starrocks, "--server-version", "4.0.1") as server:
        assert server.query("SELECT current_version()")[0][0].startswith("4.0.1")
        server.execute(TABLE)
        assert '"Success"' in load(server, "a", b"1,a\n")
        assert server.query("SELECT * FROM t") == [(1, "a")]
        assert server.control("GET", "/labels")[0]["label"] == "a"
        with urllib.request.urlopen(f"http://{server.be}/api/health", timeout=20) as answer:
            assert answer.status == 200
        server.process.terminate()
        assert server.process.wait(60) == 0


def test_it_is_killed_and_comes_back_with_its_tables_and_labels(tmp_path: Path) -> None:
    with running(start_starrocks, f"--folder={tmp_path / 'kept'}") as server:
        server.execute(TABLE)
        load(server, "a", b"1,a\n")
        server.restart()
        assert server.query("SELECT * FROM t") == [(1, "a")]
        assert '"Label Already Exists"' in load(server, "a", b"1,a\n")
        assert server.query("SELECT * FROM t") == [(1, "a")]


@pytest.mark.parametrize("options", [["--server-version", "new"], ["--port", "1"], ["--folder", "/proc/none"]])
def test_what_it_can_not_do_it_says(options: list[str]) -> None:
    command = [sys.executable, "-m", "tidegate.cli.main", "sandbox", "starrocks", "--http-port", "1", *options]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode != 0, "Traceback" in said.stderr) == (True, False)
    assert said.stderr.count("\n") <= 2


def test_it_needs_no_postgresql() -> None:
    program = "import sys, tidegate.sandbox.starrocks.server; print([m for m in sys.modules if 'postgres' in m or 'psycopg' in m])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "[]"
