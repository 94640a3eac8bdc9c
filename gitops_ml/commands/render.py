"""Render releases as the files of the GitOps repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitops_ml.delivery.images import image_warnings, plan_images, provenance_of, with_digests
from gitops_ml.delivery.plan import tag_warnings
from gitops_ml.delivery.release_changes import release_changes, wanted_releases
from gitops_ml.delivery.rendering import Objects, render_objects
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.errors import GitopsMlError
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops.release_files import Release
from gitops_ml.system.files import write_files
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace, checked


@dataclass(frozen=True, slots=True)
class Rendering:
    """The files of the releases, and their objects."""

    releases: tuple[Release, ...]
    files: tuple[RenderedFile, ...]
    objects: tuple[tuple[Release, Objects], ...]
    """The Kubernetes objects, where they were wanted."""
    warnings: tuple[str, ...]


def render(workspace: Workspace, *, clients: Clients, with_objects: bool = False) -> Rendering:
    """The files of every release, as if the GitOps repository were empty."""
    checked(workspace)
    unanswered: list[GitopsMlError] = []
    images = with_digests(plan_images(workspace, clients), {}, clients, unanswered.append)
    wanted = wanted_releases(workspace, images, provenance_of(workspace))
    releases = tuple(item.release for item in wanted)
    made = release_changes(wanted, RepositoryState.empty(), workspace, clients)
    files = tuple(
        RenderedFile(each.path, each.after) for each in made.changes if each.after is not None
    )
    objects = render_objects(releases, helm=clients.helm) if with_objects else {}
    shown = tuple((item, objects[item.directory]) for item in releases) if with_objects else ()
    warnings = (*image_warnings(images.values()), *map(str, unanswered), *tag_warnings(releases))
    return Rendering(releases, files, shown, warnings)


def write(rendering: Rendering, folder: Path) -> tuple[str, ...]:
    """The rendering's files in ``folder``; returns the paths of those that changed."""
    return write_files(folder, ((file.path, file.content) for file in rendering.files))
