"""Attach the documents about an image and sign them."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.image.attestations import (
    API_MANIFEST,
    CYCLONEDX,
    CYCLONEDX_PREDICATE,
    PROVENANCE_PREDICATE,
    is_provenance_of,
    statement,
)
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.referrers import Attachment, attach, referrers
from gitops_ml.oci.signatures import IN_TOTO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gitops_ml.image.content_hash import ContentHash
    from gitops_ml.oci.keys import PublicKey, SigningKey
    from gitops_ml.oci.model import Descriptor
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.oci.signatures import Statement
    from gitops_ml.system.progress import Progress


@dataclass(frozen=True, slots=True)
class SubjectDocuments:
    """The documents about one image, or about the index of several."""

    subject: Descriptor
    attachments: Sequence[Attachment]


def publish(
    documents: Iterable[SubjectDocuments],
    *,
    registry: OciRegistry,
    repository: str,
    key: SigningKey | None,
    progress: Progress,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Attach ``documents`` and, with a key, sign their subjects and those that can be signed.

    The subjects need not exist yet: ``meanwhile`` may push them.
    """
    chosen = tuple(documents)
    with ThreadPoolExecutor(1 + 2 * len(chosen)) as pool:
        futures: list[Future[Any]] = [pool.submit(meanwhile)]
        for about in chosen:
            futures.append(
                pool.submit(attach, registry, repository, about.subject, about.attachments)
            )
            if key is not None:
                futures.append(pool.submit(_sign, registry, repository, about, key, progress))
        for future in futures:
            future.result()


def is_made_by(
    key: PublicKey, image: ImageRef, *, registry: OciRegistry, content_hash: ContentHash
) -> bool:
    """Whether the holder of ``key`` made ``image``, by digest, from the inputs of ``content_hash``.

    A signature alone does not prove it: an older image has one, too, and every user who may push can
    point the tag at that.
    """
    from gitops_ml.oci.signatures import attestations_of, is_signed

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


def _sign(
    registry: OciRegistry,
    repository: str,
    about: SubjectDocuments,
    key: SigningKey,
    progress: Progress,
) -> None:
    from gitops_ml.oci.signatures import attest, sign_image

    digest = about.subject.digest
    # the signature comes last: an image without one counts as missing
    statements = _statements(repository, about)
    if statements:
        attest(registry, repository, digest, statements, key=key)
    sign_image(registry, repository, digest, key=key, progress=progress)


def _statements(repository: str, about: SubjectDocuments) -> list[Statement]:
    from gitops_ml.oci.signatures import Statement

    found = []
    for attachment in about.attachments:
        if attachment.artifact_type == IN_TOTO:
            found.append(Statement(attachment.content, PROVENANCE_PREDICATE))
        elif attachment.artifact_type == CYCLONEDX:
            content = statement(
                ImageRef(repository, digest=about.subject.digest),
                predicate_type=CYCLONEDX_PREDICATE,
                predicate=json.loads(attachment.content),
            )
            found.append(Statement(content, CYCLONEDX_PREDICATE))
    return found
