"""Images without a container engine, from a project's directory to a digest in a registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml._version import __version__
from gitops_ml.image.attachments import SubjectDocuments, publish
from gitops_ml.image.attestations import API_MANIFEST, CYCLONEDX, IN_TOTO, cyclonedx, provenance
from gitops_ml.image.builder import OciBuilder
from gitops_ml.image.dockerfile import BUILDER as DOCKER_BUILDER
from gitops_ml.image.recipe import BUILDER
from gitops_ml.oci.referrers import Attachment
from gitops_ml.oci.store import BlobStore
from gitops_ml.packages.wheel_store import WheelStore
from gitops_ml.system.cache import cache_folder, folder_in
from gitops_ml.system.seal import Seal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.image.builder import BuiltImage, PlatformImage, Pushed
    from gitops_ml.image.inputs import ContentHash
    from gitops_ml.image.recipe import OciPlan
    from gitops_ml.oci.keys import SigningKey
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.system.progress import Progress


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
    wheels = WheelStore(folder_in(folder, "wheels"), environ=environ)
    blobs = BlobStore(folder_in(folder, "oci"), seal=Seal.of_user(environ))
    return OciTools(OciBuilder(registry, blobs=blobs, wheels=wheels), registry)


def push_image(
    built: BuiltImage,
    image: ImageRef,
    *,
    plan: OciPlan,
    tools: OciTools,
    manifest: bytes | None = None,
    source: Mapping[str, str] | None = None,
    key: SigningKey | None = None,
    progress: Progress,
) -> Pushed:
    """Push an image with the documents about it, signed where there is a key.

    The tag comes last, when all of it is there: it never points at half an image, nor at one that
    is not signed.

    Raises:
        Refused, ServerFailed: the registry said no, or failed; the tag is as it was.
    """
    registry, repository = tools.registry, image.repository
    pushed: list[Pushed] = []

    def push() -> None:
        pushed.append(tools.builder.push(built, replace(image, tag=None), progress=progress))

    # what is attached need not wait for what it is attached to
    publish(
        _documents(built, plan, repository, manifest, source),
        registry=registry,
        repository=repository,
        key=key,
        progress=progress,
        meanwhile=push,
    )
    if image.tag:
        registry.push_manifest(repository, built.content, media_type=built.media_type, to=image.tag)
        progress(f"{image} is {built.digest}")
    return pushed[0]


def document_image(
    image: ImageRef,
    *,
    registry: OciRegistry,
    base: ImageRef,
    platform: str,
    python: str | None,
    content_hash: ContentHash,
    manifest: bytes | None = None,
    source: Mapping[str, str] | None = None,
    key: SigningKey | None = None,
    progress: Progress,
) -> None:
    """The same documents, and signature, for an image that an engine built and pushed.

    Raises:
        Refused, ServerFailed: the registry said no, or failed.
    """
    from gitops_ml.image.installed_packages import bill_of_image

    assert image.digest and image.tag, "an engine pushes tags, and tells their digests"
    subject = registry.manifest(replace(image, tag=None))[1]
    about = provenance(
        repository=image.repository,
        digest=image.digest,
        builder=DOCKER_BUILDER,
        content_hash=content_hash,
        base=base,
        platforms=(platform,),
        python=python,
        locks={},
        tool_version=__version__,
        source=source,
    )
    bill = bill_of_image(registry, replace(image, tag=None), base=base, platform=platform)
    attachments = [
        Attachment(artifact_type=IN_TOTO, content=about),
        Attachment(artifact_type=CYCLONEDX, content=bill),
    ]
    if manifest is not None:
        attachments.append(Attachment(artifact_type=API_MANIFEST, content=manifest))
    publish(
        [SubjectDocuments(subject, attachments)],
        registry=registry,
        repository=image.repository,
        key=key,
        progress=progress,
    )


def _documents(
    built: BuiltImage,
    plan: OciPlan,
    repository: str,
    manifest: bytes | None,
    source: Mapping[str, str] | None,
) -> tuple[SubjectDocuments, ...]:
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
    return tuple(SubjectDocuments(subject, attachments) for subject, attachments in found.values())


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
        builder=BUILDER,
        content_hash=plan.content_hash,
        base=plan.base,
        platforms=plan.platforms,
        python=plan.lock.python,
        locks={platform: plan.lock.fingerprint(platform) for platform in plan.platforms},
        tool_version=__version__,
        source=source,
    )
