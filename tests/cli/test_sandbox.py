"""``tidegate sandbox`` as a process: it says where it is, answers, and takes its PostgreSQL along when it ends."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]
import pytest

from tests.servers import SandboxServer, start_gaussdb_sandbox, wait_until


@pytest.mark.postgres
def test_it_answers_and_ends_with_its_postgresql() -> None:
    server: SandboxServer = start_gaussdb_sandbox("--compatibility", "PG")
    try:
        connection = server.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT datcompatibility FROM pg_database WHERE datname = current_database()")
            assert cursor.fetchone() == ("PG",)
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert children
        server.process.terminate()
        assert server.process.wait(60) == 0
        wait_until(lambda: not any(child.is_running() for child in children), "the end of its PostgreSQL")
        connection.close()
    finally:
        server.stop()
