"""Build images and publish them: push them, attach the documents about them, and sign.

A registry takes documents before their image, and the tag comes last: it never points at half an image,
nor at one without a signature.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from gitops_ml.errors import EngineFailed
from gitops_ml.image.attestations import (
    API_MANIFEST,
    CYCLONEDX,
    CYCLONEDX_PREDICATE,
    PROVENANCE_PREDICATE,
    cyclonedx,
    is_provenance_of,
    provenance,
    statement,
)
from gitops_ml.image.builder import BuiltImage, OciBuilder
from gitops_ml.image.content_hash import ContentHash
from gitops_ml.image.contents import installed
from gitops_ml.image.context import build_inputs
from gitops_ml.image.docker import DockerBuilder
from gitops_ml.image.planner import PlannedImage
from gitops_ml.image.recipe import BUILDER, DOCKER_BUILDER, DockerPlan, OciPlan, render_dockerfile
from gitops_ml.oci.image_manifest import Descriptor
from gitops_ml.oci.keys import PublicKey, SigningKey
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import Attachment, OciRegistry, attach, referrers
from gitops_ml.oci.signatures import (
    IN_TOTO,
    Statement,
    attest,
    attestations_of,
    is_signed,
    sign_image,
)
from gitops_ml.packages.build_settings import build_settings
from gitops_ml.system.progress import Progress

_Documents = tuple["Descriptor", list[Attachment]]
"""What they are about, an image or the index of several, and the documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is published about an image, beside what its plan has."""

    manifest: bytes | None = None
    """The text of the API manifest."""
    source: Mapping[str, str] | None = None
    """Where the project is kept: ``uri`` and, if known, ``commit``."""
    key: SigningKey | None = field(default=None, repr=False)
    """``None`` where images are not signed."""


def build_image(
    image: PlannedImage,
    *,
    docker: DockerBuilder,
    oci: OciBuilder,
    publication: Publication | None,
    progress: Progress,
) -> str:
    """Build one image and, with a ``publication``, push it."""
    image = image.with_plan()
    assert image.choice, "only an image with inputs is built"
    progress(f"building {image.ref} with {image.choice.builder}: {image.choice.reason}")
    if isinstance(image.plan, OciPlan):
        built = oci.build(image.plan, progress=progress)
        if publication:
            push_image(built, image.ref, builder=oci, publication=publication, progress=progress)
        return built.digest
    assert image.plan, "a caller that builds has made the lock"
    local = _build_with_docker(image, image.plan, docker, progress)
    if publication is None:
        return local
    progress(f"pushing {image.ref}")
    digest = docker.push(image.ref, progress=progress)
    pinned = ImageRef(image.ref.repository, digest=digest)
    _document_image(pinned, image.plan, oci.registry, publication, progress)
    return digest


def _build_with_docker(
    image: PlannedImage, plan: DockerPlan, docker: DockerBuilder, progress: Progress
) -> str:
    assert image.choice and image.context, "only an image with inputs is built"
    settings = build_settings(os.environ)
    inputs = build_inputs(image.context, dockerfile=render_dockerfile(plan), settings=settings)
    try:
        return docker.build(inputs, image.ref, platform=plan.platform, progress=progress)
    except EngineFailed as error:
        raise EngineFailed(
            f"docker is the builder, since {image.choice.reason}: {error}"
        ) from error


def push_image(
    built: BuiltImage,
    image: ImageRef,
    *,
    builder: OciBuilder,
    publication: Publication = Publication(),
    progress: Progress,
) -> None:
    """Push an image with the documents about it, signed where there is a key.

    Raises:
        Refused, ServerFailed: the registry refused it, or failed; the tag did not change.
    """

    def push() -> None:
        builder.push(built, replace(image, tag=None), progress=progress)

    documents = _documents(built, image.repository, publication)
    _publish(
        documents,
        builder.registry,
        image.repository,
        key=publication.key,
        progress=progress,
        meanwhile=push,
    )
    if image.tag:
        top, content = built.manifests()[-1]
        builder.registry.push_manifest(
            image.repository, content, media_type=top.media_type, to=image.tag
        )
        progress(f"{image} is {built.digest}")


def _documents(
    built: BuiltImage, repository: str, publication: Publication
) -> Iterable[_Documents]:
    """The documents by subject; an image for one platform is its own index."""
    plan = built.plan
    about = provenance(
        ImageRef(repository, digest=built.digest),
        builder=BUILDER,
        content_hash=plan.content_hash,
        base=plan.base,
        platforms=plan.platforms,
        python=plan.lock.python,
        locks={platform: plan.lock.fingerprint(platform) for platform in plan.platforms},
        source=publication.source,
    )
    found = {built.digest: (built.descriptor, _about_all_platforms(about, publication))}
    for one in built.images:
        _, attachments = found.setdefault(one.descriptor.digest, (one.descriptor, []))
        bill = cyclonedx(one.components, base=plan.base, platform=one.platform)
        attachments.append(Attachment(artifact_type=CYCLONEDX, content=bill))
    return found.values()


def _document_image(
    image: ImageRef,
    plan: DockerPlan,
    registry: OciRegistry,
    publication: Publication,
    progress: Progress,
) -> None:
    """Attach documents and signature to an image, by digest, that an engine built and pushed."""
    assert plan.content_hash, "an engine built an image of this content hash"
    about = provenance(
        image,
        builder=DOCKER_BUILDER,
        content_hash=plan.content_hash,
        base=plan.base,
        platforms=(plan.platform,),
        python=plan.python_version,
        source=publication.source,
    )
    packages = installed(registry, image, base=plan.base, platform=plan.platform)
    bill = cyclonedx(packages, base=plan.base, platform=plan.platform)
    attachments = _about_all_platforms(about, publication)
    attachments.append(Attachment(artifact_type=CYCLONEDX, content=bill))
    documents = [(registry.manifest(image)[1], attachments)]
    _publish(documents, registry, image.repository, key=publication.key, progress=progress)


def _about_all_platforms(statement: bytes, publication: Publication) -> list[Attachment]:
    attachments = [Attachment(artifact_type=IN_TOTO, content=statement)]
    if publication.manifest is not None:
        manifest = Attachment(artifact_type=API_MANIFEST, content=publication.manifest)
        attachments.append(manifest)
    return attachments


def _publish(
    documents: Iterable[_Documents],
    registry: OciRegistry,
    repository: str,
    *,
    key: SigningKey | None,
    progress: Progress,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Attach ``documents`` and, with a key, sign their subjects and those that can be signed.

    The subjects need not exist yet: ``meanwhile`` may push them.
    """
    chosen = tuple(documents)

    def sign(key: SigningKey, digest: str, attachments: Iterable[Attachment]) -> None:
        # the signature comes last: an image without one counts as missing
        if statements := _statements(ImageRef(repository, digest=digest), attachments):
            attest(registry, repository, digest, statements, key=key)
        sign_image(registry, repository, digest, key=key, progress=progress)

    with ThreadPoolExecutor(1 + 2 * len(chosen)) as pool:
        futures: list[Future[Any]] = [pool.submit(meanwhile)]
        for subject, attachments in chosen:
            futures.append(pool.submit(attach, registry, repository, subject, attachments))
            if key is not None:
                futures.append(pool.submit(sign, key, subject.digest, attachments))
        for future in futures:
            future.result()


