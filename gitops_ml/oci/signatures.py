"""Sign images in a registry and read their signatures: what cosign calls ``sign`` and ``attest``.

A signature is written before the tag of its image, so that no tag points at an image without one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.errors import ServerFailed
from gitops_ml.oci.cosign import (
    DSSE,
    IN_TOTO,
    KEY,
    PREDICATE,
    SIMPLE_SIGNING,
    attestation_layer,
    attestation_tag,
    claims,
    envelope,
    layers_of,
    parse_envelope,
    signature_image,
    signature_layer,
    signature_of,
    signature_tag,
    simple_signing,
    to_be_signed,
)
from gitops_ml.oci.model import CONFIG, MANIFEST, BadManifest, Descriptor, describe
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.store import bytes_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_ml.oci.keys import PublicKey, SigningKey
    from gitops_ml.oci.registry import OciRegistry
    from gitops_ml.system.progress import Progress

_Made = tuple[Descriptor, bytes]
_ATTEMPTS = 5
_LARGEST = 32 << 20
"""Bytes of a payload or envelope: a bill of materials of ten thousand packages has fewer."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was found beside an image."""

    key: str | None
    """The fingerprint of its key: proven where ``is_verified``, else as its annotation names it."""
    is_verified: bool
    """Whether one of the keys that were given made it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement to be signed."""

    content: bytes
    predicate_type: str


def sign_image(
    registry: OciRegistry, repository: str, digest: str, *, key: SigningKey, progress: Progress
) -> bool:
    """Sign ``digest`` with ``key``, unless it is signed; whether that was new."""
    public, payload = key.public, simple_signing(repository, digest)
    made = signature_layer(payload, key.sign(payload), key=public.fingerprint)

    def missing(layers: Iterable[Descriptor]) -> list[_Made]:
        found = (_is_signed(registry, repository, each, digest, public, payload) for each in layers)
        return [] if any(found) else [(made, payload)]

    is_new = _add_layers(registry, ImageRef(repository, signature_tag(digest)), missing) > 0
    if is_new:
        progress(f"{repository}@{digest[:19]}…: signed with {public.fingerprint[:19]}…")
    return is_new


def attest(
    registry: OciRegistry,
    repository: str,
    digest: str,
    statements: Iterable[Statement],
    *,
    key: SigningKey,
) -> int:
    """Attach signed statements about ``digest``; how many of them were new."""
    public = key.public
    made = {statement.content: _attestation(statement, key) for statement in statements}

    def missing(layers: Iterable[Descriptor]) -> list[_Made]:
        found = {_verified(registry, repository, layer, public) for layer in layers}
        return [layer for content, layer in made.items() if content not in found]

    return _add_layers(registry, ImageRef(repository, attestation_tag(digest)), missing)


def _attestation(statement: Statement, key: SigningKey) -> _Made:
    signature = key.sign(to_be_signed(IN_TOTO, statement.content))
    content = envelope(IN_TOTO, statement.content, signature)
    name = key.public.fingerprint
    return attestation_layer(content, predicate_type=statement.predicate_type, key=name), content


def signatures_of(
    registry: OciRegistry, repository: str, digest: str, *, keys: Iterable[PublicKey] = ()
) -> tuple[Signature, ...]:
    """The signatures of an image; none where it is not signed."""
    known = tuple(keys)
    found = []
    for layer in _layers(registry, ImageRef(repository, signature_tag(digest))):
        if layer.media_type != SIMPLE_SIGNING:
            continue
        makers = (k for k in known if _is_signed(registry, repository, layer, digest, k, b""))
        maker = next(makers, None)
        name = maker.fingerprint if maker else layer.annotations.get(KEY)
        found.append(Signature(name, maker is not None))
    return tuple(found)


def is_signed(registry: OciRegistry, repository: str, digest: str, *, key: PublicKey) -> bool:
    """Whether ``key`` has signed an image; one request where it has not."""
    return any(
        found.is_verified for found in signatures_of(registry, repository, digest, keys=[key])
    )


def attestations_of(
    registry: OciRegistry, repository: str, digest: str, *, predicate_type: str, key: PublicKey
) -> tuple[bytes, ...]:
    """The statements of one type about an image that ``key`` has signed; the newest last."""
    layers = _layers(registry, ImageRef(repository, attestation_tag(digest)))
    # cosign writes this annotation, too
    chosen = (layer for layer in layers if layer.annotations.get(PREDICATE) == predicate_type)
    found = (_verified(registry, repository, layer, key) for layer in chosen)
    return tuple(payload for payload in found if payload is not None)


def _is_signed(
    registry: OciRegistry,
    repository: str,
    layer: Descriptor,
    digest: str,
    key: PublicKey,
    expected: bytes,
) -> bool:
    """Whether ``key`` signed what is in ``layer``, and it is about ``digest``."""
    signature = signature_of(layer)
    if layer.media_type != SIMPLE_SIGNING or not signature or layer.size > _LARGEST:
        return False
    if expected and describe(expected, SIMPLE_SIGNING).digest == layer.digest:
        payload = expected
    else:
        payload = registry.blob(repository, layer)
    return claims(payload, digest) and key.verifies(payload, signature)


def _verified(
    registry: OciRegistry, repository: str, layer: Descriptor, key: PublicKey
) -> bytes | None:
    """The payload of a signed statement, where ``key`` signed it."""
    if layer.media_type != DSSE or layer.size > _LARGEST:
        return None
    try:
        kind, payload, signatures = parse_envelope(registry.blob(repository, layer))
    except ValueError:
        return None
    content = to_be_signed(kind, payload)
    return payload if any(key.verifies(content, each) for each in signatures) else None


def _add_layers(
    registry: OciRegistry,
    place: ImageRef,
    missing: Callable[[Iterable[Descriptor]], list[_Made]],
) -> int:
    """Add the layers that are missing under a tag; returns how many those were.

    Registries have no compare-and-swap: a writer at the same moment may undo it, so the tag is read
    again after each write.
    """
    count = 0
    for _ in range(_ATTEMPTS):
        layers = _layers(registry, place)
        new = missing(layers)
        if not new:
            return count
        _write(registry, place, layers, new)
        count = len(new)
    raise ServerFailed(f"others keep changing the signatures at {place}")


def _write(
    registry: OciRegistry, place: ImageRef, layers: Iterable[Descriptor], new: list[_Made]
) -> None:
    manifest, config = signature_image((*layers, *(descriptor for descriptor, _ in new)))
    blobs = [(describe(config, CONFIG), config), *new]
    with ThreadPoolExecutor(len(blobs)) as pool:
        for future in [
            pool.submit(registry.push_blob, place.repository, blob, bytes_source(content))
            for blob, content in blobs
        ]:
            future.result()
    assert place.tag
    registry.push_manifest(place.repository, manifest, media_type=MANIFEST, to=place.tag)


def _layers(registry: OciRegistry, place: ImageRef) -> tuple[Descriptor, ...]:
    found = registry.find(place)
    if found is None:
        return ()
    try:
        return layers_of(found[0])
    except BadManifest as error:
        raise ServerFailed(f"{place} should hold signatures, but {error}") from error
