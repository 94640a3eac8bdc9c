"""Real registries: open, with a password, with tokens; and servers that misbehave."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.oci.credentials import DOCKER_HUB, Credentials, find_credentials
from gitops_ml.oci.reference import ImageRef, split_repository
from tests.support.http_servers import Handler, answering
from tests.support.oci import registry_of
from tests.support.ports import free_port
from tests.support.real import (
    PASSWORD,
    USER,
    RealRegistry,
    docker_config,
    registry_running,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ABSENT = "h-" + "0" * 20


def put_image(host: str, name: str, tag: str, *, authorization: str = "") -> str:
    """A tiny image in a real registry; its digest."""
    server = f"http://{host}/v2/{name}"
    headers = {"Authorization": authorization} if authorization else {}
    config = b"{}"
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    started = requests.post(f"{server}/blobs/uploads/", headers=headers, timeout=60)
    started.raise_for_status()
    place = started.headers["Location"]
    place += ("&" if "?" in place else "?") + f"digest={digest}"
    requests.put(place, data=config, headers=headers, timeout=60).raise_for_status()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": digest,
        },
        "layers": [],
    }  # fmt: skip
    put = requests.put(
        f"{server}/manifests/{tag}", data=json.dumps(manifest),
        headers=headers | {"Content-Type": MANIFEST_TYPE}, timeout=60,
    )  # fmt: skip
    put.raise_for_status()
    return put.headers["Docker-Content-Digest"]


def nobody(tmp_path: Path) -> dict[str, str]:
    return docker_config(tmp_path / "nobody", {})


def test_a_tag_and_a_digest_lead_to_the_digest(registry: RealRegistry, tmp_path: Path) -> None:
    digest = put_image(registry.host, "ml/iris", "h-1")
    asked = registry_of(nobody(tmp_path))
    image = ImageRef(f"{registry.host}/ml/iris", "h-1")
    assert asked.digest(image) == digest
    assert asked.digest(ImageRef(image.repository, digest=digest)) == digest


def test_what_is_not_there_is_none(registry: RealRegistry, tmp_path: Path) -> None:
    asked = registry_of(nobody(tmp_path))
    put_image(registry.host, "ml/other", "h-1")
    assert asked.digest(ImageRef(f"{registry.host}/ml/other", ABSENT)) is None
    assert asked.digest(ImageRef(f"{registry.host}/ml/never-pushed", ABSENT)) is None


def test_the_password_of_docker_login_is_shown(private_registry: RealRegistry) -> None:
    host, environ = private_registry.host, private_registry.environ
    digest = put_image(host, "ml/iris", "h-1", authorization=Credentials(USER, PASSWORD).basic)
    asked = registry_of(environ)
    assert asked.digest(ImageRef(f"{host}/ml/iris", "h-1")) == digest
    assert asked.digest(ImageRef(f"{host}/ml/iris", ABSENT)) is None


def test_without_credentials_the_way_to_log_in_is_told(
    private_registry: RealRegistry, tmp_path: Path
) -> None:
    host = private_registry.host
    with pytest.raises(
        Refused, match=f"{host} requires credentials for ml/iris: `docker login {host}`"
    ):
        registry_of(nobody(tmp_path)).digest(ImageRef(f"{host}/ml/iris", "h-1"))


def test_a_wrong_password_is_refused_and_not_repeated_in_words(
    private_registry: RealRegistry, tmp_path: Path
) -> None:
    host = private_registry.host
    wrong = base64.b64encode(f"{USER}:wrong-password".encode()).decode()
    environ = docker_config(tmp_path / "docker", {"auths": {host: {"auth": wrong}}})
    with pytest.raises(Refused) as caught:
        registry_of(environ).digest(ImageRef(f"{host}/ml/iris", "h-1"))
    assert f"(401, asked as {USER})" in str(caught.value)
    assert "wrong-password" not in str(caught.value)


def helper(directory: Path, name: str, script: str) -> str:
    """A credential helper on PATH; the PATH to use."""
    directory.mkdir(exist_ok=True)
    program = directory / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_credential_helpers_are_asked(
    private_registry: RealRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    host = private_registry.host
    answer = json.dumps({"ServerURL": host, "Username": USER, "Secret": PASSWORD})
    script = f'read server; [ "$1 $server" = "get {host}" ] || exit 1; echo \'{answer}\''
    monkeypatch.setenv("PATH", helper(tmp_path / "bin", "test", script))
    config = {"credHelpers": {host: "test"}} if key == "credHelpers" else {"credsStore": "test"}
    environ = docker_config(tmp_path / "docker", config)
    put_image(host, "ml/helped", "h-1", authorization=Credentials(USER, PASSWORD).basic)
    assert registry_of(environ).digest(ImageRef(f"{host}/ml/helped", "h-1"))


def test_a_helper_that_is_not_installed_is_named(tmp_path: Path) -> None:
    environ = docker_config(tmp_path, {"credsStore": "not-here"})
    with pytest.raises(Refused, match="docker-credential-not-here, which is not installed"):
        find_credentials("ghcr.io", environ=environ)


def test_a_helper_that_knows_nothing_means_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo credentials not found in native keychain; exit 1"
    monkeypatch.setenv("PATH", helper(tmp_path / "bin", "empty", script))
    environ = docker_config(tmp_path / "docker", {"credsStore": "empty"})
    assert find_credentials("ghcr.io", environ=environ) is None


@pytest.mark.parametrize("script", ["echo s3cret >&2; exit 3", "kill -9 $$"])
def test_a_helper_that_fails_is_named_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setenv("PATH", helper(tmp_path / "bin", "odd", script))
    environ = docker_config(tmp_path / "docker", {"credsStore": "odd"})
    with pytest.raises(Refused, match=r"docker-credential-odd, which .* failed") as caught:
        find_credentials("ghcr.io", environ=environ)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "config", "expected"),
    [
        ("ghcr.io", {"auths": {"https://ghcr.io/v1/": {"auth": "YTpi"}}}, Credentials("a", "b")),
        ("x.io", {"auths": {"x.io": {"username": "a", "password": "b"}}}, Credentials("a", "b")),
        ("docker.io", {"auths": {DOCKER_HUB: {"auth": "YTpiOmM="}}}, Credentials("a", "b:c")),
        ("x.io", {"auths": {"x.io": {"identitytoken": "t"}}}, Credentials(identity_token="t")),
        ("x.io:5000", {"auths": {"x.io": {"auth": "YTpi"}}}, None),
        ("ghcr.io", {"auths": {"ghcr.io": {}}}, None),
        ("ghcr.io", {"auths": {"ghcr.io": {"auth": "*"}}}, None),
        ("ghcr.io", {"auths": {"ghcr.io": "YTpi"}}, None),
        ("ghcr.io", {"auths": {"ghcr.io": {"auth": 5}}, "credHelpers": None}, None),
    ],
)  # fmt: skip
def test_credentials_are_found_where_docker_finds_them(
    tmp_path: Path, host: str, config: dict[str, object], expected: Credentials | None
) -> None:
    assert find_credentials(host, environ=docker_config(tmp_path, config)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"config\.json cannot be read"),
        ("[" * 100_000, r"config\.json cannot be read"),
        ("[]", "does not hold a JSON object"),
        ('{"auths": ["ghcr.io"]}', "'auths' is not an object"),
        ('{"credHelpers": ["ecr-login"]}', "'credHelpers' is not an object"),
    ],
)
def test_a_broken_docker_configuration_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(Refused, match=message):
        find_credentials("ghcr.io", environ={"DOCKER_CONFIG": str(tmp_path)})


def test_credentials_do_not_show_in_their_representation() -> None:
    assert "hidden" not in repr(Credentials("a", "hidden", "hidden"))


Answer = tuple[int, dict[str, str], bytes]


@contextlib.contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], Answer]) -> Iterator[str]:
    """An HTTP server on the loopback; ``answer`` gets each request."""

    class Answering(Handler):
        protocol_version = "HTTP/1.0"

        def _reply(self) -> None:
            status, headers, body = answer(self)
            self.answer(status, body, headers)

        do_GET = do_HEAD = do_POST = _reply

    with answering(Answering) as host:
        yield host


class TokenServer:
    """Gives tokens that a real registry checks: signed with a key that it trusts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.asked: list[str] = []
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests -out"
        subprocess.run(
            [*command.split(), str(home / "cert.pem"), "-keyout", str(home / "key.pem")],
            check=True, capture_output=True,
        )  # fmt: skip

    def answer(self, request: BaseHTTPRequestHandler) -> Answer:
        query = urlsplit(request.path).query
        if request.command == "POST":
            query = request.rfile.read(int(request.headers["Content-Length"])).decode()
        fields = {name: values[0] for name, values in parse_qs(query).items()}
        basic = Credentials(USER, PASSWORD).basic
        known = fields.get("refresh_token") == "renew" or request.headers["Authorization"] == basic
        who = "refresh" if "refresh_token" in fields else "basic" if known else "anonymous"
        self.asked.append(f"{who} {fields['scope']}")
        if request.headers["Authorization"] not in (None, basic):
            return 401, {}, b"{}"
        _, name, actions = fields["scope"].split(":")
        granted = actions.split(",") if known else ["pull"] if name.startswith("open/") else []
        key = "access_token" if request.command == "POST" else "token"
        return 200, {}, json.dumps({key: self._token(name, granted, fields["service"])}).encode()

    def _token(self, name: str, actions: list[str], service: str) -> str:
        certificate = "".join((self.home / "cert.pem").read_text().splitlines()[1:-1])
        access = [{"type": "repository", "name": name, "actions": actions}] if actions else []
        now = int(time.time())
        claims = {
            "iss": "tests", "sub": "", "aud": service, "exp": now + 60, "nbf": now - 5, "iat": now,
            "jti": "1", "access": access,
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        text = ".".join(_url64(json.dumps(part).encode()) for part in (head, claims))
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self.home / "key.pem")],
            input=text.encode(), capture_output=True, check=True,
        ).stdout  # fmt: skip
        return f"{text}.{_url64(signature)}"


