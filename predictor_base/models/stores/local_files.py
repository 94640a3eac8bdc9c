"""Models in a local folder, in the image or mounted; they are read in place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predictor_base.errors import StoreError
from predictor_base.models.stores.store import Body, Store, StoredFile


class LocalFiles(Store):
    def __init__(self, location: str) -> None:
        super().__init__(location)
        # relative to the project, which is the working directory
        self._root = Path(location.removeprefix("file://"))

    def list_files(self) -> tuple[StoredFile, ...]:
        if self._root.is_file():
            return (_stored(self._root, ""),)
        if not self._root.is_dir():
            raise StoreError(f"{self.location}: no such folder or file ({self._root.absolute()})")
        return tuple(sorted(self._walk(), key=lambda file: file.path))

    def _walk(self) -> Iterator[StoredFile]:
        # Kubernetes mounts a ConfigMap or image volume through links that start with two dots, and
        # swaps them to update it: links are followed, hidden names are not models.
        seen: set[str] = set()
        for folder, folders, names in os.walk(self._root, followlinks=True):
            real = os.path.realpath(folder)
            folders[:] = [] if real in seen else [each for each in folders if each[0] != "."]
            seen.add(real)
            for name in names:
                path = Path(folder, name)
                if name[0] != "." and path.is_file():
                    yield _stored(path, path.relative_to(self._root).as_posix())

    @contextmanager
    def read(self, file: StoredFile, offset: int) -> Iterator[Body]:
        with (self._root / file.path).open("rb") as stream:
            stream.seek(offset)
            yield Body(offset, iter(lambda: stream.read(1 << 20), b""))

    def local_path(self, path: str) -> Path | None:
        return self._root / path if path else self._root


def _stored(path: Path, name: str) -> StoredFile:
    found = path.stat()
    return StoredFile(name, found.st_size, f"{found.st_mtime_ns}-{found.st_ino}")
