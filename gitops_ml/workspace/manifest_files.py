"""Find and read the documents of a project on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gitops_ml.documents.findings import Finding, error
from gitops_ml.documents.yaml_reader import LARGEST_FILE, Document, read_yaml, too_large
from gitops_ml.errors import InvalidDocument, Problem, UsageError
from gitops_ml.manifest.cortex_differences import SHELL_SCRIPT, has_cortex_name
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.packages.local_files import DEPENDENCY_FILES, requirement_problems, secret_problems
from gitops_ml.packages.requirement_files import requirements_text
from gitops_ml.project.project import Project
from gitops_ml.project.reader import default_project, read_project
from gitops_ml.system.project_files import (
    LARGEST_TEXT,
    CannotRead,
    current_folder,
    is_file,
    is_inside,
    read_file,
)

PROJECT_FILES = ("gitops-ml.yaml", "gitops-ml.yml")
MANIFESTS = ("api.yaml", "api.yml")
CORTEX_MANIFESTS = ("cortex.yaml", "cortex.yml")
"""Used only in folders without one of `MANIFESTS`."""

_NEVER_SEARCHED = frozenset({"node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True, slots=True)
class Found:
    """The documents that were found for a call."""

    root: Path
    """The folder of the project file; without one, the folder that was searched."""
    project_file: Path | None
    manifests: tuple[Path, ...]


def label(file: Path) -> str:
    """The path of a file in messages: relative where it is below the current folder, with ``/``."""
    try:
        return file.relative_to(current_folder()).as_posix()
    except ValueError:
        return file.as_posix()


def find(paths: Sequence[Path], *, project_file: Path | None = None) -> Found:
    """The one project of the paths, with its manifests at or below them.

    Manifests below that have a project file of their own belong to other projects and are left out.

    Raises:
        UsageError: a path does not exist, or there are several projects and none above the paths.
        InvalidDocument: a manifest is a symlink that leaves the project.
    """
    projects = find_projects(paths, project_file=project_file)
    start = _folder(_starts(paths)[0])
    above = absolute(project_file) if project_file else find_project_file(start)
    if len(projects) > 1 and above is None:
        names = ", ".join(label(found.root) for found in projects)
        raise UsageError(f"there are several projects here ({names}): name the folder of one")
    fitting = [found for found in projects if found.project_file == above]
    return next(iter(fitting or projects), Found(above.parent if above else start, above, ()))


def find_projects(paths: Sequence[Path], *, project_file: Path | None = None) -> tuple[Found, ...]:
    """The manifests at or below the paths, each with the nearest project file above it.

    Raises:
        UsageError: a path does not exist.
        InvalidDocument: a manifest is a symlink that leaves its project.
    """
    starts = _starts(paths)
    named = project_file_of(project_file)[1] if project_file else None
    nearest = cache(find_project_file)
    groups: dict[Path | None, list[Path]] = {}
    for file in dict.fromkeys(file for start in starts for file in _manifests(start)):
        groups.setdefault(named or nearest(file.parent), []).append(file)
    folders = [_folder(start) for start in starts]
    projects = tuple(
        Found(project.parent if project else folders[0], project, tuple(manifests))
        for project, manifests in groups.items()
    )
    leaving = [
        file
        for found in projects
        for file in found.manifests
        if not is_inside(file, (found.root, *folders))
    ]
    if leaving:
        raise InvalidDocument(_leaves(file) for file in leaving)
    return projects


def project_file_of(named: Path | None = None) -> tuple[Path, Path | None]:
    """The project's folder and its file: the one that is named, or the nearest upwards from here.

    Raises:
        UsageError: the named file does not exist.
    """
    if named is not None and not named.is_file():
        raise UsageError(f"the project file {named} does not exist")
    file = absolute(named) if named else find_project_file(current_folder())
    return (file.parent if file else current_folder()), file


def _starts(paths: Sequence[Path]) -> list[Path]:
    for path in paths:
        if not absolute(path).exists():
            raise UsageError(f"{path} does not exist")
    return [absolute(path) for path in paths] or [current_folder()]


def _folder(start: Path) -> Path:
    return start if start.is_dir() else start.parent


def read_document(file: Path, *, label: str) -> Document:
    """The YAML document in a file; its ``problems`` has those of the file, too."""
    text = read_text(file, label=label)
    return read_yaml(text, file=label) if isinstance(text, bytes) else text


def read_text(file: Path, *, label: str) -> bytes | Document:
    """The bytes of a document, or an empty document with the problems of the file."""
    try:
        return read_file(file, limit=LARGEST_FILE)
    except FileNotFoundError as failure:
        return _unreadable(label, f"the file cannot be read: {failure.strerror}")
    except CannotRead as failure:
        return _unreadable(label, _sentence(file, failure))


def _sentence(file: Path, failure: CannotRead) -> str:
    with suppress(OSError):
        if (size := file.stat().st_size) > LARGEST_FILE:
            return too_large(size)
    if failure.reason.startswith("this is"):
        return failure.reason.partition(",")[0]
    return f"the file {failure.reason}"


def read_project_file(file: Path | None) -> tuple[Project | None, tuple[Problem, ...]]:
    """The project of a project file, or none and its problems; without a file, the default one."""
    if file is None:
        return default_project(), ()
    if not is_inside(file, (_top(file.parent),)):
        return None, (_leaves(file),)
    document = read_document(file, label=label(file))
    return read_project(document)


def missing_files(manifest: Manifest, directory: Path) -> Iterator[Problem]:
    """Files that ``manifest`` names and ``directory``, the folder of its file, lacks."""
    for section in ("predictor", "definition"):
        fields = manifest.body.get(section) or {}
        for key in ("path", "python_path"):
            yield from _missing(manifest, directory, (section, key), fields.get(key))
        for key in ("pip", "conda", "shell"):
            file = (fields.get("dependencies") or {}).get(key)
            yield from _missing(manifest, directory, (section, "dependencies", key), file)


def dependency_problems(manifest: Manifest, directory: Path) -> Iterator[Problem]:
    """Problems of the dependency files that ``manifest`` names or has without naming.

    Those are passwords and tokens, paths that leave the project, and files that are not read.
    """
    fields = manifest.body.get("predictor") or manifest.body.get("definition")
    if fields is None:
        return
    dependencies = fields.get("dependencies") or {}
    names = {kind: dependencies.get(kind) or name for kind, name in DEPENDENCY_FILES.items()}
    files = _DependencyFiles(directory)
    yield from secret_problems(names.values(), read=files.read, place=files.place)
    yield from requirement_problems([names["pip"]], read=files.read, place=files.place)
    # a link that leaves is reported where the manifest names it
    named = {files.place(name) for name in dependencies.values() if isinstance(name, str)}
    for problem in files.unread:
        if problem.file not in named or "link" not in problem.message:
            yield problem
    is_first = manifest.index == 0 and manifest.kind == "RealtimeAPI"
    if is_first and has_cortex_name(manifest.file) and files.read(names["shell"]) is not None:
        yield manifest.problem(SHELL_SCRIPT)


@dataclass(slots=True)
class _DependencyFiles:
    """The dependency files of a folder, each read once."""

    directory: Path
    texts: dict[str, str | None] = field(default_factory=dict)
    unread: list[Problem] = field(default_factory=list)
    """Why files are not read; one that does not exist is reported where it is needed."""

    def read(self, name: str) -> str | None:
        if name not in self.texts:
            self.texts[name] = self._read(name)
        return self.texts[name]

    def _read(self, name: str) -> str | None:
        try:
            content = read_file(self.directory / name, limit=LARGEST_TEXT, inside=(self.directory,))
        except FileNotFoundError:
            return None
        except CannotRead as failure:
            self.unread.append(Problem(self.place(name), 0, 0, "", failure.reason, rule="file"))
            return None
        return requirements_text(content)

    def place(self, name: str) -> str:
        return label(self.directory / name)


def _missing(
    manifest: Manifest, directory: Path, path: tuple[str, ...], name: str | None
) -> Iterator[Problem]:
    if name is None:
        return
    file = directory / name
    finding: Finding | None = None
    is_folder = path[-1] == "python_path"
    if not (os.path.isdir(file) if is_folder else is_file(file)):  # noqa: PTH112 - see `_is_there`
        kind = "folder" if is_folder else "file"
        finding = error(path, f"there is no {kind} {name!r} beside {manifest.file}", rule="file")
    elif not is_inside(file, (directory,)):
        finding = error(path, f"{name!r} is a symlink that leaves the project", rule="file")
    if finding is not None:
        yield manifest.problem(finding)


def absolute(path: Path) -> Path:
    """The absolute path with its symlinks: where they lead is checked later."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow the symlink


