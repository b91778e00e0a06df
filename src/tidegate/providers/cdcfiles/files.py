"""The files of a stream of records: which there are, what is in them line by line, and by what each is known again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import fsspec
import pyarrow as pa

from tidegate.errors import ConfigError, EventRefused, PreflightError, Unavailable

BLOCK = 1024 * 1024
_HEAD = 4096
"""A file is known by its first lines, up to this many bytes, one line at least."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was when the folder was listed. ``name`` is relative to the folder."""

    name: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line from ``start`` to ``end``, in bytes of what the file holds; ``text`` without white space around it."""

    start: int
    end: int
    text: bytes
    terminated: bool


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Files:
    """A file, the files that a glob matches, or those directly in a folder, wherever fsspec reaches."""

    def __init__(self, url: str, options: dict[str, Any], connection: str) -> None:
        self._connection = connection
        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            # ImportError: the protocol's driver is missing; ValueError: no such protocol. Both say which.
            raise ConfigError(str(error), connection=connection, setting="url") from error

    def all(self) -> list[File]:
        """The files by name, numbers in names by their value. Hidden ones (``.`` or ``_`` first) are left out."""
        with self._translated(self.url):
            self._fs.invalidate_cache()
            if any(letter in self._root for letter in "*?["):
                found = self._fs.glob(self._root, detail=True).values()
                folder = self._root[: min(self._root.index(letter) for letter in "*?[" if letter in self._root)].rpartition("/")[0]
            elif self._fs.isdir(self._root):
                found, folder = self._fs.ls(self._root, detail=True), self._root
            else:
                try:
                    found, folder = [self._fs.info(self._root)], self._root.rpartition("/")[0]
                except FileNotFoundError:
                    found, folder = [], ""
        files = [
            File(item["name"].removeprefix(folder).lstrip("/"), item["name"], int(item["size"] or 0))
            for item in found
            if item["type"] == "file" and not item["name"].rpartition("/")[2].startswith((".", "_"))
        ]
        return sorted(files, key=lambda file: natural(file.name))

    @contextlib.contextmanager
    def open(self, file: File, start: int = 0) -> Iterator[_Readable]:
        """What the file holds from byte ``start`` on, unpacked if it is gzip or Zstandard by its first bytes."""
        with self._translated(file.name), self._fs.open(file.path, "rb") as raw:
            magic = raw.read(4)
            if magic[:2] == b"\x1f\x8b":
                raw.seek(0)
                opened: _Readable = _Gunzip(raw, file.name, self._connection)
            elif magic == b"\x28\xb5\x2f\xfd":
                opened = _Unzstd(lambda: self._fs.open(file.path, "rb"), file.name, self._connection)
            else:
                raw.seek(start)
                yield raw
                return
            _skip(opened, start)
            yield opened

    def lines(self, file: File, start: int = 0, end: int | None = None) -> Iterator[Line]:
        """The lines from byte ``start`` on, which begins one, up to byte ``end``. The last may lack its end."""
        with self.open(file, start) as opened:
            yield from _lines(opened, start, end)

    def tail(self, file: File, start: int, size: int) -> list[Line]:
        """The last lines past ``start``: about those in the last ``size`` bytes, one at least."""
        packed = self._packed(file)
        at = start if packed else max(start, file.size - size)
        with self.open(file, at) as opened:
            if at > start:
                found = _skip_line(opened, at)
                if found is None:
                    return self.tail(file, start, size * 8)
                return list(_lines(opened, found[0], None, found[1]))
            kept: deque[Line] = deque()
            held = 0
            for line in _lines(opened, at, None):
                kept.append(line)
                held += line.end - line.start
                while packed and held - (kept[0].end - kept[0].start) > size:
                    dropped = kept.popleft()
                    held -= dropped.end - dropped.start
        return list(kept)

    def _packed(self, file: File) -> bool:
        with self._translated(file.name), self._fs.open(file.path, "rb") as raw:
            magic = raw.read(4)
        return bool(magic[:2] == b"\x1f\x8b" or magic == b"\x28\xb5\x2f\xfd")

    def head(self, file: File, size: int) -> bytes:
        """The first ``size`` bytes of what the file holds, or all there are."""
        with self.open(file) as opened:
            return _exactly(opened, size)

    def identity(self, file: File) -> str | None:
        """By what the file is known again, under whatever name; None while it has no whole line."""
        size = _HEAD
        while True:
            head = self.head(file, size)
            end = head.rfind(b"\n", 0, _HEAD) + 1 or head.find(b"\n") + 1
            if end:
                return _identity(head[:end])
            if len(head) < size:
                return _identity(head) if is_object(head) else None
            size *= 8

    def is_same(self, file: File, identity: str) -> bool:
        """Whether the file begins as the one did that was given this identity."""
        size = int(identity.partition("-")[0])
        head = self.head(file, size)
        return len(head) == size and _identity(head) == identity.partition("~")[0]

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise Unavailable(f"{what} is gone since the folder was listed", connection=self._connection) from error
        except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
            raise PreflightError(f"{what}: {error.strerror or error}", connection=self._connection, setting="url") from error
        except OSError as error:
            raise Unavailable(f"{what}: {error.strerror or error}", connection=self._connection) from error


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """The order of names in which ``9`` comes before ``10``."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part)


