"""The interface of stores, and the choice of a store by location.

A location is a folder or a file: a local path, `file://`, `s3://bucket/key`, `gs://bucket/name`,
`hf://organisation/repository@revision/folder` or `https://host/file#sha256=…`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import unquote, urlsplit

from predictor_base.errors import StartFailure, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from predictor_base.models.stores.checksums import Checksum


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


class Store(Protocol):
    location: str

    def list_files(self) -> tuple[StoredFile, ...]:
        """Every file below the location, by path; a location that is a file has an empty one."""
        ...

    def read(self, file: StoredFile, offset: int) -> AbstractContextManager[Body]:
        """The file's bytes from this offset on, if it is still the one that was listed."""
        ...

    def local_path(self, path: str) -> Path | None:
        """The local path of this file or folder; None where it must be fetched."""
        ...


_MODULES = {
    "file": "local_files",
    "s3": "s3",
    "gs": "gcs",
    "hf": "hub",
    "https": "web",
    "http": "web",
}


def open_store(location: str) -> Store:
    """The store of this location; does not connect to it yet."""
    scheme = location.split("://", 1)[0].lower() if "://" in location else "file"
    if scheme not in _MODULES:
        known = ", ".join(f"{each}://" for each in sorted(_MODULES))
        raise StartFailure(f"{location}: models can be local folders or {known}, not {scheme}://")
    module = import_module(f".{_MODULES[scheme]}", __package__)
    return cast("Callable[[str], Store]", module.open_location)(location)


def checked_path(path: str, *, location: str) -> str:
    """The path, if it stays below its location: object names are free text, file names are not."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or "\\" in path or "\0" in path or ".." in parts:
        raise StoreError(f"{location}: {path!r} is not a valid name for a file below a folder")
    return path


def name_on_disk(location: str) -> str:
    """The file name on disk of a location that is one file: loaders look at the suffix."""
    if location.startswith(("http://", "https://")):
        location = unquote(urlsplit(location).path)
    return PurePosixPath(location).name or "model"
