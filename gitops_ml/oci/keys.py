"""Signing keys: cosign's encrypted keys and plain PEM, from a file or a variable.

Neither the key nor its password appears in a message, an argument or a file that we write.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.errors import UsageError
from gitops_ml.oci.image_manifest import digest_of
from gitops_ml.system.project_files import read_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )


KEY_VARIABLE = "GITOPS_ML_SIGNING_KEY"
"""A path or ``env://NAME``; overrides ``image.signing.key``."""

_LARGEST_KEY = 1 << 16
_COSTLIEST = 1 << 18
"""Of scrypt's N: a quarter of a gigabyte with the usual r."""
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_ENCRYPTED = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_PLAIN = ("PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
_HOW_TO_MAKE_ONE = (
    "`cosign generate-key-pair` makes one, and so does "
    "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What verifies a signature."""

    _key: EllipticCurvePublicKey = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The name of the key: the digest of its DER form (SubjectPublicKeyInfo)."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        kind = PublicFormat.SubjectPublicKeyInfo
        return digest_of(self._key.public_bytes(Encoding.DER, kind))

    def verifies(self, content: bytes, signature: bytes) -> bool:
        """Whether this key made ``signature`` for ``content``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        try:
            self._key.verify(signature, content, ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An ECDSA key on P-256, the kind that every verifier of cosign signatures supports."""

    _key: EllipticCurvePrivateKey = field(repr=False)

    @property
    def public(self) -> PublicKey:
        return PublicKey(self._key.public_key())

    def sign(self, content: bytes) -> bytes:
        """The signature of ``content``, ASN.1 DER."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        return self._key.sign(content, ECDSA(hashes.SHA256()))


def find_signing_key(
    spec: SigningSpec | None, *, root: Path, environ: Mapping[str, str]
) -> SigningKey | None:
    """The key that images are signed with, or ``None`` where no key is configured.

    ``root`` is the folder that a path in ``spec`` starts from.

    Raises:
        UsageError: the configured key is missing, needs another password or is of another kind; or
            the libraries for it are missing.
    """
    named, password_env = environ.get(KEY_VARIABLE), "COSIGN_PASSWORD"
    place = KEY_VARIABLE
    if spec is not None:
        password_env = spec.password_env
        if not named:
            named, place = spec.key, "image.signing.key"
    if not named:
        return None
    content = _content(named, place, root=root, environ=environ)
    source = f"the signing key {named} ({place})"
    return SigningKey(_private_key(content, source, password_env, environ.get(password_env)))


def _content(named: str, place: str, *, root: Path, environ: Mapping[str, str]) -> str:
    if "PRIVATE KEY" in named:
        raise UsageError(
            f"{place} holds a key, but must name the place of one: a file, or env://NAME"
        )
    if named.startswith("env://"):
        variable = named.removeprefix("env://")
        if not environ.get(variable):
            raise UsageError(
                f"{place} names the variable ${variable} for the signing key, which is not set"
            )
        return environ[variable]
    path = root / os.path.expanduser(named)  # noqa: PTH111 - Path.expanduser raises without a home
    try:
        return read_file(path, limit=_LARGEST_KEY).decode("ascii")
    except UnicodeDecodeError as error:
        raise _no_key(f"the signing key {named} ({place})") from error
    except OSError as error:
        raise UsageError(
            f"the signing key {path} ({place}) cannot be read ({error.strerror}): {_HOW_TO_MAKE_ONE}"
        ) from error


def _private_key(
    text: str, source: str, password_env: str, password: str | None
) -> EllipticCurvePrivateKey:
    match = _PEM.search(text)
    kind = match[1] if match else ""
    if not match or kind not in (*_ENCRYPTED, *_PLAIN):
        raise _no_key(source, kind)
    if kind in _ENCRYPTED:
        der = _decrypted(match[2], source, password_env, password)
        return _loaded(der, source, is_pem=False)
    if kind == "ENCRYPTED PRIVATE KEY":
        if password is None:
            raise _no_password(source, password_env)
        return _loaded(match[0].encode(), source, password=password, password_env=password_env)
    return _loaded(match[0].encode(), source)


def _loaded(
    content: bytes,
    source: str,
    *,
    is_pem: bool = True,
    password: str | None = None,
    password_env: str = "",
) -> EllipticCurvePrivateKey:
    serialization = _library("cryptography.hazmat.primitives.serialization")
    load = serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
    try:
        found = load(content, password.encode() if password is not None else None)
    except (ValueError, TypeError) as error:
        if password is not None:
            raise _wrong_password(source, password_env) from error
        raise _no_key(source) from error
    key: EllipticCurvePrivateKey = _on_p256(found, source)
    return key


def _on_p256(key: Any, source: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    is_ours = isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey)
    if is_ours and isinstance(key.curve, ec.SECP256R1):
        return key
    kind = f"ECDSA on {key.curve.name}" if is_ours else type(key).__name__.strip("_")
    raise UsageError(f"{source} is a key for {kind}, not for ECDSA on P-256: {_HOW_TO_MAKE_ONE}")


def _decrypted(body: str, source: str, password_env: str, password: str | None) -> bytes:
    """Decrypt what go-securesystemslib's ``encrypted`` made: scrypt, then NaCl's secretbox."""
    if password is None:
        raise _no_password(source, password_env)
    secret, exceptions = _library("nacl.secret"), _library("nacl.exceptions")
    try:
        found = json.loads(base64.b64decode(body))
        kdf, cipher = found["kdf"], found["cipher"]
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
            raise _no_key(source, f"{kdf['name']} and {cipher['name']}")
        costs = kdf["params"]
        n, r, p = (int(costs[name]) for name in "Nrp")
        if not (0 < n <= _COSTLIEST and 0 < r <= 32 and 0 < p <= 16):
            raise _no_key(source, f"scrypt with N={n}")
        key = hashlib.scrypt(
            password.encode(), salt=base64.b64decode(kdf["salt"]), n=n, r=r, p=p, dklen=32,
            maxmem=(n + p + 2) * r * 256,
        )  # fmt: skip
        nonce = base64.b64decode(cipher["nonce"])
        content = base64.b64decode(found["ciphertext"])
        return bytes(secret.SecretBox(key).decrypt(content, nonce))
    except exceptions.CryptoError as error:
        raise _wrong_password(source, password_env) from error
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise _no_key(source) from error


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            "signing needs two libraries that are not installed: pip install 'gitops-ml[sign]'"
        ) from error


def _no_key(source: str, kind: str = "") -> UsageError:
    found = f" but {kind.lower()}" if kind else ""
    return UsageError(
        f"{source} is not a key in a known format (cosign's, or PKCS 8 in PEM){found}: {_HOW_TO_MAKE_ONE}"
    )


def _no_password(source: str, password_env: str) -> UsageError:
    return UsageError(
        f"{source} is encrypted, and ${password_env} is not set: put the password there "
        "(image.signing.password_env names another variable)"
    )


def _wrong_password(source: str, password_env: str) -> UsageError:
    return UsageError(f"the password in ${password_env} does not open {source}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSpec:
    """Where the signing key is; neither key nor password is ever in here."""

    key: str
    """A file, from the project file's folder, or ``env://NAME`` as cosign spells a variable."""
    password_env: str
    """The environment variable that holds the password of an encrypted key."""
