"""The demo: an Airflow DAG replays a recorded MySQL CDC snapshot into a target that is started here, in three scheduled ticks.

Everything it makes is in ``.demo``. A second run goes on where the first stopped: there is nothing new, so it does nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from demo.report import report
from demo.targets import ROOT, TARGETS, Target

STATE = ROOT / ".demo"
LOG = STATE / "airflow.log"
DATA = ROOT / "example_dags" / "data" / "shop"
TICKS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sink", choices=TARGETS, default="postgres", help="the system to write into")
    parser.add_argument("--ticks", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help="run the DAG on its schedule under airflow standalone, page included")
    arguments = parser.parse_args()
    target = TARGETS[arguments.sink]
    if arguments.ticks:
        return _ticks(target, Path(arguments.ticks))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: servers are stopped on the way out
    STATE.mkdir(exist_ok=True)
    began = time.monotonic()
    print(f"Starting {target.told} ...", flush=True)
    with ExitStack() as servers:
        values = target.start(STATE / target.name, servers)
        environment = os.environ | _airflow(target, values)
        _migrate(environment)
        if arguments.serve:
            print("Airflow's page comes up on http://localhost:8080 (Ctrl-C ends it).", flush=True)
            return _serve(environment)
        print(f"Running the DAG {target.dag_id} for {TICKS} ticks of its five-minute schedule ...", flush=True)
        results = _run_ticks(target, environment)
        equal = report(results, target, values, DATA / "expected")
    print(f"\n{time.monotonic() - began:.0f} s. Log: {LOG}")
    return 0 if equal else 1


def _serve(environment: Mapping[str, str]) -> int:
    """Until Airflow ends, or this process is told to: then with all that Airflow started."""
    airflow = subprocess.Popen([_bin("airflow"), "standalone"], env=environment, start_new_session=True)
    try:
        return airflow.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for sign, patience in ((signal.SIGINT, 30), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(airflow.pid, sign)
                airflow.wait(patience)


def _bin(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _airflow(target: Target, values: Mapping[str, Any]) -> dict[str, str]:
    """Airflow's settings, and the two connections that a user would make in its page."""
    source = {"conn_type": "changefiles", "extra": {"url": str(DATA), "segments_per_run": 3}}
    return {
        # airflow standalone starts its parts by name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "AIRFLOW_HOME": str(STATE / "airflow"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(_dags(target)),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW_CONN_SHOP_MYSQL": json.dumps(source),
        f"AIRFLOW_CONN_{target.conn_id.upper()}": target.connection(values),
    }


def _dags(target: Target) -> Path:
    """A folder with the one DAG: the others' connections are not there."""
    folder = STATE / "dags"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / target.dag_file.name).symlink_to(target.dag_file)
    return folder


def _migrate(environment: Mapping[str, str]) -> None:
    if not (STATE / "airflow" / "airflow.db").exists():
        print("Setting up Airflow ...", flush=True)
        with LOG.open("ab") as log:
            subprocess.run([_bin("airflow"), "db", "migrate"], env=environment, stdout=log, stderr=log, check=True)


def _run_ticks(target: Target, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The ticks in a process of their own, whose output goes to the log."""
    out = STATE / "ticks.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "demo.run", "--sink", target.name, "--ticks", str(out)]
    with LOG.open("ab") as log:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    if done.returncode != 0 or not out.exists():
        sys.exit(f"A tick failed; the last lines of {LOG} say why:\n{_tail(LOG)}")
    results: list[dict[str, Any]] = json.loads(out.read_text())
    return results


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])


def _ticks(target: Target, out: Path) -> int:
    """Run the DAG as its schedule would, and write what each run returned."""
    spec = importlib.util.spec_from_file_location(target.dag_id, target.dag_file)
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


if __name__ == "__main__":
    sys.exit(main())
