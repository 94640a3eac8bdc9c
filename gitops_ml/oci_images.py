"""Images without a container engine, from a project's directory to a digest in a registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml._version import __version__
from gitops_ml.adapters.cache import cache_folder
from gitops_ml.adapters.oci_builder import OciBuilder
from gitops_ml.adapters.oci_referrers import Attachment, attach
from gitops_ml.adapters.oci_store import BlobStore
from gitops_ml.adapters.wheel_store import WheelStore
from gitops_ml.core.bill_of_materials import (
    API_MANIFEST,
    CYCLONEDX,
    IN_TOTO,
    cyclonedx,
    provenance,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.adapters.oci_builder import BuiltImage, PlatformImage, Pushed
    from gitops_ml.adapters.oci_registry import OciRegistry
    from gitops_ml.core.image import ImageRef
    from gitops_ml.core.image_recipe import OciPlan
    from gitops_ml.core.oci import Descriptor
    from gitops_ml.ports import Progress


@dataclass(frozen=True, slots=True)
class OciTools:
    """A builder and the registry client that it pushes with: one session for both."""

    builder: OciBuilder
    registry: OciRegistry


def oci_tools(registry: OciRegistry, environ: Mapping[str, str]) -> OciTools:
    """What builds for ``registry`` and pushes to it, with the user's cache and package indexes.

    Raises:
        UsageError: the cache folder cannot be made.
    """
    folder = cache_folder(environ)
    wheels = WheelStore(folder / "wheels", environ=environ)
    return OciTools(OciBuilder(registry, blobs=BlobStore(folder / "oci"), wheels=wheels), registry)


def push_image(
    built: BuiltImage,
    image: ImageRef,
    *,
    plan: OciPlan,
    tools: OciTools,
    manifest: bytes | None = None,
    source: Mapping[str, str] | None = None,
    progress: Progress,
) -> Pushed:
    """Push an image with the documents about it; the tag comes last, when all of it is there.

    Raises:
        Refused, ServerFailed: the registry said no, or failed; the tag is as it was.
    """
    from concurrent.futures import ThreadPoolExecutor

    registry, repository = tools.registry, image.repository
    documents = _documents(built, plan, repository, manifest, source)
    # what is attached need not wait for what it is attached to
    with ThreadPoolExecutor(1 + len(documents)) as pool:
        pushing = pool.submit(
            tools.builder.push, built, replace(image, tag=None), progress=progress
        )
        attaching = [
            pool.submit(attach, registry, repository, subject, attachments, progress=_silent)
            for subject, attachments in documents
        ]
        pushed = pushing.result()
        for future in attaching:
            future.result()
    if image.tag:
        registry.push_manifest(repository, built.content, media_type=built.media_type, to=image.tag)
        progress(f"{image} is {built.digest}")
    return pushed


def _documents(
    built: BuiltImage,
    plan: OciPlan,
    repository: str,
    manifest: bytes | None,
    source: Mapping[str, str] | None,
) -> tuple[tuple[Descriptor, list[Attachment]], ...]:
    """What is attached to what: an image for one platform is its own index."""
    about = [
        Attachment(artifact_type=IN_TOTO, content=_provenance(built, plan, repository, source))
    ]
    if manifest is not None:
        about.append(Attachment(artifact_type=API_MANIFEST, content=manifest))
    found = {built.digest: (built.descriptor, about)}
    for one in built.images:
        _, known = found.setdefault(one.descriptor.digest, (one.descriptor, []))
        known.append(_bill(one, plan))
    return tuple(found.values())


def _bill(one: PlatformImage, plan: OciPlan) -> Attachment:
    content = cyclonedx(
        one.components,
        base=plan.base,
        platform=one.platform,
        tool_version=__version__,
    )
    return Attachment(artifact_type=CYCLONEDX, content=content)


def _provenance(
    built: BuiltImage, plan: OciPlan, repository: str, source: Mapping[str, str] | None
) -> bytes:
    return provenance(
        repository=repository,
        digest=built.digest,
        content_hash=plan.content_hash,
        base=plan.base,
        platforms=plan.platforms,
        python=plan.lock.python,
        locks={platform: plan.lock.fingerprint(platform) for platform in plan.platforms},
        tool_version=__version__,
        source=source,
    )


def _silent(line: str) -> None:
    """Small documents are not worth a line each."""
