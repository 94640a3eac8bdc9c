"""Find and read the user's own modules that a predictor imports."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.capture.collected import attribute
from gitops_ml.capture.live_session import Session
from gitops_ml.capture.statements import imported_modules
from gitops_ml.packages.installed import own_file

_LARGEST = 1 << 20
"""Bytes. A larger file beside code is data."""


@dataclass(frozen=True, slots=True)
class OwnModules:
    """The files of own modules by path, and every module that they import."""

    files: dict[str, bytes]
    modules: frozenset[str]
    left_out: tuple[str, ...]
    tops: frozenset[str]
    named: tuple[str, ...] = ()
    """Files that the source names, and that are not in the package."""
    taken: tuple[str, ...] = ()
    """Those that are."""

    def has(self, module: str) -> bool:
        return module.partition(".")[0] in self.tops


def follow(modules: Iterable[str], *, folder: Path) -> OwnModules:
    """The own modules among ``modules``, and those that they import in turn.

    A package is included with all its small files; large data files are left out. Paths of those are
    reported relative to ``folder``.
    """
    files: dict[str, bytes] = {}
    left_out: dict[str, None] = {}
    tops: set[str] = set()
    queue = sorted(modules)
    seen: set[str] = set()
    while queue:
        module = queue.pop(0)
        if module in seen:
            continue
        seen.add(module)
        top = module.partition(".")[0]
        place = own_file(top)
        if place is None:
            continue
        if top not in tops:
            tops.add(top)
            for path, file in _entries(top, place):
                if file.stat().st_size > _LARGEST and not path.endswith(".py"):
                    left_out[os.path.relpath(file, folder)] = None
                else:
                    files[path] = file.read_bytes()
        queue += sorted(_imports(module, files) - seen)
    return OwnModules(files, frozenset(seen), tuple(left_out), frozenset(tops))


def own_of_session(session: Session) -> dict[str, str]:
    """The text of each of the user's own modules that statements of a session have imported."""
    imports = (each for each in session.source.statements if each.is_import)
    tops = {name.partition(".")[0] for each in imports for name in imported_modules(each.text)}
    own = {top for top in tops - _OURS if own_file(top) is not None}
    files = {
        name: str(attribute(module, "__file__"))
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in own
    }
    return {
        name: Path(file).read_text("utf-8", "replace")
        for name, file in files.items()
        if file.endswith(".py") and os.path.isfile(file)  # noqa: PTH113 - any text
    }


_OURS = frozenset({"gitops_ml", "predictor_base"})


def _entries(top: str, place: Path) -> Iterator[tuple[str, Path]]:
    """The path in the package and on disk of a module, or of each file of its folder."""
    folder = place.parent if place.name == "__init__.py" else place
    if not folder.is_dir():
        yield (f"{top}{place.suffix}", place)
        return
    for directory, names, found in os.walk(folder):
        names[:] = sorted(name for name in names if not _is_hidden(name))
        for name in sorted(found):
            file = Path(directory, name)
            if not _is_hidden(name) and not name.endswith((".pyc", ".ipynb")) and file.is_file():
                yield (f"{top}/{file.relative_to(folder).as_posix()}", file)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _imports(module: str, files: dict[str, bytes]) -> set[str]:
    """The imports of an own module and its parents; relative imports are made absolute."""
    found: set[str] = set()
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        package = "/".join(parts[:count])
        for path in (f"{package}/__init__.py", f"{package}.py"):
            if path in files:
                found |= _imports_of_file(path, files[path], files)
    return found


def _imports_of_file(path: str, content: bytes, files: dict[str, bytes]) -> set[str]:
    text = content.decode("utf-8", "replace")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found = imported_modules(text)
    folder = path.split("/")[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = folder[: len(folder) - node.level + 1] if node.level else []
        base = base + (node.module.split(".") if node.module else [])
        if not base:
            continue
        found.add(".".join(base))
        # `from package import module`
        for alias in node.names:
            inner = "/".join([*base, alias.name])
            if f"{inner}.py" in files or f"{inner}/__init__.py" in files:
                found.add(".".join([*base, alias.name]))
    return found
