"""pg8000 with GaussDB's login as the driver of a session.

Statements go to the server as text with their parameters in it, as psycopg2 sends them; messages and types are pg8000's.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pg8000.core import Context, CoreConnection
from pg8000.exceptions import DatabaseError, InterfaceError

from tidegate.errors import PreflightError
from tidegate.providers.gaussdb.auth import OLD_PROTOCOL, PROTOCOL, Login
from tidegate.providers.gaussdb.hosts import Host
from tidegate.providers.gaussdb.literals import bound, text_literal
from tidegate.providers.gaussdb.wire import Channel, Rejected, reach
from tidegate.providers.postgres.driver import Params, Readable, Writable
from tidegate.providers.postgres.errors import DriverError

COPY_BYTES = 1 << 16
"""What COPY asks its source for; a source may give more at once."""

_MESSAGE_BYTES = 1 << 20
"""The largest CopyData message."""

_READY, _ERROR, _COPY_IN, _COPY_OUT = b"Z", b"E", b"G", b"H"
_IDLE = b"I"
_INT2VECTOR = 22


class _FileError(Exception):
    """What the file raised that COPY reads or writes, kept apart from what befalls the connection."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Wire(CoreConnection):  # type: ignore[misc]  # pg8000 has no types
    """pg8000's connection: another login, several results in one statement, COPY in blocks."""

    def __init__(self, channel: Channel, login: Login, values: Mapping[str, Any]) -> None:
        self._login, self.channel = login, channel
        self._usock: Channel | None
        self.busy = True
        self.tag = b""
        parameters = {"client_encoding": "UTF8"} | ({"options": values["options"]} if values["options"] else {})
        super().__init__(
            values["login"],
            database=values["database"],
            application_name=values["application_name"] or None,
            startup_params=parameters,
            ssl_context=False,
            sock=channel,
        )
        self.pg_types[_INT2VECTOR] = str  # as psycopg2 gives it
        self.busy = False
        self._transaction_status = _IDLE

    @property
    def closed(self) -> bool:
        return self._usock is None

    @property
    def idle(self) -> bool:
        """Whether there is no transaction."""
        return bool(self._transaction_status == _IDLE)

    def close(self) -> None:
        """At once, whatever is under way; doesn't raise."""
        if self._usock is None:
            return
        self._usock = self._sock = None
        if not self.busy:
            with suppress(OSError):  # it was lost: there is nobody to say goodbye to
                self.channel.send(b"X", b"")
        self.channel.close()

    def query(self, statement: str, source: Readable | None = None, sink: Writable | None = None) -> Context:
        """Send statements and read until the server is ready for the next. Its error is raised then, so is that of ``source``."""
        if self.closed:
            raise InterfaceError("the connection is closed")
        context = Context(statement)
        failed: BaseException | None = None
        self.busy = True
        try:
            self.send_QUERY(statement)
            self.channel.flush()
            code = b""
            while code != _READY:
                code, body = self._message(context)
                if code == _COPY_IN:
                    failed = self._send_rows(source, context)
                elif code == _COPY_OUT:
                    failed = self._take_rows(sink)
                elif code in self.message_types:
                    self.message_types[code](body, context)
                else:
                    raise InterfaceError(f"the server sent a message of an unknown kind, {code!r}")
        except BaseException:
            # In the middle of a conversation: nobody can use it again.
            self.close()
            raise
        self.busy = False
        if failed is not None:
            raise failed
        if context.error is not None:
            raise context.error
        return context

    def _message(self, context: Context) -> tuple[bytes, bytes]:
        try:
            return self.channel.message()
        except OSError:
            if context.error is not None:
                raise context.error from None  # the server's last words say why
            raise

    def _send_rows(self, source: Readable | None, context: Context) -> BaseException | None:
        if source is None:
            self.channel.send(b"f", b"no file\0")
            return DriverError("COPY FROM STDIN is for copy_in")
        # An error before the end: the server throws away what comes after it. Notices and settings may come at any time.
        while not self.channel.ready() or self._aside(context):
            try:
                block = source.read(COPY_BYTES)
            except BaseException as error:
                self.channel.send(b"f", b"the client gave up\0")
                return _FileError(error)
            if not block:
                self.channel.send(b"c", b"")
                return None
            view = memoryview(block)
            for start in range(0, len(view), _MESSAGE_BYTES):
                self.channel.send(b"d", view[start : start + _MESSAGE_BYTES])
        return None

    def _aside(self, context: Context) -> bool:
        if self.channel.peek() not in (b"N", b"S", b"A"):
            return False
        code, body = self._message(context)
        self.message_types[code](body, context)
        return True

    def _take_rows(self, sink: Writable | None) -> BaseException | None:
        while rows := self.channel.copied():
            if sink is None:
                continue
            try:
                sink.write(rows)
            except BaseException as error:
                raise _FileError(error) from None
        return DriverError("COPY TO STDOUT is for copy_out") if sink is None else None

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Context) -> None:
        answer = self._login.answer(data)
        if answer is not None:
            self.channel.send(b"p", answer + b"\0")

    def handle_ROW_DESCRIPTION(self, data: bytes, context: Context) -> None:
        context.rows = []  # of several statements, the last one's
        super().handle_ROW_DESCRIPTION(data, context)

    def handle_DATA_ROW(self, data: bytes, context: Context) -> None:
        super().handle_DATA_ROW(data, context)
        context.rows[-1] = tuple(context.rows[-1])

    def handle_COMMAND_COMPLETE(self, data: bytes, context: Context) -> None:
        self.tag = data[:-1]
        count = self.tag.rpartition(b" ")[2]
        context.row_count = int(count) if count.isdigit() else -1


