"""A token that may go to this machine in plain text does not pass a proxy on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import ProgramFailed
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.token import ForgeToken
from gitops_ml.git.remote import Credentials, Remote
from gitops_ml.system import process
from tests.packages.test_index_secrets import listener

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def proxied(monkeypatch):
    """What a proxy sees that the environment names for everything."""
    with listener({}) as (host, seen):
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{host}")
        yield seen


def test_a_forge_of_this_machine_is_asked_directly(proxied):
    with listener({"/api/v1/x": (200, {}, b"[]")}) as (host, seen):
        address = ForgeAddress(
            type="gitea", api_url=f"http://{host}/api/v1", repository="a/b", host=host
        )
        session = ForgeSession(address=address, token=ForgeToken("s3cret", "a test"), environ={})
        assert session.get("/x").value == []
    assert seen == [("/api/v1/x", "Bearer s3cret")]
    assert proxied == []


def test_and_so_is_a_git_server_of_this_machine(proxied, tmp_path: Path):
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    path = "/x.git/info/refs?service=git-upload-pack"
    with listener({path: (401, challenge, b"")}) as (host, seen):
        remote = Remote.parse(f"http://{host}/x.git", folder=tmp_path)
        credentials = Credentials.from_environ(
            {"T": "s3cret"}, folder=tmp_path, username=None, token_env="T"
        )
        command = ["git", *credentials.options(remote), "ls-remote", remote.url]
        with pytest.raises(ProgramFailed):
            process.run(command, env={**credentials.environ(remote), "GIT_TERMINAL_PROMPT": "0"})
    assert [bool(shown) for _, shown in seen] == [False, True]
    assert proxied == []
