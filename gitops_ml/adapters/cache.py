"""Where clones and other things live that can be had again at any time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Our folder in the user's cache, made when it is missing, readable by nobody else.

    ``GITOPS_ML_CACHE`` itself, or ``gitops-ml`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        UsageError: it cannot be made.
    """
    folder = cache_place(environ)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the cache folder {folder} cannot be made ({error.strerror}); "
            "name another one in the environment variable GITOPS_ML_CACHE"
        ) from error
    return folder


def cache_place(environ: Mapping[str, str]) -> Path:
    """Where `cache_folder` is, whether it is there or not."""
    if named := environ.get("GITOPS_ML_CACHE"):
        return Path(named).expanduser().absolute()
    if (xdg := environ.get("XDG_CACHE_HOME")) and Path(xdg).is_absolute():
        return Path(xdg) / "gitops-ml"
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".cache" / "gitops-ml"
