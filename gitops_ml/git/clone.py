"""A bare clone in the cache: one process changes it at a time, and a damaged one is replaced.

Git trusts its own clone: it does not hash objects that it reads, and the configuration names
programs. So a clone has the user's `Seal` and is named by it. A clone that a job with another key
left in a cache of CI is not read, and is removed after an hour.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from gitops_ml.errors import RepositoryMoved
from gitops_ml.git.environment import TIMEOUT
from gitops_ml.git.program import GitProgram
from gitops_ml.system.cache import Seal, folder_in
from gitops_ml.system.files import read_whole
from gitops_ml.system.progress import Progress

_SEAL = "gitops-ml-seal"
_LARGEST = 1 << 20
_ABANDONED_SECONDS = 60 * 60
_PACKS_BEFORE_TIDYING = 50
_LOOSE_BEFORE_TIDYING = 20
"""Loose objects in one of 256 folders, as `git gc --auto` estimates: about 5,000 in all."""


class Clone:
    """The clone in ``folder``; all methods except ``hold`` need the lock."""

    def __init__(self, folder: Path, git: GitProgram, *, seal: Seal, progress: Progress) -> None:
        self.folder = folder
        self._git = git
        self._seal = seal
        self._progress = progress
        self._object_format = "sha1"

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock of the clone. The kernel releases it when this process dies.

        It is held for a few conversations with the server at most, each of which has a deadline.

        Raises:
            RepositoryMoved: another process still holds it after twice such a deadline.
        """
        folder_in(self.folder.parent.parent, self.folder.parent.name)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(f"{self.folder}.lock", flags, 0o600)
        try:
            self._wait_for(lock)
            self._sweep()
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        patience = 2 * self._git.seconds
        deadline = time.monotonic() + patience
        pause = 0.01
        while not _is_taken(lock):
            if time.monotonic() > deadline:
                raise RepositoryMoved(
                    f"waited {patience:g} seconds for {_holder(lock)}, which works on the same "
                    "repository: do this again when it has ended, or end it if it hangs "
                    f"({TIMEOUT} says how long a server may take)"
                )
            if pause == 0.01:
                self._progress(f"waiting for {_holder(lock)}, which works on the same repository")
            time.sleep(pause)
            pause = min(0.1, pause * 1.5)
        _sign(lock)

    def _sweep(self) -> None:
        """Remove what a killed process left behind: incomplete clones and git's own lock files."""
        for stale in self.folder.parent.glob(f"{self.folder.name}.*-*"):
            shutil.rmtree(stale, ignore_errors=True)
        for stale in self._of_others():
            shutil.rmtree(stale, ignore_errors=True)
        if self.folder.is_dir():
            for place in (
                self.folder.glob("*.lock"),
                (self.folder / "refs").rglob("*.lock"),
                # of a disk that was full
                self.folder.glob("fast_import_crash_*"),
                (self.folder / "objects" / "pack").glob("tmp_*"),
            ):
                for stale in place:
                    stale.unlink(missing_ok=True)

    def _of_others(self) -> Iterator[Path]:
        """Clones of the same repository under other keys that were not used for a while."""
        name = self.folder.name.rpartition("-")[0]
        other = re.compile(rf"{re.escape(name)}(-[0-9a-f]{{8}})?")
        for path in self.folder.parent.iterdir():
            if path == self.folder or not other.fullmatch(path.name):
                continue
            with contextlib.suppress(FileNotFoundError):  # another process may remove it, too
                if path.lstat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    yield path

    def ensure(self) -> None:
        """Make an empty clone, where there is none."""
        if (self.folder / "HEAD").is_file():
            if self._is_own():
                os.utime(self.folder)
                return
            self._progress("the clone in the cache was not made by this user; it is removed")
            self._remove()
        self._progress("making a clone of the GitOps repository in the cache")
        # Renamed into place when it is complete, so that an incomplete one is never used.
        new = self._beside("new")
        new.mkdir(mode=0o700)
        self._git.make(new, self._object_format).required()
        (new / _SEAL).write_text(self._seal.mark(*self._sealed(new)))
        self._remove()
        new.rename(self.folder)

    def _is_own(self) -> bool:
        if self.folder.is_symlink():
            return False
        try:
            mark = read_whole(self.folder / _SEAL, limit=_LARGEST).decode()
            return self._seal.is_on(mark, *self._sealed(self.folder))
        except (OSError, UnicodeDecodeError):
            return False

    def _sealed(self, folder: Path) -> tuple[str | bytes, ...]:
        return "clone", self.folder.name, read_whole(folder / "config", limit=_LARGEST)

    def renew(self, *, object_format: str | None = None) -> None:
        """Remove the clone and make an empty one, with object ids of another kind if one is named."""
        if object_format is None:
            self._progress("the clone in the cache is damaged; it is made again")
        self._object_format = object_format or self._object_format
        self._remove()
        self.ensure()

    def tidy(self) -> None:
        """Pack the objects of many small commits."""
        packs = _count(self.folder / "objects" / "pack", suffix=".pack")
        loose = _count(self.folder / "objects" / "17")
        if packs > _PACKS_BEFORE_TIDYING or loose > _LOOSE_BEFORE_TIDYING:
            self._progress("packing the clone in the cache")
            self._git.local("gc", "--quiet")

    def index(self, head: str) -> None:
        """Write a commit graph with paths: the log of one path takes a tenth of the time then."""
        mark = self.folder / "gitops-ml-indexed"
        try:
            if mark.read_text() == head:
                return
        except FileNotFoundError:
            self._progress("indexing which commits change which releases")
        self._git.local("commit-graph", "write", "--reachable", "--changed-paths", "--split")
        mark.write_text(head)

    def _remove(self) -> None:
        if self.folder.is_dir() and not self.folder.is_symlink():
            old = self.folder.rename(self._beside("old"))
            shutil.rmtree(old, ignore_errors=True)
        else:
            self.folder.unlink(missing_ok=True)

    def _beside(self, label: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{label}-{secrets.token_hex(4)}")


def _is_taken(lock: int) -> bool:
    """Whether this process has the lock now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(lock: int) -> None:
    """Write into the lock file which process holds it, for processes that wait."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = {"pid": os.getpid(), "host": platform.node(), "since": now}
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(facts).encode(), 0)


def _holder(lock: int) -> str:
    """The process that holds the lock, for messages."""
    try:
        facts = json.loads(os.pread(lock, 1000, 0))
        pid, host, since = int(facts["pid"]), str(facts["host"]), str(facts["since"])
    except (ValueError, KeyError, TypeError):  # it has not signed yet
        return "another gitops-ml"
    return f"another gitops-ml (process {pid} on {host}, since {since})"


def _count(folder: Path, suffix: str = "") -> int:
    try:
        return sum(path.name.endswith(suffix) for path in folder.iterdir())
    except FileNotFoundError:
        return 0
