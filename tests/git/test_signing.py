"""Commits are signed where the user's git configuration asks for it."""

from __future__ import annotations

import subprocess

import pytest

from gitops_ml.errors import ProgramFailed, Refused
from tests.git.conftest import add
from tests.support.git_servers import git


@pytest.fixture
def signing(tmp_path, monkeypatch):
    """The user signs with a key of ssh; returns the key."""
    key, config = tmp_path / "key", tmp_path / "gitconfig"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "allowed").write_text(f"ann@example.org {key.with_suffix('.pub').read_text()}")
    config.write_text(
        f"[commit]\n gpgSign = yes\n[gpg]\n format = ssh\n[user]\n signingKey = {key}\n"
        "[i18n]\n commitEncoding = latin-1\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    return key


def test_a_user_who_signs_commits_signs_those_of_gitops_ml(bare, repository, signing, tmp_path):
    commit = add(repository, "a", message="Grüße")
    git("-c", f"gpg.ssh.allowedSignersFile={tmp_path}/allowed", "verify-commit", commit, cwd=bare)
    (found,) = repository.log(repository.fetch(), "a").commits
    assert (found.id, found.message.strip()) == (commit, "Grüße")
    assert git("show", "-s", "--format=%an <%ae> %ad", "--date=raw", commit, cwd=bare) == git(
        "show", "-s", "--format=%cn <%ce> %cd", "--date=raw", commit, cwd=bare
    )


@pytest.mark.parametrize("key", ["is gone", "has a passphrase"])
def test_a_commit_that_cannot_be_signed_is_not_made(bare, repository, signing, key):
    before = git("rev-parse", "main", cwd=bare)
    if key == "is gone":
        signing.unlink()
        signing.with_suffix(".pub").unlink()
    else:
        change = ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", signing]
        subprocess.run(change, check=True, capture_output=True)
    with pytest.raises(ProgramFailed, match=r"commit\.gpgSign of your git configuration"):
        add(repository, "a")
    assert git("rev-parse", "main", cwd=bare) == before


def test_a_server_that_wants_signatures_names_the_setting(bare, repository):
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'error: Commits must have verified signatures.'\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Refused, match=r"commit\.gpgSign"):
        add(repository, "a")
