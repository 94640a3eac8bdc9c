"""Files that a person names: regular ones of limited size, or a `UsageError` that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gitops_ml.errors import UsageError
from gitops_ml.system.project_files import CannotRead, open_file, read_file

LARGEST_DATA = 512 << 20
"""Bytes of a request, or of a record of requests."""
LARGEST_SETTINGS = 16 << 20
"""Bytes of the configuration of a program."""
LONGEST_LINE = 16 << 20


def read_named(file: Path, *, limit: int = LARGEST_DATA) -> bytes:
    """The bytes of a file.

    Raises:
        UsageError: it does not exist, is not a regular file, cannot be read, or has more bytes.
    """
    try:
        return read_file(file, limit=limit)
    except OSError as failure:
        raise _unread(file, failure) from failure


def read_lines(file: Path) -> Iterator[bytes]:
    """The lines of a file of any length.

    Raises:
        UsageError: see `read_named`; or a line has more than `LONGEST_LINE` bytes.
    """
    try:
        with open_file(file) as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise UsageError(
                        f"{file} cannot be read: its line {number} has more than {LONGEST_LINE:,} bytes; is it "
                        "the right file?"
                    )
                yield line
    except OSError as failure:
        raise _unread(file, failure) from failure


def _unread(file: Path, failure: OSError) -> UsageError:
    if isinstance(failure, FileNotFoundError):
        return UsageError(f"{file} does not exist")
    reason = failure.reason if isinstance(failure, CannotRead) else failure.strerror
    return UsageError(f"{file} cannot be read: {reason}")
