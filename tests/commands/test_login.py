"""`gitops-ml login`: the registry checks the password, and it is stored where docker's tools look."""

from __future__ import annotations

import base64
import io
import json
import os
import stat

import pytest

from gitops_ml.oci.credentials import (
    DOCKER_HUB,
    Credentials,
    find_credentials,
    registry_host,
    store_credentials,
)
from tests.packages.test_index_secrets import listener
from tests.support.real import PASSWORD, USER


@pytest.fixture
def docker(ann, monkeypatch):
    """The folder of docker's configuration, which is not there yet."""
    folder = ann.home / "docker"
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def logs_in(ann, monkeypatch, host, *, password=PASSWORD, username=USER, more=()):
    monkeypatch.setattr("sys.stdin", io.StringIO(password))
    return ann.runs("login", host, "-u", username, *more)


def helper(folder, name, script, monkeypatch):
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_the_password_is_read_from_stdin_checked_and_stored(
    ann, docker, monkeypatch, private_registry
):
    host = private_registry.host
    result = logs_in(ann, monkeypatch, host, password=f"{PASSWORD}\n")
    assert result.out == f"logged in to {host} as {USER}: stored in {docker / 'config.json'}\n"
    assert stat.S_IMODE((docker / "config.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(docker.stat().st_mode) == 0o700
    entry = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert json.loads((docker / "config.json").read_text()) == {"auths": {host: {"auth": entry}}}
    stored = find_credentials(host, environ={"DOCKER_CONFIG": str(docker)})
    assert stored == Credentials(USER, PASSWORD)


def test_the_password_is_read_from_the_named_variable(ann, docker, monkeypatch, private_registry):
    monkeypatch.setenv("REGISTRY_TOKEN", PASSWORD)
    more = ("--password-env", "REGISTRY_TOKEN", "-o", "json")
    result = logs_in(ann, monkeypatch, private_registry.host, password="", more=more)
    assert result.json["registry"] == private_registry.host
    assert PASSWORD not in result.out + result.err


def test_what_is_in_the_file_stays_and_a_link_stays_a_link(
    ann, docker, monkeypatch, private_registry
):
    dotfiles = ann.home / "dotfiles"
    dotfiles.mkdir()
    docker.mkdir()
    others = {"auths": {"ghcr.io": {"auth": "YTpi"}}, "proxies": {"default": {}}, "detachKeys": "x"}
    (dotfiles / "config.json").write_text(json.dumps(others))
    (docker / "config.json").symlink_to(dotfiles / "config.json")
    assert logs_in(ann, monkeypatch, private_registry.host).code == 0
    stored = json.loads((dotfiles / "config.json").read_text())
    assert (docker / "config.json").is_symlink()
    assert {**stored, "auths": {"ghcr.io": stored["auths"]["ghcr.io"]}} == others
    assert set(stored["auths"]) == {"ghcr.io", private_registry.host}


def test_a_wrong_password_is_refused_and_nothing_is_stored(
    ann, docker, monkeypatch, private_registry
):
    result = logs_in(ann, monkeypatch, private_registry.host, password="wrong-but-secret")
    assert result.code == 5
    assert f"asked as {USER}" in result.err
    assert "wrong-but-secret" not in result.err
    assert not docker.exists()


def test_a_registry_with_a_token_server_is_asked_without_a_repository(ann, docker, monkeypatch):
    token = json.dumps({"token": "t"}).encode()
    answers = {}
    with listener(answers) as (host, seen):
        challenge = f'Bearer realm="http://{host}/token",service="x"'
        answers["/v2/"] = (401, {"WWW-Authenticate": challenge}, b"")
        answers["/token?service=x"] = (200, {}, token)
        result = logs_in(ann, monkeypatch, host)
    assert result.code == 5, result  # the second answer of this registry is the first
    assert [path for path, _ in seen] == ["/v2/", "/token?service=x", "/v2/"]
    assert seen[1][1] == Credentials(USER, PASSWORD).basic
    assert seen[2][1] == "Bearer t"


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_the_helper_of_the_registry_stores_it_and_not_the_file(
    ann, docker, monkeypatch, private_registry, key
):
    host, kept = private_registry.host, ann.home / "kept"
    helper(ann.home / "bin", "test", f'[ "$1" = store ] && cat > {kept}', monkeypatch)
    docker.mkdir()
    config = {key: {host: "test"} if key == "credHelpers" else "test"}
    (docker / "config.json").write_text(json.dumps(config))
    result = logs_in(ann, monkeypatch, host)
    assert result.out.endswith("stored in docker-credential-test\n")
    assert json.loads(kept.read_text()) == {
        "ServerURL": host, "Username": USER, "Secret": PASSWORD,
    }  # fmt: skip
    assert json.loads((docker / "config.json").read_text()) == config


def test_a_helper_that_fails_is_named_and_what_it_prints_is_not(
    ann, docker, monkeypatch, private_registry
):
    helper(ann.home / "bin", "test", "cat >&2; exit 3", monkeypatch)
    docker.mkdir()
    (docker / "config.json").write_text('{"credsStore": "test"}')
    result = logs_in(ann, monkeypatch, private_registry.host)
    assert result.code == 5
    assert "docker-credential-test" in result.err
    assert "exit code 3" in result.err
    assert PASSWORD not in result.err


@pytest.mark.parametrize("text", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_the_key_that_docker_uses(tmp_path, text):
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    store_credentials(registry_host(text), Credentials("ann", "p"), environ=environ)
    assert set(json.loads((tmp_path / "config.json").read_text())["auths"]) == {DOCKER_HUB}
    assert find_credentials("docker.io", environ=environ) == Credentials("ann", "p")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://ghcr.io/v2/", "such as ghcr.io"),
        ("ghcr.io/acme/ml", "such as ghcr.io"),
        ("ann:secret@ghcr.io", "host and port only"),
        ("", "host and port only"),
        ("-x", "host and port only"),
        ("a b", "host and port only"),
    ],
)
def test_what_is_no_registry_is_refused_before_anything_is_read(ann, docker, text, hint):
    result = ann.runs("login", "-u", USER, "--password-env", "HOME", "--", text)
    assert result.code == 2
    assert hint in result.err


@pytest.mark.parametrize(
    ("username", "password", "words"),
    [
        ("", PASSWORD, "--username is not one"),
        ("a:b", PASSWORD, "--username is not one"),
        (USER, "", "the password for ghcr.io is empty"),
        (USER, "two\nlines", "more than one line"),
    ],
)
def test_a_name_or_password_that_cannot_be_one_is_refused(
    ann, docker, monkeypatch, username, password, words
):
    result = logs_in(ann, monkeypatch, "ghcr.io", username=username, password=password)
    assert result.code == 2
    assert words in result.err
    assert not docker.exists()


def test_a_variable_that_is_not_set_is_named(ann, docker):
    result = ann.runs("login", "ghcr.io", "-u", USER, "--password-env", "REGISTRY_TOKEN_7")
    assert (result.code, "REGISTRY_TOKEN_7" in result.err) == (2, True)
