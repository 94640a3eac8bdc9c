"""Write files into a folder: each completely or not at all, and equal ones not again."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
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
        _refuse_outside(root, parent)
        parent.mkdir(parents=True, exist_ok=True)


def _refuse_outside(root: Path, folder: Path) -> None:
    # `resolve` follows existing links and keeps the rest.
    if not folder.resolve().is_relative_to(root):
        raise UsageError(f"{folder} is a link that leaves {root}; nothing was written")


def _replace(root: Path, files: list[tuple[str, bytes]]) -> None:
    _remove_abandoned(root)
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


def _remove_abandoned(root: Path) -> None:
    """Remove folders of killed processes; a recent folder may belong to a running one."""
    for folder in root.glob(f"{_STAGING}*"):
        if folder.lstat().st_mtime < time.time() - _ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


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
