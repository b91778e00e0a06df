"""``tidegate sandbox``: a stand-in for a system that can't be installed here, on loopback, until it is told to end.

The stand-ins are imported once one is asked for: every other command reads this module, too.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tidegate.cli import sandbox_starrocks
from tidegate.cli.standin import PASSWORD, password, serve
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from tidegate.sandbox.authentication import Authentication
    from tidegate.sandbox.dialect import Dialect
    from tidegate.sandbox.pgwire import Upstream

MD5_USER = "md5"

EPILOG = f"""\
It prints one line of JSON when it is ready: host, port, user, password, database. SIGTERM and Ctrl-C end it, and its PostgreSQL.
The password is ${PASSWORD}, or else "sandbox". It listens on loopback only, and is no place for data that matter.
"""


def add(commands: Any) -> None:
    """Add the subcommand to those of ``tidegate``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sandbox", help="a stand-in for GaussDB, AnalyticDB PostgreSQL or StarRocks, on loopback", epilog=EPILOG
    )
    systems = parser.add_subparsers(required=True, metavar="system")
    gaussdb = systems.add_parser("gaussdb", help="GaussDB or openGauss", epilog=EPILOG)
    gaussdb.set_defaults(command=_gaussdb)
    gaussdb.add_argument(
        "--product", choices=("gaussdb", "opengauss"), default="gaussdb", help="which of the two (default: gaussdb)"
    )
    gaussdb.add_argument("--compatibility", choices=("A", "B", "C", "PG"), default="A", help="datcompatibility (default: A)")
    gaussdb.add_argument("--distributed", action="store_true", help="with several nodes: tables have a distribution key")
    adbpg = systems.add_parser("adbpg", help="AnalyticDB PostgreSQL", epilog=EPILOG)
    adbpg.set_defaults(command=_adbpg)
    sandbox_starrocks.add(systems)
    for each, user in ((gaussdb, "gaussdb"), (adbpg, "adbpg")):
        each.add_argument("--port", type=int, default=0, help="default: a free one")
        each.add_argument("--user", default=user, help=f"default: {user}")
        each.add_argument(
            "--upstream",
            metavar="HOST:PORT",
            help="a running PostgreSQL that trusts its superuser postgres; default: one of its own",
        )
        each.add_argument("--certificate", nargs=2, metavar=("CERT", "KEY"), help="PEM files: TLS for those who ask for it")


def _gaussdb(given: argparse.Namespace) -> int:
    from tidegate.sandbox.authentication import GaussSha256, Md5
    from tidegate.sandbox.gaussdb import GaussdbDialect

    dialect = GaussdbDialect(given.product, given.compatibility, distributed=given.distributed)
    way = GaussSha256()
    # A user whose password is stored as MD5: what stock drivers can log in with.
    return _serve(_box(given, dialect, way, {MD5_USER: Md5(way.denied)}))


def _adbpg(given: argparse.Namespace) -> int:
    from tidegate.sandbox.adbpg import Adbpg
    from tidegate.sandbox.authentication import Md5

    return _serve(_box(given, Adbpg(), Md5(), {}))


def _serve(box: contextlib.AbstractContextManager[dict[str, Any]]) -> int:
    return serve(box, "--port, --upstream")


@contextlib.contextmanager
def _box(
    given: argparse.Namespace, dialect: Dialect, way: Authentication, methods: dict[str, Authentication]
) -> Iterator[dict[str, Any]]:
    from tidegate.sandbox.pgwire import Sandbox

    secret = password()
    users = {given.user: secret, **dict.fromkeys(methods, secret)}
    certificate = tuple(given.certificate) if given.certificate else None
    with (
        _upstream(given.upstream) as upstream,
        Sandbox(dialect, upstream, users, way, methods, port=given.port, certificate=certificate) as box,
    ):
        yield {"host": box.host, "port": box.port, "user": given.user, "password": secret, "database": upstream.database}


def _upstream(given: str | None) -> contextlib.AbstractContextManager[Upstream]:
    from tidegate.sandbox.pgwire import Upstream
    from tidegate.sandbox.postgres import postgres

    if given is None:
        return postgres()
    host, colon, port = given.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigError(f"--upstream {given}: write HOST:PORT")
    return contextlib.nullcontext(Upstream(host, int(port)))