def _url64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@pytest.fixture(scope="module")
def token_registry(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RealRegistry, TokenServer]]:
    """A real registry that sends people to a token server."""
    home = tmp_path_factory.mktemp("tokens")
    tokens = TokenServer(home)
    with server(tokens.answer) as address:
        auth = {
            "token": {
                "realm": f"http://{address}/token", "service": "tests", "issuer": "tests",
                "rootcertbundle": str(home / "cert.pem"),
            }
        }  # fmt: skip
        with registry_running(home, auth=auth) as found:
            for name in ("open/iris", "ml/iris"):
                token = tokens._token(name, ["pull", "push"], "tests")
                put_image(found.host, name, "h-1", authorization=f"Bearer {token}")
            yield found, tokens


def test_tokens_are_fetched_for_user_and_password(
    token_registry: tuple[RealRegistry, TokenServer], tmp_path: Path
) -> None:
    registry, tokens = token_registry
    tokens.asked.clear()
    entry = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    environ = docker_config(tmp_path, {"auths": {registry.host: entry}})
    asked = registry_of(environ)
    assert asked.digest(ImageRef(f"{registry.host}/ml/iris", "h-1"))
    assert asked.digest(ImageRef(f"{registry.host}/ml/iris", ABSENT)) is None
    assert tokens.asked == ["basic repository:ml/iris:pull,push"]


