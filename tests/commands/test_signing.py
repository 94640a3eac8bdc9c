"""Images that are signed on their way, from the project file to what others verify."""

from __future__ import annotations

import json

import pytest

from gitops_ml.image.attestations import CYCLONEDX_PREDICATE, PROVENANCE_PREDICATE
from gitops_ml.oci.image_manifest import INDEX, Index, parse_manifest
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.signatures import attestations_of, is_signed, signature_tag
from tests.oci.test_keys import SIGNED_BY_COSIGN, public_key
from tests.oci.test_signatures import COSIGN, cosign_verifies, is_accepted
from tests.support.person import written_below

PASSWORD = "fixture-password"
SIGNING = {"key": "env://THE_KEY", "password_env": "THE_PASSWORD"}


@pytest.fixture
def signer(mill, monkeypatch):
    """The key that cosign made, in a variable, and who has its public half."""
    key = (SIGNED_BY_COSIGN / "cosign.key").read_text()
    monkeypatch.setenv("THE_KEY", key)
    monkeypatch.setenv("THE_PASSWORD", PASSWORD)
    mill.configures(signing=SIGNING)
    return public_key((SIGNED_BY_COSIGN / "cosign.pub").read_bytes())


def built(mill, *options):
    result = mill.person.runs("build", "-o", "json", *options)
    assert result.code == 0, result
    (found,) = result.json["images"]
    return ImageRef.parse(f"{found['image']}@{found['digest']}"), found["state"]


def test_every_platform_and_the_index_are_signed_with_what_is_known_about_them(
    mill, signer, tmp_path
):
    mill.configures(platforms=["linux/amd64", "linux/arm64"], signing=SIGNING)
    image, state = built(mill)
    assert state == "built"
    content, _ = mill.client.manifest(image)
    index = parse_manifest(content)
    assert isinstance(index, Index)
    expected = {entry.digest: CYCLONEDX_PREDICATE for entry in index.manifests}
    expected[image.digest] = PROVENANCE_PREDICATE
    for digest, predicate in expected.items():
        one = ImageRef(image.repository, digest=digest)
        assert is_accepted(one, SIGNED_BY_COSIGN / "cosign.pub", tmp_path / digest[7:15])
        (text,) = attestations_of(
            mill.client, image.repository, digest, predicate_type=predicate, key=signer
        )
        (subject,) = json.loads(text)["subject"]
        assert subject == {"name": image.repository, "digest": {"sha256": digest[7:]}}
        if COSIGN:
            kind = "slsaprovenance1" if digest == image.digest else "cyclonedx"
            public = SIGNED_BY_COSIGN / "cosign.pub"
            assert cosign_verifies("verify-attestation", one, public, "--type", kind)
    assert built(mill) == (image, "exists")


def test_an_image_that_was_pushed_without_our_signature_is_built_anew(mill, signer):
    mill.configures()
    before, _ = built(mill)
    mill.configures(signing=SIGNING)
    image, state = built(mill)
    assert (image, state) == (before, "built")
    assert is_signed(mill.client, image.repository, image.digest, key=signer)
    assert built(mill) == (image, "exists")


def test_an_older_image_of_ours_under_a_newer_tag_is_built_anew(mill, signer):
    older, _ = built(mill)
    (mill.project / "predictor.py").write_text("class PythonPredictor: ...\n")
    newer, _ = built(mill)
    content, descriptor = mill.client.manifest(older)
    mill.client.push_manifest(
        mill.repository, content, media_type=descriptor.media_type, to=newer.tag
    )
    assert built(mill) == (newer, "built")
    assert mill.client.digest(ImageRef(mill.repository, newer.tag)) == newer.digest


def test_deploy_signs_what_it_builds_and_takes_what_is_signed(mill, signer):
    result = mill.person.runs("deploy", "-o", "json")
    assert result.code == 0, result
    (image,) = (ImageRef.parse(each["image"]) for each in result.json["images"])
    assert is_signed(mill.client, image.repository, image.digest, key=signer)
    again = mill.person.runs("deploy", "-o", "json")
    assert (again.code, again.json["images"]) == (0, [])


def test_a_tag_never_points_at_an_image_that_could_not_be_signed(mill, signer):
    older, _ = built(mill)
    (mill.project / "predictor.py").write_text("class PythonPredictor: ...\n")
    image, _ = built(mill, "--output", f"oci-layout={mill.person.home}/layout")
    # no signature can be added to what lies where its signatures go: an index
    index = Index(manifests=(mill.client.manifest(older)[1],))
    mill.client.push_manifest(
        mill.repository, index.to_bytes(), media_type=INDEX, to=signature_tag(str(image.digest))
    )
    result = mill.person.runs("build")
    assert (result.code, "should hold signatures, but it is an index" in result.err) == (4, True)
    assert mill.client.digest(ImageRef(mill.repository, image.tag)) is None
    assert mill.client.digest(older) == older.digest


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"THE_PASSWORD": None}, "is encrypted, and $THE_PASSWORD is not set"),
        ({"THE_PASSWORD": "secret-mistake"}, "the password in $THE_PASSWORD does not open"),
        ({"THE_KEY": None}, "names the variable $THE_KEY for the signing key, which is not set"),
        ({"GITOPS_ML_SIGNING_KEY": "gone.key"}, "gone.key (GITOPS_ML_SIGNING_KEY) cannot be read"),
    ],
)
def test_a_key_that_cannot_be_had_is_told_before_anything_is_built(
    mill, signer, monkeypatch, environ, sentence
):
    for name, value in environ.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    for verb in ("build", "deploy"):
        result = mill.person.runs(verb)
        assert (result.code, sentence in result.err) == (2, True), result
        assert "secret-mistake" not in result.err
    assert mill.person.commits() == 0
    assert not any("/oci/" in str(path) for path in written_below([mill.person.home]))
    # who only looks needs no key
    assert mill.person.runs("validate").code == 0
    assert mill.person.runs("diff", "--offline").code == 0


def test_inspect_tells_who_signed_and_whether_that_is_proven(mill, signer, monkeypatch):
    image, _ = built(mill)
    found = mill.person.runs("inspect", str(image), "-o", "json").json
    assert found["signatures"] == [{"key": signer.fingerprint, "verified": True}]
    monkeypatch.delenv("THE_KEY")
    found = mill.person.runs("inspect", str(image), "-o", "json").json
    assert found["signatures"] == [{"key": signer.fingerprint, "verified": False}]
    assert f"{signer.fingerprint}  no" in mill.person.runs("inspect", str(image)).out


def test_neither_key_nor_password_is_written_anywhere(mill, signer, monkeypatch, tmp_path):
    monkeypatch.setenv("GITOPS_ML_CACHE", str(tmp_path / "cache"))
    result = mill.person.runs("deploy")
    assert result.code == 0, result
    body = (SIGNED_BY_COSIGN / "cosign.key").read_text().splitlines()[1].encode()
    folders = [mill.person.home, tmp_path / "cache", mill.registry.log.parent]
    for path, content in written_below(folders).items():
        assert body not in content, path
        assert PASSWORD.encode() not in content, path
    assert PASSWORD not in result.out + result.err


def test_the_key_itself_in_the_project_file_is_an_error_that_does_not_repeat_it(mill):
    key = (SIGNED_BY_COSIGN / "cosign.key").read_text()
    mill.configures(signing={"key": key})
    result = mill.person.runs("validate")
    assert result.code == 3
    assert "image.signing.key: this looks like the secret itself" in result.out
    assert key.splitlines()[1] not in result.out + result.err
