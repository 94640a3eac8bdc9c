"""Build a workspace from Python dicts, with or without a project file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.errors import InvalidDocument, Problem, Problems
from gitops_ml.manifest.model import parse_manifests
from gitops_ml.project.reader import read_project
from gitops_ml.release.rules.manifests import check_manifests
from gitops_ml.system.memory import key as memory_key
from gitops_ml.workspace import manifest_files as documents
from gitops_ml.workspace.workspace import (
    ProjectDocument,
    Workspace,
    chosen_environments,
    open_memory,
    resolve_releases,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gitops_ml.manifest.model import Manifest
    from gitops_ml.project.model import Project
    from gitops_ml.workspace.workspace import PlannedRelease


_NO_NAME = "default"
"""The name of a project that is in no file and has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedProject:
    """A project from a file, from a dict, or from both."""

    root: Path
    """The folder of the project file, or the current one."""
    project: Project
    document: Mapping[str, Any]
    """As given."""
    file: Path | None

    def instead_of_file(self) -> ProjectDocument | None:
        """The project as a document; `None` where it is that of its file."""
        if self.file is not None:
            return None
        return ProjectDocument(self.project, memory_key("said", _canonical(self.document)))

    def says_delivery(self, environment: str) -> str | None:
        """``push`` or ``pull_request`` where the project sets it for this environment."""
        fields = (self.document.get("environments") or {}).get(environment) or {}
        delivery = fields.get("delivery")
        return str(delivery) if delivery else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedApi:
    """One API as a dict."""

    spec: Mapping[str, Any]
    folder: Path
    """Where ``predictor.path`` and the like start from."""
    manifest_file: str
    """Where its manifest is, or would be, in the source project."""
    is_packaged: bool = False
    """Whether the folder is in the cache, where nothing is committed."""


def find_project(
    start: Path, *, project_file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> LoadedProject:
    """The project of the nearest project file upwards from ``start``, with ``overrides`` merged over it.

    Raises:
        InvalidDocument: the project is wrong; a dict has no line numbers.
    """
    file = project_file or documents.find_project_file(start)
    if file is not None and not overrides:
        document = documents.read_document(file, label=documents.label(file))
        project, problems = read_project(document)
        if project is None:
            raise InvalidDocument(problems)
        return LoadedProject(root=file.parent, project=project, document=document.data, file=file)
    below: Mapping[str, Any] = {"project": _NO_NAME}
    if file is not None:
        document = documents.read_document(file, label=documents.label(file))
        if wrong := [each for each in document.problems if each.severity == "error"]:
            raise InvalidDocument(wrong)
        below = document.data if isinstance(document.data, dict) else {}
    return described_project(merged(below, overrides or {}), root=file.parent if file else start)


def described_project(document: Mapping[str, Any], *, root: Path) -> LoadedProject:
    """The project of a dict in the shape of the project file.

    Raises:
        InvalidDocument: it is wrong; the problems have paths and no lines.
    """
    project, problems = read_project(document_of(document, file=""))
    if project is None:
        raise InvalidDocument(problems)
    return LoadedProject(root=root, project=project, document=document, file=None)


def check_shape(spec: Mapping[str, Any]) -> None:
    """Refuse an API that is wrong whatever the project, before anything is made of it.

    Raises:
        InvalidDocument: all problems with their paths.
    """
    _, problems = parse_manifests(document_of([spec], file=""))
    if wrong := Problems.of(problems).errors:
        raise InvalidDocument(wrong)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` merged over ``below``, mapping by mapping; neither is changed."""
    result = dict(below)
    for key, value in above.items():
        lower = result.get(key)
        both = isinstance(value, dict) and isinstance(lower, dict)
        result[key] = merged(lower or {}, value) if both else value
    return result


def describe(
    apis: Iterable[DescribedApi],
    at_hand: LoadedProject,
    *,
    environment: str,
    origin: Mapping[str, Any] | None = None,
) -> Workspace:
    """The workspace of APIs that are in no file, with the problems in them.

    Raises:
        UsageError: the project has no such environment.
    """
    memory = open_memory()
    environments = chosen_environments(at_hand.project, (environment,))
    apis = tuple(apis)
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    keys: dict[str, bytes] = {}
    folders: dict[str, Path] = {}
    for api in apis:
        found, more = _manifest(api, at_hand.root)
        problems += more
        for manifest in found:
            manifests.append(manifest)
            folders[manifest.name] = api.folder
            keys[manifest.name] = memory_key("described", _canonical([api.spec, at_hand.document]))
            problems += documents.missing_files(
                replace(manifest, file=str(api.folder / "api.yaml")), api.folder
            )
    problems += check_manifests(tuple(manifests), environments=at_hand.project.environments)
    releases: tuple[PlannedRelease, ...]
    releases, refused = resolve_releases(manifests, keys, at_hand.project, environments, memory)
    return Workspace(
        root=at_hand.root,
        project=at_hand.project,
        has_project_file=at_hand.file is not None,
        environments=environments,
        covers_project=False,
        files=(),
        manifests=tuple(manifests),
        releases=releases,
        problems=Problems.of({replace(problem, file="") for problem in (*problems, *refused)}),
        memory=memory,
        folders=folders,
        packaged=frozenset(api.folder for api in apis if api.is_packaged),
        origin=origin,
    )


def _manifest(api: DescribedApi, root: Path) -> tuple[tuple[Manifest, ...], tuple[Problem, ...]]:
    document = document_of([api.spec], file=str(root / api.manifest_file))
    return parse_manifests(document)


def _canonical(data: Any) -> str:
    # What JSON cannot express is refused by `document_of`, with its path.
    return json.dumps(data, sort_keys=True, default=repr)