def test_identity_tokens_are_exchanged(
    token_registry: tuple[RealRegistry, TokenServer], tmp_path: Path
) -> None:
    registry, tokens = token_registry
    tokens.asked.clear()
    environ = docker_config(tmp_path, {"auths": {registry.host: {"identitytoken": "renew"}}})
    assert registry_of(environ).digest(ImageRef(f"{registry.host}/ml/iris", "h-1"))
    assert tokens.asked == ["refresh repository:ml/iris:pull,push"]


def test_public_images_are_read_without_a_name(
    token_registry: tuple[RealRegistry, TokenServer], tmp_path: Path
) -> None:
    registry, tokens = token_registry
    tokens.asked.clear()
    asked = registry_of(nobody(tmp_path))
    assert asked.digest(ImageRef(f"{registry.host}/open/iris", "h-1"))
    assert tokens.asked == ["anonymous repository:open/iris:pull"]
    with pytest.raises(Refused, match=r"ml/iris \(401, asked without a name\)"):
        asked.digest(ImageRef(f"{registry.host}/ml/iris", "h-1"))


def test_the_users_netrc_does_not_speak_for_docker(
    token_registry: tuple[RealRegistry, TokenServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, _ = token_registry
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login wrong password wrong\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    asked = registry_of(nobody(tmp_path))
    assert asked.digest(ImageRef(f"{registry.host}/open/iris", "h-1"))


def ask(address: str, tmp_path: Path, image: str = "ml/iris:h-1") -> str | None:
    return registry_of(nobody(tmp_path)).digest(ImageRef.parse(f"{address}/{image}"))


def always(
    status: int, headers: Mapping[str, str] = {}, body: bytes = b""
) -> Callable[..., Answer]:
    return lambda request: (status, dict(headers), body)


def test_without_the_header_the_digest_is_that_of_the_body(tmp_path: Path) -> None:
    manifest = b'{"schemaVersion": 2, "manifests": []}'
    with server(always(200, body=manifest)) as address:
        assert ask(address, tmp_path) == "sha256:" + hashlib.sha256(manifest).hexdigest()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>Log in to this network</html>"),
        ("text/html", b""),
        ("application/json", b'{"schemaVersion": 2}'),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion": 1}'),
        ("application/vnd.oci.image.manifest.v1+json", b'{"layers": "none"}'),
    ],
)
def test_what_is_no_image_gets_no_digest(tmp_path: Path, kind: str, body: bytes) -> None:
    """The page of a proxy, for example: a release would name an image that there is not."""
    headers = {"Content-Type": kind}
    if "oci" not in kind:
        headers["Docker-Content-Digest"] = f"sha256:{hashlib.sha256(body).hexdigest()}"
    with (
        server(always(200, headers, body)) as address,
        pytest.raises(ServerFailed, match=rf"that is no image \({re.escape(kind)}\)"),
    ):
        ask(address, tmp_path)


