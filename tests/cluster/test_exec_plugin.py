"""Credentials that a program of the kubeconfig brings, and credentials that end while a command runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gitops_ml.cluster import kubeconfig
from gitops_ml.cluster.api_server import ApiServer
from gitops_ml.cluster.kubeconfig import ClusterRef
from gitops_ml.errors import GitopsMlError, Refused, UsageError
from tests.support.kubernetes_server import TOKEN, api_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support import kubernetes_server

PODS = "/api/v1/namespaces/ml/pods"
VERSION = "client.authentication.k8s.io/v1"


@pytest.fixture
def server() -> Iterator[kubernetes_server.ApiServer]:
    with api_server() as made:
        yield made


def brings(**status: str) -> str:
    """The line of a shell script that prints an ExecCredential."""
    text = json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status})
    return f"echo '{text}'"


def plugin(folder: Path, script: str, **more: Any) -> dict[str, Any]:
    """The user of a kubeconfig whose credentials come from a script beside it."""
    file = folder / "get-token"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return {"exec": {"apiVersion": VERSION, "command": "./get-token", **more}}


def connected(folder: Path, address: str, user: dict[str, Any], **cluster: Any) -> ApiServer:
    file = folder / "config"
    file.write_text(yaml.safe_dump({
        "current-context": "c",
        "clusters": [{"name": "h", "cluster": {"server": address, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "h", "user": "u"}}],
    }))  # fmt: skip
    wanted = ClusterRef(name="the cluster main", key="k", context=None, server=None, is_only=True)
    return ApiServer(wanted, {"KUBECONFIG": str(file), "PATH": "/usr/bin:/bin"})


def failure(api: ApiServer) -> GitopsMlError:
    with pytest.raises(GitopsMlError) as failed:
        api.objects(PODS, dict)
    assert TOKEN not in str(failed.value)
    return failed.value


def test_a_program_gets_its_arguments_variables_and_the_cluster_and_brings_a_token(
    server, tmp_path
):
    script = f'echo "$1 $REGION $KUBERNETES_EXEC_INFO" > {tmp_path}/given; {brings(token=TOKEN)}'
    more = {"args": ["login"], "env": [{"name": "REGION", "value": "eu"}], "provideClusterInfo": True}  # fmt: skip
    api = connected(tmp_path, server.address, plugin(tmp_path, script, **more))
    assert api.objects(PODS, dict) == []
    argument, region, info = (tmp_path / "given").read_text().split(" ", 2)
    assert (argument, region) == ("login", "eu")
    assert json.loads(info)["spec"] == {"interactive": False, "cluster": {"server": server.address}}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'SSO session has expired: aws sso login' >&2; exit 255", "SSO session has expired"),
        ("exit 3", "it printed no reason"),
        ("echo hello", "it is not JSON"),
        (brings(), "it brought neither a token nor a certificate"),
        (brings(token=" "), "it brought neither a token nor a certificate"),
        (brings(clientCertificateData="x"), "it brought neither a token nor a certificate"),
        ("echo '[]'", "it brought neither a token nor a certificate"),
    ],
)
def test_a_program_that_fails_is_named_with_its_own_words(server, tmp_path, script, message):
    found = failure(connected(tmp_path, server.address, plugin(tmp_path, script)))
    assert isinstance(found, Refused)
    assert "get-token` of the kubeconfig" in str(found)
    assert message in str(found)
    assert "until `kubectl get pods` works" in str(found)


def test_a_program_that_is_not_installed_has_its_own_hint(server, tmp_path):
    user = {"exec": {"command": "kubelogin-x", "installHint": "brew install kubelogin-x"}}
    found = failure(connected(tmp_path, server.address, user))
    assert str(found).endswith("No such file or directory. brew install kubelogin-x")


def test_a_program_that_does_not_end_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(kubeconfig, "_SECONDS", 0.2)
    found = failure(connected(tmp_path, server.address, plugin(tmp_path, "exec sleep 60")))
    assert "did not end within 0.2 seconds" in str(found)


def test_credentials_that_end_are_asked_for_again_and_refused_ones_twice_at_most(server, tmp_path):
    count = f"echo x >> {tmp_path}/count"
    script = f"{count}; test -e {tmp_path}/late && {brings(token=TOKEN)} || {brings(token='old')}"
    api = connected(tmp_path, server.address, plugin(tmp_path, script))
    assert "does not accept the credentials" in str(failure(api))
    assert (tmp_path / "count").read_text() == "x\n" * 2
    (tmp_path / "late").touch()
    assert api.objects(PODS, dict) == []
    assert api.objects(PODS, dict) == []
    assert (tmp_path / "count").read_text() == "x\n" * 3


def test_a_token_in_a_file_is_read_again_and_may_end_with_a_line_break(server, tmp_path):
    file = tmp_path / "token"
    file.write_text("old")
    api = connected(tmp_path, server.address, {"tokenFile": str(file)})
    failure(api)
    file.write_text(f"{TOKEN}\n")
    assert api.objects(PODS, dict) == []


@pytest.mark.parametrize(
    ("user", "cluster", "message"),
    [
        ({"token": f"{TOKEN}\nx"}, {}, "a character that no token can have"),
        ({"token": TOKEN + "é"}, {}, "a character that no token can have"),
        pytest.param(
            {"token": TOKEN},
            {"proxy-url": "socks5://127.0.0.1:9"},
            "pip install pysocks",
            marks=pytest.mark.filterwarnings("ignore:SOCKS support"),
        ),
        ({"token": TOKEN}, {"proxy-url": "::::"}, "Failed to parse"),
        ({"exec": {"args": 7}}, {}, "config: "),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named(server, tmp_path, user, cluster, message):
    found = failure(connected(tmp_path, server.address, user, **cluster))
    assert isinstance(found, UsageError)
    assert message in str(found)


def test_a_proxy_that_does_not_answer_is_named_without_its_password(server, tmp_path):
    proxy = {"proxy-url": "http://ann:s3cr3t@127.0.0.1:9"}
    found = str(failure(connected(tmp_path, server.address, {"token": TOKEN}, **proxy)))
    assert "does not answer: its proxy http://" in found
    assert "s3cr3t" not in found
