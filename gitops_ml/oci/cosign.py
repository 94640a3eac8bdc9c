"""Signatures and signed attestations in the formats of cosign.

They are stored where every version of cosign, containers/image, Kyverno and the policy controller
look: under tags that are made from the digest of what is signed. See cosign's SIGNATURE_SPEC.md and
ATTESTATION_SPEC.md, and DSSE's protocol.md.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from gitops_ml.http.json_reader import read_json
from gitops_ml.oci.model import (
    CONFIG,
    BadManifest,
    Descriptor,
    ImageManifest,
    Index,
    canonical_json,
    describe,
    digest_of,
    parse_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.oci.reference import ImageRef

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
"""The annotation of a layer that holds the signature of its bytes, base64."""
KEY = "dev.gitops-ml.key"
"""Our annotation beside it: the fingerprint of the key. A hint, since it is not signed."""
PREDICATE = "predicateType"

_TYPE = "cosign container image signature"


def signature_tag(digest: str) -> str:
    """The tag of the signatures of ``digest``."""
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
    """The layer of a signature; its bytes are the payload."""
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
    """The layers of such an image.

    Raises:
        BadManifest: it is not such an image.
    """
    found = parse_manifest(content)
    if isinstance(found, Index):
        raise BadManifest("it is an index, not a list of signatures")
    return found.layers


def statement(image: ImageRef, *, predicate_type: str, predicate: Any) -> bytes:
    """An in-toto statement about an image, by its digest."""
    return canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": image.repository, "digest": digest_set(image.digest or "")}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def digest_set(digest: str) -> Mapping[str, str]:
    """A digest as in-toto writes it: the value by its algorithm."""
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def fingerprint(public_key: bytes) -> str:
    """The name of a key: the digest of its public half (DER, SubjectPublicKeyInfo)."""
    return digest_of(public_key)
