"""The documents say what the code does: the matrix of targets is the declared one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import get_args

from tidegate.changes import rules
from tidegate.providers.mysql.binlog.events import EVENTS
from tidegate.providers.system import System, systems
from tidegate.sync import options as write_options
from tidegate.sync.protocols import Capabilities

ROOT = Path(__file__).parents[1]
ROWS = {
    "write_mode": get_args(write_options.WriteMode),
    "conflict_mode": get_args(rules.ConflictMode),
    "delete_mode": get_args(rules.DeleteMode),
    "on_error": get_args(write_options.OnError),
    "initial": get_args(write_options.Initial),
    "method": get_args(write_options.Method),
    "columns": ("(any)",),
    "version_column": ("(any)",),
    "ignore_nulls": (True,),
}


def _capabilities(system: System) -> Capabilities:
    assert system.sink is not None
    found: Capabilities = importlib.import_module(system.sink.partition(":")[0]).CAPABILITIES
    return found


def _cell(capabilities: Capabilities, option: str, value: object, notes: dict[str, str]) -> str:
    taken = capabilities.options.get(option)
    if taken is None or value in taken:
        return "yes"
    reason = capabilities.refusals.get(f"{option}={value}") or capabilities.refusals[option]
    return f"refused [{notes.setdefault(reason, str(len(notes) + 1))}]"


def matrix() -> str:
    """The table as docs/targets.md has to hold it."""
    targets = {system.name: _capabilities(system) for system in systems().values() if system.sink}
    notes: dict[str, str] = {}
    lines = ["| option | " + " | ".join(targets) + " |", "|---|" + "---|" * len(targets)]
    for option, values in ROWS.items():
        for value in values:
            cells = [_cell(capabilities, option, value, notes) for capabilities in targets.values()]
            lines.append(f"| `{option}={value}` | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"[{number}] {reason}  " for reason, number in notes.items())])


def test_the_matrix_of_targets_is_what_they_declare() -> None:
    text = (ROOT / "docs" / "targets.md").read_text()
    assert matrix() in text, f"docs/targets.md should hold:\n\n{matrix()}"


def events() -> str:
    """The table of binlog events as docs/mysql.md has to hold it."""
    lines = ["| number | event | what becomes of it | why |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {number} | `{name}` | {fate.value} | {why} |" for number, (name, fate, why) in EVENTS.items())])


def test_the_table_of_binlog_events_is_the_one_in_the_code() -> None:
    assert events() in (ROOT / "docs" / "mysql.md").read_text(), f"docs/mysql.md should hold:\n\n{events()}"


def test_every_refusal_of_a_target_has_a_reason() -> None:
    for system in systems().values():
        if not system.sink:
            continue
        capabilities = _capabilities(system)
        for option, values in ROWS.items():
            for value in values:
                taken = capabilities.options.get(option)
                if taken is not None and value not in taken:
                    reason = capabilities.refusals.get(f"{option}={value}") or capabilities.refusals.get(option)
                    assert reason, f"{system.name}: {option}={value}"
