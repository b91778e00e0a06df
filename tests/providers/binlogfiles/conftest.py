"""Servers of the tests' own, whose log files are copied out of their data directories."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.binlogfiles.logs import Log, write_log
from tests.servers import MySqlServer, running, start_mariadb, start_mysql56


def _server(request: pytest.FixtureRequest, name: str) -> Iterator[MySqlServer]:
    request.getfixturevalue(name)  # skips where the server is missing
    with running({"mariadb": start_mariadb, "mysql56": start_mysql56}[name]) as server:
        yield server


@pytest.fixture(scope="session", params=["mariadb", "mysql56"])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """The log of a server that still runs, in four files, the last of them unfinished."""
    for server in _server(request, request.param):
        found = write_log(server)
        copied = tmp_path_factory.mktemp("binlog")
        for path in sorted((server.folder / "data").glob("binlog.0*")):
            shutil.copy(path, copied / path.name)
        yield Log(server, copied, *found)


@pytest.fixture
def copy(log: Log, tmp_path: Path) -> Path:
    """The files, in a folder of the test's own."""
    folder = tmp_path / "log"
    shutil.copytree(log.folder, folder)
    return folder
