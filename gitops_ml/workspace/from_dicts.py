"""Build a workspace from Python dicts, with or without a project file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitops_ml.documents.plain_data import merged
from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.errors import InvalidDocument, Problem, Problems, UsageError
from gitops_ml.manifest.conflicts import check_manifests
from gitops_ml.manifest.manifest import Manifest, parse_manifests
from gitops_ml.project.reader import read_project
from gitops_ml.workspace.manifest_files import (
    find_project_file,
    label,
    missing_files,
    read_document,
)
from gitops_ml.workspace.workspace import (
    LoadedProject,
    Workspace,
    chosen_environments,
    dict_key,
    open_memory,
    resolve_releases,
)

_NO_NAME = "default"
"""The name of a project that is in no file and has none."""


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
    start: Path, *, project_file: Path | None = None, overrides: Mapping[str, Any]
) -> LoadedProject:
    """The project of the nearest project file upwards from ``start``, with ``overrides`` merged over it.

    Raises:
        InvalidDocument: the project is wrong; a dict has no line numbers.
    """
    file = project_file or find_project_file(start)
    root = file.parent if file else start
    document = (
        read_document(file, label=label(file))
        if file is not None
        else document_of({"project": _NO_NAME}, file="")
    )
    if file is None or overrides:
        if wrong := Problems.of(document.problems).errors:
            raise InvalidDocument(wrong)
        below = document.data if isinstance(document.data, dict) else {}
        document, file = document_of(merged(below, overrides), file=""), None
    project, problems = read_project(document)
    if project is None:
        raise InvalidDocument(problems)
    return LoadedProject(root=root, project=project, document=document.data, file=file)


def check_shape(spec: Mapping[str, Any]) -> None:
    """Refuse an API that is wrong whatever the project, before anything is made of it.

    Raises:
        InvalidDocument: all problems with their paths.
    """
    _, problems = parse_manifests(document_of([spec], file=""))
    if wrong := Problems.of(problems).errors:
        raise InvalidDocument(wrong)


def plain_mapping(name: str, data: Any) -> Mapping[str, Any]:
    """An argument of a session as plain data that a document can hold.

    Raises:
        UsageError: it is not a mapping.
        InvalidDocument: a value or a key in it has no place in a document.
    """
    if not isinstance(data, Mapping):
        raise UsageError(f"{name} must be a dict, not a {type(data).__name__}")
    document = document_of({name: data}, file="")
    if document.problems:
        raise InvalidDocument(document.problems)
    found: Mapping[str, Any] = document.data[name]
    return found


def workspace_of(
    loaded: LoadedProject,
    api: DescribedApi | None = None,
    *,
    environment: str,
    origin: Mapping[str, Any] | None = None,
) -> Workspace:
    """The workspace of one API that is in no file, or of none, with the problems in it.

    Raises:
        UsageError: the project has no such environment.
    """
    memory = open_memory()
    environments = chosen_environments(loaded.project, (environment,))
    manifests, problems = _manifests(loaded, api) if api else ((), [])
    keys = {each.name: dict_key([api and api.spec, loaded.document]) for each in manifests}
    releases, refused = resolve_releases(manifests, keys, loaded.project, environments, memory)
    return Workspace(
        root=loaded.root,
        project=loaded.project,
        has_project_file=loaded.file is not None,
        environments=environments,
        manifests=manifests,
        releases=releases,
        problems=Problems.of({replace(problem, file="") for problem in (*problems, *refused)}),
        memory=memory,
        folders={each.name: api.folder for each in manifests} if api else {},
        packaged=frozenset({api.folder} if api and api.is_packaged else ()),
        origin=origin,
    )


def _manifests(
    loaded: LoadedProject, api: DescribedApi
) -> tuple[tuple[Manifest, ...], list[Problem]]:
    document = document_of([api.spec], file=str(loaded.root / api.manifest_file))
    manifests, problems = parse_manifests(document)
    here = str(api.folder / "api.yaml")
    missing = [
        problem
        for manifest in manifests
        for problem in missing_files(replace(manifest, file=here), api.folder)
    ]
    found = check_manifests(manifests, environments=loaded.project.environments)
    return manifests, [*problems, *missing, *found]
