"""The folder that relative paths start from: of this process, or of a tree that is read in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

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
