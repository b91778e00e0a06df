"""A commit whose reply is lost: the run hears that it is transient, the ledger tells the next one what happened."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.ledger_contract import at
from tests.providers.postgres.conftest import FAMILY, Box, inserts
from tests.providers.postgres.test_ledger import SOURCE, entry
from tests.providers.postgres.test_load import FIRST, SCHEMA, rows
from tidegate.errors import Unavailable

__all__ = ["FAMILY"]
pytestmark = pytest.mark.postgres


class Cutter:
    """A proxy that cuts the line at the first COMMIT after :attr:`armed` is set: before it reaches the server, or after."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.armed: str | None = None
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for item in (self._listener, *self._sockets):
            item.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, upward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if upward and self.armed and b"COMMIT" in data.upper():
                    when, self.armed = self.armed, None
                    source.shutdown(socket.SHUT_RDWR)
                    if when == "before":
                        break
                sink.sendall(data)
        # The server still finishes what it got before it sees the end of the line.
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def cutter(box: Box) -> Iterator[Cutter]:
    cutter = Cutter(box.server.port)
    yield cutter
    cutter.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_a_lost_commit_the_ledger_and_the_rows_agree(box: Box, cutter: Cutter, when: str) -> None:
    target = box.target(SCHEMA)
    box.prepare(target)
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    through = box.open(port=cutter.port)
    load = through.begin([target], lease)
    load.write(target, inserts(FIRST, "id"))
    cutter.armed = when
    with pytest.raises(Unavailable):
        load.commit([entry(10)])
    load.abort()
    through.close()
    # A takeover waits for the lease's row, so that it sees how the commit ended.
    again = box.sink.ledger.acquire("s", "me", 60)
    last = box.sink.ledger.last("s").get(SOURCE)
    committed = when == "after"
    assert (last.position if last else None) == (at(10) if committed else None)
    assert len(rows(box)) == (2 if committed else 0)
    assert again.fence == lease.fence + 1
