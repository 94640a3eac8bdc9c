"""Where clones and other things live that can be had again at any time.

What lies there is believed in two ways only: by the hash of its content, which whoever asks for it
knows, or by the user's `Seal`. CI carries caches from job to job, and a job of a pull request may
write what the job that deploys reads. Owner, size and date of a file prove nothing then.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Our folder in the user's cache, made when it is missing, readable by nobody else.

    ``GITOPS_ML_CACHE`` itself, or ``gitops-ml`` in ``XDG_CACHE_HOME`` or ``~/.cache``. In a folder
    that everybody shares, such as ``/tmp`` or a volume of root's, it is a folder of the user's own.

    Raises:
        UsageError: it cannot be made, or another user owns it.
    """
    folder = _made(cache_place(environ))
    if _is_shared(folder.stat()):
        folder = _made(folder / f"gitops-ml-{os.geteuid()}")
        if folder.is_symlink():
            raise _foreign(folder, "is a link that somebody else may have made")
    facts = folder.stat()
    if facts.st_uid != os.geteuid():
        raise _foreign(folder, f"belongs to another user ({facts.st_uid})")
    _close_to_others(folder, facts.st_mode)
    return folder


def cache_place(environ: Mapping[str, str]) -> Path:
    """Where `cache_folder` is, whether it is there or not."""
    if named := environ.get("GITOPS_ML_CACHE"):
        return Path(named).expanduser().absolute()
    if (xdg := environ.get("XDG_CACHE_HOME")) and Path(xdg).is_absolute():
        return Path(xdg) / "gitops-ml"
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".cache" / "gitops-ml"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the cache folder {folder} cannot be made ({error.strerror}); "
            "name another one in the environment variable GITOPS_ML_CACHE"
        ) from error
    return folder


def _is_shared(facts: os.stat_result) -> bool:
    return bool(facts.st_mode & stat.S_ISVTX) or facts.st_uid == 0 != os.geteuid()


def _close_to_others(folder: Path, mode: int) -> None:
    """Take away the rights of others: CI restores caches with whatever umask it has."""
    if not mode & 0o077:
        return
    try:
        folder.chmod(mode & 0o700)
    except OSError as error:
        if mode & 0o022:
            raise _foreign(folder, f"can be changed by others ({error.strerror})") from error


def _foreign(folder: Path, what: str) -> UsageError:
    return UsageError(
        f"the cache folder {folder} {what}: remove it, or name a folder of your own in the "
        "environment variable GITOPS_ML_CACHE"
    )
