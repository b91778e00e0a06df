"""What :class:`~tidegate.sandbox.session.Session` sends upstream, noted with the answers that it will have."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tidegate.sandbox import wire
from tidegate.sandbox.dialect import Rewritten
from tidegate.sandbox.wire import message, text

Row = tuple[str | None, ...]

_OWN_STATEMENT = "tidegate_sandbox"


class LookupFailed(Exception):
    """A lookup's error, as the server put it: the client gets it in place of its statement's result."""

    def __init__(self, body: bytes) -> None:
        super().__init__(wire.fields(body).get("M", ""))
        self.body = body


@dataclass
class Step:
    """One statement of a simple Query."""

    role: Literal["before", "own", "after"]
    tag: str = ""


@dataclass
class Reply:
    """The answer to one message that was sent upstream."""

    kind: Literal["parse", "bind", "close", "describe", "execute", "sync", "query"]
    swallow: bool = False
    rows: list[Row] | None = None
    steps: deque[Step] = field(default_factory=deque)
    tag: str = ""
    held: bool = False
    releases: bool = False


@dataclass(frozen=True)
class Plan:
    """What a prepared statement of the client is upstream."""

    rewritten: Rewritten
    copy: bool


class Plans(dict[str, Plan]):
    """Those of a client's prepared statements, or portals, that aren't sent on as they are."""

    def keep(self, name: str, plan: Plan | None) -> None:
        """``name`` stands for the plan from now on; None: for what the client itself has sent."""
        if plan is None:
            self.pop(name, None)
        else:
            self[name] = plan


def own_statement(
    sql: str, params: Sequence[str | None], rows: list[Row] | None, *, releases: bool
) -> Iterator[tuple[bytes, Reply]]:
    """The messages of a statement of the proxy's own, none of whose answers goes to the client.

    ``rows`` takes the statement's rows, and says that its error isn't the client's either. ``releases``: the client's
    CommandComplete waits for this one.
    """
    name = _OWN_STATEMENT
    yield message(b"P", text(name, sql) + b"\0\0"), Reply("parse", swallow=True, rows=rows)
    values = b"".join(_value(value) for value in params)
    bound = text(name, name) + struct.pack("!hh", 0, len(params)) + values + struct.pack("!h", 0)
    yield message(b"B", bound), Reply("bind", swallow=True, rows=rows)
    yield message(b"E", text(name) + struct.pack("!i", 0)), Reply("execute", swallow=True, rows=rows, releases=releases)
    yield message(b"C", b"P" + text(name)), Reply("close", swallow=True)
    yield message(b"C", b"S" + text(name)), Reply("close", swallow=True)


def _value(value: str | None) -> bytes:
    if value is None:
        return struct.pack("!i", -1)
    data = value.encode()
    return struct.pack("!i", len(data)) + data


def row(body: bytes) -> Row:
    """The values of a DataRow in text format."""
    (count,) = struct.unpack_from("!h", body)
    values: list[str | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        values.append(None if length < 0 else body[at : at + length].decode())
        at += max(length, 0)
    return tuple(values)
