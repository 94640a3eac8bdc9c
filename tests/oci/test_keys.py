from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from gitops_ml.errors import UsageError
from gitops_ml.oci.keys import PublicKey, SigningSpec, find_signing_key
from tests.support.real import require

SIGNED_BY_COSIGN = Path(__file__).parents[1] / "signing"
"""A key pair, and a signature by it, that cosign 2.6.1 made."""


def openssl(*arguments: str) -> str:
    require("openssl")
    done = subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def generated(*options: str) -> str:
    return openssl("genpkey", *options)


P256 = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def found(root: Path, text: str, *, environ: dict[str, str] | None = None):
    (root / "a.key").write_text(text)
    spec = SigningSpec(key="a.key", password_env="PASSWORD")
    return find_signing_key(spec, root=root, environ=environ or {})


def refusal(root: Path, text: str, *, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        found(root, text, environ=environ)
    message = str(caught.value)
    for line in text.splitlines():  # whatever is said, the key is not
        assert len(line) < 16 or line.startswith("-----") or line not in message
    return message


def pem_of(key: PublicKey) -> str:
    """The text for ``cosign verify --key``."""
    return key._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def public_key(pem: bytes) -> PublicKey:
    found = load_pem_public_key(pem)
    assert isinstance(found, EllipticCurvePublicKey)
    return PublicKey(found)


def test_plain_keys_are_read_from_files_and_variables(tmp_path):
    text = generated(*P256)
    key = found(tmp_path, text)
    assert key.public.verifies(b"x", key.sign(b"x"))
    assert not key.public.verifies(b"y", key.sign(b"x"))
    older = openssl("ec", "-in", str(tmp_path / "a.key"))
    assert older.startswith("-----BEGIN EC PRIVATE KEY-----")
    assert found(tmp_path, older).public == key.public
    spec = SigningSpec(key="env://THE_KEY", password_env="PASSWORD")
    again = find_signing_key(spec, root=tmp_path, environ={"THE_KEY": text})
    assert again
    assert again.public.fingerprint == key.public.fingerprint


def test_the_fingerprint_is_the_digest_of_the_public_half(tmp_path):
    key = found(tmp_path, generated(*P256))
    openssl("pkey", "-in", str(tmp_path / "a.key"), "-pubout", "-outform", "DER", "-out",
            str(tmp_path / "a.der"))  # fmt: skip
    hexadecimal = openssl("dgst", "-sha256", "-r", str(tmp_path / "a.der")).split()[0]
    assert key.public.fingerprint == f"sha256:{hexadecimal}"


def test_a_password_opens_an_encrypted_key_and_only_that_one(tmp_path):
    (tmp_path / "secret").write_text("pass-of-the-tests")
    password = ("-aes-256-cbc", "-pass", f"file:{tmp_path}/secret")
    text = generated(*P256, *password)
    assert text.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert found(tmp_path, text, environ={"PASSWORD": "pass-of-the-tests"})
    assert "is encrypted, and $PASSWORD is not set" in refusal(tmp_path, text)
    message = refusal(tmp_path, text, environ={"PASSWORD": "another-one"})
    assert (
        message
        == "the password in $PASSWORD does not open the signing key a.key (image.signing.key)"
    )


def test_without_a_word_about_it_nothing_is_signed_and_a_variable_goes_first(tmp_path):
    assert find_signing_key(None, root=tmp_path, environ={}) is None
    text = generated(*P256)
    (tmp_path / "mine.key").write_text(text)
    environ = {"GITOPS_ML_SIGNING_KEY": "mine.key"}
    assert find_signing_key(None, root=tmp_path, environ=environ)
    spec = SigningSpec(key="not-there.key", password_env="PASSWORD")
    assert find_signing_key(spec, root=tmp_path, environ=environ)
    with pytest.raises(UsageError, match=r"not-there\.key \(image\.signing\.key\) cannot be read"):
        find_signing_key(spec, root=tmp_path, environ={})
    spec = SigningSpec(key="env://NO_KEY", password_env="PASSWORD")
    with pytest.raises(
        UsageError, match=r"names the variable \$NO_KEY for the signing key, which is not set"
    ):
        find_signing_key(spec, root=tmp_path, environ={})
    with pytest.raises(UsageError, match="holds a key, but must name the place of one") as caught:
        find_signing_key(None, root=tmp_path, environ={"GITOPS_ML_SIGNING_KEY": text})
    assert text.splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), "RSAPrivateKey"),
        (("-algorithm", "ED25519"), "Ed25519PrivateKey"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"), "ECDSA on secp384r1"),
    ],
)
def test_keys_of_another_kind_are_refused_by_name(tmp_path, options, kind):
    message = refusal(tmp_path, generated(*options))
    assert f"is a key for {kind}, not for ECDSA on P-256: `cosign generate-key-pair`" in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ä",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n"
        "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        # {"kdf": {"name": "scrypt", "params": {"N": 2^40, …}}}: a bomb
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
        "eyJrZGYiOiB7Im5hbWUiOiAic2NyeXB0IiwgInBhcmFtcyI6IHsiTiI6IDEwOTk1MTE2\n"
        "Mjc3NzYsICJyIjogOCwgInAiOiAxfSwgInNhbHQiOiAiIn0sICJjaXBoZXIiOiB7Im5h\n"
        "bWUiOiAibmFjbC9zZWNyZXRib3giLCAibm9uY2UiOiAiIn0sICJjaXBoZXJ0ZXh0Ijog\nIiJ9\n"
        "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_key_is_told_with_the_way_to_one(tmp_path, text):
    message = refusal(tmp_path, text, environ={"PASSWORD": "x"})
    assert "is not a key in a known format" in message
    assert "`cosign generate-key-pair` makes one" in message


def test_a_key_that_cosign_made_is_opened_with_its_password():
    spec = SigningSpec(key="cosign.key", password_env="COSIGN_PASSWORD")
    environ = {"COSIGN_PASSWORD": "fixture-password"}
    key = find_signing_key(spec, root=SIGNED_BY_COSIGN, environ=environ)
    assert key
    public = (SIGNED_BY_COSIGN / "cosign.pub").read_text()
    assert pem_of(key.public) == public
    assert public_key(public.encode()).verifies(b"x", key.sign(b"x"))
    for environ, sentence in (
        ({}, r"is encrypted, and \$COSIGN_PASSWORD is not set"),
        ({"COSIGN_PASSWORD": ""}, r"the password in \$COSIGN_PASSWORD does not open"),
        ({"COSIGN_PASSWORD": "fixture-passwort"}, r"the password in \$COSIGN_PASSWORD does not"),
    ):
        with pytest.raises(UsageError, match=sentence) as caught:
            find_signing_key(spec, root=SIGNED_BY_COSIGN, environ=environ)
        assert "fixture-" not in str(caught.value)
