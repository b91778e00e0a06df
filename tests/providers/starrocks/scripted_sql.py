"""A query port that answers by a script, for what no server can be asked to do on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest

from tidegate.providers.starrocks.connection import SYSTEM

Rows = Sequence[Mapping[str, Any]]
Answer = Rows | Exception | Callable[[Sequence[object]], Rows]


def fields(**more: Any) -> dict[str, Any]:
    """A connection's fields with their defaults."""
    return SYSTEM.values({"host": "fe1", "login": "app", "password": "geheim", "database": "shop", **more}, "sr")


class Script:
    """What is answered, by regular expression over the statement; the last that was added is asked first."""

    def __init__(self) -> None:
        self.answers: list[tuple[re.Pattern[str], Answer]] = []
        self.statements: list[str] = []
        self.connects: list[dict[str, Any]] = []
        self.refuses: dict[tuple[str, int], Exception] = {}
        self.open = 0

    def on(self, pattern: str, answer: Answer) -> Script:
        self.answers.insert(0, (re.compile(pattern, re.S), answer))
        return self

    def answer(self, statement: str, params: Sequence[object]) -> Rows:
        self.statements.append(statement.strip())
        for pattern, answer in self.answers:
            if pattern.search(statement):
                if isinstance(answer, Exception):
                    raise answer
                return answer(params) if callable(answer) else answer
        return []

    def connect(self, **options: Any) -> Driver:
        self.connects.append(options)
        if error := self.refuses.get((options["host"], options["port"])):
            raise error
        self.open += 1
        return Driver(self)


class Driver:
    def __init__(self, script: Script) -> None:
        self._script = script
        self.open = True

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        yield Cursor(self._script)

    def ping(self, reconnect: bool) -> None:
        assert not reconnect
        self._script.answer("PING", ())

    def close(self) -> None:
        self.open = False
        self._script.open -= 1

    _force_close = close


class Cursor:
    def __init__(self, script: Script) -> None:
        self._script = script
        self.description: list[tuple[str]] = []
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, statement: str, params: Sequence[object] | None = None) -> int:
        rows = self._script.answer(statement, params or ())
        self.description = [(name,) for name in rows[0]] if rows else []
        self._rows = [tuple(row.values()) for row in rows]
        return len(rows)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows


def lost() -> Exception:
    return pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")


def denied() -> Exception:
    return pymysql.err.OperationalError(5203, "Access denied; you need (at least one of) the OPERATE privilege(s) on SYSTEM")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Answers whatever is asked over PyMySQL."""
    made = Script()
    monkeypatch.setattr(pymysql, "connect", made.connect)
    return made
