"""A registry behind TLS with a CA of its own, and one that wants a password."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from typing import TYPE_CHECKING

import pytest

from gitops_ml.core.image import ImageRef
from gitops_ml.errors import ServerFailed
from tests.faulty_registry import faulty_registry
from tests.oci import (
    ensure_oci_image,
    plan_of,
    project_with_lock,
    push_tiny_base,
    registry_of,
    silent,
    tools_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real import RealRegistry


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A private CA's certificate, and a server's context with one that it signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(
        subject: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, *,
        is_ca: bool,
    ) -> x509.Certificate:  # fmt: skip
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject)).issuer_name(name("the tests' CA"))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )  # fmt: skip

    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    pem = serialization.Encoding.PEM
    ca, server = tmp_path / "ca.pem", tmp_path / "server.pem"
    ca.write_bytes(certificate("the tests' CA", keys[0], keys[0], is_ca=True).public_bytes(pem))
    server.write_bytes(
        certificate("registry", keys[1], keys[0], is_ca=False).public_bytes(pem)
        + keys[1].private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return ca, context


@pytest.fixture
def tls(
    registry: RealRegistry, authority: tuple[Path, ssl.SSLContext]
) -> Iterator[tuple[str, Path]]:
    """A registry's host that speaks TLS only, and the CA that its certificate is from."""
    with faulty_registry(registry.host, tls=authority[1]) as found:
        yield found.host, authority[0]


@pytest.mark.parametrize("way", ["variable", "docker"])
def test_an_image_is_pushed_and_skipped_through_tls_with_a_private_ca(
    tmp_path: Path, tls: tuple[str, Path], way: str
) -> None:
    host, ca = tls
    environ = {"GITOPS_ML_CA_BUNDLE": str(ca)}
    if way == "docker":
        place = tmp_path / "docker/certs.d" / host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes(ca.read_bytes())
        environ = {"DOCKER_CONFIG": str(tmp_path / "docker")}
    tools = tools_of(tmp_path / "cache", environ)
    base = push_tiny_base(tools.registry, f"{host}/base/tls")
    plan = plan_of(tmp_path / "iris", project_with_lock(tmp_path / "iris"), base.image)
    repository = f"{host}/tls/{way}"
    image = ensure_oci_image(plan, repository=repository, tools=tools, progress=silent)
    again = tools_of(tmp_path / "other", environ)
    assert ensure_oci_image(plan, repository=repository, tools=again, progress=silent) == image
    assert again.registry.session.requests_sent <= 2


def test_a_certificate_that_nobody_vouches_for_is_told_with_the_way_out(
    tls: tuple[str, Path],
) -> None:
    with pytest.raises(ServerFailed, match=r"certificate.*GITOPS_ML_CA_BUNDLE"):
        registry_of().head(ImageRef(f"{tls[0]}/ml/iris", "v1"))


def test_an_image_is_pushed_with_a_password_and_skipped(
    tmp_path: Path, private_registry: RealRegistry
) -> None:
    tools = tools_of(tmp_path / "cache", private_registry.environ)
    base = push_tiny_base(tools.registry, f"{private_registry.host}/base/private")
    plan = plan_of(tmp_path / "iris", project_with_lock(tmp_path / "iris"), base.image)
    repository = f"{private_registry.host}/private/iris"
    image = ensure_oci_image(plan, repository=repository, tools=tools, progress=silent)
    assert ensure_oci_image(plan, repository=repository, tools=tools, progress=silent) == image
