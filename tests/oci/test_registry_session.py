"""A registry behind TLS with a CA of its own, and one that wants a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.oci.reference import ImageRef
from tests.support.certificate_authority import authority
from tests.support.faulty_registry import Fault, faulty_registry
from tests.support.oci import (
    ensure_oci_image,
    plan_of,
    project_with_lock,
    push_tiny_base,
    registry_of,
    silent,
    tools_of,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.real import RealRegistry


@pytest.fixture(name="authority")
def an_authority(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    return authority(tmp_path)


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


def test_a_registry_that_does_not_know_of_its_tls_gets_nothing_in_the_clear(
    tmp_path: Path, registry: RealRegistry, authority: tuple[Path, ssl.SSLContext]
) -> None:
    with faulty_registry(registry.host, tls=authority[1]) as found:
        found.told_scheme = "http"
        found.token_uses = 1000
        tools = tools_of(tmp_path / "cache", {"GITOPS_ML_CA_BUNDLE": str(authority[0])})
        base = push_tiny_base(tools.registry, f"{found.host}/base/unaware")
        assert found.count(r"PUT /v2/base/unaware/blobs/uploads/") > 0
    assert base.image.digest


def test_an_upload_elsewhere_goes_over_tls_or_not_at_all(registry: RealRegistry) -> None:
    elsewhere = (("Location", "http://storage.example/upload"),)
    with faulty_registry(registry.host) as found:
        found.choose = lambda asked: (
            Fault(answer_headers=elsewhere) if asked.method == "POST" else None
        )
        with pytest.raises(Refused, match=r"redirects to storage\.example, which is not protected"):
            push_tiny_base(registry_of(), f"{found.host}/base/elsewhere")


@pytest.mark.parametrize("target", ["http://[::1/x", "http://registry:port/x"])
def test_a_redirect_to_no_address_is_told(registry: RealRegistry, target: str) -> None:
    with faulty_registry(registry.host) as found:
        found.choose = lambda asked: Fault(302, (("Location", target),))
        with pytest.raises(ServerFailed, match="the address that it redirects to"):
            registry_of().digest(ImageRef(f"{found.host}/ml/iris", "v1"))


def test_a_proxy_whose_address_is_none_is_told_and_its_password_is_not() -> None:
    environ = {"HTTPS_PROXY": "http://ann:hidden-from-all@proxy:port"}
    with pytest.raises(ServerFailed, match="the proxy's address") as failed:
        registry_of(environ).digest(ImageRef("registry.example/ml/iris", "v1"))
    assert "hidden-from-all" not in str(failed.value)


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
