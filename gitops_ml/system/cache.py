"""The cache folder for clones and other data that can be fetched or computed again.

A file in it is trusted in two ways only: by the hash of its content, which the reader knows, or by
the user's `Seal`. CI restores caches in other jobs, and a job of a pull request may write what the
job that deploys reads. So owner, size and date of a file prove nothing.
A folder that cannot be made, or that another user owns, is a `UsageError`.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gitops_ml.errors import UsageError


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder of gitops-ml in the user's cache, created if missing, readable by this user only.

    ``GITOPS_ML_CACHE`` itself, or ``gitops-ml`` in ``XDG_CACHE_HOME`` or ``~/.cache``. In a shared
    folder, such as ``/tmp`` or a volume of root, it is the user's own folder in that.
    Root, who can read all of them, may use the folder of another user.
    """
    folder = _made(cache_place(environ))
    if _is_shared(folder.stat()):
        folder = _own_in(folder)
    facts = folder.stat()
    if os.geteuid() not in (0, facts.st_uid):
        raise _foreign(folder, f"belongs to another user ({facts.st_uid})")
    _close_to_others(folder, facts.st_mode)
    return folder


def cache_place(environ: Mapping[str, str]) -> Path:
    """The path of `cache_folder`, which may not exist."""
    if named := environ.get("GITOPS_ML_CACHE"):
        return Path(named).expanduser().absolute()
    return user_folder(environ, "XDG_CACHE_HOME", ".cache") / "gitops-ml"


def user_folder(environ: Mapping[str, str], variable: str, usual: str) -> Path:
    """The folder that ``variable`` names by an absolute path, or ``usual`` in the user's home."""
    named = Path(environ.get(variable, ""))
    return named if named.is_absolute() else home_folder(environ) / usual


def home_folder(environ: Mapping[str, str]) -> Path:
    """The user's home."""
    return Path(environ.get("HOME") or Path.home())


def folder_in(folder: Path, *names: str) -> Path:
    """The folder ``names`` below ``folder``, created if missing; links on the way are removed.

    A cache that is restored can hold links, and what is written must stay in the cache.
    """
    for name in names:
        folder = folder / name
        if folder.is_symlink():
            folder.unlink()
        _made(folder)
    return folder


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the cache folder {folder} cannot be created ({error.strerror}); "
            "name another one in the environment variable GITOPS_ML_CACHE"
        ) from error
    return folder


def _is_shared(facts: os.stat_result) -> bool:
    return bool(facts.st_mode & stat.S_ISVTX) or facts.st_uid == 0 != os.geteuid()


def _own_in(shared: Path) -> Path:
    """The user's own folder in a shared one; a link or folder of another user in its place is removed."""
    folder = shared / f"gitops-ml-{os.geteuid()}"
    with suppress(OSError):
        if folder.is_symlink():
            folder.unlink()
        elif folder.stat().st_uid != os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
    _made(folder)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise _foreign(folder, "belongs to another user")
    return folder


def _close_to_others(folder: Path, mode: int) -> None:
    """Remove the rights of other users: CI restores caches with any umask."""
    if not mode & 0o077:
        return
    try:
        folder.chmod(mode & 0o700)
    except OSError as error:
        if mode & 0o022:
            raise _foreign(folder, f"can be changed by other users ({error.strerror})") from error


def _foreign(folder: Path, what: str) -> UsageError:
    return UsageError(
        f"the cache folder {folder} {what}: remove it, or name another folder in the "
        "environment variable GITOPS_ML_CACHE"
    )
