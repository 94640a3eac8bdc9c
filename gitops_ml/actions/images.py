"""Images: built and pushed where the registry lacks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError
from gitops_ml.images import PlannedImage, build_image, look_up
from gitops_ml.target import Tools, own_images, plan_images
from gitops_ml.workspace import Workspace, checked

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one image."""

    apis: tuple[str, ...]
    image: str
    """Repository and tag."""
    content_hash: str
    digest: str | None
    state: str
    """``exists`` (in the registry already), ``built`` (and pushed), ``local`` or ``to build``."""


def build(
    workspace: Workspace, *, tools: Tools, push: bool = True, dry_run: bool = False
) -> tuple[Built, ...]:
    """Build and push what the registry lacks.

    Raises:
        InvalidDocument: the documents or the files of a project are wrong.
        EngineFailed: no engine answers, or a build failed.
        Refused: the registry said no.
    """
    images = plan_images(checked(workspace), tools)
    if push and images and workspace.project.image.repository is None:
        raise UsageError(
            "where should images go? Set image.repository in gitops-ml.yaml (for example "
            "ghcr.io/<you>/ml), or build with --no-push"
        )
    registry = tools.registry() if tools.registry and push else None
    digests = look_up(images.values(), known={}, registry=registry)
    return tuple(
        _build(apis, image, digests, tools=tools, push=push, dry_run=dry_run)
        for apis, image in own_images(images)
    )


def _build(
    apis: tuple[str, ...],
    image: PlannedImage,
    digests: Mapping[str, str],
    *,
    tools: Tools,
    push: bool,
    dry_run: bool,
) -> Built:
    name = str(image.ref)
    content_hash = image.content_hash.hex if image.content_hash else ""
    if digest := digests.get(name):
        return Built(apis, name, content_hash, digest, "exists")
    if dry_run:
        return Built(apis, name, content_hash, None, "to build")
    result = build_image(image, builder=tools.builder(), push=push, progress=tools.progress)
    return Built(apis, name, content_hash, result, "built" if push else "local")
