"""The documents of one call, read and checked: the project, its manifests, and their releases.

Every error of every file is found before anything else happens, so that nobody mends one error to
be told of the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.adapters import documents
from gitops_ml.adapters.resources import load_schema
from gitops_ml.core import layout
from gitops_ml.core.manifest import Manifest, parse_manifests
from gitops_ml.core.project import ClusterSpec, Project
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
    """
    found = documents.find(paths, project_file=project_file)
    project, problems = documents.read_project_file(found.project_file)
    project = project or Project.default()
    chosen = _chosen_environments(project, tuple(environments))
    manifests, more = _read_manifests(found)
    problems += more
    manifests = _chosen_apis(manifests, tuple(apis))
    problems += tuple(check_manifests(manifests))
    releases, more = _resolve(manifests, project, chosen)
    return Workspace(
        root=found.root,
        project=project,
        has_project_file=found.project_file is not None,
        files=tuple(found.label(file) for file in found.manifests),
        manifests=manifests,
        releases=releases,
        problems=Problems.of({*problems, *more}),
    )


def checked(workspace: Workspace) -> Workspace:
    """The workspace, if nothing is wrong in it.

    Raises:
        InvalidDocument: with every problem of every file.
    """
    if workspace.problems.errors:
        raise InvalidDocument(workspace.problems.errors)
    return workspace


def _read_manifests(
    found: documents.Found,
) -> tuple[tuple[Manifest, ...], tuple[Problem, ...]]:
    schema = load_schema("api")
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    for file in found.manifests:
        document = documents.read_document(file, label=found.label(file))
        parsed, more = parse_manifests(document, schema=schema)
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


def _chosen_apis(manifests: tuple[Manifest, ...], wanted: tuple[str, ...]) -> tuple[Manifest, ...]:
    names = {manifest.name for manifest in manifests}
    if unknown := [name for name in wanted if name not in names]:
        raise UsageError(
            f"no API {unknown[0]!r}; the manifests have: {', '.join(sorted(names)) or 'none'}"
        )
    return tuple(m for m in manifests if not wanted or m.name in wanted)


def _resolve(
    manifests: Iterable[Manifest], project: Project, environments: Iterable[str]
) -> tuple[tuple[Planned, ...], tuple[Problem, ...]]:
    schema = load_schema("api")
    planned: list[Planned] = []
    problems: list[Problem] = []
    for manifest in manifests:
        if refused := unresolvable(manifest, project):
            problems += refused
            continue
        for environment in environments:
            spec = resolve(
                manifest, project, environment, with_defaults=schema.with_defaults
            )
            cluster = project.clusters[spec.cluster]
            problems += check_release(spec, cluster, manifest, project)
            planned.append(Planned(manifest, spec, cluster))
    return tuple(planned), tuple(problems)
