"""An Airflow of the tests' own. Importing this sets its environment, so it comes before the first import of Airflow."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from contextlib import closing
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.servers import MySqlServer, PostgresServer, StarrocksServer

EXAMPLES = Path(__file__).parents[1] / "example_dags"
HOME = Path(tempfile.mkdtemp(prefix="tidegate-airflow-"))
DAGS = HOME / "dags"
DAGS.mkdir()
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__PARALLELISM="2",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
)


@cache
def migrate() -> None:
    """Make Airflow's database, once."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


def load_dag(name: str, code: str | None = None) -> Any:
    """The ``dag`` of a DAG file: the example of that name, or one with this code. It lands in the DAGs folder."""
    path = DAGS / f"{name}.py"
    path.write_text((EXAMPLES / f"{name}.py").read_text() if code is None else code)
    return _module(path).dag


def run_dag(dag: Any, **how: Any) -> Any:
    """A run of the DAG, task after task in this process, with Airflow's own API and database behind it."""
    migrate()
    with warnings.catch_warnings():
        # Airflow and what it stands on warn of each other; only warnings from our own code are errors here.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", module=r"tidegate\.")
        return dag.test(**how)


def fetch(server: PostgresServer, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def asset_events(uri: str) -> list[dict[str, Any]]:
    """What the events of an asset say, oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        wanted = select(AssetEvent.extra).join(AssetModel, AssetEvent.asset_id == AssetModel.id).where(AssetModel.uri == uri)
        return [dict(extra) for extra in session.scalars(wanted.order_by(AssetEvent.timestamp))]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mysql_connection(server: MySqlServer, conn_type: str = "mysqlcdc", **extra: Any) -> str:
    """A connection to it as AIRFLOW_CONN_… takes it."""
    fields = {"host": server.host, "port": server.port, "login": server.user, "password": server.password}
    return json.dumps({"conn_type": conn_type, **fields, "extra": extra})


def postgres_connection(server: PostgresServer, conn_type: str = "tidegatepg", **extra: Any) -> str:
    """A connection to its database as AIRFLOW_CONN_… takes it."""
    fields = {"host": server.host, "port": server.port, "login": server.user, "password": server.password}
    return json.dumps({"conn_type": conn_type, **fields, "schema": server.database, "extra": extra})


def starrocks_connection(server: StarrocksServer, **more: Any) -> str:
    """A connection to its database as AIRFLOW_CONN_… takes it. ``more`` are fields that differ."""
    columns = {"host": "host", "port": "port", "login": "login", "password": "password", "database": "schema"}
    values = server.values() | more
    extra = {name: value for name, value in values.items() if name not in columns}
    return json.dumps({"conn_type": "starrocks", **{columns[name]: values[name] for name in columns}, "extra": extra})
