"""Attach documents to images: bills of materials, provenance, API manifests.

A registry that supports referrers (OCI distribution 1.1) finds them by the ``subject`` of the attached
manifest. For other registries the list is also written to a tag, ``sha256-<hex>``, as the
specification requires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gitops_ml.errors import ServerFailed
from gitops_ml.oci.image_manifest import (
    EMPTY,
    INDEX,
    MANIFEST,
    BadManifest,
    Descriptor,
    ImageManifest,
    Index,
    describe,
    parse_manifest,
)
from gitops_ml.oci.reference import ImageRef, split_repository
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.registry_session import Scope
from gitops_ml.oci.store import bytes_source

_ATTEMPTS = 5
_WORKERS = 4
_EMPTY = describe(b"{}", EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One document about an image."""

    artifact_type: str
    content: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)


def attach(
    registry: OciRegistry,
    repository: str,
    subject: Descriptor,
    attachments: Iterable[Attachment],
) -> tuple[Descriptor, ...]:
    """Attach documents to the image that ``subject`` describes; attaching twice changes nothing."""
    bare = Descriptor(subject.media_type, subject.digest, subject.size)
    blobs = {_EMPTY.digest: (_EMPTY, b"{}")}
    made: list[tuple[bytes, Descriptor]] = []
    for document in attachments:
        layer = describe(document.content, document.artifact_type)
        blobs[layer.digest] = (layer, document.content)
        made.append(_referrer(document, layer, bare))
    push_blobs(registry, repository, blobs.values())
    with ThreadPoolExecutor(_WORKERS) as pool:
        known = [*pool.map(lambda one: _push(registry, repository, one[0], subject), made)]
    found = tuple(descriptor for _, descriptor in made)
    if not all(known):
        _list(registry, repository, subject, found)
    return found


def push_blobs(
    registry: OciRegistry, repository: str, blobs: Iterable[tuple[Descriptor, bytes]]
) -> None:
    """Push small blobs, several at once."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        for future in [
            pool.submit(registry.push_blob, repository, blob, bytes_source(content))
            for blob, content in blobs
        ]:
            future.result()


def _referrer(
    document: Attachment, layer: Descriptor, subject: Descriptor
) -> tuple[bytes, Descriptor]:
    content = ImageManifest(
        config=_EMPTY,
        layers=(layer,),
        annotations=document.annotations,
        subject=subject,
        artifact_type=document.artifact_type,
    ).to_bytes()
    more = {"annotations": document.annotations, "artifact_type": document.artifact_type}
    return content, describe(content, MANIFEST, **more)


def referrers(
    registry: OciRegistry, repository: str, digest: str, *, artifact_type: str = ""
) -> tuple[Descriptor, ...]:
    """The documents attached to an image, as the registry or the fallback tag lists them."""
    host, name = split_repository(repository)
    response = registry.session.request(
        "GET", host, f"/v2/{name}/referrers/{digest}", scope=Scope(name)
    )
    if response.ok and "index" in response.headers.get("Content-Type", ""):
        found = _entries(response.content, repository)
    else:
        found = _fallback(registry, repository, digest)
    return tuple(e for e in found if artifact_type in ("", e.artifact_type))


def read_attachment(registry: OciRegistry, repository: str, referrer: Descriptor) -> bytes:
    """The document behind one of `referrers`."""
    content, _ = registry.manifest(ImageRef(repository, digest=referrer.digest))
    try:
        manifest = parse_manifest(content)
    except BadManifest as error:
        raise ServerFailed(f"{referrer.digest} in {repository} cannot be read: {error}") from error
    if isinstance(manifest, Index) or len(manifest.layers) != 1:
        raise ServerFailed(f"{referrer.digest} in {repository} is not one document")
    return registry.blob(repository, manifest.layers[0])


def _push(registry: OciRegistry, repository: str, content: bytes, subject: Descriptor) -> bool:
    """Push a manifest with a subject; whether the registry reports that it processed the subject."""
    digest = describe(content, MANIFEST).digest
    _, noted = registry.put_manifest(repository, content, media_type=MANIFEST, to=digest)
    return noted == subject.digest


def _list(
    registry: OciRegistry, repository: str, subject: Descriptor, new: Iterable[Descriptor]
) -> None:
    """Add ``new`` to the list under the fallback tag, also when others write it meanwhile."""
    wanted = {descriptor.digest: descriptor for descriptor in new}
    for _ in range(_ATTEMPTS):
        known = {entry.digest: entry for entry in _fallback(registry, repository, subject.digest)}
        if wanted.keys() <= known.keys():
            return
        entries = {**known, **wanted}
        index = Index(manifests=tuple(entries[digest] for digest in sorted(entries)))
        registry.push_manifest(
            repository, index.to_bytes(), media_type=INDEX, to=_tag(subject.digest)
        )
    raise ServerFailed(f"others keep changing what is attached to {repository}@{subject.digest}")


def _fallback(registry: OciRegistry, repository: str, digest: str) -> tuple[Descriptor, ...]:
    image = ImageRef(repository, _tag(digest))
    found = registry.find(image)
    return _entries(found[0], repository) if found else ()


def _entries(content: bytes, repository: str) -> tuple[Descriptor, ...]:
    try:
        found = parse_manifest(content, media_type=INDEX)
    except BadManifest as error:
        raise ServerFailed(
            f"the list of documents about an image in {repository} cannot be read: {error}"
        ) from error
    return found.manifests if isinstance(found, Index) else ()


def _tag(digest: str) -> str:
    return digest.replace(":", "-")
