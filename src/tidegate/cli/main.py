"""``tidegate``: look at what a sync would do, check it, run it once, list the systems. For trying out, and for repair by hand."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from tidegate import __version__
from tidegate.cli import sandbox
from tidegate.cli.connections import SYNTAX, Connection, connection
from tidegate.errors import ConfigError, TidegateError, TransientError
from tidegate.providers.system import systems
from tidegate.sync.doctor import doctor
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.plan import plan
from tidegate.sync.results import SyncResult
from tidegate.sync.resync import resync
from tidegate.sync.run import run

PERMANENT, USAGE, TRANSIENT, INTERRUPTED, BROKEN_PIPE = 1, 2, 75, 130, 141
"""Exit codes. 75 is EX_TEMPFAIL: the same command may succeed later. The last two are what a shell gives for the signal."""

DOCTOR = {"ok": 0, "warn": 1, "critical": 2}
"""The exit codes of ``tidegate doctor``, by its verdict."""

EPILOG = f"""\
A connection is {SYNTAX}.
Passwords come from TIDEGATE_SOURCE_PASSWORD and TIDEGATE_SINK_PASSWORD.

Exit status: 0 done, 1 somebody has to change something first, 2 usage, 75 try again later.
tidegate doctor: 0 well, 1 something is worth a look, 2 the next run fails or may find its place gone.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back. Without ``-v`` an error is one line on stderr."""
    parser = _parser()
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if given.verbose else logging.WARNING, format="%(name)s: %(message)s")
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        code = command(given)
        sys.stdout.flush()
        return code
    except _Usage as error:
        parser.exit(USAGE, f"tidegate: {error}\n")
    except TidegateError as error:
        if given.verbose:
            logging.getLogger(__name__).error("failed", exc_info=True)
        print(f"tidegate: {error}", file=sys.stderr)
        return TRANSIENT if isinstance(error, TransientError) else PERMANENT
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: nothing more to say, and Python's own flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("tidegate: interrupted; the next run goes on from what is recorded", file=sys.stderr)
        return INTERRUPTED


class _Usage(Exception):
    """The command line itself is wrong."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidegate", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"tidegate {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log everything, show tracebacks")
    commands = parser.add_subparsers(required=True, metavar="command")
    planning = commands.add_parser("plan", help="what a run would do to each table; writes nothing")
    planning.set_defaults(command=_plan)
    shape = planning.add_mutually_exclusive_group()
    shape.add_argument("--ddl", action="store_true", help="only the statements and grants that a run needs")
    shape.add_argument("--json", action="store_true", help="the plan as JSON")
    running = commands.add_parser("run", help="run the sync once")
    running.set_defaults(command=_run)
    running.add_argument("--json", action="store_true", help="the result as JSON")
    looking = commands.add_parser(
        "doctor",
        help="whether the next run would succeed and still find its place in the source's log; writes nothing",
        epilog="Exit status: 0 well, 1 something is worth a look, 2 the next run fails or may find its place gone, 75 try again.",
    )
    looking.set_defaults(command=_doctor)
    looking.add_argument("--json", action="store_true", help="the report as JSON")
    looking.add_argument("--every", type=_seconds, metavar="SPAN", help="the time between runs: 900, 15m, 24h, 7d")
    again = commands.add_parser("resync", help="let the next run copy these tables again, whatever their position")
    again.set_defaults(command=_resync)
    for parent in (planning, running, looking, again):
        parent.add_argument("sync", help="the sync's name, by which the target remembers how far it is")
        parent.add_argument("--source", default=os.environ.get("TIDEGATE_SOURCE"), help="default: $TIDEGATE_SOURCE")
        parent.add_argument("--sink", default=os.environ.get("TIDEGATE_SINK"), help="default: $TIDEGATE_SINK")
        parent.add_argument(
            "--table", action="append", required=True, dest="tables", metavar="SCHEMA.TABLE", help="repeat for more"
        )
        parent.add_argument("--schema", default="", help="the target's schema")
        parent.add_argument(
            "--start",
            default="snapshot",
            metavar="WHERE",
            help="where a table's first run begins: snapshot (default), latest, a position, or a time such as 2026-11-21T10:00:00Z",
        )
        parent.add_argument("--set", action="append", default=[], dest="options", metavar="OPTION=VALUE", help="a write option")
    listing = commands.add_parser("systems", help="the systems and the fields of their connections")
    listing.set_defaults(command=_systems)
    sandbox.add(commands)
    return parser


