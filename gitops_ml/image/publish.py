"""Push images to a registry, with the documents about them and their signatures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.image.attachments import SubjectDocuments, publish
from gitops_ml.image.attestations import API_MANIFEST, CYCLONEDX, cyclonedx, provenance
from gitops_ml.image.builder import OciBuilder
from gitops_ml.image.dockerfile import BUILDER as DOCKER_BUILDER
from gitops_ml.image.recipe import BUILDER
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.referrers import Attachment
from gitops_ml.oci.signatures import IN_TOTO
from gitops_ml.oci.store import BlobStore
from gitops_ml.packages.wheel_store import WheelStore
from gitops_ml.system.cache import cache_folder, folder_in
from gitops_ml.system.seal import Seal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.image.builder import BuiltImage, Pushed
    from gitops_ml.image.dockerfile import DockerPlan
    from gitops_ml.image.recipe import OciPlan
    from gitops_ml.oci.keys import SigningKey
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.system.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOrigin:
    """What an image was made from, beside its inputs."""

    manifest: bytes | None = None
    """The text of the API manifest."""
    source: Mapping[str, str] | None = None
    """Where the project is kept: ``uri`` and, if known, ``commit``."""


def oci_builder(registry: OciRegistry, environ: Mapping[str, str]) -> OciBuilder:
    """A builder for ``registry``, with the user's cache and package indexes.

    Raises:
        UsageError: the cache folder cannot be made.
    """
    folder = cache_folder(environ)
    wheels = WheelStore(folder_in(folder, "wheels"), environ=environ)
    blobs = BlobStore(folder_in(folder, "oci"), seal=Seal.of_user(environ))
    return OciBuilder(registry, blobs=blobs, wheels=wheels)


def push_image(
    built: BuiltImage,
    image: ImageRef,
    *,
    plan: OciPlan,
    builder: OciBuilder,
    origin: ImageOrigin = ImageOrigin(),
    key: SigningKey | None = None,
    progress: Progress,
) -> Pushed:
    """Push an image with the documents about it, signed where there is a ``key``.

    The tag comes last, so that it never points at half an image, nor at one without a signature.

    Raises:
        Refused, ServerFailed: the registry refused it, or failed; the tag did not change.
    """
    pushed: list[Pushed] = []

    def push() -> None:
        pushed.append(builder.push(built, replace(image, tag=None), progress=progress))

    # a registry takes documents before their image
    publish(
        _documents(built, plan, image.repository, origin),
        registry=builder.registry,
        repository=image.repository,
        key=key,
        progress=progress,
        meanwhile=push,
    )
    if image.tag:
        builder.registry.push_manifest(
            image.repository, built.content, media_type=built.media_type, to=image.tag
        )
        progress(f"{image} is {built.digest}")
    return pushed[0]


def document_image(
    image: ImageRef,
    *,
    plan: DockerPlan,
    registry: OciRegistry,
    origin: ImageOrigin,
    key: SigningKey | None,
    progress: Progress,
) -> None:
    """Attach documents and signature to an image that an engine built and pushed.

    Raises:
        Refused, ServerFailed: the registry refused them, or failed.
    """
    from gitops_ml.image.installed_packages import bill_of_image

    assert plan.content_hash and image.digest, "an engine pushed an image of this content hash"
    pinned = replace(image, tag=None)
    subject = registry.manifest(pinned)[1]
    about = provenance(
        pinned,
        builder=DOCKER_BUILDER,
        content_hash=plan.content_hash,
        base=plan.base,
        platforms=(plan.platform,),
        python=plan.python_version,
        source=origin.source,
    )
    bill = bill_of_image(registry, pinned, base=plan.base, platform=plan.platform)
    attachments = [
        *_about_all_platforms(about, origin),
        Attachment(artifact_type=CYCLONEDX, content=bill),
    ]
    publish(
        [SubjectDocuments(subject, attachments)],
        registry=registry,
        repository=image.repository,
        key=key,
        progress=progress,
    )


def _documents(
    built: BuiltImage, plan: OciPlan, repository: str, origin: ImageOrigin
) -> tuple[SubjectDocuments, ...]:
    """The documents by subject; an image for one platform is its own index."""
    about = provenance(
        ImageRef(repository, digest=built.digest),
        builder=BUILDER,
        content_hash=plan.content_hash,
        base=plan.base,
        platforms=plan.platforms,
        python=plan.lock.python,
        locks={platform: plan.lock.fingerprint(platform) for platform in plan.platforms},
        source=origin.source,
    )
    found = {built.digest: (built.descriptor, _about_all_platforms(about, origin))}
    for one in built.images:
        _, attachments = found.setdefault(one.descriptor.digest, (one.descriptor, []))
        bill = cyclonedx(one.components, base=plan.base, platform=one.platform)
        attachments.append(Attachment(artifact_type=CYCLONEDX, content=bill))
    return tuple(SubjectDocuments(subject, attachments) for subject, attachments in found.values())


def _about_all_platforms(statement: bytes, origin: ImageOrigin) -> list[Attachment]:
    attachments = [Attachment(artifact_type=IN_TOTO, content=statement)]
    if origin.manifest is not None:
        attachments.append(Attachment(artifact_type=API_MANIFEST, content=origin.manifest))
    return attachments
