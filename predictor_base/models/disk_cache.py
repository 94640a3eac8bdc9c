"""The model versions on disk: fetched once for all processes, removed when the cache is full.

A version is in a folder named by its fingerprint, so a folder that exists is complete and never
changes. Beside it is a lock file: locked shared while a process loads from the folder, exclusively
while a process fills or removes it. Its modification time is the last use of the version.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from predictor_base.errors import StoreError
from predictor_base.models.stores.download import Count, fetch_files
from predictor_base.models.stores.store import name_on_disk
from predictor_base.models.versions import SINGLE_MODEL, ModelVersion


def default_root() -> Path:
    """This user's folder in the temporary directory, which is writable even in a read-only image."""
    return Path(tempfile.gettempdir()) / f"predictor-models-{os.getuid()}"


class DiskCache:
    def __init__(self, root: Path, *, size: int | None, count: Count = lambda _: None) -> None:
        self._root = root
        self._size = size
        self._count = count
        self._stop = Event()

    @contextmanager
    def borrow(self, version: ModelVersion) -> Iterator[Path]:
        """The path of the version's files, locked against removal inside the `with` block."""
        local = version.store.local_path(version.root)
        if local is not None:
            yield local
            return
        self._prepare_root()
        folder = self._root / version.fingerprint[:32]
        while True:
            with self._lock(version.fingerprint, fcntl.LOCK_SH) as lock:
                if folder.exists():
                    os.utime(lock)
                    yield _inside(folder, version)
                    return
            with self._lock(version.fingerprint, fcntl.LOCK_EX):
                if not folder.exists():
                    self._fill(folder, version)

    def trim(self, *, keep: Collection[str]) -> None:
        """Remove the least recently used versions over the size, but none with these fingerprints."""
        if self._size is None or not self._root.exists():
            return
        kept = {fingerprint[:32] for fingerprint in keep}
        oldest_first = sorted(self._folders(), key=lambda each: _lock_file(each).stat().st_mtime)
        excess = len(oldest_first) - self._size
        for folder in [each for each in oldest_first if each.name not in kept][: max(0, excess)]:
            self.discard(folder.name)

    def discard(self, fingerprint: str) -> None:
        """Remove this version, unless a process loads it."""
        folder = self._root / fingerprint[:32]
        if not folder.exists() and not _partial(folder).exists():
            return
        with suppress(BlockingIOError), self._lock(fingerprint, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for each in (folder, _partial(folder)):
                if each.exists():
                    # under its own name it is complete or absent, even if the process is killed here
                    gone = each.with_suffix(".gone")
                    shutil.rmtree(gone, ignore_errors=True)
                    shutil.rmtree(each.rename(gone))

    def close(self) -> None:
        """Stop running downloads; the next start continues them."""
        self._stop.set()

    def _folders(self) -> list[Path]:
        return [each for each in self._root.iterdir() if each.is_dir() and not each.suffix]

    def _fill(self, folder: Path, version: ModelVersion) -> None:
        partial = _partial(folder)
        inside = _inside(partial, version)
        fetch_files(
            version.store,
            version.files,
            into=inside if _is_folder(version) else inside.parent,
            below=version.root,
            stop=self._stop,
            count=self._count,
        )
        partial.rename(folder)

    def _prepare_root(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = self._root.lstat()
        # a link may belong to another user, whatever its target: any user can create one in /tmp
        if stat.S_ISLNK(facts.st_mode) or facts.st_uid != os.getuid():
            raise StoreError(f"{self._root}: belongs to another user; models are not stored there")
        if facts.st_mode & 0o022:
            self._root.chmod(facts.st_mode & 0o7755)

    @contextmanager
    def _lock(self, fingerprint: str, how: int) -> Iterator[int]:
        file = os.open(_lock_file(self._root / fingerprint[:32]), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, how)
            yield file
        finally:
            os.close(file)


def _is_folder(version: ModelVersion) -> bool:
    return any(file.path for file in version.files)


def _inside(folder: Path, version: ModelVersion) -> Path:
    """The path that the loader gets: it ends in model/version, or in the file's name."""
    name = "model" if version.model == SINGLE_MODEL else version.model
    path = folder / name / str(version.number)
    return path if _is_folder(version) else path / name_on_disk(version.store.location)


def _partial(folder: Path) -> Path:
    return folder.with_suffix(".partial")


def _lock_file(folder: Path) -> Path:
    return folder.with_suffix(".lock")
