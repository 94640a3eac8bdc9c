"""Rendered files written into a folder: each whole or not at all, equal ones left alone."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_ml.core.changes import RenderedFile

_STAGING = ".gitops-ml-"
_ABANDONED_AFTER = 3600.0
_WRITERS = 32
"""Waiting for the disk is shared: many flushes at once cost little more than one."""


def write_files(folder: Path, files: Iterable[RenderedFile]) -> tuple[str, ...]:
    """Make the files in ``folder`` equal to ``files``; returns the paths that were written, sorted.

    All are written and flushed beside the folder's content before the first is renamed into its
    place, so that a full disk changes nothing and nobody ever reads half a file.

    Raises:
        UsageError: a path leads out of the folder, or it cannot be written; names it.
    """
    wanted = _by_path(files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        root = folder.resolve()
        changed = [file for file in wanted if not _is_equal(root / file.path, file.content)]
        _make_parents(root, changed)
        if changed:
            _replace(root, changed)
    except OSError as error:
        place = error.filename2 or error.filename or folder
        raise UsageError(f"{place} cannot be written: {error.strerror}") from error
    return tuple(file.path for file in changed)


def _by_path(files: Iterable[RenderedFile]) -> tuple[RenderedFile, ...]:
    found: dict[str, RenderedFile] = {}
    for file in files:
        parts = file.path.split("/")
        if "\0" in file.path or any(part in {"", ".", ".."} for part in parts):
            raise UsageError(f"{file.path!r} is no path inside the folder")
        if found.setdefault(file.path, file).content != file.content:
            raise UsageError(f"{file.path} is to be written twice, with different content")
    return tuple(sorted(found.values()))


def _is_equal(path: Path, content: bytes) -> bool:
    try:
        # A link is not what was asked for, whatever it points at.
        return not path.is_symlink() and path.read_bytes() == content
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False


def _make_parents(root: Path, files: Iterable[RenderedFile]) -> None:
    for parent in sorted({(root / file.path).parent for file in files}):
        _refuse_outside(root, parent)
        parent.mkdir(parents=True, exist_ok=True)


def _refuse_outside(root: Path, folder: Path) -> None:
    # `resolve` follows the links that are there and takes the rest as it is.
    if not folder.resolve().is_relative_to(root):
        raise UsageError(f"{folder} is a link that leads out of {root}; nothing was written")


def _replace(root: Path, files: list[RenderedFile]) -> None:
    _remove_abandoned(root)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=root))
    try:
        pairs = [(staging / str(number), file) for number, file in enumerate(files)]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_WRITERS) as pool:
            for _ in pool.map(lambda pair: _write(*pair, target=root / pair[1].path), pairs):
                pass
        for temporary, file in pairs:
            temporary.replace(root / file.path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(temporary: Path, file: RenderedFile, *, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(21, "there is a folder of that name", str(target))
    with temporary.open("xb") as stream:
        if target.is_file() and not target.is_symlink():
            os.fchmod(stream.fileno(), target.stat().st_mode & 0o777)
        stream.write(file.content)
        stream.flush()
        os.fsync(stream.fileno())


def _remove_abandoned(root: Path) -> None:
    """What a killed process left behind; a young folder may belong to one that still runs."""
    for folder in root.glob(f"{_STAGING}*"):
        if folder.lstat().st_mtime < time.time() - _ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)