class Pg8000Driver:
    """See :class:`~tidegate.providers.postgres.driver.Driver`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @property
    def closed(self) -> bool:
        return self._wire.closed

    def run(self, statement: str, params: Params | None) -> int:
        return int(self._query(bound(statement, params)).row_count)

    def rows(self, statement: str, params: Params | None) -> list[tuple[Any, ...]]:
        found = self._query(bound(statement, params)).rows
        if found is None:
            raise DriverError("no results to fetch")
        return list(found)

    def copy_in(self, statement: str, source: Readable) -> int:
        return int(self._query(statement, source=source).row_count)

    def copy_out(self, statement: str, sink: Writable) -> None:
        self._query(statement, sink=sink)

    def literals(self, row: Sequence[str | None]) -> str:
        return ",".join(["NULL" if value is None else text_literal(value) for value in row])

    def commit(self) -> None:
        with self._errors():
            if self._wire.closed or not self._wire.idle:
                self._wire.query("COMMIT")
                if self._wire.tag == b"ROLLBACK":
                    raise DriverError("the transaction had failed before: the server has undone it")

    def rollback(self) -> None:
        with self._errors():
            if self._wire.closed or not self._wire.idle:
                self._wire.query("ROLLBACK")

    def close(self) -> None:
        self._wire.close()

    def _query(self, statement: str, *, source: Readable | None = None, sink: Writable | None = None) -> Context:
        with self._errors():
            if self._wire.idle and not self._wire.closed:
                self._wire.query("START TRANSACTION")
            return self._wire.query(statement, source, sink)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _FileError as error:
            raise error.error from None
        except (OSError, DatabaseError, InterfaceError) as error:
            # Not chained, as with psycopg2: the driver's text can hold a row's values.
            raise _neutral(error) from None


def _neutral(error: Exception) -> DriverError:
    fields = error.args[0] if error.args else None
    if not isinstance(fields, dict):
        return DriverError(str(error), lost=not isinstance(error, DatabaseError))
    return DriverError(
        fields.get("M", "the server gives no reason"), code=fields.get("C"), detail=fields.get("D"), context=fields.get("W")
    )


def open_driver(host: Host, values: Mapping[str, Any], name: str) -> Pg8000Driver:
    """Log in with the fields of ``connection.py``. PreflightError, Unavailable, or the server's DriverError."""
    try:
        return _log_in(host, values, name, PROTOCOL)
    except DriverError as error:
        if error.code != "0A000":
            raise
    # An old server refuses a protocol that it doesn't know.
    return _log_in(host, values, name, OLD_PROTOCOL)


def _log_in(host: Host, values: Mapping[str, Any], name: str, protocol: int) -> Pg8000Driver:
    def greet(sock: socket.socket) -> Pg8000Driver:
        login = Login(values["login"], values["password"], name)
        try:
            wire = Wire(Channel(sock, protocol), login, values)
        except (OSError, DatabaseError, InterfaceError) as error:
            raise _refusal(_neutral(error), login) from None
        except (KeyError, struct.error):
            # A message that pg8000 doesn't know: PostgreSQL, for one, replies that it hasn't this protocol.
            what = f"{host} answers as no GaussDB does; for PostgreSQL, set driver to psycopg2"
            raise PreflightError(what, connection=name, setting="driver") from None
        sock.settimeout(None)
        return Pg8000Driver(wire)

    return reach(host, values, name, greet)


def _refusal(error: DriverError, login: Login) -> DriverError:
    if error.code is not None and error.code.startswith("28") and not login.asked:
        return Rejected(error.message, code=error.code, detail=error.detail)
    return error


def first_request(host: Host, values: Mapping[str, Any], name: str) -> tuple[int, bytes]:
    """Which login the server wants from a client that speaks PostgreSQL's protocol: the number of its request, and the body.

    Hangs up then, which servers take as ordinary (psql does so to ask for a password). Raises as :func:`open_driver`.
    """

    def greet(sock: socket.socket) -> tuple[int, bytes]:
        channel = Channel(sock, OLD_PROTOCOL)
        try:
            channel.write(_startup({"user": values["login"], "database": values["database"]}))
            channel.flush()
            code, body = channel.message()
        except OSError as error:
            raise DriverError(str(error), lost=True) from None
        finally:
            channel.close()
        if code == _ERROR:
            fields = {part[:1].decode("ascii", "replace"): part[1:].decode("utf8", "replace") for part in body.split(b"\0") if part}
            raise _refusal(_neutral(DatabaseError(fields)), Login(values["login"], "", name))
        if code != b"R":
            raise DriverError(f"it speaks another protocol, whose first message is of the kind {code!r}", lost=True)
        return struct.unpack_from("!i", body)[0], body[4:]

    return reach(host, values, name, greet)


def _startup(parameters: Mapping[str, str]) -> bytes:
    pairs = b"".join(f"{key}\0{value}\0".encode() for key, value in parameters.items())
    return struct.pack("!ii", len(pairs) + 9, OLD_PROTOCOL) + pairs + b"\0"
