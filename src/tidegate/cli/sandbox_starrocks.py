"""``tidegate sandbox starrocks``: needs the extra, and no other program."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
from collections.abc import Iterator
from typing import Any

from tidegate.cli.standin import PASSWORD, password, serve
from tidegate.errors import ConfigError

EPILOG = f"""\
It prints one line of JSON when it is ready: host, port, http_port, login, password and database as a connection has them, be (the
backend's address) and control_port, where faults are asked for. SIGTERM and Ctrl-C end it. The password is ${PASSWORD}, or else
"sandbox". It listens on loopback only: frontends on 127.0.0.1 and 127.0.0.3, the backend on 127.0.0.2.
"""


def add(systems: Any) -> None:
    """Add it to the systems of ``tidegate sandbox``."""
    parser: argparse.ArgumentParser = systems.add_parser("starrocks", help="StarRocks", epilog=EPILOG)
    parser.set_defaults(command=_starrocks)
    parser.add_argument("--server-version", default="3.3.5", help="which StarRocks to be: 2.5.18, 3.3.5, 4.0.1, … (default: 3.3.5)")
    parser.add_argument("--folder", help="where tables and labels are kept over a restart; default: nowhere")
    parser.add_argument("--database", default="test", help="made if it isn't there (default: test)")
    parser.add_argument("--user", default="root", help="default: root")
    parser.add_argument("--certificate", nargs=2, metavar=("CERT", "KEY"), help="PEM files: HTTPS, and TLS on the query port")
    for option, what in (
        ("--port", "of the frontends, MySQL protocol"),
        ("--http-port", "of the frontends"),
        ("--be-port", "of the backend"),
        ("--control-port", "for faults"),
    ):
        parser.add_argument(option, type=int, default=0, help=f"{what}; default: a free one")


def _starrocks(given: argparse.Namespace) -> int:
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", given.server_version):
        raise ConfigError(f"--server-version {given.server_version}: write it as 3.3.5")
    try:
        server: Any = importlib.import_module("tidegate.sandbox.starrocks.server")
        importlib.import_module("duckdb")
    except ModuleNotFoundError as error:
        raise ConfigError(f"the sandbox needs {error.name}: pip install 'tidegate[sandbox]'") from error
    return serve(_box(given, server), "--port, --http-port, --be-port, --folder, --certificate")


@contextlib.contextmanager
def _box(given: argparse.Namespace, server: Any) -> Iterator[dict[str, Any]]:
    box = server.StarrocksSandbox(
        given.server_version,
        given.folder,
        user=given.user,
        password=password(),
        query_port=given.port,
        http_port=given.http_port,
        be_port=given.be_port,
        control_port=given.control_port,
        certificate=tuple(given.certificate) if given.certificate else None,
    )
    with box:
        box.engine.create_database(given.database, if_not_exists=True)
        fields = {"database": given.database, "be": f"{box.be_host}:{box.be_port}", "control_port": box.control_port}
        yield box.values() | fields
