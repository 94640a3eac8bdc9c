"""Check every manifest and project file below some paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from gitops_ml.workspace.manifest_files import find_projects
from gitops_ml.workspace.workspace import Workspace, no_manifest, read_found


def validate(
    paths: Sequence[Path],
    *,
    project_file: Path | None = None,
    environments: Iterable[str] = (),
    apis: Iterable[str] = (),
) -> tuple[Workspace, ...]:
    """The projects that have manifests at or below ``paths``, with every problem of their documents."""
    projects = find_projects(paths, project_file=project_file)
    if not projects:
        raise no_manifest(paths)
    return tuple(
        read_found(found, environments=environments, apis=apis, covers_project=False)
        for found in projects
    )
