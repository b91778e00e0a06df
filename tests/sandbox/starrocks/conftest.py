"""In-process sandboxes with a table ``d.t``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.sandbox.starrocks.wire import PASSWORD, USER, Client, make_table
from tidegate.sandbox.starrocks.server import StarrocksSandbox

Start = Callable[..., Client]


@pytest.fixture
def start() -> Iterator[Start]:
    """A sandbox of one's own: ``start("4.0.1", folder=…)``; it is stopped when the test is over."""
    with ExitStack() as stack:

        def made(version: str = "3.5.6", **options: Any) -> Client:
            box = stack.enter_context(StarrocksSandbox(version, user=USER, password=PASSWORD, **options))
            if "d" not in box.engine.databases():
                make_table(box)
            return Client(box)

        yield made


@pytest.fixture
def client(start: Start) -> Client:
    """A sandbox of version 3.5.6."""
    return start()
