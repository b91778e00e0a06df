"""A run in a process of its own that kills itself, with SIGKILL, at a numbered step.

A step is every moment at which the run touches the outside: before and after each call of the source, the sink, its ledger and its
load, and each chunk that is read.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.providers.system import systems
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.run import run

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "tests.crash",
        "psycopg2",
        "pymysql",
        "tidegate.providers.mysql.source",
        "tidegate.providers.starrocks.sink",
        "starrocks.dialect",
    ]
)
SECONDS = 120


@dataclass
class Steps:
    """Counts steps and dies at ``at``; 0 never."""

    at: int
    count: int = 0

    def step(self) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """Any object of the protocols, with a step before and after each of its calls and items."""

    def __init__(self, inner: Any, steps: Steps) -> None:
        self._inner, self._steps = inner, steps

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name == "ledger":
            return Watched(value, self._steps)
        if not callable(value) or name in ("renew", "lag_seconds"):  # the heartbeat's thread is no step of the run
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._steps.step()
            result = value(*args, **kwargs)
            self._steps.step()
            if name == "begin":
                return Watched(result, self._steps)
            return self._items(result) if name == "read" else result

        return call

    def _items(self, items: Any) -> Any:
        for item in items:
            self._steps.step()
            yield item


def _child(
    source: Mapping[str, Any], sink: Mapping[str, Any], tables: list[str], options: dict[str, Any], at: int, system: str, out: Any
) -> None:
    steps = Steps(at)
    reader = Watched(systems()["mysql"].open_source(source, "shop"), steps)
    opened: Any = systems()[system].open_sink(sink, "warehouse")
    schema = "ods"
    if system == "starrocks":
        # What a load does takes many requests, and any of them may be the last.
        opened._streamload.http = Watched(opened._streamload.http, steps)
        opened.metadata.session = Watched(opened.metadata.session, steps)
        schema = ""
    writer = Watched(opened, steps)
    sync = Sync.of("shop", tables, schema=schema, options=WriteOptions.of(options))
    run(sync, reader, writer, owner="crash test")
    out.send(steps.count)


def run_and_kill(
    source: Mapping[str, Any],
    sink: Mapping[str, Any],
    tables: list[str],
    options: dict[str, Any],
    at: int = 0,
    system: str = "postgres",
) -> int | None:
    """Run the sync in a child. The steps it took, or None if it killed itself at step ``at``."""
    receiver, sender = _context.Pipe(duplex=False)
    child = _context.Process(target=_child, args=(source, sink, tables, options, at, system, sender))
    child.start()
    sender.close()
    child.join(SECONDS)
    assert child.exitcode is not None, "the run hangs"
    if at and child.exitcode == -signal.SIGKILL:
        return None
    assert child.exitcode == 0, f"the run failed with {child.exitcode}"
    count: int = receiver.recv()
    return count
