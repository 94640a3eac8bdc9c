"""The registry: whether images could be pushed there, by an upload that is begun and cancelled."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.doctor.outcome import Check, Probe, finding, ok, skipped
from gitops_ml.oci.blob_upload import try_upload
from gitops_ml.oci.reference import ImageRef, split_repository
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.workspace.clients import Clients


def registry_probes(clients: Clients, apis: tuple[str, ...]) -> Iterator[Probe]:
    if (registry := clients.registry) is not None:
        yield Probe("registry", lambda: push(registry, clients.project.image.repository, apis))
        yield Probe("base image", lambda: base_image(registry, clients.project.image.base))


def push(registry: OciRegistry, place: str | None, apis: tuple[str, ...]) -> Iterator[Check]:
    """Whether the image of the first API could be pushed."""
    if place is None:
        yield skipped("registry", "image.repository is not set, so no image can be pushed")
        return
    repository = f"{place}/{apis[0] if apis else 'doctor'}"
    try_upload(registry.session, repository)
    yield ok("registry", f"{split_repository(repository)[0]} accepts pushes to {repository}")


def base_image(registry: OciRegistry, base: str) -> Iterator[Check]:
    if registry.digest(ImageRef.parse(base)) is None:
        remedy = "run `gitops-ml base update`, or correct image.base"
        yield finding("base image", f"the registry has no {base}", remedy)
    else:
        yield ok("base image", f"{base} can be read")
