"""Documents: schemas printed, projects started, manifests checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.system import resources
from gitops_ml.workspace.workspace import Workspace, read_project, read_workspace, read_workspaces

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gitops_ml.commands.init import Scaffolded
    from gitops_ml.workspace.workspace import ProjectDocument


def schema(document: str) -> str:
    """The JSON Schema of ``api`` or ``project``, as text."""
    return resources.schema_text(document)


def init(
    directory: Path, *, name: str | None, image_repository: str, gitops_repository: str
) -> Scaffolded:
    """A project that passes everything, beside whatever is there already.

    Raises:
        UsageError: the name is not one that an API can have.
    """
    from gitops_ml.commands.init import write_scaffold

    return write_scaffold(
        directory,
        name=name,
        image_repository=image_repository,
        gitops_repository=gitops_repository,
    )


def validate(
    paths: Sequence[Path],
    *,
    project_file: Path | None = None,
    environments: Iterable[str] = (),
    apis: Iterable[str] = (),
) -> tuple[Workspace, ...]:
    """The projects below ``paths`` with everything that is wrong in their documents.

    Raises:
        UsageError: a path, an environment or an API does not exist.
    """
    return read_workspaces(paths, project_file=project_file, environments=environments, apis=apis)


def open_project(
    paths: Sequence[Path],
    *,
    project_file: Path | None = None,
    environments: Iterable[str] = (),
    apis: Iterable[str] = (),
    said: ProjectDocument | None = None,
) -> Workspace:
    """The one project that the paths are about; what is wrong in it is told by the verbs.

    ``said`` is the project in place of the one in the project file.

    Raises:
        UsageError: a path, an environment or an API does not exist, or there are several projects.
    """
    return read_workspace(
        paths, project_file=project_file, environments=environments, apis=apis, said=said
    )


def open_settings(
    project_file: Path | None = None, *, environments: Iterable[str] = ()
) -> Workspace:
    """The project of this folder for the verbs that look at the GitOps repository alone.

    Raises:
        UsageError: the project file or an environment does not exist.
        InvalidDocument: the project file is wrong.
    """
    return read_project(project_file=project_file, environments=environments)
