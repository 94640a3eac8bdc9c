"""Where a forge's token comes from, in which order, and that it is for one host."""

from __future__ import annotations

import os
import sys
import types

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.forge.token import find_token, token_remedy, usual_variables

HOST = "git.acme.example"


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path, monkeypatch):
    """A home and a keyring of its own, with nothing in them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    stores(monkeypatch, {})
    return tmp_path


def stores(monkeypatch, secrets: dict[str, str], failure: Exception | None = None) -> None:
    """A keyring with these secrets, by host."""

    def get_password(service: str, host: str) -> str | None:
        if failure:
            raise failure
        return secrets.get(host) if service == "gitops-ml" else None

    errors = types.ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})
    keyring = types.ModuleType("keyring")
    keyring.errors, keyring.get_password = errors, get_password
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)


def has_netrc(home, text: str) -> None:
    (home / ".netrc").write_text(text)
    (home / ".netrc").chmod(0o600)


def has_helper(home, host: str, user: str, password: str) -> None:
    (home / ".gitconfig").write_text("[credential]\n helper = store\n")
    (home / ".git-credentials").write_text(f"https://{user}:{password}@{host}\n")


def everybody_may(variable: str) -> None:
    """The check of an owner who lets every variable go everywhere."""


def found(kind: str, host: str, environ: dict[str, str] | None = None, *named: str):
    everything = {"HOME": os.environ["HOME"], **(environ or {})}
    token = find_token(kind, host, environ=everything, named=named, check=everybody_may)
    return (token.value, token.origin) if token else None


def test_the_order(nobodys_settings, monkeypatch):
    """What is asked first counts; then one after the other is taken away."""
    environ = {"MINE": "a", "OTHER": "b", "GITLAB_TOKEN": "c", "GITLAB_HOST": HOST}
    stores(monkeypatch, {HOST: "d"})
    has_netrc(nobodys_settings, f"machine {HOST} login ann password e\n")
    has_helper(nobodys_settings, HOST, "ann", "f")
    named = ("MINE", "OTHER")

    assert found("gitlab", HOST, environ, *named) == ("a", "the environment variable MINE")
    del environ["MINE"]
    assert found("gitlab", HOST, environ, *named) == ("b", "the environment variable OTHER")
    assert found("gitlab", HOST, environ) == ("c", "the environment variable GITLAB_TOKEN")
    assert found("gitlab", HOST) == ("d", "the keyring")
    stores(monkeypatch, {})
    assert found("gitlab", HOST) == ("e", str(nobodys_settings / ".netrc"))
    (nobodys_settings / ".netrc").unlink()
    assert found("gitlab", HOST) == ("f", "git's credential helper")
    (nobodys_settings / ".git-credentials").unlink()
    assert found("gitlab", HOST) is None


USUAL = [
    ("github", "github.com", {}, ("GH_TOKEN", "GITHUB_TOKEN")),
    ("github", HOST, {}, ()),
    # In GitHub Actions of an Enterprise server, GITHUB_TOKEN is that server's.
    ("github", HOST, {"GITHUB_SERVER_URL": f"https://{HOST}"},
     ("GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")),
    ("github", "github.com", {"GITHUB_SERVER_URL": f"https://{HOST}"}, ("GH_TOKEN",)),
    ("github", HOST, {"GH_HOST": HOST}, ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")),
    ("gitlab", "gitlab.com", {}, ("GITLAB_TOKEN", "GITLAB_ACCESS_TOKEN")),
    ("gitlab", "gitlab.com", {"GITLAB_HOST": HOST}, ()),
    ("gitlab", HOST, {"CI_SERVER_URL": f"https://{HOST}"}, ("GITLAB_TOKEN", "GITLAB_ACCESS_TOKEN")),
    ("gitlab", HOST, {}, ()),
    ("gitea", "codeberg.org", {}, ("GITEA_TOKEN", "FORGEJO_TOKEN")),
    ("gitea", HOST, {"GITEA_SERVER_URL": f"https://{HOST}"}, ("GITEA_TOKEN", "FORGEJO_TOKEN")),
    ("gitea", HOST, {}, ()),
    ("bitbucket", HOST, {"BITBUCKET_URL": f"https://{HOST}/x"}, ("BITBUCKET_TOKEN",)),
    ("bitbucket", HOST, {}, ()),
    ("gitlab", "github.com", {}, ()),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "host", "environ", "variables"), USUAL)
def test_a_usual_variable_is_for_its_own_host(kind, host, environ, variables):
    assert usual_variables(kind, host, environ) == variables


def test_a_token_for_another_host_is_reported_and_not_used():
    environ = {"GITHUB_TOKEN": "secret-of-github"}
    assert found("github", HOST, environ) is None
    words = token_remedy("github", HOST, "gitops", environ)
    assert "GITHUB_TOKEN is set, but not declared for git.acme.example" in words
    assert "secret-of-github" not in words


def test_a_variable_of_the_project_file_is_checked_before_it_is_used():
    def refuse(variable: str) -> None:
        raise UsageError(f"{variable} is not for this host")

    environ = {"HOME": os.environ["HOME"], "MINE": "a", "GH_TOKEN": "b"}
    with pytest.raises(UsageError, match="MINE is not for this host"):
        find_token("github", "github.com", environ=environ, named=("MINE",), check=refuse)
    token = find_token("github", "github.com", environ=environ, named=("UNSET",), check=refuse)
    assert token
    assert token.value == "b"


def test_without_a_token_the_ways_to_set_one_are_listed():
    words = token_remedy("gitlab", "gitlab.com", "source", {})
    assert "source.forge.token_env, or set GITLAB_TOKEN" in words
    assert "keyring set gitops-ml gitlab.com" in words


def test_a_netrc_without_the_host_has_no_token_and_its_default_entry_is_ignored(
    nobodys_settings,
):
    has_netrc(nobodys_settings, "machine other password a\ndefault login x password b\n")
    assert found("gitea", HOST) is None


def test_the_netrc_that_a_variable_names(nobodys_settings):
    place = nobodys_settings / "mine"
    place.write_text(f"machine {HOST} login ann password e\n")
    assert found("gitea", f"{HOST}:3000", {"NETRC": str(place)}) == ("e", str(place))


def test_a_netrc_that_cannot_be_read_is_none(nobodys_settings):
    has_netrc(nobodys_settings, "machine machine machine\n")
    assert found("gitea", HOST) is None


def test_a_keyring_that_is_locked_is_none(monkeypatch):
    stores(monkeypatch, {}, failure=RuntimeError("no backend"))
    assert found("gitea", HOST) is None


def test_without_the_library_there_is_no_keyring(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert found("gitea", HOST) is None


def test_the_user_of_a_stored_password_is_known(nobodys_settings):
    has_helper(nobodys_settings, HOST, "ann", "pw")
    token = find_token("gitea", HOST, environ={"HOME": str(nobodys_settings)}, check=everybody_may)
    assert token
    assert (token.value, token.username) == ("pw", "ann")


def test_a_credential_helper_may_not_prompt(nobodys_settings, monkeypatch):
    asked = nobodys_settings / "asked"
    program = nobodys_settings / "askpass"
    program.write_text(f"#!/bin/sh\ntouch {asked}\necho secret\n")
    program.chmod(0o755)
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, str(program))
    (nobodys_settings / ".gitconfig").write_text(f"[core]\n askPass = {program}\n")
    assert found("gitea", HOST) is None
    assert not asked.exists()


@pytest.mark.parametrize("value", ["two words", "a\nb", "t\u00f6ken"])
def test_a_value_that_is_not_a_token_is_refused_and_not_repeated(value):
    with pytest.raises(UsageError, match="MINE does not hold a token") as caught:
        found("github", "github.com", {"MINE": value}, "MINE")
    assert value not in str(caught.value)


def test_a_token_is_not_shown():
    token = find_token(
        "github", "github.com", environ={"GH_TOKEN": " secret\n"}, check=everybody_may
    )
    assert token
    assert (token.value, "secret" in repr(token)) == ("secret", False)
