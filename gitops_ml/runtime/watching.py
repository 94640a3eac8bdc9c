"""Watch the Python files of a folder for changes."""

from __future__ import annotations

import os
from pathlib import Path

_NEVER_WATCHED = frozenset({"node_modules", "__pycache__", "site-packages"})


class PythonFiles:
    """The Python files below a folder, without hidden folders and virtual environments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = self._look()

    def have_changed(self) -> bool:
        """Whether a file was added, removed or written since the last call."""
        before, self._seen = self._seen, self._look()
        return before != self._seen

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for directory, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if _is_watched(Path(directory, name))]
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(directory, name)  # noqa: PTH118 - called twice a second
                    found[path] = _facts(path)
        return found


def _facts(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def _is_watched(folder: Path) -> bool:
    return not (
        folder.name.startswith(".")
        or folder.name in _NEVER_WATCHED
        or (folder / "pyvenv.cfg").exists()
    )
