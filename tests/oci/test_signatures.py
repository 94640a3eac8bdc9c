"""Images that we sign, verified by programs that are not ours: openssl, securesystemslib, cosign."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import ServerFailed
from gitops_ml.image.attestations import statement
from gitops_ml.oci.image_manifest import CONFIG, MANIFEST, describe, digest_of
from gitops_ml.oci.keys import SigningKey, SigningSpec, find_signing_key
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.signatures import (
    SIGNATURE,
    Signature,
    Statement,
    attest,
    attestation_tag,
    attestations_of,
    is_signed,
    layers_of,
    sign_image,
    signature_image,
    signature_layer,
    signature_tag,
    signatures_of,
    simple_signing,
)
from tests.oci.test_keys import SIGNED_BY_COSIGN, pem_of, public_key
from tests.support.oci import push_tiny_base, registry_of, silent, source
from tests.support.real import require

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.oci.registry import OciRegistry
    from tests.support.real import RealRegistry

PREDICATE = "https://example.org/checked/v1"
COSIGN = shutil.which("cosign")
"""Verifies as well where it is installed; everywhere else openssl does what it would do."""


def new_key(folder: Path) -> SigningKey:
    """A key that openssl makes, and ``key.pub`` beside it."""
    require("openssl")
    folder.mkdir()
    made = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*made, "-out", str(folder / "key.pem")], check=True, capture_output=True)
    public = ["openssl", "pkey", "-in", str(folder / "key.pem"), "-pubout"]
    subprocess.run([*public, "-out", str(folder / "key.pub")], check=True)
    spec = SigningSpec(key="key.pem", password_env="NONE")
    found = find_signing_key(spec, root=folder, environ={})
    assert found
    assert pem_of(found.public) == (folder / "key.pub").read_text()
    return found


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return new_key(tmp_path / "one")


@pytest.fixture
def client() -> OciRegistry:
    return registry_of()


@pytest.fixture
def image(client: OciRegistry, registry: RealRegistry, tmp_path: Path) -> ImageRef:
    """An image for one platform, by digest."""
    repository = f"{registry.host}/signed/{digest_of(str(tmp_path).encode())[7:19]}"
    base = push_tiny_base(client, repository)
    return ImageRef(repository, digest=digest_of(base.manifests["linux/amd64"]))


def layers_at(image: ImageRef, tag: str, folder: Path) -> list[tuple[dict[str, str], bytes]]:
    """Annotations and bytes of what lies under a tag, fetched by skopeo."""
    require("skopeo")
    source, target = f"docker://{image.repository}:{tag}", f"dir:{folder}/{tag}"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, target], check=True
    )
    manifest = json.loads((folder / tag / "manifest.json").read_text())
    return [
        (each["annotations"], (folder / tag / each["digest"].removeprefix("sha256:")).read_bytes())
        for each in manifest["layers"]
    ]


def openssl_verifies(content: bytes, signature: str, public: Path, folder: Path) -> bool:
    (folder / "content").write_bytes(content)
    (folder / "signature").write_bytes(base64.b64decode(signature))
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", str(public),
         "-signature", str(folder / "signature"), str(folder / "content")],
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


def cosign_verifies(command: str, image: ImageRef, public: Path, *more: str) -> bool:
    assert COSIGN
    done = subprocess.run(
        [COSIGN, command, "--key", str(public), "--insecure-ignore-tlog=true",
         "--allow-http-registry", *more, str(image)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


def is_accepted(image: ImageRef, public: Path, folder: Path) -> bool:
    """Whether somebody who has the public key finds a signature of the image, as cosign looks."""
    folder.mkdir(exist_ok=True)
    found = False
    for notes, payload in layers_at(image, signature_tag(str(image.digest)), folder):
        critical = json.loads(payload)["critical"]
        assert critical["type"] == "cosign container image signature"
        assert critical["identity"] == {"docker-reference": image.repository}
        assert critical["image"] == {"docker-manifest-digest": image.digest}
        signature = notes["dev.cosignproject.cosign/signature"]
        found |= openssl_verifies(payload, signature, public, folder)
    if COSIGN:
        assert cosign_verifies("verify", image, public) is found
    return found


def test_others_verify_what_we_sign(
    client: OciRegistry, image: ImageRef, key: SigningKey, tmp_path: Path
) -> None:
    assert image.digest
    assert signatures_of(client, image.repository, image.digest) == ()
    assert sign_image(client, image.repository, image.digest, key=key, progress=silent)
    assert is_accepted(image, tmp_path / "one" / "key.pub", tmp_path / "theirs")
    new_key(tmp_path / "two")
    assert not is_accepted(image, tmp_path / "two" / "key.pub", tmp_path / "others")


def test_signing_again_adds_nothing_and_another_key_adds_its_own(
    client: OciRegistry, image: ImageRef, key: SigningKey, tmp_path: Path
) -> None:
    repository, digest, other = image.repository, str(image.digest), new_key(tmp_path / "two")
    assert sign_image(client, repository, digest, key=key, progress=silent)
    place = ImageRef(repository, signature_tag(digest))
    before = client.manifest(place)
    assert not sign_image(client, repository, digest, key=key, progress=silent)
    assert client.manifest(place) == before
    assert not is_signed(client, repository, digest, key=other.public)

    lines: list[str] = []
    assert sign_image(client, repository, digest, key=other, progress=lines.append)
    assert other.public.fingerprint[:19] in lines[0]
    ours, theirs = key.public.fingerprint, other.public.fingerprint
    assert signatures_of(client, repository, digest, keys=[other.public]) == (
        Signature(ours, is_verified=False),
        Signature(theirs, is_verified=True),
    )
    for name in ("one", "two"):
        assert is_accepted(image, tmp_path / name / "key.pub", tmp_path / f"by-{name}")


def test_a_signature_of_another_image_is_none(
    client: OciRegistry, image: ImageRef, key: SigningKey
) -> None:
    repository, digest = image.repository, str(image.digest)
    sign_image(client, repository, digest, key=key, progress=silent)
    content, _ = client.manifest(ImageRef(repository, signature_tag(digest)))
    other = f"sha256:{'0' * 64}"
    client.push_manifest(repository, content, media_type=MANIFEST, to=signature_tag(other))
    (found,) = signatures_of(client, repository, other, keys=[key.public])
    assert not found.is_verified
    assert not is_signed(client, repository, other, key=key.public)


def test_an_image_that_cosign_signed_is_signed(
    client: OciRegistry, image: ImageRef, key: SigningKey
) -> None:
    payload = (SIGNED_BY_COSIGN / "payload.json").read_bytes()
    assert simple_signing("127.0.0.1:56185/fixture/iris", str(image.digest)) == payload
    signature = base64.b64decode((SIGNED_BY_COSIGN / "payload.sig").read_text())
    layer = replace(signature_layer(payload, signature, key=""), annotations={
        SIGNATURE: base64.b64encode(signature).decode()
    })  # fmt: skip
    manifest, config = signature_image([layer])
    for descriptor, content in ((layer, payload), (describe(config, CONFIG), config)):
        client.push_blob(image.repository, descriptor, source(content), progress=silent)
    tag = signature_tag(str(image.digest))
    client.push_manifest(image.repository, manifest, media_type=MANIFEST, to=tag)

    theirs = public_key((SIGNED_BY_COSIGN / "cosign.pub").read_bytes())
    assert is_signed(client, image.repository, str(image.digest), key=theirs)
    assert signatures_of(client, image.repository, str(image.digest)) == (
        Signature(None, is_verified=False),
    )
    # what is signed with cosign's key needs no second signature by it, and keeps it beside others
    spec = SigningSpec(key="cosign.key", password_env="PASSWORD")
    same = find_signing_key(spec, root=SIGNED_BY_COSIGN, environ={"PASSWORD": "fixture-password"})
    assert same
    repository, digest = image.repository, str(image.digest)
    assert not sign_image(client, repository, digest, key=same, progress=silent)
    assert sign_image(client, repository, digest, key=key, progress=silent)
    assert is_signed(client, repository, digest, key=theirs)


def test_what_is_no_list_of_signatures_is_an_error(
    client: OciRegistry, image: ImageRef, key: SigningKey
) -> None:
    digest = str(image.digest)
    index, descriptor = client.manifest(ImageRef(image.repository, "1"))
    client.push_manifest(
        image.repository, index, media_type=descriptor.media_type, to=signature_tag(digest)
    )
    with pytest.raises(ServerFailed, match=r"should hold signatures, but it is an index"):
        sign_image(client, image.repository, digest, key=key, progress=silent)


def test_those_who_sign_together_with_one_key_have_signed(
    client: OciRegistry, image: ImageRef, key: SigningKey
) -> None:
    def sign(_: int) -> None:
        sign_image(registry_of(), image.repository, str(image.digest), key=key, progress=silent)

    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(sign, range(3))] == [None, None, None]
    assert is_signed(client, image.repository, str(image.digest), key=key.public)


def test_others_verify_the_statements_that_we_sign(
    client: OciRegistry, image: ImageRef, key: SigningKey, tmp_path: Path
) -> None:
    repository, digest = image.repository, str(image.digest)
    content = statement(image, predicate_type=PREDICATE, predicate={"checked": True})
    more = statement(image, predicate_type="other", predicate={})
    statements = [Statement(content, PREDICATE), Statement(more, "other")]
    assert attest(client, repository, digest, statements, key=key) == 2
    assert attest(client, repository, digest, statements, key=key) == 0
    about = (client, repository, digest)
    for kind, text in ((PREDICATE, content), ("other", more)):
        assert attestations_of(*about, predicate_type=kind, key=key.public) == (text,)
    stranger = new_key(tmp_path / "two")
    assert attestations_of(*about, predicate_type=PREDICATE, key=stranger.public) == ()

    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    public = tmp_path / "one" / "key.pub"
    layers = layers_at(image, attestation_tag(digest), tmp_path)
    assert [notes["predicateType"] for notes, _ in layers] == [PREDICATE, "other"]
    signed = Envelope.from_dict(json.loads(layers[0][1]))
    # theirs goes by key ids, which cosign leaves empty
    theirs = SSlibKey("", "ecdsa", "ecdsa-sha2-nistp256", {"public": public.read_text()})
    assert signed.verify([theirs], 1)
    assert (signed.payload, signed.payload_type) == (content, "application/vnd.in-toto+json")
    wrong = SSlibKey("", "ecdsa", "ecdsa-sha2-nistp256", {"public": pem_of(stranger.public)})
    with pytest.raises(VerificationError):
        signed.verify([wrong], 1)
    if COSIGN:
        for name, expected in (("one", True), ("two", False)):
            public = tmp_path / name / "key.pub"
            kind = ("--type", PREDICATE)
            assert cosign_verifies("verify-attestation", image, public, *kind) is expected


def test_the_layers_say_which_key_made_them(
    client: OciRegistry, image: ImageRef, key: SigningKey
) -> None:
    sign_image(client, image.repository, str(image.digest), key=key, progress=silent)
    content, _ = client.manifest(ImageRef(image.repository, signature_tag(str(image.digest))))
    (layer,) = layers_of(content)
    assert layer.annotations["dev.gitops-ml.key"] == key.public.fingerprint
