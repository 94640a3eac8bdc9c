"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.errors import GitopsMlError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def written(target: Path) -> Iterator[Any]:
    """A new file that takes ``target``'s name when all of it is on disk, and leaves nothing else.

    Raises:
        GitopsMlError: the disk is full, or the folder cannot be written to.
    """
    import tempfile

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
            f"{target} cannot be written: {error.strerror or error}; the cache may be elsewhere: "
            "GITOPS_ML_CACHE"
        ) from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
