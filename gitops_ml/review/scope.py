"""Which manifests of a source repository a change touches, decided by paths and blob ids alone."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gitops_ml.errors import UsageError
from gitops_ml.git.source_tree import SourceFile, SourceTree
from gitops_ml.workspace.manifest_files import (
    CORTEX_MANIFESTS,
    MANIFESTS,
    PROJECT_FILES,
    is_searched_name,
)

Files = Mapping[str, SourceFile]


_MOST_SUBMODULES = 20
"""That are named one by one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The project of one state: its folder, its file, and its manifests by folder."""

    root: str
    """Relative to the source repository; empty for its root."""
    project_file: str | None
    manifests: Mapping[str, tuple[str, ...]]
    """Paths by folder."""


def scope_of(files: Files, start: str) -> Scope:
    """The project that the folder ``start`` belongs to, or the only one below it."""
    above = next((p for folder in _upwards(start) for p in _named(files, folder)), None)
    # A change may move the project file.
    project_file = above or next(iter(_projects_below(files, start)), None)
    root = posixpath.dirname(project_file) if project_file else start
    return Scope(root, project_file, _manifests(files, root))


def project_folder(trees: Iterable[Files], start: str) -> str:
    """The folder to look for the project from: ``start``, or that of the only project below it."""
    trees = tuple(trees)
    if any(_named(files, folder) for files in trees for folder in _upwards(start)):
        return start
    files = {path: file for tree in trees for path, file in tree.items()}
    below = _projects_below(files, start)
    return posixpath.dirname(below[0]) if below else start


def _projects_below(files: Files, start: str) -> list[str]:
    """The project files of the only folder below ``start`` that has some."""
    found = [
        path
        for path in sorted(files)
        if posixpath.basename(path) in PROJECT_FILES
        and _is_below(posixpath.dirname(path), start, set())
    ]
    folders = sorted({posixpath.dirname(path) for path in found})
    if len(folders) > 1:
        raise UsageError(
            f"there are several projects here ({', '.join(folders)}): name the folder of one"
        )
    return found


def touched_folders(before: tuple[Files, Scope], after: tuple[Files, Scope]) -> set[str]:
    """The folders with manifests whose releases may change.

    A file belongs to each folder with a manifest above it: an ignore file may include the files of
    another API. A change of the project file touches all.
    """
    (old, was), (new, will_be) = before, after
    folders = {*was.manifests, *will_be.manifests}
    if _project(old, was) != _project(new, will_be):
        return folders
    return {
        folder
        for path in changed_paths(old, new)
        for folder in _upwards(posixpath.dirname(path))
        if folder in folders
    }


def changed_paths(before: Files, after: Files) -> Iterator[str]:
    """Paths whose mode or content differs, sorted."""
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            yield path


def moved_submodules(before: SourceTree, after: SourceTree) -> Iterator[str]:
    """A warning for each submodule that comes, goes or has another commit, and whose files are not here."""
    moved = [
        (path, old, new)
        for path in sorted(before.unread | after.unread)
        if (old := before.submodules.get(path)) != (new := after.submodules.get(path))
    ]
    for path, old, new in moved[:_MOST_SUBMODULES]:
        was, now = ((each or "nothing")[:12] for each in (old, new))
        yield (
            f"the submodule {path} changes from {was} to {now}, and its files are not compared: where they enter "
            "an image, a deploy from a checkout with submodules builds it again and restarts its pods. Check "
            "out submodules with their history to compare them"
        )
    if (rest := len(moved) - _MOST_SUBMODULES) > 0:
        yield f"{rest} more submodules change, and their files are not compared"


def _project(files: Files, scope: Scope) -> object:
    return scope.project_file, files.get(scope.project_file or "")


def _named(files: Files, folder: str) -> list[str]:
    """The project files in a folder."""
    paths = (posixpath.join(folder, name) for name in PROJECT_FILES)
    return [path for path in paths if path in files]


def _upwards(folder: str) -> Iterator[str]:
    """The folder and those above it, up to the root, which is empty."""
    while folder:
        yield folder
        folder = posixpath.dirname(folder)
    yield ""


def _manifests(files: Files, root: str) -> dict[str, tuple[str, ...]]:
    """The manifests below ``root``, without those of projects of their own."""
    found: dict[str, set[str]] = {}
    closed: set[str] = set()
    for path in files:
        folder, name = posixpath.split(path)
        if (name in PROJECT_FILES and folder != root) or name == "pyvenv.cfg":
            closed.add(folder)
        elif name in MANIFESTS or name in CORTEX_MANIFESTS:
            found.setdefault(folder, set()).add(name)
    return {
        folder: tuple(posixpath.join(folder, name) for name in _chosen(names))
        for folder, names in sorted(found.items())
        if _is_below(folder, root, closed)
    }


def _chosen(names: set[str]) -> Iterable[str]:
    """As `manifest_files` chooses: files in Cortex's spelling only where there is no other."""
    own = [name for name in MANIFESTS if name in names]
    return own or [name for name in CORTEX_MANIFESTS if name in names]


def _is_below(folder: str, root: str, closed: set[str]) -> bool:
    for each in _upwards(folder):
        if each == root:
            return True
        if each in closed or not is_searched_name(posixpath.basename(each)):
            return False
    return False