def _unreadable(label: str, message: str) -> Document:
    return Document(label, None, (Problem(label, 0, 0, "", message, rule="file"),))


def _leaves(file: Path) -> Problem:
    message = f"this is a symlink that leaves the project, to {os.path.realpath(file)}"
    return Problem(label(file), 0, 0, "", message, rule="file")


def _top(folder: Path) -> Path:
    """The top of the Git repository that ``folder`` is in, or ``folder``."""
    for directory in (folder, *folder.parents):
        if _is_there(directory / ".git"):
            return directory
    return folder


def find_project_file(folder: Path) -> Path | None:
    """The nearest project file upwards, not beyond the top of the Git repository."""
    for directory in (folder, *folder.parents):
        for name in PROJECT_FILES:
            if _is_there(directory / name) and not os.path.isdir(directory / name):  # noqa: PTH112
                return directory / name
        if _is_there(directory / ".git"):
            return None
    return None


def _manifests(start: Path) -> Iterator[Path]:
    if not start.is_dir():
        yield start
        return
    for directory, folders, files in os.walk(start):
        folders[:] = sorted(name for name in folders if _is_searched(Path(directory, name)))
        names = [name for name in MANIFESTS if name in files]
        names = names or [name for name in CORTEX_MANIFESTS if name in files]
        yield from (Path(directory, name) for name in names)


def _is_searched(folder: Path) -> bool:
    """Neither hidden nor installed software; symlinked folders are not followed by `os.walk`."""
    return is_searched_name(folder.name) and not _is_there(folder / "pyvenv.cfg")


def is_searched_name(folder: str) -> bool:
    """Whether manifests are looked for in folders of this name."""
    return not (folder.startswith(".") or folder in _NEVER_SEARCHED)


def _is_there(path: Path) -> bool:
    """Whether it exists and may be seen: `Path.exists` fails in a folder without permission."""
    return os.path.exists(path)  # noqa: PTH110
