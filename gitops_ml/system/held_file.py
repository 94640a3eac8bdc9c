"""An open file that stays the same, whatever takes its name meanwhile.

The bytes that are hashed are the bytes that are read: never another file, a link or a pipe.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PIECE = 1 << 20
_OTHER_FILES = 256


class HeldFile:
    """An open regular file, closed when it is garbage-collected; threads may share it."""

    def __init__(self, path: Path, *, may_be_link: bool = False) -> None:
        """Open ``path``.

        Raises:
            OSError: there is no such file, it cannot be read, or it is a link or not a regular file.
        """
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

    def made_private(self) -> bool:
        """Whether this user owns it; if so, remove the rights of all others."""
        if self._facts.st_uid != os.geteuid():
            return False
        if self._facts.st_mode & 0o077:
            os.fchmod(self._handle, self._facts.st_mode & 0o700)
        return True

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
    """The bytes of a regular file that is not a link.

    Raises:
        OSError: there is no such file, or it has more than ``limit`` bytes.
    """
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
