"""What a load sends: bytes, pieces of them, or a file. Read in slices, and again from its start when a request is repeated."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from tidegate.errors import ConfigError, PermanentError

Payload = bytes | Sequence[bytes] | Path | BinaryIO
"""Never a generator: a body has to be sent again when a frontend redirects or a load is repeated. A file handle is read from where
it stands, and must be seekable; it belongs to one load at a time."""

SLICE = 1 << 20
"""Bytes handed to the socket at once. Between two slices the server's answer is looked for."""


class Body:
    """A payload with its length in bytes, which goes into Content-Length."""

    def __init__(self, payload: Payload) -> None:
        self._pieces: Sequence[bytes] = ()
        self._file: Path | BinaryIO | None = None
        self._start = 0
        if isinstance(payload, bytes):
            self._pieces = (payload,)
            self.length = len(payload)
        elif isinstance(payload, str | bytearray | memoryview):
            raise ConfigError(f"a {type(payload).__name__} is no body: encode it to bytes")
        elif isinstance(payload, Path):
            self._file = payload
            self.length = payload.stat().st_size
        elif isinstance(payload, Sequence):
            self._pieces = cast("Sequence[bytes]", payload)
            self.length = sum(len(piece) for piece in self._pieces)
        elif hasattr(payload, "seekable") and payload.seekable():
            self._file = payload
            self._start = payload.tell()
            self.length = payload.seek(0, os.SEEK_END) - self._start
        else:
            raise ConfigError(f"a {type(payload).__name__} can't be read twice: give bytes, pieces of them, or a file that seeks")

    def slices(self) -> Iterator[memoryview]:
        """The whole from its start, :data:`SLICE` bytes at most at once, without a copy of the pieces.

        PermanentError if a file has become shorter: what was announced can't be sent any more, and the server drops the load.
        """
        if self._file is None:
            for piece in self._pieces:
                view = memoryview(piece)
                for at in range(0, len(view), SLICE):
                    yield view[at : at + SLICE]
            return
        opened: AbstractContextManager[BinaryIO] = (
            self._file.open("rb") if isinstance(self._file, Path) else nullcontext(self._file)
        )
        with opened as file:
            file.seek(self._start)
            left = self.length
            while left:
                read = file.read(min(SLICE, left))
                if not read:
                    raise PermanentError(f"the file became {left} bytes shorter while it was sent; load a file that is finished")
                left -= len(read)
                yield memoryview(read)
