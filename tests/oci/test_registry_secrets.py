"""A registry's login is shown to the registry and its token server, and to nobody on the way."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.http.deadlines import Limits
from gitops_ml.http.response import RetryPolicy
from gitops_ml.oci.registry_session import RegistrySession, Scope, _Asked
from tests.packages.test_index_secrets import listener

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


def said(text: str) -> bytes:
    return json.dumps({"errors": [{"code": "DENIED", "message": text}]}).encode()


@pytest.mark.parametrize("entry", [{"auth": LOGIN}, {"identitytoken": PASSWORD}])
def test_a_server_that_repeats_what_it_was_sent_does_not_bring_it_into_a_message(tmp_path, entry):
    text = said(f"not {PASSWORD}, ann%3A{PASSWORD}, Basic {LOGIN} or Bearer tok3n-of-the-registry")
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
