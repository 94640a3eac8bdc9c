"""Folders of packaged predictors in the cache: one per content, written atomically."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from packaging.pylock import is_valid_pylock_path

from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.system.cache import cache_folder, folder_in
from gitops_ml.system.files import written
from gitops_ml.system.seal import listing, remove

_KEPT = 10
"""The number of packages per API in the cache."""
_STAGING_SECONDS = 24 * 60 * 60


def keep_package(
    api: str, files: Mapping[str, bytes], *, environ: Mapping[str, str]
) -> tuple[Path, str]:
    """The folder that holds exactly ``files``, and their fingerprint; equal files, equal folder.

    The newest lock of the API is copied, so that versions stay the same. An existing folder is
    hashed; changed files are written again, and other files are removed.

    Raises:
        UsageError: ``api`` is not a folder name, or there is no folder for a cache.
        GitopsMlError: the cache cannot be written.
    """
    if api in ("", ".", "..") or any(character in api for character in "/\\\0"):
        raise UsageError(f"{api!r} is not a valid name for the folder of a package")
    fingerprint = _fingerprint(files)
    parent = folder_in(cache_folder(environ), "packages", api)
    target = parent / fingerprint[:20]
    try:
        if target.is_dir() and not target.is_symlink():
            _mend(target, files)
        else:
            remove(target)
            _write(parent, target, files)
        os.utime(target)
        _forget_old(parent)
    except OSError as error:
        raise GitopsMlError(
            f"{target} cannot be written: {error.strerror or error}; set GITOPS_ML_CACHE to another "
            "folder"
        ) from error
    return target, fingerprint


def _mend(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder hold exactly ``files`` and a lock; a server may be using it.

    Another file could be bytecode, which Python trusts by the size and date of its source.
    """
    wanted = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    found = listing(folder)
    for path in found.keys() - wanted.keys():
        if "/" in path or not is_valid_pylock_path(Path(path)):
            (folder / path).unlink(missing_ok=True)
    for path, fingerprint in wanted.items():
        if found.get(path) != fingerprint:
            with written(folder / path) as file:
                file.write(files[path])


def _write(parent: Path, target: Path, files: Mapping[str, bytes]) -> None:
    staging = Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
    try:
        for path, content in sorted(files.items()):
            file = staging / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        _bring_locks(parent, staging, files)
        # Another process may have created it with equal files.
        with suppress(FileExistsError, NotADirectoryError):
            staging.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _bring_locks(parent: Path, staging: Path, files: Mapping[str, bytes]) -> None:
    """Copy the newest lock of the API; the lock itself records its requirements."""
    for folder in _packages(parent):
        locks = [
            file
            for file in folder.glob("pylock.*")
            if is_valid_pylock_path(file) and file.name not in files and not file.is_symlink()
        ]
        with suppress(FileNotFoundError):
            for file in locks:
                shutil.copyfile(file, staging / file.name)
            if locks:
                return


def _forget_old(parent: Path) -> None:
    for folder in _packages(parent)[_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
    # Staging folders belong to other processes, unless they are old.
    for folder in parent.glob(".new-*"):
        if _changed(folder) < time.time() - _STAGING_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _packages(parent: Path) -> list[Path]:
    """The packages, the newest first; other processes can add and remove some meanwhile."""
    found = {folder: _changed(folder) for folder in parent.iterdir() if folder.name[0] != "."}
    return sorted(found, key=lambda each: found[each], reverse=True)


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _fingerprint(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(b"%d:%s%d:" % (len(path.encode()), path.encode(), len(content)))
        digest.update(content)
    return digest.hexdigest()
