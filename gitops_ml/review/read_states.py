"""Read the two states of the source that a check compares, as far as the change touches them.

Each is written into a folder, as the commands that read projects expect it. Nothing of git takes part: no
checkout, hook, filter, attribute or submodule. Links are written last, so that no file is written through one.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from gitops_ml.documents.yaml_reader import LARGEST_FILE
from gitops_ml.errors import Problem, UsageError
from gitops_ml.git.source_tree import LARGEST_BLOB, LINK, SourceFile, SourceRepository, SourceTree
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.project.project import Project
from gitops_ml.project.reader import default_project
from gitops_ml.review.scope import Scope, scope_of, touched_folders
from gitops_ml.review.sides import StateReleases, read_state_releases
from gitops_ml.workspace.manifest_files import read_project_file
from gitops_ml.workspace.workspace import no_manifest

_MOST_BESIDE = 200
"""Unchanged manifests that are read because they name what a changed one names."""
_MOST_TEXT = 64 << 20
"""Bytes of all manifests: those of 150,000 APIs."""
_UNREAD = LARGEST_FILE + 1
_MOST_WRITTEN = 4 << 30
"""Bytes of the files of a state that are written. In git, many large files may take little."""
_ITEM = re.compile(rb"^-\s+\S", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """Both states."""

    before: StateReleases
    after: StateReleases
    counts: Mapping[str, int]
    """By environment, how many releases the state before has."""

    def new_problems(self) -> tuple[Problem, ...]:
        """The problems after the change, without warnings that were there before it."""
        known = {_without_place(each) for each in self.before.problems}
        return tuple(
            each
            for each in self.after.problems
            if each.severity == "error" or _without_place(each) not in known
        )


def _without_place(problem: Problem) -> object:
    return problem.file, problem.path, problem.message


@dataclass(frozen=True, slots=True)
class ProjectOf:
    """The project of a state, and its folder in the source repository."""

    project: Project
    root: str
    file: str | None = None
    """The project file; `None` where the state has none that can be read."""


def read_project_of(
    repository: SourceRepository, tree: SourceTree, *, start: str, folder: Path
) -> ProjectOf:
    """The project of a state; the default one where it has none, or none that can be read."""
    scope = scope_of(tree.files, start)
    place = folder / "project"
    write_state(repository, tree, scope, [], place)
    project = read_project_file(place / scope.project_file)[0] if scope.project_file else None
    if project is None:
        return ProjectOf(default_project(), scope.root)
    return ProjectOf(project, scope.root, scope.project_file)


def read_states(
    repository: SourceRepository, before: SourceTree, after: SourceTree, *, start: str, folder: Path
) -> States:
    """Both states, written below ``folder``; ``start`` is a folder of the project."""
    scopes = scope_of(before.files, start), scope_of(after.files, start)
    if not (scopes[0].manifests or scopes[1].manifests):
        raise no_manifest([Path(start)] if start else [])
    touched = touched_folders((before.files, scopes[0]), (after.files, scopes[1]))
    texts = _manifest_texts(repository, (before, after), scopes)
    old = _read(repository, before, scopes[0], touched, (), folder / "before")
    new = _read(repository, after, scopes[1], touched, (), folder / "after")
    beside = _beside(new, after.files, scopes[1], touched, texts)
    if beside:
        new = _read(repository, after, scopes[1], touched, beside, folder / "again")
    files = (before.files[path] for path in _paths(scopes[0], scopes[0].manifests))
    # About how many APIs each manifest has: the items of its list.
    count = sum(max(1, len(_ITEM.findall(texts.get(each.id, b"")))) for each in files)
    counts = dict.fromkeys(old.project.environments, count)
    return States(before=old, after=new, counts=counts)


def _read(
    repository: SourceRepository,
    tree: SourceTree,
    scope: Scope,
    touched: set[str],
    beside: Iterable[str],
    folder: Path,
) -> StateReleases:
    inside = {each for each in touched if each in scope.manifests}
    written = inside | {posixpath.dirname(path) for path in beside}
    paths = [path for path in tree.files if _belongs(path, written)]
    sizes = write_state(repository, tree, scope, paths, folder)
    return read_state_releases(folder, scope, touched=inside, beside=beside, sizes=sizes)


def _belongs(path: str, folders: set[str]) -> bool:
    folder = posixpath.dirname(path)
    while folder and folder not in folders:
        folder = posixpath.dirname(folder)
    return folder in folders


def _paths(scope: Scope, folders: Iterable[str]) -> list[str]:
    return [path for folder in folders for path in scope.manifests.get(folder, ())]


def _manifest_texts(
    repository: SourceRepository, trees: tuple[SourceTree, SourceTree], scopes: tuple[Scope, Scope]
) -> Mapping[str, bytes]:
    """The manifests of both states, by blob id: read, not parsed."""
    ids = {
        tree.files[path].id
        for tree, scope in zip(trees, scopes, strict=True)
        for path in _paths(scope, scope.manifests)
    }
    local = {**trees[0].local, **trees[1].local}
    texts: dict[str, bytes] = {}
    size = 0
    # One that is larger is refused by its reader.
    for id, text in repository.blobs(ids, local, largest=LARGEST_FILE):
        texts[id] = text
        size += len(text)
        if size > _MOST_TEXT:
            raise UsageError(
                f"the manifests before and after the change have more than {_MOST_TEXT:,} bytes: are all of these "
                "files manifests?"
            )
    return texts


def _beside(
    state: StateReleases,
    files: Mapping[str, SourceFile],
    scope: Scope,
    touched: set[str],
    texts: Mapping[str, bytes],
) -> tuple[str, ...]:
    """Untouched manifests with a name or an endpoint of a touched one: they may be in conflict."""
    words = {word for manifest in state.workspace.manifests for word in _words(manifest)}
    if not words:
        return ()
    form = re.compile(
        rb"(?<![\w-])(?:%b)(?![\w-])" % b"|".join(re.escape(w.encode()) for w in sorted(words))
    )
    others = (folder for folder in scope.manifests if folder not in touched)
    found = [p for p in _paths(scope, others) if form.search(texts.get(files[p].id, b""))]
    return tuple(found[:_MOST_BESIDE])


def _words(manifest: Manifest) -> Iterable[str]:
    yield manifest.name
    for fields in (manifest.body, *manifest.environments.values()):
        endpoint = (fields.get("networking") or {}).get("endpoint")
        if place := str(endpoint or "").strip("/"):
            yield place


# -- write the files of a state --------------------------------------------------------------------


def write_state(
    repository: SourceRepository, tree: SourceTree, scope: Scope, paths: Iterable[str], folder: Path
) -> dict[str, int]:
    """Write the files of ``paths`` and the project file into the new ``folder``; returns their sizes in bytes.

    A large file is replaced by a text with its blob id: equal files stay equal, other ones differ. A document
    keeps a size that its reader refuses.

    Raises:
        UsageError: two paths exclude each other, one leaves the folder, or all are too large.
    """
    # The search for a project file ends here.
    (folder / ".git").mkdir(parents=True)
    named = {*paths, scope.project_file or ""}
    wanted = {path: tree.files[path] for path in sorted(named) if path in tree.files}
    for path in wanted:
        _refuse_bad(path)
    users: dict[str, list[str]] = {}
    for path, file in wanted.items():
        users.setdefault(file.id, []).append(path)
    sizes = repository.sizes(users, tree.local)
    small = (size for file in wanted.values() if (size := sizes.get(file.id, 0)) <= LARGEST_BLOB)
    if (total := sum(small)) > _MOST_WRITTEN:
        raise UsageError(
            f"the folders with the manifests that change have {total:,} bytes, and at most {_MOST_WRITTEN:,} are read: "
            "move data out of them"
        )
    links: list[tuple[str, bytes]] = []
    large = ((id, f"blob {id}\n".encode()) for id in users if sizes.get(id, 0) > LARGEST_BLOB)
    for id, content in chain(large, repository.blobs(users, tree.local)):
        for path in users[id]:
            if wanted[path].mode == LINK:
                links.append((path, content))
            else:
                least = _UNREAD if sizes.get(id, 0) > LARGEST_BLOB else 0
                _write(folder, path, content, wanted[path], least=least)
    for path, target in links:
        _link(folder, path, target)
    return {path: sizes.get(file.id, 0) for path, file in wanted.items()}


def _refuse_bad(path: str) -> None:
    """A commit that git did not make may hold any name."""
    if "\0" in path or any(p in {"", ".", ".."} or p.lower() == ".git" for p in path.split("/")):
        raise UsageError(f"the commit has a file {path!r}, which no checkout could have")


def _write(folder: Path, path: str, content: bytes, file: SourceFile, *, least: int) -> None:
    place = folder / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o755 if file.mode == "100755" else 0o644
        opened = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(opened, "wb") as out:
            out.write(content)
            out.truncate(max(len(content), least))
    except OSError as error:
        raise UsageError(f"{path} of the commit cannot be written: {error.strerror}") from error


def _link(folder: Path, path: str, target: bytes) -> None:
    place = folder / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.fsdecode(target))
    except (OSError, ValueError) as error:
        raise UsageError(f"the link {path} of the commit cannot be written: {error}") from error
