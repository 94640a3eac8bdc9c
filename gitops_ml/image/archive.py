"""Write build inputs as a tar stream that depends on nothing else."""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
from typing import TYPE_CHECKING

from gitops_ml.errors import GitopsMlError
from gitops_ml.system.project_files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gitops_ml.image.inputs import BuildInput

_TIME = 315532800
"""1980-01-01, the first day in the format of zip files."""
_BUFFER = 1 << 18


def tar_stream(inputs: Iterable[BuildInput]) -> Iterator[bytes]:
    """The pieces of a tar archive of ``inputs`` and their directories, in constant memory.

    Raises:
        GitopsMlError: a file has another fingerprint than its entry, or vanished.
    """
    directories: set[str] = set()
    for entry in inputs:
        for parent in _parents(entry.path):
            if parent not in directories:
                directories.add(parent)
                yield _header(parent, 0o755, kind=tarfile.DIRTYPE)
        yield from _pieces(entry)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _pieces(entry: BuildInput) -> Iterator[bytes]:
    source = entry.source
    if isinstance(source, str):
        yield _header(entry.path, entry.mode, kind=tarfile.SYMTYPE, target=source)
    elif isinstance(source, bytes):
        yield _header(entry.path, entry.mode, size=len(source))
        yield source + _padding(len(source))
    else:
        yield from _file_pieces(entry, source)


def _file_pieces(entry: BuildInput, source: Path) -> Iterator[bytes]:
    digest = hashlib.sha256()
    left = 0
    try:
        with open_file(source) as file:
            left = size = os.fstat(file.fileno()).st_size
            yield _header(entry.path, entry.mode, size=size)
            while left and (piece := file.read(min(left, _BUFFER))):
                left -= len(piece)
                digest.update(piece)
                yield piece
            has_grown = bool(file.read(1))
    except OSError as error:
        raise GitopsMlError(f"{source} can no longer be read ({error.strerror})") from error
    if left or has_grown or entry.fingerprint not in (None, digest.hexdigest()):
        raise GitopsMlError(f"{source} changed while the image was being built: run it again")
    yield _padding(size)


def _header(
    path: str, mode: int, *, kind: bytes = tarfile.REGTYPE, size: int = 0, target: str = ""
) -> bytes:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.size, member.linkname = kind, mode, size, target
    member.mtime = _TIME
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _parents(path: str) -> Iterator[str]:
    if parent := posixpath.dirname(path):
        yield from _parents(parent)
        yield parent
