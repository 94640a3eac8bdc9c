"""Open files of a project, and files that a person names: regular ones, of limited size.

A file of a pull request may be anything: a link to ``/proc/self/environ``, a named pipe that never
ends, a device without a size. So a file is opened without waiting, and the open file is checked, not
the path. A file that is missing is a `FileNotFoundError`, every other reason a `CannotRead`.
Pointers of Git LFS and git-annex stand for a large file that is elsewhere.

A person may also name a pipe that the shell gave to this process, as in ``--log <(zcat predictions.gz)``. What is
wrong with a named file is a `UsageError` that says what to do."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import BufferedIOBase, BufferedReader
from pathlib import Path

from gitops_ml.errors import UsageError

LONGEST = 32 << 10
"""Bytes of a pointer of git-annex; one of Git LFS has fewer than 1024."""
HEAD = 64
"""Bytes at the beginning of a file that show what it is."""
_LFS = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/")
_ANNEX = b"/annex/objects/"
_ANNEX_LINK = re.compile(r"(?:^|/)\.git/annex/objects/")


def pointer_fault(head: bytes) -> str | None:
    """What is wrong with a file that begins with ``head``, and what to do, if it is a pointer.

    >>> pointer_fault(b"version https://git-lfs.github.com/spec/v1\\noid sha256:0a1b2c"[:HEAD])
    'is a pointer of Git LFS, not the file that it stands for: run `git lfs pull`'
    >>> pointer_fault(b"version 1\\n")
    """
    if _LFS.match(head):
        return _fault("Git LFS", "git lfs pull")
    return _fault("git-annex", "git annex get") if head.startswith(_ANNEX) else None


def fault_of_file(path: Path) -> str | None:
    """The same for a regular file."""
    if path.stat().st_size > LONGEST:
        return None
    with path.open("rb") as file:
        return pointer_fault(file.read(HEAD))


def link_fault(target: str) -> str | None:
    """The same for the target of a link: git-annex links to a folder of Git, which no image has."""
    if _ANNEX_LINK.search(target):
        return _fault("git-annex", "git annex get` and `git annex unlock")
    return None


def _fault(program: str, command: str) -> str:
    return f"is a pointer of {program}, not the file that it stands for: run `{command}`"


LARGEST_TEXT = 1 << 20
"""Bytes of a requirements file, a script or a list of packages."""
LARGEST_IGNORE_FILE = 1 << 17
LARGEST_LOCK = 4 << 20
_BUFFER = 1 << 20

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class CannotRead(OSError):
    """A file that is not read; the text states the reason and the remedy."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
        self.strerror = reason


def read_file(file: Path, *, limit: int, inside: Sequence[Path] = ()) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes, which is in one of the folders ``inside``.

    Links are followed as long as they stay there; without ``inside`` they may lead anywhere.
    """
    with open_file(file, inside=inside) as opened:
        size = os.fstat(opened.fileno()).st_size
        # a file of /proc has no size, and one may grow
        content = opened.read(limit + 1) if size <= limit else b""
    if size > limit or len(content) > limit:
        size = max(size, len(content))
        raise CannotRead(f"has {size:,} bytes; at most {limit:,} are read: make it smaller")
    return content


def read_text(file: Path, *, limit: int, inside: Sequence[Path] = ()) -> str:
    """The same as text in UTF-8."""
    try:
        return read_file(file, limit=limit, inside=inside).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CannotRead(f"cannot be read as UTF-8 text ({error})") from error


def file_fingerprint(path: Path) -> str:
    """The sha256 hex of a regular file's bytes, in constant memory."""
    return fingerprint_and_fault(path)[0]


def fingerprint_and_fault(path: Path, *, inside: Sequence[Path] = ()) -> tuple[str, str | None]:
    """The same, and `pointer_fault` of a file that is a pointer; see `read_file` for ``inside``."""
    digest = hashlib.sha256()
    fault = None
    with open_file(path, inside=inside) as file:
        length = os.fstat(file.fileno()).st_size
        # small files are many: do not clear a megabyte for each
        view = memoryview(bytearray(min(_BUFFER, length + 1)))
        while size := file.readinto(view):
            digest.update(view[:size])
            if length <= LONGEST:
                fault = fault or pointer_fault(bytes(view[: min(size, HEAD)]))
    return digest.hexdigest(), fault