def _statements(image: ImageRef, attachments: Iterable[Attachment]) -> list[Statement]:
    """The documents that are signed: the provenance, and the bill of materials as a statement."""
    found = []
    for attachment in attachments:
        if attachment.artifact_type == IN_TOTO:
            found.append(Statement(attachment.content, PROVENANCE_PREDICATE))
        elif attachment.artifact_type == CYCLONEDX:
            bill = json.loads(attachment.content)
            content = statement(image, predicate_type=CYCLONEDX_PREDICATE, predicate=bill)
            found.append(Statement(content, CYCLONEDX_PREDICATE))
    return found


def is_made_by(
    key: PublicKey, image: ImageRef, *, registry: OciRegistry, content_hash: ContentHash
) -> bool:
    """Whether the holder of ``key`` made ``image``, by digest, from the inputs of ``content_hash``.

    A signature alone does not prove it: an older image has one, too, and every user who may push can
    point the tag at that.
    """
    assert image.digest, "signatures are about digests"
    if not is_signed(registry, image.repository, image.digest, key=key):
        return False
    statements = attestations_of(
        registry, image.repository, image.digest, predicate_type=PROVENANCE_PREDICATE, key=key
    )
    return any(is_provenance_of(each, image.digest, content_hash) for each in statements)


def is_documented(image: ImageRef, *, registry: OciRegistry) -> bool:
    """Whether ``image``, by digest, has all documents that a build attaches."""
    assert image.digest, "documents are about digests"
    found = {each.artifact_type for each in referrers(registry, image.repository, image.digest)}
    return {API_MANIFEST, CYCLONEDX, IN_TOTO} <= found
