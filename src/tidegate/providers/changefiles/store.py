"""The folder that a stream lies in: a local one, or one that fsspec reaches.

What the format asks of a store is small: read a file, write a file, list a folder, and **create a file unless it exists**, in one
step. The last is what commits a segment, and what keeps two writers apart. It is exclusive on local file systems (a finished file
is linked to its name), and in fsspec's memory, S3 (s3fs 2024.12 and up), Google Cloud Storage and Azure file systems
(``pipe_file(mode="create")``). Elsewhere fsspec looks first and writes then: such a stream must have one writer at a time.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import fsspec

from tidegate.errors import ConfigError, PreflightError, Unavailable
from tidegate.providers.storage import storage_options


class Store(Protocol):
    """Files by names relative to the folder, ``/`` between their parts."""

    url: str

    def setup(self) -> None:
        """Make the folder, where folders have to be made."""

    def read(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError."""

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in ``folder`` ('' is the stream's own); none if there is no such folder."""

    def open(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Write a new file. Its bytes are durable once the context is left."""

    def create(self, name: str, data: bytes) -> None:
        """Write a file of that name unless there is one: FileExistsError. Nobody sees a part of it."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a file of that name, in place of the one there is."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


class LocalStore:
    """A folder of this machine's file systems."""

    def __init__(self, path: Path, connection: str) -> None:
        self.url = str(path)
        self._path = path
        self._connection = connection

    def setup(self) -> None:
        with _translated(self._connection, self.url):
            try:
                self._path.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise PreflightError(f"{self.url} is a file", connection=self._connection, setting="url") from None

    def read(self, name: str) -> bytes:
        with _translated(self._connection, name):
            return (self._path / name).read_bytes()

    def names(self, folder: str) -> list[str]:
        with _translated(self._connection, folder or self.url):
            try:
                with os.scandir(self._path / folder) as items:
                    return [item.name for item in items if item.is_file()]
            except FileNotFoundError:
                return []

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        path = self._path / name
        with _translated(self._connection, name):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(path.parent)

    def create(self, name: str, data: bytes) -> None:
        with _translated(self._connection, name):
            finished = self._finished(name, data)
            try:
                os.link(finished, self._path / name)
            except FileExistsError:
                raise
            except OSError as error:
                raise PreflightError(
                    f"{self.url} is on a file system without hard links ({error.strerror}), by which a segment is committed",
                    connection=self._connection,
                    setting="url",
                ) from error
            finally:
                finished.unlink()
            _sync_folder((self._path / name).parent)

    def replace(self, name: str, data: bytes) -> None:
        with _translated(self._connection, name):
            self._finished(name, data).replace(self._path / name)
            _sync_folder((self._path / name).parent)

    def remove(self, name: str) -> None:
        with _translated(self._connection, name):
            (self._path / name).unlink(missing_ok=True)

    def _finished(self, name: str, data: bytes) -> Path:
        """The bytes in a hidden file beside ``name``, safe on disk."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        finished = path.parent / f".{path.name}.{uuid.uuid4().hex}"
        with finished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return finished


class RemoteStore:
    """A folder that fsspec reaches."""

    def __init__(self, url: str, options: dict[str, Any], connection: str) -> None:
        self.url = url
        self._connection = connection
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            # ImportError: the protocol's driver is missing; ValueError: no such protocol. Both say which.
            raise ConfigError(str(error), connection=connection, setting="url") from error

    def setup(self) -> None:
        with _translated(self._connection, self.url):
            self._fs.makedirs(self._root, exist_ok=True)

    def read(self, name: str) -> bytes:
        with _translated(self._connection, name):
            return cast(bytes, self._fs.cat_file(self._at(name)))

    def names(self, folder: str) -> list[str]:
        with _translated(self._connection, folder or self.url):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._at(folder), detail=True)
            except FileNotFoundError:
                return []
            return [item["name"].rpartition("/")[2] for item in found if item["type"] == "file"]

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        with _translated(self._connection, name):
            self._make_parent(name)
            with self._fs.open(self._at(name), "wb") as file:
                yield file

    def create(self, name: str, data: bytes) -> None:
        with _translated(self._connection, name):
            self._make_parent(name)
            # Drivers older than the mode overlook it.
            if self._fs.exists(self._at(name)):
                raise FileExistsError(name)
            try:
                self._fs.pipe_file(self._at(name), data, mode="create")
            except OSError:
                # Each driver has its own error for a name that is taken, and a reply may be lost: the file itself settles it.
                if not self._fs.exists(self._at(name)):
                    raise
            if self._fs.cat_file(self._at(name)) != data:
                raise FileExistsError(name)

    def replace(self, name: str, data: bytes) -> None:
        with _translated(self._connection, name):
            self._make_parent(name)
            self._fs.pipe_file(self._at(name), data)

    def remove(self, name: str) -> None:
        with _translated(self._connection, name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

    def _make_parent(self, name: str) -> None:
        if "/" in name:
            self._fs.makedirs(self._at(name.rpartition("/")[0]), exist_ok=True)


def open_store(url: str, options: str | None, secrets: str | None, connection: str) -> Store:
    """The store of a connection. ConfigError for a URL of an unknown kind, or options that aren't a JSON object."""
    given = storage_options(options, secrets, connection)
    if "://" not in url or url.startswith(("file://", "local://")):
        if given:
            raise ConfigError("a local folder takes no storage options", connection=connection, setting="storage_options")
        return LocalStore(Path(url.partition("://")[2] or url).expanduser(), connection)
    return RemoteStore(url, given, connection)


@contextlib.contextmanager
def _translated(connection: str, what: str) -> Iterator[None]:
    """Our errors for the system's; a file that is missing or exists is the caller's to judge."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
        raise PreflightError(f"{what}: {error.strerror or error}", connection=connection, setting="url") from error
    except OSError as error:
        raise Unavailable(f"{what}: {error.strerror or error}", connection=connection) from error


def _sync_folder(path: Path) -> None:
    """Make the folder's own entries durable: a file that was synced but whose name was lost is lost too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
