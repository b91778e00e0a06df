"""Whether a connection works: what the Test button of a hook shows, and a resource's ``test_connection``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Protocol, runtime_checkable

from tidegate.errors import TidegateError
from tidegate.providers.system import System


@runtime_checkable
class Checked(Protocol):
    """A sink that can tell more of itself than that it answers."""

    def check(self) -> str:
        """What was tried, for people; reads only. Raises what a run would stop at."""


def probe(system: System, values: Mapping[str, Any], connection: str) -> tuple[bool, str]:
    """Try each role that the system can have, reading only. One that works is enough; the text tells of each."""
    tried = []
    if system.source is not None:
        tried.append(_source(system, values, connection))
    if system.sink is not None:
        tried.append(_sink(system, values, connection))
    return any(good for good, _ in tried), "; ".join(text for _, text in tried)


def _source(system: System, values: Mapping[str, Any], connection: str) -> tuple[bool, str]:
    try:
        with closing(system.open_source(values, connection)) as source:
            findings = source.preflight({})
            if findings.problems:
                return False, "; ".join(f"not ready as a source: {problem}" for problem in findings.problems)
            notes = "".join(f"; note: {warning}" for warning in findings.warnings)
            return True, f"ready as a source, which stands at {source.head()}{notes}"
    except TidegateError as error:
        return False, f"not ready as a source: {error}"


def _sink(system: System, values: Mapping[str, Any], connection: str) -> tuple[bool, str]:
    try:
        with closing(system.open_sink(values, connection)) as sink:
            # The cheapest read that every target has: it connects, logs in, and looks for a ledger.
            sink.ledger.last("test_connection")
            more = f": {sink.check()}" if isinstance(sink, Checked) else ""
            return True, f"ready as a target ({system.label}){more}"
    except TidegateError as error:
        return False, f"not ready as a target: {error}"
