"""Sign images in a registry and read their signatures: what cosign calls ``sign`` and ``attest``.

Signatures and signed statements are stored where every version of cosign, containers/image, Kyverno and
the policy controller look: under tags that are made from the digest of what is signed. See cosign's
SIGNATURE_SPEC.md and ATTESTATION_SPEC.md, and DSSE's protocol.md. A signature is written before the tag
of its image, so that no tag points at an image without one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gitops_ml.errors import ServerFailed
from gitops_ml.http.json_reader import read_json
from gitops_ml.oci.image_manifest import (
    CONFIG,
    MANIFEST,
    BadManifest,
    Descriptor,
    ImageManifest,
    Index,
    canonical_json,
    describe,
    parse_manifest,
)
from gitops_ml.oci.keys import PublicKey, SigningKey
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry, push_blobs
from gitops_ml.system.progress import Progress

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
"""The annotation of a layer that holds the signature of its bytes, base64."""
KEY = "dev.gitops-ml.key"
"""Our annotation beside it: the fingerprint of the key. A hint, since it is not signed."""
PREDICATE = "predicateType"

_TYPE = "cosign container image signature"
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
    registry: OciRegistry, place: ImageRef, missing: Callable[[Iterable[Descriptor]], list[_Made]]
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
        manifest, config = signature_image((*layers, *(descriptor for descriptor, _ in new)))
        push_blobs(registry, place.repository, [(describe(config, CONFIG), config), *new])
        assert place.tag
        registry.push_manifest(place.repository, manifest, media_type=MANIFEST, to=place.tag)
        count = len(new)
    raise ServerFailed(f"others keep changing the signatures at {place}")


def _layers(registry: OciRegistry, place: ImageRef) -> tuple[Descriptor, ...]:
    found = registry.find(place)
    if found is None:
        return ()
    try:
        return layers_of(found[0])
    except BadManifest as error:
        raise ServerFailed(f"{place} should hold signatures, but {error}") from error


# -- formats ----------------------------------------------------------------------------------------


def signature_tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.sig"


def attestation_tag(digest: str) -> str:
    """The tag of the signed statements about ``digest``."""
    return f"{digest.replace(':', '-')}.att"


def simple_signing(repository: str, digest: str) -> bytes:
    """The claim that is signed: this digest, which was pushed to this repository."""
    return canonical_json(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": digest},
                "type": _TYPE,
            },
            "optional": None,
        }
    )


def claims(payload: bytes, digest: str) -> bool:
    """Whether a signed payload is about ``digest``."""
    try:
        critical = read_json(payload)["critical"]
        found = (critical["image"]["docker-manifest-digest"], critical["type"])
    except (ValueError, KeyError, TypeError):
        return False
    return found == (digest, _TYPE)


def signature_layer(payload: bytes, signature: bytes, *, key: str) -> Descriptor:
    text = base64.b64encode(signature).decode()
    return describe(payload, SIMPLE_SIGNING, annotations={SIGNATURE: text, KEY: key})


def signature_of(layer: Descriptor) -> bytes:
    """The signature in a layer's annotation; empty where there is none."""
    try:
        return base64.b64decode(layer.annotations.get(SIGNATURE, ""), validate=True)
    except binascii.Error:
        return b""


def to_be_signed(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: a signature covers the type as well."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def envelope(payload_type: str, payload: bytes, signature: bytes) -> bytes:
    """A signed statement. DSSE's key id stays empty, as with cosign: verifiers have their own key."""
    sig = base64.b64encode(signature).decode()
    return canonical_json(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": "", "sig": sig}],
        }
    )


def parse_envelope(content: bytes) -> tuple[str, bytes, tuple[bytes, ...]]:
    """Type, payload and signatures of an envelope; nothing is verified.

    Raises:
        ValueError: it is not an envelope.
    """
    try:
        found = read_json(content)
        signatures = tuple(base64.b64decode(each["sig"]) for each in found["signatures"])
        return str(found["payloadType"]), base64.b64decode(found["payload"]), signatures
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is not a DSSE envelope ({error!r})") from error


def attestation_layer(content: bytes, *, predicate_type: str, key: str) -> Descriptor:
    """The layer of a signed statement; its bytes are the envelope."""
    # cosign writes an empty signature here and filters by the predicate
    annotations = {SIGNATURE: "", PREDICATE: predicate_type, KEY: key}
    return describe(content, DSSE, annotations=annotations)


def signature_image(layers: Iterable[Descriptor]) -> tuple[bytes, bytes]:
    """Manifest and config of the image whose layers are signatures or signed statements.

    It is an ordinary image, so that every registry stores it.
    """
    kept = tuple(layers)
    diff_ids = [layer.digest for layer in kept]
    config = canonical_json(
        {
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    return ImageManifest(config=describe(config, CONFIG), layers=kept).to_bytes(), config


def layers_of(content: bytes) -> tuple[Descriptor, ...]:
    """The layers of such an image."""
    found = parse_manifest(content)
    if isinstance(found, Index):
        raise BadManifest("it is an index, not a list of signatures")
    return found.layers
