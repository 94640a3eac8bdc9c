"""Files on disk: written completely or not at all, and read from one handle.

A `HeldFile` stays the same, whatever takes its name meanwhile: the bytes that are hashed are the bytes that are
read, never those of another file, a link or a pipe."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitops_ml.errors import GitopsMlError, UsageError

_STAGING = ".gitops-ml-"
_ABANDONED_AFTER = 3600.0
_WRITERS = 32
"""Many flushes at once cost little more than one."""


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> tuple[str, ...]:
    """Make the files in ``folder`` equal to ``files``; returns the paths that were written, sorted.

    ``files`` are pairs of a POSIX path inside the folder and the file's content.

    All are written and flushed beside the folder's content before the first is renamed into its
    place, so that a full disk changes nothing and no reader gets half a file.

    Raises:
        UsageError: a path leaves the folder, or cannot be written.
    """
    wanted = _by_path(files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        root = folder.resolve()
        changed = [
            (path, content) for path, content in wanted if not _is_equal(root / path, content)
        ]
        _make_parents(root, [path for path, _ in changed])
        if changed:
            _replace(root, changed)
    except OSError as error:
        place = error.filename2 or error.filename or folder
        raise UsageError(f"{place} cannot be written: {error.strerror}") from error
    return tuple(path for path, _ in changed)


def _by_path(files: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    found: dict[str, bytes] = {}
    for path, content in files:
        if "\0" in path or any(part in {"", ".", ".."} for part in path.split("/")):
            raise UsageError(f"{path!r} is not a path inside the folder")
        if found.setdefault(path, content) != content:
            raise UsageError(f"{path} would be written twice, with different content")
    return sorted(found.items())


def _is_equal(path: Path, content: bytes) -> bool:
    try:
        # A link is not equal to a file, whatever it points at.
        return not path.is_symlink() and path.read_bytes() == content
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False


def _make_parents(root: Path, paths: Iterable[str]) -> None:
    for parent in sorted({(root / path).parent for path in paths}):
        # `resolve` follows existing links and keeps the rest.
        if not parent.resolve().is_relative_to(root):
            raise UsageError(f"{parent} is a link that leaves {root}; nothing was written")
        parent.mkdir(parents=True, exist_ok=True)


def _replace(root: Path, files: list[tuple[str, bytes]]) -> None:
    for folder in root.glob(f"{_STAGING}*"):
        # Of a killed process; a recent folder may belong to a running one.
        if folder.lstat().st_mtime < time.time() - _ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=root))
    try:
        moves = [
            (staging / str(number), root / path, content)
            for number, (path, content) in enumerate(files)
        ]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_WRITERS) as pool:
            for _ in pool.map(lambda move: _write(move[0], move[2], target=move[1]), moves):
                pass
        for temporary, target, _ in moves:
            temporary.replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(temporary: Path, content: bytes, *, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(21, "there is a folder of that name", str(target))
    with temporary.open("xb") as stream:
        if target.is_file() and not target.is_symlink():
            os.fchmod(stream.fileno(), target.stat().st_mode & 0o777)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def write_report(file: Path, text: str) -> None:
    """Write a file that an option names: the whole of it or nothing, and through no link of a checkout.

    In CI the checkout is that of a pull request: a link in it would choose what is overwritten. Devices and
    pipes, such as ``/dev/stdout``, are written to as they are.

    Raises:
        UsageError: the file, or a folder of a Git repository above it, is a link, or cannot be written.
    """
    if link := link_of_a_checkout(file):
        raise UsageError(
            f"{file} is not written, because {link} is a link: remove it, or name another file"
        )
    try:
        if file.exists() and not stat.S_ISREG(file.stat().st_mode):
            file.write_text(text, encoding="utf-8")
        else:
            # A link of the machine, beside any checkout, keeps its place.
            _replace_whole(file.resolve(), text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error


def link_of_a_checkout(file: Path) -> Path | None:
    """The first link on the way to ``file`` that is in a Git repository: a pull request may have made it."""
    path = Path(os.path.abspath(file))  # noqa: PTH100 - `resolve` would follow the link
    for each in reversed((path, *path.parents)):
        if each.is_symlink() and any(os.path.lexists(above / ".git") for above in each.parents):
            return each
    return None


def _replace_whole(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".new-{os.urandom(8).hex()}")
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else None
    try:
        with temporary.open("xb") as out:
            if mode is not None:
                os.fchmod(out.fileno(), mode)
            out.write(content)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def written(target: Path) -> Iterator[Any]:
    """A new file that takes ``target``'s name when all of it is on disk, and leaves nothing else.

    Raises:
        GitopsMlError: the disk is full, or the folder cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    except OSError as error:
        raise GitopsMlError(f"{target.parent} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
        Path(name).replace(target)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, ConnectionError):
            raise
        raise GitopsMlError(
            f"{target} cannot be written: {error.strerror or error}; to move the cache, "
            "set GITOPS_ML_CACHE"
        ) from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


_PIECE = 1 << 20
_OTHER_FILES = 256


class HeldFile:
    """An open regular file, no link, closed when it is garbage-collected; threads may share it."""

    def __init__(self, path: Path, *, may_be_link: bool = False) -> None:
        follow = 0 if may_be_link else os.O_NOFOLLOW
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | follow)
        weakref.finalize(self, os.close, self._handle)
        self._facts = os.fstat(self._handle)
        if not stat.S_ISREG(self._facts.st_mode):
            raise OSError(22, "it is not a regular file", str(path))

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size(self) -> int:
        """Its bytes when it was opened."""
        return self._facts.st_size

    @property
    def is_executable(self) -> bool:
        return bool(self._facts.st_mode & 0o100)

    @property
    def is_private(self) -> bool:
        """Whether only this user may read or write it."""
        return self._facts.st_uid == os.geteuid() and not self._facts.st_mode & 0o077

    def made_private(self) -> bool:
        """Whether this user owns it; if so, remove the rights of all others."""
        if self._facts.st_uid == os.geteuid() and not self.is_private:
            os.fchmod(self._handle, self._facts.st_mode & 0o700)
        return self._facts.st_uid == os.geteuid()

    def read(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset`` on; none only at the end."""
        return os.pread(self._handle, size, offset)

    def pieces(
        self, offset: int = 0, size: int | None = None, *, piece: int = _PIECE
    ) -> Iterator[bytes]:
        """The bytes of a stretch, or of all that follows ``offset``."""
        left = self.size - offset if size is None else size
        while left > 0 and (found := self.read(offset, min(left, piece))):
            offset, left = offset + len(found), left - len(found)
            yield found

    def sha256(self) -> str:
        """Hex, of all its bytes."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def opened(self) -> io.BufferedReader:
        """A file object with its own position."""
        return io.BufferedReader(_Reader(self))


def read_whole(path: Path, *, limit: int) -> bytes:
    """The bytes of a regular file that is not a link, and has at most ``limit`` bytes."""
    file = HeldFile(path)
    if file.size > limit:
        raise OSError(27, f"it has more than {limit} bytes", str(path))
    return b"".join(file.pieces())


class _Reader(io.RawIOBase):
    def __init__(self, file: HeldFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._file.read(self._at, len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def allow_open_files(count: int) -> None:
    """Raise the limit of open files by ``count``, as far as the system allows."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
