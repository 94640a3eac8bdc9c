"""The documents of one call, read and checked: the project, its manifests, and their releases.

Every error of every file is found before anything else happens, so that nobody mends one error to
be told of the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.adapters import documents
from gitops_ml.adapters.resources import load_schema
from gitops_ml.core import layout
from gitops_ml.core.manifest import Manifest, parse_manifests
from gitops_ml.core.project import ClusterSpec, Project
from gitops_ml.core.project_reader import default_project
from gitops_ml.core.release import ReleaseSpec
from gitops_ml.core.resolve import resolve, unresolvable
from gitops_ml.core.rules import check_manifests, check_release
from gitops_ml.errors import InvalidDocument, Problem, Problems, UsageError


@dataclass(frozen=True, slots=True)
class Workspace:
    """What the documents say."""

    root: Path
    """The folder of the project file, or the one that was looked in."""
    project: Project
    has_project_file: bool
    files: tuple[str, ...]
    """The manifests' files, as they are named in messages."""
    manifests: tuple[Manifest, ...]
    releases: tuple[Planned, ...]
    problems: Problems
    covers_project: bool
    """Whether everything that the project has was looked at: what is not here is gone."""

    def directory_of(self, manifest: Manifest) -> Path:
        """The folder of the manifest, which its predictor's paths start from."""
        return Path.cwd() / manifest.directory

    def source_path(self, manifest: Manifest) -> str:
        """The manifest's file, relative to the project."""
        return Path(os.path.relpath(Path.cwd() / manifest.file, self.root)).as_posix()


@dataclass(frozen=True, slots=True)
class Planned:
    """One API in one environment, resolved."""

    manifest: Manifest
    spec: ReleaseSpec
    cluster: ClusterSpec

    @property
    def directory(self) -> str:
        """Of the release in the GitOps repository; no two releases share one."""
        return layout.release_directory(self.spec.environment, self.spec.name)


def read_workspace(
    paths: Sequence[Path],
    *,
    project_file: Path | None = None,
    environments: Iterable[str] = (),
    apis: Iterable[str] = (),
) -> Workspace:
    """The workspace with whatever is wrong in it.

    Raises:
        UsageError: a path, an environment or an API does not exist.
        InvalidDocument: a manifest is a symlink that leaves the project.
    """
    found = documents.find(paths, project_file=project_file)
    project, found_problems = documents.read_project_file(found.project_file)
    problems = list(found_problems)
    manifests, more = _read_manifests(found)
    problems += [*more, *check_manifests(manifests)]
    manifests = _chosen_apis(manifests, tuple(apis), is_complete=not more)
    releases: tuple[Planned, ...] = ()
    if project is not None:
        chosen = _chosen_environments(project, tuple(environments))
        releases, refused = _resolve(manifests, project, chosen)
        problems += refused
    return Workspace(
        root=found.root,
        project=project or default_project(load_schema("project")),
        has_project_file=found.project_file is not None,
        covers_project=not tuple(apis) and found.root in (paths and _absolute(paths) or [Path.cwd()]),
        files=tuple(found.label(file) for file in found.manifests),
        manifests=manifests,
        releases=releases,
        problems=Problems.of(set(problems)),
    )


def checked(workspace: Workspace) -> Workspace:
    """The workspace, if nothing is wrong in it.

    Raises:
        InvalidDocument: with every problem of every file.
    """
    if workspace.problems.errors:
        raise InvalidDocument(workspace.problems.errors)
    return workspace


def _absolute(paths: Iterable[Path]) -> list[Path]:
    return [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - links stay links


def _read_manifests(found: documents.Found) -> tuple[tuple[Manifest, ...], tuple[Problem, ...]]:
    schema = load_schema("api")
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    for file in found.manifests:
        document = documents.read_document(file, label=found.label(file))
        parsed, more = parse_manifests(document, schema=schema)
        for manifest in parsed:
            problems += documents.missing_files(manifest, file.parent)
        manifests += parsed
        problems += more
    return tuple(manifests), tuple(problems)


def _chosen_environments(project: Project, wanted: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [name for name in wanted if name not in project.environments]:
        raise UsageError(
            f"unknown environment {unknown[0]!r}; the project has: "
            f"{', '.join(project.environments)}"
        )
    return wanted or tuple(project.environments)


def _chosen_apis(
    manifests: tuple[Manifest, ...], wanted: tuple[str, ...], *, is_complete: bool
) -> tuple[Manifest, ...]:
    names = {manifest.name for manifest in manifests}
    unknown = [name for name in wanted if name not in names]
    # An API whose manifest is wrong is not among them: then its problems are the answer.
    if unknown and is_complete:
        raise UsageError(
            f"no API {unknown[0]!r}; the manifests have: {', '.join(sorted(names)) or 'none'}"
        )
    return tuple(m for m in manifests if not wanted or m.name in wanted)


def _resolve(
    manifests: Iterable[Manifest], project: Project, environments: Iterable[str]
) -> tuple[tuple[Planned, ...], list[Problem]]:
    schema = load_schema("api")
    planned: list[Planned] = []
    problems: list[Problem] = []
    for manifest in manifests:
        if refused := [manifest.problem(finding) for finding in unresolvable(manifest, project)]:
            problems += refused
            continue
        for environment in environments:
            spec = resolve(manifest, project, environment, with_defaults=schema.with_defaults)
            cluster = project.clusters[spec.cluster]
            found = check_release(spec, cluster, environment=project.environments[environment])
            problems += [manifest.problem(each, environment=environment) for each in found]
            planned.append(Planned(manifest, spec, cluster))
    return tuple(planned), problems
