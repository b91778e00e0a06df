"""A frontend or backend that does what a test says, byte by byte: the sandbox behaves, these don't."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tidegate.providers.starrocks.connection import SYSTEM

LOST = "lost"
"""A reply that is never sent: the connection closes instead."""


class Conversation:
    """One connection. ``head`` has been read; of the body nothing but what came with it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._read = b""
        while b"\r\n\r\n" not in self._read:
            read = connection.recv(65536)
            if not read:
                raise ConnectionError("no request")
            self._read += read
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.method, self.path, _ = lines[0].split(" ")
        pairs = (line.split(": ", 1) for line in lines[1:])
        self.headers = {name.lower(): value for name, value in pairs}
        self.length = int(self.headers.get("content-length", "0"))
        self.early = len(self._read)
        """Bytes of the body that were sent with the headers, without waiting."""

    def go_on(self) -> None:
        """100 Continue."""
        self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body(self, most: int | None = None) -> bytes:
        """The body, or its first bytes."""
        wanted = self.length if most is None else most
        pieces = [self._read]
        size = len(self._read)
        while size < wanted:
            read = self._connection.recv(min(1 << 20, wanted - size))
            if not read:
                break
            pieces.append(read)
            size += len(read)
        self._read = b""
        return b"".join(pieces)

    def drain(self) -> int:
        """Reads the body and keeps nothing of it."""
        left = self.length - len(self._read)
        while left > 0 and (read := self._connection.recv(min(1 << 20, left))):
            left -= len(read)
        return self.length - left

    def quiet(self, seconds: float = 0.05) -> bool:
        """Whether the client sends nothing for a while."""
        self._connection.settimeout(seconds)
        try:
            return not self._read and not self._connection.recv(1)
        except TimeoutError:
            return True
        finally:
            self._connection.settimeout(20)

    def reply(self, said: Mapping[str, Any] | bytes = b"", status: int = 200, **headers: str) -> None:
        """An answer, and no more of this connection."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        lines = [
            f"HTTP/1.1 {status} Said",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def raw(self, text: bytes) -> None:
        """Bytes as they are."""
        self._connection.sendall(text)

    def redirect(self, location: str, status: int = 307) -> None:
        """The frontend's answer to every load."""
        self.reply(status=status, Location=location)

    def reset(self) -> None:
        """RST, and not FIN."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


Handler = Callable[[Conversation], None]


class Scripted:
    """A server on a loopback address. ``handler`` answers every request; its connection is closed after it."""

    def __init__(self, handler: Handler, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.requests: list[tuple[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.errors: list[BaseException] = []
        self._context = context
        self._socket = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._running = True
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    @property
    def address(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._running = False
        # A blocked accept does not see that its socket was closed: knock.
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=5):
            pass
        self._acceptor.join(20)
        self._socket.close()
        for thread in self._threads:
            thread.join(20)
        if kind is None and self.errors:
            raise self.errors[0]

    def _accept(self) -> None:
        while self._running:
            connection, _ = self._socket.accept()
            if not self._running:
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            conversation = Conversation(connection)
            self.requests.append((conversation.method, conversation.path))
            self.headers.append(conversation.headers)
            self.handler(conversation)
        except OSError:
            # The client went away; tests look at what the client says.
            return
        except BaseException as error:
            self.errors.append(error)
        finally:
            connection.close()


@dataclass
class Cluster:
    """A frontend that redirects all to one backend, but answers what ``states`` and ``calls`` say itself.

    ``loads``: the backend's replies to bodies, in turn, the last one for good; ``calls``: those to transaction steps by name;
    ``states``: of the label. LOST closes the connection in place of a reply.
    """

    loads: list[Any] = field(default_factory=lambda: [{"Status": "Success"}])
    calls: dict[str, list[Any]] = field(default_factory=dict)
    states: list[Any] = field(default_factory=lambda: ["UNKNOWN"])
    bodies: list[bytes] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    errors: bytes = b""
    frontend: Scripted = field(init=False)
    backend: Scripted = field(init=False)

    def values(self, **more: Any) -> dict[str, Any]:
        return values(self.frontend, **more)

    def serve(self) -> contextlib.ExitStack:
        stack = contextlib.ExitStack()
        self.backend = stack.enter_context(Scripted(self._backend, "127.0.0.2"))
        self.frontend = stack.enter_context(Scripted(self._frontend))
        return stack

    def _frontend(self, conversation: Conversation) -> None:
        if "get_load_state" in conversation.path:
            self.steps.append("state")
            said = turn(self.states)
            if said is not LOST:
                conversation.reply(said if isinstance(said, (dict, bytes)) else {"state": said, "status": "OK"})
            return
        step = conversation.path.rsplit("/", 1)[-1].partition("?")[0]
        if step in self.calls:
            self.steps.append(step)
            said = turn(self.calls[step])
            if said is not LOST:
                conversation.reply(said)
            return
        conversation.redirect(f"http://user:secret@{self.backend.address}{conversation.path}")

    def _backend(self, conversation: Conversation) -> None:
        if "_load_error_log" in conversation.path:
            conversation.reply(self.errors)
            return
        self.steps.append("load")
        conversation.go_on()
        self.bodies.append(conversation.body())
        said = turn(self.loads)
        if said is not LOST:
            conversation.reply(said)


def turn(said: list[Any]) -> Any:
    """The next, the last of them for good."""
    return said.pop(0) if len(said) > 1 else said[0]


@contextlib.contextmanager
def cluster(**script: Any) -> Iterator[Cluster]:
    """A scripted cluster that runs."""
    found = Cluster(**script)
    with found.serve():
        yield found


def values(*frontends: Scripted | str, **more: Any) -> dict[str, Any]:
    """A connection's fields, to these frontends."""
    urls: Sequence[str] = [each if isinstance(each, str) else each.address for each in frontends]
    return SYSTEM.values(
        {"host": "unused", "login": "loader", "password": "pa:ss", "database": "shop", "load_url": ";".join(urls)} | more, "sr"
    )
