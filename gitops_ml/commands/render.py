"""What would be in the GitOps repository, as files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.delivery.images import image_warnings, plan_images, provenance_of, with_digests
from gitops_ml.delivery.plan import mode_manifests, tag_warnings
from gitops_ml.delivery.rendering import (
    Objects,
    RepositoryState,
    make_releases,
    refuse_taken_routes,
    render_files,
    render_objects,
)
from gitops_ml.system.files import write_files
from gitops_ml.workspace.workspace import Workspace, checked

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.errors import GitopsMlError
    from gitops_ml.git.model import RenderedFile
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.workspace.clients import Clients


@dataclass(frozen=True, slots=True)
class Rendering:
    """What would be in the GitOps repository."""

    releases: tuple[Release, ...]
    files: tuple[RenderedFile, ...]
    objects: tuple[tuple[Release, Objects], ...]
    """The Kubernetes objects, where they were asked for."""
    warnings: tuple[str, ...]


def render(workspace: Workspace, *, tools: Clients, with_objects: bool = False) -> Rendering:
    """The files of every release, as if the GitOps repository were empty.

    Raises:
        InvalidDocument: the documents or the files of a project are wrong.
    """
    planned = checked(workspace).releases
    unanswered: list[GitopsMlError] = []
    images = with_digests(plan_images(workspace, tools), {}, tools, unanswered.append)
    releases = make_releases(planned, images, workspace)
    made = [(plan.manifest, item) for plan, item in zip(planned, releases, strict=True)]
    refuse_taken_routes(made, RepositoryState.nothing(), None)
    objects = render_objects(releases, helm=tools.helm()) if with_objects else {}
    files = render_files(
        releases,
        workspace,
        provenance=provenance_of(workspace),
        standing=RepositoryState.nothing(),
        manifests=mode_manifests(releases, workspace, tools),
    )
    shown = tuple((item, objects[item.directory]) for item in releases) if with_objects else ()
    warnings = (
        *image_warnings(images.values()),
        *map(str, unanswered),
        *tag_warnings(releases),
    )
    return Rendering(releases, files, shown, warnings)


def write(rendering: Rendering, folder: Path) -> tuple[str, ...]:
    """The rendering's files in ``folder``; returns the paths of those that were not equal already."""
    return write_files(folder, ((file.path, file.content) for file in rendering.files))
