"""Read the source of predictors, and check it without executing it."""

from __future__ import annotations

import importlib.machinery
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from gitops_ml.documents.findings import error
from gitops_ml.documents.plain_data import overridden
from gitops_ml.errors import Problem
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.packages.installed import is_of_python, missing_modules
from gitops_ml.packages.local_files import DEPENDENCY_FILES, needs_pip
from gitops_ml.packages.lock_file import BadLock, known_lock, lock_path
from gitops_ml.packages.requirement_files import RemoteInclude, read_requirement_lines
from gitops_ml.project.project import Project
from gitops_ml.release.rules.predictor_class import Imported, Judgement, SourceFinding, judge_source
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key
from gitops_ml.system.project_files import LARGEST_LOCK, LARGEST_TEXT, CannotRead, read_file
from gitops_ml.workspace.manifest_files import label
from gitops_ml.workspace.remembered import remembered

SOURCE = "source"
"""The rule of errors in a source."""
_LARGEST_SOURCE = 1 << 20
"""Bytes. A larger one is not checked: its tree would take a hundred times as much memory."""
_PYTHONS_OWN = re.compile(r"(?:(?:docker\.io/)?library/)?python[:@]")
"""Base images without packages."""
_SUFFIXES = tuple(importlib.machinery.all_suffixes())


@dataclass(frozen=True, slots=True)
class _Predictor:
    """The fields of a predictor that decide how its source is read."""

    path: str
    class_name: str | None
    type: str
    python_version: str | None
    python_path: str | None


def source_problems(
    manifests: Iterable[tuple[Manifest, Path]], project: Project | None, memory: Memory
) -> Iterator[Problem]:
    """What is wrong with the sources of predictors, in the API and in each of its environments.

    Each manifest comes with the folder that its paths start from.
    """
    read = [each for pair in manifests for each in _sources(*pair, project)]
    judged = remembered(
        memory,
        [(source.key(), source) for source in read],
        make=lambda source: (source.judged(), ()),
        facts=astuple,
        of_facts=lambda _, facts: Judgement.of_facts(*facts),
    )
    for source, (judgement, _) in zip(read, judged, strict=True):
        for finding in judgement.findings:
            yield _problem(finding, source)
        if source.is_of_all and project is not None and _PYTHONS_OWN.match(project.image.base):
            yield from _import_problems(source, judgement.imports, memory)


@dataclass(frozen=True, slots=True)
class _Source:
    """The source of a predictor, and the manifest that names it."""

    manifest: Manifest
    directory: Path
    predictor: _Predictor
    content: bytes
    is_of_all: bool
    """Whether it is that of the API, not of one of its environments."""

    @property
    def file(self) -> str:
        return label(self.directory / self.predictor.path)

    @property
    def _given(self) -> tuple[str | None, str, str | None]:
        return self.predictor.class_name, self.predictor.type, self.predictor.python_version

    def key(self) -> bytes:
        return memory_key("source", self.content, *self._given)

    def judged(self) -> Judgement:
        name, kind, version = self._given
        return judge_source(self.content, class_name=name, kind=kind, python_version=version)


def _sources(manifest: Manifest, directory: Path, project: Project | None) -> Iterator[_Source]:
    fields = manifest.body.get("predictor") or {}
    overrides = [each.get("predictor") or {} for each in manifest.environments.values()]
    version = project.image.python_version if project is not None else None
    variants = (fields, *(overridden(fields, each) for each in overrides))
    own = _predictor(fields, version)
    for predictor in dict.fromkeys(_predictor(each, version) for each in variants):
        content = _read(directory, predictor.path) if predictor is not None else None
        if predictor is not None and content is not None:
            yield _Source(manifest, directory, predictor, content, predictor == own)


def _predictor(fields: Mapping[str, Any], version: str | None) -> _Predictor | None:
    if not str(fields.get("path") or "").endswith(".py"):
        return None
    return _Predictor(
        path=fields["path"],
        class_name=fields.get("class_name"),
        type=fields.get("type") or "python",
        python_version=fields.get("python_version") or version,
        python_path=fields.get("python_path"),
    )


def _problem(finding: SourceFinding, source: _Source) -> Problem:
    if finding.line == 0:
        message = f"{source.predictor.path}: {finding.message}"
        return source.manifest.problem(error(("predictor", finding.field), message, rule=SOURCE))
    return Problem(source.file, finding.line, finding.column, "", finding.message, rule=SOURCE)


def _read(directory: Path, path: str, limit: int = _LARGEST_SOURCE) -> bytes | None:
    """A file of the project; `None` where it cannot be read, which is reported elsewhere."""
    try:
        return read_file(directory / path, limit=limit, inside=(directory,))
    except (FileNotFoundError, CannotRead):
        return None


# -- imports ---------------------------------------------------------------------------------------


def _import_problems(
    source: _Source, imports: Iterable[Imported], memory: Memory
) -> Iterator[Problem]:
    """A warning for each module that the image would not have."""
    root = source.directory / (source.predictor.python_path or "")
    places = {each.module: each for each in imports if not _is_own(each.module, root)}
    fields = source.manifest.body["predictor"]
    packages = _packages(fields, source.directory, memory) if places else None
    if packages is None:
        return
    names, is_locked, file = packages
    for module, name in missing_modules(places, names, is_locked=is_locked).items():
        message = f"no requirement brings the module {module!r}; add {name} to {file}"
        place = (places[module].line, places[module].column)
        yield Problem(source.file, *place, "", message, "imports", "warning")


def _is_own(module: str, root: Path) -> bool:
    """Whether it is a module of Python or of the project."""
    return (
        is_of_python(module)
        or (root / module).is_dir()
        or any((root / f"{module}{suffix}").is_file() for suffix in _SUFFIXES)
    )


def _packages(
    fields: Mapping[str, Any], directory: Path, memory: Memory
) -> tuple[frozenset[str], bool, str] | None:
    """The packages of the image, whether they are all, and the file of the requirements.

    `None` where other files or another base image may bring packages.
    """
    named = fields.get("dependencies") or {}
    files = {kind: named.get(kind) or name for kind, name in DEPENDENCY_FILES.items()}
    others = (files[kind] for kind in files if kind != "pip")
    if fields.get("image") or any(_read(directory, name) is not None for name in others):
        return None

    def read(name: str) -> str | None:
        content = _read(directory, name, LARGEST_TEXT)
        return None if content is None else content.decode("utf-8", "replace")

    pip = files["pip"]
    lock = _read(directory, lock_path(pip), LARGEST_LOCK)
    try:
        if needs_pip(pip, read=read):
            return None
        lines = read_requirement_lines(pip, read=read)
        text = (lock or b"").decode("utf-8", "replace")
        locked = known_lock(text, requirements=pip, memory=memory).packages if lock else ()
    except (RemoteInclude, BadLock, ValueError):
        return None
    required = {each.name for each in lines if not each.is_constraint}
    return frozenset({*required, *(each.name for each in locked)}), lock is not None, pip
