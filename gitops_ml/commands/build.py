"""Build images and push those that the registry lacks, or export them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.delivery.images import (
    built_images,
    check_models,
    finished_image_check,
    image_warnings,
    make_image,
    plan_images,
)
from gitops_ml.errors import UsageError
from gitops_ml.image.planner import PlannedImage, look_up
from gitops_ml.image.recipe import BuilderChoice, OciPlan
from gitops_ml.packages.locking import Locks
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.source import read_source
from gitops_ml.workspace.workspace import Workspace, checked


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How images are built, and where they go."""

    push: bool = True
    layout: Path | None = None
    """The folder of an OCI layout that they are written to."""
    load: bool = False
    """Whether they are loaded into a local engine."""
    frozen: bool = False
    """Whether a lock that is not up to date is an error, as in CI."""
    dry_run: bool = False

    @property
    def locks(self) -> Locks:
        if self.frozen:
            return Locks.FROZEN
        return Locks.KNOWN if self.dry_run else Locks.MADE


@dataclass(frozen=True, slots=True)
class Built:
    """One image, and whether it was built."""

    apis: tuple[str, ...]
    image: str
    """Repository and tag."""
    content_hash: str
    digest: str | None
    """Of the image; for one that stays in a local engine, the engine's id."""
    state: str
    """``exists`` (in the registry already), ``built`` (and pushed), ``local`` or ``to build``."""
    choice: BuilderChoice


@dataclass(frozen=True, slots=True)
class Builds:
    """The images, and warnings about them."""

    images: tuple[Built, ...]
    warnings: tuple[str, ...]


def build(
    workspace: Workspace, *, clients: Clients, options: BuildOptions = BuildOptions()
) -> Builds:
    """Build and push what the registry lacks.

    Raises:
        UsageError: images have no repository, or a lock is not up to date and has to be.
        GitopsMlError: the requirements cannot be resolved, a wheel cannot be had, or the disk is
            full.
        EngineFailed: no engine answers, or a build failed.
        Refused: the registry has no model that a release needs.
    """
    if options.push and checked(workspace).project.image.repository is None:
        raise UsageError(
            "where should images go? Set image.repository in gitops-ml.yaml (for example "
            "ghcr.io/<you>/ml), or build with --no-push"
        )
    asks = options.push and not options.dry_run
    models = check_models(checked(workspace), clients) if asks else ()
    images = plan_images(workspace, clients, options.locks)
    registry = clients.registry if options.push else None
    digests = look_up(
        images.values(), known={}, registry=registry, is_trusted=finished_image_check(clients)
    )
    built = tuple(
        _build(apis, image, digests, workspace=workspace, clients=clients, options=options)
        for apis, image in built_images(images)
    )
    return Builds(built, (*image_warnings(images.values()), *models))


def _build(
    apis: tuple[str, ...],
    image: PlannedImage,
    digests: Mapping[str, str],
    *,
    workspace: Workspace,
    clients: Clients,
    options: BuildOptions,
) -> Built:
    def outcome(digest: str | None, state: str) -> Built:
        assert image.content_hash and image.choice, "an image of our own has both"
        return Built(apis, str(image.ref), image.content_hash.hex, digest, state, image.choice)

    if digest := digests.get(str(image.ref)):
        return outcome(digest, "exists")
    if options.dry_run:
        return outcome(None, "to build")
    if options.layout or options.load:
        put = _put(image, workspace=workspace, clients=clients, options=options)
        return outcome(put, "local")
    found = make_image(
        image, clients, push=options.push, source=lambda: read_source(workspace.root)
    )
    return outcome(found, "built" if options.push else "local")


def _put(
    image: PlannedImage, *, workspace: Workspace, clients: Clients, options: BuildOptions
) -> str:
    """Export an image to an OCI layout or a local engine."""
    from gitops_ml.oci.store import write_layout

    image = image.with_plan()
    assert image.choice, "an image of our own has one"
    if not isinstance(image.plan, OciPlan):
        if options.layout:
            raise UsageError(
                f"{image.ref} is built by docker ({image.choice.reason}), and an engine writes no "
                "OCI layout: `docker save` it, or push it and `skopeo copy` it"
            )
        return make_image(image, clients, push=False, source=lambda: read_source(workspace.root))
    clients.progress(f"building {image.ref} with oci: {image.choice.reason}")
    built = clients.oci.build(image.plan, progress=clients.progress)
    if options.layout:
        write_layout(
            options.layout,
            built.contents(),
            top=built.descriptor,
            name=image.ref.tag or built.digest,
            progress=clients.progress,
        )
    if options.load:
        clients.builder.load(built, image.ref, progress=clients.progress)
    return built.digest