def is_object(text: bytes) -> bool:
    """Whether it is a whole JSON object: nothing that could still go on."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def whole_end(lines: Sequence[Line], start: int, ends: Callable[[bytes], bool], *, followed: bool = False) -> int | None:
    """Where the last line ends that can be read and with which ``ends`` says that a transaction does; None if there is none.

    The last line waits if it is cut: without its end and no whole object, or no JSON at all. In a file that another comes after
    (``followed``) one that has its end doesn't: it is read, as broken as it is.
    """
    found = list(lines)
    while found and not found[-1].text:
        found.pop()
    if found and not (is_object(found[-1].text) or (found[-1].terminated and (followed or _is_json(found[-1].text)))):
        found.pop()
    for line in reversed(found):
        if not line.text or ends(line.text):
            return line.end
    return None if found or lines else start


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _identity(head: bytes) -> str:
    return f"{len(head)}-{hashlib.sha256(head).hexdigest()[:16]}"


def _exactly(opened: _Readable, size: int) -> bytes:
    parts = []
    while size > 0 and (part := opened.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _skip(opened: _Readable, size: int) -> None:
    while size > 0 and (part := opened.read(min(size, BLOCK))):
        size -= len(part)


def _skip_line(opened: _Readable, at: int) -> tuple[int, bytes] | None:
    """Read past the end of the line that ``at`` stands in: where the next begins, and what was read of it. None: there is none."""
    while block := opened.read(BLOCK):
        end = block.find(b"\n") + 1
        if end:
            return at + end, block[end:]
        at += len(block)
    return None


def _lines(opened: _Readable, start: int, end: int | None, rest: bytes = b"") -> Iterator[Line]:
    at = start
    while end is None or at < end:
        block = opened.read(BLOCK)
        if block:
            rest += block
            if b"\n" not in block:
                continue
        *whole, rest = rest.split(b"\n")
        for text in whole:
            stop = at + len(text) + 1
            yield Line(at, stop, text.strip(), True)
            at = stop
            if end is not None and at >= end:
                return
        if not block:
            if rest:
                yield Line(at, at + len(rest), rest.strip(), False)
            return


class _Gunzip:
    """Members one after the other. What a cut file holds is given, as far as it goes."""

    def __init__(self, raw: BinaryIO, name: str, connection: str) -> None:
        self._raw, self._name, self._connection = raw, name, connection
        self._member = zlib.decompressobj(31)
        self._pending = b""

    def read(self, size: int, /) -> bytes:
        while True:
            data = self._pending or self._raw.read(BLOCK)
            if not data:
                return b""
            self._pending = b""
            if self._member.eof:
                data = data.lstrip(b"\0")  # padding
                if not data:
                    continue
                self._member = zlib.decompressobj(31)
            try:
                found = self._member.decompress(data, size)
            except zlib.error as error:
                raise EventRefused(f"{self._name} is damaged ({error})", connection=self._connection, setting="url") from error
            self._pending = self._member.unconsumed_tail or self._member.unused_data
            if found:
                return found


class _Unzstd:
    """Frames one after the other. What a cut file holds is given, as far as it goes."""

    def __init__(self, reopen: Callable[[], BinaryIO], name: str, connection: str) -> None:
        self._reopen, self._name, self._connection = reopen, name, connection
        self._stream = self._open()
        self._at = 0
        self._cut = False

    def _open(self) -> Any:
        return pa.CompressedInputStream(pa.PythonFile(self._reopen(), "r"), "zstd")

    def read(self, size: int, /) -> bytes:
        if self._cut:
            return b""
        try:
            found: bytes = self._stream.read(min(size, BLOCK))
        except OSError as error:
            if "truncated" not in str(error).lower():
                raise EventRefused(f"{self._name} is damaged ({error})", connection=self._connection, setting="url") from error
            found, self._cut = self._until_cut(), True
        self._at += len(found)
        return found

    def _until_cut(self) -> bytes:
        """What there is before the cut: a read that meets it gives nothing, so byte by byte."""
        self._stream = self._open()
        _skip(self._stream, self._at)
        found = bytearray()
        with contextlib.suppress(OSError):
            while byte := self._stream.read(1):
                found += byte
        return bytes(found)
