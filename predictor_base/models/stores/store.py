"""What a store of models can do, and the choice of a store by location.

A location is a folder or a file: a local path, `file://`, `s3://bucket/key`, `gs://bucket/name`,
`hf://organisation/repository@revision/folder` or `https://host/file#sha256=…`.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Literal, cast
from urllib.parse import unquote, urlsplit

from predictor_base.errors import StartFailure, StoreError

Algorithm = Literal["sha256", "md5", "multipart-md5", "git-sha1", "crc32c"]


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: Algorithm
    digest: str
    """Hexadecimal; a multipart digest ends in -N, the number of its parts."""
    part_size: int | None = None
    """The size of each part but the last, for a multipart digest."""

    @classmethod
    def from_base64(cls, algorithm: Algorithm, digest: str) -> Checksum:
        """The checksum as HTTP headers and Google's API write it."""
        return cls(algorithm, base64.b64decode(digest).hex())


@dataclass(frozen=True, slots=True)
class StoredFile:
    path: str
    """Relative to the location, with slashes; empty when the location itself is a file."""
    size: int | None
    tag: str
    """Changes whenever the bytes change: an ETag, a generation, a blob id, or time and size."""
    checksum: Checksum | None = None
    """The checksum of the bytes, where the listing contains it."""


@dataclass(frozen=True, slots=True)
class Body:
    offset: int
    """The offset of the first chunk; 0 where the store cannot continue downloads."""
    chunks: Iterator[bytes]
    checksum: Checksum | None = None
    """The checksum of the whole file, where only the response contains it."""


class Store(ABC):
    """The files of one location."""

    def __init__(self, location: str) -> None:
        self.location = location

    @abstractmethod
    def list_files(self) -> tuple[StoredFile, ...]:
        """Every file below the location, by path; a location that is a file has an empty one."""

    @abstractmethod
    def read(self, file: StoredFile, offset: int) -> AbstractContextManager[Body]:
        """The file's bytes from this offset on, if it is still the one that was listed."""

    def local_path(self, path: str) -> Path | None:
        """The local path of this file or folder; None where it must be fetched."""
        return None

    def location_of(self, file: StoredFile) -> str:
        return f"{self.location}/{file.path}".rstrip("/")


class RemoteStore(Store):
    """The files of a location on a server, which is never empty."""

    def __init__(self, location: str, folder: str = "") -> None:
        super().__init__(location)
        self.folder = folder
        """The name of the location in its bucket or repository: of a folder, or of a file."""

    def list_files(self) -> tuple[StoredFile, ...]:
        found = tuple(self._files())
        if not found:
            raise StoreError(f"{self.location}: nothing is stored there")
        return found

    @abstractmethod
    def _files(self) -> Iterable[StoredFile]: ...

    def name_of(self, file: StoredFile) -> str:
        """The name of the file in its bucket or repository."""
        return "/".join(part for part in (self.folder, file.path) if part)

    def path_of(self, name: str) -> str | None:
        """The path of the object below the folder; None for one that is no file.

        Object names are free text, file names are not: one that would be outside is refused.
        """
        path = name.removeprefix(f"{self.folder}/" if self.folder else "")
        if not path or path.endswith("/"):
            return None
        parts = PurePosixPath(path).parts
        if path.startswith("/") or "\\" in path or "\0" in path or ".." in parts:
            raise StoreError(
                f"{self.location}: {path!r} is not a valid name for a file below a folder"
            )
        return path


_STORES = {
    "file": "local_files.LocalFiles",
    "s3": "s3.S3Store",
    "gs": "gcs.GoogleStore",
    "hf": "hub.HubStore",
    "https": "web.WebFile",
    "http": "web.WebFile",
}


def open_store(location: str) -> Store:
    """The store of this location; does not connect to it yet."""
    before, found, rest = location.partition("://")
    scheme = before.lower() if found else "file"
    if scheme not in _STORES:
        known = ", ".join(f"{each}://" for each in sorted(_STORES))
        raise StartFailure(f"{location}: models can be local folders or {known}, not {scheme}://")
    module, _, name = _STORES[scheme].partition(".")
    kind = getattr(import_module(f".{module}", __package__), name)
    return cast("Store", kind(f"{scheme}://{rest}" if found else location))


def name_on_disk(location: str) -> str:
    """The file name on disk of a location that is one file: loaders look at the suffix."""
    if location.startswith(("http://", "https://")):
        location = unquote(urlsplit(location).path)
    return PurePosixPath(location).name or "model"
