"""The documents say what the code does: what targets take, their defaults and the fields of connections are the declared ones."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest

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
DEFAULTS = ("method", "batch_rows", "batch_bytes", "flush_interval", "max_retries", "retry_wait", "parallelism")
FIELDS_ON = ("gaussdb", "adbpg", "starrocks")
"""Systems whose page lists the fields of their connection."""


def _targets() -> dict[str, Capabilities]:
    """What each target declares. A sink connects when it is first used, so none of these does."""
    found = {}
    for system in systems().values():
        if system.sink:
            values = {field.name: "nobody" for field in system.fields if field.required}
            with closing(system.open_sink(values, "docs")) as sink:
                found[system.name] = sink.capabilities
    return found


def _cell(capabilities: Capabilities, option: str, value: object, notes: dict[str, str]) -> str:
    taken = capabilities.options.get(option)
    if taken is None or value in taken:
        return "yes"
    reason = capabilities.refusals.get(f"{option}={value}") or capabilities.refusals[option]
    return f"refused [{notes.setdefault(reason, str(len(notes) + 1))}]"


def matrix() -> str:
    """The table as docs/targets.md has to hold it."""
    targets = _targets()
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


def defaults() -> str:
    """The table of what an option that isn't given means, as docs/targets.md has to hold it."""
    targets = _targets()
    lines = ["| option | " + " | ".join(targets) + " |", "|---|" + "---|" * len(targets)]
    for option in DEFAULTS:
        values = (capabilities.defaults.get(option) for capabilities in targets.values())
        lines.append(f"| `{option}` | " + " | ".join(_shown(option, value) for value in values) + " |")
    return "\n".join(lines)


def _shown(option: str, value: object) -> str:
    if not isinstance(value, int | float):
        return "" if value is None else f"`{value}`"
    if option == "batch_bytes":
        return f"{value / 1024**2:g} MiB"
    return f"{value:g} s" if option in ("flush_interval", "retry_wait") else f"{value:,}"


def test_the_table_of_defaults_is_what_the_targets_declare() -> None:
    assert defaults() in (ROOT / "docs" / "targets.md").read_text(), f"docs/targets.md should hold:\n\n{defaults()}"


def fields(system: System) -> str:
    """The table of a connection's fields as the system's page has to hold it."""
    lines = ["| field | in the form | default | |", "|---|---|---|---|"]
    for field in system.fields:
        default = "required" if field.required else "" if field.default in (None, "") else f"`{field.default}`"
        choices = f"{', '.join(f'`{choice}`' for choice in field.choices)}. " if field.choices else ""
        lines.append(f"| `{field.name}` | {field.label} | {default} | {choices}{field.help} |")
    return "\n".join(lines)


@pytest.mark.parametrize("name", FIELDS_ON)
def test_the_fields_of_a_connection_are_those_that_its_system_declares(name: str) -> None:
    table = fields(systems()[name])
    assert table in (ROOT / "docs" / f"{name}.md").read_text(), f"docs/{name}.md should hold:\n\n{table}"


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            if path.startswith("http"):
                continue
            there = page.parent / path if path else page
            assert there.exists(), f"{page.name}: {link}"
            if anchor:
                assert anchor in _anchors(there), f"{page.name}: {link}"


def _anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def events() -> str:
    """The table of binlog events as docs/mysql.md has to hold it."""
    lines = ["| number | event | what becomes of it | why |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {number} | `{name}` | {fate.value} | {why} |" for number, (name, fate, why) in EVENTS.items())])


def test_the_table_of_binlog_events_is_the_one_in_the_code() -> None:
    assert events() in (ROOT / "docs" / "mysql.md").read_text(), f"docs/mysql.md should hold:\n\n{events()}"


def test_every_refusal_of_a_target_has_a_reason() -> None:
    for target, capabilities in _targets().items():
        for option, values in ROWS.items():
            for value in values:
                taken = capabilities.options.get(option)
                if taken is not None and value not in taken:
                    reason = capabilities.refusals.get(f"{option}={value}") or capabilities.refusals.get(option)
                    assert reason, f"{target}: {option}={value}"
