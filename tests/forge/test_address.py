"""Which forge a repository is at, by its address and the project file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.forge.address import ForgeAddress, forge_address
from gitops_ml.git.remote import Remote
from gitops_ml.http.urls import is_protected
from gitops_ml.project.project import ForgeSpec


def address(url: str, **words: str | None) -> ForgeAddress | None:
    remote = Remote.parse(url, folder=Path("/project"))
    known = {"type": "auto", "api_url": None, "repository": None, "token_env": None}
    spec = ForgeSpec(**{**known, **words})  # type: ignore[arg-type]
    return forge_address(spec, scheme=remote.scheme, server=remote.server, path=remote.path)


KNOWN = {
    "https://github.com/acme/gitops.git": ("github", "https://api.github.com", "github.com"),
    "git@github.com:acme/gitops.git": ("github", "https://api.github.com", "github.com"),
    "ssh://git@ssh.github.com:443/acme/gitops.git": (
        "github",
        "https://api.github.com",
        "github.com",
    ),
    "https://acme.ghe.com/acme/gitops": ("github", "https://api.acme.ghe.com", "acme.ghe.com"),
    "https://gitlab.com/acme/gitops.git": ("gitlab", "https://gitlab.com/api/v4", "gitlab.com"),
    "ssh://git@gitlab.acme.example:2222/acme/gitops": (
        "gitlab",
        "https://gitlab.acme.example/api/v4",
        "gitlab.acme.example",
    ),
    "https://gitlab.acme.example:8443/acme/gitops": (
        "gitlab",
        "https://gitlab.acme.example:8443/api/v4",
        "gitlab.acme.example:8443",
    ),
    "https://codeberg.org/acme/gitops": ("gitea", "https://codeberg.org/api/v1", "codeberg.org"),
    "git@forgejo.acme.example:acme/gitops": (
        "gitea",
        "https://forgejo.acme.example/api/v1",
        "forgejo.acme.example",
    ),
    "https://bitbucket.acme.example/scm/acme/gitops.git": (
        "bitbucket",
        "https://bitbucket.acme.example/rest",
        "bitbucket.acme.example",
    ),
    "ssh://git@bitbucket.acme.example:7999/acme/gitops.git": (
        "bitbucket",
        "https://bitbucket.acme.example/rest",
        "bitbucket.acme.example",
    ),
}


@pytest.mark.parametrize("repository", KNOWN)
def test_a_host_determines_the_type_and_the_address_of_the_api(repository):
    kind, api_url, host = KNOWN[repository]
    assert address(repository) == ForgeAddress(
        type=kind, api_url=api_url, repository="acme/gitops", host=host
    )


def test_a_group_in_a_group():
    found = address("https://gitlab.com/acme/ml/platform/gitops.git")
    assert found
    assert found.repository == "acme/ml/platform/gitops"


@pytest.mark.parametrize("repository", ["/srv/gitops.git", "file:///srv/gitops.git", "../x.git"])
def test_a_path_has_a_branch_and_no_forge(repository):
    assert address(repository) is None


def test_none_is_none_wherever_it_is():
    assert address("https://github.com/acme/gitops", type="none") is None


@pytest.mark.parametrize(
    "repository", ["https://git.acme.example/x/y", "git@github.acme.example:x/y", "forge:x/y"]
)
def test_an_unknown_host_asks_for_its_type(repository):
    with pytest.raises(UsageError, match=r"set gitops\.forge\.type"):
        address(repository)


def test_github_enterprise_is_named():
    found = address("git@github.acme.example:x/y.git", type="github")
    assert found
    assert (found.api_url, found.repository) == ("https://github.acme.example/api/v3", "x/y")


@pytest.mark.parametrize(
    ("repository", "words", "name"),
    [
        (
            "https://acme.example/gitlab/acme/gitops.git",
            {"type": "gitlab", "api_url": "https://acme.example/gitlab/api/v4/"},
            "acme/gitops",
        ),
        (
            "https://acme.example/bitbucket/scm/acme/gitops.git",
            {"type": "bitbucket", "api_url": "https://acme.example/bitbucket/rest"},
            "acme/gitops",
        ),
        ("https://bitbucket.acme.example/scm/~ann/x.git", {}, "~ann/x"),
        ("forge:x.git", {"type": "gitea", "repository": "acme/gitops"}, "acme/gitops"),
    ],
)
def test_forges_below_a_path_and_repositories_that_the_address_does_not_show(
    repository, words, name
):
    found = address(repository, **words)
    assert found
    assert (found.repository, found.api_url.endswith("/")) == (name, False)


@pytest.mark.parametrize("path", ["gitops.git", "a/b/gitops.git", ""])
def test_what_is_not_owner_and_name_is_refused(path):
    with pytest.raises(UsageError, match=r"set gitops\.forge\.repository"):
        address(f"https://github.com/{path}")


def test_bitbucket_cloud_is_another_thing():
    with pytest.raises(UsageError, match="Bitbucket Cloud are not supported"):
        address("git@bitbucket.org:acme/gitops.git")


def test_plain_http_is_for_this_machine():
    assert address("http://127.0.0.1:3000/x/y", type="gitea")
    with pytest.raises(UsageError, match="plain text"):
        address("http://gitea.acme.example/x/y")


def test_what_is_protected():
    good = ("https://x", "http://localhost:1", "http://127.8.8.8", "http://[::1]:3000/x")
    bad = ("http://x", "http://127.0.0.1.evil.example", "ftp://x", "http://localhost.evil",
           "http://a.localhost")  # fmt: skip
    assert [is_protected(url) for url in (*good, *bad)] == [True] * 4 + [False] * 5