def open_file(file: Path, *, inside: Sequence[Path] = ()) -> BufferedReader:
    """A regular file, opened; see `read_file`."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        # to open a device may do something: ask what it is first
        _refuse_irregular(file.stat().st_mode)
        handle = os.open(file, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, error.strerror, os.fspath(file)) from error
    except CannotRead:
        raise
    except ValueError as error:
        raise CannotRead("has a NUL byte in its name: rename it") from error
    except OSError as error:
        raise CannotRead(f"cannot be read ({error.strerror}): make it readable") from error
    try:
        _refuse_irregular(os.fstat(handle).st_mode)
        if inside and not _is_below(_place(handle, file), inside):
            raise CannotRead("is a link that leaves the project: copy the file into the project")
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def is_inside(path: str | Path, folders: Sequence[Path]) -> bool:
    """Whether ``path`` is in one of the folders, links resolved."""
    return _is_below(os.path.realpath(path), folders)


def is_file(path: Path) -> bool:
    """Whether it is a regular file; false for a path that no disk can have."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _is_below(real: str, folders: Sequence[Path]) -> bool:
    # a folder whose path begins a real path has no link on its way: it needs no look at the disk
    names = [os.fspath(folder) for folder in folders]
    return _begins(real, names) or _begins(real, map(os.path.realpath, names))


def _begins(path: str, folders: Iterable[str]) -> bool:
    return any(f"{path}{os.sep}".startswith(os.path.join(each, "")) for each in folders)  # noqa: PTH118


def _refuse_irregular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise CannotRead(f"this is not a regular file, but {kind}: put the file itself here")


def _place(handle: int, file: Path) -> str:
    """The path of an open file; on systems without /proc, the resolved path."""
    try:
        return os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115 - as the kernel reports it
    except OSError:
        return os.path.realpath(file)


LARGEST_DATA = 512 << 20
"""Bytes of a request, or of a record of requests."""
LARGEST_SETTINGS = 16 << 20
"""Bytes of the configuration of a program."""
LONGEST_LINE = 16 << 20
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})|/dev/stdin")


def read_named(file: Path, *, limit: int = LARGEST_DATA) -> bytes:
    """The bytes of a file."""
    try:
        if (pipe := _pipe(file)) is None:
            return read_file(file, limit=limit)
        with pipe:
            content = pipe.read(limit + 1)
    except OSError as failure:
        raise _unread(file, failure) from failure
    if len(content) > limit:
        raise UsageError(f"{file} gives more than {limit:,} bytes: make it smaller")
    return content


def read_lines(file: Path) -> Iterator[bytes]:
    """The lines of a file of any length, which gzip may have packed; none may have more than `LONGEST_LINE` bytes."""
    try:
        with _pipe(file) or open_file(file) as opened, _plain_stream(opened) as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise UsageError(
                        f"{file} cannot be read: its line {number} has more than {LONGEST_LINE:,} bytes; is it "
                        "the right file?"
                    )
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise UsageError(
            f"{file} cannot be read: it is packed by gzip, and {failure}; is it complete?"
        ) from failure
    except OSError as failure:
        raise _unread(file, failure) from failure


def _plain_stream(opened: BufferedReader) -> BufferedIOBase:
    head = opened.peek(2)[:2]
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise CannotRead("it is UTF-16: write it as UTF-8")
    return gzip.open(opened) if head == b"\x1f\x8b" else opened


def _pipe(file: Path) -> BufferedReader | None:
    """The pipe that a path names by the number of a descriptor of this process."""
    named = _DESCRIPTOR.fullmatch(os.fspath(file))
    if named is None:
        return None
    handle = os.dup(int(named[1] or 0))
    if stat.S_ISFIFO(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    return None


def _unread(file: Path, failure: OSError) -> UsageError:
    if isinstance(failure, FileNotFoundError):
        return UsageError(f"{file} does not exist")
    reason = failure.reason if isinstance(failure, CannotRead) else failure.strerror
    return UsageError(f"{file} cannot be read: {reason}")


_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


def current_folder() -> Path:
    """The folder of the innermost `standing_in`, or that of the process."""
    return _FOLDER.get() or Path.cwd()


@contextmanager
def standing_in(folder: Path) -> Iterator[None]:
    """Read paths as if ``folder`` were the current folder; the process stays where it is."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)
