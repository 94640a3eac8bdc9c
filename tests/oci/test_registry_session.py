"""A registry behind TLS with a CA of its own, and one that wants a password."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.http.deadlines import Limits
from gitops_ml.http.response import RetryPolicy
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry_session import RegistrySession, Scope, _Asked
from tests.packages.test_index_secrets import listener
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


PASSWORD = "s3cret-of-the-registry"
LOGIN = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()


def session_of(tmp_path: Path, host: str, entry: dict[str, str], **environ: str) -> RegistrySession:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return RegistrySession(
        {"DOCKER_CONFIG": str(tmp_path), **environ}, insecure=True, patience=RetryPolicy(attempts=1)
    )


def asks(session: RegistrySession, host: str) -> None:
    session.request("GET", host, "/v2/x/manifests/t", scope=Scope("x"))


CHALLENGES = ['Basic realm="x"', 'Bearer realm="http://registry.example.org/token",service="x"',
              'Bearer realm="https://127.0.0.1:9/token",service="x"']  # fmt: skip


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_image_insecure_of_a_project_file_sends_no_password_in_plain_text(tmp_path, challenge):
    """The project file allows plain HTTP: for what has no password."""
    path = "http://registry.example.org/v2/x/manifests/t"
    with listener({path: (401, {"WWW-Authenticate": challenge}, b"")}) as (proxy, seen):
        session = session_of(
            tmp_path, "registry.example.org", {"auth": LOGIN},
            http_proxy=f"http://{proxy}", https_proxy="http://127.0.0.1:9",
        )  # fmt: skip
        with pytest.raises(
            Refused, match=r"registry\.example\.org requires credentials over plain"
        ):
            asks(session, "registry.example.org")
    assert seen == [(path, "")]


def test_a_registry_of_another_machine_names_no_token_server_of_this_one(tmp_path):
    """Otherwise it would have us send its password to whatever listens here."""
    with listener({}) as (here, seen):
        session = session_of(tmp_path, "registry.example.org", {"auth": LOGIN})
        challenge = f'Bearer realm="http://{here}/token",service="x"'
        with pytest.raises(Refused, match="not protected by TLS"):
            host, watch = "registry.example.org", Limits().answer("x", "x")
            asked = _Asked(host, Scope("x"), session._known_credentials(host), watch)
            session._authorization(challenge, asked)
    assert seen == []


def test_a_token_server_does_not_pass_the_password_on(tmp_path):
    with listener({}) as (other, theirs):
        answers = {"/v2/x/manifests/t": (401, {}, b"")}
        with listener(answers) as (host, _):
            realm = f'Bearer realm="http://{host}/token",service="x"'
            answers["/v2/x/manifests/t"] = (401, {"WWW-Authenticate": realm}, b"")
            query = "/token?service=x&scope=repository%3Ax%3Apull%2Cpush"
            answers[query] = (307, {"Location": f"http://{other}/taken"}, b"")
            with pytest.raises((Refused, ServerFailed)):
                asks(session_of(tmp_path, host, {"auth": LOGIN}), host)
    assert theirs == [("/taken", "")]


def quoted(text: str) -> bytes:
    return json.dumps({"errors": [{"code": "DENIED", "message": text}]}).encode()


@pytest.mark.parametrize("entry", [{"auth": LOGIN}, {"identitytoken": PASSWORD}])
def test_a_server_that_repeats_what_it_was_sent_does_not_bring_it_into_a_message(tmp_path, entry):
    text = quoted(
        f"not {PASSWORD}, ann%3A{PASSWORD}, Basic {LOGIN} or Bearer tok3n-of-the-registry"
    )
    token = json.dumps({"token": "tok3n-of-the-registry"}).encode()
    for answer in ((403, {}, text), (200, {}, token)):
        answers: dict = {}
        with listener(answers) as (host, _):
            wanted = {"WWW-Authenticate": f'Bearer realm="http://{host}/token",service="x"'}
            answers["/v2/x/manifests/t"] = (401, wanted, text)
            for query in ("?service=x&scope=repository%3Ax%3Apull%2Cpush",
                          "?service=x&scope=repository%3Ax%3Apull", ""):  # fmt: skip
                answers[f"/token{query}"] = answer
            with pytest.raises(Refused) as caught:
                asks(session_of(tmp_path, host, entry), host)
        message = str(caught.value)
        assert "DENIED" in message
        secret = PASSWORD if answer[0] == 403 else "tok3n-of-the-registry"
        assert secret not in message
        assert LOGIN not in message or "auth" not in entry or answer[0] == 200


@pytest.mark.parametrize("status", [307, 308])
def test_nor_the_identity_token_in_the_body_of_a_request(tmp_path, status):
    with listener({}) as (other, theirs):
        answers = {"/token": (status, {"Location": f"http://{other}/taken"}, b"")}
        with listener(answers) as (host, ours):
            realm = f'Bearer realm="http://{host}/token",service="x"'
            answers["/v2/x/manifests/t"] = (401, {"WWW-Authenticate": realm}, b"")
            with pytest.raises(ServerFailed, match="credentials to another server"):
                asks(session_of(tmp_path, host, {"identitytoken": PASSWORD}), host)
    assert [path for path, _ in ours] == ["/v2/x/manifests/t", "/token"]
    assert theirs == []