def _plan(given: argparse.Namespace) -> int:
    sync, source, sink = _subject(given)
    with closing(source.source()) as reader, closing(sink.sink()) as writer:
        found = plan(sync, reader, writer)
    if given.json:
        print(json.dumps(found.to_json(), indent=2))
    elif given.ddl:
        print("\n".join(f"{statement.rstrip(';')};" for statement in found.ddl))
        for problem in found.problems:
            print(f"tidegate: {problem}", file=sys.stderr)
    else:
        print(found)
    return PERMANENT if found.problems else 0


def _run(given: argparse.Namespace) -> int:
    sync, source, sink = _subject(given)
    with closing(source.source()) as reader, closing(sink.sink()) as writer:
        result = run(sync, reader, writer, owner=_owner(), progress=lambda line: print(line, file=sys.stderr))
    print(json.dumps(result.to_json(), indent=2) if given.json else "\n".join(_summary(result)))
    return 0


def _doctor(given: argparse.Namespace) -> int:
    sync, source, sink = _subject(given)
    with closing(source.source()) as reader, closing(sink.sink()) as writer:
        report = doctor(sync, reader, writer, interval=given.every)
    print(json.dumps(report.to_json(), indent=2) if given.json else report)
    return DOCTOR[report.verdict]


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    if not number.isdigit() or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a span of time: write 900, 15m, 24h or 7d")
    return float(int(number) * unit)


def _resync(given: argparse.Namespace) -> int:
    sync, source, sink = _subject(given)
    with closing(source.source()) as reader, closing(sink.sink()) as writer:
        resync(sync, reader, writer, [table.source for table in sync.tables], owner=_owner())
    print(f"the next run of {sync.name} copies {', '.join(str(table.source) for table in sync.tables)} again")
    return 0


def _owner() -> str:
    return f"tidegate run by {getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"


def _summary(result: SyncResult) -> list[str]:
    heads = ["table", "phase", "read", "inserted", "updated", "deleted", "position"]
    lines = [heads]
    for table in result.tables:
        counts = (table.read, table.write.inserted, table.write.updated, table.write.deleted)
        lines.append(
            [table.target, table.phase, *("?" if count is None else f"{count:,}" for count in counts), str(table.position)]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            cell.rjust(width) if 2 <= index <= 5 else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return [*(line.rstrip() for line in aligned), f"{result.rows:,} changes in {result.seconds:.1f} s"]


def _systems(_given: argparse.Namespace) -> int:
    for system in systems().values():
        roles = " and ".join(role for role, where in (("source", system.source), ("sink", system.sink)) if where)
        print(f"{system.name}: {system.label}, {roles}")
        width = max(len(field.name) for field in system.fields)
        for field in system.fields:
            default = "required" if field.required else "from the environment" if field.secret else _default(field.default)
            print(f"  {field.name.ljust(width)}  {field.type.__name__}, {default}. {field.help or field.label}")
    return 0


def _default(value: object) -> str:
    return "optional" if value in (None, "") else f"default {value}"


def _subject(given: argparse.Namespace) -> tuple[Sync, Connection, Connection]:
    """The sync, its source and its sink, or what is wrong with the command line."""
    for role in ("source", "sink"):
        if not getattr(given, role):
            raise _Usage(f"no --{role}: write {SYNTAX}")
    try:
        options = WriteOptions.of(_options(given.options))
        sync = Sync.of(given.sync, given.tables, schema=given.schema, options=options, start=given.start)
        return sync, connection(given.source, "source"), connection(given.sink, "sink")
    except ConfigError as error:
        raise _Usage(str(error)) from error


def _options(pairs: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise _Usage(f"--set {pair}: write --set {pair}=VALUE")
        options[name] = tuple(text.split(",")) if name == "columns" else _value(text)
    return options


def _value(text: str) -> Any:
    """A number or a boolean where the text is one."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


if __name__ == "__main__":
    sys.exit(main())
