"""A replication connection: the bytes of the binlog's events from a position to the end of the log."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import pymysql

from tidegate.errors import PermanentError, PreflightError, TidegateError, Unavailable
from tidegate.providers.mysql.binlog.events import FORMAT, Format, read_format
from tidegate.providers.mysql.binlog.packets import ServerError, event_blocks
from tidegate.providers.mysql.session import Session, translated

_COM_BINLOG_DUMP = 0x12
_NON_BLOCK = 0x01
_DENIED = (1227, 1045)
FIRST_EVENT = 4
"""Where the first event of a file stands, after its magic number."""


class DumpRefused(PermanentError):
    """The server can't, or won't, send the log from there. The number of the error, mostly 1236, doesn't tell why."""


class Dump:
    """A connection that the server sends its log on. It reads to the end of the log as it is, and doesn't wait for more."""

    def __init__(self, values: Mapping[str, Any], name: str, server_id: int) -> None:
        self.name = name
        self._server_id = server_id
        self._session = Session(values, name)
        # Events are sent as they stand in the file; a server that knows only one of the names ignores the other.
        self._session.execute(
            "SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum, "
            "@mariadb_slave_capability = 4"
        )
        self.checksums = self._session.rows("SELECT @@GLOBAL.binlog_checksum")[0][0] == "CRC32"

    def events(self, file: str, offset: int) -> Iterator[bytes]:
        """The events from ``offset`` (the end of an event, or 4) on, with header and checksum."""
        return chain.from_iterable(self._blocks(file, offset))

    def _blocks(self, file: str, offset: int) -> Iterator[list[bytes]]:
        # The command has 32 bits for the offset: beyond that the file is read from its start, and the reader skips.
        start = offset if offset < 1 << 32 else FIRST_EVENT
        driver: Any = self._session.driver
        command = struct.pack("<IHI", start, _NON_BLOCK, self._server_id) + file.encode()
        position = f"{file}:{offset}"
        try:
            driver._execute_command(_COM_BINLOG_DUMP, command)
            driver._sock.settimeout(driver._read_timeout)
            yield from event_blocks(driver._rfile)
        except ServerError as error:
            raise self._refusal(error.data, position) from error
        except EOFError as error:
            raise Unavailable("the server closed the connection in mid-log", connection=self.name, position=position) from error
        except (pymysql.err.Error, OSError) as error:
            raise translated(error, self.name, position=position) from error

    def _refusal(self, data: bytes, position: str) -> TidegateError:
        code = int.from_bytes(data[1:3], "little")
        text = data[9 if data[3:4] == b"#" else 3 :].decode("utf-8", "replace")
        if code in _DENIED:
            return PreflightError(f"{text} (error {code})", connection=self.name, setting="GRANT REPLICATION SLAVE")
        known = translated(pymysql.err.OperationalError(code, text), self.name, position=position)
        if isinstance(known, Unavailable):
            return known
        return DumpRefused(f"{text} (error {code})", connection=self.name, position=position)

    def format_of(self, file: str, offset: int) -> Format:
        """The format description of a file, which is sent ahead wherever a dump begins. The connection is of no use afterwards.

        ``offset`` is best the end of the file: then nothing else is sent.
        """
        try:
            for event in self.events(file, offset):
                if event[4] == FORMAT:
                    return read_format(event)
        finally:
            self.close()
        raise Unavailable(f"{file} has no format description event yet", connection=self.name)

    def close(self) -> None:
        """Drop the connection: a server that is still sending has to be cut off."""
        self._session.abort()