def test_another_digest_than_the_one_asked_for_is_a_failure(tmp_path: Path) -> None:
    other = "sha256:" + "b" * 64
    answer = always(200, {"Docker-Content-Digest": other, "Content-Type": MANIFEST_TYPE})
    with server(answer) as address, pytest.raises(ServerFailed, match=f"with the digest {other}"):
        ask(address, tmp_path, f"ml/iris@sha256:{'a' * 64}")


@pytest.mark.parametrize(
    ("status", "headers", "error", "words"),
    [
        (500, {}, ServerFailed, "answered 500 about ml/iris"),
        (429, {"Retry-After": "30"}, ServerFailed, "answered 429 .*retry after 30 seconds"),
        (403, {}, Refused, "refused access to ml/iris"),
        (401, {"WWW-Authenticate": "Negotiate"}, Refused, "asks for Negotiate credentials"),
        (401, {"WWW-Authenticate": "Bearer service=x"}, ServerFailed, "does not name a token server"),
        (401, {"WWW-Authenticate": 'Bearer realm="http://evil.example/t"'}, Refused,
         "not protected by TLS"),
    ],
)  # fmt: skip
def test_other_answers_have_a_sentence(
    tmp_path: Path, status: int, headers: dict[str, str], error: type[Exception], words: str
) -> None:
    with server(always(status, headers)) as address, pytest.raises(error, match=words):
        ask(address, tmp_path)


def test_a_short_failure_is_outlived(tmp_path: Path) -> None:
    answers = iter([(503, {}, b"")])
    digest = "sha256:" + "c" * 64
    good: Answer = (200, {"Docker-Content-Digest": digest, "Content-Type": MANIFEST_TYPE}, b"")
    with server(lambda request: next(answers, good)) as address:
        assert ask(address, tmp_path) == digest


def test_a_registry_that_is_not_there_is_told(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServerFailed, match=f"{address} cannot be reached: .*Connection refused"):
        ask(address, tmp_path)


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("python", ("docker.io", "library/python")),
        ("acme/iris", ("docker.io", "acme/iris")),
        ("index.docker.io/acme/iris", ("docker.io", "acme/iris")),
        ("docker.io/python", ("docker.io", "library/python")),
        ("localhost/iris", ("localhost", "iris")),
        ("host:5000/a/b/c", ("host:5000", "a/b/c")),
    ],
)
def test_repositories_are_split_as_docker_does(repository: str, expected: tuple[str, str]) -> None:
    assert split_repository(repository) == expected
