"""The Git repositories of the project and their forges: read, a push that changes nothing, pull requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gitops_ml.doctor.outcome import Check, Probe, finding, ok, skipped
from gitops_ml.forge.protocol import Forge
from gitops_ml.forge.token import token_remedy
from gitops_ml.git.repository import GitRepository
from gitops_ml.workspace.clients import Clients

_BRANCH = "gitops-ml/doctor"
"""No branch has this name: the push is a dry run."""


def git_probes(clients: Clients) -> Iterator[Probe]:
    project = clients.project
    if project.gitops is not None:
        yield from _of(
            "GitOps repository", lambda: clients.repository, lambda: clients.forge, project.gitops.branch
        )  # fmt: skip
    if project.source is not None:
        yield from _of(
            "source repository", lambda: clients.source_repository, lambda: clients.source_forge,
            project.source.branch,
        )  # fmt: skip


def _of(
    subject: str,
    repository: Callable[[], GitRepository | None],
    forge: Callable[[], Forge | None],
    branch: str,
) -> Iterator[Probe]:
    yield Probe(subject, lambda: read_and_push(subject, repository()))
    yield Probe(f"{subject}: forge", lambda: pull_requests(f"{subject}: forge", forge(), branch))


def read_and_push(subject: str, repository: GitRepository | None) -> Iterator[Check]:
    assert repository is not None, "the project names it"
    snapshot = repository.fetch()
    if snapshot.commit is None:
        yield finding(
            subject, f"{repository.remote} can be read and is empty", "run `gitops-ml bootstrap`"
        )
        return
    yield ok(
        subject, f"{repository.remote} can be read; {repository.branch} is {snapshot.commit[:12]}"
    )
    # A server refuses a key or token without the right to write before it looks at branches.
    repository.try_push(snapshot, branch=_BRANCH)
    yield ok(
        f"{subject}: push",
        "a push would be accepted (dry run; rules of protected branches are not tried)",
    )


def pull_requests(subject: str, forge: Forge | None, branch: str) -> Iterator[Check]:
    if forge is None:
        text = "no forge is known: branches are pushed, and pull requests opened by hand"
        yield skipped(subject, text)
        return
    session, host = forge.session, forge.session.address.host
    if session.token is None:
        remedy = token_remedy(session.address.type, host, session.section, session.environ)
        yield finding(subject, f"there is no token for {host}", remedy)
        return
    forge.find(head=_BRANCH, base=branch)
    yield ok(subject, f"{host} shows pull requests, with the token of {session.token.origin}")
