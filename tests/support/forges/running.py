"""A forge while a block runs, and our own adapter for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.open import forge_over
from gitops_ml.forge.protocol import Forge as ForgePort
from gitops_ml.forge.pull_request import Proposal
from gitops_ml.forge.token import ForgeToken
from gitops_ml.http.response import RetryPolicy
from tests.support.forges.bitbucket import Bitbucket
from tests.support.forges.gitea import Gitea
from tests.support.forges.github import GitHub
from tests.support.forges.gitlab import GitLab
from tests.support.forges.server import Forge
from tests.support.git_servers import TOKEN, bare_repository, commit_files, git

KINDS = {"github": GitHub, "gitlab": GitLab, "gitea": Gitea, "bitbucket": Bitbucket}
HEAD = "gitops-ml/deploy/staging/iris"


@contextmanager
def forge_running(kind: str, folder: Path) -> Iterator[Forge]:
    """A forge with the repository ``acme/gitops``; nothing that it was asked may be wrong."""
    (folder / "acme").mkdir(parents=True)
    bare_repository(folder / "acme" / "gitops.git", {"README.md": "hello\n"})
    forge = KINDS[kind](folder)
    with forge.serving():
        yield forge
    assert not forge.violations, "\n".join(forge.violations)


def kind_of(forge: Forge) -> str:
    return next(kind for kind, each in KINDS.items() if type(forge) is each)


def adapter(
    forge: Forge,
    *,
    token: str | None = TOKEN,
    waits: list[float] | None = None,
    repository: str | None = None,
) -> ForgePort:
    """Our adapter for the forge; what it would wait for is put into ``waits``."""
    address = ForgeAddress(
        type=kind_of(forge), api_url=forge.api_url, host=forge.url.removeprefix("http://"),
        repository=repository or forge.repository,
    )  # fmt: skip
    seen = ForgeToken(token, "the environment variable T") if token else None
    patience = RetryPolicy(attempts=4, sleep=(waits if waits is not None else []).append)
    return forge_over(ForgeSession(address=address, token=seen, environ={}, patience=patience))


def branch(forge: Forge, name: str = HEAD, content: str = "x") -> str:
    """A branch with one commit more than main; returns the commit."""
    if not forge.head_of(name):
        git("branch", name, "main", cwd=forge.bare)
    return commit_files(forge.bare, {"iris.yaml": f"{content}\n"}, branch=name)


def proposal(**changes: Any) -> Proposal:
    words = {"head": HEAD, "base": "main", "title": "Deploy iris", "body": "Because.\n"}
    return Proposal(**{**words, **changes})
