"""Files that a person names: where relative paths start, and regular files of limited size.

A pipe that the shell gave to this process is one as well, as in ``--log <(zcat predictions.gz)``. What is wrong
with a file is a `UsageError` that says what to do.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BufferedIOBase, BufferedReader
from pathlib import Path

from gitops_ml.errors import UsageError
from gitops_ml.system.project_files import CannotRead, open_file, read_file

LARGEST_DATA = 512 << 20
"""Bytes of a request, or of a record of requests."""
LARGEST_SETTINGS = 16 << 20
"""Bytes of the configuration of a program."""
LONGEST_LINE = 16 << 20
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})|/dev/stdin")


def read_named(file: Path, *, limit: int = LARGEST_DATA) -> bytes:
    """The bytes of a file.

    Raises:
        UsageError: it does not exist, is not a regular file, cannot be read, or has more bytes.
    """
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
    """The lines of a file of any length, which gzip may have packed.

    Raises:
        UsageError: see `read_named`; or a line has more than `LONGEST_LINE` bytes; or it is UTF-16.
    """
    try:
        with _pipe(file) or open_file(file) as opened, _unpacked(opened) as stream:
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


def _unpacked(opened: BufferedReader) -> BufferedIOBase:
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
