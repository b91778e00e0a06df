"""The files of a log, wherever fsspec reaches, and their bytes, unpacked."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa

from tidegate.errors import ConfigError, CorruptSegment, PreflightError, Unavailable
from tidegate.providers.storage import storage_options

_NAME = re.compile(r"(?P<name>.+\.\d{6,})(?P<packed>\.gz|\.zst|\.zstd)?")
_PIECE = 1 << 16
_CODECS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the log. ``name`` is the server's (``binlog.000007``), ``path`` where it lies, ``size`` its bytes there."""

    name: str
    path: str
    size: int
    codec: str | None

    @property
    def sequence(self) -> int:
        return int(self.name.rpartition(".")[2])


class LogFolder:
    """Where the files are. ConfigError for a URL of an unknown kind, or options that aren't a JSON object."""

    def __init__(self, url: str, options: str | None, secrets: str | None, connection: str) -> None:
        given = storage_options(options, secrets, connection)
        self.url = url
        self._connection = connection
        try:
            self._fs, self._path = fsspec.core.url_to_fs(url, **given)
        except (ImportError, ValueError, TypeError) as error:
            # The protocol's driver is missing, there is no such protocol, or it has no such option: each says which.
            raise ConfigError(str(error), connection=connection, setting="url, storage_options") from error

    def files(self) -> tuple[StoredFile, ...]:
        """The files there are, by number; empty ones, which a server has only just begun, are left out.

        PreflightError if there are none, or those of more than one log.
        """
        found: dict[str, StoredFile] = {}
        for item in self._listed():
            match = _NAME.fullmatch(item["name"].rpartition("/")[2])
            if match is None or not item["size"]:
                continue
            file = StoredFile(match["name"], item["name"], int(item["size"]), _CODECS.get(match["packed"] or ""))
            # While a file is being packed both are there, and the plain one is whole.
            if file.name not in found or file.codec is None:
                found[file.name] = file
        if not found:
            what = f"{self.url} holds no binlog files: their names end in a number, as binlog.000001 or binlog.000001.gz do"
            raise PreflightError(what, connection=self._connection, setting="url")
        if len(logs := sorted({name.rpartition(".")[0] for name in found})) > 1:
            what = f"{self.url} holds the files of several logs: {', '.join(logs)}; take one, with a glob such as {logs[0]}.*"
            raise PreflightError(what, connection=self._connection, setting="url")
        return tuple(sorted(found.values(), key=lambda file: file.sequence))

    def _listed(self) -> list[dict[str, Any]]:
        with self._translated(self.url):
            self._fs.invalidate_cache()
            if any(mark in self._path for mark in "*?["):
                found = list(self._fs.glob(self._path, detail=True).values())
            else:
                try:
                    found = self._fs.ls(self._path, detail=True)
                except FileNotFoundError:
                    found = []
        return [item for item in found if item["type"] == "file"]

    @contextlib.contextmanager
    def open(self, file: StoredFile) -> Iterator[Bytes]:
        """The file's bytes, from its begin."""
        with self._translated(file.path), self._fs.open(file.path, "rb") as handle:
            yield Bytes(handle, file.codec, self._connection)

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError) as error:
            raise PreflightError(f"{what}: {error.strerror or error}", connection=self._connection, setting="url") from error
        except OSError as error:
            raise Unavailable(f"{what}: {error.strerror or error}", connection=self._connection) from error


class Bytes:
    """A file's bytes. ``broken`` is set where a packed file ends before its stream does: it is still being written."""

    def __init__(self, handle: Any, codec: str | None, connection: str) -> None:
        self._handle = handle
        self._unpack: _Gzip | _Zstd | None = None
        if codec is not None:
            self._unpack = _Gzip(handle) if codec == "gzip" else _Zstd(handle)
        self._connection = connection
        self.broken = False

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end. CorruptSegment for what was never packed."""
        if self._unpack is None:
            return bytes(self._handle.read(size))
        if self.broken:
            return b""
        try:
            return self._unpack.read(size)
        except EOFError:
            self.broken = True
            return b""
        except ValueError as error:
            raise CorruptSegment(f"it can't be unpacked: {error}", connection=self._connection) from error

    def skip(self, count: int) -> None:
        """Go on ``count`` bytes further."""
        if self._unpack is None:
            self._handle.seek(count, 1)
            return
        while count > 0 and (data := self.read(min(count, _PIECE))):
            count -= len(data)


class _Gzip:
    """The members of a gzip file, one after the other, as far as they go."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._member = zlib.decompressobj(31)
        self._packed = b""
        self._inside = False
        """A member has begun, and not ended."""

    def read(self, size: int) -> bytes:
        """EOFError where the file ends inside a member; ValueError for other bytes."""
        while True:
            self._packed = self._packed or self._handle.read(_PIECE)
            at_end = not self._packed
            if at_end and not self._inside:
                return b""
            try:
                data = self._member.decompress(self._packed, size)
            except zlib.error as error:
                raise ValueError(str(error)) from error
            self._inside = not self._member.eof
            if self._inside:
                self._packed = self._member.unconsumed_tail
            else:
                self._packed, self._member = self._member.unused_data, zlib.decompressobj(31)
            if data:
                return data
            if at_end and self._inside:
                raise EOFError


class _Zstd:
    """Arrow's zstd stream. Of one that ends too early the last piece is lost, which a later read brings."""

    def __init__(self, handle: Any) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(handle, "r"), "zstd")

    def read(self, size: int) -> bytes:
        try:
            return bytes(self._stream.read(min(size, _PIECE)))
        except OSError as error:
            if "Truncated compressed stream" in str(error):
                raise EOFError from error
            if "decompress failed" in str(error):
                raise ValueError(str(error)) from error
            raise
